"""The field that a contour is drawn in, and how an image becomes fit for one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

# Texture is looked at in samples of about this width, and fields are drawn in samples up to the second one:
# fine against every blur used here (0.3 nm and more), coarse against pixels.
TEXTURE_STEP_NM, FIELD_STEP_NM = 0.12, 0.2


@dataclass
class Field:
    """A scalar field over an image whose contour at `level` is an edge.

    Attributes
    ----------
    values : (r, c) float32 array
        The field. Sample (i, j) covers a block of `bin` x `bin` image pixels.
    step_nm : float
        Width of one sample: `bin` times the pixel size.
    level : float
        The value whose contour is the edge; the field is higher inside.
    width_nm : float
        Blur of a sharp edge in the field, one standard deviation.
    null_sigma : float
        Standard deviation of the field where there is nothing (vacuum, or no lattice).
    notes : dict
        What was found and assumed, in plain values that fit into JSON.
    bin : int
        Image pixels a sample, along each axis.
    valid : (r, c) bool array
        False near the frame, where the field knows only part of its window.
    maps : dict of (r, c) arrays
        Further maps on the same grid.
    """

    values: np.ndarray
    step_nm: float
    level: float
    width_nm: float
    null_sigma: float
    notes: dict = field(default_factory=dict)
    bin: int = 1
    valid: np.ndarray | None = None
    maps: dict = field(default_factory=dict)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Image pixel coordinates (row, column) of field coordinates, (n, 2); pixel centres are whole
        numbers.
        """
        return (np.asarray(points, float) + 0.5) * self.bin - 0.5

    def on_image(self, shape: tuple[int, int], order: int = 1) -> np.ndarray:
        """The field's values at every pixel of an image of this shape (nearest value beyond the last
        sample).
        """
        rows = (np.arange(shape[0]) + 0.5) / self.bin - 0.5
        columns = (np.arange(shape[1]) + 0.5) / self.bin - 0.5
        grid = np.meshgrid(rows, columns, indexing="ij")
        return ndimage.map_coordinates(self.values, grid, order=order, mode="nearest").astype(np.float32)


def block_factor(pixel_size_nm: float, target_nm: float) -> int:
    """Pixels to pool along an axis so that a sample is not wider than `target_nm` (at least 1)."""
    return max(1, int(np.floor(target_nm / pixel_size_nm + 1e-6)))


