"""The gap between where matter begins and where the lattice begins, along the outward normal of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.segments import Segments
from ceiflow.layer.surface import Surface

FloatArray = NDArray[np.float64]

#: The lattice edge is looked for from this far outside the matter edge: on a bare particle noise, fringes of
#: finite length and delocalisation put it outside as often as inside.
OUTSIDE_NM = 4.0
#: The lattice has to go on for this many blurs behind its edge: less is a speck in the layer.
BEHIND_BLURS = 2.0
#: A segment counts if the lattice was met from this share of its points.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Gap:
    """Gap along the surface, by segment of arc.

    Parameters
    ----------
    gap_nm, std_nm : (n,) arrays
        Outer edge minus lattice edge; NaN where no lattice was met.
    share : (n,) array
        Points of the segment from which the lattice was met.
    noise_correlation_nm : float
        Length along the arc over which the errors go together.
    """

    gap_nm: FloatArray
    std_nm: FloatArray
    share: FloatArray
    noise_correlation_nm: float


def lattice_depths(
    surface: Surface, values: FloatArray, level: float, width_nm: float, valid: NDArray | None, max_nm: float
) -> FloatArray:
    """Depth of the lattice edge below every contour point, along the inward normal.

    Parameters
    ----------
    surface : Surface
        Of the matter.
    values : (rows, columns) array
        Lattice field on the same grid, high in the crystal.
    level, width_nm : float
        Value at the edge, and the field's blur.
    valid : (rows, columns) bool array, optional
        Where the field can be trusted.
    max_nm : float
        Deeper is not looked for.

    Returns
    -------
    (n,) array
        nm, negative if the lattice reaches beyond the matter edge; NaN where it is not met.
    """
    from scipy.ndimage import map_coordinates

    step = surface.step_nm
    depth = np.arange(-OUTSIDE_NM, max_nm + BEHIND_BLURS * width_nm + step, step)
    rays = (
        surface.points[:, None, :]
        - depth[None, :, None] / surface.pixel_size_nm * surface.normals[:, None, :]
    )
    sampled = map_coordinates(values, np.moveaxis(rays, -1, 0), order=1, mode="constant", cval=-np.inf)
    sampled = np.where(np.isfinite(sampled), sampled, -1.0)
    if valid is not None:
        seen = map_coordinates(
            valid.astype(float), np.moveaxis(rays, -1, 0), order=0, mode="constant", cval=0.0
        )
        sampled = np.where(seen > 0.5, sampled, -1.0)
    behind = max(1, round(BEHIND_BLURS * width_nm / step))
    above = sampled > level
    # Mean of what lies behind: the lattice goes on.
    run = np.cumsum(np.pad(above.astype(float), ((0, 0), (1, 0))), axis=1)
    goes_on = np.zeros_like(above)
    goes_on[:, : above.shape[1] - behind] = (run[:, behind + 1 :] - run[:, 1:-behind]) / behind > 0.75
    edge = above & goes_on
    edge[:, 0] = False
    first = np.argmax(edge, axis=1)
    rows = np.arange(len(first))
    before, after = sampled[rows, np.maximum(first - 1, 0)], sampled[rows, first]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.clip((after - level) / (after - before), 0.0, 1.0)
    found = edge[rows, first] & (depth[first] <= max_nm)
    return np.where(found, depth[first] - part * step, np.nan)


def edge_noise_nm(null_sigma: float, width_nm: float, plateau: float = 1.0) -> float:
    """Standard deviation of a contour's place: noise of the field over its slope at the edge."""
    if not np.isfinite(null_sigma):
        return 0.0
    return float(null_sigma * np.sqrt(2 * np.pi) * width_nm / plateau)


def by_segment(
    depths: FloatArray, segments: Segments, noise_nm: float, width_nm: float, step_nm: float
) -> Gap:
    """Robust gap of every segment.

    Parameters
    ----------
    depths : (n_points,) array
        From `lattice_depths`.
    segments : Segments
    noise_nm : float
        Standard deviation of one depth.
    width_nm : float
        Blur of the fields, over which neighbouring depths go together.
    step_nm : float
        Distance of contour points.
    """
    n = len(segments)
    gap, std, share = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    together = 2 * np.sqrt(np.pi) * width_nm
    # Scatter between points that are a blur apart holds the noise and little of the true relief.
    lag = max(1, round(together / step_nm))
    difference = depths[lag:] - depths[:-lag]
    near = segments.of_point[lag:] >= 0
    scatter = 1.4826 * np.nanmedian(np.abs(difference[near])) / np.sqrt(2) if near.any() else np.nan
    one = float(np.nanmax([noise_nm, scatter])) if np.isfinite([noise_nm, scatter]).any() else 0.0
    for k in range(n):
        inside = depths[segments.of_point == k]
        met = inside[np.isfinite(inside)]
        share[k] = len(met) / max(len(inside), 1)
        if share[k] >= LEAST_SHARE:
            gap[k] = np.median(met)
            # The median of Gaussian values is pi/2 times less sure than their mean.
            pieces = max(1.0, len(met) * step_nm / together)
            std[k] = one * np.sqrt((np.pi / 2 if pieces > 1 else 1.0) / pieces)
    return Gap(gap, std, share, float(together))
