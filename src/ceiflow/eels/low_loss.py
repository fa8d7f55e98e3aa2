"""The low loss: thickness from it, and the kernel that spreads every edge by plural scattering."""

from __future__ import annotations

import numpy as np

SPLIT_RANGE_EV = (2.0, 8.0)
# A level on the gain side that changes by less than this is no tail.
FLAT = 1.2


def split_energy(energy_eV: np.ndarray, spectrum: np.ndarray, fwhm_eV: float) -> float:
    """Energy between zero loss and inelastic scattering: the minimum of the summed spectrum there.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
        Zero loss at 0.
    fwhm_eV : float
        Width of the zero loss.
    """
    low = max(SPLIT_RANGE_EV[0], 1.5 * fwhm_eV)
    high = max(SPLIT_RANGE_EV[1], low + 2.0)
    inside = np.flatnonzero((energy_eV >= low) & (energy_eV <= high))
    if inside.size < 3:
        return low
    width = max(round(0.5 / (energy_eV[1] - energy_eV[0])), 1)
    smooth = np.convolve(spectrum, np.ones(width) / width, mode="same")[inside]
    return float(energy_eV[inside[int(np.argmin(smooth))]])


def dark_level(energy_eV: np.ndarray, spectrum: np.ndarray, fwhm_eV: float, configured: float) -> float:
    """Counts a channel that stand in a low loss without any electrons.

    A level that is as high far below the zero loss as nearer to it is dark signal; one that falls off is the
    zero loss's own tail, and then the configured level stands, as far as there is room for it at both ends.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
        Zero loss at 0; the mean of all pixels.
    fwhm_eV : float
        Width of the zero loss.
    configured : float
    """
    gain_side = spectrum[energy_eV < -max(8 * fwhm_eV, 10.0)]
    if gain_side.size < 6:
        return max(configured, 0.0)
    far, near = (float(np.median(half)) for half in np.array_split(gain_side, 2))
    lowest = max(min(far, near, float(np.median(spectrum[-max(spectrum.size // 10, 3) :]))), 0.0)
    return lowest if near < FLAT * far else min(max(configured, 0.0), lowest)


def zero_loss_and_total(
    energy_eV: np.ndarray, spectra: np.ndarray, split_eV: float
) -> tuple[np.ndarray, np.ndarray]:
    """Zero-loss and total counts of low-loss spectra.

    The tail of the zero loss beyond `split_eV` is taken from its mirror image on the gain side; inelastic
    scattering below it as a line through the origin, the wing of a plasmon.

    Parameters
    ----------
    energy_eV : (n,) array
        Zero loss at 0.
    spectra : (..., n) array
        Counts, dark level removed.
    split_eV : float

    Returns
    -------
    (...) array, (...) array
    """
    step = energy_eV[1] - energy_eV[0]
    span = max(1.5, 3 * step)
    above = (energy_eV >= split_eV) & (energy_eV < split_eV + span)
    mirror = (energy_eV <= -split_eV) & (energy_eV > -split_eV - span)
    level = above / max(above.sum(), 1) - mirror / max(mirror.sum(), 1)
    windows = np.stack([np.ones(energy_eV.size), energy_eV < split_eV, energy_eV <= -split_eV, level], axis=1)
    spectra = np.asarray(spectra)
    # All four sums by one product, in the precision of the spectra.
    sums = (spectra @ windows.astype(spectra.dtype, copy=False)).astype(np.float64)
    total, core, tail, level = np.moveaxis(sums, -1, 0)
    tail = np.clip(tail, 0, None)
    slope = np.clip(level, 0, None) / (split_eV + span / 2)
    wing = np.clip(0.5 * slope * split_eV**2 / step, 0, 0.2 * np.clip(core, 0, None))
    return np.clip(core + tail - wing, 0, total), total


def missing_tail(energy_eV: np.ndarray, spectrum: np.ndarray, split_eV: float) -> float:
    """Inelastic counts beyond the end of the range, as a share of those within, by a power law.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
        Zero loss at 0, dark level removed; the sum of many pixels.
    split_eV : float
    """
    last = energy_eV[-1]
    inside = energy_eV > 0.6 * last
    inelastic = float(spectrum[energy_eV > split_eV].sum())
    if last < 40.0 or inside.sum() < 10 or not inelastic > 0:
        return 0.0
    halves = np.array_split(np.flatnonzero(inside), 2)
    levels = [max(float(spectrum[half].mean()), 0.0) for half in halves]
    places = [float(energy_eV[half].mean()) for half in halves]
    if min(levels) <= 0:
        return 0.0
    exponent = np.clip(np.log(levels[0] / levels[1]) / np.log(places[1] / places[0]), 2.0, 6.0)
    end = levels[1] * (last / places[1]) ** -exponent
    beyond = end * last / (exponent - 1) / (energy_eV[1] - energy_eV[0])
    return float(min(beyond / inelastic, 0.2))


def thickness_over_mfp(
    zero_loss: np.ndarray, total: np.ndarray, gain: float = 1.0, missing: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """t/lambda by the log-ratio and its standard error; NaN where there are no counts.

    `missing` is the share of inelastic counts that lie beyond the recorded range (`missing_tail`).

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope (2011), section 5.1 (log-ratio).
    """
    zero_loss, total = np.asarray(zero_loss, np.float64), np.asarray(total, np.float64)
    good = (zero_loss > 0) & (total > 0)
    total = total + missing * np.clip(total - zero_loss, 0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(good, np.log(total / zero_loss), np.nan)
        variance = gain * np.clip(total - zero_loss, 0.5 * gain, None) / (total * zero_loss)
    return value, np.where(good, np.sqrt(np.where(good, variance, 0)), np.nan)


def kernel(energy_eV: np.ndarray, spectrum: np.ndarray, step_eV: float) -> tuple[np.ndarray, int]:
    """A low loss as a convolution kernel of unit area on channels of `step_eV`.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
        Zero loss at 0.
    step_eV : float
        Channel of the core loss.

    Returns
    -------
    (k,) array, int
        Weights, and the index of zero energy within them.
    """
    step = energy_eV[1] - energy_eV[0]
    edges = np.concatenate([energy_eV - step / 2, [energy_eV[-1] + step / 2]])
    cumulative = np.concatenate([[0.0], np.cumsum(spectrum)])
    before = int(np.floor(min(-edges[0], 20.0) / step_eV))
    before = max(before, 0)
    after = max(int(np.floor(edges[-1] / step_eV)) - 1, 1)
    targets = (np.arange(-before, after + 2) - 0.5) * step_eV
    weights = np.diff(np.interp(targets, edges, cumulative))
    total = weights.sum()
    if not total > 0:
        return np.ones(1), 0
    return weights / total, before
