"""What a dense layer would give in the maps, relative to the particle's own step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ceiflow.layer.elements import FitMaps

FloatArray = NDArray[np.float64]

#: Transition metal atoms per nm^3 of a layered oxide: 4.7 g/cm^3 at 96.5 g/mol. Li-rich ones hold 24.
OXIDE_METALS_PER_NM3 = 29.3
#: Carbon atoms per nm^3 of carbon black: 1.9 g/cm^3.
CARBON_BLACK_PER_NM3 = 95.0
#: Atoms per nm^3 in the densest plausible layer: Li2CO3 for C and O, LiF for F.
DENSE_PER_NM3 = {"C": 17.2, "O": 51.6, "F": 61.3}


def parse_formula(text: str) -> dict[str, float]:
    """Atoms per formula unit of a plain formula such as Li2CO3; empty if it is none."""
    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*)+", text):
        return {}
    atoms: dict[str, float] = {}
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", text):
        atoms[symbol] = atoms.get(symbol, 0.0) + float(number or 1)
    return atoms


def ratios_of(
    maps: FitMaps, weights: dict[str, float], reference: dict, particle_per_nm3: float
) -> dict[str, tuple[float | None, float | None]]:
    """Counts that the reference layer and a dense layer give, relative to the particle's own step.

    Layer and particle are equally deep at the surface, so depth, dose and exposure cancel: what is needed
    are the densities and the counts per atom relative to each other, which the fit's own maps hold.
    """
    per_atom = relative_sensitivity(maps, {*weights, *DENSE_PER_NM3})
    if any(name not in per_atom for name in weights):
        return {}
    inside = sum(weights[name] * np.nan_to_num(maps.counts[name]) for name in weights)
    bright = inside > 0.5 * np.quantile(inside, 0.95)
    atoms = {name: max(float(np.nansum(maps.counts[name][bright])) / per_atom[name], 0.0) for name in weights}
    total = sum(atoms.values())
    if total <= 0:
        return {}
    step = sum(weights[name] * per_atom[name] * atoms[name] / total for name in weights) * particle_per_nm3
    formula = parse_formula(str(reference["name"]))
    per_carbon = (
        {name: number / formula["C"] for name, number in formula.items()} if formula.get("C") else {"C": 1.0}
    )
    ratios = {}
    for name, dense in DENSE_PER_NM3.items():
        if name in per_atom:
            carbon = reference["carbon_per_nm3"] * per_carbon.get(name, 0.0)
            ratios[name] = (carbon * per_atom[name] / step or None, dense * per_atom[name] / step)
    return ratios


def relative_sensitivity(maps, names) -> dict[str, float]:
    """Counts per atom, up to a factor that is the same for all elements."""
    for table in (maps.areal, maps.fraction):
        ratio = {}
        for name in sorted(names):
            if name in table and name in maps.counts and not maps.identifiable.get(name):
                with np.errstate(divide="ignore", invalid="ignore"):
                    value = maps.counts[name] / table[name]
                good = np.isfinite(value) & (value > 0)
                if good.any():
                    ratio[name] = value
        if ratio:
            # Pixel by pixel the common factor (dose, thickness) cancels against one element's.
            first = next(iter(sorted(ratio)))
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = {
                    name: np.nanmedian(positive(value / ratio[first])) for name, value in ratio.items()
                }
            return {name: float(value) for name, value in relative.items() if np.isfinite(value)}
    return {}


def positive(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
