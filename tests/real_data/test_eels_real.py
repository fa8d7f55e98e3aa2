"""Measured spectra: an oxide particle whose axis is wrong, and the pair that eXSpy ships."""

import json
from importlib import resources

import numpy as np
import pytest

from ceiflow import eels
from ceiflow.eels.zero_loss import look_for_zero_loss
from ceiflow.signals import ingest
from ceiflow.signals.layout import as_spectra
from ceiflow.signals.reader import read_file
from ceiflow.signals.store import open_signal, read_header

ELEMENTS = ["C", "O", "F", "Mn", "Co", "Ni"]
CONFIG = {
    "microscope": {},
    "detector": {"gain": 1.0, "read_noise": 0.0, "dark": 0.0},
    "eels": {
        "elements": ELEMENTS,
        "cross_sections": "hydrogenic",
        "energy": {"policy": "auto", "max_offset_eV": 25, "max_dispersion_error": 0.05, "tolerance_eV": 1.5},
        "fit": {"start_eV": None, "stop_eV": None, "groups": 16, "passes": 4, "block_pixels": 1024},
        "systematic": {"K": 0.07, "L": 0.15},
        "max_thickness_over_mfp": 1.2,
    },
    "fine_structure": {"edges": ["C_K", "O_K", "Mn_L", "Co_L", "Ni_L"], "references": []},
    "statistics": {"seed": 1},
}
COLUMNS = (
    "acquisition_id cell_id particle_id region_id modality path signal low_loss_path low_loss_signal "
    "adf_path adf_signal beam_energy_keV convergence_mrad collection_mrad pixel_size_nm dispersion_eV "
    "energy_offset_eV exposure_s low_loss_exposure_s dose_e_per_A2 defocus_nm frame sha256 exclude"
)


def prepare(folder, source, **values):
    """Ingest, calibrate and tabulate cross-sections of one acquisition."""
    acquisition = dict.fromkeys(COLUMNS.split()) | {"acquisition_id": "x", "cell_id": "c"} | values
    paths = {name: folder / f"{name}.h5" for name in ("signal", "edges", "calibrated")}
    assert ingest(acquisition, CONFIG, source, paths["signal"]).ok
    eels.edges([paths["signal"]], paths["edges"], CONFIG)
    eels.calibrate(paths["signal"], paths["calibrated"], CONFIG)
    return paths, acquisition


def peak(energy, counts, low, high):
    """Highest point between two energies above the line through both ends."""
    inside = (energy >= low) & (energy <= high)
    x, y = energy[inside], np.convolve(counts, np.ones(3) / 3, mode="same")[inside]
    return x[np.argmax(y - np.interp(x, x[[0, -1]], y[[0, -1]]))]


