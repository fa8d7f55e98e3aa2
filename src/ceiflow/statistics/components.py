"""Variance by level from nested means: analysis of variance with unequal numbers, and intervals.

The observation is the region's mean (signal and image of one region are one region). Levels that the design
does not replicate cannot be told from the level above and are left out, with a note there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Component:
    """Variance of one level.

    `share` is of the sum over all levels in the table, `n` the number of units of this level.
    """

    level: str
    variance: float
    low: float | None
    high: float | None
    n: int
    note: str = ""
    share: float | None = None


def nested_components(
    values: np.ndarray,
    labels: Sequence[Sequence[object]],
    levels: Sequence[str],
    measurement_variance: np.ndarray,
    alpha: float = 0.05,
) -> list[Component]:
    """Variance components of a nested design by the method of moments.

    Parameters
    ----------
    values : (n,) array
        One value for each unit of the lowest level.
    labels : L + 1 sequences of length n
        Unit of each value at each level: first the fixed groups (conditions), whose differences are no
        variance of interest, then `levels` from the top down. A label names its unit within the whole table.
    levels : L names
        From the top down; the last is that of `values` itself.
    measurement_variance : (n,) array
        Known variance of each value; it is taken out of every level.
    alpha : float
        Intervals have level 1 - alpha.

    Returns
    -------
    list of Component
        From the top down, estimable levels only. Negative estimates are set to 0 with a note.

    Notes
    -----
    The mean squares are those of the sequential analysis of variance; their expectation follows from the
    numbers of values that units have in common (Searle, Casella & McCulloch 1992, Variance Components,
    chapter 5), so unequal numbers need no approximation. Intervals are modified large-sample ones of Ting et
    al. (1990), Journal of Statistical Computation and Simulation 35, 135, on independent scaled
    chi-square mean squares: exact for one mean square, approximate for their differences, and approximate
    again where numbers are unequal. The known measurement variance is subtracted as a constant.
    """
    y = np.asarray(values, float)
    codes = [np.unique([repr(label) for label in level], return_inverse=True)[1] for level in labels]
    tables = [_incidence(code) for code in codes]
    degrees = [low.shape[0] - high.shape[0] for high, low in itertools.pairwise(tables)]
    kept = [i for i, df in enumerate(degrees) if df > 0]
    if not kept:
        return []
    squares, expected, known = _mean_squares(
        y, tables, degrees, kept, np.asarray(measurement_variance, float)
    )
    inverse = np.linalg.inv(expected)
    df = np.array([degrees[i] for i in kept], float)
    components = []
    for row, i in enumerate(kept):
        weights = inverse[row]
        estimate = float(weights @ squares)
        low, high = ting_interval(weights, squares, df, alpha)
        shift = float(weights @ known)
        raw = estimate - shift
        components.append(
            Component(
                level=levels[i],
                variance=max(0.0, raw),
                low=max(0.0, low - shift),
                high=max(0.0, high - shift),
                n=tables[i + 1].shape[0],
                note=_notes(raw, i, degrees, levels),
            )
        )
    return components


def _notes(raw: float, i: int, degrees: Sequence[int], levels: Sequence[str]) -> str:
    """What to know of this level: a negative estimate, levels below that it swallows, too few units."""
    notes = [f"negative estimate {raw:.3g} set to 0"] if raw < 0 else []
    swallowed = []
    for j in range(i + 1, len(levels)):
        if degrees[j] > 0:
            break
        swallowed.append(levels[j])
    if swallowed:
        notes.append(f"includes {' and '.join(swallowed)}, not replicated")
    if degrees[i] < 3:
        notes.append(f"{degrees[i]} degree{'s' if degrees[i] > 1 else ''} of freedom")
    return "; ".join(notes)


def _incidence(code: np.ndarray) -> np.ndarray:
    """(units, n) matrix of ones where a value belongs to a unit."""
    return (np.arange(code.max() + 1)[:, None] == code[None, :]).astype(float)


def _mean_squares(
    y: np.ndarray,
    tables: Sequence[np.ndarray],
    degrees: Sequence[int],
    kept: Sequence[int],
    measurement_variance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares, the matrix of their expectations, and the share of measurement in each."""
    count = [table.sum(axis=1) for table in tables]
    # Sum over units of (total in unit)^2 / n: sum of squares that means of a level explain.
    explained = [
        float(((table @ (y - y.mean())) ** 2 / n).sum()) for table, n in zip(tables, count, strict=True)
    ]
    noise = [
        float(((table @ measurement_variance) / n).sum()) for table, n in zip(tables, count, strict=True)
    ]
    spread = np.array(
        [
            [float(((table @ tables[k + 1].T) ** 2).sum(axis=1) @ (1 / n)) for k in kept]
            for table, n in zip(tables, count, strict=True)
        ]
    )
    df = np.array([degrees[i] for i in kept], float)
    # Levels that are not kept explain as much as the level above, so steps between kept levels are enough.
    squares = np.array([explained[i + 1] - explained[i] for i in kept]) / df
    expected = np.array([spread[i + 1] - spread[i] for i in kept]) / df[:, None]
    known = np.array([noise[i + 1] - noise[i] for i in kept]) / df
    return np.maximum(squares, 0), expected, known


