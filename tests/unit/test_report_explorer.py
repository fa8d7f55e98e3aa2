"""The explorer's data: sums, errors and pooling against a simulated recording, and the bytes of its page."""

import base64
import json
import re
import shutil
import zlib

import h5py
import numpy as np
import pytest
from test_eels_stages import CONFIG, simulate, write

from ceiflow import eels
from ceiflow.eels.bins import bin_sizes, fit_bins, pool, pool_zones
from ceiflow.phantom.spectra import Beam
from ceiflow.report.explorer import poolings, write_explorer
from ceiflow.signals import store

HOSTILE = '</script><script>alert("1")</script>'


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    beam = Beam(electrons=4e6)
    image = simulate(beam)
    signal = write(folder / "a.h5", image, beam)
    paths = {name: folder / f"{name}.h5" for name in ("edges", "calibrated", "maps")}
    eels.edges([signal], paths["edges"], CONFIG)
    eels.calibrate(signal, paths["calibrated"], CONFIG)
    zone = np.zeros((12, 30), np.uint8)
    zone[:, 8:12], zone[:, 20:] = 1, 2
    with h5py.File(paths["maps"], "w") as file:
        file["zone"] = zone
    return {**paths, "zone": zone, "image": image, "folder": folder}


def fits(study, side=1, factor=1):
    return fit_bins(study["calibrated"], study["edges"], CONFIG, study["zone"], side, factor)


def density(found, inside):
    electrons = found.total[inside].sum() * found.source.exposure_ratio
    values = found.theta[inside].sum(0) / electrons
    counting = np.sqrt(np.diagonal(found.covariance[inside].sum(0))) / electrons
    return values, np.hypot(counting, found.floor[inside].sum(0) / electrons)


@pytest.mark.parametrize(("side", "factor"), [(1, 1), (2, 1), (2, 2)])
def test_amounts_of_a_region_are_those_of_the_simulation(study, side, factor):
    found = fits(study, side, factor)
    inside = found.zone == 1
    values, errors = density(found, inside)
    scale = found.scale_errors * values
    for element in ("C", "O"):
        i = found.elements.index(element)
        truth = study["image"].areal_density[element][:, 8:12].mean()
        assert abs(values[i] - truth) < 3.3 * np.hypot(errors[i], scale[i])
    # None of these is in the layer: what is found is within the errors that the page gives.
    for element in ("F", "Mn", "Co", "Ni"):
        i = found.elements.index(element)
        assert abs(values[i]) < 3.3 * errors[i]


def test_model_of_a_region_describes_its_counts(study):
    found = fits(study)
    for label in (1, 2):
        inside = found.zone == label
        model = np.einsum("bk,bkn->n", found.amplitudes[inside], found.basis[found.group[inside]])
        counts = found.counts[inside].sum(0)
        assert np.mean((counts - model) ** 2 / model) < 2.5


def test_pooled_counts_are_sums(study, tmp_path):
    pool(study["calibrated"], tmp_path / "pooled.h5", 3)
    data = store.open_signal(study["calibrated"], "core_loss").read()
    pooled = store.open_signal(tmp_path / "pooled.h5", "core_loss")
    np.testing.assert_array_equal(pooled.read()[1, 2], data[3:6, 6:9].sum((0, 1)))
    assert pooled.pixel_size_nm == pytest.approx(9.0)
    zones = pool_zones(study["zone"], 3).reshape(4, 10)
    np.testing.assert_array_equal(zones[0], [0, 0, 0, 1, 0, 0, 0, 2, 2, 2])


