"""The mean of cells of which some are only known to lie within an interval.

Nothing is put in the place of what was not seen: each cell enters the likelihood with the probability of its
own interval, from everything bounded at 0 to everything bounded at its detection limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from ceiflow.statistics.bounds import MeanLimits

MOST_CENSORED = 0.7  # share of acquisitions below their limits above which no mean is given


def censored_mean(low: Sequence[float], high: Sequence[float], alpha: float) -> MeanLimits | None:
    """Mean of a normal distribution of cells from interval-censored values, by profile likelihood.

    Parameters
    ----------
    low, high : (n,) sequences
        Ends of what is known of each cell; equal where its value is.
    alpha : float
        Error of both sides together.

    Returns
    -------
    MeanLimits or None
        None where the likelihood has no maximum with scatter: some value lies in every cell's interval.

    Notes
    -----
    The likelihood ratio is held against n log(1 + t^2 / (n - 1)) with Student's t of n - 1 degrees of freedom
    rather than against chi-square: where nothing is censored, the interval is then Student's exactly.
    """
    a, b = np.asarray(low, float), np.asarray(high, float)
    n = a.size
    if n < 2 or a.max() <= b.min():
        return None
    unit = float((b - a).max() + np.ptp((a + b) / 2))
    origin = float(((a + b) / 2).mean())
    a, b = (a - origin) / unit, (b - origin) / unit
    start = max(float(((a + b) / 2).std()), 1e-3)
    best = optimize.minimize(
        lambda v: -_likelihood(v[0], v[1], a, b),
        [0.0, math.log(start)],
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000},
    )
    mean, sd = float(best.x[0]), math.exp(best.x[1])
    drop = 0.5 * n * math.log1p(float(stats.t.ppf(1 - alpha / 2, n - 1)) ** 2 / (n - 1))

    def short(m: float) -> float:
        return _profile(m, a, b, best.x[1]) + best.fun + drop

    ends = []
    for side in (-1, 1):
        step = sd
        while short(mean + side * step) > 0 and step < 1e6:
            step *= 2
        ends.append(optimize.brentq(short, *sorted((mean, mean + side * step)), xtol=1e-6))
    reach = float(stats.t.ppf(1 - alpha / 2, n - 1))
    low_end, high_end = (origin + unit * end for end in ends)
    return MeanLimits(origin + unit * mean, low_end, high_end, (high_end - low_end) / (2 * reach))


def _profile(mean: float, a: np.ndarray, b: np.ndarray, guess: float) -> float:
    """Likelihood at a mean, the scatter at its best."""
    found = optimize.minimize_scalar(
        lambda s: -_likelihood(mean, s, a, b), bracket=(guess, guess + 1.0), options={"xtol": 1e-8}
    )
    return -float(found.fun)


def _likelihood(mean: float, log_sd: float, a: np.ndarray, b: np.ndarray) -> float:
    """Log-likelihood of exact values and intervals."""
    sd = math.exp(min(max(log_sd, -30.0), 30.0))
    exact = b - a <= 1e-12
    z = (a[exact] - mean) / sd
    total = -0.5 * float(z @ z) - exact.sum() * (math.log(sd) + 0.5 * math.log(2 * math.pi))
    lower, upper = (a[~exact] - mean) / sd, (b[~exact] - mean) / sd
    # In the lower tail, where differences of the distribution function keep their digits.
    flip = lower > 0
    lower, upper = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
    top, bottom = special.log_ndtr(upper), special.log_ndtr(lower)
    return total + float(np.sum(top + np.log1p(-np.exp(np.minimum(bottom - top, -1e-300)))))
