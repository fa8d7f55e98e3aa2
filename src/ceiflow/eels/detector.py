"""Gain, read noise and point spread of a detector from the scatter of its own spectra (photon transfer).

What is assumed: n electrons in a channel give ``gain * n`` counts spread over neighbours by a kernel h of
unit sum, plus a read noise that is white. Then neighbouring channels are correlated,

    cov(y_i, y_j) = gain^2 sum_k h_(i-k) h_(j-k) mu_k + read^2 [i = j],

and a single channel's variance is ``gain * mean * sum(h^2) + read^2``, less than the gain says. A sum over
many channels does not see h: its variance is ``gain * mean`` a channel. Amplitudes of edges are such sums, so
that a fit with variances ``gain * mean`` and no correlations has the right errors, where the gain is that of
wide sums; with a gain read off single channels its variances would be too small by sum(h^2). Where electrons
themselves are scattered to other channels before they are counted, nothing is correlated, and the same gain
is right.

Not corrected for: coincidence loss (an electron that a counting detector misses because another arrived with
it), which makes variances smaller than counts and shows as a gain below one; errors of the gain reference,
a fixed pattern that differences of pixels leave out and zones of many pixels do not average away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ceiflow.signals.store import SignalFile

# Channels of a wide sum, and the differences along energy that take a smooth spectrum out.
WIDE = 8
SECOND, THIRD = np.array([1.0, -2.0, 1.0]), np.array([1.0, -3.0, 3.0, -1.0])
# Sum of the squared correlations of second differences of white noise: 1, -4/6, 1/6 on either side.
SECOND_CORRELATION = 1 + 2 * ((4 / 6) ** 2 + (1 / 6) ** 2)
# Levels of counts that are told apart: classes of pixels times stretches of channels.
PIXEL_CLASSES, MOST_STRETCHES, LEAST_STRETCHES = 8, 40, 8
# Pixels that are looked at, in pieces of so many neighbours.
PIECE, PIECES = 256, 48
# An estimate that is less certain than this (relative) is none.
LARGEST_ERROR = 0.10
# A description is contradicted by variances that differ by more than this, and by three standard errors.
TOLERANCE = 0.10
TRIAL_SPREAD = np.concatenate([[0.0], np.arange(0.3, 4.01, 0.05)])


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of a detector as its spectra show it.

    Parameters
    ----------
    gain, gain_se : float
        Counts per electron, of sums over many channels.
    read_noise, read_noise_se : float
        Counts, 1 sigma; where the dark level is what the configuration says.
    point_spread, point_spread_se : float
        Channels, 1 sigma, of a Gaussian along energy.
    level : float
        Median counts a channel, where a description is compared.
    variance_ratio, variance_ratio_se : float
        Variance of wide sums at that level over what the configuration says.
    method : str
    reason : str
        Why there is no estimate; empty where there is one.
    """

    gain: float = np.nan
    gain_se: float = np.nan
    read_noise: float = np.nan
    read_noise_se: float = np.nan
    point_spread: float = np.nan
    point_spread_se: float = np.nan
    level: float = np.nan
    variance_ratio: float = np.nan
    variance_ratio_se: float = np.nan
    method: str = ""
    reason: str = ""

    @property
    def known(self) -> bool:
        return not self.reason

    def contradicts(self) -> bool:
        """Do the spectra scatter otherwise than the configuration says?"""
        away = abs(self.variance_ratio - 1)
        return self.known and away > max(TOLERANCE, 3 * self.variance_ratio_se)

    def label(self) -> str:
        """What every interval rests on, in a few words."""
        if not self.known:
            return f"Poisson assumed: {self.reason}"
        text = f"gain {self.gain:.3g} +- {self.gain_se:.2g} counts per electron"
        if self.read_noise > 2 * self.read_noise_se:
            text += f", read noise {self.read_noise:.3g} +- {self.read_noise_se:.2g} counts"
        if self.point_spread > 2 * self.point_spread_se:
            text += f", point spread {self.point_spread:.2g} channels"
        return f"{text} (from {self.method})"

    def record(self) -> dict[str, Any]:
        """For JSON: numbers rounded, unknown ones null."""
        values: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, float):
                values[name] = float(f"{value:.5g}") if np.isfinite(value) else None
            else:
                values[name] = value
        return values | {"label": self.label(), "contradicts": bool(self.contradicts())}