@pytest.mark.parametrize("side", [5, 7, 30])
def test_pooling_loses_no_pixel(study, tmp_path, side):
    """The last row and column of bins hold what whole bins leave, and nothing is taken twice."""
    dark = 0.25
    pool(study["calibrated"], tmp_path / "pooled.h5", side, dark)
    for role in ("core_loss", "low_loss"):
        data = store.open_signal(study["calibrated"], role).read()
        pooled = store.open_signal(tmp_path / "pooled.h5", role).read()
        assert pooled.shape[:2] == (-(-12 // side), -(-30 // side))
        want = data.sum((0, 1), dtype=float) - dark * 12 * 30
        np.testing.assert_allclose(pooled.sum((0, 1), dtype=float), want, rtol=1e-5, atol=1e-2)
        corner = data[12 // side * side :, 30 // side * side :]
        if corner.size:
            assert pooled[-1, -1].sum() == pytest.approx((corner - dark).sum(dtype=float), rel=1e-5)
    assert bin_sizes((12, 30), side).sum() == 12 * 30
    zones = pool_zones(study["zone"], side)
    assert zones.size == bin_sizes((12, 30), side).size


def test_bins_of_a_remainder_have_the_density_of_their_pixels(study):
    """Also where one low loss stands for all pixels: a bin has had the beam of each of its own."""
    single = study["folder"] / "single.h5"
    shutil.copyfile(study["calibrated"], single)
    with h5py.File(single, "a") as file:
        data, attributes = file["low_loss/data"][()], dict(file["low_loss/data"].attrs)
        del file["low_loss/data"]
        one = file.create_dataset("low_loss/data", data=data.mean((0, 1), keepdims=True))
        one.attrs.update(attributes)
    for calibrated in (study["calibrated"], single):
        found = fit_bins(calibrated, study["edges"], CONFIG, study["zone"], 5)
        assert found.shape == (3, 6)
        last = np.arange(18).reshape(3, 6)[-1, 4:]  # two rows of pixels instead of five, all in the particle
        assert (found.zone[last] == 2).all()
        values, errors = density(found, last)
        whole, whole_errors = density(found, np.arange(18).reshape(3, 6)[:-1, 4:].ravel())
        oxygen = found.elements.index("O")
        assert abs(values[oxygen] - whole[oxygen]) < 4 * np.hypot(errors[oxygen], whole_errors[oxygen])


def unpack(text, name):
    found = re.search(rf'id="data-{name}">([^<]*)<', text).group(1)
    return np.frombuffer(zlib.decompress(base64.b64decode(found)), np.uint8)


def page_of(study, output, **more):
    write_explorer(study["calibrated"], study["edges"], study["maps"], output, CONFIG, **more)
    text = output.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'id="facts">(.*?)</script>', text, re.S).group(1))


def test_page_holds_the_counts_and_is_the_same_twice(study, tmp_path):
    text, facts = page_of(study, tmp_path / "a.html")
    again, _ = page_of(study, tmp_path / "b.html")
    assert text == again
    planes = unpack(text, "counts").reshape(facts["planes"], -1).astype(np.int64)
    counts = sum(plane << (8 * index) for index, plane in enumerate(planes)) * facts["step"] + facts["lowest"]
    np.testing.assert_array_equal(counts.reshape(360, -1), fits(study).counts)
    assert facts["side"] == 1
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)


def test_large_data_are_pooled_until_they_fit(study, tmp_path):
    whole, _ = page_of(study, tmp_path / "a.html")
    limit = 3 * len(whole) // 4
    text, facts = page_of(study, tmp_path / "b.html", largest=limit)
    assert len(text) <= limit
    assert facts["side"] > 1 or facts["factor"] > 1
    assert "drawn as one" in text or "pooled" in text
    ways = list(poolings(study["calibrated"], CONFIG, limit))
    assert ways == sorted(ways)


def test_failed_acquisition_gets_a_page_with_the_reason(study, tmp_path):
    broken = tmp_path / "maps.h5"
    store.write_failed(broken, store.read_header(study["calibrated"]), f"no layer {HOSTILE}")
    write_explorer(study["calibrated"], study["edges"], broken, tmp_path / "a.html", CONFIG)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "could not be analysed" in text
    assert "<script" not in text
    assert "&lt;/script&gt;" in text


def test_text_from_data_is_no_script(study, tmp_path):
    hostile = tmp_path / "calibrated.h5"
    shutil.copyfile(study["calibrated"], hostile)
    with h5py.File(hostile, "a") as file:
        file.attrs["acquisition_id"] = HOSTILE
    write_explorer(hostile, study["edges"], study["maps"], tmp_path / "a.html", CONFIG)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    scripts = re.findall(r"<script(?![^>]*type=)[^>]*>(.*?)</script>", text, re.S)
    assert len(scripts) == 1
