"""Few electrons: the heavy elements show no contour of their own, all matter together does."""

import numpy as np
import pytest
from layer_maps import count_maps

from ceiflow.layer.edge import edge_below
from ceiflow.layer.elements import FitMaps, choose
from ceiflow.layer.known import of_edges
from ceiflow.layer.profile import Species
from ceiflow.layer.trace import find_layer
from ceiflow.signals.store import Header
from ceiflow.study import load_config
from ceiflow.study.metadata import METADATA, MISSING

SETTINGS = load_config({})["layer"]
PIXEL_NM = 2.0


def found(seed, thickness, metal=0.1, carbon=0.6):
    """5 counts of Mn a pixel on 160 of background, 30 of C; t/lambda from 800 low-loss electrons."""
    rng = np.random.default_rng(seed)
    maps, *_ = count_maps(
        rng, shape=(44, 56), pixel=PIXEL_NM, thickness=thickness, metal=metal, carbon=carbon, support=0.0,
        noise=1.6, angle=0.2,
    )  # fmt: skip
    path = maps["metal"][2] / 0.1 if metal else 0.0
    path = path + maps["carbon"][2] / carbon
    over_path = path / 150
    counts = {"Mn": maps["metal"][0], "C": maps["carbon"][0]}
    spread = {"Mn": np.sqrt(maps["metal"][1]), "C": np.sqrt(maps["carbon"][1])}
    per_atom = {"Mn": 0.1 / 29.3, "C": carbon / 17.2}
    areal = {name: counts[name] / per_atom[name] for name in counts}
    noise = np.sqrt(np.expm1(over_path + 1e-3) / 800)
    single = {"thickness_over_mfp": over_path + noise * rng.standard_normal(path.shape)}
    single["total_counts"] = rng.poisson(100 * (path + 0.01)).astype(float)
    header = Header("a1", "eels_si", metadata={name: MISSING for name in METADATA})
    choice = choose(FitMaps(header, counts, spread, areal, dict(areal), {}, single, {}), SETTINGS)
    return choice, find_layer(choice, PIXEL_NM, SETTINGS)


@pytest.mark.parametrize("seed", range(3))
def test_thickness_of_a_layer_that_few_electrons_saw(seed):
    choice, layer = found(seed, 10.0)
    assert choice.outline
    assert "too faint" in choice.what
    profile = layer.profile
    assert profile.present.all()
    error = np.sqrt(
        np.mean(profile.own_std_nm**2) / len(profile.own_std_nm) + profile.common_covariance_nm2.mean()
    )
    assert error < 1.5
    assert abs(profile.thickness_nm.mean() - 10.0) < 3 * error
    # Distances of the zones count from the particle's edge, which lies inside the contour.
    assert profile.x_in_nm.mean() == pytest.approx(-10.0, abs=2.0)


def test_bare_surfaces_that_few_electrons_saw():
    present = [found(seed, 0.0)[1].profile.present for seed in range(10, 16)]
    assert np.mean(np.concatenate(present)) <= 0.05


def test_no_heavy_element_no_outline():
    choice, _ = found(20, 10.0, metal=0.0)
    assert not choice.outline


def test_edge_is_found_below_the_contour():
    rng = np.random.default_rng(3)
    x = rng.uniform(-30, 30, 4000)
    metal = 5.0 * (x < -8) * (1 - 0.02 * (x + 8)) + rng.normal(0, 3, x.size)
    carbon = 20.0 * ((x > -8) & (x < 0)) + rng.normal(0, 10, x.size)
    species = [
        Species("Mn", metal, np.full(x.size, 9.0), particle=True),
        Species("C", carbon, np.full(x.size, 100.0)),
    ]
    assert edge_below(x, np.zeros(x.size, int), species, 2.0, 25.0, 40.0) == pytest.approx(8.0, abs=0.5)


def test_segments_that_few_electrons_saw_know_their_errors():
    off, missed = [], []
    for seed in range(30, 34):
        profile = found(seed, 5.0)[1].profile
        good = np.isfinite(profile.thickness_nm)
        off += ((profile.thickness_nm - 5.0) / profile.std_nm)[good].tolist()
        missed += (~profile.present)[good & (2 * profile.lod_nm < 5.0)].tolist()
    assert len(off) > 15
    assert np.mean(np.abs(off) < 1.96) >= 0.85
    assert np.mean(missed) <= 0.05


def test_what_is_known_of_edges_pulls_at_their_sum():
    known = of_edges((1.0, 0.5), (4.0, 2.0), 5, True)
    local = np.array([[1.5, 4.5, 9.0, 9.0, 9.0]])
    assert known.cost(local) == pytest.approx([1.0 + 1.0])
    # Half the gradient of the cost, downhill.
    step = 1e-6
    for i in range(2):
        moved = local.copy()
        moved[0, i] += step
        assert known.pull(local)[0, i] == pytest.approx(
            -(known.cost(moved) - known.cost(local))[0] / (2 * step), rel=1e-4
        )
    # Without a thickness the outer edge is the inner one.
    assert of_edges(None, (4.0, 2.0), 5, False).cost(local) == pytest.approx([(2.5 / 2) ** 2])


def test_a_thick_layer_does_not_change_what_could_have_been_seen():
    """The limit is that of a bare surface beside the same particle, whatever stands on this one."""
    limits = [np.median(found(seed, t)[1].profile.null_std_nm) for t in (5.0, 10.0) for seed in (40, 41)]
    assert max(limits) < 2.0 * min(limits)