@pytest.fixture(scope="module")
def nmc(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nmc")
    return prepare(
        folder,
        real_data / "nmc-edge",
        modality="eels_si",
        path="core_loss_si.dm3",
        low_loss_path="low_loss_si.dm3",
        beam_energy_keV=300.0,
        convergence_mrad=10.0,  # not recorded with the data: any pair that is a microscope's will do here
        collection_mrad=20.0,
    )[0]


@pytest.fixture(scope="module")
def nmc_fits(nmc):
    masks = {name: np.zeros((2, 21), bool) for name in ("particle", "surface")}
    masks["particle"][:, 6:] = True
    masks["surface"][:, 2:5] = True
    return eels.fit_zones(nmc["calibrated"], nmc["edges"], masks, CONFIG)


@pytest.mark.real_data
class TestOxideEdge:
    @pytest.mark.parametrize(
        ("reference", "tolerance"),
        [(529.5, 2.0), (642.5, 2.0), (780.3, 2.5), (854.5, 3.0)],
        ids=["O", "Mn", "Co", "Ni"],
    )
    def test_features_stand_where_they_belong(self, nmc, reference, tolerance):
        core = open_signal(nmc["calibrated"], "core_loss")
        found = peak(core.energy_eV, core.read().sum((0, 1)), reference - 5, reference + 5)
        assert found == pytest.approx(reference, abs=tolerance)

    def test_the_axis_was_far_off_and_the_zero_loss_was_not_followed(self, nmc):
        calibration = json.loads(read_header(nmc["calibrated"]).attributes["calibration"])
        assert calibration["method"] == "edges"
        assert calibration["energy_offset_eV"] == pytest.approx(-16.0, abs=1.5)
        assert calibration["dispersion_factor"] == pytest.approx(1.025, abs=0.008)
        assert calibration["low_loss_offset_eV"] == pytest.approx(-3.1, abs=0.3)
        assert len(calibration["edges"]) >= 3
        assert any("disagree" in flag for flag in calibration["flags"])

    def test_its_peaks_stand_where_they_were_read(self, nmc):
        edges = {item["edge"]: item for item in record_of(nmc)["edges"]}
        read = {"O_K": 518.29, "Mn_L": 629.98, "Co_L": 763.94, "Ni_L": 834.74}
        assert {name: edges[name]["found_eV"] for name in read} == pytest.approx(read, abs=0.15)

    def test_a_low_loss_recorded_apart_moves_nothing(self, nmc):
        record = record_of(nmc)
        assert not record["transfer"]["applied"]
        assert abs(record["transfer"]["factor"]) < 0.4
        assert record["zero_loss"]["reason"] == ""
        assert record["zero_loss"]["jitter_eV"] == pytest.approx(0.12, abs=0.05)
        # A line of pixels has been measured twice: the two rows drift by next to nothing.
        assert record["zero_loss"]["drift_range_eV"] < 0.15

    def test_fine_structure_of_such_an_axis_is_not_read(self, nmc):
        record = record_of(nmc)
        assert record["residual_shift_se_eV"] > 0.3
        assert not record["fine_structure_ready"]
        assert "0.3 eV needed" in record["fine_structure_reason"]

    def test_its_camera_is_no_counter(self, nmc):
        noise = record_of(nmc)["detector"]
        assert noise["contradicts"]
        assert 10 < noise["gain"] < 25
        assert 0.5 < noise["point_spread"] < 1.2
        assert any("spectra scatter" in text for text in read_header(nmc["calibrated"]).warnings)

    def test_the_spike_in_the_vacuum_pixel_is_gone(self, nmc):
        before = open_signal(nmc["signal"], "core_loss")
        after = open_signal(nmc["calibrated"], "core_loss").read()[0, 0]
        near = np.abs(before.energy_eV - 928.0) < 1.5
        raw = before.read()[0, 0]
        usual = np.median(raw[np.abs(before.energy_eV - 928.0) < 15])
        assert raw[near].max() > 4 * usual
        assert after[near].max() < 2 * usual

    def test_thickness(self, nmc, nmc_fits):
        assert nmc_fits["particle"].thickness_over_mfp[0] == pytest.approx(0.95, abs=0.06)
        eels.quantify(nmc["calibrated"], nmc["edges"], nmc["signal"].with_name("fit.h5"), CONFIG)
        thickness = open_h5(nmc["signal"].with_name("fit.h5"), "thickness_over_mfp")
        assert thickness[0, 0] == pytest.approx(0.07, abs=0.02)
        assert thickness.max() == pytest.approx(1.05, abs=0.06)

    def test_roll_off_and_carbon(self, nmc_fits):
        fit = nmc_fits["particle"]
        assert 455 < fit.energy_eV[0] < 485
        assert fit.status["C"][0] == "not_identifiable"
        assert "below the range" in fit.status["C"][1]

    def test_oxide_is_identified_and_fluorine_is_not(self, nmc_fits):
        for zone, fit in nmc_fits.items():
            for element in ("O", "Mn"):
                assert fit.status[element][0] == "identified", (zone, element)
            assert fit.status["F"][0] == "bounded", (zone, fit.areal_density["F"])
        density = {element: nmc_fits["particle"].areal_density[element][0] for element in ELEMENTS}
        metals = density["Mn"] + density["Co"] + density["Ni"]
        # Two oxygens a metal, within the accuracy of hydrogenic L cross-sections.
        assert 1.5 < density["O"] / metals < 3.2

    def test_model_follows_the_spectrum(self, nmc_fits):
        fit = nmc_fits["particle"]
        away = np.abs(fit.energy_eV - 550) > 45
        relative = np.abs(fit.model / fit.counts - 1)[away]
        assert np.median(relative) < 0.005
        assert relative.max() < 0.06


def record_of(paths):
    return json.loads(read_header(paths["calibrated"]).attributes["calibration"])


def spectrum_of(path):
    """Axis and counts of a file with one spectrum."""
    signal = as_spectra(read_file(path, path.name)[0])
    counts = np.asarray(signal.data[:, :, :]).ravel()
    return signal.energy_offset_eV + signal.energy_scale_eV * np.arange(counts.size), counts


@pytest.mark.real_data
def test_the_zero_loss_of_ice_stands_on_a_pedestal(real_data):
    found, reason = look_for_zero_loss(*spectrum_of(real_data / "loaders" / "ice_low_loss.msa"))
    assert reason == ""
    assert found.position_eV == pytest.approx(0.0, abs=0.2)
    assert found.pedestal == pytest.approx(600, abs=2)
    found, reason = look_for_zero_loss(*spectrum_of(real_data / "loaders" / "ice_o_k_pedestal.msa"))
    assert found is None
    assert "does not come near 0 eV" in reason


def open_h5(path, name):
    import h5py

    with h5py.File(path) as file:
        return file[name][()]


@pytest.mark.real_data
def test_angles_that_nobody_recorded_leave_densities_open(real_data, tmp_path):
    paths, _ = prepare(
        tmp_path,
        real_data / "nmc-edge",
        modality="eels_si",
        path="core_loss_si.dm3",
        low_loss_path="low_loss_si.dm3",
    )
    fit = eels.fit_zones(paths["calibrated"], paths["edges"], {"all": np.ones((2, 21), bool)}, CONFIG)["all"]
    for states in (fit.status, fit.fraction_status):
        assert states["O"][0] == "not_identifiable"
        assert "collection_mrad" in states["O"][1]


@pytest.fixture(scope="module")
def manganite(tmp_path_factory):
    """O K and Mn L of an oxide with its low loss, as eXSpy ships them; 300 kV, 24.6 and 13.6 mrad."""
    folder = tmp_path_factory.mktemp("manganite")
    source = resources.files("exspy") / "tests" / "components"
    with resources.as_file(source) as raw:
        return prepare(
            folder,
            raw,
            modality="eels_spectrum",
            path="coreloss_spectrum.msa",
            low_loss_path="lowloss_spectrum.msa",
            beam_energy_keV=300.0,
            convergence_mrad=24.6,
            collection_mrad=13.6,
        )


@pytest.mark.real_data
def test_the_pair_of_exspy(manganite, tmp_path):
    paths, _ = manganite
    core = open_signal(paths["calibrated"], "core_loss")
    assert peak(core.energy_eV, core.read()[0, 0], 637, 648) == pytest.approx(642.5, abs=1.5)
    record = record_of(paths)
    assert 4 < record["energy_offset_eV"] < 11
    assert not record["fine_structure_ready"]
    outputs = {name: tmp_path / name for name in ("spectra", "measurements", "summary")}
    eels.measure_spectrum(paths["calibrated"], paths["edges"], outputs, CONFIG)
    rows = [line.split("\t") for line in outputs["measurements"].read_text().splitlines()]
    table = {row[1]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    assert float(table["thickness_over_mfp"]["value"]) == pytest.approx(0.5, abs=0.05)
    assert table["atomic_fraction_O"]["status"] == "identified"
    assert table["atomic_fraction_Mn"]["status"] == "identified"
    assert table["atomic_fraction_F"]["status"] == "bounded"
    assert table["atomic_fraction_C"]["status"] == "not_identifiable"
    assert "exposures unknown" in table["areal_density_O_per_nm2"]["note"]
    ratio = float(table["atomic_fraction_O"]["value"]) / float(table["atomic_fraction_Mn"]["value"])
    assert 2.0 < ratio < 4.0
