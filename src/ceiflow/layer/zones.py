"""Which pixel belongs to the layer, to the particle, to its outermost skin, or to nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

OUTSIDE, LAYER, PARTICLE, EXCLUDED = 0, 1, 2, 255


def shifted_distance(
    distance_nm: FloatArray, position_nm: FloatArray, at_nm: FloatArray, x_in_nm: FloatArray
) -> FloatArray:
    """Distance from the particle's edge as it was fitted, instead of from the contour.

    Parameters
    ----------
    distance_nm, position_nm : (rows, columns) arrays
    at_nm, x_in_nm : (n,) arrays
        Where along the arc the edge was fitted, and its distance from the contour there.
    """
    good = np.isfinite(x_in_nm)
    if not good.any():
        return distance_nm
    return distance_nm - np.interp(position_nm, at_nm[good], x_in_nm[good])


def zone_map(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    thickness_nm: FloatArray,
    present: NDArray[np.bool_],
    surface_depth_nm: float,
) -> NDArray[np.uint8]:
    """Zone of every pixel.

    Parameters
    ----------
    distance_nm : (rows, columns) array
        From the particle's edge.
    segment : (rows, columns) int array
        Nearest segment of arc, -1 where the nearest surface is left out.
    thickness_nm, present : (n,) arrays
    surface_depth_nm : float
        Pixels deeper than this belong to the particle even below a surface that is left out.

    Returns
    -------
    (rows, columns) uint8 array
        0 outside, 1 layer, 2 particle, 255 excluded.
    """
    zone = np.full(distance_nm.shape, EXCLUDED, dtype=np.uint8)
    with np.errstate(invalid="ignore"):
        seen = (segment >= 0) & np.isfinite(distance_nm)
        thick = np.where(present, np.nan_to_num(thickness_nm), 0.0)
        reach = thick[np.where(seen, segment, 0)] if len(thick) else np.zeros(distance_nm.shape)
        zone[seen & (distance_nm >= reach)] = OUTSIDE
        zone[seen & (distance_nm < reach)] = LAYER
        zone[seen & (distance_nm < 0)] = PARTICLE
        zone[distance_nm < -surface_depth_nm] = PARTICLE
    return zone


def zone_masks(
    zone: NDArray[np.uint8],
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    surface_depth_nm: float,
    band_nm: float,
    measured: NDArray[np.bool_],
) -> dict[str, NDArray[np.bool_]]:
    """Pixels whose spectra are summed, by zone of the measurements; zones without a pixel are left out.

    Parameters
    ----------
    zone, distance_nm, segment : (rows, columns) arrays
    surface_depth_nm : float
    band_nm : float
        Where nothing is covered, the layer's zone is the band of this width outside the surface: what it
        holds bounds what a layer could be made of.
    measured : (rows, columns) bool array
        Pixels that hold a spectrum.
    """
    with np.errstate(invalid="ignore"):
        layer = zone == LAYER
        if not layer.any():
            layer = (segment >= 0) & (distance_nm >= 0) & (distance_nm < band_nm)
        masks = {
            "layer": layer,
            "particle": distance_nm < -surface_depth_nm,
            "surface": (segment >= 0) & (distance_nm < 0) & (distance_nm >= -surface_depth_nm),
            "all": np.ones(zone.shape, dtype=bool),
        }
    masks = {name: mask & measured for name, mask in masks.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}
