"""Images: the gap on made fields, bias from pristine images, and files from a made image."""

import csv
import json

import h5py
import numpy as np
import pytest
from scipy.special import ndtr

from ceiflow.layer import bias, rim
from ceiflow.layer.gap import by_segment, edge_noise_nm, outer_distances
from ceiflow.layer.image import measure_image
from ceiflow.layer.segments import divide
from ceiflow.layer.summary import Trace
from ceiflow.layer.surface import trace_surface
from ceiflow.signals.store import Header, create_h5, write_header
from ceiflow.study import load_config
from ceiflow.study.measurements import endpoints
from ceiflow.study.metadata import METADATA, MISSING, Value


def discs(shape=(160, 160), centre=(80, 80), inner=40.0, outer=60.0, blur=3.0):
    rows, columns = np.indices(shape)
    r = np.hypot(rows - centre[0], columns - centre[1])
    return ndtr((inner - r) / blur), ndtr((outer - r) / blur)


def test_gap_of_concentric_discs():
    lattice, matter = discs()
    surface = trace_surface(lattice, 0.5, 0.1, smooth_nm=0.3, facing_nm=2.0)
    depths = outer_distances(surface, matter, 0.5, 0.3, None, 10.0)
    assert np.allclose(depths, 2.0, atol=0.03)
    gap = by_segment(depths, divide(surface, 2.0), 0.05, 0.3, surface.step_nm)
    assert np.allclose(gap.gap_nm, 2.0, atol=0.03)
    assert (gap.share == 1.0).all()
    assert (gap.std_nm < 0.1).all()


@pytest.mark.parametrize("outer", [40.0, 38.0])
def test_bare_disc_has_no_gap_and_a_lattice_beyond_the_edge_a_negative_one(outer):
    lattice, matter = discs(outer=outer)
    surface = trace_surface(lattice, 0.5, 0.1, smooth_nm=0.3)
    depths = outer_distances(surface, matter, 0.5, 0.3, None, 10.0)
    assert np.allclose(depths, (outer - 40) * 0.1, atol=0.03)


def test_no_edge_within_reach_is_no_gap():
    lattice, matter = discs(outer=60.0)
    surface = trace_surface(lattice, 0.5, 0.1, smooth_nm=0.3)
    assert np.isnan(outer_distances(surface, matter, 0.5, 0.3, None, 1.0)).all()
    assert np.isnan(outer_distances(surface, np.zeros_like(matter), 0.5, 0.3, None, 9.0)).all()
    blind = np.zeros(matter.shape, dtype=bool)
    assert np.isnan(outer_distances(surface, matter, 0.5, 0.3, blind, 9.0)).all()


def test_noise_of_a_contour_is_noise_over_slope():
    assert edge_noise_nm(0.1, 0.5) == pytest.approx(0.1 * np.sqrt(2 * np.pi) * 0.5)
    assert edge_noise_nm(float("nan"), 0.5) == 0.0


def pristine(path, gap, defocus, spacing=0.2036, patchy=False):
    entry = {"gap_median_nm": gap, "gap_sd_nm": 0.1, "patchy": patchy}
    entry["lattice"] = {"smallest_spacing_nm": spacing}
    content = {"layer": entry, "metadata": {"defocus_nm": {"value": defocus, "origin": "sheet"}}}
    path.write_text(json.dumps(content))
    return path


def test_pristine_images_of_like_settings_only(tmp_path):
    made = [(0.4, 80), (0.6, -100), (3.0, 900), (None, 90), (3.0, 90, 0.35), (3.0, 90, 0.2036, True)]
    entries = bias.read([pristine(tmp_path / f"{i}.json", *item) for i, item in enumerate(made)])
    assert len(entries) == 5
    found = bias.calibrate(entries, 90.0, 0.2036, False)
    assert found.n == 2
    # What simulated slabs have as well is taken off, and half of the rest; the scatter is pooled.
    alone = bias.calibrate([], 90.0, 0.2036, False).offset_nm
    assert found.offset_nm == pytest.approx((0.5 + alone) / 2)
    assert found.left_nm == pytest.approx(0.5 - found.offset_nm)
    assert found.transfer_nm > (0.5 - alone) / np.sqrt(12)
    assert 0.08 < found.scatter_nm < 0.2
    assert found.offset_sd_nm == pytest.approx(found.scatter_nm / np.sqrt(2))
    assert bias.calibrate(entries, None, 0.2036, False).n == 0
    assert bias.calibrate(entries, 500.0, 0.2036, False).n == 0


def test_without_pristine_images_the_simulated_bias_stands_in(tmp_path):
    none = bias.calibrate([], 150.0, 0.2036, False)
    assert none.n == 0
    assert none.n_behind == bias.SIMULATED_BARE
    assert -0.4 < none.offset_nm < 0.1
    one = bias.calibrate(bias.read([pristine(tmp_path / "a.json", 1.0, 150)]), 150.0, 0.2036, False)
    assert one.offset_nm + one.left_nm == pytest.approx(1.0)
    assert one.offset_sd_nm == pytest.approx(one.scatter_nm)
    # Far out of focus nothing was simulated: what is not known grows.
    far = bias.calibrate([], 900.0, 0.2036, False)
    assert far.scatter_nm > 2 * bias.calibrate([], 300.0, 0.2036, False).scatter_nm
    unknown = bias.calibrate([], None, 0.2036, False)
    assert unknown.offset_nm == 0
    assert unknown.scatter_nm > none.scatter_nm


