"""Spikes: cosmic rays and X-rays, a channel or three in one pixel, absent next to it."""

from __future__ import annotations

import numpy as np

THRESHOLD_SIGMA = 8.0
MAX_CHANNELS = 4


def find_spikes(spectra: np.ndarray, threshold: float = THRESHOLD_SIGMA) -> np.ndarray:
    """Channels that stand far above their own neighbours and above the same channel of neighbouring pixels.

    Parameters
    ----------
    spectra : (rows, columns, n) array
    threshold : float
        Standard deviations, estimated from counts and from the scatter along energy, whichever is larger.

    Returns
    -------
    (k, 3) int array
        Row, column and channel of each.
    """
    reach, margin = MAX_CHANNELS, MAX_CHANNELS + 3
    if np.shape(spectra)[2] < 4 * margin:
        return np.zeros((0, 3), np.int64)
    # Both ends are continued with what stands further in, so that the last channels have two sides as well.
    spectra = np.asarray(spectra, np.float32)
    before = spectra[..., 2 * margin - 1 : margin - 1 : -1]
    after = spectra[..., -margin - 1 : -2 * margin - 1 : -1]
    spectra = np.concatenate([before, spectra, after], axis=2)
    # A cheap sieve first: above both channels a spike's length away, by half the threshold.
    level = np.maximum(np.maximum(spectra[..., : -2 * reach], spectra[..., 2 * reach :]), 1.0)
    excess = spectra[..., reach:-reach] - level
    sieve = np.argwhere((excess > 0) & (excess * excess > (0.5 * threshold) ** 2 * level))
    sieve[:, 2] += reach
    inside = (sieve[:, 2] >= margin) & (sieve[:, 2] < spectra.shape[2] - margin)
    sieve = sieve[inside]
    # Most of what is left at few counts falls through here, all at once.
    row, column, channel = (sieve[:, k, None] for k in range(3))
    sides = [
        spectra[row, column, channel + np.arange(*ends)].mean(1, dtype=np.float64)
        for ends in ((1 - margin, 1 - reach), (reach, margin))
    ]
    level = np.maximum(np.maximum(*sides), 1.0)
    excess = spectra[tuple(sieve.T)] - level
    sieve = sieve[(excess > 0) & (excess**2 > 0.999 * threshold**2 * level)]
    keep = [spot for spot in sieve if _stands_out(spectra, spot, threshold)]
    return np.array(keep, dtype=np.int64).reshape(-1, 3) - np.array([0, 0, margin])


def _stands_out(spectra: np.ndarray, spot: np.ndarray, threshold: float) -> bool:
    """Is a channel above the level on both its sides, by counting noise and by the scatter around it?"""
    row, column, channel = spot
    spectrum = spectra[row, column]
    inner, outer = MAX_CHANNELS, MAX_CHANNELS + 3
    if channel < outer or channel >= spectrum.size - outer:
        return False
    left = spectrum[channel - outer + 1 : channel - inner + 1].mean()
    right = spectrum[channel + inner : channel + outer].mean()
    level = max(float(left), float(right), 1.0)
    around = spectrum[max(channel - 40, 0) : channel + 41]
    scatter = float(np.median(np.abs(np.diff(around)))) / 0.954
    sigma = float(np.sqrt(level + scatter**2))
    return spectrum[channel] - level > threshold * sigma and _alone(spectra, spot, sigma, threshold)


def _alone(spectra: np.ndarray, spot: np.ndarray, sigma: float, threshold: float) -> bool:
    """Is the excess missing in the pixels around; without neighbours, is it narrower than any line."""
    row, column, channel = spot
    rows, columns, _ = spectra.shape
    value, error = spectra[row, column, channel], sigma
    near = [
        spectra[r, c]
        for r in range(max(row - 1, 0), min(row + 2, rows))
        for c in range(max(column - 1, 0), min(column + 2, columns))
        if (r, c) != (row, column)
    ]
    around = slice(max(channel - 25, 0), channel + 26)
    local = np.delete(spectra[row, column, around], _self_and_sides(channel, around.start))
    level = float(np.median(local))
    if not near:
        # A line is a channel or two wide at its half: a spike's neighbours hold next to nothing of it.
        sides = spectra[row, column, [channel - 2, channel - 1, channel + 1, channel + 2]]
        return bool(sides.max() - level < 0.4 * (value - level))
    # Neighbours scaled to this pixel's level nearby: an edge stands in them too, a spike does not.
    scaled = []
    for other in near:
        base = float(np.median(np.delete(other[around], _self_and_sides(channel, around.start))))
        window = float(np.max(other[channel - 1 : channel + 2]))
        ratio = level / base if base > 0 and level > 0 else 1.0
        scaled.append(window * min(max(ratio, 0.2), 5.0))
    return bool(value - np.max(scaled) > 0.6 * threshold * error)


def _self_and_sides(channel: int, start: int) -> slice:
    return slice(max(channel - start - MAX_CHANNELS, 0), channel - start + MAX_CHANNELS + 1)


def replace_spikes(spectra: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Spectra with the channels of each spike replaced by what its neighbours have there.

    Parameters
    ----------
    spectra : (rows, columns, n) array
    spikes : (k, 3) int array
        From `find_spikes`; a spike's shoulders (a point spread) are replaced with it.

    Returns
    -------
    (rows, columns, n) array
        Same type. The neighbouring pixels' mean, scaled to this pixel's level, where there are any; else
        the median of the channels around.
    """
    result = spectra.copy()
    rows, columns, size = spectra.shape
    for row, column, channel in spikes:
        inside = np.arange(max(channel - 1, 0), min(channel + 2, size))
        below, above = (
            np.arange(max(channel - 8, 0), channel - 2),
            np.arange(channel + 3, min(channel + 9, size)),
        )
        around = np.concatenate([below, above])
        own = float(np.median(spectra[row, column, around]))
        box = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        expected = np.full(inside.size, own)
        if rows * columns > 1:
            block = spectra[box].reshape(-1, size).astype(np.float64)
            rest = (block.sum(0) - spectra[row, column]) / (block.shape[0] - 1)
            base = float(rest[around].mean())
            mean = float(spectra[row, column, around].mean())
            expected = rest[inside] * (mean / base if base > 0 else 1.0)
        if np.issubdtype(spectra.dtype, np.integer):
            expected = np.rint(expected)
        high = spectra[row, column, inside] > expected
        result[row, column, inside[high]] = expected[high]
    return result
