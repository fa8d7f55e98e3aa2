"""The stages on files: calibration, maps, zones, status, and the same bytes every time."""

import copy
import json

import h5py
import numpy as np
import pytest

from ceiflow import eels
from ceiflow.eels.cross_sections import Setting, setting_of
from ceiflow.errors import SignalError
from ceiflow.phantom.materials import MATERIALS
from ceiflow.phantom.spectra import Beam, simulate_dual
from ceiflow.signals import store
from ceiflow.study.measurements import LAYER_ENDPOINTS, endpoints
from ceiflow.study.metadata import METADATA, MISSING, Value

ELEMENTS = ["C", "O", "F", "Mn", "Co", "Ni"]
CONFIG = {
    "detector": {"gain": 1.0, "read_noise": 0.0, "dark": 0.0},
    "eels": {
        "elements": ELEMENTS,
        "cross_sections": "hydrogenic",
        "energy": {"policy": "auto", "max_offset_eV": 25, "max_dispersion_error": 0.05, "tolerance_eV": 1.5},
        "fit": {"start_eV": None, "stop_eV": None, "groups": 8, "passes": 4, "block_pixels": 1024},
        "systematic": {"K": 0.07, "L": 0.15},
        "max_thickness_over_mfp": 1.0,
    },
    "fine_structure": {"edges": ["C_K", "O_K", "Mn_L", "Co_L", "Ni_L"], "references": []},
    "statistics": {"seed": 1},
}
KNOWN = {"beam_energy_keV": 300.0, "convergence_mrad": 10.0, "collection_mrad": 20.0, "pixel_size_nm": 3.0}


def write(path, image, beam, known=None, low=True, modality="eels_si"):
    """A canonical file from a simulated recording."""
    values = {**KNOWN, "exposure_s": 0.05, "low_loss_exposure_s": 0.05 * beam.low_electrons / beam.electrons}
    values.update(known or {})
    metadata = {name: Value(values[name], "file") if values.get(name) else MISSING for name in METADATA}
    source = [{"role": role, "path": "dual.dm4"} for role in ("core_loss", "low_loss")]
    header = store.Header(path.stem, modality, metadata=metadata, source=source)
    axes = beam.file_axes()
    with store.create_h5(path) as file:
        store.write_header(file, header)
        for role, data, start in (
            ("core_loss", image.core, axes["core_start_eV"]),
            ("low_loss", image.low, axes["low_start_eV"]),
        ):
            if role == "core_loss" or low:
                step = axes["dispersion_eV"]
                store.write_signal(
                    file, role, data, energy_offset_eV=start, energy_scale_eV=step, pixel_size_nm=3.0
                )
    return path


