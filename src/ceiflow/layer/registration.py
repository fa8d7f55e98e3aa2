"""Where a dark-field image lies relative to the spectrum image of the same region, and how far it drifts.

The image is compared with the maps of the spectrum image: at the right place it is a sum of them. A straight
edge says nothing about a shift along itself, so the shift has a covariance and not one error, and it is used
only where it is significant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Both are smoothed by this before they are compared, in pixels of the spectrum image.
SMOOTH_PIXELS = 1.0
#: A map with fewer rows or columns cannot be placed in an image.
LEAST_WIDTH = 8
#: A shift is applied where no shift at all would be this unlikely (chi-square with two degrees of freedom),
#: and where it is more than a twentieth of a pixel.
LEAST_CHI2, LEAST_PIXELS = 13.8, 0.05
#: Drift within the scan is fitted if it is this many standard errors.
DRIFT_SIGMA = 4.0
#: Image and maps have nothing in common below this share of explained variance.
LEAST_QUALITY = 0.3
#: A search by correlation is believed up to this distance between neighbouring frames, relative to the map.
LARGEST_SHIFT = 0.25


@dataclass(frozen=True)
class Registration:
    """Place of an image relative to a spectrum image.

    Parameters
    ----------
    shift_pixels, covariance : (2,), (2, 2) arrays
        Rows and columns of the spectrum image by which the image's content is displaced at mid scan, and
        the covariance.
    drift_pixels, drift_std_pixels : (2,) arrays
        Change of the shift from the first row of the scan to the last.
    quality : float
        Share of the image's variance that the maps explain at that place.
    applied : bool
        Significant, and used in `image`.
    image : (rows, columns) array
        The image in the frame of the spectrum image; NaN where it does not reach.
    reason : str
        Why it was not applied; empty if it was.
    """

    shift_pixels: FloatArray
    covariance: FloatArray
    drift_pixels: FloatArray
    drift_std_pixels: FloatArray
    quality: float
    applied: bool
    image: FloatArray
    reason: str = ""

    def words(self, pixel_nm: float | None) -> str:
        """Shift and its error in a few words."""
        scale, unit = (1.0, "pixels") if pixel_nm is None else (pixel_nm, "nm")
        errors = np.sqrt(np.diag(self.covariance))
        parts = [
            f"{value * scale:.2g} +- {error * scale:.1g} {unit} along {axis}"
            for value, error, axis in zip(self.shift_pixels, errors, ("rows", "columns"), strict=True)
        ]
        return ", ".join(parts)

    def entry(self, pixel_nm: float | None) -> dict:
        """For summary.json."""
        scale = 1.0 if pixel_nm is None else pixel_nm
        unit = "pixels" if pixel_nm is None else "nm"
        return {
            f"shift_{unit}": self.shift_pixels * scale,
            f"shift_se_{unit}": np.sqrt(np.diag(self.covariance)) * scale,
            f"drift_{unit}": self.drift_pixels * scale,
            f"drift_se_{unit}": self.drift_std_pixels * scale,
            "quality": self.quality,
            "applied": self.applied,
            "reason": self.reason,
        }


def register(
    maps: list[FloatArray], image: FloatArray, pixel_nm: float | None, image_pixel_nm: float | None
) -> Registration | str:
    """Place `image` relative to `maps`.

    Parameters
    ----------
    maps : list of (rows, columns) arrays
        Maps of the spectrum image whose sum, with weights to be found, the image should be.
    image : (rows, columns) array
        Recorded with the scan, or a survey of a wider view with another pixel.
    pixel_nm, image_pixel_nm : float or None
        Pixels of both; where one is missing they have to be of one shape.

    Returns
    -------
    Registration or str
        The reason, where the two cannot be compared.
    """
    from scipy.ndimage import gaussian_filter

    shape = maps[0].shape
    if min(shape) < LEAST_WIDTH:
        return f"a map of {shape[0]} x {shape[1]} pixels is too narrow to be placed in an image"
    scale = _scale(shape, image.shape, pixel_nm, image_pixel_nm)
    if scale is None:
        return "pixel size missing: image and spectrum image cannot be compared"
    clean = [gaussian_filter(np.nan_to_num(item), SMOOTH_PIXELS, mode="nearest") for item in maps]
    soft = gaussian_filter(np.asarray(image, float), SMOOTH_PIXELS / scale, mode="nearest")
    begin = _begin(clean, soft, shape, scale)
    if begin is None:
        return "the image shows less than the spectrum image"
    # One map after the other and at coarser scale first would be slower and no better: the start is within
    # a pixel.
    found = _refined(clean, soft, scale, begin, drift=False)
    free = _refined(clean, soft, scale, np.r_[found[0], 0.0, 0.0], drift=True)
    drift, drift_std = free[0][2:], np.sqrt(np.diag(free[1])[2:])
    drifted = bool(np.any(np.abs(drift) > DRIFT_SIGMA * drift_std))
    chosen = free if drifted else found
    shift, covariance, quality = (
        chosen[0][:2] - _origin(shape, image.shape, scale),
        chosen[1][:2, :2],
        chosen[2],
    )
    reason = _why_not(shift, covariance, quality, drifted, same=scale == 1.0 and image.shape == shape)
    parameters = np.zeros(4)
    parameters[:2] = _origin(shape, image.shape, scale)
    if not reason:
        parameters[: len(chosen[0])] = chosen[0]
    placed = _sampled(
        gaussian_filter(np.asarray(image, float), 0.4 / scale if scale < 1 else 0.0), parameters, scale, shape
    )
    return Registration(shift, covariance, drift, drift_std, quality, not reason, placed, reason)


def _why_not(shift, covariance, quality, drifted, same) -> str:
    if quality < LEAST_QUALITY:
        return f"image and maps have {100 * quality:.0f} % of their variance in common: not placed"
    if not same:
        return ""
    chi2 = float(shift @ np.linalg.solve(covariance, shift))
    if not drifted and (chi2 < LEAST_CHI2 or np.hypot(*shift) < LEAST_PIXELS):
        return "shift not significant"
    return ""


def _scale(shape, image_shape, pixel_nm, image_pixel_nm) -> float | None:
    """Pixel of the image in pixels of the spectrum image."""
    if pixel_nm and image_pixel_nm:
        return image_pixel_nm / pixel_nm
    return 1.0 if shape == image_shape else None


def _origin(shape, image_shape, scale) -> FloatArray:
    """Row and column, in pixels of the spectrum image, of the image's corner if both share their centre."""
    middle = (np.array(shape) - 1) / 2
    return (np.array(image_shape) - 1) / 2 * scale - middle


