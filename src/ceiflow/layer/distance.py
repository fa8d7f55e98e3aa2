"""Distances from a surface: of every pixel in reach of it, and along its normals to the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.surface import NARROW_PIXELS, Surface

FloatArray = NDArray[np.float64]

#: Pixels that the smoothed contour may be away from the edge of the mask.
SLACK_PIXELS = 4.0


def distance_and_position(
    surface: Surface, shape: tuple[int, int] | None = None, reach_nm: tuple[float, float] | None = None
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Signed distance and arc position of every pixel.

    Parameters
    ----------
    surface : Surface
    shape : (rows, columns), optional
        Of the map; the field's own by default.
    reach_nm : (inside, outside), optional
        Only pixels up to so far from the surface are looked at: in a wide view most are further away.

    Returns
    -------
    distance_nm : (rows, columns) array
        Distance to the nearest contour point, negative inside; NaN where there is no surface in reach.
    position_nm : (rows, columns) array
        Arc position of that point.
    index : (rows, columns) int array
        Its index; -1 where there is no surface in reach.
    """
    from scipy.spatial import cKDTree

    shape = surface.inside.shape if shape is None else shape
    distance, position = np.full(shape, np.nan), np.full(shape, np.nan)
    nearest = np.full(shape, -1)
    if len(surface.points) == 0:
        return distance, position, nearest
    own = shape == surface.inside.shape
    looked = _in_reach(surface, reach_nm) if own and reach_nm is not None else np.ones(shape, dtype=bool)
    pixels = np.argwhere(looked).astype(float)
    length, index = cKDTree(surface.points).query(pixels)
    offset = pixels - surface.points[index]
    along_normal = np.einsum("ij,ij->i", offset, surface.normals[index])
    # Near the contour the foot of the normal is exact and also gives the side; further out the mask gives
    # the side, since at the end of a contour or in a corner the normal of the nearest point may not.
    side = np.where(surface.inside[looked], -1.0, 1.0) if own else np.sign(along_normal)
    near = length < 1.0
    distance[looked] = np.where(near, along_normal, side * length) * surface.pixel_size_nm
    position[looked], nearest[looked] = surface.position_nm[index], index
    return distance, position, nearest


def _in_reach(surface: Surface, reach_nm: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels within reach of the mask's edge, from which smoothing moves the contour by a few pixels."""
    from scipy.ndimage import distance_transform_edt

    inner, outer = (reach / surface.pixel_size_nm + SLACK_PIXELS for reach in reach_nm)
    inside = surface.inside
    # What touches the frame goes on beyond it.
    deep = distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1] if not inside.all() else None
    if deep is None or not inside.any():
        return np.ones(inside.shape, dtype=bool)
    return np.where(inside, deep <= inner, distance_transform_edt(~inside) <= outer)


def free_length(surface: Surface) -> FloatArray:
    """Length in nm from every contour point along its outward normal to the frame.

    Across a map of fewer than six rows or columns the frame does not count, as in `trace_surface`.
    """
    free = np.full(len(surface.points), np.inf)
    for axis, size in enumerate(surface.inside.shape):
        along = surface.normals[:, axis]
        if size < NARROW_PIXELS and max(surface.inside.shape) >= NARROW_PIXELS:
            continue
        room = np.where(along > 0, size - 0.5 - surface.points[:, axis], surface.points[:, axis] + 0.5)
        free = np.minimum(free, np.maximum(room, 0.0) / np.maximum(np.abs(along), 1e-9))
    return free * surface.pixel_size_nm
