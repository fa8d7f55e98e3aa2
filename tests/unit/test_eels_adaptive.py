"""Adaptive bins: pooled until the wanted ratio is known, on spectra of five counts a channel."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from test_eels_stages import CONFIG, ELEMENTS, write

from ceiflow import eels
from ceiflow.eels import adaptive
from ceiflow.phantom.materials import mix
from ceiflow.phantom.spectra import Beam, simulate_dual

TARGET = 0.15
SHAPE = (28, 40)


def made_of(target=TARGET, **changes):
    options = {"enabled": True, "wanted": "C/O", "relative_error": target, "largest_number": 1024, **changes}
    return {**CONFIG, "eels": {**CONFIG["eels"], "bins": options}}


@pytest.fixture(scope="module")
def faint(tmp_path_factory):
    """A layer of one composition, thicker to the right, at five counts a channel; vacuum on the left."""
    folder = tmp_path_factory.mktemp("bins")
    material = mix({"Li2CO3": 0.5, "polyether": 0.5})
    x = np.broadcast_to(np.arange(SHAPE[1]), SHAPE)
    lengths = {"layer": np.where(x >= 8, 30.0 + 2.0 * x, 0.0)}
    beam = Beam(electrons=7e4, low_electrons=4e4, jitter_eV=0.0, drift_eV=0.0)
    image = simulate_dual(
        lengths, {"layer": material}, beam, dict.fromkeys(ELEMENTS, 1.0), np.random.default_rng(8)
    )
    signal = write(folder / "a.h5", image, beam)
    paths = {name: folder / f"{name}.h5" for name in ("edges", "calibrated", "fit")}
    eels.edges([signal], paths["edges"], CONFIG)
    eels.calibrate(signal, paths["calibrated"], {**CONFIG, "eels": {**CONFIG["eels"], "energy": FILE_AXIS}})
    return paths, image


FILE_AXIS = {**CONFIG["eels"]["energy"], "policy": "zero_loss"}


@pytest.fixture(scope="module")
def binned(faint):
    paths, image = faint
    eels.quantify(paths["calibrated"], paths["edges"], paths["fit"], made_of())
    with h5py.File(paths["fit"]) as file:
        maps = {}
        file.visititems(lambda name, item: maps.update({name: item[()]} if hasattr(item, "shape") else {}))
    return maps, image


def test_single_pixels_cannot_answer_and_bins_can(binned):
    maps, image = binned
    assert image.core[:, 20:, 100].mean() < 12
    label, carbon, oxygen = maps["bin"], maps["binned/areal_density/C"], maps["binned/areal_density/O"]
    errors = [maps[f"binned/areal_density_std/{name}"] for name in ("C", "O")]
    first = [np.flatnonzero(label.ravel() == k)[0] for k in range(label.max() + 1)]
    a, b, da, db = (values.ravel()[first] for values in (carbon, oxygen, *errors))
    assert len(first) > 15
    # Both errors add up to no more than what correlation leaves of the target.
    relative = np.hypot(da / a, db / b)
    assert np.median(relative) < 1.15 * TARGET
    assert relative.max() < 1.5 * TARGET
    alone = maps["areal_density_std/C"] / maps["areal_density/C"]
    assert np.nanmedian(np.abs(alone[:, 10:])) > 1.5 * TARGET


def test_bins_are_whole_and_hold_no_vacuum(binned):
    label = binned[0]["bin"]
    assert label.dtype == np.int32
    assert np.mean(label[:, :8] == -1) > 0.95
    assert np.all(label[:, 12:] >= 0)
    assert np.array_equal(np.unique(label[label >= 0]), np.arange(label.max() + 1))


def test_intervals_of_the_ratio_cover(binned):
    """About its own mean: what cross-sections and shapes are off by is the same in every bin."""
    maps, image = binned
    label = maps["bin"].ravel()
    number = label.max() + 1
    first = [np.flatnonzero(label == k)[0] for k in range(number)]
    for name in ("C", "O"):
        truth = image.areal_density[name].ravel()
        true = np.array([truth[label == k].mean() for k in range(number)])
        value = maps[f"binned/areal_density/{name}"].ravel()[first]
        error = maps[f"binned/areal_density_std/{name}"].ravel()[first]
        scale = np.sum(value * true / error**2) / np.sum(true**2 / error**2)
        assert scale == pytest.approx(1.0, abs=0.15)
        pull = (value - scale * true) / error
        assert np.mean(np.abs(pull) < 1.96) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / number)
        assert np.std(pull) == pytest.approx(1.0, abs=0.3)


def test_detection_limits_of_pixels_are_those_of_an_absent_element(binned):
    maps, _ = binned
    inside = np.s_[:, 12:]
    for name in ("Mn", "F"):
        limit = maps[f"areal_density_lod/{name}"][inside]
        assert np.nanmedian(limit / maps[f"areal_density_std/{name}"][inside]) == pytest.approx(3.29, rel=0.1)
        # One pixel in a thousand by chance, a few more where shapes are off.
        assert np.mean(maps[f"areal_density/{name}"][inside] > limit) < 0.01
    carbon = maps["areal_density_lod/C"][inside] / maps["areal_density_std/C"][inside]
    assert np.nanmedian(carbon) < 3.29


def test_the_same_bins_again_and_none_when_switched_off(faint, binned, tmp_path):
    paths, _ = faint
    eels.quantify(paths["calibrated"], paths["edges"], tmp_path / "again.h5", made_of())
    assert (tmp_path / "again.h5").read_bytes() == paths["fit"].read_bytes()
    eels.quantify(paths["calibrated"], paths["edges"], tmp_path / "off.h5", made_of(enabled=False))
    with h5py.File(tmp_path / "off.h5") as file:
        assert "bin" not in file
        assert "binned" not in file


def test_cutting_stops_at_the_target_and_at_the_largest_number():
    moments = np.tile([10.0, 20.0, 4.0, 9.0, 0.0], (64, 1))
    usable = np.ones(64, bool)
    alone = np.hypot(2 / 10, 3 / 20)
    assert adaptive.cut_bins(moments, (8, 8), usable, 1.01 * alone, 1000).max() == 63
    four = adaptive.cut_bins(moments, (8, 8), usable, 1.01 * alone / 2, 1000)
    assert np.all(np.bincount(four) >= 4)
    assert adaptive.cut_bins(moments, (8, 8), usable, 1.0, 5).max() == 4
    assert adaptive.cut_bins(moments, (8, 8), usable, 1e-6, 1000).max() == 0
    assert adaptive.cut_bins(moments, (8, 8), ~usable, 1.0, 5).tolist() == [-1] * 64


def test_blocks_change_nothing(faint, tmp_path):
    """Maps are the same to the last bit however much is read at once; threads are BLAS's and set to one."""
    paths, _ = faint
    for pixels in (256, 300, 5000):
        config = made_of()
        config["eels"] = {**config["eels"], "fit": {**config["eels"]["fit"], "block_pixels": pixels}}
        eels.quantify(paths["calibrated"], paths["edges"], tmp_path / f"{pixels}.h5", config)
    assert (tmp_path / "256.h5").read_bytes() == (tmp_path / "300.h5").read_bytes()
    assert (tmp_path / "256.h5").read_bytes() == (tmp_path / "5000.h5").read_bytes()


@pytest.mark.parametrize("threads", [2])
def test_threads_change_nothing_beyond_rounding(faint, tmp_path, threads):
    """In a process of its own, as BLAS reads the number of threads when it starts; single precision holds."""
    code = (
        "import json, sys; from pathlib import Path; from ceiflow import eels; a = sys.argv; "
        "eels.quantify(Path(a[1]), Path(a[2]), Path(a[3]), json.loads(a[4]))"
    )
    paths, _ = faint
    maps = []
    for number in (1, threads):
        output = tmp_path / f"{number}.h5"
        names = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(number))
        arguments = [str(paths["calibrated"]), str(paths["edges"]), str(output), json.dumps(made_of())]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, env={**os.environ, **names})
        with h5py.File(output) as file:
            maps.append([file[f"areal_density{kind}/C"][()] for kind in ("", "_std")])
    (one, error), (two, _) = maps
    assert np.nanmax(np.abs(one - two) / error) < 1e-3
