"""Whether a map has an inside and an outside, and the level between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: A map shows a particle if inside and outside differ by this many standard deviations of the smoothed map.
LEAST_CONTRAST = 6.0
#: Widest smoothing for the contour, in pixels; the profile finds the edge within it segment by segment.
WIDEST_SMOOTHING = 4.0


def smooth_finite(values: FloatArray, sigma: float) -> FloatArray:
    """Gaussian average over finite pixels."""
    from scipy.ndimage import gaussian_filter

    good = np.isfinite(values)
    weight = gaussian_filter(good.astype(float), sigma, mode="nearest")
    total = gaussian_filter(np.where(good, values, 0.0), sigma, mode="nearest")
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), np.nan)


def own_variance(values: FloatArray) -> FloatArray:
    """Variance of a map from its pixel-to-pixel differences, where none is known."""
    difference = np.diff(values, axis=1) if values.shape[1] > 1 else np.diff(values, axis=0)
    difference = difference[np.isfinite(difference)]
    if len(difference) == 0:
        return np.full(values.shape, np.nan)
    spread = 1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2)
    return np.full(values.shape, max(float(spread) ** 2, 1e-30))


def split_level(values: FloatArray, variance: FloatArray) -> tuple[float, float] | None:
    """Level half way between the inside (just below the surface) and the outside, and the smoothing for it.

    None where the two do not differ beyond the noise, or one of them is not in view.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.filters import threshold_otsu

    if not np.any(np.isfinite(values) & np.isfinite(variance)):
        return None
    noise = float(np.sqrt(np.nanmedian(variance)))
    sigma = 1.0
    for _ in range(2):
        smooth = smooth_finite(values, sigma)
        good = np.isfinite(smooth)
        if np.count_nonzero(good) < 8 or np.ptp(smooth[good]) == 0:
            return None
        inside = np.where(good, smooth, -np.inf) > threshold_otsu(smooth[good])
        if not inside.any() or inside.all():
            return None
        depth = distance_transform_edt(inside) - distance_transform_edt(~inside)
        away = good & (depth < min(-3.0, 0.5 * depth.min()))
        away = away if away.any() else good & (depth <= 0.5 * depth.min())
        low = float(np.median(smooth[away])) if away.any() else float(smooth[good].min())
        # Just below the surface: a sphere goes on to rise, and half its height is no edge.
        band = good & (depth > 2) & (depth <= max(5.0, 0.3 * depth.max()))
        band = band if band.any() else good & (depth > 0.5 * depth.max())
        high = float(np.median(smooth[band])) if band.any() else float(smooth[good].max())
        contrast = high - low
        if contrast <= 0:
            return None
        # Enough smoothing that noise alone does not move the contour by more than a fraction of a pixel.
        sigma = float(np.clip(3.5 * noise / contrast, 0.7, WIDEST_SMOOTHING))
    left = noise / (2 * np.sqrt(np.pi) * sigma)
    if contrast < LEAST_CONTRAST * left:
        return None
    return low + 0.5 * contrast, sigma
