"""The zero loss: is it there, where does it stand in every pixel, and how well is that known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_FWHM_EV = 8.0
JITTER_EV = 5.0
# Counts in the zero loss of all pixels that draw its shape well enough for a filter.
TEMPLATE_COUNTS = 3000.0


@dataclass(frozen=True)
class ZeroLoss:
    """The zero-loss peak of a summed spectrum.

    Parameters
    ----------
    position_eV, fwhm_eV : float
        On the file's axis.
    counts : float
        Within one full width of the top.
    pedestal : float
        Counts a channel that the whole spectrum stands on.
    """

    position_eV: float
    fwhm_eV: float
    counts: float
    pedestal: float = 0.0


def find_zero_loss(
    energy_eV: np.ndarray, spectrum: np.ndarray, max_offset_eV: float = 25.0
) -> ZeroLoss | None:
    """The zero loss of a spectrum, or None where the range holds none; `look_for_zero_loss` says why."""
    return look_for_zero_loss(energy_eV, spectrum, max_offset_eV)[0]


def look_for_zero_loss(
    energy_eV: np.ndarray, spectrum: np.ndarray, max_offset_eV: float = 25.0
) -> tuple[ZeroLoss | None, str]:
    """The zero loss of a spectrum, and why it was refused.

    It has to be the highest feature, narrow, within `max_offset_eV` of 0, and fall off on both sides: a range
    that starts above it shows a plasmon or an edge of a decaying background, and is refused. A level that all
    channels stand on (the dark signal of a camera) is taken off first.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
    max_offset_eV : float
        How wrong the axis may be.

    Returns
    -------
    ZeroLoss or None
    str
        The reason where there is none, else empty.
    """
    near = np.flatnonzero(np.abs(energy_eV) <= max_offset_eV)
    if near.size < 5:
        first, last = float(energy_eV[0]), float(energy_eV[-1])
        return None, f"the range, {first:.4g} to {last:.4g} eV, does not come near 0 eV"
    if not np.ptp(spectrum) > 0:
        return None, "all channels hold the same"
    top = near[int(np.argmax(spectrum[near]))]
    pedestal = _pedestal(spectrum, top)
    spectrum = np.asarray(spectrum, np.float64) - pedestal
    step = energy_eV[1] - energy_eV[0]
    height = spectrum[top]
    if not height > 0:
        return None, f"no counts within {max_offset_eV:g} eV of 0 eV"
    if height < spectrum.max():
        return None, f"the highest channel stands at {energy_eV[int(np.argmax(spectrum))]:.4g} eV"
    if top < 3 or top > spectrum.size - 4:
        return None, "the highest channel is at the end of the range"
    left, right = _half_crossing(spectrum, top, -1), _half_crossing(spectrum, top, 1)
    if left is None or right is None:
        return None, "the highest peak is cut off by the end of the range"
    if (right - left) * step > MAX_FWHM_EV:
        return None, f"the highest peak is {(right - left) * step:.3g} eV wide"
    width = max(right - left, 1.0)
    far = round(top - 3 * width)
    if far < 0:
        return None, "too few channels below the highest peak to tell it from a cut-off background"
    if np.mean(spectrum[max(far - 2, 0) : far + 1]) > 0.1 * height:
        return None, "the signal does not fall off below the highest peak"
    # Centroid over the upper part, which inelastic scattering does not touch.
    low, high = int(np.floor(left)), int(np.ceil(right))
    window = np.arange(low, high + 1)
    weight = np.clip(spectrum[window] - 0.3 * height, 0, None)
    position = float(np.sum(weight * window) / np.sum(weight))
    counts = float(np.sum(spectrum[window]))
    place = float(energy_eV[0] + step * position)
    return ZeroLoss(place, float(width * step), counts, float(pedestal)), ""


def _pedestal(spectrum: np.ndarray, top: int) -> float:
    """Level that every channel stands on: the lower of what lies below the peak and at the other end."""
    tenth = max(spectrum.size // 10, 3)
    below = spectrum[: max(top - tenth // 2, 0)]
    if below.size < tenth:
        return 0.0
    ends = [float(np.quantile(below, 0.25)), float(np.median(spectrum[-tenth:]))]
    return max(min(ends), 0.0)


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
    """Poisson log-likelihood of shifts of the zero loss in steps of a fraction of a channel.

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
    profile = _log_profile(energy_eV, template, peak, np.arange(centre - half, centre + half + 1))
    finer = int(np.clip(round(4.0 * step / peak.fwhm_eV), 1, 8))
    shifts = np.arange(-reach * finer, reach * finer + 1) / finer
    grid = offsets[:, None] - centre - shifts[None, :]
    from scipy.interpolate import CubicSpline

    inner = np.abs(grid) <= half
    filters = np.where(
        inner, CubicSpline(np.arange(-half, half + 1), profile)(np.where(inner, grid, half)), 0
    )
    likelihood = np.asarray(spectra[:, low:high], np.float64) @ np.maximum(filters, 0.0)
    return shifts, likelihood.astype(np.float32)


def _log_profile(
    energy_eV: np.ndarray, template: np.ndarray, peak: ZeroLoss, inner: np.ndarray
) -> np.ndarray:
    """Logarithm of the zero loss on some channels, 0 where it ends.

    It is the filter that maximum likelihood asks for; beyond the peak it is flat, so that what stands there
    says nothing. Where all counts together do not draw the peak, a Gaussian of its width stands for it: noise
    in a template would be found again in the spectra that it was made of.
    """
    shape = np.asarray(template, np.float64)[np.clip(inner, 0, energy_eV.size - 1)] - peak.pedestal
    if peak.counts < TEMPLATE_COUNTS:
        place = (energy_eV[0] + (energy_eV[1] - energy_eV[0]) * inner - peak.position_eV) / peak.fwhm_eV
        shape = shape.max() * np.maximum(np.exp(-4 * np.log(2) * place**2), 1e-3)
    # A dark level in every spectrum makes what stands there less telling.
    shape = np.maximum(shape, 1e-4 * shape.max()) + peak.pedestal
    edge_level = max(min(shape[0], shape[-1]), 1e-3 * shape.max())
    return np.log(np.maximum(shape, edge_level) / edge_level)


def shifts_from_likelihood(shifts: np.ndarray, likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of the highest likelihood between the steps, and its standard error, in channels.

    Pixels without counts come out as 0 with an infinite error.
    """
    step = shifts[1] - shifts[0]
    # Two steps away, so that the curvature is that of the peak and not of its sampling.
    wide = max(round(0.5 / step), 1)
    best = np.clip(np.argmax(likelihood, axis=1), wide, shifts.size - 1 - wide)
    rows = np.arange(best.size)
    before, top, after = (likelihood[rows, best + k].astype(np.float64) for k in (-wide, 0, wide))
    curvature = (2 * top - before - after) / (wide * step) ** 2
    good = curvature > 1e-9
    safe = np.where(good, curvature, 1.0)
    fine = np.clip(0.5 * (after - before) / (wide * step) / safe, -wide * step, wide * step)
    return np.where(good, shifts[best] + fine, 0.0), np.where(good, 1 / np.sqrt(safe), np.inf)


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
