"""What all contrasts of cells share: the result, corrections for many tests, cells needed.

Arrays in, numbers out; nothing here knows of files or claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MAX_ENUMERATED = 200_000


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


def variance_of(values: np.ndarray) -> float:
    """Sample variance; exactly 0 where it is no more than rounding of equal values."""
    variance = float(values.var(ddof=1))
    return variance if variance > (1e-12 * np.abs(values).max()) ** 2 else 0.0


def p_of_t(t: float, df: float, direction: str) -> float:
    """P-value of a t statistic against the stated direction."""
    if direction == "greater":
        return float(stats.t.sf(t, df))
    if direction == "less":
        return float(stats.t.cdf(t, df))
    return float(2 * stats.t.sf(abs(t), df))


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


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's adjusted p-values (q-values) over those that exist; None stays None.

    References
    ----------
    Benjamini & Hochberg (1995), Journal of the Royal Statistical Society B 57, 289.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    order = sorted(((p, i) for i, p in enumerate(p_values) if p is not None), reverse=True)
    running = 1.0
    for rank, (p, i) in enumerate(order):
        running = min(running, p * len(order) / (len(order) - rank))
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
