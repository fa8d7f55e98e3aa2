"""The zero loss: is it there, where does it stand in every pixel, and how well is that known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_FWHM_EV = 8.0
JITTER_EV = 5.0


@dataclass(frozen=True)
class ZeroLoss:
    """The zero-loss peak of a summed spectrum.

    Parameters
    ----------
    position_eV, fwhm_eV : float
        On the file's axis.
    counts : float
        Within one full width of the top.
    """

    position_eV: float
    fwhm_eV: float
    counts: float


def find_zero_loss(
    energy_eV: np.ndarray, spectrum: np.ndarray, max_offset_eV: float = 25.0
) -> ZeroLoss | None:
    """The zero loss of a spectrum, or None where the range holds none.

    It has to be the highest feature, narrow, within `max_offset_eV` of 0, and fall off on both sides: a range
    that starts above it shows a plasmon or an edge of a decaying background, and is refused.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
    max_offset_eV : float
        How wrong the axis may be.
    """
    near = np.flatnonzero(np.abs(energy_eV) <= max_offset_eV)
    if near.size < 5 or not np.any(spectrum[near] > 0):
        return None
    top = near[int(np.argmax(spectrum[near]))]
    step = energy_eV[1] - energy_eV[0]
    height = spectrum[top]
    if height < spectrum.max() or top < 3 or top > spectrum.size - 4:
        return None
    left, right = _half_crossing(spectrum, top, -1), _half_crossing(spectrum, top, 1)
    if left is None or right is None or (right - left) * step > MAX_FWHM_EV:
        return None
    width = max(right - left, 1.0)
    far = round(top - 3 * width)
    if far < 0 or np.mean(spectrum[max(far - 2, 0) : far + 1]) > 0.1 * height:
        return None
    # Centroid over the upper part, which inelastic scattering does not touch.
    low, high = int(np.floor(left)), int(np.ceil(right))
    window = np.arange(low, high + 1)
    weight = np.clip(spectrum[window] - 0.3 * height, 0, None)
    position = float(np.sum(weight * window) / np.sum(weight))
    return ZeroLoss(
        float(energy_eV[0] + step * position), float(width * step), float(np.sum(spectrum[window]))
    )


def _half_crossing(spectrum: np.ndarray, top: int, direction: int) -> float | None:
    """Fractional channel where the flank first falls through half of the top."""
    half = spectrum[top] / 2
    flank = spectrum[top::direction]
    below = np.flatnonzero(flank < half)
    if below.size == 0:
        return None
    k = int(below[0])
    fraction = (flank[k - 1] - half) / (flank[k - 1] - flank[k])
    return top + direction * (k - 1 + fraction)


def shift_likelihood(
    energy_eV: np.ndarray, spectra: np.ndarray, template: np.ndarray, peak: ZeroLoss
) -> tuple[np.ndarray, np.ndarray]:
    """Poisson log-likelihood of every whole-channel shift of the zero loss.

    Parameters
    ----------
    energy_eV : (n,) array
    spectra : (p, n) array
    template : (n,) array
        Mean spectrum, zero loss at `peak`.
    peak : ZeroLoss

    Returns
    -------
    (k,) array
        Shifts in channels.
    (p, k) array
        Log-likelihood up to a constant of each pixel.
    """
    step = energy_eV[1] - energy_eV[0]
    half = max(int(np.ceil(1.5 * peak.fwhm_eV / step)), 2)
    reach = int(np.ceil(JITTER_EV / step))
    centre = round((peak.position_eV - energy_eV[0]) / step)
    low, high = max(centre - half - reach, 0), min(centre + half + reach + 1, energy_eV.size)
    offsets = np.arange(low, high)
    # The logarithm of the peak is the filter that maximum likelihood asks for; beyond the peak it is flat, so
    # that what stands there says nothing.
    inner = np.clip(np.arange(centre - half, centre + half + 1), 0, energy_eV.size - 1)
    shape = np.maximum(template[inner], 1e-4 * template.max())
    edge_level = max(min(shape[0], shape[-1]), 1e-3 * shape.max())
    profile = np.log(np.maximum(shape, edge_level) / edge_level)
    shifts = np.arange(-reach, reach + 1)
    grid = offsets[:, None] - centre - shifts[None, :]
    filters = np.interp(grid, np.arange(-half, half + 1), profile, left=0.0, right=0.0)
    return shifts, np.asarray(spectra[:, low:high], np.float64) @ filters


def shifts_from_likelihood(shifts: np.ndarray, likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sub-channel position of the highest likelihood, and its standard error, in channels.

    Pixels without counts come out as 0 with an infinite error.
    """
    best = np.clip(np.argmax(likelihood, axis=1), 1, shifts.size - 2)
    rows = np.arange(best.size)
    before, top, after = (likelihood[rows, best + k] for k in (-1, 0, 1))
    curvature = 2 * top - before - after
    good = curvature > 1e-9
    safe = np.where(good, curvature, 1.0)
    fine = np.clip(0.5 * (after - before) / safe, -0.5, 0.5)
    return np.where(good, shifts[best] + fine, 0.0), np.where(good, 1 / np.sqrt(safe), np.inf)


def shift_map(
    shifts: np.ndarray, likelihood: np.ndarray, shape: tuple[int, int], target: float = 0.35
) -> tuple[np.ndarray, np.ndarray, int]:
    """Shift of every pixel, pooled over just so many neighbours that it is known to `target` channels.

    Parameters
    ----------
    shifts : (k,) array
    likelihood : (rows * columns, k) array
    shape : (rows, columns)
    target : float
        Channels; the median standard error asked for.

    Returns
    -------
    (rows, columns) array, (rows, columns) array, int
        Shift and error in channels, and the side of the pool.
    """
    from scipy.ndimage import uniform_filter

    cube = likelihood.reshape(*shape, -1)
    for side in (1, 3, 5, 9, 15, 31):
        pooled = cube if side == 1 else uniform_filter(cube, (side, side, 0), mode="nearest") * side**2
        value, error = shifts_from_likelihood(shifts, pooled.reshape(likelihood.shape))
        if np.median(error) <= target or side >= max(shape):
            break
    return value.reshape(shape), error.reshape(shape), side


def roll_channels(spectra: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Move every spectrum down by whole channels; counts stay what they were, ends repeat the last value.

    Parameters
    ----------
    spectra : (p, n) array
    channels : (p,) int array
        How far each is too high.
    """
    result = spectra.copy()
    for shift in np.unique(channels):
        if shift == 0:
            continue
        index = np.clip(np.arange(spectra.shape[1]) + shift, 0, spectra.shape[1] - 1)
        rows = channels == shift
        result[rows] = spectra[rows][:, index]
    return result
