"""Sources of cross-sections: they agree where they should, and say who they are."""

import h5py
import numpy as np
import pytest

from ceiflow import eels
from ceiflow.eels import section_sources as sources
from ceiflow.eels.cross_sections import Setting, origins, read_edges, setting_of, write_edges
from ceiflow.eels.k_factors import KFactor
from ceiflow.eels.table import EDGES
from ceiflow.errors import StudyError
from ceiflow.phantom.materials import MATERIALS
from ceiflow.phantom.spectra import Beam, simulate_dual
from ceiflow.report.methods import sentences
from ceiflow.signals import store
from ceiflow.study.metadata import METADATA as METADATA_NAMES
from ceiflow.study.metadata import MISSING, Value
from ceiflow.study.validation import validate

SETTING = Setting(300.0, 10.0, 20.0)
METADATA = {
    "beam_energy_keV": Value(300.0, "file"),
    "convergence_mrad": Value(10.0, "file"),
    "collection_mrad": Value(20.0, "file"),
}


def partial_nm2(curve, edge, width=50.0):
    energy, values = curve
    window = (energy >= edge.onset_eV) & (energy < edge.onset_eV + width)
    return float(values[window].sum()) * sources.GRID_STEP_EV


@pytest.mark.parametrize(
    ("element", "expected_cm2"),
    [("Li", 6.37e-20), ("C", 3.44e-21), ("N", 1.68e-21), ("O", 9.22e-22), ("F", 5.27e-22)],
)
def test_hydrogenic_k_edges_have_known_partial_cross_sections(element, expected_cm2):
    edge = EDGES[element]
    found = partial_nm2(sources.hydrogenic(edge, SETTING), edge) * 1e-14
    assert found == pytest.approx(expected_cm2, rel=0.03)


@pytest.mark.parametrize("element", ["Li", "C", "N", "O", "F"])
def test_photoabsorption_agrees_with_hydrogenic_at_k_edges(element):
    edge = EDGES[element]
    ratio = partial_nm2(sources.photoabsorption(edge, SETTING), edge) / partial_nm2(
        sources.hydrogenic(edge, SETTING), edge
    )
    assert ratio == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("element", ["Mn", "Co", "Ni"])
def test_sources_differ_at_l_edges_by_more_than_their_error(element):
    edge = EDGES[element]
    ratio = partial_nm2(sources.photoabsorption(edge, SETTING), edge) / partial_nm2(
        sources.hydrogenic(edge, SETTING), edge
    )
    assert 1.2 < ratio < 1.7


@pytest.mark.parametrize("element", ["P", "S", "Cl"])
def test_third_row_comes_from_photoabsorption_alone(element):
    edge = EDGES[element]
    assert edge.shell == "L"
    assert not np.any(sources.hydrogenic(edge, SETTING)[1])
    assert 1e-20 < partial_nm2(sources.photoabsorption(edge, SETTING), edge) * 1e-14 < 1e-19


@pytest.mark.parametrize("name", ["hydrogenic", "photoabsorption"])
@pytest.mark.parametrize("element", ["C", "Mn"])
def test_curves_start_at_the_onset_and_fall_as_they_should(name, element):
    edge = EDGES[element]
    energy, values = sources.source_of(name)(edge, SETTING)
    assert np.all(np.isfinite(values))
    assert not np.any(values[energy < edge.onset_eV])
    assert np.all(values[energy >= edge.onset_eV + 1] > 0)
    tail = values[energy > edge.onset_eV + 300]
    assert np.all(np.diff(tail) < 0)


@pytest.mark.parametrize("name", ["hydrogenic", "photoabsorption"])
def test_cross_sections_grow_with_the_aperture_and_fall_with_the_voltage(name):
    curve = sources.source_of(name)
    edge = EDGES["O"]
    base = partial_nm2(curve(edge, SETTING), edge)
    assert partial_nm2(curve(edge, Setting(300.0, 10.0, 40.0)), edge) > base
    assert partial_nm2(curve(edge, Setting(200.0, 10.0, 20.0)), edge) > base


def write_gosh(path, strength=2.0):
    """A .gosh file of carbon alone: a GOS flat in momentum that falls with the square of the energy."""
    free = np.geomspace(0.01, 4000.0, 60)
    q = np.geomspace(1e7, 1e13, 80)
    onset = EDGES["C"].onset_eV
    gos = strength * onset / (onset + free) ** 2
    with h5py.File(path, "w") as file:
        info = file.create_group("metadata/edges_info/K")
        info.attrs["table"] = "K1"
        info.attrs["occupancy_ratio"] = 1.0
        file.create_group("metadata/data_ref").attrs["data_doi"] = "none"
        group = file.create_group("C/K1")
        group["data"] = np.broadcast_to(gos, (q.size, free.size))[None]
        group["q"], group["free_energies"] = q, free
    return path


