"""Odd spectrum images in one go: every one ends with all rows, a status and a reason."""

import numpy as np
import pytest
from layer_maps import count_maps
from test_layer_spectrum_image import KNOWN, run  # noqa: F401  (a fixture)

from ceiflow.study.measurements import LAYER_ENDPOINTS
from ceiflow.study.metadata import MISSING


def flat(shape, metal, carbon, rng, noise=10.0):
    """Maps of given means."""
    out = {}
    for name, mean in (("metal", metal), ("carbon", carbon)):
        mean = np.broadcast_to(np.asarray(mean, float), shape)
        variance = mean + noise**2
        out[name] = (mean + rng.normal(size=shape) * np.sqrt(variance), variance, mean)
    return out


def disc(shape, centre, radius):
    rows, columns = np.indices(shape)
    return (np.hypot(rows - centre[0], columns - centre[1]) < radius).astype(float)


def conformal(shape, mask, thickness, metal=1000.0, carbon=500.0):
    """A particle, blurred, with a layer around it."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    outside = distance_transform_edt(mask < 0.5)
    layer = ((outside > 0) & (outside <= thickness)).astype(float)
    return metal * gaussian_filter(mask, 0.7), carbon * gaussian_filter(layer, 0.7)


def line(shape, edge, thickness, axis, carbon=500.0):
    x = np.arange(shape[axis], dtype=float)
    from scipy.special import ndtr

    metal, layer = 1000 * ndtr(x - edge), carbon * (ndtr(x - edge + thickness) - ndtr(x - edge))
    if axis == 0:
        metal, layer = metal[:, None], layer[:, None]
    return metal, layer


def scenes():
    shape = (40, 50)
    three = np.zeros(shape)
    three[:, :25] = 1.0
    two = np.maximum(disc(shape, (20, 10), 8), disc(shape, (20, 38), 8))
    hole = disc(shape, (20, 25), 12) - disc(shape, (20, 25), 4)
    wide = conformal(shape, three, 6)
    return {
        "three sides": (shape, *wide),
        "two particles": (shape, *conformal(shape, two, 4)),
        "hole": (shape, *conformal(shape, hole, 4)),
        "vacuum": (shape, 0.0, 0.0),
        "particle alone": (shape, 1000.0, 0.0),
        "three by three": ((3, 3), 1000.0 * three[:3, 24:27], 0.0),
        "support": (shape, wide[0], 400.0 + wide[1]),
        "bare on support": (shape, wide[0], 400.0),
        "carbon to the frame": (shape, wide[0], 500.0 * (1 - wide[0] / 1000)),
        "one row": ((1, 60), *line((1, 60), 30.0, 8.0, 1)),
        "one column": ((60, 1), *line((60, 1), 30.0, 8.0, 0)),
        "two rows": ((2, 60), *line((2, 60), 30.0, 8.0, 1)),
        "four rows": ((4, 60), *line((4, 60), 30.0, 8.0, 1)),
        "bare line": ((2, 60), *line((2, 60), 30.0, 0.0, 1)),
        "few counts": (shape, wide[0] / 2000, wide[1] / 2000),
    }


COVERED = {"three sides": 6, "two particles": 4, "hole": 4, "support": 6, "one row": 8, "one column": 8}
COVERED |= {"two rows": 8, "four rows": 8}
WITHOUT = ("vacuum", "particle alone", "three by three", "bare on support", "bare line")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", list(scenes()))
def test_odd_input_ends_with_rows_and_reasons(run, name):  # noqa: F811
    shape, metal, carbon = scenes()[name]
    rng = np.random.default_rng(3)
    noise = 1.0 if name == "few counts" else 10.0
    rows, *_ = run(flat(shape, metal, carbon, rng, noise), name.replace(" ", "-"))
    for endpoint in LAYER_ENDPOINTS:
        assert rows[endpoint]["status"] in ("identified", "bounded", "not_identifiable")
        assert rows[endpoint]["status"] != "not_identifiable" or rows[endpoint]["note"]
    thickness = rows["layer_thickness_nm"]
    if name in COVERED:
        assert thickness["status"] == "identified", thickness["note"]
        error = np.hypot(float(thickness["se_stat"]), float(thickness["se_sys"] or 0))
        assert float(thickness["value"]) == pytest.approx(COVERED[name], abs=max(3 * error, 0.5))
    if name in WITHOUT:
        assert thickness["status"] != "identified"
    if name in ("vacuum", "particle alone"):
        assert thickness["status"] == "not_identifiable"
        assert "surface" in thickness["note"]
    if name == "carbon to the frame":
        assert thickness["status"] == "not_identifiable"
        assert "end of the view" in thickness["note"]
    if name == "few counts":
        assert thickness["status"] != "identified" or float(thickness["value"]) < 12


def test_line_that_ends_soon_says_how_far_it_sees(run):  # noqa: F811
    rng = np.random.default_rng(5)
    maps = flat((2, 24), *line((2, 24), 2.0, 0.0, 1), rng)
    rows, layer, summary, _, _ = run(maps, "short")
    assert rows["layer_thickness_nm"]["status"] != "identified"
    assert any("nm of vacuum in view" in note for note in summary["notes"])
    assert any("line scan" in note for note in summary["notes"])
    assert float(layer[0]["inner_column"]) == pytest.approx(2.0, abs=0.3)


def test_line_without_carbon_has_a_surface_and_says_what_is_missing(run):  # noqa: F811
    rng = np.random.default_rng(6)
    maps = flat((2, 24), *line((2, 24), 4.0, 0.0, 1), rng)
    rows, layer, summary, _, masks = run(maps, "no-carbon", elements=("Mn",))
    assert rows["layer_thickness_nm"]["status"] == "not_identifiable"
    assert "C was not quantified" in rows["layer_thickness_nm"]["note"]
    assert layer[0]["thickness_nm"] == ""
    assert {"particle", "surface"} <= set(masks)
    assert 0 < summary["layer"]["edge_std_nm"] < 0.5


@pytest.mark.parametrize(("width", "known"), [(40, True), (15, False)])
def test_what_stands_beside_a_layer_of_unknown_reach_is_no_film(run, width, known):  # noqa: F811
    """Too little vacuum in view to tell a layer: carbon beside the surface may be its own."""
    rng = np.random.default_rng(8)
    edge = np.repeat([1.0, 0.0], [12, width - 12])
    layer = ((np.arange(width) >= 12) & (np.arange(width) < 19)).astype(float)
    rows, _, _, _, masks = run(flat((30, width), 1000 * edge, 500 * layer, rng), f"reach-{width}")
    assert (rows["layer_thickness_nm"]["status"] == "identified") == known
    assert ("beside" in masks) == known


def test_layer_without_pixel_size(run):  # noqa: F811
    out, _, _ = count_maps(np.random.default_rng(0))
    rows, *_ = run(out, "no-size", known={**KNOWN, "pixel_size_nm": MISSING})
    assert rows["layer_thickness_nm"]["note"] == "pixel size missing"


def carbon_scene(depth_of_matter, carbon_of_matter, thickness=8):
    """Areal carbon and t/lambda of a slab under a layer of Li2CO3, in vacuum."""
    x = np.arange(40.0)
    slab, layer = x < 18, (x >= 18) & (x < 18 + thickness)
    carbon = slab * depth_of_matter * carbon_of_matter + layer * depth_of_matter * 17.2
    return np.tile(carbon, (24, 1)), np.tile((slab * 0.4 + layer * 0.3) * depth_of_matter / 50, (24, 1))


@pytest.mark.parametrize(("per_nm3", "surface"), [(0.0, False), (95.0, True)], ids=["oxide", "carbon black"])
@pytest.mark.parametrize("matter", ["thickness_over_mfp", "total_counts"])
def test_carbon_marks_no_particle_where_most_matter_has_none(per_nm3, surface, matter):
    from ceiflow.layer.elements import FitMaps, choose
    from ceiflow.study import load_config

    rng = np.random.default_rng(5)
    carbon, thickness = carbon_scene(50.0, per_nm3)
    noise = np.full(carbon.shape, 60.0)
    missing = "Co L (779 eV) lies above the range, which ends at 761 eV"
    fit = FitMaps(
        None,
        {"C": carbon + rng.normal(size=carbon.shape) * noise},
        {"C": noise},
        {},
        {},
        {},
        {matter: thickness + rng.normal(size=carbon.shape) * 0.01},
        {"Co": missing},
    )
    choice = choose(fit, load_config({})["layer"])
    assert (not choice.reason) == surface
    if not surface:
        assert choice.reason.startswith("no surface in view: matter without carbon")
        assert missing in choice.reason
