"""A carbon film behind the particle: whole spectrum images with and without it give the same layer."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ceiflow.layer.spectrum_image import measure_spectrum_image
from ceiflow.phantom.geometry import Scene, make_arc, pixel_paths, surface_in_view
from ceiflow.phantom.materials import MATERIALS, mix
from ceiflow.study import load_config

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "layer"))
import recorded

SHAPE, PIXEL_NM, DOSE = (24, 40), recorded.PIXEL_NM, 1500.0
LAYER = {"Li2CO3": 0.5, "polyether": 0.5}
OUTPUTS = {"maps": "maps.h5", "layer": "layer.tsv", "spectra": "spectra.tsv", "summary": "summary.json"}
OUTPUTS |= {"measurements": "measurements.tsv", "fine_structure": "fine_structure.json"}


def measured(folder, film_nm, seed):
    """Rows by (zone, endpoint), summary, and the true mean thickness of one recorded spectrum image."""
    rng = np.random.default_rng(seed)
    arc = make_arc(rng, 400.0, thickness_nm=10.0, sd_nm=0.3, relief_nm=0.2)
    scene = Scene(kind="facet", arc=arc, radius_nm=200.0, depth_nm=40.0, tilt_rad=0.002, angle_rad=0.2)
    paths = pixel_paths(scene, SHAPE, PIXEL_NM, 5, 1.0, 0.01)
    lengths = {name: paths[name] for name in ("oxide", "skin", "layer")} | {"film": np.full(SHAPE, film_nm)}
    materials = {"oxide": MATERIALS["NMC532"], "skin": MATERIALS["rocksalt"], "layer": mix(LAYER)}
    materials["film"] = MATERIALS[next(name for name in MATERIALS if "carbon" in name.lower())]
    config = load_config({})
    names = recorded.fitted(folder, lengths, materials, recorded.beam(DOSE), seed, rng, config)
    outputs = {key: folder / value for key, value in OUTPUTS.items()}
    measure_spectrum_image(names["calibrated"], names["fit"], names["edges"], outputs, config)
    with open(outputs["measurements"], encoding="utf-8", newline="") as handle:
        rows = {(row["zone"], row["endpoint"]): row for row in csv.DictReader(handle, delimiter="\t")}
    truth = float(surface_in_view(scene, SHAPE, PIXEL_NM)["thickness_nm"].mean())
    return rows, json.loads(outputs["summary"].read_text()), truth


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return [measured(tmp_path_factory.mktemp(f"film{film:g}"), film, 21) for film in (0.0, 10.0)]


def error_of(row):
    return float(np.hypot(float(row["se_stat"]), float(row["se_sys"] or 0.0)))


def test_thickness_does_not_see_the_film(both):
    for rows, _, truth in both:
        row = rows["layer", "layer_thickness_nm"]
        assert row["status"] == "identified"
        assert abs(float(row["value"]) - truth) < 2.5 * error_of(row)
        assert float(row["value"]) == pytest.approx(truth, abs=0.5)
    assert any("one design" in note for note in both[1][1]["notes"])
    assert not any("one design" in note for note in both[0][1]["notes"])


def test_film_is_in_no_zone(both):
    (bare, summary, _), (backed, with_film, _) = both
    assert "beside_the_layer_per_nm2" not in summary
    assert with_film["beside_the_layer_per_nm2"]["C"] > 500
    first, second = (rows["layer", "areal_density_C_per_nm2"] for rows in (bare, backed))
    assert float(second["value"]) == pytest.approx(
        float(first["value"]), abs=3 * np.hypot(error_of(first), error_of(second))
    )
    # What is left of the particle's carbon is nothing, as without the film.
    for zone in ("particle", "surface"):
        assert backed[zone, "areal_density_C_per_nm2"]["status"] == "bounded"
        assert "beside" in backed[zone, "areal_density_C_per_nm2"]["note"]
    first, second = (rows["all", "areal_density_C_per_nm2"] for rows in (bare, backed))
    assert float(second["value"]) == pytest.approx(
        float(first["value"]), abs=3 * np.hypot(error_of(first), error_of(second))
    )