def test_gosh_file_is_read_from_its_path(tmp_path):
    path = write_gosh(tmp_path / "made.gosh")
    edge = EDGES["C"]
    one = partial_nm2(sources.gosh(edge, SETTING, path), edge)
    two = partial_nm2(sources.gosh(edge, SETTING, write_gosh(tmp_path / "double.gosh", 4.0)), edge)
    assert two == pytest.approx(2 * one)
    # Two electrons' worth of oscillator strength above the onset is about what carbon has.
    assert one == pytest.approx(partial_nm2(sources.hydrogenic(edge, SETTING), edge), rel=0.5)
    # Elements that the file does not hold have no cross-section.
    assert not np.any(sources.gosh(EDGES["O"], SETTING, path)[1])
    assert not np.any(sources.gosh(EDGES["Mn"], SETTING, path)[1])


def test_gosh_needs_its_file():
    with pytest.raises(ValueError, match="gosh_file"):
        sources.source_of("gosh")


def test_file_says_source_second_opinion_and_k_factor(tmp_path):
    path = tmp_path / "edges.h5"
    factors = {"Mn": KFactor(1.12, 0.03, "Mn2O3")}
    write_edges(path, [SETTING], ["C", "Mn", "P"], "hydrogenic", k_factors=factors)
    plain = tmp_path / "plain.h5"
    write_edges(plain, [SETTING], ["C", "Mn", "P"], "hydrogenic")
    with h5py.File(path) as file:
        assert file.attrs["source"] == "hydrogenic"
        assert file.attrs["second_source"] == "photoabsorption"
        group = file[SETTING.key]
        assert 0.95 < group["C"].attrs["second_ratio"] < 1.1
        assert 1.2 < group["Mn"].attrs["second_ratio"] < 1.4
        assert np.isnan(group["P"].attrs["second_ratio"])
    sections, bare = (read_edges(name, SETTING, ["C", "Mn", "P"]) for name in (path, plain))
    np.testing.assert_allclose(
        sections["Mn"].values_nm2_per_eV, 1.12 * bare["Mn"].values_nm2_per_eV, rtol=1e-6
    )
    np.testing.assert_array_equal(sections["C"].values_nm2_per_eV, bare["C"].values_nm2_per_eV)
    assert sections["Mn"].k_factor == factors["Mn"]
    origin = sections["Mn"].origin()
    assert origin.startswith("hydrogenic cross-section x k-factor 1.12 (Mn2O3), photoabsorption 1.")
    assert sections["P"].origin() == "hydrogenic cross-section"
    summary = origins(path, METADATA, ["Mn", "P"])
    assert summary["Mn"]["k_factor_error"] == 0.03
    assert summary["P"]["second_ratio"] is None


def test_file_is_the_same_every_time_and_small(tmp_path):
    elements = ["Li", "C", "O", "F", "P", "Mn", "Co", "Ni"]
    settings = [SETTING, setting_of({**METADATA, "collection_mrad": MISSING})]
    for name, order in (("a.h5", settings), ("b.h5", settings[::-1])):
        write_edges(tmp_path / name, order, elements, "photoabsorption")
    content = (tmp_path / "a.h5").read_bytes()
    assert content == (tmp_path / "b.h5").read_bytes()
    assert len(content) < 1_000_000


CONFIG = {
    "detector": {"gain": 1.0, "read_noise": 0.0, "dark": 0.0},
    "eels": {
        "elements": ["C", "O", "Mn"],
        "cross_sections": "hydrogenic",
        "energy": {"policy": "file", "max_offset_eV": 25, "max_dispersion_error": 0.05, "tolerance_eV": 1.5},
        "fit": {"start_eV": None, "stop_eV": None, "groups": 1, "passes": 4, "block_pixels": 1024},
        "systematic": {"K": 0.07, "L": 0.15},
        "max_thickness_over_mfp": 1.0,
    },
}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A few pixels of oxide with the file's axis believed."""
    beam = Beam(electrons=2e7, low_electrons=2e6)
    lengths = {"NMC532": np.full((2, 4), 50.0)}
    materials = {"NMC532": MATERIALS["NMC532"]}
    image = simulate_dual(lengths, materials, beam, dict.fromkeys(["O", "Mn"], 1.0), np.random.default_rng(3))
    values = {"exposure_s": 1.0, "low_loss_exposure_s": beam.low_electrons / beam.electrons}
    metadata = {name: Value(values[name], "file") if name in values else MISSING for name in METADATA_NAMES}
    header = store.Header("a", "eels_si", metadata={**metadata, **METADATA})
    axes = beam.file_axes()
    path = tmp_path_factory.mktemp("sections") / "calibrated.h5"
    with store.create_h5(path) as file:
        store.write_header(file, header)
        for role, data, start in (
            ("core_loss", image.core, axes["core_start_eV"]),
            ("low_loss", image.low, axes["low_start_eV"]),
        ):
            step = axes["dispersion_eV"]
            store.write_signal(file, role, data, energy_offset_eV=start, energy_scale_eV=step)
    return path


