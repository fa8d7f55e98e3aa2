"""One group of cells: confidence limits of its mean, and bounds on how often a layer is there.

Arrays in, numbers out; nothing here knows of files or claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

ENOUGH_TO_ESTIMATE = 5  # positives and negatives at which a correlation is estimated at all


@dataclass(frozen=True)
class MeanLimits:
    """Mean of cells with one-sided confidence limits, each at the level that was asked for."""

    mean: float
    low: float
    high: float
    se: float


@dataclass(frozen=True)
class Moments:
    """Mean of cells, their standard deviation, variance of the mean in units of theirs, and df."""

    mean: float
    sd: float
    weight: float
    df: int

    @property
    def se(self) -> float:
        return self.sd * math.sqrt(self.weight)


def moments(values: Sequence[float], levels: Sequence[int] | None = None) -> Moments:
    """Mean and scatter of cells; with `levels` of a factor, the mean of its levels and scatter within.

    Levels (charged, discharged) weigh alike, however many cells each has; one variance is pooled over them.

    Parameters
    ----------
    values : (n,) sequence
    levels : (n,) sequence of int, optional
        Level of each cell; at least one level has two cells.
    """
    x = np.asarray(values, float)
    groups = [x] if levels is None else [x[np.asarray(levels) == level] for level in sorted(set(levels))]
    df = x.size - len(groups)
    if df < 1:
        raise ValueError("an interval for a group needs at least two cells of one level")
    square = sum(float(((own - own.mean()) ** 2).sum()) for own in groups) / df
    return Moments(
        mean=float(np.mean([own.mean() for own in groups])),
        sd=math.sqrt(square),
        weight=sum(1 / own.size for own in groups) / len(groups) ** 2,
        df=df,
    )


def mean_limits(
    values: Sequence[float], alpha: float, se_sys: float = 0.0, levels: Sequence[int] | None = None
) -> MeanLimits:
    """Mean of cell values with one-sided limits of level 1 - alpha on either side.

    Parameters
    ----------
    values : (n,) sequence
        Cell values, n >= 2.
    alpha : float
        Error of each side: both limits together form an interval of level 1 - 2 alpha, the one that two
        one-sided tests (TOST) of size alpha read off.
    se_sys : float
        Systematic standard error that all cells share (a cross-section, a mean free path): joins the
        statistical half width in quadrature and does not shrink with the number of cells.
    levels : (n,) sequence of int, optional
        Level of a factor of each cell, see `moments`.
    """
    of = moments(values, levels)
    reach = math.hypot(
        float(stats.t.ppf(1 - alpha, of.df)) * of.se, float(stats.norm.ppf(1 - alpha)) * se_sys
    )
    return MeanLimits(of.mean, of.mean - reach, of.mean + reach, of.se)


def scatters(values: Sequence[float], levels: Sequence[int] | None = None) -> bool:
    """Whether cells differ by more than rounding, within levels of a factor where there are any."""
    return moments(values, levels).sd > 1e-12 * max(1e-300, float(np.abs(values).max()))


def p_below(
    values: Sequence[float], margin: float, se_sys: float = 0.0, levels: Sequence[int] | None = None
) -> float | None:
    """One-sided p-value of "the mean of cells is at least `margin`".

    The error at which the limit of `mean_limits` reaches the margin; without a systematic error that is the
    one-sided t test. None where nothing scatters.
    """
    of = moments(values, levels)
    mean, se = of.mean, of.se
    if math.hypot(se, se_sys) <= 1e-12 * max(abs(margin), float(np.abs(values).max())):
        return None
    if se_sys == 0:
        return float(stats.t.cdf((mean - margin) / se, of.df))
    distance = abs(margin - mean)

    def excess(log_tail: float) -> float:
        tail = math.exp(log_tail)
        scatter = stats.t.isf(tail, of.df) * se if se else 0.0
        return math.hypot(scatter, stats.norm.isf(tail) * se_sys) - distance

    # Over the logarithm, since a tail may be of any size; halving takes infinite quantiles, too.
    ends = math.log(1e-300), math.log(0.5)
    tail = 1e-300 if excess(ends[0]) <= 0 else math.exp(float(optimize.bisect(excess, *ends, xtol=1e-11)))
    return tail if mean <= margin else 1 - tail


def proportion_limits(
    values: Sequence[float],
    alpha: float,
    least_dispersion: float,
    se_sys: float = 0.0,
    levels: Sequence[int] | None = None,
) -> MeanLimits:
    """Mean of fractions in [0, 1] of cells with one-sided score limits of level 1 - alpha on either side.

    Wilson's interval with Student's quantile: the variance of the mean is dispersion * p (1 - p) / n, with
    the dispersion of the cells relative to single yes/no trials estimated at the mean, and not below
    `least_dispersion` (the correlation within cells that the study allows for), so that cells that all show
    exactly 1 do not give an interval without width. Limits stay in [0, 1] by themselves, and lean away from
    the end that the mean is near to.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22, 209.
    """
    of = moments(values, levels)
    mean = min(max(of.mean, 0.0), 1.0)
    low, high = score_limits(mean, _dispersion(of.sd, mean, least_dispersion), 1 / of.weight, alpha, of.df)
    shift = float(stats.norm.ppf(1 - alpha)) * se_sys
    return MeanLimits(
        mean,
        max(0.0, mean - math.hypot(mean - low, shift)),
        min(1.0, mean + math.hypot(high - mean, shift)),
        of.se,
    )


def cells_for_proportion(
    values: Sequence[float],
    bounds: tuple[float, float],
    alpha: float,
    least_dispersion: float,
    levels: Sequence[int] | None = None,
    most: int = 500,
) -> int | None:
    """Cells at which the score limits lie within `bounds` at this mean and dispersion; None beyond `most`.

    Levels of a factor are taken as equally large.
    """
    of = moments(values, levels)
    mean = min(max(of.mean, 0.0), 1.0)
    dispersion, lost = _dispersion(of.sd, mean, least_dispersion), len(values) - of.df
    for n in range(lost + 1, most + 1):
        low, high = score_limits(mean, dispersion, n, alpha, n - lost)
        if bounds[0] <= low and high <= bounds[1]:
            return n
    return None


def _dispersion(sd: float, mean: float, least: float) -> float:
    """Variance of cells over that of single yes/no trials."""
    trial = mean * (1 - mean)
    return min(1.0, max(sd**2 / trial if trial > 0 else 0.0, least))


def score_limits(
    mean: float, dispersion: float, cells: float, alpha: float, df: int | None = None
) -> tuple[float, float]:
    """Wilson's limits of a mean fraction with Student's quantile, each of level 1 - alpha.

    `cells` counts those that the mean is worth; its degrees of freedom are `df`, one less if none is given.
    """
    n = cells / dispersion if dispersion > 0 else math.inf
    t = float(stats.t.ppf(1 - alpha, cells - 1 if df is None else df))
    centre = (mean + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * math.sqrt(mean * (1 - mean) / n + t**2 / (4 * n**2))
    # Rounding must not take a limit past the end of the range.
    return max(0.0, centre - half), 1.0 if mean == 1 else min(1.0, centre + half)


def cells_for_limit(distance: float, sd: float, alpha: float, levels: int = 1, most: int = 500) -> int | None:
    """Cells at which a one-sided limit of level 1 - alpha lies within `distance` of the mean.

    `levels` of a factor are taken as equally large; each costs a degree of freedom.
    """
    if distance <= 0:
        return None
    for n in range(levels + 1, most + 1):
        if stats.t.ppf(1 - alpha, n - levels) * sd / math.sqrt(n) < distance:
            return n
    return None


def upper_proportion(positive: float, trials: float, alpha: float) -> float:
    """One-sided Clopper-Pearson upper limit of a proportion; effective (broken) numbers are allowed.

    Examples
    --------
    >>> [round(upper_proportion(0, n, 0.05), 2) for n in (3, 10, 29, 59)]
    [0.63, 0.26, 0.1, 0.05]
    """
    if trials <= 0 or positive >= trials:
        return 1.0
    return float(stats.beta.ppf(1 - alpha, positive + 1, trials - positive))


def upper_beta_binomial(positive: int, sizes: Sequence[int], correlation: float, alpha: float) -> float:
    """One-sided upper limit of a mean proportion that varies between cells as a beta distribution does.

    The largest mean at which no more than `positive` of all trials are positive with probability alpha. Each
    cell's count is beta-binomial with the same mean and intraclass correlation; without correlation it is the
    Clopper-Pearson limit.

    References
    ----------
    Skellam (1948), Journal of the Royal Statistical Society B 10, 257.
    """
    counts = [int(size) for size in sizes if size > 0]
    total = sum(counts)
    if total == 0 or positive >= total:
        return 1.0
    if correlation <= 0:
        return upper_proportion(positive, total, alpha)
    if correlation >= 1:
        # Every cell is all or nothing: it takes as many positive cells as the smallest ones could hold.
        return upper_proportion(sum(np.cumsum(sorted(counts)) <= positive), len(counts), alpha)
    spread = (1 - correlation) / correlation

    def below(mean: float) -> float:
        table = np.ones(1)
        pmf = {
            n: stats.betabinom.pmf(range(n + 1), n, mean * spread, (1 - mean) * spread) for n in set(counts)
        }
        for n in counts:
            table = np.convolve(table, pmf[n])
        return float(table[: positive + 1].sum()) - alpha

    return float(optimize.brentq(below, 1e-9, 1 - 1e-9, xtol=1e-7))


def lower_proportion(positive: float, trials: float, alpha: float) -> float:
    """One-sided Clopper-Pearson lower limit of a proportion."""
    if trials <= 0 or positive <= 0:
        return 0.0
    return float(stats.beta.ppf(alpha, positive, trials - positive + 1))


def design_effect(sizes: Sequence[int], correlation: float) -> float:
    """Factor by which clustering in cells inflates the variance of a proportion.

    1 + (m - 1) rho with m = sum(sizes^2) / sum(sizes), which is the common size in a balanced design.

    References
    ----------
    Kish (1965), Survey Sampling, section 5.4.
    """
    total = sum(sizes)
    if total == 0:
        return 1.0
    return 1 + (sum(size**2 for size in sizes) / total - 1) * correlation


def intraclass_correlation(positives: Sequence[int], sizes: Sequence[int]) -> float | None:
    """Correlation of presence within cells by the analysis-of-variance estimator.

    None where data are too few: it needs three cells, five positives and five negatives.

    References
    ----------
    Ridout, Demetrio & Firth (1999), Biometrics 55, 137.
    """
    y, n = np.asarray(positives, float), np.asarray(sizes, float)
    y, n = y[n > 0], n[n > 0]
    total, cells = n.sum(), n.size
    if cells < 3 or total <= cells or min(y.sum(), total - y.sum()) < ENOUGH_TO_ESTIMATE:
        return None
    between = ((y**2 / n).sum() - y.sum() ** 2 / total) / (cells - 1)
    within = (y.sum() - (y**2 / n).sum()) / (total - cells)
    size = (total - (n**2).sum() / total) / (cells - 1)
    spread = between + (size - 1) * within
    return float(np.clip((between - within) / spread, 0, 1)) if spread > 0 else None


def trials_for_upper(limit: float, alpha: float) -> float:
    """Independent trials without a positive (a broken number) whose upper limit is `limit`."""
    return math.log(alpha) / math.log1p(-limit)


def regions_for_upper(limit: float, cells: int, correlation: float, alpha: float) -> int | None:
    """Regions in all, spread evenly over `cells`, none of them coated, for an upper limit of `limit`.

    None where no number suffices, because regions of one cell are not independent: more cells are needed.
    """
    wanted = trials_for_upper(limit, alpha)
    # n / (1 + (n/cells - 1) rho) >= wanted, solved for n
    gain = 1 - wanted * correlation / cells
    return math.ceil(wanted * (1 - correlation) / gain) if gain > 0 else None


def cells_for_upper(limit: float, regions_per_cell: float, correlation: float, alpha: float) -> int:
    """Cells in all, with as many regions each as now, none coated, for an upper limit of `limit`."""
    size = max(1.0, regions_per_cell)
    return math.ceil(trials_for_upper(limit, alpha) * (1 + (size - 1) * correlation) / size)