def field_factor(shape: tuple[int, int], pixel_size_nm: float) -> tuple[int, int]:
    """Image pixels a sample of the texture, and samples of the texture a sample of the field.

    The first are about 0.12 nm wide, up to 0.3 nm where the view is wide, the second 0.2 nm at most; a side
    has 64 of them at least.
    """
    target = min(max(TEXTURE_STEP_NM, max(shape) * pixel_size_nm / 1400), 0.3)
    factor = (
        max(1, round(target / pixel_size_nm))
        if target > TEXTURE_STEP_NM
        else block_factor(pixel_size_nm, target)
    )
    factor = min(factor, max(1, min(shape) // 64))
    coarser = block_factor(factor * pixel_size_nm, FIELD_STEP_NM)
    return factor, min(coarser, max(1, min(shape) // factor // 64))


def pool(image: np.ndarray, factor: int) -> np.ndarray:
    """Block means, (rows // factor, columns // factor), float32; a remainder at the far sides is left out."""
    if factor == 1:
        return np.ascontiguousarray(image, dtype=np.float32)
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def clean(image: np.ndarray) -> tuple[np.ndarray, dict]:
    """The image as float32 without dead and hot pixels, and what was found wrong with it.

    Parameters
    ----------
    image : (rows, columns) array of real numbers
        Any dtype. Values that are not finite count as dead.

    Returns
    -------
    (rows, columns) float32 array
        Outliers (beyond 8 robust deviations of their 3 x 3 neighbourhood) replaced by the local median.
    dict
        `hot_pixels` (number replaced), `saturated_fraction`, `not_finite` (number).

    Raises
    ------
    ValueError
        If the array is not two-dimensional, is smaller than 16 pixels a side, or holds no finite value.
    """
    if image.ndim != 2 or min(image.shape) < 16:
        raise ValueError(
            f"an image of two dimensions, 16 pixels a side at least, is needed; found {image.shape}"
        )
    out = np.array(image, dtype=np.float32)
    bad = ~np.isfinite(out)
    if bad.all():
        raise ValueError("the image holds no finite value")
    top = np.max(out, where=~bad, initial=-np.inf)
    saturated = float(np.mean(out == top))
    if bad.any():
        out[bad] = np.median(out[~bad])
    local = _median_of_neighbours(out)
    rest = out - local
    sample = rest[:: max(1, rest.shape[0] // 512), :: max(1, rest.shape[1] // 512)]
    spread = max(1.4826 * float(np.median(np.abs(sample))), 1e-12)
    hot = np.abs(rest) > 8 * spread
    if hot.any():
        # The deviation is that of the local surroundings: a bright particle is noisier than the vacuum
        # beside it.
        local_square = pool(np.minimum(rest**2, (20 * spread) ** 2), 16)
        rows, columns = np.nonzero(hot)
        near = local_square[
            np.minimum(rows // 16, local_square.shape[0] - 1),
            np.minimum(columns // 16, local_square.shape[1] - 1),
        ]
        hot[rows, columns] = rest[rows, columns] ** 2 > 64 * np.maximum(near, spread**2 / 4)
    out[hot] = local[hot]
    # Only a plateau of values is saturation: one brightest pixel is none.
    notes = {
        "hot_pixels": int(hot.sum()),
        "not_finite": int(bad.sum()),
        "saturated_fraction": saturated if saturated > 1e-3 else 0.0,
    }
    return out, notes


def _median_of_neighbours(image: np.ndarray) -> np.ndarray:
    """Median of the four next neighbours (mean of the middle two): cheap, and blind to the pixel itself."""
    padded = np.pad(image, 1, mode="edge")
    one, two = padded[:-2, 1:-1], padded[2:, 1:-1]
    three, four = padded[1:-1, :-2], padded[1:-1, 2:]
    lower = np.maximum(np.minimum(one, two), np.minimum(three, four))
    upper = np.minimum(np.maximum(one, two), np.maximum(three, four))
    return (lower + upper) / 2


def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian average, `sigma` in samples; wide ones are done on a coarser grid, which changes nothing
    visible.
    """
    if sigma < 8:
        return ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.5)
    factor = int(sigma // 4)
    rows, columns = values.shape
    padded = np.pad(values, ((0, -rows % factor), (0, -columns % factor)), mode="edge")
    small = ndimage.gaussian_filter(pool(padded, factor), sigma / factor, mode="nearest", truncate=3.5)
    r = (np.arange(rows) + 0.5) / factor - 0.5
    c = (np.arange(columns) + 0.5) / factor - 0.5
    return _bilinear(small, r, c)


def _bilinear(small: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Separable linear interpolation at the outer product of row and column coordinates."""

    def weights(position, size):
        low = np.clip(np.floor(position).astype(int), 0, max(size - 2, 0))
        return low, np.minimum(low + 1, size - 1), np.clip(position - low, 0, 1).astype(np.float32)

    low, high, part = weights(rows, small.shape[0])
    lines = small[low] * (1 - part)[:, None] + small[high] * part[:, None]
    low, high, part = weights(columns, small.shape[1])
    return lines[:, low] * (1 - part) + lines[:, high] * part


def on_grid(small: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map of block means on a finer grid of this shape, by linear interpolation."""
    rows, columns = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, small.shape, strict=True))
    return _bilinear(small.astype(np.float32), rows, columns)


def average_where(values: np.ndarray, weight: np.ndarray, sigma: float, fallback: float) -> np.ndarray:
    """Gaussian average over the samples where `weight` is; `fallback` where none is in reach."""
    weight = weight.astype(np.float32)
    below = smooth(weight, sigma)
    above = smooth(np.where(weight > 0, values, 0).astype(np.float32) * weight, sigma)
    near = below > 1e-4
    return np.where(near, above / np.where(near, below, 1), fallback).astype(np.float32)


def frame_is_far(shape: tuple[int, int], margin: int) -> np.ndarray:
    """True where a sample is more than `margin` samples away from the frame."""
    far = np.zeros(shape, bool)
    if min(shape) > 2 * margin:
        far[margin : shape[0] - margin, margin : shape[1] - margin] = True
    return far