def test_limit_grows_with_few_pristine_images_and_scatter(tmp_path):
    def limit(gaps, dose=400.0, defocus=80.0):
        paths = [pristine(tmp_path / f"{i}.json", gap, defocus) for i, gap in enumerate(gaps)]
        found = bias.calibrate(bias.read(paths), defocus, 0.2036, False)
        return bias.limit_of(found, defocus, 300.0, 0.2036, 0.4, 0.0, 0.0, dose)

    terms = ("fresnel", "delocalisation", "window", "pristine")
    calm, wild, alone = limit([0.1, 0.2, 0.3, 0.2]), limit([0.1, 2.0, -1.0, 1.2]), limit([0.2])
    assert wild["total_nm"] > calm["total_nm"]
    assert calm["factor"] == pytest.approx(np.sqrt(1.25))
    assert alone["factor"] == pytest.approx(np.sqrt(2.0))
    assert calm["total_nm"] == pytest.approx(
        calm["factor"] * max(calm[f"{name}_nm"] for name in terms) + calm["bare_mean_nm"]
    )


def test_absence_is_not_claimed_at_a_dose_that_does_not_show_carbon():
    found = bias.calibrate([], 40.0, 0.2036, False)
    dim = bias.limit_of(found, 40.0, 300.0, 0.2036, 1.0, 0.0, 0.0, 100.0)
    assert dim["total_nm"] is None
    assert "too few" in dim["reason"]
    assert bias.limit_of(found, 40.0, 300.0, 0.2036, 1.0, 0.0, 0.0, 400.0)["total_nm"] > 0
    assert bias.limit_of(found, 80.0, 300.0, 0.2036, 1.0, 0.0, 0.0, 100.0)["total_nm"] > 0
    assert bias.limit_of(found, None, 300.0, 0.2036, 1.0, 0.0, 0.0, 500.0)["total_nm"] is None


def test_terms_of_the_systematic_error():
    found = bias.calibrate([], 80.0, 0.2, False)
    terms = bias.systematic_terms(found, {"fresnel_nm": 0.4, "delocalisation_nm": 0.8}, 0.6)
    assert set(terms) == {"bias", "image_scatter", "transfer", "fresnel", "delocalisation", "hull"}
    assert terms["image_scatter"] == found.scatter_nm


def test_errors_of_a_thin_rim_stay_below_its_limit():
    n = 3
    line = np.zeros((n, 2))
    trace = Trace(
        position_nm=np.arange(n) * 2.0,
        length_nm=np.full(n, 2.0),
        stretch=np.zeros(n, int),
        thickness_nm=np.array([10.0, 0.0, 0.1]),
        std_nm=np.array([0.2, 400.0, np.nan]),
        lod_nm=np.array([2.0, 2.0, np.nan]),
        present=np.array([True, False, False]),
        point=line, outer=line, inner=line,
        common_covariance_nm2=np.diag([0.01, 1e5, 1.0]),
    )  # fmt: skip
    mended = rim._bare(trace)
    assert np.allclose(mended.std_nm[:2], [0.2, 1.0])
    assert np.isnan(mended.std_nm[2])
    assert mended.common_covariance_nm2[1, 1] < 1.0


def rim_image(rng, thickness=10.0, pixel=0.5, modality="adf"):
    rows, columns = np.indices((240, 240))
    r = np.hypot(rows - 120, columns - 120) * pixel
    blur = 0.7
    path = 0.3 * ndtr((40 + thickness - r) / blur) + 0.7 * ndtr((40 - r) / blur)
    mean = 20 + 400 * path if modality == "adf" else 400 * np.exp(-1.2 * path)
    return rng.poisson(mean).astype(np.float32)


@pytest.mark.parametrize(("modality", "defocus"), [("adf", None), ("tem", 100.0), ("tem", None)])
@pytest.mark.parametrize("thickness", [10.0, 0.0])
def test_rim_in_brightness(tmp_path, modality, defocus, thickness):
    image = rim_image(np.random.default_rng(4), thickness, modality=modality)
    known = {"pixel_size_nm": Value(0.5, "file"), "beam_energy_keV": Value(300.0, "file")}
    if defocus is not None:
        known["defocus_nm"] = Value(defocus, "sheet")
    header = Header("i1", modality, metadata={name: known.get(name, MISSING) for name in METADATA})
    with create_h5(tmp_path / "signal.h5") as file:
        write_header(file, header)
        file["image/data"] = image
    names = {"layer": "layer.tsv", "overlay": "overlay.h5", "measurements": "m.tsv", "summary": "s.json"}
    outputs = {key: tmp_path / name for key, name in names.items()}
    measure_image(tmp_path / "signal.h5", outputs, load_config({}))
    with open(outputs["measurements"], encoding="utf-8", newline="") as handle:
        rows = {row["endpoint"]: row for row in csv.DictReader(handle, delimiter="\t")}
    assert set(rows) == set(endpoints(modality))
    summary = json.loads(outputs["summary"].read_text())
    with h5py.File(outputs["overlay"]) as file:
        assert file["image"].shape == (240, 240)
        assert file.attrs["bin"] == 1
    if thickness:
        assert float(rows["layer_thickness_nm"]["value"]) == pytest.approx(thickness, abs=0.3)
    else:
        assert rows["layer_thickness_nm"]["status"] != "identified"
    if modality == "tem" and defocus is None:
        assert rows["layer_coverage"]["status"] == "not_identifiable"
        assert "defocus" in summary["qc_reason"]
    else:
        assert float(rows["layer_coverage"]["value"]) == (1.0 if thickness else 0.0)
