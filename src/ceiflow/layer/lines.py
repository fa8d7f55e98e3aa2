"""The surface in a line scan: one or two rows of pixels across it.

So few rows do not say how the surface runs: from one row to the next it may be inclined, or the sample may
have drifted. Every row is therefore a line of its own, and distances are taken along it. Were the surface
inclined to the line, they would be too long by one over the cosine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.surface import STEP_PIXELS, Surface

FloatArray = NDArray[np.float64]

#: A map of at most this many rows (or columns) is a line scan.
LARGEST_WIDTH = 2
#: A run of fewer pixels inside a line is noise, not a particle.
LEAST_RUN = 3


def line_axis(shape: tuple[int, int]) -> int | None:
    """Axis along which a line scan runs; None for a map."""
    rows, columns = shape
    if min(rows, columns) > LARGEST_WIDTH or max(rows, columns) <= LARGEST_WIDTH:
        return None
    return 1 if columns >= rows else 0


def trace_lines(
    values: FloatArray,
    level: float,
    pixel_size_nm: float,
    *,
    axis: int,
    view_nm: float = 0.0,
    facing_nm: float = 40.0,
) -> Surface:
    """Where each line of a line scan crosses `level`.

    Parameters
    ----------
    values : (rows, columns) array
        High inside; NaN counts as outside.
    level : float
    pixel_size_nm : float
    axis : {0, 1}
        Along which the lines run.
    view_nm, facing_nm : float
        Crossings with less of the line free before its end, or with another particle within this length on
        the line, are left out.

    Returns
    -------
    Surface
        Normals along the lines; a crossing stands for the width of its pixel. Crossings of neighbouring
        lines that look the same way are one stretch.
    """
    lines = np.where(np.isfinite(values), values, -np.inf)
    lines = lines if axis == 1 else lines.T
    inside = np.array([_runs(line > level) for line in lines])
    width = round(1 / STEP_PIXELS)
    offsets = (np.arange(width) + 0.5) * STEP_PIXELS - 0.5
    found = [
        (sign, order, number, at, free, facing)
        for number, line in enumerate(lines)
        for order, (at, sign, free, facing) in enumerate(_crossings(line, inside[number], level))
    ]
    # All that look one way first: a stretch is then consecutive along the arc.
    found.sort(key=lambda item: (item[0], item[1], item[2]))
    along = np.repeat([item[3] for item in found], width)
    across = (np.array([item[2] for item in found], dtype=float)[:, None] + offsets).ravel()
    sign = np.repeat([float(item[0]) for item in found], width)
    zero = np.zeros(len(along))
    frame = np.repeat([item[4] * pixel_size_nm < view_nm for item in found], width).astype(bool)
    facing = np.repeat([item[5] * pixel_size_nm < facing_nm for item in found], width).astype(bool)
    group = np.array([f"{item[0]} {item[1]}" for item in found])
    numbers = np.cumsum(np.r_[False, group[1:] != group[:-1]]) if len(found) else np.zeros(0, dtype=int)
    contour = np.repeat(numbers, width).astype(np.intp)
    use = ~(frame | facing)
    starts = use & np.r_[True, (use[1:] != use[:-1]) | (contour[1:] != contour[:-1])][: len(use)]
    step_nm = STEP_PIXELS * pixel_size_nm
    pair = (across, along) if axis == 1 else (along, across)
    normal = (zero, sign) if axis == 1 else (sign, zero)
    return Surface(
        points=np.stack(pair, axis=1).reshape(-1, 2),
        normals=np.stack(normal, axis=1).reshape(-1, 2),
        position_nm=(np.arange(len(along)) + 0.5) * step_nm,
        radius_nm=np.full(len(along), np.inf),
        contour=contour,
        stretch=np.where(use, np.cumsum(starts) - 1, -1),
        inside=inside if axis == 1 else inside.T,
        pixel_size_nm=float(pixel_size_nm),
        step_nm=float(step_nm),
        lost_nm={
            "frame": float(frame.sum() * step_nm),
            "facing": float((facing & ~frame).sum() * step_nm),
        },
    )


def line_distance(surface: Surface, axis: int) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Signed distance along its own line, arc position and index of the crossing, of every pixel.

    The same three arrays as `ceiflow.layer.distance.distance_and_position` gives for a map.
    """
    shape = surface.inside.shape
    distance, position = np.full(shape, np.nan), np.full(shape, np.nan)
    index = np.full(shape, -1)
    line_of = np.round(surface.points[:, 1 - axis]).astype(int)
    where = np.arange(shape[axis], dtype=float)
    for number in range(shape[1 - axis]):
        own = np.flatnonzero(line_of == number)
        if not len(own):
            continue
        cut = (slice(None), number) if axis == 0 else (number, slice(None))
        apart = np.abs(where[:, None] - surface.points[own, axis])
        # The middle point of a crossing stands for it: its normal and segment are those of all four.
        nearest = own[np.argmin(apart, axis=1)]
        side = np.where(surface.inside[cut], -1.0, 1.0)
        offset = where - surface.points[nearest, axis]
        near = np.abs(offset) < 1.0
        signed = np.where(near, offset * surface.normals[nearest, axis], side * np.abs(offset))
        distance[cut] = signed * surface.pixel_size_nm
        position[cut] = surface.position_nm[nearest]
        index[cut] = nearest
    return distance, position, index


def _runs(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without short runs and with short gaps closed."""
    result = inside.copy()
    for value in (False, True):
        bounds = np.flatnonzero(np.diff(np.r_[False, result == value, False].astype(int)))
        for begin, end in bounds.reshape(-1, 2):
            # A gap or run at the end of the line may go on beyond it.
            if end - begin < LEAST_RUN and begin > 0 and end < len(result):
                result[begin:end] = not value
    return result


def _crossings(line, inside, level):
    """Position, direction of the outside, free pixels before the line's end, and before another particle."""
    result = []
    steps = np.flatnonzero(inside[1:] != inside[:-1])
    for i in steps:
        low, high = line[i], line[i + 1]
        known = np.isfinite(low) and np.isfinite(high) and high != low
        share = (level - low) / (high - low) if known else 0.5
        at = i + float(np.clip(share, 0.0, 1.0))
        outward = 1 if inside[i] else -1
        free = len(line) - 0.5 - at if outward > 0 else at + 0.5
        others = steps[steps > i] if outward > 0 else steps[steps < i]
        facing = float(np.min(np.abs(others - at))) if len(others) else np.inf
        result.append((at, outward, free, facing))
    return result
