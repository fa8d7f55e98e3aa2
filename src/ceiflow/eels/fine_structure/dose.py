"""Dose: how fast lines fade along a series of frames, and what they were before the first electron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Of the critical dose: above it fine structure is not taken as the specimen's own.
CONTROLLED = 0.3
NOT_CONTROLLED = "dose not controlled"
FEWEST_FRAMES = 3
_TWO_SIDED = 3.841
# Rates are tried evenly up to one over so many times the whole dose, and ever further apart above.
_DENSE = 20.0


@dataclass(frozen=True)
class Decay:
    """I(D) = zero exp(-D / critical) of one quantity.

    `critical` is NaN where nothing fades; `low` and `high` are the ends of the 95 % interval by profile
    likelihood: `high` is infinite where no decay cannot be excluded, `low` zero where no fast one can be, and
    infinite for what grows. `rate` is 1/critical with its error: negative for what grows (contamination).
    """

    name: str
    zero: float
    zero_se: float
    critical: float
    low: float
    high: float
    rate: float
    rate_se: float
    chi2: float
    frames: int

    @property
    def fades(self) -> bool:
        return bool(np.isfinite(self.high))


def middle_doses(doses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Dose at the middle of each frame, and at its end, from the dose of each in order of `frame`."""
    each = np.asarray(doses, np.float64)
    end = np.cumsum(each)
    return end - each / 2, end


def decay(
    name: str,
    dose: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    each: np.ndarray | None = None,
) -> Decay | None:
    """Fit an exponential decay to one quantity along a series; None for fewer than three frames.

    The amplitude is linear at every rate and is eliminated; the rate is found on a grid, then between its
    neighbours, and its interval is where chi-square rises by 3.84. Where frames scatter more than their
    errors say, or no exponential holds them, all errors are larger by that.

    Parameters
    ----------
    name : str
    dose : (n,) array
        Accumulated dose at the middle of each frame.
    values, errors : (n,) array
        Errors are standard deviations.
    each : (n,) array, optional
        Dose of each frame: a quantity is its mean over the frame, and not its value at the middle.
    """
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if good.sum() < FEWEST_FRAMES:
        return None
    d, y, w = dose[good], values[good], errors[good] ** -2
    width = np.zeros(d.size) if each is None else np.asarray(each, np.float64)[good]
    rates = _rates(d)

    def profile(rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = mean_over_frame(rate[..., None], d, width)
        amount = np.clip((shape * w) @ y / ((shape**2) @ w), 0.0, None)
        rest = y - amount[..., None] * shape
        return (rest**2) @ w, amount

    at = int(np.argmin(profile(rates)[0]))
    near = np.linspace(rates[max(at - 1, 0)], rates[min(at + 1, rates.size - 1)], 401)
    tried = profile(near)
    at = int(np.argmin(tried[0]))
    rate, chi2, amount = near[at], tried[0][at], tried[1][at]
    temper = max(float(chi2) / (d.size - 2), 1.0)
    level = chi2 + _TWO_SIDED * temper
    least = _edge(profile, rate, rates[rates < rate][::-1], level)
    most = _edge(profile, rate, rates[rates > rate], level)
    small = 1e-6 / d.max()
    shape, moved = mean_over_frame(np.array([[rate], [rate + small]]), d, width)
    slope = amount * (moved - shape) / small
    gram = np.array([[np.sum(w * shape**2), np.sum(w * shape * slope)], [0.0, np.sum(w * slope**2)]])
    gram[1, 0] = gram[0, 1]
    spread = np.linalg.pinv(gram) * temper
    return Decay(
        name,
        float(amount),
        float(np.sqrt(max(spread[0, 0], 0))),
        float(1 / rate) if rate > 0 and least > 0 else np.nan,
        float(1 / most) if most > 0 else np.inf,
        float(1 / least) if least > 0 else np.inf,
        float(rate),
        float(np.sqrt(max(spread[1, 1], 0))),
        float(chi2),
        int(good.sum()),
    )


def mean_over_frame(rate: np.ndarray, middle: np.ndarray, each: np.ndarray | float) -> np.ndarray:
    """Mean of exp(-rate D) over frames of the doses `each` around `middle`."""
    half = np.clip(np.abs(rate * each) / 2, 1e-9, 300)
    return np.exp(-np.clip(rate * middle, -300, 600)) * np.sinh(half) / half


def _rates(dose: np.ndarray) -> np.ndarray:
    """Rates that are tried: dense about none, up to what is over between the two closest frames."""
    slow = 1 / max(dose.max(), 1e-9)
    apart = np.diff(np.unique(dose))
    fast = max(1 / apart.min() if apart.size else 0.0, slow)
    grid = np.linspace(-np.arcsinh(_DENSE * 5), np.arcsinh(_DENSE * 15 * fast / slow), 2001)
    return np.unique(np.append(slow * np.sinh(grid) / _DENSE, 0.0))


def _edge(profile: Callable, best: float, outwards: np.ndarray, level: float) -> float:
    """Where chi-square first passes a level on one side of the best rate; infinite where it never does."""
    beyond = np.flatnonzero(profile(outwards)[0] > level)
    if not beyond.size:
        return float(np.copysign(np.inf, outwards[-1] - best)) if outwards.size else float(best)
    inside = best if beyond[0] == 0 else outwards[beyond[0] - 1]
    outside = outwards[beyond[0]]
    for _ in range(50):
        middle = 0.5 * (inside + outside)
        above = profile(np.array([middle]))[0][0] > level
        inside, outside = (inside, middle) if above else (middle, outside)
    return float(inside)


def at_zero_dose(
    value: float, dose: float, rate: float, rate_se: float, each: float = 0.0
) -> tuple[float, float]:
    """A value corrected to zero dose, and the relative error that the critical dose brings in.

    Parameters
    ----------
    value : float
    dose : float
        Accumulated at the middle of the frame.
    rate, rate_se : float
        Of a decay that is seen, per dose.
    each : float
        Dose of the frame, over which the value is a mean.
    """
    left = mean_over_frame(np.array([rate]), np.array([dose]), each)[0]
    return float(value / left), float(dose * rate_se)
