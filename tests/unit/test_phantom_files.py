"""Instrument files of simulated signals, read back as a user would."""

import numpy as np
import pytest

from ceiflow.phantom import files

BEAM = {"beam_energy_keV": 300.0, "convergence_mrad": 10.0, "collection_mrad": 20.0, "exposure_s": 0.02}
CUBE = np.arange(2 * 3 * 50, dtype=np.uint16).reshape(2, 3, 50)
PICTURE = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)


def core():
    return files.spectra(CUBE, 2.0, 250.25, 0.5, BEAM, "core loss")


def load(path):
    pytest.importorskip("nionswift_plugin")
    return pytest.importorskip("hyperspy.api").load(path)


@pytest.mark.parametrize("suffix", ["dm3", "dm4", "hspy"])
def test_spectrum_image_comes_back_through_hyperspy(tmp_path, suffix):
    files.write(tmp_path / f"a.{suffix}", core())
    signal = load(tmp_path / f"a.{suffix}")
    assert signal.metadata.Signal.signal_type == "EELS"
    np.testing.assert_array_equal(signal.data, CUBE)
    energy = signal.axes_manager.signal_axes[0]
    assert (energy.offset, energy.scale, energy.units) == (pytest.approx(250.25), pytest.approx(0.5), "eV")
    assert [(axis.scale, axis.units) for axis in signal.axes_manager.navigation_axes] == [(2.0, "nm")] * 2
    microscope = signal.metadata.Acquisition_instrument.TEM
    assert microscope.beam_energy == 300
    assert microscope.convergence_angle == 10
    assert microscope.Detector.EELS.collection_angle == 20
    assert microscope.Detector.EELS.exposure == pytest.approx(0.02)


@pytest.mark.parametrize("suffix", ["dm3", "dm4", "hspy"])
def test_image_comes_back_through_hyperspy(tmp_path, suffix):
    files.write(tmp_path / f"a.{suffix}", files.image(PICTURE, 0.073, BEAM, "a"))
    signal = load(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(signal.data, PICTURE)
    assert [(axis.scale, axis.units) for axis in signal.axes_manager.signal_axes] == [
        (pytest.approx(0.073), "nm")
    ] * 2
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 300
    assert signal.metadata.Acquisition_instrument.TEM.Camera.exposure == pytest.approx(0.02)


def test_single_spectrum_comes_back_from_msa(tmp_path):
    files.write(tmp_path / "a.msa", files.spectra(CUBE[1, 2], 1.0, 250.0, 0.5, BEAM, "core loss"))
    signal = load(tmp_path / "a.msa")
    np.testing.assert_array_equal(signal.data, CUBE[1, 2])
    assert signal.axes_manager[0].offset == pytest.approx(250)
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 300


def test_one_hyperspy_file_holds_both_losses(tmp_path):
    low = files.spectra(CUBE[..., :20], 2.0, -5.0, 0.5, BEAM, "low loss")
    files.write(tmp_path / "a.hspy", core(), low)
    assert {signal.metadata.General.title: signal.data.shape for signal in load(tmp_path / "a.hspy")} == {
        "core loss": (2, 3, 50),
        "low loss": (2, 3, 20),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["a.hspy"]


@pytest.mark.parametrize("name", ["si.dm3", "si.dm4", "si.hspy", "picture.tif", "spectrum.msa"])
def test_the_same_signal_gives_the_same_bytes(tmp_path, name):
    if name.startswith("si.d"):
        pytest.importorskip("nionswift_plugin")
    signal = {
        "si": core(),
        "picture": files.image(PICTURE, 0.1, BEAM, "a"),
        "spectrum": files.spectra(CUBE[0, 0], 1.0, 0.0, 0.5, BEAM, "a"),
    }[name.split(".")[0]]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        files.write(tmp_path / folder / name, signal)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(ValueError, match="cannot write"):
        files.write(tmp_path / "a.emd", core())
    with pytest.raises(ValueError, match="one spectrum"):
        files.write(tmp_path / "a.msa", core())
