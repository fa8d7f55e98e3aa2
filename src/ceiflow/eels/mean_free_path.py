"""The inelastic mean free path from a density, so that t/lambda becomes a thickness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ceiflow.eels.k_factors import parse_formula

# How far models of the mean free path differ for one material: a relative systematic error of a thickness.
MODEL_ERROR = 0.15
WIDE_MRAD = 20.0
# In the order of atomic numbers.
_SYMBOLS = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y
    Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re
    Os Ir Pt Au Hg Tl Pb Bi
"""
NUMBERS = {symbol: number for number, symbol in enumerate(_SYMBOLS.split(), 1)}


def relativistic_factor(beam_energy_keV: float) -> float:
    """F = (1 + E0/1022) / (1 + E0/511)^2, E0 in keV."""
    return (1 + beam_energy_keV / 1022.0) / (1 + beam_energy_keV / 511.0) ** 2


def iakoubovskii_nm(
    density_g_per_cm3: float,
    beam_energy_keV: float,
    convergence_mrad: float = 0.0,
    collection_mrad: float = math.inf,
) -> float:
    """Inelastic mean free path from the density alone.

    Parameters
    ----------
    density_g_per_cm3 : float
    beam_energy_keV : float
    convergence_mrad, collection_mrad : float
        Semi-angles; without them all scattering is collected.

    Returns
    -------
    float
        nm.

    References
    ----------
    Iakoubovskii, Mitsuishi, Nakayama, Furuya (2008), Microscopy Research and Technique 71, 626, eq. 9.

    Examples
    --------
    >>> round(iakoubovskii_nm(2.11, 300.0))
    183
    """
    rho = density_g_per_cm3**0.3
    factor = relativistic_factor(beam_energy_keV)
    narrow = (5.5 * rho / (factor * beam_energy_keV)) ** 2
    wide = WIDE_MRAD**2
    ratio = wide / narrow
    if math.isfinite(collection_mrad):
        squares = convergence_mrad**2, collection_mrad**2
        larger = 2 * max(squares)  # a^2 + b^2 + |a^2 - b^2|
        ratio *= (larger + 2 * narrow) / (larger + 2 * wide)
    return 200.0 * factor * beam_energy_keV / (11.0 * rho * math.log(ratio))


def effective_number(formula: str) -> float:
    """Effective atomic number of a compound for inelastic scattering: sum f Z^1.3 / sum f Z^0.3.

    Raises
    ------
    ValueError
        For a text that is no formula, or an element that is not known here.
    """
    atoms = parse_formula(formula)
    unknown = sorted(set(atoms) - set(NUMBERS))
    if unknown:
        raise ValueError(f"{formula!r}: no element {', '.join(unknown)}")
    weights = [(number, NUMBERS[element]) for element, number in atoms.items()]
    return sum(f * z**1.3 for f, z in weights) / sum(f * z**0.3 for f, z in weights)


def malis_nm(formula: str, beam_energy_keV: float, collection_mrad: float) -> float:
    """Inelastic mean free path from the composition.

    Parameters
    ----------
    formula : str
    beam_energy_keV : float
    collection_mrad : float
        Semi-angle; the formula is for those up to about 20 mrad, and more is taken for 20.

    Returns
    -------
    float
        nm.

    References
    ----------
    Malis, Cheng, Egerton (1988), Journal of Electron Microscopy Technique 8, 193.

    Examples
    --------
    >>> round(malis_nm("LiNi0.5Mn0.3Co0.2O2", 300.0, 20.0))
    131
    """
    energy = 7.6 * effective_number(formula) ** 0.36
    angle = min(collection_mrad, WIDE_MRAD)
    factor = relativistic_factor(beam_energy_keV)
    return 106.0 * factor * (beam_energy_keV / energy) / math.log(2 * angle * beam_energy_keV / energy)


@dataclass(frozen=True)
class MeanFreePath:
    """A mean free path with its relative error, and in words where it comes from; or why there is none."""

    value_nm: float
    relative_error: float
    note: str


def mean_free_path(options: Mapping[str, Any], metadata: Mapping[str, Any]) -> MeanFreePath | None:
    """The mean free path in the particle, by the configuration and an acquisition's metadata.

    Parameters
    ----------
    options : mapping
        `eels` of the configuration: `density_g_per_cm3` (None: not asked for) and `formula`.
    metadata : mapping of str to ceiflow.study.metadata.Value

    Returns
    -------
    MeanFreePath or None
        None where no density is given; a NaN value where beam energy or angles are missing.
    """
    density = options.get("density_g_per_cm3")
    if density is None:
        return None
    names = ("beam_energy_keV", "convergence_mrad", "collection_mrad")
    items = [metadata.get(name) for name in names]
    missing = [name for name, item in zip(names, items, strict=True) if item is None or item.value is None]
    if missing:
        return MeanFreePath(math.nan, MODEL_ERROR, f"unknown: {', '.join(missing)} (mean free path)")
    beam, convergence, collection = (float(item.value) for item in items)
    value = iakoubovskii_nm(float(density), beam, convergence, collection)
    note = f"mean free path {value:.0f} nm by Iakoubovskii 2008 at {float(density):g} g/cm^3"
    error = MODEL_ERROR
    if options.get("formula"):
        other = malis_nm(options["formula"], beam, collection)
        note += f", {other:.0f} nm by Malis 1988"
        error = max(error, abs(other / value - 1))
    return MeanFreePath(value, error, f"{note}; models differ by about {error:.0%}")
