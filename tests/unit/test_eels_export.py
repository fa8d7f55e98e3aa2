"""The export: HyperSpy opens it with everything in it, and its bytes are the same every time."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from ceiflow.eels.export import export_hyperspy
from ceiflow.signals import store
from ceiflow.study.metadata import METADATA, MISSING, Value

SHAPE = (6, 5, 400)
KNOWN = {"beam_energy_keV": 300.0, "convergence_mrad": 10.0, "collection_mrad": 20.0, "exposure_s": 0.05}


def write_acquisition(folder, pixel_size_nm=3.0):
    """A calibrated file and its maps."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    metadata = {name: Value(KNOWN[name], "file") if name in KNOWN else MISSING for name in METADATA}
    header = store.Header("a-1", "eels_si", metadata=metadata, attributes={"calibration": "{}"})
    with store.create_h5(folder / "calibrated.h5") as file:
        store.write_header(file, header)
        store.write_signal(
            file,
            "core_loss",
            rng.poisson(50, SHAPE).astype(np.uint16),
            energy_offset_eV=251.25,
            energy_scale_eV=0.5,
            pixel_size_nm=pixel_size_nm,
        )
    with store.create_h5(folder / "maps.h5") as file:
        file.attrs["pixel_size_nm"] = np.nan if pixel_size_nm is None else pixel_size_nm
        for name in ("areal_density/C", "areal_density/Mn", "atomic_fraction/C", "reduced_chi2"):
            file[name] = rng.normal(size=SHAPE[:2]).astype(np.float32)
        file["zone"] = rng.integers(0, 3, SHAPE[:2]).astype(np.uint8)
    return folder / "calibrated.h5", folder / "maps.h5"


def test_hyperspy_opens_it(tmp_path):
    hs = pytest.importorskip("hyperspy.api")
    calibrated, maps = write_acquisition(tmp_path)
    export_hyperspy(calibrated, maps, tmp_path / "a-1.hspy")
    signals = hs.load(tmp_path / "a-1.hspy")
    by_title = {signal.metadata.General.title: signal for signal in signals}
    assert [signal.metadata.General.title for signal in signals] == [
        "core_loss", "areal_density_C", "areal_density_Mn", "atomic_fraction_C", "reduced_chi2", "zone",
    ]  # fmt: skip
    core = by_title["core_loss"]
    assert type(core).__name__ == "EELSSpectrum"
    with h5py.File(calibrated) as source, h5py.File(maps) as drawn:
        np.testing.assert_array_equal(core.data, source["core_loss/data"][()])
        np.testing.assert_array_equal(by_title["areal_density_C"].data, drawn["areal_density/C"][()])
        np.testing.assert_array_equal(by_title["zone"].data, drawn["zone"][()])
    x, y, energy = core.axes_manager._get_axes_in_natural_order()
    assert [(axis.name, axis.units, axis.scale) for axis in (x, y)] == [("x", "nm", 3.0), ("y", "nm", 3.0)]
    assert (energy.units, energy.offset, energy.scale, energy.size) == ("eV", 251.25, 0.5, 400)
    instrument = core.metadata.Acquisition_instrument.TEM
    assert (instrument.beam_energy, instrument.convergence_angle) == (300.0, 10.0)
    assert instrument.Detector.EELS.collection_angle == 20.0
    density = by_title["areal_density_C"]
    assert type(density).__name__ == "Signal2D"
    assert density.axes_manager.signal_shape == (5, 6)
    assert density.metadata.Signal.quantity == "Areal density (nm^-2)"
    assert density.metadata.ceiflow.acquisition_id == "a-1"


def test_signals_are_ready_for_analysis_and_may_be_lazy(tmp_path):
    hs = pytest.importorskip("hyperspy.api")
    export_hyperspy(*write_acquisition(tmp_path), tmp_path / "a-1.hspy")
    core = hs.load(tmp_path / "a-1.hspy", lazy=True)[0]
    core.add_elements(["C"])
    assert core.sum().data.sum() > 0
    core.save(tmp_path / "again.hspy")
    assert (tmp_path / "again.hspy").exists()


def test_bytes_are_the_same_every_time(tmp_path):
    for name in ("one", "two"):
        export_hyperspy(*write_acquisition(tmp_path / name), tmp_path / f"{name}.hspy")
    assert (tmp_path / "one.hspy").read_bytes() == (tmp_path / "two.hspy").read_bytes()


def test_unknown_pixel_size_stays_unknown(tmp_path):
    export_hyperspy(*write_acquisition(tmp_path, None), tmp_path / "a-1.hspy")
    with h5py.File(tmp_path / "a-1.hspy") as file:
        assert file["Experiments/core_loss/axis-0"].attrs["units"] == "px"
        assert file["Experiments/zone/axis-0"].attrs["units"] == "px"


def test_writing_imports_neither_hyperspy_nor_exspy():
    code = "import sys, ceiflow.eels.export; print({'hyperspy', 'exspy', 'rsciio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
