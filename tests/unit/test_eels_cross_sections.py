"""Sources of cross-sections: they agree where they should, and say who they are."""

import h5py
import numpy as np
import pytest

from ceiflow.eels import section_sources as sources
from ceiflow.eels.cross_sections import Setting, origins, read_edges, setting_of, write_edges
from ceiflow.eels.k_factors import KFactor
from ceiflow.eels.table import EDGES
from ceiflow.study.metadata import MISSING, Value

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
