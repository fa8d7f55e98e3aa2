"""White lines, valence, pre-peak and dose on arrays whose answer is known by construction."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ceiflow.eels.fine_structure import measure
from ceiflow.eels.fine_structure.dose import at_zero_dose, decay, middle_doses
from ceiflow.eels.fine_structure.line_rows import change_rows, line_rows
from ceiflow.eels.fine_structure.plural import single_scattering
from ceiflow.eels.fine_structure.prepeak import oxygen_prepeak
from ceiflow.eels.fine_structure.rows import all_reduced, skin_rows
from ceiflow.eels.fine_structure.valence import (
    Standard,
    leave_one_out,
    load_calibration,
    valence_of,
)
from ceiflow.eels.fine_structure.white_lines import WhiteLines, white_lines
from ceiflow.phantom import files

STEP = 0.5
ENERGY = np.arange(450.0, 760.0, STEP)


def lorentz(at, width, area):
    """Lines of another form than any that the estimator has."""
    return area * (width / 2) / np.pi / ((ENERGY - at) ** 2 + (width / 2) ** 2)


def mn_edge(ratio, l3=642.0, split=11.2, jump=20.0):
    """Background, two arctan steps 2:1 and two Lorentzians; counts of a good sum spectrum."""
    background = 4.0e4 * (ENERGY / 500.0) ** -3.1
    steps = jump * sum(
        share * (0.5 + np.arctan((ENERGY - at) / 0.5) / np.pi)
        for share, at in ((2 / 3, l3), (1 / 3, l3 + split))
    )
    area = 400.0
    return background, 100 * (steps + lorentz(l3, 2.0, area) + lorentz(l3 + split, 2.0, area / ratio))


def kernel(t_over_lambda):
    """Zero loss and Poisson-weighted plasmons at 23 eV, up to 120 eV."""
    loss = np.arange(-10.0, 120.0, STEP)
    zero = np.exp(-0.5 * (loss / 0.4) ** 2)
    zero /= zero.sum()
    plasmon = np.where(loss > 0, 1 / ((loss - 23.0) ** 2 + 30.0), 0.0)
    plasmon /= plasmon.sum()
    total, term = zero.copy(), zero.copy()
    for order in range(1, 8):
        term = np.convolve(term, plasmon)[20 : 20 + loss.size] * t_over_lambda / order
        total += term
    return total / total.sum(), 20


def spread(values, low):
    weights, zero = low
    return np.convolve(values, weights)[zero : zero + values.size]


def test_plural_scattering_is_taken_out():
    edge = np.where(ENERGY > 600, (ENERGY / 600) ** -3.0, 0.0) + lorentz(642.0, 2.0, 30.0) * (ENERGY > 600)
    low = kernel(0.8)
    found = single_scattering(spread(edge, low), low, STEP)
    for first, last in ((606, 625), (630, 654), (660, 700)):
        inside = (first < ENERGY) & (last > ENERGY)
        assert found[inside].sum() == pytest.approx(edge[inside].sum(), rel=0.04)
        assert abs(spread(edge, low)[inside].sum() / edge[inside].sum() - 1) > 0.2
    assert np.allclose(single_scattering(edge, None, STEP), edge)


@pytest.mark.parametrize("t", [0.0, 0.8])
@pytest.mark.parametrize("ratio", [2.0, 4.0])
def test_ratio_of_white_lines(ratio, t):
    """Tails of Lorentzians leave the windows; what is left is within the error that the recipe states."""
    background, edge = mn_edge(ratio)
    low = kernel(t) if t else None
    counts = background + (spread(edge, low) if t else edge)
    noisy = np.random.default_rng(5).poisson(counts)
    found = white_lines(ENERGY, noisy, "Mn", low, seed=1)
    assert found.known
    assert abs(np.log(found.ratio / ratio)) < 0.12 + 3 * np.hypot(found.ratio_se, found.ratio_sys) / ratio
    assert found.position_eV == pytest.approx(642.0, abs=0.3)


def test_no_lines_no_ratio():
    background, _ = mn_edge(2.0)
    noisy = np.random.default_rng(2).poisson(background)
    assert "detection limit" in white_lines(ENERGY, noisy, "Mn", None, seed=1).reason
    assert "outside the range" in white_lines(ENERGY, noisy, "Ni", None).reason


def standards():
    return [
        Standard(name, valence, WhiteLines("Mn", ratio=ratio, ratio_sys=0.05))
        for name, valence, ratio in (("a", 2.0, 4.0), ("b", 3.0, 2.6), ("c", 4.0, 2.0))
    ]


def test_valence_between_references():
    found = valence_of(2.6, 0.05, 0.02, standards())
    assert found.value == pytest.approx(3.0)
    assert found.se > 0
    assert found.systematic > 0
    assert set(leave_one_out(standards())) == {"a", "b", "c"}
    assert "two known valences" in valence_of(2.6, 0.1, 0.1, standards()[:1]).reason
    assert "outside" in valence_of(20.0, 0.1, 0.1, standards()).reason
    turned = [Standard(s.name, -s.valence, s.lines) for s in standards()]
    assert "does not fall" in valence_of(2.6, 0.1, 0.1, turned).reason


def test_two_references_of_one_valence_are_one_level():
    twice = [*standards(), Standard("d", 2.0, WhiteLines("Mn", ratio=3.6, ratio_sys=0.05))]
    found = valence_of(np.sqrt(3.6 * 4.0), 0.05, 0.02, twice)
    assert found.value == pytest.approx(2.0)
    assert valence_of(2.6, 0.05, 0.02, twice).value == pytest.approx(3.0)
    assert set(leave_one_out(twice)) == {"a", "b", "c", "d"}
    ends = [twice[0], twice[3], twice[2]]
    assert set(leave_one_out(ends)) == {"a", "d"}
    assert valence_of(2.0, 0.05, 0.02, ends).value == pytest.approx(4.0)


def write_reference(path, energy, unit="eV"):
    background, edge = mn_edge(3.0)
    if path.suffix == ".csv":
        np.savetxt(path, np.stack([energy, background + edge], 1), delimiter=",")
    else:
        axis = files.Axis("Energy loss", unit, float(energy[0]), float(energy[1] - energy[0]))
        beam = {
            "beam_energy_keV": 300.0,
            "convergence_mrad": 10.0,
            "collection_mrad": 20.0,
            "exposure_s": 1.0,
        }
        signal = files.Signal((background + edge).astype(np.float32), [axis], "reference", beam, True)
        files.write(path, signal)


@pytest.mark.parametrize(
    ("name", "unit", "scale", "why"),
    [
        ("kev.csv", "", 1e-3, "Mn L lies outside the range"),
        ("none.hspy", "", 1.0, "energy axis: found no unit"),
        ("absent.csv", "", 0.0, "reference"),
    ],
)
def test_an_unfit_reference_is_the_reason_of_valence_alone(tmp_path, name, unit, scale, why):
    if scale:
        write_reference(tmp_path / name, ENERGY * scale, unit)
    write_reference(tmp_path / "good.csv", ENERGY)
    entries = [
        {"name": item, "edge": "Mn_L", "path": item, "valence": valence}
        for item, valence in ((name, 2.0), ("good.csv", 4.0))
    ]
    calibration = load_calibration(entries, tmp_path, "Mn")
    lines = WhiteLines("Mn", ratio=3.0, ratio_se=0.1, ratio_sys=0.1, position_eV=642.0, position_se_eV=0.1)
    ratio, valence = line_rows("all", lines, calibration, 1, "")
    assert ratio.status == "identified"
    assert valence.status == "not_identifiable"
    assert name in valence.note
    assert why in valence.note
    assert change_rows(lines, lines, calibration, "")[2].status == "not_identifiable"


@pytest.mark.parametrize("skin", [2.0, 6.0, 12.0])
def test_depth_of_a_skin_that_is_deeper_than_eight_pixels(monkeypatch, skin):
    """Pixels of 0.5 nm, 20 deep: a skin of 6 nm has neither its end nor a bulk within the first eight."""
    distance = -np.broadcast_to(np.arange(0.25, 20.0, 0.5), (4, 40))

    def lines(_, own, *__):
        share = float(np.mean(own < skin))
        ratio, at = 2.0 + 2.0 * share, 643.5 - 3.0 * share
        return WhiteLines("Mn", ratio, 0.1, 0.1, at, 0.05)

    class Depths(np.ndarray):
        n = 1

    monkeypatch.setattr(measure, "lines_of", lines)
    monkeypatch.setattr(
        measure, "sum_zones", lambda _, masks: {key: (-distance[m]).view(Depths) for key, m in masks.items()}
    )
    core = SimpleNamespace(pixel_size_nm=0.5)
    config = {"fine_structure": {"references": []}}
    profile = measure.valence_profile(SimpleNamespace(core=core, elements=["Mn"]), distance, config, (0, "a"))
    row = skin_rows(profile, "")[0]
    assert (row.status, row.value) == ("identified", pytest.approx(skin))


@pytest.mark.parametrize("share", [0.0, 0.08])
def test_prepeak(share):
    rise = 0.5 + np.arctan((ENERGY - 536.0) / 0.4) / np.pi
    edge = 1000 * rise * (ENERGY / 536) ** -3.5
    whole = edge[(ENERGY > 526.5) & (ENERGY < 556.5)].sum()
    line = np.exp(-0.5 * ((ENERGY - 529.5) / 0.9) ** 2)
    edge = edge + share / (1 - share) * whole * line / line.sum()
    counts = np.random.default_rng(3).poisson(2e4 * (ENERGY / 500) ** -3 + edge)
    found = oxygen_prepeak(ENERGY, counts, None, shift_se_eV=0.2, seed=1)
    # The foot of the arctan stands in the window too.
    foot = edge[(ENERGY > 526.5) & (ENERGY < 532)].sum() / edge[(ENERGY > 526.5) & (ENERGY < 556.5)].sum()
    assert found.ratio == pytest.approx(foot, abs=4 * found.se + 0.01)
    assert (found.ratio > found.limit) == bool(share)


def test_decay_and_its_interval():
    middle, end = middle_doses([200.0] * 6)
    assert middle[0] == 100
    assert end[-1] == 1200
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        errors = np.full(6, 0.03)
        values = np.exp(-middle / 750.0) + errors * rng.standard_normal(6)
        found = decay("line", middle, values, errors)
        inside += found.low < 750 < found.high
    assert 52 <= inside <= 60
    assert at_zero_dose(0.5, 750.0, 1 / 750, 0.0)[0] == pytest.approx(0.5 * np.e)


def test_growth_is_no_decay():
    middle, _ = middle_doses([200.0] * 5)
    found = decay("C K mass", middle, 1 + middle / 1000, np.full(5, 0.02))
    assert not found.fades
    assert np.isnan(found.critical)
    assert found.rate < 0
    assert decay("line", middle[:2], np.ones(2), np.ones(2)) is None


def test_skin_by_either_measure_and_valence_of_the_surface_minus_the_bulk():
    def shell(depth, position, ratio, bulk=False):
        return {
            "depth_nm": depth, "bulk": bulk, "reason": "", "position_eV": position, "position_se_eV": 0.1,
            "ratio": ratio, "ratio_se": 0.1,
        }  # fmt: skip

    bulk = shell(9.0, 643.0, 2.0, bulk=True)
    # The first two shells by both measures, the third by its ratio alone.
    reduced = [shell(1.0, 641.8, 2.8), shell(3.0, 642.0, 2.7), shell(5.0, 642.8, 2.6)]
    row = skin_rows([*reduced, shell(7.0, 643.0, 2.0), bulk], "")[0]
    assert (row.status, row.value) == ("identified", 6.0)
    deeper = skin_rows([*reduced, bulk], "")[0]
    assert (deeper.status, deeper.value) == ("not_identifiable", None)
    assert "to 6 nm at least" in deeper.note
    weak = shell(7.0, 642.0, 2.6) | {"reason": "too weak"}
    assert skin_rows([*reduced, weak, bulk], "")[0].status == "not_identifiable"
    assert all_reduced([*reduced, bulk])
    assert not all_reduced([*reduced, shell(7.0, 643.0, 2.0), bulk])
    assert skin_rows([shell(1.0, 643.0, 2.1), shell(3.0, 643.0, 2.0), bulk], "")[0].status == "bounded"

    standards = [
        Standard(name, valence, WhiteLines("Mn", ratio=ratio, ratio_sys=0.05))
        for name, valence, ratio in (("MnO", 2.0, 2.9), ("MnO2", 4.0, 1.9))
    ]
    ends = [
        WhiteLines("Mn", ratio=ratio, ratio_se=0.05, ratio_sys=0.1, position_eV=642.0, position_se_eV=0.1)
        for ratio in (2.9, 1.9)
    ]
    rows = {item.endpoint: item for item in change_rows(*ends, standards, "")}
    assert rows["mn_valence_change"].value == pytest.approx(-2.0)
    # The recipe moves both ends alike: less is left than one end has.
    assert rows["mn_valence_change"].se_sys < valence_of(1.9, 0.05, 0.1, standards).systematic
    assert not rows["mn_l3_shift_eV"].value
