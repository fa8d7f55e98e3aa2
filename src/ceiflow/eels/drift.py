"""Where every pixel's zero loss stands: a smooth drift along the scan, and jitter as counts show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceiflow.eels.zero_loss import shifts_from_likelihood

# Stretches of the scan that a drift is drawn through, and how well (channels) each should be known by itself.
MOST_STRETCHES, LEAST_STRETCHES = 64, 4
STRETCH_SE = 0.5
# Jitter and roughness of the drift that are compared, in channels.
TRIAL_JITTER = np.concatenate([[0.0], np.geomspace(0.02, 4.0, 47)])
TRIAL_ROUGHNESS = np.concatenate([[0.0], np.geomspace(1e-3, 10.0, 17)])
# Share of pixels that a jump of the high tension may have put anywhere.
TRIAL_OUTLIERS = np.array([0.001, 0.01, 0.05, 0.2])
# Jitter is learnt from at most so many pixels.
LEARN_PIXELS = 8192


@dataclass
class Alignment:
    """How far each spectrum's zero loss stands too high, in channels.

    Parameters
    ----------
    shift, se : (p,) array
        Best value and its standard error; what few counts leave open, drift and usual jitter fill in.
    drift : (p,) array
        The smooth part.
    jitter, jitter_se : float
        Standard deviation of single pixels about it.
    rate, rate_se : float
        Channels a pixel along the scan: the mean of the drift.
    """

    shift: np.ndarray
    se: np.ndarray
    drift: np.ndarray
    jitter: float
    jitter_se: float
    rate: float
    rate_se: float


def align(shifts: np.ndarray, likelihood: np.ndarray, live: np.ndarray | None = None) -> Alignment:
    """Shift of every spectrum of a scan from its likelihood, with a drift and a jitter that all of them show.

    The likelihood of stretches of the scan is summed, and a smooth curve drawn through their places, as rough
    as they demand (marginal likelihood). About it, jitter is normal, of a size that all pixels together tell,
    with a few pixels anywhere. The shift of a pixel is its mean given its own counts: its own place where
    counts are many, the drift where they are few.

    Parameters
    ----------
    shifts : (k,) array
        In channels, equally spaced.
    likelihood : (p, k) array
        Log-likelihood of each, in the order of the scan; set to zero where a pixel is dead.
    live : (p,) bool array, optional
        Pixels that hold a measurement.

    Returns
    -------
    Alignment
    """
    pixels = likelihood.shape[0]
    live = np.ones(pixels, bool) if live is None else live
    likelihood[~live] = 0.0
    place, error = shifts_from_likelihood(shifts, likelihood)
    seen = np.isfinite(error) & live
    if not seen.any():
        nothing = np.zeros(pixels)
        return Alignment(nothing, np.full(pixels, np.inf), nothing, 0.0, 0.0, 0.0, np.inf)
    jitter = jitter_se = 0.0
    outliers = TRIAL_OUTLIERS[0]
    for _ in range(2):
        drift, drift_se, rate, rate_se = _drift(shifts, likelihood, seen, jitter)
        jitter, jitter_se, outliers = _jitter(place, error, drift, seen, np.ptp(shifts))
    width = np.sqrt(drift_se**2 + jitter**2 + jitter_se**2)
    shift, spread = np.empty(pixels), np.empty(pixels)
    for first in range(0, pixels, LEARN_PIXELS):
        part = slice(first, first + LEARN_PIXELS)
        own = place[part], error[part]
        shift[part], spread[part] = _posterior(
            shifts, likelihood[part], own, drift[part], width[part], outliers
        )
    return Alignment(shift, spread, drift, jitter, jitter_se, rate, rate_se)


def _drift(
    shifts: np.ndarray, likelihood: np.ndarray, seen: np.ndarray, jitter: float
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """A smooth curve through stretches of the scan: value and error at every pixel, and its mean rate."""
    pixels = likelihood.shape[0]
    number = min(MOST_STRETCHES, pixels)
    while True:
        ends = np.linspace(0, pixels, number + 1).astype(int)
        summed = np.add.reduceat(likelihood, ends[:-1], axis=0)
        inside = np.add.reduceat(seen.astype(float), ends[:-1])
        place, error = shifts_from_likelihood(shifts, summed)
        if number <= LEAST_STRETCHES or np.median(error) < STRETCH_SE:
            break
        number = max(number // 2, 1)
    at = 0.5 * (ends[:-1] + ends[1:] - 1)
    known = np.isfinite(error) & (inside > 0)
    at, place = at[known], place[known]
    variance = error[known] ** 2 + jitter**2 / inside[known]
    if at.size == 1:
        return np.full(pixels, place[0]), np.full(pixels, np.sqrt(variance[0])), 0.0, np.inf
    curve, curve_variance = _smooth(at / pixels, place, variance)
    every = np.arange(pixels)
    # The mean rate is that of the straight line nearest to the curve; its error is that of the places.
    lever = (at - at.mean()) / np.sum((at - at.mean()) ** 2)
    rate, rate_se = float(lever @ curve), float(np.sqrt(lever**2 @ variance))
    return _extended(every, at, curve), np.sqrt(np.interp(every, at, curve_variance)), rate, rate_se


def _extended(every: np.ndarray, at: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear interpolation that goes on straight beyond both ends."""
    inner = np.interp(every, at, values)
    first = values[0] + (every - at[0]) * (values[1] - values[0]) / (at[1] - at[0])
    last = values[-1] + (every - at[-1]) * (values[-1] - values[-2]) / (at[-1] - at[-2])
    return np.where(every < at[0], first, np.where(every > at[-1], last, inner))


