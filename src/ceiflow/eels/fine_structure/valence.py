"""Valence from L3/L2, by references of known valence that were extracted with the same recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure.references import read_spectrum
from ceiflow.eels.fine_structure.white_lines import WhiteLines, white_lines


@dataclass(frozen=True)
class Standard:
    """A reference compound: its valence and its lines."""

    name: str
    valence: float
    lines: WhiteLines


@dataclass(frozen=True)
class Valence:
    """`value` with its errors; `reason` where there is none."""

    value: float = np.nan
    se: float = np.nan
    systematic: float = np.nan
    note: str = ""
    reason: str = ""


def load_standards(entries: Sequence[Mapping[str, Any]], folder: Path, element: str) -> list[Standard]:
    """The configuration's references of one metal, extracted; those that hold no lines are left out."""
    found = []
    for entry in entries:
        if entry["edge"] != f"{element}_L" or entry.get("valence") is None:
            continue
        energy, counts = read_spectrum(Path(folder) / entry["path"])
        lines = reference_lines(energy, counts, element)
        if lines.known:
            found.append(Standard(str(entry["name"]), float(entry["valence"]), lines))
    return sorted(found, key=lambda item: item.valence)


def reference_lines(energy: np.ndarray, counts: np.ndarray, element: str) -> WhiteLines:
    """White lines of a reference spectrum, whose counts may be in any unit: without counting noise."""
    end = energy[-1]
    lines = white_lines(energy, counts, element, None, gain=0.0)
    if lines.known or "continuum" not in lines.reason:
        return lines
    # Cut just above L2: the continuum is what is left there, held on.
    step = energy[1] - energy[0]
    more = end + step * np.arange(1, int(25 / step))
    level = counts[energy > end - 1.5].mean()
    return white_lines(
        np.concatenate([energy, more]),
        np.concatenate([counts, np.full(more.size, level)]),
        element,
        None,
        gain=0.0,
    )


def valence_of(ratio: float, ratio_se: float, ratio_sys: float, standards: Sequence[Standard]) -> Valence:
    """Valence by interpolation between references, linear in the logarithm of the ratio.

    Parameters
    ----------
    ratio, ratio_se, ratio_sys : float
    standards : sequence of Standard
        Two valences at least, on which the ratio differs by more than its own uncertainty.

    Returns
    -------
    Valence
        The systematic error holds the recipe's (of the specimen and of the references) and, with three
        references and more, what leaving each of them out shows.
    """
    metal = standards[0].lines.element if standards else ""
    if len({item.valence for item in standards}) < 2:
        return Valence(reason="no references of two known valences (fine_structure.references)")
    valences = np.array([item.valence for item in standards])
    logs = np.log([item.lines.ratio for item in standards])
    order = np.argsort(logs)
    if np.any(np.diff(valences[order]) >= 0):
        return Valence(reason=f"L3/L2 of the {metal} references does not fall with valence: no calibration")
    value, slope = _interpolate(np.log(ratio), logs[order], valences[order])
    recipe = np.mean([item.lines.ratio_sys / item.lines.ratio for item in standards])
    left_out = leave_one_out(standards)
    scatter = float(np.sqrt(np.mean(np.square(list(left_out.values()))))) if left_out else 0.0
    systematic = float(np.hypot(abs(slope) * np.hypot(ratio_sys / ratio, recipe), scatter))
    note = "references " + ", ".join(f"{item.name} {item.valence:g}+" for item in standards)
    low, high = valences.min(), valences.max()
    if not low - 1 <= value <= high + 1:
        return Valence(reason=f"L3/L2 {ratio:.2f} lies outside the references' ({note})")
    return Valence(float(value), float(abs(slope) * ratio_se / ratio), systematic, note)


def leave_one_out(standards: Sequence[Standard]) -> dict[str, float]:
    """Error in valence of each reference when the others calibrate it; needs three."""
    errors = {}
    if len(standards) < 3:
        return errors
    for item in standards:
        rest = [other for other in standards if other is not item]
        logs = np.log([other.lines.ratio for other in rest])
        order = np.argsort(logs)
        valences = np.array([other.valence for other in rest])[order]
        errors[item.name] = float(
            _interpolate(np.log(item.lines.ratio), logs[order], valences)[0] - item.valence
        )
    return errors


def _interpolate(log_ratio: float, logs: np.ndarray, valences: np.ndarray) -> tuple[float, float]:
    """Value and slope, held on linearly beyond the ends."""
    i = int(np.clip(np.searchsorted(logs, log_ratio), 1, len(logs) - 1))
    slope = (valences[i] - valences[i - 1]) / (logs[i] - logs[i - 1])
    return valences[i - 1] + slope * (log_ratio - logs[i - 1]), slope
