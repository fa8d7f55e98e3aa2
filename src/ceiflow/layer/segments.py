"""Pieces of arc that are measured together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.surface import Surface

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Segments:
    """A division of the analysed surface.

    Parameters
    ----------
    of_point : (n_points,) int array
        Segment of every contour point, -1 where left out.
    position_nm, length_nm, radius_nm : (n,) arrays
        Middle and length of each segment, and its signed radius of curvature (median of the curvature).
    point, normal : (n, 2) arrays
        Surface point and outward normal in the middle.
    stretch : (n,) int array
    """

    of_point: NDArray[np.intp]
    position_nm: FloatArray
    length_nm: FloatArray
    radius_nm: FloatArray
    point: FloatArray
    normal: FloatArray
    stretch: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.position_nm)

    def of_pixels(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """Segment of every pixel, given its nearest contour point (-1 where there is none)."""
        if len(self.of_point) == 0:
            return np.full(index.shape, -1)
        return np.where(index >= 0, self.of_point[index], -1)


def divide(surface: Surface, length_nm: float) -> Segments:
    """Equal segments of about `length_nm` in every stretch.

    A stretch shorter than half a segment is one segment where it is all there is, and is left out else.
    """
    of_point = np.full(len(surface.points), -1)
    n = 0
    sizes = [int(np.sum(surface.stretch == number)) for number in range(surface.n_stretches)]
    longest = max(sizes, default=0) * surface.step_nm
    for number, size in enumerate(sizes):
        if size * surface.step_nm < min(length_nm / 2, longest):
            continue
        where = np.flatnonzero(surface.stretch == number)
        pieces = max(1, round(size * surface.step_nm / length_nm))
        piece = np.arange(size) * pieces // size
        of_point[where] = piece + n
        n += pieces
    return _described(surface, of_point, n)


def split(surface: Surface, segments: Segments, which: NDArray[np.bool_], least_nm: float) -> Segments:
    """The same division with some segments cut in two, unless the halves were shorter than `least_nm`."""
    of_point = np.full(len(segments.of_point), -1)
    n = 0
    for k in range(len(segments)):
        where = np.flatnonzero(segments.of_point == k)
        pieces = 2 if which[k] and segments.length_nm[k] >= 2 * least_nm else 1
        of_point[where] = n + np.arange(len(where)) * pieces // len(where)
        n += pieces
    return _described(surface, of_point, n)


def _described(surface: Surface, of_point: NDArray[np.intp], n: int) -> Segments:
    places = [np.flatnonzero(of_point == k) for k in range(n)]
    middles = np.array([where[len(where) // 2] for where in places], dtype=int)
    used = of_point >= 0
    count = np.bincount(of_point[used], minlength=n)
    with np.errstate(divide="ignore"):
        bend = np.array([np.median(1.0 / surface.radius_nm[of_point == k]) for k in range(n)])
        radius = np.where(bend == 0, np.inf, 1.0 / np.where(bend == 0, 1.0, bend))
    return Segments(
        of_point=of_point,
        position_nm=surface.position_nm[middles] if n else np.zeros(0),
        length_nm=count * surface.step_nm,
        radius_nm=radius,
        point=surface.points[middles].reshape(-1, 2),
        normal=surface.normals[middles].reshape(-1, 2),
        stretch=surface.stretch[middles] if n else np.zeros(0, dtype=int),
    )
