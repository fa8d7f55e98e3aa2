"""Thickness of segments whose outer edge is known, from the likelihood itself.

Where few counts tell where the particle begins, its likelihood has several peaks along the normal, and
neither the best one nor its curvature says how far off it may be. With the outer edge given, one parameter
is left that the model is not linear in, and its likelihood can be looked at all over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.batch import THICKNESS, X_IN, Batch, chi2_of
from ceiflow.layer.starts import start

FloatArray = NDArray[np.float64]

#: Step of the thickness in blurs, and the places of the outer edge that are tried, in standard deviations.
STEP_BLURS, OUTER = 0.8, (-1.2, 0.0, 1.2)


def likelihood(
    kind: str,
    batch: Batch,
    blur: float,
    amplitude: FloatArray,
    limits: tuple[float, float],
    places: tuple[float, ...] = OUTER,
) -> tuple[FloatArray, FloatArray]:
    """chi-square of every thickness, the outer edge averaged over what is known of it.

    Parameters
    ----------
    kind : {"planar", "shell"}
    batch : Batch
        With `outer`.
    blur : float
    amplitude : (S,) array
    limits : (low, high)
        Of the thickness.
    places : tuple of float
        Of the outer edge, in its standard deviations.

    Returns
    -------
    thickness : (G,) array
    chi2 : (G, K) array
    """
    mean, sd = batch.outer
    n = len(batch.x)
    t = np.arange(limits[0], limits[1] + STEP_BLURS * blur, STEP_BLURS * blur)
    amplitudes = np.repeat(np.asarray(amplitude, dtype=float)[:, None], n, axis=1)
    chi2 = np.empty((len(t), len(places), n))
    for i, thickness in enumerate(t):
        for j, off in enumerate(places):
            local = start(n, batch.particle, mean + off * sd - thickness, thickness)
            chi2[i, j] = chi2_of(kind, batch, local, blur, amplitudes) + off**2
    least = chi2.min(axis=1)
    return t, least - 2 * np.log(np.mean(np.exp(-0.5 * (chi2 - least[:, None])), axis=1))


def best_start(kind: str, batch: Batch, blur: float, amplitude: FloatArray, limits: tuple[float, float]):
    """Local parameters (K, L) of the most likely thickness."""
    t, chi2 = likelihood(kind, batch, blur, amplitude, limits, (0.0,))
    best = t[np.argmin(chi2, axis=0)]
    local = start(len(batch.x), batch.particle)
    local[:, THICKNESS], local[:, X_IN] = best, batch.outer[0] - best
    return local


def mean_and_std(
    kind: str,
    batch: Batch,
    blur: float,
    amplitude: FloatArray,
    limits: tuple[float, float],
    inflation: float = 1.0,
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (K,) of each segment's thickness, all thicknesses alike beforehand."""
    t, chi2 = likelihood(kind, batch, blur, amplitude, limits)
    weight = np.exp(-0.5 * (chi2 - chi2.min(axis=0)) / inflation**2)
    weight /= weight.sum(axis=0)
    mean = t @ weight
    step = t[1] - t[0]
    return mean, np.sqrt(np.sum(weight * (t[:, None] - mean) ** 2, axis=0) + step**2 / 12)
