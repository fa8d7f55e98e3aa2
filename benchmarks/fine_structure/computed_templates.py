"""Templates of Co and Ni L2,3 by valence, from computed spectra; Mn, which has references, checks them.

For every ion: the middle of the parameters, what their ranges make of L3/L2, and the scatter of 14 recipes of
extraction on the computed edge. Mn is read as its measured references are, cut where they are cut; the
residual of ln(L3/L2) is the error of the model, which templates of Co and Ni inherit.

    python benchmarks/fine_structure/computed_templates.py [--real-data FOLDER] [--figure FILE]

Without the folder the error of the model is the one that was found with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from cluster import Oxygen, cluster_sticks
from multiplets import Sticks, sticks
from recipes import continuum, extractions

from ceiflow.eels.fine_structure.line_templates import TemplateCalibration, line_templates
from ceiflow.eels.fine_structure.references import read_spectrum
from ceiflow.eels.fine_structure.valence import reference_lines, valence_of
from ceiflow.eels.fine_structure.white_lines import (
    CONTINUUM_EV,
    LINES_EV,
    WINDOW_EV,
    Recipe,
    find_lines,
    ratio_of,
    remove_background,
    white_lines,
)


@dataclass(frozen=True)
class Ion:
    """One ion in a cubic field of oxygen; energies in eV, integrals of Hartree-Fock, unscaled.

    Parameters
    ----------
    name, element : str
    valence, electrons : int
        `electrons` in 3d before the transition.
    spin : float
        Of the ground state; parameters that give another are left out.
    field_eV : (float, float, float)
        10Dq: low, middle, high.
    initial : (F2dd, F4dd, zeta_d)
    final : (F2dd, F4dd, F2pd, G1pd, G3pd, zeta_d, zeta_p)
    ligand_hole : str
        Ion that it is where oxygen gives electrons: not computed, and the range takes that ion's value in.
    """

    name: str
    element: str
    valence: int
    electrons: int
    spin: float
    field_eV: tuple[float, float, float]
    initial: tuple[float, float, float]
    final: tuple[float, float, float, float, float, float, float]
    ligand_hole: str = ""


# Hartree-Fock with relativistic corrections (Cowan's programs), as tabulated for X-ray spectroscopy by Crispy
# (mretegan/crispy, crispy/data/parameters.json) and EDRIXS (NSLS-II/edrixs, edrixs/atom_data): both agree to
# 0.005 eV but for F4dd of 2p5 3d7 of Ni (9.400 and 8.399), where the series of Ni tells for the former.
_MN2 = (10.316, 6.414, 0.040), (11.155, 6.943, 6.321, 4.606, 2.618, 0.053, 6.846)
_MN3 = (11.415, 7.148, 0.046), (12.210, 7.649, 6.988, 5.179, 2.945, 0.059, 6.845)
_MN4 = (12.416, 7.820, 0.052), (13.177, 8.299, 7.658, 5.776, 3.288, 0.066, 6.845)
_CO2 = (11.605, 7.209, 0.066), (12.396, 7.708, 7.260, 5.397, 3.069, 0.083, 9.748)
_CO3 = (12.663, 7.917, 0.074), (13.422, 8.395, 7.900, 5.951, 3.386, 0.092, 9.746)
_CO4 = (13.639, 8.572, 0.082), (14.373, 9.034, 8.545, 6.529, 3.717, 0.101, 9.746)
_NI2 = (12.234, 7.598, 0.083), (13.007, 8.084, 7.721, 5.787, 3.291, 0.102, 11.507)
_NI3 = (13.277, 8.295, 0.091), (14.022, 8.764, 8.350, 6.332, 3.603, 0.112, 11.506)
_NI4 = (14.245, 8.944, 0.101), (14.967, 9.400, 8.985, 6.902, 3.930, 0.122, 11.505)
# Spin: LiCoO2 by Montoro et al. 2000 (Electrochem. Solid-State Lett. 3, 410), LiNiO2 and NiO2 by Koyama et
# al. 2005 (J. Phys. Chem. B 109, 10749). 10Dq of low-spin ions must be large enough to make them so with
# integrals of 80 %: it stands for covalency too.
IONS = (
    Ion("Mn2+", "Mn", 2, 5, 2.5, (0.8, 1.0, 1.2), *_MN2),
    Ion("Mn3+", "Mn", 3, 4, 2.0, (1.2, 1.5, 1.8), *_MN3),
    Ion("Mn4+", "Mn", 4, 3, 1.5, (1.8, 2.2, 2.6), *_MN4),
    Ion("Co2+ high spin", "Co", 2, 7, 1.5, (0.7, 0.9, 1.1), *_CO2),
    Ion("Co3+ low spin", "Co", 3, 6, 0.0, (2.0, 2.4, 2.8), *_CO3),
    Ion("Co3+ high spin", "Co", 3, 6, 2.0, (0.8, 1.0, 1.2), *_CO3),
    Ion("Co4+ low spin", "Co", 4, 5, 0.5, (3.4, 3.7, 4.0), *_CO4, "Co3+ low spin"),
    Ion("Ni2+", "Ni", 2, 8, 1.0, (0.7, 1.0, 1.3), *_NI2),
    Ion("Ni3+ low spin", "Ni", 3, 7, 0.5, (2.9, 3.2, 3.5), *_NI3),
    Ion("Ni4+ low spin", "Ni", 4, 6, 0.0, (2.4, 2.8, 3.2), *_NI4, "Ni2+"),
)
SCALES = (0.7, 0.8, 0.9)
# Orbital moments are reduced by covalency and by distortions: coupling of the 3d shell, over the ion's.
COUPLINGS = (0.5, 1.0)
KELVINS = (100.0, 300.0)
# In oxygen: energy of charge transfer, hopping of eg (t2g has half of it) and 10Dq; low, middle, high. Ni2+
# and the repulsions as in the tutorial of Ni2+ compounds of Crispy (crispy.esrf.fr); the energy of Ni3+ is
# below zero (Bisogni et al. 2016, Nature Communications 7, 13017).
CLUSTERS = {
    "Ni2+": ((3.6, 4.3, 5.0), (1.7, 2.0, 2.3), (0.5, 0.7, 0.9)),
    "Ni3+ low spin": ((-2.0, -1.0, 0.0), (2.0, 2.5, 3.0), (0.7, 1.0, 1.3)),
}
U_DD_EV, U_PD_EV = 7.5, 8.5
# Area of both lines in eV times the height of the continuum, for each hole in 3d: about what `measured_areas`
# reads in an NMC particle.
AREAS_PER_HOLE = (2.5, 4.0, 7.0)
RESOLUTIONS_EV = (0.5, 1.0, 1.5)
# Lorentzians of the core hole, FWHM: L2 is wider by Coster-Kronig decay.
L3_WIDTH_EV, L2_WIDTH_EV = 0.5, 1.2
# Root mean square of ln(L3/L2), theory over measurement, over the three Mn references (`validation`).
MODEL_ERROR = 0.15
COMPOUNDS = ("MnO", "LaMnO3", "MnO2")


def parameters(
    ion: Ion, scale: float, field: float, coupling: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Parameters of the Hamiltonians before and after the transition."""
    names = ("F2dd", "F4dd", "F2pd", "G1pd", "G3pd")
    initial = {name: scale * value for name, value in zip(names[:2], ion.initial, strict=False)}
    final = {name: scale * value for name, value in zip(names, ion.final, strict=False)}
    initial |= {"zeta_d": coupling * ion.initial[2], "tenDq": field}
    return initial, final | {"zeta_d": coupling * ion.final[5], "zeta_p": ion.final[6], "tenDq": field}


