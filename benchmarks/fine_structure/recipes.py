"""L3/L2 of one and the same Mn edge under families of extraction: the shared error of the shipped templates.

The edge is drawn here, with lines half Gaussian and half Lorentzian on two steps 2:1; it is neither the
phantom's nor a measured one. The scatter of ln(L3/L2) over all rows is what a published ratio may be off by
where its recipe is not known (`recipe_se` in `ceiflow.eels.fine_structure.line_templates`).

    python benchmarks/fine_structure/recipes.py [--real-data FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ceiflow.eels.fine_structure.line_templates import line_templates
from ceiflow.eels.fine_structure.valence import TWO_SIDED, load_calibration, load_standards, valence_of

ENERGY = np.arange(600.0, 720.0, 0.1)
L3, L2 = 642.0, 653.0
CONTINUA = {
    "9-24 eV above L2": (9, 24),
    "5-10 eV above L2": (5, 10),
    "20-50 eV above L2": (20, 50),
    "none": None,
}
WINDOWS = {"+-5, +-4 eV": (5, 4), "+-3 eV": (3, 3), "+-2 eV": (2, 2)}
# True L3/L2 of the lines, and the area of L3 in eV times the step.
EDGES = {2: (4.3, 12.0), 3: (2.6, 11.0), 4: (2.0, 11.0)}


def step(energy: np.ndarray, at: float) -> np.ndarray:
    """Unit step, 1 eV wide."""
    from scipy.special import erf

    return 0.5 * (1 + erf((energy - at) / np.sqrt(2)))


def continuum(energy: np.ndarray, l3: float, l2: float) -> np.ndarray:
    """Two steps 2:1 that fall off with the fourth power of energy, of height one above both."""
    return (2 / 3 * step(energy, l3) + 1 / 3 * step(energy, l2)) * (np.maximum(energy, l3) / l3) ** -4


def line(at: float, fwhm: float) -> np.ndarray:
    """Unit area, half Lorentzian and half Gaussian."""
    sigma = fwhm / np.sqrt(8 * np.log(2))
    broad = fwhm / (2 * np.pi) / ((ENERGY - at) ** 2 + fwhm**2 / 4)
    return 0.5 * broad + 0.5 * np.exp(-0.5 * ((ENERGY - at) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def edge(ratio: float, area: float) -> np.ndarray:
    """Single scattering, background removed, per step height."""
    return continuum(ENERGY, L3, L2) + area * line(L3, 2.5) + area / ratio * line(L2, 3.0)


def extractions(energy: np.ndarray, values: np.ndarray, at3: float, at2: float) -> dict[str, float]:
    """L3/L2 by every recipe, of an edge without background whose lines stand at two energies."""

    def between(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return values[(low <= energy) & (high >= energy)]

    found = {}
    for name, window in CONTINUA.items():
        height = 0.0 if window is None else between(values, at2 + window[0], at2 + window[1]).mean()
        lines = values - height * (2 / 3 * step(energy, at3) + 1 / 3 * step(energy, at2))
        for width, (first, second) in WINDOWS.items():
            l3, l2 = between(lines, at3 - first, at3 + first), between(lines, at2 - second, at2 + second)
            found[f"continuum {name}, windows {width}"] = l3.sum() / l2.sum()
    valley, end = (int(np.argmin(np.abs(energy - at))) for at in ((at3 + at2) / 2, at2 + 5))
    under = 0.5 * (values[valley] + values[end]) * (end - valley)
    channels = (energy[valley] - at3) / (energy[1] - energy[0])
    l3 = between(values, at3 - 5, energy[valley]).sum() - 0.5 * values[valley] * channels
    found["a straight line under L2"] = l3 / (values[valley:end].sum() - under)
    heights = (values[int(np.argmin(np.abs(energy - at)))] for at in (at3, at2))
    found["heights of maxima"] = next(heights) / next(heights)
    return found


def recipes() -> dict[int, float]:
    """Scatter of ln(L3/L2) over all recipes, by valence."""
    tables = {valence: extractions(ENERGY, edge(*truth), L3, L2) for valence, truth in EDGES.items()}
    print("| recipe | Mn2+ | Mn3+ | Mn4+ |\n|---|---|---|---|")
    for name in tables[2]:
        print(f"| {name} | " + " | ".join(f"{tables[valence][name]:.2f}" for valence in tables) + " |")
    scatter = {valence: float(np.std(np.log(list(table.values())))) for valence, table in tables.items()}
    print("| scatter of the logarithm | " + " | ".join(f"{item:.2f}" for item in scatter.values()) + " |")
    return scatter


def measured(folder: Path) -> None:
    """The three measured references by templates alone, and with one of them to tell of the recipe."""
    compounds = (("MnO", 2), ("LaMnO3", 3), ("MnO2", 4))
    entries = [{"name": n, "edge": "Mn_L", "path": f"mn_l23_{n}.csv", "valence": v} for n, v in compounds]
    standards = load_standards(entries, folder / "references", "Mn")
    print("\n| given | compound | valence | L3/L2 | by templates | 95 % |\n|---|---|---|---|---|---|")
    for given in ([], *([item] for item in entries)):
        calibration = load_calibration(given, folder / "references", "Mn")
        for item in standards:
            values = calibration.valence(item.lines.ratio)
            low, middle, high = calibration.quantiles(values, (0.025, 0.5, 0.975))
            found = valence_of(item.lines.ratio, 0.0, item.lines.ratio_sys, calibration)
            status = "refused" if np.isnan(found.limit) else f"bounded, below {found.limit:.1f}"
            if not found.reason:
                within = abs(middle - item.valence) < TWO_SIDED * found.systematic
                status = f"+- {found.systematic:.2f}, {'' if within else 'not '}within 1.96 errors"
            print(
                f"| {given[0]['name'] if given else 'nothing'} | {item.name} | {item.valence:g} "
                f"| {item.lines.ratio:.2f} | {middle:.2f} {status} | {low:.1f} to {high:.1f} |"
            )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real-data", type=Path)
    folder = parser.parse_args().real_data
    scatter = recipes()
    for item in line_templates("Mn"):
        print(f"Mn{item.valence:g}+: {item.recipe_se:g} shipped, {scatter[int(item.valence)]:.3f} here")
    if folder is not None:
        measured(folder)


if __name__ == "__main__":
    main()
