"""O K, Li K and the distance of L3 from O K, on spectra of shapes that no template has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ceiflow.eels.fine_structure import lithium
from ceiflow.eels.fine_structure.plural import single_loss
from ceiflow.eels.fine_structure.references import load_references
from ceiflow.eels.fine_structure.rows import separation_rows, species_rows, unmixing_reason
from ceiflow.eels.fine_structure.separation import Separation, separation
from ceiflow.eels.fine_structure.unmixing import Spectrum, unmix
from ceiflow.eels.fine_structure.white_lines import WhiteLines, white_lines
from ceiflow.phantom.edges import edge_spectra
from ceiflow.phantom.materials import MATERIALS

ENERGY = np.arange(440.0, 700.0, 0.5)
LOSS = np.arange(-15.0, 140.0, 0.25)


def oxygen(material, counts=4e5, seed=0):
    """O K and Mn L of a phantom's material on a power law, blurred by 0.9 eV FWHM; no plural scattering."""
    fine = np.arange(400.0, 760.0, 0.1)
    edges = edge_spectra(MATERIALS[material], fine, {}, 300.0, 20.0)
    whole = sum(edges.values())
    scale = counts / (edges["O"][(fine > 529) & (fine < 579)].sum() * 0.1)
    width = np.exp(-0.5 * (np.arange(-20, 21) * 0.1 / 0.38) ** 2)
    shape = np.interp(ENERGY, fine, np.convolve(whole * scale, width / width.sum(), mode="same")) * 0.5
    mean = 8000 * (ENERGY / 500) ** -3 + shape
    return np.random.default_rng(seed).poisson(mean).astype(float)


NARROW = (np.exp(-0.5 * (np.arange(-4, 4.1, 0.5) / 0.38) ** 2) / 1.905, 8)


@pytest.mark.parametrize(
    ("material", "species"), [("NMC532", "oxide"), ("Li2CO3", "carbonate"), ("polyether", "ice_or_ether")]
)
def test_oxygen_of_a_material(material, species):
    references = load_references([], Path("."), "O_K")
    assert {item.kind for item in references} == {"template"}
    spectrum = Spectrum(ENERGY, oxygen(material, seed=3), NARROW, shift_se_eV=0.2)
    found = unmix(spectrum, references, 1, "O_K")
    rows = {row.endpoint: row for row in species_rows("all", "oxygen", found, "", 1, "")}
    right = rows[f"oxygen_fraction_{species}"]
    sums = [row for name, row in rows.items() if "_and_" in name and species in name]
    # By itself, or with what it cannot be told from; and nothing else is claimed. The pre-peak of a layered
    # oxide could be a peroxide's on an axis known to 0.2 eV: that is said of neither then.
    if species != "oxide":
        assert right.status == "identified" or any(row.status == "identified" for row in sums)
    for name in ("oxide", "carbonate", "ice_or_ether", "Li2O", "Li2O2"):
        i = found.species.index(name)
        true = float(name == species)
        error = np.hypot(found.se_stat[i], found.se_sys[i])
        assert abs(found.fraction[i] - true) < 3 * error, (name, found.fraction[i], error)
        if not true:
            assert rows[f"oxygen_fraction_{name}"].status != "identified"


def low_loss(edge, t=0.5, counts=3e8, seed=0):
    """Zero loss, plasmons of all orders and one edge, compounded as independent losses are."""
    n = np.arange(LOSS.size)
    zero = int(np.argmin(np.abs(LOSS)))
    plasmon = np.where(LOSS > 2, 1 / (((LOSS - 23.0) ** 2) + 40), 0.0)
    single = t * plasmon / plasmon.sum() + edge
    rolled = np.roll(single, -zero) * (n < LOSS.size - zero)
    padded = np.zeros(4 * LOSS.size)
    padded[: LOSS.size] = rolled
    total = np.fft.irfft(np.exp(np.fft.rfft(padded) - single.sum()), padded.size)[: LOSS.size]
    width = np.exp(-0.5 * ((LOSS - LOSS[zero]) / 0.35) ** 2)
    width /= width.sum()
    mean = np.convolve(np.roll(total, zero), width)[zero : zero + LOSS.size] * counts
    return np.random.default_rng(seed).poisson(np.clip(mean, 0, None)).astype(float), single, single.sum()


