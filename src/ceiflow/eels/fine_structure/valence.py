"""Valence from L3/L2: by references of known valence and of the same recipe, else by shipped templates.

Measured references come first. Templates (`line_templates`) answer where there are fewer than two valences of
them, with the error that their origin in the literature has; a number is given only where that error still
separates integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.densities import DETECTION_SIGMA
from ceiflow.eels.fine_structure.line_templates import TemplateCalibration, line_templates
from ceiflow.eels.fine_structure.references import read_spectrum
from ceiflow.eels.fine_structure.white_lines import WhiteLines, white_lines
from ceiflow.errors import SignalError


@dataclass(frozen=True)
class Standard:
    """A reference compound: its valence and its lines."""

    name: str
    valence: float
    lines: WhiteLines


@dataclass(frozen=True)
class Valence:
    """`value` with its errors; `reason` where there is none, and then perhaps an upper `limit` (95 %)."""

    value: float = np.nan
    se: float = np.nan
    systematic: float = np.nan
    note: str = ""
    reason: str = ""
    limit: float = np.nan


@dataclass(frozen=True)
class Unfit:
    """Measured references of which one cannot be used: no valence, and no template in their place."""

    reason: str


Calibration = Sequence[Standard] | TemplateCalibration | Unfit
# Two-sided 95 % and one-sided 95 % of a normal error.
TWO_SIDED, ONE_SIDED = 1.96, 1.645


def load_calibration(entries: Sequence[Mapping[str, Any]], folder: Path, element: str) -> Calibration:
    """The user's measured references; where they hold fewer than two valences, the shipped templates.

    A single measured reference then tells the templates which of their calibrations are left.
    """
    try:
        measured = load_standards(entries, folder, element)
    except SignalError as error:
        return Unfit(f"reference: {error}")
    if len({item.valence for item in measured}) > 1:
        return measured
    told = [
        (item.name, item.valence, item.lines.ratio, item.lines.ratio_sys / item.lines.ratio)
        for item in measured
    ]
    return TemplateCalibration(line_templates(element), told)


def calibration_content(calibration: Calibration) -> dict[str, Any]:
    """What a valence rests on, for fine_structure.json."""
    if isinstance(calibration, TemplateCalibration):
        shipped = [
            {"valence": item.valence, "low": item.low, "high": item.high, "recipe_se": item.recipe_se,
             "l3_eV": item.l3_eV, "energy_se_eV": item.energy_se_eV, "source": item.source}
            for item in calibration.templates
        ]  # fmt: skip
        standards = {name: [valence, ratio] for name, valence, ratio, _ in calibration.measured}
        return {"standards": standards, "line_templates": shipped}
    standards = [] if isinstance(calibration, Unfit) else calibration
    return {"standards": {item.name: [item.valence, item.lines.ratio] for item in standards}}


def load_standards(entries: Sequence[Mapping[str, Any]], folder: Path, element: str) -> list[Standard]:
    """The configuration's references of one metal, extracted.

    Raises
    ------
    SignalError
        One cannot be read, or holds no L3 and L2 of the metal.
    """
    found = []
    for entry in entries:
        if entry["edge"] != f"{element}_L" or entry.get("valence") is None:
            continue
        energy, counts = read_spectrum(Path(folder) / entry["path"])
        lines = reference_lines(energy, counts, element)
        if not lines.known:
            ends = f"{lines.reason} ({energy[0]:g} to {energy[-1]:g} eV)"
            raise SignalError(str(entry["path"]), "reference", ends, f"L3 and L2 of {element}")
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


def valence_of(ratio: float, ratio_se: float, ratio_sys: float, standards: Calibration) -> Valence:
    """Valence by interpolation between references, linear in the logarithm of the ratio.

    Parameters
    ----------
    ratio, ratio_se, ratio_sys : float
    standards : sequence of Standard, or TemplateCalibration
        Two valences at least, on which the ratio differs by more than its own uncertainty.

    Returns
    -------
    Valence
        The systematic error holds the recipe's (of the specimen and of the references) and, with three
        references and more, what leaving each of them out shows.
    """
    if isinstance(standards, TemplateCalibration):
        return _by_templates(ratio, ratio_se, ratio_sys, standards)
    if isinstance(standards, Unfit):
        return Valence(reason=standards.reason)
    metal = standards[0].lines.element if standards else ""
    if len({item.valence for item in standards}) < 2:
        return Valence(reason="no references of two known valences (fine_structure.references)")
    valences, logs = _levels(standards)
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


def _by_templates(
    ratio: float, ratio_se: float, ratio_sys: float, calibration: TemplateCalibration
) -> Valence:
    """Valence by all calibrations that the templates allow for.

    It is a number where the neighbours of an integer would be excluded (1.96 errors below one), a limit where
    the highest valence is, and otherwise none: the reason holds the interval. Templates that overlap (Co, Ni)
    give no number.
    """
    if not calibration.falls:
        return _by_overlapping(ratio, float(np.hypot(ratio_se, ratio_sys)), calibration)
    values = calibration.valence(ratio)
    middle, systematic = _middle(values, calibration)
    if calibration.outside(middle):
        return Valence(reason=f"{calibration.note}: L3/L2 {ratio:.2f} lies outside theirs")
    low, top, high = calibration.quantiles(values, (0.025, 0.95, 0.975))
    se, recipe = (_moved(ratio, error, calibration) for error in (ratio_se, ratio_sys))
    own = float(np.hypot(se, recipe))
    low = middle - float(np.hypot(middle - low, TWO_SIDED * own))
    high = middle + float(np.hypot(high - middle, TWO_SIDED * own))
    note = f"{calibration.note}: L3/L2 {ratio:.2f} leaves {max(low, 0.0):.1f} to {high:.1f} (95 %)"
    systematic = float(np.hypot(systematic, recipe))
    if TWO_SIDED * np.hypot(se, systematic) < 1.0:
        return Valence(middle, se, systematic, note)
    limit = middle + float(np.hypot(top - middle, ONE_SIDED * own))
    if limit < calibration.valences[-1]:
        return Valence(reason="an upper limit only", note=note, limit=limit)
    return Valence(reason=f"{note}, too wide for a number")


def _by_overlapping(ratio: float, error: float, calibration: TemplateCalibration) -> Valence:
    """What templates leave whose L3/L2 does not fall with valence throughout: a limit, or an interval."""
    left = calibration.interval(ratio, error, TWO_SIDED)
    if left is None:
        return Valence(reason=f"{calibration.note}: L3/L2 {ratio:.2f} lies outside theirs")
    first, last = calibration.valences[[0, -1]]
    note = f"{calibration.note}: L3/L2 {ratio:.2f} leaves {left[0]:.1f} to {left[1]:.1f} (95 %)"
    below = calibration.interval(ratio, error, ONE_SIDED)
    if below is not None and below[1] < last:
        return Valence(reason="an upper limit only", note=note, limit=below[1])
    return Valence(reason=f"{note} of the {first:g} to {last:g} that there are templates for")


def _middle(values: np.ndarray, calibration: TemplateCalibration) -> tuple[float, float]:
    """Median and error of one value for each calibration: the wider side of its 68 and of its 95 %."""
    low, first, middle, second, high = calibration.quantiles(values, (0.025, 0.16, 0.5, 0.84, 0.975))
    sides = ((middle - first), (second - middle), (middle - low) / TWO_SIDED, (high - middle) / TWO_SIDED)
    return middle, max(sides)


def _moved(ratio: float, error: float, calibration: TemplateCalibration) -> float:
    """What an error of a ratio moves the middle valence by."""
    factor = np.exp(error / ratio)
    low, high = (calibration.valence(ratio * item) for item in (factor, 1 / factor))
    return 0.5 * abs(calibration.quantiles(high, (0.5,))[0] - calibration.quantiles(low, (0.5,))[0])


def change_by_templates(
    ratios: tuple[float, float],
    errors: tuple[float, float],
    systematic: tuple[float, float],
    calibration: TemplateCalibration,
) -> Valence:
    """Valence at the first ratio minus that at the second, by the same calibration both times.

    Most of what templates do not know is common to both. It is a number where its sign stands by 95 %, or
    where an error of one valence is excluded; the reason holds the interval elsewhere. `limit` is the
    detection limit.

    Parameters
    ----------
    ratios, errors, systematic : (float, float)
        L3/L2 of either zone, their statistical errors and what the choice of recipe does to them.
    calibration : TemplateCalibration
    """
    if not calibration.falls:
        return Valence(
            reason=f"{calibration.note}: their L3/L2 does not fall with valence throughout, "
            "and a change of it has no sign"
        )
    ends = [calibration.valence(ratio) for ratio in ratios]
    for ratio, end in zip(ratios, ends, strict=True):
        if calibration.outside(calibration.quantiles(end, (0.5,))[0]):
            return Valence(reason=f"{calibration.note}: L3/L2 {ratio:.2f} lies outside theirs")
    values = ends[0] - ends[1]
    middle, spread = _middle(values, calibration)
    se = float(np.hypot(*[_moved(ratios[i], errors[i], calibration) for i in range(2)]))
    other = abs(_moved(ratios[0], systematic[0], calibration) - _moved(ratios[1], systematic[1], calibration))
    # What templates do not know stretches a change and does not turn it round.
    stands = float(np.hypot(se, other))
    shared = float(np.hypot(spread, other))
    half = TWO_SIDED * float(np.hypot(se, shared))
    if half < 1.0 or abs(middle) > TWO_SIDED * stands:
        low, high = calibration.quantiles(values, (0.025, 0.975))
        note = f"{calibration.note}: {low:.1f} to {high:.1f} (95 %)"
        return Valence(middle, se, shared, note, limit=DETECTION_SIGMA * stands)
    return Valence(reason=f"{calibration.note}: {middle:+.1f} +- {half:.1f} (95 %), too wide for a number")


def leave_one_out(standards: Sequence[Standard]) -> dict[str, float]:
    """Error in valence of each reference when the others calibrate it; needs three."""
    errors = {}
    if len(standards) < 3:
        return errors
    for item in standards:
        valences, logs = _levels([other for other in standards if other is not item])
        if valences.size < 2:
            continue
        order = np.argsort(logs)
        valences = valences[order]
        errors[item.name] = float(
            _interpolate(np.log(item.lines.ratio), logs[order], valences)[0] - item.valence
        )
    return errors


def _levels(standards: Sequence[Standard]) -> tuple[np.ndarray, np.ndarray]:
    """Valences that there are references of, each once, and the mean ln(L3/L2) of those."""
    each = np.array([item.valence for item in standards])
    logs = np.log([item.lines.ratio for item in standards])
    valences = np.unique(each)
    return valences, np.array([logs[each == valence].mean() for valence in valences])


def _interpolate(log_ratio: float, logs: np.ndarray, valences: np.ndarray) -> tuple[float, float]:
    """Value and slope, held on linearly beyond the ends."""
    i = int(np.clip(np.searchsorted(logs, log_ratio), 1, len(logs) - 1))
    slope = (valences[i] - valences[i - 1]) / (logs[i] - logs[i - 1])
    return valences[i - 1] + slope * (log_ratio - logs[i - 1]), slope
