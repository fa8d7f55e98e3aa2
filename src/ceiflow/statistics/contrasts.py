"""Two groups of cells: Welch on cell values, exact permutation of whole cells, effect size, cells needed.

Arrays in, numbers out; nothing here knows of files or claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special, stats

MAX_ENUMERATED = 200_000
DIRECTIONS = ("greater", "less", "two_sided")


@dataclass(frozen=True)
class Contrast:
    """Difference of two means: estimate, two-sided interval, and the p-value of the stated direction.

    `p` is None where neither arm scatters: Welch's test is then undefined.
    """

    estimate: float
    low: float
    high: float
    p: float | None
    df: float


def welch(test: Sequence[float], reference: Sequence[float], direction: str, alpha: float) -> Contrast:
    """Welch's unequal-variance t test of mean(test) - mean(reference).

    Parameters
    ----------
    test, reference : (n,) sequences
        Cell values; at least two in each. One arm may have no scatter (all its cells at one end of their
        bounds): the degrees of freedom are then those of the other.
    direction : {"greater", "less", "two_sided"}
    alpha : float
        The interval is two-sided with level 1 - alpha, whatever the direction.

    References
    ----------
    Welch (1947), Biometrika 34, 28.
    """
    a, b = np.asarray(test, float), np.asarray(reference, float)
    if a.size < 2 or b.size < 2:
        raise ValueError("Welch's test needs at least two cells in each arm")
    parts = np.array([_variance(a) / a.size, _variance(b) / b.size])
    estimate, error = float(a.mean() - b.mean()), float(np.sqrt(parts.sum()))
    if error == 0:
        return Contrast(estimate, estimate, estimate, None, math.nan)
    # Scaled by the larger part, lest squares of tiny variances underflow.
    scaled = parts / parts.max()
    df = float(scaled.sum() ** 2 / (scaled**2 / (np.array([a.size, b.size]) - 1)).sum())
    reach = float(stats.t.ppf(1 - alpha / 2, df)) * error
    p = _p_of_t(estimate / error, df, direction)
    return Contrast(estimate, estimate - reach, estimate + reach, p, df)


def _variance(values: np.ndarray) -> float:
    """Sample variance; exactly 0 where it is no more than rounding of equal values."""
    variance = float(values.var(ddof=1))
    return variance if variance > (1e-12 * np.abs(values).max()) ** 2 else 0.0


def _p_of_t(t: float, df: float, direction: str) -> float:
    if direction == "greater":
        return float(stats.t.sf(t, df))
    if direction == "less":
        return float(stats.t.cdf(t, df))
    return float(2 * stats.t.sf(abs(t), df))


def permutation_p(
    test: Sequence[float],
    reference: Sequence[float],
    direction: str,
    resamples: int = 2000,
    seed: int | None = None,
) -> float:
    """Permutation p-value of the difference of means when whole cells change arms.

    All assignments are enumerated up to 200 000; beyond that `resamples` seeded random ones are drawn and the
    observed one is counted in. Two-sided is twice the smaller one-sided p, as in `scipy.stats`.
    """
    values = np.concatenate([np.asarray(test, float), np.asarray(reference, float)])
    size = len(test)
    observed = float(np.sum(values[:size]))
    ways = math.comb(values.size, size)
    if ways <= MAX_ENUMERATED:
        index = np.fromiter(
            (i for chosen in combinations(range(values.size), size) for i in chosen), int, ways * size
        )
        sums, extra = values[index.reshape(ways, size)].sum(axis=1), 0
    else:
        rng = np.random.default_rng(seed)
        order = np.argsort(rng.random((resamples, values.size)), axis=1)[:, :size]
        sums, extra = values[order].sum(axis=1), 1
    # The sum of the test arm orders assignments as the difference of means does; ties count as reached.
    slack = 1e-9 * max(1e-300, float(np.abs(values).sum()))
    above = (np.count_nonzero(sums >= observed - slack) + extra) / (sums.size + extra)
    below = (np.count_nonzero(sums <= observed + slack) + extra) / (sums.size + extra)
    p = {"greater": above, "less": below, "two_sided": min(1.0, 2 * min(above, below))}
    return float(p[direction])


def smallest_p(n_test: int, n_reference: int, direction: str) -> float:
    """The smallest p-value that a permutation of these cells can reach at all.

    Examples
    --------
    >>> [round(smallest_p(n, n, "two_sided"), 3) for n in (2, 3, 4, 5)]
    [0.333, 0.1, 0.029, 0.008]
    """
    sides = 2 if direction == "two_sided" else 1
    return min(1.0, sides / math.comb(n_test + n_reference, n_test))


def hedges_g(test: Sequence[float], reference: Sequence[float]) -> float | None:
    """Standardised difference of means with Hedges' exact small-sample factor; None without scatter.

    References
    ----------
    Hedges (1981), Journal of Educational Statistics 6, 107.
    """
    a, b = np.asarray(test, float), np.asarray(reference, float)
    df = a.size + b.size - 2
    pooled = ((a.size - 1) * _variance(a) + (b.size - 1) * _variance(b)) / df if df > 0 else 0.0
    if pooled <= 0:
        return None
    factor = math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    return float((a.mean() - b.mean()) / math.sqrt(pooled) * (factor if df > 1 else 1.0))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over the p-values that exist; None stays None.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p))
        adjusted[i] = running
    return adjusted


def cells_for_difference(
    difference: float,
    sd_test: float,
    sd_reference: float,
    direction: str,
    alpha: float,
    power: float = 0.8,
    most: int = 200,
) -> int | None:
    """Cells an arm at which Welch's test resolves `difference` with `power`; None beyond `most`.

    The scatter is taken as known, so the number is a guide and not a promise.
    """
    total = sd_test**2 + sd_reference**2
    if total <= 0 or difference == 0:
        return None
    share = alpha / 2 if direction == "two_sided" else alpha
    for n in range(2, most + 1):
        df = total**2 * (n - 1) / (sd_test**4 + sd_reference**4)
        shift = abs(difference) / math.sqrt(total / n)
        if stats.nct.sf(stats.t.ppf(1 - share, df), df, shift) >= power:
            return n
    return None