def _smooth(at: np.ndarray, place: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A straight line plus an integrated random walk, through values with errors: curve and its variance.

    References
    ----------
    Wahba (1978), Journal of the Royal Statistical Society B 40, 364: the smoothing spline as the mean of this
    process, here with its roughness by marginal likelihood.
    """
    centred = at - at.mean()
    line = np.stack([np.ones_like(centred), centred], axis=1)
    low, high = np.minimum.outer(at, at) - at[0], np.maximum.outer(at, at) - at[0]
    walk = low**2 * high / 2 - low**3 / 6
    weight = np.ones_like(place)
    for _ in range(4):
        noise = variance / weight
        best, roughness = np.inf, 0.0
        for trial in TRIAL_ROUGHNESS:
            cost = _marginal(line, trial**2 * walk + np.diag(noise), place)[0]
            if cost < best - 1e-9:
                best, roughness = cost, trial
        total = roughness**2 * walk + np.diag(noise)
        _, solution, covariance = _marginal(line, total, place)
        rest = place - line @ solution
        gain = roughness**2 * walk @ np.linalg.inv(total)
        curve = line @ solution + gain @ rest
        # A stretch with a jump in it counts less (Student t of four degrees).
        weight = 5.0 / (4.0 + (place - curve) ** 2 / variance)
    spread = line - gain @ line
    own = roughness**2 * walk - gain @ (roughness**2 * walk)
    curve_variance = np.einsum("ij,jk,ik->i", spread, covariance, spread) + np.diag(own)
    return curve, np.maximum(curve_variance, 0.0)


def _marginal(line: np.ndarray, total: np.ndarray, place: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Minus twice the restricted log-likelihood, the straight line and its covariance."""
    inverse = np.linalg.inv(total)
    covariance = np.linalg.inv(line.T @ inverse @ line)
    solution = covariance @ (line.T @ inverse @ place)
    rest = place - line @ solution
    logs = np.linalg.slogdet(total)[1] - np.linalg.slogdet(covariance)[1]
    return float(logs + rest @ inverse @ rest), solution, covariance


def _jitter(
    place: np.ndarray, error: np.ndarray, drift: np.ndarray, seen: np.ndarray, reach: float
) -> tuple[float, float, float]:
    """Standard deviation of the pixels about the drift, its error, and the share of outliers."""
    chosen = np.flatnonzero(seen)
    chosen = chosen[:: max(chosen.size // LEARN_PIXELS, 1)]
    away, variance = (place - drift)[chosen], error[chosen] ** 2
    if away.size < 8:
        return 0.0, 0.0, float(TRIAL_OUTLIERS[0])
    total = variance[:, None] + TRIAL_JITTER**2
    normal = np.exp(-0.5 * away[:, None] ** 2 / total) / np.sqrt(2 * np.pi * total)
    costs = np.stack([-np.log((1 - w) * normal + w / reach).sum(0) for w in TRIAL_OUTLIERS])
    row = int(np.argmin(costs.min(1)))
    # Few counts leave open how large it is: mean and deviation over all sizes, each as likely as the pixels
    # make it (flat prior). The most likely one is often far too small, and every pixel's error with it.
    weight = np.exp(costs[row].min() - costs[row]) * np.gradient(TRIAL_JITTER)
    weight /= weight.sum()
    jitter = float(weight @ TRIAL_JITTER)
    error = float(np.sqrt(weight @ (TRIAL_JITTER - jitter) ** 2))
    # Nor is it known better than so many values tell a variance: the grid is coarser than that.
    spread = float(np.mean(variance) + jitter**2) * np.sqrt(2 / away.size)
    error = max(error, min(0.5 * spread / max(jitter, 1e-9), np.sqrt(spread)))
    return jitter, error, float(TRIAL_OUTLIERS[row])


def _posterior(
    shifts: np.ndarray,
    likelihood: np.ndarray,
    own: tuple[np.ndarray, np.ndarray],
    drift: np.ndarray,
    width: np.ndarray,
    outliers: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each pixel's shift, given its counts, the drift and the jitter."""
    rows, step = np.arange(drift.size), shifts[1] - shifts[0]
    # The place that the counts prefer near the drift: with few counts one far away may tie with it.
    near = np.abs(shifts[None, :] - drift[:, None]) <= np.maximum(4 * width, 2.0)[:, None]
    local, local_se = shifts_from_likelihood(shifts, likelihood)
    far = np.abs(local - drift) > np.maximum(4 * width, 2.0)
    if far.any():
        flat = np.where(near[far], likelihood[far], 0.0)
        local[far], local_se[far] = shifts_from_likelihood(shifts, flat)
    lost = ~np.isfinite(local_se)
    local_variance = np.where(lost, 1e12, local_se**2)
    total = local_variance + width**2
    mean = local + (drift - local) * local_variance / total
    variance = local_variance * width**2 / total
    # How likely it is that the pixel jumped instead.
    place, error = own
    nearest = np.clip(np.rint((local - shifts[0]) / step), 0, shifts.size - 1).astype(int)
    height = likelihood.max(1) - likelihood[rows, nearest]
    inlier = np.exp(-0.5 * np.minimum((local - drift) ** 2 / total, 400)) / np.sqrt(2 * np.pi * total)
    inlier = inlier * np.sqrt(local_variance) * np.exp(-np.minimum(height, 400.0))
    jumped = np.where(np.isfinite(error), error, 0.0) / np.ptp(shifts)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = outliers * jumped / (outliers * jumped + (1 - outliers) * inlier)
    share = np.where(np.isfinite(share) & np.isfinite(error), share, 0.0)
    both = (1 - share) * mean + share * place
    apart = share * (1 - share) * (mean - place) ** 2
    own_variance = np.where(np.isfinite(error), error, 0.0) ** 2
    return both, np.sqrt((1 - share) * variance + share * own_variance + apart)
