"""Multiplets behind the templates of Co and Ni, against what is known without computing them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "fine_structure"))

from cluster import Oxygen, cluster_sticks
from computed_templates import IONS, MODEL_ERROR, lines_of, parameters, ranges, template
from multiplets import final_terms, hamiltonian, initial_terms, sticks

from ceiflow.eels.fine_structure.line_templates import line_templates

HUND = {"F2dd": 10.0, "F4dd": 6.0}


def levels(matrix):
    return np.unique(np.linalg.eigvalsh(matrix.toarray()).round(6))


@pytest.mark.parametrize("electrons", [2, 8])
def test_terms_of_two_electrons_and_of_two_holes(electrons):
    """3F 1D 3P 1G 1S by Racah: -8B, -3B+2C, 7B, 4B+2C, 14B+7C."""
    b, c = 10 / 49 - 5 * 6 / 441, 35 * 6 / 441
    expected = sorted([-8 * b, -3 * b + 2 * c, 7 * b, 4 * b + 2 * c, 14 * b + 7 * c])
    found = levels(hamiltonian(initial_terms(electrons), HUND))
    assert np.diff(found) == pytest.approx(np.diff(expected), abs=1e-5)


def test_terms_of_a_hole_and_an_electron():
    """F2 by c^2 c^2 of P, D, F: -1/5, 1/5, -2/35; exchange lifts 1P by 4/3 G1 and 1F by 18/49 G3."""
    terms = final_terms(1)
    assert levels(terms["F2pd"]) == pytest.approx([-1 / 5, -2 / 35, 1 / 5], abs=1e-5)
    assert np.diff(levels(terms["G1pd"])) == pytest.approx([4 / 3], abs=1e-5)
    assert np.diff(levels(terms["G3pd"])) == pytest.approx([18 / 49], abs=1e-5)


@pytest.mark.parametrize("electrons", [1, 3, 6, 8, 9])
def test_strength_is_the_number_of_holes(electrons):
    final = {"zeta_p": 9.0, "F2pd": 6.0, "G1pd": 4.5, "G3pd": 2.6, "tenDq": 1.0} | HUND
    found = sticks(electrons, HUND | {"zeta_d": 0.07, "tenDq": 1.0}, final, 300.0)
    assert found.strength.sum() == pytest.approx(0.4 * (10 - electrons))
    assert found.strength.min() > -1e-9


def test_without_interactions_of_the_core_hole_and_of_spin_and_orbit_it_is_two_to_one():
    found = sticks(7, HUND | {"tenDq": 1.0}, HUND | {"zeta_p": 9.0, "tenDq": 1.0}, 300.0)
    assert found.ratio == pytest.approx(2.0)
    assert found.spin == pytest.approx(1.5)


def test_a_hole_of_five_halves_cannot_be_reached_from_one_half():
    assert sticks(9, {"zeta_d": 0.1}, {"zeta_p": 11.0}, 10.0).strength[1].sum() == pytest.approx(
        0.0, abs=1e-9
    )


def test_spin_orbit_sum_rule_of_the_initial_state():
    """I(L3) - 2 I(L2) is proportional to l.s of the initial state where the core hole's shells stay apart."""
    slopes = []
    for coupling, kelvin in ((0.05, 50.0), (0.1, 300.0)):
        initial = HUND | {"tenDq": 1.0, "zeta_d": coupling}
        terms = initial_terms(7)
        energies, states = np.linalg.eigh(hamiltonian(terms, initial).toarray())
        weight = np.exp(-(energies - energies[0]) / (8.617e-5 * kelvin))
        weight = np.where(weight > 1e-3, weight, 0.0) / weight[weight > 1e-3].sum()
        coupled = np.einsum("ij,ij,j", states, terms["zeta_d"] @ states, weight)
        final = HUND | {"zeta_p": 9.0, "zeta_d": 0.1, "tenDq": 1.0}
        lines = sticks(7, initial, final, kelvin).strength.sum(1)
        slopes.append((lines[0] - 2 * lines[1]) / coupled)
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-6)


def test_low_spin_has_the_lower_ratio():
    """Thole & van der Laan 1988, Phys. Rev. B 38, 3158: highest for Hund's ground state."""
    low, high = (next(item for item in IONS if item.name == f"Co3+ {kind} spin") for kind in ("low", "high"))
    assert lines_of(low).spin == pytest.approx(0.0, abs=0.1)
    assert lines_of(high).spin == pytest.approx(2.0, abs=0.1)
    assert lines_of(low).ratio < 0.8 * lines_of(high).ratio


def test_oxygen_out_of_reach_changes_nothing():
    ion = next(item for item in IONS if item.name == "Ni2+")
    initial, final = parameters(ion, 0.8, 1.0, 1.0)
    alone = sticks(8, initial, final, 300.0)
    far = cluster_sticks(8, initial, final, Oxygen(60.0, 7.5, 8.5, 0.01, 0.01), 300.0)
    assert far.ratio == pytest.approx(alone.ratio, rel=1e-3)
    assert far.strength.sum() == pytest.approx(alone.strength.sum(), rel=1e-3)


def test_oxygen_takes_strength_into_satellites_and_keeps_spin():
    """With hopping, holes are shared: strength is that of the holes that are left in 3d."""
    ion = next(item for item in IONS if item.name == "Ni2+")
    found = cluster_sticks(8, *parameters(ion, 0.8, 0.7, 1.0), Oxygen(4.5, 7.5, 8.5, 2.0, 1.0), 300.0)
    assert found.spin == pytest.approx(1.0, abs=0.01)
    # 8.1 to 8.3 electrons in 3d of NiO.
    assert 1.7 < found.strength.sum() / 0.4 < 1.9
    # Signs of the hops: L3 is one line with a shoulder, and a satellite some 6 eV above has a few per cent.
    first = found.energy_eV[np.argmax(found.strength[0])]
    satellite = (found.energy_eV > first + 4) & (found.energy_eV < first + 10)
    assert 0.01 < found.strength[0, satellite].sum() / found.strength[0].sum() < 0.1


@pytest.mark.parametrize("name", ["Co2+ high spin", "Ni2+"])
def test_shipped_numbers_are_the_computed_ones(name):
    ion = next(item for item in IONS if item.name == name)
    low, high, recipes = template(ranges(ion), MODEL_ERROR)
    shipped = next(item for item in line_templates(ion.element) if item.valence == ion.valence)
    assert (shipped.low, shipped.high) == pytest.approx((low, high), abs=0.06)
    assert shipped.recipe_se == pytest.approx(recipes, abs=0.006)