def particle(calibrated, folder, **options):
    """The particle's fit and rows with further keys of `eels`."""
    config = {**CONFIG, "eels": {**CONFIG["eels"], **options}}
    path = folder / "edges.h5"
    eels.edges([calibrated], path, config)
    fits = eels.fit_zones(calibrated, path, {"particle": np.ones((2, 4), bool)}, config)
    rows = eels.zone_measurements(fits, store.read_header(calibrated), config["eels"]["elements"])
    return fits["particle"], {row.endpoint: row for row in rows if row.zone == "particle"}


def test_every_number_names_its_source_and_the_other(calibrated, tmp_path):
    _, rows = particle(calibrated, tmp_path)
    assert "hydrogenic cross-section, photoabsorption 1." in rows["areal_density_Mn_per_nm2"].note
    assert "hydrogenic cross-section, photoabsorption 0.9" in rows["atomic_fraction_O"].note
    assert "thickness_nm" not in rows


def test_k_factor_divides_the_density_and_brings_its_error(calibrated, tmp_path):
    plain, _ = particle(calibrated, tmp_path)
    fit, rows = particle(
        calibrated,
        tmp_path,
        k_factors={"Mn": 1.25},
        k_factor_errors={"Mn": 0.02},
        k_factor_source="MnO",
    )
    ratio = plain.areal_density["Mn"][0] / fit.areal_density["Mn"][0]
    assert ratio == pytest.approx(1.25, rel=0.01)
    assert fit.areal_density["O"][0] == pytest.approx(plain.areal_density["O"][0], rel=0.01)
    before, after = (item.areal_density["Mn"] for item in (plain, fit))
    assert before[2] / before[0] > 0.149
    assert after[2] / after[0] < before[2] / before[0] - 0.02
    assert "k-factor 1.25 (MnO)" in rows["areal_density_Mn_per_nm2"].note


def test_another_source_gives_another_density_by_their_ratio(calibrated, tmp_path):
    first, _ = particle(calibrated, tmp_path)
    second, rows = particle(calibrated, tmp_path, cross_sections="photoabsorption")
    ratio = first.areal_density["Mn"][0] / second.areal_density["Mn"][0]
    assert 1.1 < ratio < 1.5
    assert "photoabsorption cross-section, hydrogenic 0." in rows["areal_density_Mn_per_nm2"].note


def test_particle_has_a_thickness_where_its_density_is_given(calibrated, tmp_path):
    fit, rows = particle(calibrated, tmp_path, density_g_per_cm3=4.7, formula="LiNi0.5Mn0.3Co0.2O2")
    row = rows["thickness_nm"]
    assert row.value == pytest.approx(fit.thickness_over_mfp[0] * fit.mean_free_path.value_nm)
    assert row.se_sys / row.value >= 0.15
    assert "Iakoubovskii 2008" in row.note
    assert "Malis 1988" in row.note


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"cross_sections": "gosh"}, "eels.gosh_file"),
        ({"k_factors": {"Xe": 1.1}}, "eels.k_factors.Xe"),
        ({"k_factor_errors": {"Mn": 0.1}}, "eels.k_factor_errors.Mn"),
        ({"k_factors": {"Mn": 0}}, "eels.k_factors.Mn"),
        ({"formula": "nmc"}, "eels.formula"),
    ],
)
def test_faults_of_the_configuration_are_named(tmp_path, options, key):
    with pytest.raises(StudyError) as caught:
        validate({"eels": options}, tmp_path)
    assert key in str(caught.value)


def test_methods_tell_of_k_factors_and_thickness():
    eels_options = {
        "elements": ["C", "Mn"],
        "cross_sections": "hydrogenic",
        "systematic": {"K": 0.07, "L": 0.15},
        "k_factors": {"Mn": 1.12},
        "k_factor_errors": {"Mn": 0.02},
        "k_factor_source": "MnO",
        "density_g_per_cm3": 4.7,
    }
    text = " ".join(sentences({"eels": eels_options}))
    assert "cancels in ratios between cells" in text
    assert "k-factors of 1.12 ± 2 % for Mn (MnO)" in text
    assert "Iakoubovskii" in text
    assert "k-factors" not in " ".join(sentences({"eels": {**eels_options, "k_factors": {}}}))
