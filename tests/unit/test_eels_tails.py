"""Tails of other shapes than the tables': what stands under an edge is not taken for the element."""

import numpy as np
import pytest

from ceiflow import eels
from ceiflow.signals import store
from ceiflow.study.metadata import METADATA, MISSING, Value

ELEMENTS = ["C", "O", "F", "Mn", "Co", "Ni"]
CONFIG = {
    "detector": {"gain": 1.0, "read_noise": 0.0, "dark": 0.0},
    "eels": {
        "elements": ELEMENTS,
        "cross_sections": "hydrogenic",
        "energy": {"policy": "file", "max_offset_eV": 25, "max_dispersion_error": 0.05, "tolerance_eV": 1.5},
        "fit": {"start_eV": None, "stop_eV": None, "groups": 1, "passes": 4, "block_pixels": 1024},
        "systematic": {"K": 0.07, "L": 0.15},
        "max_thickness_over_mfp": 1.0,
    },
}
KNOWN = {
    "beam_energy_keV": 300.0,
    "convergence_mrad": 10.0,
    "collection_mrad": 20.0,
    "exposure_s": 1.0,
    "low_loss_exposure_s": 0.01,
}
STEP = 0.5
LOW = -40.0 + STEP * np.arange(480)
# Onset, distance of L2, onset of L1, partial cross-section over 50 eV in nm^2 (Egerton's programs).
METALS = {
    "Mn": (640.0, 11.0, 769.0, 1.3e-7),
    "Co": (779.0, 15.0, 926.0, 0.71e-7),
    "Ni": (855.0, 17.5, 1008.0, 0.49e-7),
}


def peak(energy, at, sigma):
    return np.exp(-0.5 * ((energy - at) / sigma) ** 2)


def metal(element, energy, exponent, first):
    """An L edge that falls as a power of E, with white lines and an L1 of a share `first` of the rest."""
    onset, apart, deepest, partial = METALS[element]
    steps = 2 / 3 * (energy > onset + 2) + 1 / 3 * (energy > onset + 2 + apart) + first * (energy > deepest)
    continuum = (np.maximum(energy, onset) / onset) ** -exponent * steps
    grid = np.arange(onset, onset + 50.0, 0.1)
    inside = np.interp(grid, energy, continuum).sum() * 0.1
    lines = 2.5 * peak(energy, onset + 2.4, 1.3) + 1.1 * peak(energy, onset + 2.4 + apart, 1.7)
    return partial * (continuum + lines) / inside


def oxygen(energy):
    edge = (energy > 533.0) * (np.maximum(energy, 533.0) / 533.0) ** -3.7
    return 9.2e-8 * (edge + 0.4 * peak(energy, 530.0, 1.0) + 0.9 * peak(energy, 541.0, 3.0)) / 46.0


def scattered(thickness):
    """A low loss of unit area: plural scattering by a broad plasmon, and its zero at the first channel."""
    loss = np.arange(1, 400) * STEP
    plasmon = loss / ((loss**2 - 23.0**2) ** 2 + (18.0 * loss) ** 2)
    plasmon = np.concatenate([[0.0], plasmon / plasmon.sum()])
    order, share, kernel = np.eye(1, 400)[0], np.exp(-thickness), np.zeros(400)
    for n in range(7):
        kernel += share * order
        order, share = np.convolve(order, plasmon)[:400], share * thickness / (n + 1)
    return kernel


def record(folder, grid, spectrum, start, thickness, electrons, rng):
    """The fit of one recorded spectrum, from single scattering on a grid that begins well below it."""
    kernel = scattered(thickness)
    energy = start + STEP * np.arange(round((1040.0 - start) / STEP))
    plural = np.convolve(spectrum, kernel)[: grid.size]
    core = rng.poisson(electrons * STEP * np.interp(energy, grid, plural)).astype(np.float32)
    low = np.zeros(LOW.size)
    low[80:] = kernel
    zero = peak(np.arange(-6, 7), 0.0, 0.9)
    low = rng.poisson(electrons * 0.01 * np.convolve(low, zero / zero.sum(), mode="same")).astype(np.float32)
    metadata = {name: Value(KNOWN[name], "file") if name in KNOWN else MISSING for name in METADATA}
    path, edges = folder / "c.h5", folder / "e.h5"
    with store.create_h5(path) as file:
        store.write_header(file, store.Header("a", "eels_si", metadata=metadata))
        for role, data, first in (("core_loss", core, start), ("low_loss", low, LOW[0])):
            data = data.reshape(1, 1, -1)
            store.write_signal(file, role, data, energy_offset_eV=first, energy_scale_eV=STEP)
    eels.edges([path], edges, CONFIG)
    return eels.fit_zones(path, edges, {"particle": np.ones((1, 1), bool)}, CONFIG)["particle"]


