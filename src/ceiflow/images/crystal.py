"""Where fringes are a crystal, and how far their amplitude is from its plateau inside: on a coarse grid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ceiflow.images.field import average_where, on_grid

FALSE_DISCOVERY = 0.05
HALF = 0.5
#: Depth behind the edge, in windows, where the plateau of the amplitude is taken.
RIM = (1.2, 4.0)
#: A part with less area, and less of the whole, is a small crystal by itself.
SMALL_NM2, SMALL_SHARE = 60.0, 0.3


def positive(ratio: np.ndarray, inside: np.ndarray, sigma: float, trials: int) -> np.ndarray:
    """Where lattice passes the false-discovery threshold (Benjamini-Hochberg over independent windows).

    Parameters
    ----------
    ratio : (r, c) array
        Energy of the fringes over that of noise, in the window of `sigma` samples.
    inside : (r, c) bool array
        Where lattice may be.
    sigma : float
    trials : int
        Number of frequencies of which the ratio is the largest.
    """
    chance = np.clip(-np.expm1(trials * np.log1p(-np.exp(-np.clip(ratio, 1e-6, 500)))), 1e-200, 1)
    chance = np.where(inside, chance, 1.0)
    stride = max(1, int(sigma))
    sample = np.sort(chance[::stride, ::stride].ravel())
    line = FALSE_DISCOVERY * np.arange(1, sample.size + 1) / sample.size
    passing = np.flatnonzero(sample <= line)
    if passing.size == 0:
        return np.zeros(ratio.shape, bool)
    return chance <= min(line[passing[-1]], 0.01)


def main_body(found: np.ndarray, step_nm: float) -> np.ndarray:
    """The crystal itself: parts of at least 12 nm^2 and a twentieth of the largest; holes closed."""
    labels, count = ndimage.label(found)
    if count == 0:
        return found
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    keep = (areas * step_nm**2 >= 12.0) & (areas >= 0.05 * areas.max())
    keep[0] = False
    return ndimage.binary_fill_holes(keep[labels])


def foreign(hits: list[np.ndarray], reach_nm: float, step_nm: float) -> list[bool]:
    """Which bands are small crystals by themselves: in the layer, not of the particle.

    A part counts as one if it covers less than 60 nm^2 and a tenth of all lattice, after its window's reach
    is taken off, and less than half of that lies within what larger bands cover.
    """
    cores = [depth(hit) * step_nm > 2 * reach_nm for hit in hits]
    areas = [float(core.sum()) * step_nm**2 for core in cores]
    whole = float(np.logical_or.reduce(cores).sum()) * step_nm**2
    large = [area >= SMALL_NM2 or area >= SMALL_SHARE * whole for area in areas]
    if not any(large):
        return [False] * len(hits)
    body = np.logical_or.reduce([hit for hit, is_large in zip(hits, large, strict=True) if is_large])
    return [
        not is_large and float((core & body).sum()) < 0.5 * max(float(core.sum()), 1.0)
        for core, is_large in zip(cores, large, strict=True)
    ]


def over_plateau(energy: np.ndarray, crystal: np.ndarray, sigma: float, patchy: bool):
    """Amplitude over its local plateau just inside the edge; and its scatter where nothing is.

    The plateau changes slowly: it, and what is far from the edge on either side, is worked out on the grid of
    `crystal`.

    Parameters
    ----------
    energy : (r, c) array
        Of the fringes.
    crystal : (r / k, c / k) bool array
        Detected crystal, on a coarser grid.
    sigma : float
        Position window in samples of the coarser grid.
    patchy : bool
        The crystal shows its fringes in patches only.

    Returns
    -------
    (r, c) float32 array, float
    """
    if not crystal.any():
        return np.zeros(energy.shape, np.float32), float("nan")
    amplitude = np.sqrt(np.clip(energy, 0, None))
    coarse = on_grid(amplitude, crystal.shape)
    # Detection reaches beyond the edge by the wide window: start well inside.
    body = ndimage.binary_erosion(crystal, iterations=max(1, int(2 * sigma)), border_value=1)
    body = body if body.any() else crystal
    reach = ndimage.binary_dilation(crystal, iterations=max(1, int(sigma)))
    plateau, low = coarse, 0.0
    for _ in range(4):
        inner = depth(body)
        rim = (inner > RIM[0] * sigma) & (inner < RIM[1] * sigma)
        if not rim.any():
            rim = body
        typical = float(np.median(coarse[rim]))
        plateau, low = average_where(coarse, rim, 5 * sigma, typical), 0.2 * typical + 1e-20
        body = ndimage.binary_fill_holes(
            _connected((coarse > HALF * np.maximum(plateau, low)) & reach, crystal, sigma)
        )
        if patchy:
            # Stacks of carbon layers end and turn inside the particle: only its outline is an edge.
            body = _closed(body, max(1, int(5 * sigma)))
    values = amplitude / on_grid(np.maximum(plateau, low), energy.shape)
    # Detection reaches at most five windows beyond the edge: what lies deeper than that is crystal anyway.
    body = ndimage.binary_fill_holes(body | (depth(crystal) > 6 * sigma))
    deep = nearest(depth(body) > (0.8 if patchy else 2.5) * sigma, energy.shape)
    outside = ndimage.distance_transform_edt(~body)
    far, away = (nearest(outside > n * sigma, energy.shape) for n in (4.0, 2.5))
    values = np.where(deep, np.maximum(values, 0.9), values)
    null = float(np.std(values[far])) if far.sum() > 50 else float("nan")
    return np.where(away, np.minimum(values, 0.3), values).astype(np.float32), null


def nearest(small: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask of a coarser grid on a finer one (or the other way round)."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
        for n, m in zip(shape, small.shape, strict=True)
    )
    return small[rows][:, columns]


def depth(body: np.ndarray) -> np.ndarray:
    """Distance to the outside in samples; the frame is no outside."""
    return ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1]


def _closed(body: np.ndarray, radius: int) -> np.ndarray:
    """Gaps narrower than twice `radius` closed, and holes; the frame is no edge."""
    wide = np.pad(body, radius, mode="edge")
    grown = ndimage.distance_transform_edt(~wide) <= radius
    back = depth(grown) > radius
    return ndimage.binary_fill_holes((back | wide)[radius:-radius, radius:-radius])


def _connected(mask: np.ndarray, crystal: np.ndarray, sigma: float) -> np.ndarray:
    """Parts of a mask that hold some of the crystal and are wider than the window."""
    opened = ndimage.binary_opening(mask, iterations=max(1, int(sigma / 2)))
    labels, count = ndimage.label(opened)
    if count == 0:
        return mask & crystal
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return (areas >= 0.05 * areas.max())[labels] & (labels > 0)