def estimate_noise(
    core: SignalFile, configured: Mapping[str, Any], dead: np.ndarray | None = None
) -> NoiseEstimate:
    """Estimate gain, read noise and point spread from differences of neighbouring pixels and channels.

    Differences of neighbouring pixels take out what both hold (edges, fixed pattern), differences along
    energy what is left of a smooth spectrum. Their variance is collected against the mean, in classes of
    pixels by their counts (vacuum is one) and in stretches of channels; a line through those is gain and read
    noise, once for single channels and once for sums of eight. The two slopes differ by what a point spread
    takes from single channels. Stretches with edges or spikes scatter more, and are left out as outliers.

    Parameters
    ----------
    core : SignalFile
    configured : mapping
        `detector` of the configuration: gain, read_noise, dark.
    dead : (rows, columns) bool array, optional

    Returns
    -------
    NoiseEstimate
    """
    gain, read, dark = (
        float(configured.get(name, default) or 0.0)
        for name, default in (("gain", 1.0), ("read_noise", 0.0), ("dark", 0.0))
    )
    pairs = core.shape[0] * core.shape[1] > 1
    pixels = core.shape[0] * core.shape[1]
    if _stretches(core.shape[2]) < LEAST_STRETCHES:
        return NoiseEstimate(reason=f"{core.shape[2]} channels are too few to see the noise")
    table = _collect(core, dead, pairs)
    if table is None:
        return NoiseEstimate(reason="no counts")
    mean, single, wide, number = table
    mean, times = mean - dark, 2 if pairs else 1
    kinds = [(single, number, 1, SECOND), (wide, number / WIDE, WIDE, THIRD)]
    # A single spectrum has too few levels to tell read noise from gain.
    given = None if pairs else read
    alone = [_line(mean, [kind], times, 0.0, given) for kind in kinds]
    if any(found is None for found in alone):
        return NoiseEstimate(reason="the variance does not grow with the counts")
    spread, spread_se = _spread_of(*alone)
    found = _line(mean, kinds, times, spread, given)
    if found is None:
        return NoiseEstimate(reason="the variance does not grow with the counts")
    solution, covariance = found
    if spread:
        # Single channels know the gain only as well as the spread is known: wide sums have to tell it.
        wide_only, wide_covariance = alone[1]
        known = wide_covariance[0, 0] * (solution[0] / wide_only[0]) ** 2
        covariance[0, 0] = max(covariance[0, 0], known)
    level = float(np.median(mean))
    # So many differences cannot tell more: normal noise (neighbouring second differences are correlated), and
    # the heavier tails of few counts.
    seen = float(number.sum()) * (core.shape[2] // _stretches(core.shape[2]))
    least = (2 * SECOND_CORRELATION + 1 / max(level, 1e-3)) / seen
    covariance[0, 0] = max(covariance[0, 0], least * solution[0] ** 2)
    expected = gain * level + read**2
    arm = np.array([level, 1.0])
    ratio = float(arm @ solution) / expected if expected > 0 else np.inf
    ratio_se = float(np.sqrt(arm @ covariance @ arm)) / expected if expected > 0 else np.inf
    slope, slope_se = float(solution[0]), float(np.sqrt(covariance[0, 0]))
    intercept, intercept_se = float(solution[1]), float(np.sqrt(covariance[1, 1]))
    noise = np.sqrt(max(intercept, 0.0))
    noise_se = 0.5 * intercept_se / noise if noise**2 > intercept_se else np.sqrt(intercept_se)
    reason = ""
    if not ratio > 0 or ratio_se > LARGEST_ERROR * ratio:
        reason = f"the variance is known to {abs(ratio_se / ratio):.0%} only" if ratio > 0 else "no scatter"
    method = "neighbouring pixels and channels" if pairs else "neighbouring channels"
    if pairs and pixels >= 64 and np.min(mean) < 0.1 * level:
        method += ", vacuum among them"
    return NoiseEstimate(
        slope, slope_se, float(noise), float(noise_se), float(spread), spread_se,
        level, ratio, ratio_se, method, reason,
    )  # fmt: skip


def _collect(
    core: SignalFile, dead: np.ndarray | None, pairs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Mean, and mean square of differences of single channels and wide sums, of every class and stretch."""
    live = np.ones(core.shape[0] * core.shape[1], bool) if dead is None else ~dead.ravel()
    pieces = []
    every = max(live.size // PIECE // PIECES, 1)
    for index, (where, block) in enumerate(core.blocks(PIECE)):
        if index % every == 0:
            block = block[live[where]]
            if block.shape[0] > (1 if pairs else 0):
                pieces.append(_differences(block.astype(np.float64), pairs))
    if not pieces:
        return None
    level, mean, single, wide = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    if not np.any(level > 0):
        return None
    order = np.argsort(level, kind="stable")
    classes = np.array_split(order, min(PIXEL_CLASSES, max(order.size // 8, 1)))
    stacked = [np.concatenate([values[part].mean(0) for part in classes]) for values in (mean, single, wide)]
    number = np.concatenate([np.full(mean.shape[1], part.size) for part in classes])
    good = number > 0
    return stacked[0][good], stacked[1][good], stacked[2][good], number[good]


def _differences(block: np.ndarray, pairs: bool) -> tuple[np.ndarray, ...]:
    """Level of each pair of pixels; by stretch its mean and its mean squares of both differences."""
    number = _stretches(block.shape[1])
    block = block[:, : block.shape[1] // WIDE * WIDE]
    step = block[1:] - block[:-1] if pairs else block
    mean = 0.5 * (block[1:] + block[:-1]) if pairs else block
    single = step[:, 2:] - 2 * step[:, 1:-1] + step[:, :-2]
    summed = step.reshape(step.shape[0], -1, WIDE).sum(2)
    wide = summed[:, 3:] - 3 * summed[:, 2:-1] + 3 * summed[:, 1:-2] - summed[:, :-3]
    return (
        mean.mean(1),
        _by_stretch(mean, number),
        _by_stretch(single**2, number),
        _by_stretch(wide**2, number),
    )


def _stretches(channels: int) -> int:
    """How many stretches there are, each with two wide differences at least."""
    return min((channels // WIDE - THIRD.size + 1) // 2, MOST_STRETCHES)


def _by_stretch(values: np.ndarray, number: int) -> np.ndarray:
    ends = np.linspace(0, values.shape[1], number + 1).astype(int)[:-1]
    widths = np.diff(np.append(ends, values.shape[1]))
    return np.add.reduceat(values, ends, axis=1) / widths


def _factor(spread: float, width: int, difference: np.ndarray) -> float:
    """Variance of a difference of sums over `width` channels, for unit gain and one count a channel."""
    reach = max(int(np.ceil(6 * spread)), 1)
    lag = np.arange(-reach * 2, reach * 2 + 1)
    if spread > 0:
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
        kernel /= kernel.sum()
        correlation = np.convolve(kernel, kernel)
    else:
        correlation = (lag == 0).astype(float)
    weights = np.repeat(difference, width)
    both = np.correlate(weights, weights, mode="full")
    middle = both.size // 2
    near = np.abs(lag) <= middle
    return float(np.sum(both[middle + lag[near]] * correlation[near]))


def _line(
    mean: np.ndarray,
    kinds: Sequence[tuple[np.ndarray, np.ndarray, int, np.ndarray]],
    times: int,
    spread: float,
    read: float | None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Gain and read variance by a robust weighted line through mean squares of differences.

    Parameters
    ----------
    mean : (k,) array
        Counts a channel, dark level removed.
    kinds : sequence of (mean squares (k,), how many of them (k,), channels summed, difference)
    times : int
        Spectra in a difference.
    spread : float
        Point spread in channels.
    read : float or None
        Read noise where it is not to be found.

    Returns
    -------
    (2,) array, (2, 2) array
        Gain and squared read noise, and their covariance from the scatter about the line.
    """
    rows = [
        np.stack([
            times * _factor(spread, width, difference) * mean,
            np.full_like(mean, times * width * np.sum(difference**2)),
        ], axis=1)
        for _, _, width, difference in kinds
    ]  # fmt: skip
    design, target = np.concatenate(rows), np.concatenate([kind[0] for kind in kinds])
    if read is not None:
        target = target - design[:, 1] * read**2
    count = np.concatenate([kind[1] for kind in kinds]).astype(float)
    good = design[:, 0] > 0
    design, target, count = design[good], target[good], count[good]
    if target.size < LEAST_STRETCHES or not np.any(target > 0):
        return None
    solution = np.array([np.median(target / design[:, 0]), 0.0])
    for _ in range(12):
        model = np.maximum(design @ solution, 1e-3 * np.median(target) + 1e-12)
        relative = (target / model - 1) * np.sqrt(count)
        scale = max(float(np.median(np.abs(relative))) / 0.6745, 1e-6)
        weight = np.clip(1 - (relative / (5 * scale)) ** 2, 0, None) ** 2 * count / model**2
        gram = design.T @ (weight[:, None] * design)
        norm = 1 / np.sqrt(np.maximum(np.diag(gram), 1e-300))
        inverse = norm[:, None] * np.linalg.pinv(norm[:, None] * gram * norm, hermitian=True) * norm
        solution = inverse @ (design.T @ (weight * target))
        if solution[1] < 0 or read is not None:
            # No read noise; a negative one would come from a dark level that is not there.
            solution = np.array([np.sum(weight * design[:, 0] * target) / gram[0, 0], 0.0])
    rest = weight * (target - design @ solution)
    covariance = inverse @ (design.T @ (rest[:, None] ** 2 * design)) @ inverse
    if solution[1] == 0 or read is not None:
        covariance[0, 0] = np.sum((rest * design[:, 0]) ** 2) / gram[0, 0] ** 2
        covariance[0, 1] = covariance[1, 0] = 0.0
    if read is not None:
        solution[1] = read**2
    return (solution, covariance) if solution[0] > 0 else None


def _spread_of(
    single: tuple[np.ndarray, np.ndarray], wide: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Point spread and its error from how much less single channels scatter than wide sums.

    A spread that is not three standard errors from none is none; its error is then the least that would show.
    """
    ratio = single[0][0] / wide[0][0]
    error = ratio * float(np.hypot(*(np.sqrt(c[0, 0]) / v[0] for v, c in (single, wide))))
    parts = [
        np.array([_factor(spread, width, difference) for spread in TRIAL_SPREAD])
        for width, difference in ((1, SECOND), (WIDE, THIRD))
    ]
    curve = (parts[0] / parts[0][0]) / (parts[1] / parts[1][0])

    def at(value: float) -> float:
        return float(np.interp(-value, -curve, TRIAL_SPREAD))

    if ratio > 1 - 3 * error:
        return 0.0, at(1 - 3 * error)
    return at(ratio), 0.5 * (at(ratio - error) - at(ratio + error))
