"""Dose: how fast lines fade along a series of frames, and what they were before the first electron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Of the critical dose: above it fine structure is not taken as the specimen's own.
CONTROLLED = 0.3
NOT_CONTROLLED = "dose not controlled"
FEWEST_FRAMES = 3
_TWO_SIDED = 3.841


@dataclass(frozen=True)
class Decay:
    """I(D) = zero exp(-D / critical) of one quantity.

    `critical` is NaN where nothing fades; `low` and `high` are the ends of the 95 % interval by profile
    likelihood (`high` infinite where no decay cannot be excluded). `rate` is 1/critical with its error:
    negative for what grows, such as contamination.
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


def decay(name: str, dose: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Decay | None:
    """Fit an exponential decay to one quantity along a series; None for fewer than three frames.

    The amplitude is linear at every rate and is eliminated; the rate is found on a grid, then by Newton
    steps on the profile, and its interval is where chi-square rises by 3.84.

    Parameters
    ----------
    name : str
    dose : (n,) array
        Accumulated dose at the middle of each frame.
    values, errors : (n,) array
        Errors are standard deviations.
    """
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if good.sum() < FEWEST_FRAMES:
        return None
    d, y, w = dose[good], values[good], errors[good] ** -2
    rates = np.linspace(-5, 15, 4001) / max(d.max(), 1e-9)

    def profile(rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = np.exp(-np.multiply.outer(rate, d))
        amount = np.clip((shape * w) @ y / ((shape**2) @ w), 0.0, None)
        rest = y - amount[..., None] * shape
        return (rest**2) @ w, amount

    chi2, amount = profile(rates)
    at = int(np.argmin(chi2))
    inside = np.flatnonzero(chi2 <= chi2[at] + _TWO_SIDED)
    least, most = rates[inside[0]], rates[inside[-1]]
    shape = np.exp(-rates[at] * d)
    gram = np.array([[np.sum(w * shape**2), -np.sum(w * amount[at] * d * shape**2)],
                     [0.0, np.sum(w * (amount[at] * d * shape) ** 2)]])  # fmt: skip
    gram[1, 0] = gram[0, 1]
    spread = np.linalg.pinv(gram)
    critical = 1 / rates[at] if rates[at] > 0 and least > 0 else np.nan
    return Decay(
        name,
        float(amount[at]),
        float(np.sqrt(max(spread[0, 0], 0))),
        float(critical),
        float(1 / most) if most > 0 else np.inf,
        float(1 / least) if least > 0 else np.inf,
        float(rates[at]),
        float(np.sqrt(max(spread[1, 1], 0))),
        float(chi2[at]),
        int(good.sum()),
    )


def at_zero_dose(value: float, dose: float, rate: float, rate_se: float) -> tuple[float, float]:
    """A value corrected to zero dose, and the relative error that the critical dose brings in.

    Parameters
    ----------
    value : float
    dose : float
        Accumulated at the middle of the frame.
    rate, rate_se : float
        Of a decay that is seen, per dose.
    """
    return float(value * np.exp(dose * rate)), float(dose * rate_se)
