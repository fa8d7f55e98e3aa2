"""Species from spectra of the phantom, whose shapes are not those of the references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ceiflow.eels import low_loss as ll
from ceiflow.eels.fine_structure.references import load_references
from ceiflow.eels.fine_structure.rows import species_rows, unmixing_reason
from ceiflow.eels.fine_structure.unmixing import Spectrum, unmix
from ceiflow.phantom.edges import nature
from ceiflow.phantom.materials import MATERIALS, mix
from ceiflow.phantom.spectra import Beam, expected_dual

BEAM = Beam(channels=400, zero_loss_fwhm_eV=0.8, jitter_eV=0.0, drift_eV=0.0)
LAYER = mix({"Li2CO3": 0.4, "ROCO2Li": 0.3, "polyether": 0.3})


def spectrum(material, thickness_nm=60.0, counts=20000.0, seed=0, shift=0.0, shift_se=0.3):
    core, low = expected_dual({"m": np.array([thickness_nm])}, {"m": material}, BEAM, nature(2))
    edge = material.atoms["C"] * thickness_nm * 3.44e-7 * BEAM.electrons
    step = BEAM.true_dispersion_eV
    kernel = ll.kernel(BEAM.low_start_eV + step * np.arange(BEAM.low_channels), low[0], step)
    drawn = np.random.default_rng(seed).poisson(core[0] * counts / edge).astype(float)
    return Spectrum(BEAM.core_energy() + shift, drawn, kernel, shift_se_eV=shift_se)


@pytest.fixture(scope="module")
def references():
    return load_references([], Path("."))


def share(found, species):
    i = found.species.index(species)
    return found.fraction[i], np.hypot(found.se_stat[i], found.se_sys[i])


@pytest.mark.parametrize(
    ("thickness", "shift"), [(60.0, 0.0), (60.0, 0.3), (155.0, 0.0)], ids=["plain", "shifted", "thick"]
)
def test_carbonate_within_its_errors(references, thickness, shift):
    true = LAYER.carbon["carbonate"]
    misses = []
    for seed in range(4):
        found = unmix(spectrum(LAYER, thickness, seed=seed, shift=shift), references, seed)
        value, error = share(found, "carbonate")
        misses.append((value - true) / error)
        assert error < 0.2
        assert found.shift_eV == pytest.approx(shift, abs=3 * found.shift_se_eV)
    assert np.sqrt(np.mean(np.square(misses))) < 2


def test_no_carbonate_is_invented(references):
    for seed in range(3):
        given = spectrum(MATERIALS["carbon"], seed=seed)
        found = unmix(given, references, seed)
        assert not unmixing_reason(found, given)
        rows = {row.endpoint: row for row in species_rows("all", "carbon", found, "", 1, "")}
        assert rows["carbon_fraction_carbonate"].status == "bounded"
        assert rows["carbon_fraction_carbonate"].lod < 0.15
        assert rows["carbon_fraction_sp2"].status == "identified"


def test_missing_species_is_named_with_its_energy(references):
    without = [item for item in references if item.species not in ("carbonate", "ether")]
    found = unmix(spectrum(MATERIALS["Li2CO3"], counts=60000.0, shift_se=0.1), without, 0)
    assert found.missing
    assert found.missing[0]["energy_eV"] == pytest.approx(290.3, abs=1.0)


def test_few_counts_and_an_unknown_axis_say_nothing(references):
    given = spectrum(LAYER, counts=150.0, shift_se=1.5)
    found = unmix(given, references, 0)
    reason = unmixing_reason(found, given)
    rows = species_rows("all", "carbon", found, reason, 1, "")
    assert not any(row.status == "identified" for row in rows)
    assert "energy of C K known to" in reason or "detection limit" in reason


def test_the_same_seed_gives_the_same_numbers(references):
    one, two = (unmix(spectrum(LAYER), references, 7) for _ in range(2))
    assert np.array_equal(one.se_sys, two.se_sys)
    assert np.array_equal(one.fraction, two.fraction)
