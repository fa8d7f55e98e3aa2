"""Mean free paths against published numbers, thickness rows, and k-factors."""

import math

import pytest

from ceiflow.eels.k_factors import KFactor, k_factors_from_compound, parse_formula, read_k_factors
from ceiflow.eels.mean_free_path import effective_number, iakoubovskii_nm, malis_nm, mean_free_path
from ceiflow.study.metadata import MISSING, Value

NMC = "LiNi0.5Mn0.3Co0.2O2"
KNOWN = {
    "beam_energy_keV": Value(300.0, "file"),
    "convergence_mrad": Value(10.0, "file"),
    "collection_mrad": Value(20.0, "file"),
}


@pytest.mark.parametrize(
    ("density", "expected"),
    [(4.7, 150), (2.11, 183), (2.64, 173), (1.2, 211), (1.9, 188)],
    ids=["NMC", "Li2CO3", "LiF", "organic", "carbon"],
)
def test_mean_free_path_from_density(density, expected):
    assert iakoubovskii_nm(density, 300.0) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(("formula", "expected"), [(NMC, 131), ("Li2CO3", 165)])
def test_mean_free_path_from_composition(formula, expected):
    assert malis_nm(formula, 300.0, 20.0) == pytest.approx(expected, abs=0.5)


def test_a_smaller_aperture_means_a_longer_path():
    wide = iakoubovskii_nm(4.7, 300.0)
    paths = [iakoubovskii_nm(4.7, 300.0, 0.0, angle) for angle in (1000.0, 100.0, 40.0, 20.0, 10.0, 5.0)]
    assert paths == sorted(paths)
    assert paths[0] == pytest.approx(wide, rel=1e-3)
    # Convergence and collection stand for one another.
    assert iakoubovskii_nm(4.7, 300.0, 10.0, 30.0) == pytest.approx(iakoubovskii_nm(4.7, 300.0, 30.0, 10.0))


def test_slower_electrons_have_shorter_paths():
    assert iakoubovskii_nm(2.11, 80.0) < iakoubovskii_nm(2.11, 200.0) < iakoubovskii_nm(2.11, 300.0)


def test_effective_number_of_an_element_is_its_own():
    assert effective_number("C") == pytest.approx(6.0)
    assert effective_number("CC2") == pytest.approx(6.0)
    assert 6 < effective_number("Li2CO3") < 8
    with pytest.raises(ValueError, match="Xx"):
        effective_number("LiXx2")


def test_nothing_is_computed_without_a_density():
    assert mean_free_path({}, KNOWN) is None
    assert mean_free_path({"density_g_per_cm3": None, "formula": NMC}, KNOWN) is None


def test_both_models_and_their_difference_are_told():
    one = mean_free_path({"density_g_per_cm3": 4.7}, KNOWN)
    assert one.value_nm == pytest.approx(iakoubovskii_nm(4.7, 300.0, 10.0, 20.0))
    assert one.relative_error == 0.15
    assert "Iakoubovskii 2008" in one.note
    assert "Malis" not in one.note
    two = mean_free_path({"density_g_per_cm3": 4.7, "formula": NMC}, KNOWN)
    assert "131 nm by Malis 1988" in two.note
    assert two.relative_error == pytest.approx(max(0.15, 1 - 130.65 / two.value_nm), rel=1e-3)


def test_missing_angles_are_named_and_never_guessed():
    path = mean_free_path({"density_g_per_cm3": 4.7}, {**KNOWN, "collection_mrad": MISSING})
    assert math.isnan(path.value_nm)
    assert "collection_mrad" in path.note


@pytest.mark.parametrize("text", ["", "nmc", "Li2CO3)", "(OH2", "Li-O", "2", "()2x"])
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(ValueError, match=r"formula|bracket"):
        parse_formula(text)


def test_formulas_with_brackets():
    assert parse_formula("Ca(OH)2") == {"Ca": 1.0, "O": 2.0, "H": 2.0}
    assert parse_formula("Li(Ni0.5Mn0.5)O2") == {"Li": 1.0, "Ni": 0.5, "Mn": 0.5, "O": 2.0}


def test_k_factors_give_a_compound_its_composition():
    measured = {"O": (200.0, 2.0), "Mn": (33.6, 0.5), "Ni": (40.0, 0.8), "C": (5.0, 1.0)}
    factors = k_factors_from_compound(measured, NMC)
    assert set(factors) == {"O", "Mn", "Ni"}
    assert factors["O"] == (1.0, 0.0)
    atoms = parse_formula(NMC)
    for element, (factor, error) in factors.items():
        corrected = measured[element][0] / factor
        assert corrected / 200.0 == pytest.approx(atoms[element] / atoms["O"])
        if element != "O":
            assert error == pytest.approx(math.hypot(0.01, measured[element][1] / measured[element][0]))


def test_k_factors_need_their_reference():
    with pytest.raises(ValueError, match="O has to be"):
        k_factors_from_compound({"Mn": (1.0, 0.1)}, "MnO")
    with pytest.raises(ValueError, match="not positive"):
        k_factors_from_compound({"O": (-1.0, 0.1)}, "MnO")


def test_k_factors_of_the_configuration():
    options = {
        "k_factors": {"Mn": 1.12, "Ni": 0.9},
        "k_factor_errors": {"Mn": 0.03},
        "k_factor_source": "MnO",
    }
    factors = read_k_factors(options)
    assert factors["Mn"] == KFactor(1.12, 0.03, "MnO")
    assert factors["Ni"].error is None
    assert read_k_factors({}) == {}
    assert not KFactor().given
