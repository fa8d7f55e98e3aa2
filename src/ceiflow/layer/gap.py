"""The gap between where matter begins and where the lattice begins, along the outward normal of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.segments import Segments
from ceiflow.layer.surface import Surface

FloatArray = NDArray[np.float64]

#: The matter edge is looked for from this far inside the lattice edge: on a bare particle noise, fringes of
#: finite length and delocalisation put the lattice outside as often as inside.
INSIDE_NM = 3.0
#: Vacuum has to go on for this many blurs behind the edge: less is a pinhole in the layer.
BEHIND_BLURS = 2.0
#: Rays stand a pixel of the field apart, which its blur spans several of, and are sampled twice a pixel.
RAY_PIXELS, SAMPLE_PIXELS = 1.0, 0.5
#: A segment counts if the matter edge was met from this share of its points.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Gap:
    """Gap along the surface, by segment of arc.

    Parameters
    ----------
    gap_nm, std_nm : (n,) arrays
        Outer edge minus lattice edge; NaN where no edge was met.
    share : (n,) array
        Points of the segment from which the edge was met.
    noise_correlation_nm : float
        Length along the arc over which the errors go together.
    """

    gap_nm: FloatArray
    std_nm: FloatArray
    share: FloatArray
    noise_correlation_nm: float


def outer_distances(
    surface: Surface, values: FloatArray, level: float, width_nm: float, valid: NDArray | None, max_nm: float
) -> FloatArray:
    """Distance of the matter edge from every point of the lattice's contour, along the outward normal.

    Parameters
    ----------
    surface : Surface
        Of the lattice.
    values : (rows, columns) array
        Matter field on the same grid, high in matter.
    level, width_nm : float
        Value at the edge, and the field's blur.
    valid : (rows, columns) bool array, optional
        Where the field can be trusted.
    max_nm : float
        Further out is not looked for.

    Returns
    -------
    (n,) array
        nm, negative if the lattice reaches beyond the matter edge; NaN where no edge is met. Neighbouring
        points share a ray.
    """
    from scipy.ndimage import map_coordinates

    every = max(1, round(RAY_PIXELS * surface.pixel_size_nm / surface.step_nm))
    points, normals = surface.points[every // 2 :: every], surface.normals[every // 2 :: every]
    if len(points) == 0:
        return np.full(len(surface.points), np.nan)
    step = SAMPLE_PIXELS * surface.pixel_size_nm
    out = np.arange(-INSIDE_NM, max_nm + BEHIND_BLURS * width_nm + step, step)
    rays = [
        (points[:, axis, None] + out / surface.pixel_size_nm * normals[:, axis, None]).astype(np.float32)
        for axis in (0, 1)
    ]
    # Beyond the frame nothing is known: no edge is found there.
    sampled = map_coordinates(values, rays, order=1, mode="constant", cval=np.inf)
    if valid is not None:
        seen = map_coordinates(valid.astype(float), rays, order=0, mode="constant", cval=0.0)
        sampled = np.where(seen > 0.5, sampled, np.inf)
    behind = max(1, round(BEHIND_BLURS * width_nm / step))
    below = sampled < level
    run = np.cumsum(np.pad(below.astype(float), ((0, 0), (1, 0))), axis=1)
    goes_on = np.zeros_like(below)
    goes_on[:, : below.shape[1] - behind] = (run[:, behind + 1 :] - run[:, 1:-behind]) / behind > 0.75
    edge = below & goes_on
    edge[:, 0] = False
    first = np.argmax(edge, axis=1)
    rows = np.arange(len(first))
    before, after = sampled[rows, np.maximum(first - 1, 0)], sampled[rows, first]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.clip(np.nan_to_num((level - after) / (before - after)), 0.0, 1.0)
    # A ray that starts in vacuum has no edge to meet: the lattice there is not this particle's.
    found = edge[rows, first] & (out[first] <= max_nm) & np.isfinite(before) & (sampled[:, 0] >= level)
    depths = np.where(found, out[first] - part * step, np.nan)
    return np.repeat(depths, every)[np.minimum(np.arange(len(surface.points)), len(depths) * every - 1)]


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
        From `outer_distances`.
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
