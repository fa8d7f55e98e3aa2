"""From expected electrons to what stands in the file: counting noise, camera noise, cosmic spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d


@dataclass(frozen=True)
class Detector:
    """A counting detector (`counting`), or a camera with gain, read noise and dark level in counts."""

    counting: bool = True
    gain: float = 1.0
    read_noise: float = 0.0
    dark: float = 0.0
    point_spread: float = 0.0  # channels, 1 sigma, along the energy
    spike_rate: float = 0.0  # spikes a spectrum
    coincidence_loss: float = 0.0  # share of the electrons lost where 1000 arrive in a channel


def record(expected: np.ndarray, detector: Detector, rng: np.random.Generator) -> np.ndarray:
    """Counts that a detector gives for expected electrons.

    Parameters
    ----------
    expected : (..., n) array
        Mean electrons in each channel or pixel; not negative.

    Returns
    -------
    (..., n) array
        uint16 (uint32 where that overflows) for a counting detector without dark level, float32 else.
    """
    expected = np.maximum(expected, 0)
    if detector.point_spread:
        expected = gaussian_filter1d(expected, detector.point_spread, axis=-1)
    if detector.coincidence_loss:
        expected = expected / (1 + detector.coincidence_loss * expected / 1000)
    counts = rng.poisson(expected)
    if detector.counting and not detector.dark:
        return counts.astype(np.uint16 if counts.size == 0 or counts.max() < 2**16 else np.uint32)
    noise = detector.read_noise * rng.standard_normal(counts.shape) if detector.read_noise else 0.0
    return (detector.gain * counts + detector.dark + noise).astype(np.float32)


def add_spikes(counts: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Cosmic rays: `rate` spikes a spectrum, one or two channels wide, 20 to 100 times the local counts.

    Parameters
    ----------
    counts : (rows, columns, channels) array
        Changed in place and returned.
    """
    number = rng.poisson(rate * counts.shape[0] * counts.shape[1])
    ceiling = np.iinfo(counts.dtype).max if counts.dtype.kind == "u" else np.finfo(counts.dtype).max
    for _ in range(number):
        row, column, channel = (int(rng.integers(side)) for side in counts.shape)
        height = rng.uniform(20, 100) * max(float(counts[row, column, channel]), 5.0)
        for offset, share in ((0, 1.0), (1, float(rng.choice([0.0, 0.4])))):
            here = (row, column, min(channel + offset, counts.shape[2] - 1))
            counts[here] = min(float(counts[here]) + share * height, ceiling)
    return counts
