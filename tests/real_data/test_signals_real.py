"""Measured files, each with what is known of it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ceiflow import signals
from ceiflow.signals.formats import sha256

pytestmark = pytest.mark.real_data

NMC = {
    "acquisition_id": "nmc",
    "modality": "eels_si",
    "path": "nmc-edge/core_loss_si.dm3",
    "low_loss_path": "nmc-edge/low_loss_si.dm3",
    "adf_path": "nmc-edge/adf_survey.dm3",
}


@pytest.fixture
def ingest(real_data, tmp_path):
    def run(modality="eels_si", **cells):
        row = {"acquisition_id": "a", "modality": modality, **cells}
        output = tmp_path / "a.h5"
        header = signals.ingest(row, {}, real_data, output)
        return header, {role: signals.open_signal(output, role) for role in header.roles}

    return run


def known(header):
    return {name: item.value for name, item in header.metadata.items() if item.known}


def test_files_are_those_of_the_list(real_data):
    for line in (real_data / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        assert sha256(real_data / name.strip("* ")) == digest


def test_nmc_edge(ingest):
    header, found = ingest(**{key: value for key, value in NMC.items() if key.endswith("path")})
    assert header.ok
    core, low, adf = found["core_loss"], found["low_loss"], found["adf"]
    assert core.shape == low.shape == (2, 21, 2048)
    assert core.energy_eV[[0, -1]] == pytest.approx([440, 1054.1], abs=0.1)
    assert low.energy_eV[[0, -1]] == pytest.approx([-60, 554.1], abs=0.1)
    assert core.energy_scale_eV == pytest.approx(0.3)
    assert core.pixel_size_nm == pytest.approx(2.046, abs=0.001)
    assert (adf.shape, adf.pixel_size_nm) == ((512, 512), pytest.approx(0.324, abs=0.001))
    assert known(header) == {
        "beam_energy_keV": 300,
        "dispersion_eV": pytest.approx(0.3),
        "energy_offset_eV": pytest.approx(440),
        "exposure_s": 5,
        "low_loss_exposure_s": 0.0005,
        "pixel_size_nm": pytest.approx(2.046, abs=0.001),
    }
    assert sum("'not set'" in warning for warning in header.warnings) == 2


def test_nmc_edge_is_the_right_way_round(ingest):
    """Vacuum at column 0, the particle inside; zero loss and white lines where they are known to stand."""
    _, found = ingest(**{key: value for key, value in NMC.items() if key.endswith("path")})
    core, low = found["core_loss"], found["low_loss"]
    counts = core.read().sum(axis=(0, 2))
    assert counts[0] < 0.5 * counts[10:].min()
    zero_loss = low.energy_eV[low.read().argmax(axis=2)]
    assert np.all((zero_loss > -4) & (zero_loss < -2))
    spectrum = core.read()[:, 5:].sum(axis=(0, 1))
    energy = core.energy_eV
    for position in (518.3, 630.2, 764.3):
        near = np.abs(energy - position) < 4
        assert energy[near][spectrum[near].argmax()] == pytest.approx(position, abs=3.1)


@pytest.mark.parametrize(("name", "start"), [("core_loss_sum", 440), ("low_loss_sum", -60)])
def test_nmc_sum_spectra(ingest, name, start):
    header, found = ingest("eels_spectrum", path=f"nmc-edge/{name}.msa")
    assert header.ok
    assert found["core_loss"].shape == (1, 1, 2048)
    assert found["core_loss"].energy_offset_eV == start
    assert known(header)["beam_energy_keV"] == 300
    assert any("read as eV" in warning for warning in header.warnings)


def test_dm4_with_full_metadata(ingest):
    header, found = ingest(path="loaders/eels_si_2x2.dm4")
    assert known(header) == {
        "beam_energy_keV": 200,
        "convergence_mrad": 21,
        "collection_mrad": 62,
        "dispersion_eV": 1,
        "energy_offset_eV": 300,
        "exposure_s": pytest.approx(0.02, abs=1e-4),
        "pixel_size_nm": pytest.approx(1.992, abs=0.001),
    }
    assert found["core_loss"].shape == (2, 2, 2048)
    assert found["core_loss"].energy_eV[-1] == pytest.approx(2347)
    assert header.warnings == []


@pytest.mark.parametrize("signal", [None, 0, "HAADF"])
def test_image_among_several_signals(ingest, signal):
    header, found = ingest("adf", path="loaders/haadf_multi_signal.dm3", signal=signal)
    assert header.ok
    assert found["image"].shape == (512, 512)
    assert found["image"].pixel_size_nm == pytest.approx(0.01775, abs=1e-5)
    assert header.source[0]["signal"] == "0"


def test_signal_that_is_not_there(ingest):
    header, _ = ingest("adf", path="loaders/haadf_multi_signal.dm3", signal="BF")
    assert "no signal 'BF' among 0 'HAADF' (512 x 512); 1 'Plot' (512)" in header.reason


def test_scan_step_without_a_unit(ingest):
    header, found = ingest(path="loaders/si_uncalibrated_scan.dm3")
    assert header.ok
    assert found["core_loss"].shape == (49, 6, 1024)
    assert found["core_loss"].pixel_size_nm is None
    assert "pixel_size_nm" not in known(header)
    assert "the step has no unit" in header.warnings[0]


def test_headerless_msa_is_refused(ingest):
    header, _ = ingest("eels_spectrum", path="loaders/headerless.msa")
    assert header.status == "failed"
    assert "no MSA header" in header.reason


def test_amorphous_ice(ingest):
    header, found = ingest(
        "eels_spectrum", path="loaders/ice_o_k_pedestal.msa", low_loss_path="loaders/ice_low_loss.msa"
    )
    assert header.ok
    assert found["core_loss"].energy_scale_eV == found["low_loss"].energy_scale_eV == 0.035
    core = found["core_loss"]
    before = core.read()[0, 0][core.energy_eV < 520]
    assert 550 < before.mean() < 700
    low = found["low_loss"]
    assert abs(low.energy_eV[low.read()[0, 0].argmax()]) < 1


def test_amorphous_carbon(ingest):
    header, found = ingest("eels_spectrum", path="references/amorphous_carbon_c_k.dm3")
    assert known(header)["beam_energy_keV"] == 300
    carbon = found["core_loss"]
    assert carbon.energy_eV[[0, -1]] == pytest.approx([240, 444.7], abs=0.1)
    spectrum = carbon.read()[0, 0]
    near = (carbon.energy_eV > 288) & (carbon.energy_eV < 310)
    assert carbon.energy_eV[near][spectrum[near].argmax()] == pytest.approx(294.8, abs=1)


def test_colour_micrograph(ingest):
    header, found = ingest("hrtem", path="images/soot_hrtem_rgb.tif", pixel_size_nm=1 / 18.02)
    assert header.ok
    assert found["image"].shape == (512, 512)
    assert found["image"].dtype == np.float32
    assert found["image"].pixel_size_nm == pytest.approx(0.0555, abs=1e-4)
    assert any("luminance" in warning for warning in header.warnings)
    header, found = ingest("hrtem", path="images/soot_hrtem_rgb.tif")
    assert found["image"].pixel_size_nm is None


@pytest.mark.parametrize(
    ("modality", "path"),
    [
        ("eels_si", "images/soot_hrtem_rgb.tif"),
        ("eels_si", "nmc-edge/adf_survey.dm3"),
        ("hrtem", "nmc-edge/core_loss_si.dm3"),
        ("eels_spectrum", "nmc-edge/core_loss_si.dm3"),
        ("tem", "nmc-edge/core_loss_sum.msa"),
        ("eels_si", "references/mn_l23_MnO.csv"),
    ],
)
def test_wrong_modality(ingest, modality, path):
    header, _ = ingest(modality, path=path)
    assert header.status == "failed"
    assert path in header.reason


@pytest.mark.parametrize("name", ["nmc-edge/core_loss_si.dm3", "loaders/eels_si_2x2.dm4"])
@pytest.mark.parametrize("keep", [0.001, 0.3, 0.7])
def test_truncated(real_data, tmp_path, name, keep):
    content = (real_data / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(content[: int(len(content) * keep)])
    row = {"acquisition_id": "a", "modality": "eels_si", "path": path.name}
    assert signals.ingest(row, {}, tmp_path, tmp_path / "a.h5").status == "failed"


def test_pair_inside_exspy(tmp_path):
    folder = Path(importlib.util.find_spec("exspy").origin).parent / "tests" / "components"
    if not folder.is_dir():
        pytest.skip("this exspy was installed without its tests")
    row = {
        "acquisition_id": "a",
        "modality": "eels_spectrum",
        "path": "coreloss_spectrum.msa",
        "low_loss_path": "lowloss_spectrum.msa",
        "beam_energy_keV": 300.0,
        "convergence_mrad": 24.6,
        "collection_mrad": 13.6,
    }
    header = signals.ingest(row, {}, folder, tmp_path / "a.h5")
    assert header.ok
    core, low = (signals.open_signal(tmp_path / "a.h5", role) for role in header.roles)
    assert (core.energy_offset_eV, low.energy_offset_eV) == (360, -40)
    assert core.energy_scale_eV == low.energy_scale_eV == 0.2
    elastic = low.read()[0, 0][low.energy_eV < 5].sum()
    assert np.log(low.read().sum() / elastic) == pytest.approx(0.53, abs=0.1)
    assert header.metadata["collection_mrad"].origin == "sheet"


def test_draft_of_the_whole_folder(real_data):
    rows, notes = signals.draft_sheet(real_data)
    drafted = {row["acquisition_id"]: row for row in rows}
    nmc = drafted["core_loss_si"]
    prefix = real_data.name
    assert nmc["low_loss_path"] == f"{prefix}/nmc-edge/low_loss_si.dm3"
    assert nmc["adf_path"] == f"{prefix}/nmc-edge/adf_survey.dm3"
    assert drafted["haadf_multi_signal-0"]["modality"] == "adf"
    assert drafted["soot_hrtem_rgb"]["modality"] == "hrtem"
    assert any("headerless" in note for note in notes)
    assert any("si_uncalibrated_scan" in note and "pixel_size_nm" in note for note in notes)