def lithium_edge(lines, step, share=0.01):
    shape = 0.5 + np.arctan((LOSS - step) / 0.4) / np.pi
    shape = np.where(step - 6 < LOSS, shape * (np.maximum(LOSS, 1) / step) ** -3, 0.0)
    for at, width, height in lines:
        shape = shape + height / (1 + ((LOSS - at) / (width / 2)) ** 2) * (np.abs(LOSS - at) < 3 * width)
    return share * shape / shape[(LOSS > 55) & (LOSS < 105)].sum()


FLUORIDE = (((62.1, 1.8, 2.0), (70.0, 6.0, 1.0)), 60.0)


def test_plasmons_of_higher_order_are_taken_off():
    counts, single, total = low_loss(np.zeros(LOSS.size), t=0.8)
    found = single_loss(LOSS, counts, 3.0)
    elastic = 3e8 * np.exp(-total)
    for first, last in ((15, 35), (40, 55), (60, 90)):
        inside = (first < LOSS) & (last > LOSS)
        assert found[inside].sum() == pytest.approx(elastic * single[inside].sum(), rel=0.03)


def as_spectrum(counts):
    single = single_loss(LOSS, counts, 3.0)
    return Spectrum(LOSS, single, None, shift_se_eV=0.3, plural=np.clip(counts - single, 0, None))


def test_lithium_fluoride_and_nothing():
    references = load_references([], Path("."), "Li_K")
    spectrum = as_spectrum(low_loss(lithium_edge(*FLUORIDE))[0])
    found = unmix(spectrum, references, 1, "Li_K")
    assert not unmixing_reason(found, spectrum, "Li_K")
    i = found.species.index("LiF")
    assert abs(found.fraction[i] - 1) < 3 * np.hypot(found.se_stat[i], found.se_sys[i])
    for j, name in enumerate(found.species):
        if name != "LiF":
            error = np.hypot(found.se_stat[j], found.se_sys[j])
            assert found.fraction[j] < 3.29 * error
    empty = as_spectrum(low_loss(np.zeros(LOSS.size), seed=2)[0])
    reason = unmixing_reason(unmix(empty, references, 1, "Li_K"), empty, "Li_K")
    assert reason, "no lithium is invented between plasmons"


def test_lithium_is_not_asked_for_where_metals_are():
    absent = [WhiteLines(metal, l3=1.0, l3_se=2.0, reason="no L3") for metal in ("Mn", "Co", "Ni")]
    assert lithium.metal_reason(absent) == ""
    there = [*absent[:2], WhiteLines("Ni", ratio=2.0, l3=100.0, l3_se=2.0)]
    assert "Ni is there" in lithium.metal_reason(there)
    unknown = [*absent[:2], WhiteLines("Ni", reason="Ni L lies outside the range")]
    assert "not known" in lithium.metal_reason(unknown)


def test_distance_of_l3_from_oxygen():
    """Layered and reduced: the phantom's own maxima; an offset of the axis moves nothing."""
    found = {}
    for material, zone in (("NMC532", "particle"), ("rocksalt", "surface")):
        counts = oxygen(material, seed=5)
        lines = white_lines(ENERGY, counts, "Mn", None, seed=1)
        found[zone] = separation(ENERGY, counts, None, lines, dispersion_se=0.005, seed=1)
        moved = white_lines(ENERGY + 1.0, counts, "Mn", None, seed=1)
        again = separation(ENERGY + 1.0, counts, None, moved, seed=1)
        assert again.value == pytest.approx(found[zone].value, abs=0.1)
    bulk, surface = found["particle"], found["surface"]
    assert bulk.value == pytest.approx(642.8 - 540.8, abs=3 * np.hypot(bulk.se, bulk.systematic))
    assert surface.value == pytest.approx(640.6 - 538.4, abs=3 * np.hypot(surface.se, surface.systematic))
    assert bulk.dispersion_eV == pytest.approx(0.005 * bulk.value)
    rows = separation_rows(found, "mn", {"particle": 5, "surface": 2}, "")
    change = rows[-1]
    assert change.endpoint == "mn_l3_o_k_separation_change_eV"
    assert change.se_sys < surface.systematic, "dispersion is common to both"
    assert separation_rows({"all": Separation(reason="no L3")}, "mn", {}, "")[0].status == "not_identifiable"