def ting_interval(
    weights: np.ndarray, squares: np.ndarray, df: np.ndarray, alpha: float
) -> tuple[float, float]:
    """Interval of a weighted sum of independent mean squares, weights of either sign.

    Parameters
    ----------
    weights, squares, df : (k,) arrays
        Coefficients, mean squares, and their degrees of freedom.
    alpha : float
        Level 1 - alpha, alpha / 2 on either side.

    References
    ----------
    Ting, Burdick, Graybill, Jeyaratnam & Lu (1990), J. Statist. Comput. Simul. 35, 135.
    The cross terms between mean squares of the same sign, which are small, are left out.
    """
    tail = alpha / 2
    parts = weights * squares
    up = df / stats.chi2.ppf(tail, df)  # 1 / lower F quantile with infinite denominator
    down = df / stats.chi2.isf(tail, df)
    g, h = 1 - down, up - 1
    plus, minus = np.flatnonzero(weights > 0), np.flatnonzero(weights < 0)
    below = ((g * parts)[plus] ** 2).sum() + ((h * parts)[minus] ** 2).sum()
    above = ((h * parts)[plus] ** 2).sum() + ((g * parts)[minus] ** 2).sum()
    for i in plus:
        for j in minus:
            product = -parts[i] * parts[j]
            f = stats.f.isf(tail, df[i], df[j])
            below += product * ((f - 1) ** 2 - (g[i] * f) ** 2 - h[j] ** 2) / f
            f = stats.f.ppf(tail, df[i], df[j])
            above += product * ((1 - f) ** 2 - (h[i] * f) ** 2 - g[j] ** 2) / f
    estimate = float(parts.sum())
    return estimate - math.sqrt(max(0.0, below)), estimate + math.sqrt(max(0.0, above))


def pixel_component(
    variances: Sequence[float],
    counts: Sequence[float],
    cells: Sequence[str],
    note: str,
    alpha: float = 0.05,
) -> Component | None:
    """Mean variance of single positions within an acquisition.

    Parameters
    ----------
    variances : (a,) sequence
        Variance of a single position in each acquisition, without measurement errors; single ones may come
        out negative.
    counts : (a,) sequence
        Positions in each acquisition.
    cells : (a,) sequence
        Cell of each acquisition.

    Notes
    -----
    Positions are correlated along a surface, and acquisitions of one cell may vary alike. So the interval is
    Student's on the means of cells; on those of acquisitions where there is one cell, with a note that it
    speaks of that cell alone; and absent for a single acquisition.
    """
    x = np.asarray(variances, float)
    if x.size == 0:
        return None
    names = sorted(set(cells))
    units = np.array([x[[cell == name for cell in cells]].mean() for name in names])
    notes = [note]
    if units.size == 1:
        units = x
        notes.append("interval of one cell" if x.size > 1 else "one acquisition")
    mean, low, high = float(units.mean()), None, None
    if units.size > 1:
        reach = float(stats.t.ppf(1 - alpha / 2, units.size - 1) * units.std(ddof=1) / math.sqrt(units.size))
        low, high = max(0.0, mean - reach), mean + reach
    if high is not None and high <= 0:
        low = high = None
        notes.append("positions scatter less than their errors say: not told")
    elif mean < 0:
        notes.append(f"negative estimate {mean:.3g} set to 0")
    return Component("pixel", max(0.0, mean), low, high, round(sum(counts)), "; ".join(notes))


def with_shares(components: Sequence[Component]) -> list[Component]:
    """Components with each one's share of their sum; no share where nothing varies."""
    total = math.fsum(component.variance for component in components)
    return [
        replace(component, share=component.variance / total if total > 0 else None)
        for component in components
    ]