def simulate(beam, seed=1, rows=12, columns=30):
    """Vacuum, a layer of lithium carbonate, a wedge of oxide."""
    x = np.broadcast_to(np.arange(columns), (rows, columns))
    lengths = {
        "NMC532": np.clip((x - 12) * 8.0, 0, 60.0),
        "Li2CO3": np.where((x >= 8) & (x < 12), 40.0, 0.0),
    }
    materials = {name: MATERIALS[name] for name in lengths}
    factors = dict.fromkeys(ELEMENTS, 1.0)
    return simulate_dual(lengths, materials, beam, factors, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One dual recording with a wrong axis, calibrated and fitted."""
    folder = tmp_path_factory.mktemp("eels")
    beam = Beam(offset_eV=2.0, low_offset_eV=-0.6, dispersion_factor=1.004, electrons=4e6)
    image = simulate(beam)
    signal = write(folder / "a.h5", image, beam)
    paths = {name: folder / f"{name}.h5" for name in ("edges", "calibrated", "fit")}
    eels.edges([signal], paths["edges"], CONFIG)
    eels.calibrate(signal, paths["calibrated"], CONFIG)
    eels.quantify(paths["calibrated"], paths["edges"], paths["fit"], CONFIG)
    masks = {"layer": np.zeros((12, 30), bool), "particle": np.zeros((12, 30), bool)}
    masks["layer"][:, 8:12] = True
    masks["particle"][:, 22:] = True
    return {"folder": folder, "beam": beam, "image": image, "signal": signal, "masks": masks, **paths}


def zones(study, config=CONFIG, calibrated=None):
    return eels.fit_zones(calibrated or study["calibrated"], study["edges"], study["masks"], config)


def test_axes_are_put_right(study):
    calibration = json.loads(store.read_header(study["calibrated"]).attributes["calibration"])
    beam = study["beam"]
    assert calibration["method"] == "edges"
    assert calibration["energy_offset_eV"] == pytest.approx(beam.offset_eV, abs=0.6)
    assert calibration["low_loss_offset_eV"] == pytest.approx(beam.low_offset_eV, abs=0.1)
    assert calibration["dispersion_factor"] == pytest.approx(beam.dispersion_factor, abs=0.003)
    truth = beam.core_energy()
    found = store.open_signal(study["calibrated"], "core_loss").energy_eV
    assert np.abs(found - truth).max() < 1.2


def test_one_low_loss_is_the_thickness_of_no_pixel_and_no_zone(study, tmp_path):
    image = copy.copy(study["image"])
    image = type(image)(**{**vars(image), "low": image.low.mean(axis=(0, 1), keepdims=True)})
    signal = write(tmp_path / "shared.h5", image, study["beam"])
    calibrated, fit = tmp_path / "calibrated.h5", tmp_path / "fit.h5"
    eels.calibrate(signal, calibrated, CONFIG)
    eels.quantify(calibrated, study["edges"], fit, CONFIG)
    with h5py.File(fit) as file:
        assert np.isnan(file["thickness_over_mfp"][()]).all()
        assert np.isfinite(file["areal_density/O"][()]).any()
    masks = {**study["masks"], "all": np.ones((12, 30), bool)}
    fits = eels.fit_zones(calibrated, study["edges"], masks, CONFIG)
    found = eels.zone_measurements(fits, store.read_header(calibrated), ELEMENTS)
    thickness = {row.zone: row for row in found if row.endpoint == "thickness_over_mfp"}
    assert thickness["all"].status == "identified"
    for zone in ("layer", "particle"):
        assert thickness[zone].status == "not_identifiable"
        assert "one low loss stands for all pixels" in thickness[zone].note


def test_counts_survive_calibration(study):
    before = store.open_signal(study["signal"], "core_loss").read()
    after = store.open_signal(study["calibrated"], "core_loss").read()
    assert after.sum() == pytest.approx(before.sum(), rel=1e-3)
    np.testing.assert_array_equal(after, np.rint(after))


def test_maps_hold_densities_and_their_errors(study):
    layer, particle = study["masks"]["layer"], study["masks"]["particle"]
    truth = study["image"].areal_density
    with h5py.File(study["fit"]) as file:
        assert json.loads(file.attrs["identifiable"]) == dict.fromkeys(ELEMENTS, "")
        for element, mask, tolerance in (("C", layer, 0.12), ("O", layer, 0.12), ("O", particle, 0.12)):
            values = file[f"areal_density/{element}"][()][mask]
            expected = truth[element][mask].mean()
            assert values.mean() == pytest.approx(expected, rel=tolerance), element
            errors = file[f"areal_density_std/{element}"][()][mask]
            scatter = np.std(values / truth[element][mask]) * expected
            assert 0.8 < scatter / errors.mean() < 1.3, element
        assert file["thickness_over_mfp"][()][particle].mean() == pytest.approx(
            study["image"].thickness_over_mfp[particle].mean(), rel=0.03
        )
        assert file["reduced_chi2"][()][particle].mean() == pytest.approx(1.0, abs=0.05)
        vacuum = np.s_[:, :7]
        assert np.all(np.abs(file["counts/O"][vacuum]) < 5 * file["counts_std/O"][vacuum])
        assert file["counts/O"].dtype == np.float32


def test_zones_find_what_is_there_and_bound_what_is_not(study):
    fits = zones(study)
    truth = study["image"].areal_density
    for zone, element in (
        ("layer", "C"),
        ("layer", "O"),
        ("particle", "O"),
        ("particle", "Mn"),
        ("particle", "Ni"),
    ):
        value, stat, sys, lod = fits[zone].areal_density[element]
        expected = truth[element][study["masks"][zone]].mean()
        assert fits[zone].status[element][0] == "identified"
        assert abs(value - expected) < 3 * np.hypot(stat, sys), (zone, element)
        # The limit is that of a zone without the element: less noise than with it.
        assert value > lod > 0
        assert lod < 3.3 * np.hypot(stat, sys)
    for zone, element in (("layer", "Mn"), ("layer", "F"), ("particle", "C"), ("particle", "F")):
        assert fits[zone].status[element][0] == "bounded", (zone, element)
    assert sum(fits["layer"].atomic_fraction[e][0] for e in ELEMENTS) == pytest.approx(1.0)


def test_results_do_not_depend_on_block_size(study):
    config = copy.deepcopy(CONFIG)
    config["eels"]["fit"]["block_pixels"] = 17
    other = study["folder"] / "other.h5"
    eels.quantify(study["calibrated"], study["edges"], other, config)
    assert other.read_bytes() == study["fit"].read_bytes()
    ours, theirs = zones(study), zones(study, config)
    for zone in ours:
        assert ours[zone].areal_density == theirs[zone].areal_density


def test_files_are_byte_identical(study):
    for name, call in (
        ("edges", lambda path: eels.edges([study["signal"]], path, CONFIG)),
        ("calibrated", lambda path: eels.calibrate(study["signal"], path, CONFIG)),
    ):
        again = study["folder"] / f"again_{name}.h5"
        call(again)
        assert again.read_bytes() == study[name].read_bytes()
    assert study["edges"].stat().st_size < 1e6


def test_edges_of_listed_settings_are_those_of_the_signals(study, tmp_path):
    """Each setting once, in an order of its own; an angle that is missing stays missing."""
    bare = write(tmp_path / "bare.h5", study["image"], study["beam"], {"convergence_mrad": None}, True)
    signals = [study["signal"], bare, study["signal"]]
    eels.list_settings(signals, tmp_path / "settings.json")
    eels.list_settings(signals[::-1], tmp_path / "again.json")
    assert (tmp_path / "settings.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    eels.edges(signals, tmp_path / "edges.h5", CONFIG)
    eels.edges_of_settings(tmp_path / "settings.json", tmp_path / "listed.h5", CONFIG)
    assert (tmp_path / "listed.h5").read_bytes() == (tmp_path / "edges.h5").read_bytes()


def test_every_endpoint_has_a_row(study):
    header = store.read_header(study["calibrated"])
    rows = eels.zone_measurements(zones(study), header, ELEMENTS)
    rows += eels.measure_fine_structure(study["calibrated"], study["edges"], study["masks"], CONFIG).rows
    wanted = set(endpoints("eels_si", ELEMENTS)) - set(LAYER_ENDPOINTS) - {"dose_e_per_A2"}
    wanted = {name for name in wanted if not name.startswith("interface_position")}
    assert {row.endpoint for row in rows} >= wanted
    assert len({(row.zone, row.endpoint) for row in rows}) == len(rows)


def test_spectra_table(study, tmp_path):
    fits = zones(study)
    eels.write_spectra(tmp_path / "spectra.tsv", fits)
    lines = (tmp_path / "spectra.tsv").read_text().splitlines()
    assert lines[0].split("\t") == [
        "zone", "energy_eV", "counts", "model", "background", "residual_sigma", *ELEMENTS
    ]  # fmt: skip
    assert len(lines) == 1 + sum(fit.energy_eV.size for fit in fits.values())


@pytest.mark.parametrize(
    ("known", "low", "density", "fraction"),
    [
        ({"convergence_mrad": None}, True, "convergence_mrad", "convergence_mrad"),
        ({"exposure_s": None}, True, "exposures unknown", ""),
        ({}, False, "no low loss", ""),
    ],
    ids=["angle", "exposure", "low loss"],
)
def test_what_is_missing_is_named(study, tmp_path, known, low, density, fraction):
    signal = write(tmp_path / "m.h5", study["image"], study["beam"], known, low)
    eels.edges([signal], tmp_path / "edges.h5", CONFIG)
    eels.calibrate(signal, tmp_path / "c.h5", CONFIG)
    eels.quantify(tmp_path / "c.h5", tmp_path / "edges.h5", tmp_path / "f.h5", CONFIG)
    fit = eels.fit_zones(tmp_path / "c.h5", tmp_path / "edges.h5", study["masks"], CONFIG)["particle"]
    assert fit.status["O"][0] == "not_identifiable"
    assert density in fit.status["O"][1]
    if fraction:
        assert fraction in fit.fraction_status["O"][1]
    else:
        assert fit.fraction_status["O"][0] == "identified"
    with h5py.File(tmp_path / "f.h5") as file:
        assert np.all(np.isnan(file["areal_density/O"][()]))
        assert np.isfinite(file["counts/O"][()]).any()


def test_too_thick_is_not_identifiable(study):
    config = copy.deepcopy(CONFIG)
    config["eels"]["max_thickness_over_mfp"] = 0.2
    fit = zones(study, config)["particle"]
    assert fit.status["O"][0] == "not_identifiable"
    assert "t/lambda" in fit.status["O"][1]


def test_a_dead_acquisition_of_few_counts_is_bounded(study, tmp_path):
    beam = Beam(electrons=300.0, low_electrons=50.0)
    signal = write(tmp_path / "d.h5", simulate(beam, rows=6, columns=30), beam)
    eels.calibrate(signal, tmp_path / "c.h5", CONFIG)
    eels.quantify(tmp_path / "c.h5", study["edges"], tmp_path / "f.h5", CONFIG)
    masks = {"all": np.ones((6, 30), bool)}
    fit = eels.fit_zones(tmp_path / "c.h5", study["edges"], masks, CONFIG)["all"]
    assert fit.status["F"][0] == "bounded"
    for element in ELEMENTS:
        assert all(np.isfinite(fit.areal_density[element]))


def test_single_spectrum(study, tmp_path):
    beam = Beam(offset_eV=2.0, low_offset_eV=-0.6, electrons=5e8, low_electrons=1e7)
    image = simulate(beam, rows=1, columns=30)
    image = type(image)(image.core[:, 25:26], image.low[:, 25:26], *([None] * (len(image.__dict__) - 2)))
    signal = write(tmp_path / "s.h5", image, beam, modality="eels_spectrum")
    eels.calibrate(signal, tmp_path / "c.h5", CONFIG)
    outputs = {name: tmp_path / name for name in ("spectra", "measurements", "summary")}
    eels.measure_spectrum(tmp_path / "c.h5", study["edges"], outputs, CONFIG)
    rows = outputs["measurements"].read_text().splitlines()
    names = {line.split("\t")[1] for line in rows[1:]}
    sums = {name for name in names if "_and_" in name}  # of species that cannot be told apart
    assert names - sums == set(endpoints("eels_spectrum", ELEMENTS))
    summary = json.loads(outputs["summary"].read_text())
    assert summary["n_pixels"] == 1
    assert summary["thickness_over_mfp"] > 0


def test_settings_know_what_is_missing():
    full = setting_of({name: Value(value, "file") for name, value in KNOWN.items()})
    assert full == Setting(300.0, 10.0, 20.0)
    bare = setting_of({"beam_energy_keV": Value(300.0, "file")})
    assert not bare.known
    assert bare.missing == ("convergence_mrad", "collection_mrad")
    assert bare.key.startswith("shape_")


def test_exchanged_losses_are_refused(tmp_path):
    """Core loss and low loss named the wrong way round in the sheet."""
    data = np.random.default_rng(0).poisson(50.0, (2, 3, 300)).astype(np.float32)
    header = store.Header("swapped", "eels_si", source=[{"role": "core_loss", "path": "raw/low.dm4"}])
    with store.create_h5(tmp_path / "swapped.h5") as file:
        store.write_header(file, header)
        for role, start in (("core_loss", -20.0), ("low_loss", 250.0)):
            store.write_signal(
                file, role, data, energy_offset_eV=start, energy_scale_eV=0.5, pixel_size_nm=1.0
            )
    with pytest.raises(SignalError, match=r"raw/low.dm4: energy axis: .*zero loss.*exchanged"):
        eels.calibrate(tmp_path / "swapped.h5", tmp_path / "out.h5", CONFIG)
