"""k-factors: cross-sections corrected by what a compound of known composition shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, isfinite
from typing import Any


@dataclass(frozen=True)
class KFactor:
    """What a cross-section is multiplied by.

    Parameters
    ----------
    factor : float
    error : float or None
        Relative standard error; None leaves the systematic error of the shell as it is.
    source : str
        Where it comes from.
    """

    factor: float = 1.0
    error: float | None = None
    source: str = ""

    @property
    def given(self) -> bool:
        """Whether there is one at all."""
        return self != KFactor()


def read_k_factors(options: Mapping[str, Any]) -> dict[str, KFactor]:
    """The k-factors of a configuration.

    Parameters
    ----------
    options : mapping
        `eels` of the configuration: `k_factors`, `k_factor_errors` and `k_factor_source`.
    """
    errors = options.get("k_factor_errors") or {}
    source = options.get("k_factor_source") or ""
    return {
        element: KFactor(float(factor), errors.get(element), source)
        for element, factor in (options.get("k_factors") or {}).items()
    }


def parse_formula(formula: str) -> dict[str, float]:
    """Atoms per formula unit.

    Parameters
    ----------
    formula : str
        Symbols with numbers and brackets.

    Raises
    ------
    ValueError
        For a text that is no formula.

    Examples
    --------
    >>> parse_formula("LiNi0.5Mn0.3Co0.2O2")
    {'Li': 1.0, 'Ni': 0.5, 'Mn': 0.3, 'Co': 0.2, 'O': 2.0}
    >>> parse_formula("Ca(OH)2")
    {'Ca': 1.0, 'O': 2.0, 'H': 2.0}
    """
    # A unit is a symbol or a closed bracket with the number behind it; brackets open and close in between.
    text = formula.replace(" ", "")
    parts = re.findall(r"(\()|([A-Z][a-z]?|\))(\d+\.?\d*|\.\d+)?", text)
    if not parts or "".join("".join(part) for part in parts) != text:
        raise ValueError(f"{formula!r} is no chemical formula")
    levels: list[dict[str, float]] = [{}]
    for opening, unit, number in parts:
        if opening:
            levels.append({})
            continue
        if unit == ")" and len(levels) == 1:
            raise ValueError(f"{formula!r}: a bracket is not opened")
        content = levels.pop() if unit == ")" else {unit: 1.0}
        for element, count in content.items():
            levels[-1][element] = levels[-1].get(element, 0.0) + count * float(number or 1)
    if len(levels) > 1:
        raise ValueError(f"{formula!r}: a bracket is not closed")
    return levels[0]


def k_factors_from_compound(
    densities: Mapping[str, tuple[float, float]], formula: str, reference: str = "O"
) -> dict[str, tuple[float, float]]:
    """k-factors that give a compound its known composition.

    Parameters
    ----------
    densities : mapping of str to (value, error)
        Areal densities of a zone that is the compound alone, in any common unit, with statistical errors;
        measured with k-factors of 1. Elements that are not in the formula are passed over.
    formula : str
        Such as "LiNi0.5Mn0.3Co0.2O2".
    reference : str
        The element whose cross-section is kept: ratios to it are what a compound can tell.

    Returns
    -------
    dict of str to (factor, relative error)
        For `eels.k_factors` and `eels.k_factor_errors`; (1, 0) for the reference.

    Raises
    ------
    ValueError
        Where the reference is not in the formula, or has no positive density.

    Notes
    -----
    An areal density is counts over cross-section: one that is too high by a factor wants a cross-section
    higher by that factor. Errors of the composition itself are not in the relative error.

    Examples
    --------
    >>> k_factors_from_compound({"Mn": (56.0, 0.0), "O": (100.0, 0.0)}, "MnO2")["Mn"]
    (1.12, 0.0)
    """
    atoms = parse_formula(formula)
    if reference not in atoms or reference not in densities:
        raise ValueError(f"{reference} has to be in {formula} and among the densities")
    base, base_error = densities[reference]
    if not (isfinite(base) and base > 0):
        raise ValueError(f"the density of {reference} is not positive")
    factors = {reference: (1.0, 0.0)}
    for element, (value, error) in densities.items():
        if element == reference or element not in atoms or not (isfinite(value) and value > 0):
            continue
        factor = (value / base) / (atoms[element] / atoms[reference])
        factors[element] = (factor, hypot(error / value, base_error / base))
    return factors