def lines_of(
    ion: Ion, scale: float = 0.8, field: float | None = None, coupling: float = 1.0, kelvin: float = 300.0
) -> Sticks:
    """Transitions of one ion for one choice of parameters."""
    field = ion.field_eV[1] if field is None else field
    return sticks(ion.electrons, *parameters(ion, scale, field, coupling), kelvin)


def in_oxygen(ion: Ion, delta: float, hopping: float, field: float, coupling: float = 1.0) -> Sticks:
    """Transitions of one ion that exchanges electrons with oxygen."""
    oxygen = Oxygen(delta, U_DD_EV, U_PD_EV, hopping, hopping / 2)
    return cluster_sticks(ion.electrons, *parameters(ion, 0.8, field, coupling), oxygen, 300.0)


def variants(ion: Ion) -> Iterator[Sticks]:
    """All choices of parameters whose ground state has the spin of the ion's."""
    for choice in product(SCALES, ion.field_eV, COUPLINGS, KELVINS):
        lines = lines_of(ion, *choice)
        if abs(lines.spin - ion.spin) < 0.3:
            yield lines


def spectrum(
    ion: Ion, lines: Sticks, per_hole: float = 4.0, fwhm: float = 1.0, top: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Energies in eV and a single-scattering edge without background; the maximum of L3 stands at `top`."""
    from scipy.signal import fftconvolve
    from scipy.special import voigt_profile

    top = LINES_EV[ion.element][0] if top is None else top
    centre = np.average(lines.energy_eV, weights=lines.strength.sum(0))
    fine = np.arange(-60.0, 60.0, 0.02)
    curve = np.zeros(fine.size)
    for strength, width in zip(lines.strength, (L3_WIDTH_EV, L2_WIDTH_EV), strict=True):
        drawn = np.histogram(lines.energy_eV - centre, np.append(fine, 60.0), weights=strength)[0]
        curve += fftconvolve(drawn, voigt_profile(fine, fwhm / 2.3548, width / 2), mode="same")
    moved = top - fine[np.argmax(curve)]
    energy = np.arange(top - 80.0, top + 60.0, 0.1)
    second = np.average(lines.energy_eV, weights=lines.strength[1]) - centre + moved
    height = lines.strength.sum() / (per_hole * (10 - ion.electrons))
    edge = np.interp(energy, fine + moved, curve, left=0.0, right=0.0)
    return energy, edge + height * continuum(energy, top, second)


def reading(ion: Ion, energy: np.ndarray, edge: np.ndarray) -> float:
    """L3/L2 by the package's recipe, on a background."""
    counts = edge / edge.max() + 3 * (energy / energy[0]) ** -3
    return white_lines(energy, counts, ion.element, None, gain=0.0, others=False).ratio


@dataclass(frozen=True)
class Range:
    """What is computed of one ion: L3/L2 by the hole and by the recipe, over all parameters, over recipes."""

    name: str
    hole: float
    middle: float
    low: float
    high: float
    scatter: float


def ranges(ion: Ion) -> list[Range]:
    """The ion alone, and in oxygen where that is computed."""
    middle = lines_of(ion)
    found = [reading(ion, *spectrum(ion, lines)) for lines in variants(ion)]
    found += [
        reading(ion, *spectrum(ion, middle, *choice)) for choice in product(AREAS_PER_HOLE, RESOLUTIONS_EV)
    ]
    other = next((item for item in IONS if item.name == ion.ligand_hole), None)
    if other:
        found.append(reading(other, *spectrum(other, lines_of(other))))
    rows = [_range(ion, ion.name, middle, found)]
    if ion.name in CLUSTERS:
        choices = CLUSTERS[ion.name]
        clusters = (in_oxygen(ion, *choice) for choice in product(*choices, COUPLINGS))
        found = [
            reading(ion, *spectrum(ion, lines)) for lines in clusters if abs(lines.spin - ion.spin) < 0.2
        ]
        middle = in_oxygen(ion, *(choice[1] for choice in choices))
        rows.append(_range(ion, f"{ion.name}, in oxygen", middle, found))
    return rows


def _range(ion: Ion, name: str, middle: Sticks, found: list[float]) -> Range:
    at = reading(ion, *spectrum(ion, middle))
    return Range(name, middle.ratio, at, min(found), max(found), recipe_scatter(ion, middle))


def template(rows: Sequence[Range], error: float) -> tuple[float, float, float]:
    """Low, high and recipe_se of one valence from all its ions, with the error of the model."""
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    own, middle = float(np.hypot(0.5 * np.log(high / low), error)), float(np.sqrt(low * high))
    return middle * np.exp(-own), middle * np.exp(own), max(row.scatter for row in rows)


def recipe_scatter(ion: Ion, lines: Sticks) -> float:
    """Scatter of ln(L3/L2) over recipes of extraction, the mean square over the continua."""
    squares = []
    for per_hole in AREAS_PER_HOLE:
        energy, edge = spectrum(ion, lines, per_hole)
        found = list(extractions(energy, edge, *find_lines(energy, edge, ion.element, 0.0)).values())
        squares.append(np.var(np.log(found)))
    return float(np.sqrt(np.mean(squares)))


def measured_areas(folder: Path) -> dict[str, float]:
    """Area of both lines over the continuum's height for each hole of Mn4+, Co3+ and Ni2+, measured on NMC.

    Lines are looked for where they stand on the file's axis, which is too low. Plural scattering stays in.
    """
    energy, counts = read_spectrum(folder / "nmc-edge" / "core_loss_sum.msa")
    found = {}
    for element, at, holes in (("Mn", 630.2, 7), ("Co", 763.7, 4), ("Ni", 834.5, 2)):
        keep = (energy > at + WINDOW_EV[0]) & (energy < at + 60)
        inside, net = energy[keep], remove_background(energy[keep], counts[keep], at, Recipe())
        l3, l2 = find_lines(inside, net, element, at - LINES_EV[element][0])
        area = sum(ratio_of(inside, net, l3, l2, Recipe())) * (inside[1] - inside[0])
        above = (inside >= l2 + CONTINUUM_EV[0]) & (inside <= l2 + CONTINUUM_EV[1])
        found[element] = float(area / net[above].mean() / holes)
    return found


def coverage(element: str, draws: int = 2000, seed: int = 9) -> dict[int, tuple[float, float]]:
    """Of ratios drawn from the errors of each template: shares that get a limit, and that get a wrong one."""
    rng = np.random.default_rng(seed)
    templates = line_templates(element)
    calibration = TemplateCalibration(templates)
    found = {}
    for item in templates:
        error = np.hypot(item.own_se, item.recipe_se)
        ratios = item.ratio * np.exp(error * rng.standard_normal(draws))
        limits = np.array([valence_of(ratio, 0.02 * ratio, 0.0, calibration).limit for ratio in ratios])
        found[int(item.valence)] = float(np.isfinite(limits).mean()), float((limits < item.valence).mean())
    return found


def validation(folder: Path) -> float:
    """Mn against its measured references: the error of the model."""
    residuals = []
    print(
        "| compound | measured | computed | lowest, highest | ln(computed/measured) |\n|---|---|---|---|---|"
    )
    for ion, name in zip(IONS, COMPOUNDS, strict=False):
        energy, counts = read_spectrum(folder / "references" / f"mn_l23_{name}.csv")
        measured = reference_lines(energy, counts, "Mn").ratio
        top = energy[np.argmax(counts)]

        def as_measured(lines: Sticks, per_hole: float, ion=ion, energy=energy, top=top) -> float:
            at, edge = spectrum(ion, lines, per_hole, 0.5, top)
            return reference_lines(energy, np.interp(energy, at, edge), "Mn").ratio

        computed = as_measured(lines_of(ion), 7.0)
        found = [as_measured(lines, per_hole) for lines in variants(ion) for per_hole in AREAS_PER_HOLE]
        residuals.append(np.log(computed / measured))
        print(
            f"| {name} | {measured:.2f} | {computed:.2f} | {min(found):.2f}, {max(found):.2f} "
            f"| {residuals[-1]:+.2f} |"
        )
    return float(np.sqrt(np.mean(np.square(residuals))))


def figure(path: Path, folder: Path | None) -> None:
    """Computed edges of all ions; Mn beside its measured references."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7.0, 7.5), layout="constrained")
    for axes, element in zip(drawn.subplots(3, 1), LINES_EV, strict=True):
        for row, ion in enumerate(item for item in IONS if item.element == element):
            top = None
            if element == "Mn" and folder is not None:
                measured, counts = read_spectrum(folder / "references" / f"mn_l23_{COMPOUNDS[row]}.csv")
                top = measured[np.argmax(counts)]
                level = counts[measured < measured[0] + 1.5].mean()
                scaled = (counts - level) / (counts - level).max() - 1.2 * row
                axes.plot(measured, scaled, color="0.6", lw=2.5)
            energy, edge = spectrum(ion, lines_of(ion), 7.0, 0.5, top)
            axes.plot(energy, edge / edge.max() - 1.2 * row, color="k", lw=0.9)
            name = ion.name + (f", {COMPOUNDS[row]}" if element == "Mn" else "")
            axes.annotate(name, (0.99, 0.3 - 1.2 * row), xycoords=("axes fraction", "data"), ha="right")
        first, second = LINES_EV[element]
        axes.set(xlim=(first - 8, second + 13), yticks=[], title=f"{element} L2,3")
    axes.set_xlabel("energy loss (eV)")
    drawn.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Print what the templates rest on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real-data", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    folder = options.real_data
    if options.figure:
        figure(options.figure, folder)
    error = MODEL_ERROR
    if folder is not None:
        for element, area in measured_areas(folder).items():
            print(f"{element} of an NMC particle: {area:.1f} eV for each hole")
        error = validation(folder)
        print(f"\nerror of the model in ln(L3/L2): {error:.2f}\n")
    found: dict[tuple[str, int], list[Range]] = {}
    print("| ion | L3/L2 by the hole | by the recipe | lowest, highest | recipes |\n|---|---|---|---|---|")
    for ion in IONS:
        for row in ranges(ion):
            found.setdefault((ion.element, ion.valence), []).append(row)
            print(
                f"| {row.name} | {row.hole:.2f} | {row.middle:.2f} | {row.low:.2f}, {row.high:.2f} "
                f"| {row.scatter:.2f} |",
                flush=True,
            )
    print("\n| template | low, high | recipes | shipped |\n|---|---|---|---|")
    for (element, valence), rows in found.items():
        low, high, recipes = template(rows, error)
        shipped = next(item for item in line_templates(element) if item.valence == valence)
        print(
            f"| {element}{valence}+ | {low:.2f}, {high:.2f} | {recipes:.2f} "
            f"| {shipped.low}, {shipped.high}, {shipped.recipe_se} |"
        )
    print("\n| template | limits | wrong |\n|---|---|---|")
    for element in ("Co", "Ni"):
        for valence, (limits, wrong) in coverage(element).items():
            print(f"| {element}{valence}+ | {limits:.1%} | {wrong:.1%} |")


if __name__ == "__main__":
    main()
