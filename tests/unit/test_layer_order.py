"""Order of the elements along the normal, on profiles drawn without the estimator's kernels."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from ceiflow.layer.estimate import estimate
from ceiflow.layer.order import interface_rows, interfaces, order
from ceiflow.layer.profile import Species
from ceiflow.study.measurements import Measurement, bounded


def maps(rng, outer, inner=None, scale=1.0, rows=40):
    """Mn, C, F, O of a straight edge; F between `inner`, C from there to `outer` nm. 0.1 nm fine grid."""
    fine = np.arange(-20, 40, 0.1) + 0.05
    inner = outer if inner is None else inner
    shape = {
        "Mn": 1000.0 * (fine < 0),
        "C": 400.0 * ((fine >= (inner if inner < outer else 0)) & (fine < outer)) + 20,
        "F": 300.0 * ((fine >= 0) & (fine < inner)),
        "O": 900.0 * (fine < 0) + 500.0 * ((fine >= 0) & (fine < outer)),
    }
    out, columns = {}, 60
    for name, mean in shape.items():
        seen = gaussian_filter1d(mean, 8, mode="nearest").reshape(columns, 10).mean(1) * scale
        variance = np.broadcast_to(seen + 30 * scale, (rows, columns))
        out[name] = (rng.normal(size=variance.shape) * np.sqrt(variance) + seen, variance)
    distance = np.broadcast_to(np.arange(columns) - 19.5, (rows, columns))
    return out, distance


def found(rng, **more):
    seen, distance = maps(rng, **more)
    segment = np.repeat(np.arange(8), 5)[:, None] + np.zeros(distance.shape, int)
    species = {
        name: Species(name, values.ravel(), variance.ravel(), particle=name in ("Mn", "O"))
        for name, (values, variance) in seen.items()
    }
    flat = (distance.ravel(), segment.ravel())
    profile = estimate(*flat, [species["Mn"], species["C"]], 8, np.full(8, np.inf), 1.0, inner_nm=12.0)
    rest = [species[name] for name in ("C", "F", "O")]
    return interfaces(*flat, profile, species["Mn"], rest, np.inf, 1.0, 12.0, 30.0)


def test_carbon_outside_fluorine_inside():
    z = []
    for seed in range(6):
        edges = found(np.random.default_rng(seed), outer=10.0, inner=4.0)
        assert order(edges)[-1] == ["F"]
        assert edges["F"].outer_nm == pytest.approx(4.0, abs=0.25)
        assert edges["C"].outer_nm == pytest.approx(10.0, abs=0.25)
        assert edges["C"].inner_nm == pytest.approx(4.0, abs=0.3)
        z += [(edges[n].outer_nm - t) / edges[n].outer_std_nm for n, t in (("F", 4.0), ("C", 10.0))]
    assert np.sqrt(np.mean(np.square(z))) < 2.0


def test_one_layer_has_one_outer_edge():
    together = [set(order(found(np.random.default_rng(seed), outer=8.0))[0]) for seed in range(6)]
    assert sum({"C", "F", "O"} == item for item in together) >= 5


def test_reduced_skin_comes_last():
    edges = found(np.random.default_rng(2), outer=10.0, inner=4.0)
    skin = Measurement("surface", "reduced_skin_nm", 2.0, 0.3)
    assert order(edges, [skin]) == [*order(edges), ["reduced_skin"]]
    assert order(edges, [bounded("surface", "reduced_skin_nm", 1.0)]) == order(edges)


def test_too_little_is_not_placed():
    edges = found(np.random.default_rng(1), outer=8.0, inner=0.0, scale=0.5)
    assert "F" not in edges
    rows = {row.endpoint: row for row in interface_rows(edges, ["C", "F", "Mn"], "Mn+Co", "")}
    assert rows["interface_position_C_nm"].status == "identified"
    assert "too little F" in rows["interface_position_F_nm"].note
    assert "count from" in rows["interface_position_Mn_nm"].note
