"""Claims of kind `interval`: the mean of a group of cells lies between two numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from ceiflow.statistics.bounds import (
    MeanLimits,
    cells_for_limit,
    cells_for_proportion,
    mean_limits,
    moments,
    proportion_limits,
    scatters,
)
from ceiflow.statistics.findings import (
    REFUTED,
    SUPPORTED,
    Finding,
    bounded_note,
    count_cells,
    empty_group,
    ends,
    level,
    more_cells,
    shown,
    silent_note,
    systematic_note,
)
from ceiflow.statistics.levels import Levels, levels_of
from ceiflow.statistics.selection import Group


def interval(
    group: Group,
    endpoint: str,
    low: float,
    high: float,
    alpha: float,
    dispersion: float | None = None,
    factors: Sequence[str] = (),
) -> Finding:
    """Whether the confidence interval (two-sided, 1 - alpha) of the group's mean lies in [low, high].

    Inside at both ends of what is bounded: supported. Outside on the same side at both: refuted. The
    systematic error that all cells share widens the interval. A group in which every acquisition is bounded
    has no scatter to infer from: its interval runs from 0 to its largest limit. Intervals end where the
    endpoint's own range does (no coverage above 1), which costs no coverage of the truth.

    Parameters
    ----------
    dispersion : float, optional
        Least dispersion of a fraction between cells: the endpoint is one, and gets the score interval of a
        proportion instead of Student's.
    factors : sequence of str
        Columns of the cells' sheet (the state of charge) whose levels weigh alike and are no scatter; a
        claim that the mean of some level contradicts is not supported.
    """
    if not group.cells:
        return Finding(missing=[empty_group(group)])
    levels = levels_of(group, factors)
    out = Finding(
        reasons=[
            *levels.notes,
            *systematic_note(group),
            *bounded_note(group),
            *silent_note(group, states=not factors),
        ]
    )
    values = ends(group)
    if len(group.cells) < 2:
        estimate = max((cells[0] for cells in values), key=lambda mean: max(low - mean, mean - high))
        out.numbers = {"estimate": estimate}
        out.reasons.insert(0, f"described only, 1 cell: {shown(estimate)}")
        out.missing = [f"at least 1 more cell with {group.name}"]
        return out
    if group.all_bounded:
        found = [MeanLimits(float(np.mean(group.high)), 0.0, max(group.high), 0.0)]
    else:
        found = [_within(endpoint, _limits(group, cells, alpha, dispersion, levels)) for cells in values]
    limits = max(found, key=lambda item: max(low - item.low, item.high - high))
    out.numbers = {"estimate": limits.mean, "ci_low": limits.low, "ci_high": limits.high}
    out.numbers["design"] = levels.design
    astray = levels.outside(values, low, high)
    if astray:
        out.reasons.insert(0, f"means of single levels outside of the range: {', '.join(astray)}")
    # Without scatter and without any error there is nothing to infer from.
    mute = limits.low == limits.high and not group.all_bounded
    if mute:
        out.reasons.insert(0, f"{count_cells(len(group.cells))} without scatter and without errors")
    elif not astray and all(low <= item.low and item.high <= high for item in found):
        out.verdict = SUPPORTED
    elif all(item.high < low for item in found) or all(item.low > high for item in found):
        out.verdict = REFUTED
    out.reasons.insert(
        0,
        f"mean of {count_cells(len(group.cells))} {shown(limits.mean)}, {level(alpha)} interval "
        f"{shown(limits.low)} to {shown(limits.high)}, held against {shown(low)} to {shown(high)}",
    )
    out.missing = _missing(group, found, limits, (low, high), alpha, dispersion, levels)
    if mute:
        out.missing = ["values that scatter, or their measurement errors"]
    if astray:
        out.missing.insert(0, "cells that agree between levels, or a claim for each of them")
    return out


def _limits(
    group: Group, cells: list[float], alpha: float, dispersion: float | None, levels: Levels
) -> MeanLimits:
    if dispersion is not None:
        return proportion_limits(cells, alpha / 2, dispersion, group.se_sys, levels.of_cell)
    # Cells that agree to the last digit have their measurement errors all the same.
    least = 0.0 if scatters(cells, levels.of_cell) else group.se_measured
    return mean_limits(cells, alpha / 2, math.hypot(group.se_sys, least), levels.of_cell)


def _within(endpoint: str, limits: MeanLimits) -> MeanLimits:
    """Limits cut to the range that the endpoint can have."""
    fraction = "fraction" in endpoint or endpoint == "layer_coverage"
    signed = endpoint == "layer_conformality" or endpoint.startswith(("log_ratio_", "interface_position_"))
    bottom = -math.inf if signed else 0.0
    top = 1.0 if fraction or endpoint == "layer_conformality" else math.inf
    low, high = (min(max(end, bottom), top) for end in (limits.low, limits.high))
    return replace(limits, low=low, high=high)


def _missing(
    group: Group,
    found: list[MeanLimits],
    limits: MeanLimits,
    bounds: tuple[float, float],
    alpha: float,
    dispersion: float | None,
    levels: Levels,
) -> list[str]:
    """What would decide an interval claim that is not decided."""
    low, high = bounds
    if group.all_bounded:
        return [f"a smaller detection limit (now up to {shown(max(group.high))})"]
    if len({low <= item.mean <= high for item in found}) > 1:
        return ["a smaller detection limit (the answer depends on values below it)"]
    if dispersion is not None and low <= limits.mean <= high:
        needed = cells_for_proportion(group.high, bounds, alpha / 2, dispersion, levels.of_cell)
    else:
        distance = min(abs(limits.mean - low), abs(limits.mean - high))
        systematic = float(stats.norm.ppf(1 - alpha / 2)) * group.se_sys
        scatter = moments(group.high, levels.of_cell).sd
        clear = math.sqrt(max(0.0, distance**2 - systematic**2))
        needed = cells_for_limit(clear, scatter, alpha / 2, levels.count)
    if needed is None:
        return ["a smaller systematic error or a wider interval (more cells alone would not decide)"]
    more = max(1, needed - len(group.cells))
    whole = len(group.cells) + more
    return [f"{more_cells(more, group.name)} (you need about {whole} at the scatter seen)"]