def _sampled(image, parameters, scale, shape, derivative=None):
    """The image, or its derivative along an axis, where the pixels of the spectrum image lie in it."""
    from scipy.ndimage import map_coordinates

    rows, columns = np.indices(shape, dtype=float)
    along = (rows / max(shape[0] - 1, 1) - 0.5) if len(parameters) > 2 else 0.0
    drift = parameters[2:] if len(parameters) > 2 else (0.0, 0.0)
    where = [
        (base + parameters[axis] + along * drift[axis]) / scale for axis, base in enumerate((rows, columns))
    ]
    values = image if derivative is None else derivative
    return map_coordinates(values, where, order=3 if derivative is None else 1, mode="constant", cval=np.nan)


def _begin(maps, image, shape, scale) -> FloatArray | None:
    """Shift to the nearest pixel: phase correlation of equal frames, else a search through the wider one."""
    from scipy.ndimage import zoom
    from skimage.feature import match_template
    from skimage.registration import phase_cross_correlation

    coarse = image if scale == 1.0 else zoom(image, scale, order=1, grid_mode=True, mode="nearest")
    origin = _origin(shape, image.shape, scale)
    if coarse.shape[0] < shape[0] or coarse.shape[1] < shape[1]:
        return None
    candidates = [origin]
    if coarse.shape == shape:
        for item in maps:
            moved, _, _ = phase_cross_correlation(
                _standard(coarse), _standard(item), upsample_factor=4, normalization=None
            )
            if np.all(np.abs(moved) < LARGEST_SHIFT * np.array(shape)):
                candidates.append(origin + moved)
    else:
        for item in maps:
            scores = match_template(coarse, item)
            candidates += [np.array(np.unravel_index(np.argmax(scores), scores.shape), dtype=float)]
            candidates += [np.array(np.unravel_index(np.argmin(scores), scores.shape), dtype=float)]
    return max(candidates, key=lambda at: _explained(maps, _sampled(image, at, scale, shape))[0])


def _standard(values):
    return (values - values.mean()) / max(values.std(), 1e-30)


def _explained(maps, seen):
    """Share of the variance that a sum of maps explains, residual, and what projects the maps out."""
    good = np.isfinite(seen)
    if good.sum() < 0.5 * seen.size:
        return -1.0, None, None, good
    design = np.column_stack([np.ones(good.sum()), *(item[good] for item in maps)])
    design = design / np.maximum(np.linalg.norm(design, axis=0), 1e-30)
    base, _ = np.linalg.qr(design)
    y = seen[good]
    residual = y - base @ (base.T @ y)
    total = float(np.sum((y - y.mean()) ** 2))
    return 1 - float(residual @ residual) / max(total, 1e-300), residual, base, good


def _refined(maps, image, scale, begin, drift):
    """Gauss-Newton on shift (and drift): parameters, covariance, share of variance explained."""
    shape = maps[0].shape
    slopes = [np.gradient(image, axis=axis) / scale for axis in (0, 1)]
    parameters = np.array(begin, dtype=float)
    along = np.indices(shape)[0] / max(shape[0] - 1, 1) - 0.5
    share, residual, base, good = _explained(maps, _sampled(image, parameters, scale, shape))
    covariance = np.eye(len(parameters))
    for _ in range(30):
        if residual is None:
            break
        parts = [_sampled(image, parameters, scale, shape, slope) for slope in slopes]
        columns = [*parts, *(part * along for part in parts)] if drift else parts
        jacobian = np.column_stack([np.nan_to_num(part[good]) for part in columns])
        jacobian = jacobian - base @ (base.T @ jacobian)
        normal = jacobian.T @ jacobian
        normal += 1e-9 * np.trace(normal) * np.eye(len(normal)) + 1e-300 * np.eye(len(normal))
        step = -np.linalg.solve(normal, jacobian.T @ residual)
        step *= min(1.0, 1.0 / max(np.abs(step).max(), 1e-12))
        # Smoothing makes neighbours go together: so many pixels hold one independent residual.
        together = 4 * np.pi * SMOOTH_PIXELS**2
        variance = float(residual @ residual) / max(
            len(residual) / together - len(normal) - base.shape[1], 1.0
        )
        covariance = np.linalg.inv(normal) * variance
        trial = parameters + step
        now = _explained(maps, _sampled(image, trial, scale, shape))
        if not now[0] > share:
            break
        parameters, (share, residual, base, good) = trial, now
        if np.abs(step).max() < 1e-4:
            break
    return parameters, covariance, float(share)