def oxide(grid, atoms, exponent, first):
    """Edges of an oxide in single scattering."""
    spectrum = atoms["O"] * oxygen(grid)
    for element in set(atoms) - {"O"}:
        spectrum = spectrum + atoms[element] * metal(element, grid, exponent, first)
    return spectrum


def particle(folder, atoms, exponent, first, seed, electrons=3e9):
    """The fit of an oxide from 440 eV on."""
    grid = 300.0 + STEP * np.arange(1500)
    spectrum = 4e-5 * (grid / 500.0) ** -3.1 + oxide(grid, atoms, exponent, first)
    return record(folder, grid, spectrum, 440.0, 0.4, electrons, np.random.default_rng(seed))


@pytest.mark.parametrize("exponent", [2.6, 3.6])
@pytest.mark.parametrize("first", [0.08, 0.16, 0.24])
@pytest.mark.parametrize(("metal", "electrons"), [("Mn", 1e9), ("Mn", 3e8), ("Co", 1e9)])
def test_a_metal_without_another_is_not_taken_for_it(tmp_path, metal, electrons, exponent, first):
    """Powers of E as of either table, which fall by 2.7 and 3.7, and steps at L1 about theirs."""
    fit = particle(tmp_path, {"O": 2700.0, metal: 1350.0}, exponent, first, round(exponent * 10), electrons)
    assert fit.status[metal][0] == fit.status["O"][0] == "identified"
    for element in {"F", "Mn", "Co", "Ni"} - {metal}:
        value, _, systematic, lod = fit.areal_density[element]
        assert fit.status[element][0] == "bounded", (element, value, systematic, lod)
        assert fit.fraction_status[element][0] == "bounded"


def test_metals_of_an_nmc_stay_identified(tmp_path):
    atoms = {"O": 2900.0, "Mn": 440.0, "Co": 290.0, "Ni": 730.0}
    fit = particle(tmp_path, atoms, 3.0, 0.13, seed=1)
    for element in ("Mn", "Co", "Ni"):
        assert fit.status[element][0] == "identified", (element, fit.areal_density[element])
        value, statistical, systematic, _ = fit.areal_density[element]
        assert abs(value - atoms[element]) < 2.5 * np.hypot(statistical, systematic)


def test_a_tail_moves_others_by_what_stands_under_them(tmp_path):
    """The limit of nickel grows with the manganese before it, that of manganese not with nickel behind it."""
    alone, before, behind = (
        particle(tmp_path, {"O": 2700.0, **metals}, 3.0, 0.13, seed=2).areal_density
        for metals in ({}, {"Mn": 1350.0}, {"Ni": 1350.0})
    )
    assert before["Ni"][3] > 1.25 * alone["Ni"][3]
    assert behind["Mn"][3] < 1.3 * alone["Mn"][3]


@pytest.mark.parametrize("thickness", [0.2, 0.45])
@pytest.mark.parametrize(("floor", "start"), [(45.0, 1.0), (70.0, 1.0), (100.0, 100.0), (150.0, 150.0)])
def test_plural_scattering_of_the_background_is_no_carbon(tmp_path, floor, start, thickness):
    """Whatever the background does below the range: it is one power of E in single scattering only."""
    grid = np.arange(1.0, 1100.0, STEP)
    background = 1e-5 * (np.maximum(grid, floor) / 500.0) ** -3.1 * (grid >= start)
    spectrum = background + oxide(grid, {"O": 2900.0, "Mn": 440.0, "Co": 290.0, "Ni": 730.0}, 3.0, 0.13)
    fit = record(tmp_path, grid, spectrum, 200.0, thickness, 1e9, np.random.default_rng(3))
    value, statistical, systematic, _ = fit.areal_density["C"]
    assert fit.status["C"][0] == "bounded"
    assert abs(value) < 2.8 * np.hypot(statistical, systematic), (value, statistical, systematic)
    for element in ("O", "Mn", "Ni"):
        assert fit.status[element][0] == "identified", (element, fit.areal_density[element])
