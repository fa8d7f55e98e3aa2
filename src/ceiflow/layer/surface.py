"""The surface of particles in a field: sub-pixel contour, outward normal, arc length, distance map.

One geometry for spectrum images and images. A *field* is any map that is high in the particle and low
outside; the surface is where it crosses a level. Coordinates are (row, column) in pixels of the field,
pixel centres at whole numbers, lengths in nm.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Points along a contour lie this many pixels apart: the nearest one is then the foot of the normal.
STEP_PIXELS = 0.25
#: A particle has at least this many pixels, whatever its size in nm: below, an island is noise.
MIN_PIXELS = 12
#: A map narrower than this has no margin across: its frame is the side of a line, not the end of the view.
NARROW_PIXELS = 6
#: From this far outside its own surface a ray looks for other particles, in pixels: wider gaps count.
NEAREST_PIXELS = 0.25


@dataclass(frozen=True)
class Surface:
    """Contours of one field, concatenated.

    Parameters
    ----------
    points : (n, 2) array
        Row and column of each contour point, in pixels.
    normals : (n, 2) array
        Unit normals (row, column), out of the particle.
    position_nm : (n,) array
        Arc length, running on from one contour to the next; the particle lies on one side throughout.
    radius_nm : (n,) array
        Signed local radius of curvature, positive where convex; inf where straight.
    contour : (n,) int array
        Number of the contour each point belongs to.
    stretch : (n,) int array
        Number of the analysed stretch, -1 where the point is left out.
    inside : (rows, columns) bool array
        Pixels of the particles, islands dropped and holes filled.
    pixel_size_nm, step_nm : float
        Pixel of the field, distance between contour points.
    lost_nm : dict
        Length left out by reason: `frame`, `facing`; from images of carbon black also `vacuum`.
    """

    points: FloatArray
    normals: FloatArray
    position_nm: FloatArray
    radius_nm: FloatArray
    contour: NDArray[np.intp]
    stretch: NDArray[np.intp]
    inside: NDArray[np.bool_]
    pixel_size_nm: float
    step_nm: float
    lost_nm: dict[str, float] = field(default_factory=dict)

    @property
    def used(self) -> NDArray[np.bool_]:
        """Points of the analysed surface."""
        return self.stretch >= 0

    @property
    def length_nm(self) -> float:
        """Length of the analysed surface."""
        return float(np.count_nonzero(self.used) * self.step_nm)

    @property
    def n_stretches(self) -> int:
        return int(self.stretch.max(initial=-1)) + 1


def trace_surface(
    values: FloatArray,
    level: float,
    pixel_size_nm: float,
    *,
    smooth_nm: float | None = None,
    curvature_nm: float | None = None,
    margin_pixels: float | None = None,
    view_nm: float = 0.0,
    facing_nm: float = 40.0,
    min_diameter_nm: float = 0.0,
    fill_holes: bool = True,
) -> Surface:
    """Surface of the particles where `values` crosses `level`.

    Parameters
    ----------
    values : (rows, columns) array
        High inside; NaN counts as outside.
    level : float
        Value at the surface.
    pixel_size_nm : float
        Pixel of `values`.
    smooth_nm : float, optional
        Standard deviation of the smoothing along the contour that gives points and normals; two pixels by
        default. Twice-applied smoothing keeps circles in place to fourth order.
    curvature_nm : float, optional
        The same for the radius of curvature, which needs a longer stretch; eight pixels by default.
    margin_pixels : float, optional
        Points nearer to the frame are left out; by default one pixel, and none across a map of fewer than
        six rows or columns, where there would be nothing left.
    view_nm : float
        Points from which less than this can be seen along the outward normal, before the frame, are left out.
    facing_nm : float
        Points whose outward normal meets a particle within this length are left out: what lies between
        belongs to both.
    min_diameter_nm : float
        Particles of a smaller equivalent diameter are dropped.
    fill_holes : bool
        Ignore holes that a particle encloses.

    Returns
    -------
    Surface
        With no points where nothing crosses the level.
    """
    values = np.asarray(values, dtype=float)
    smooth = 2.0 if smooth_nm is None else smooth_nm / pixel_size_nm
    curvature = 8.0 if curvature_nm is None else curvature_nm / pixel_size_nm
    inside, clean = _clean(values, level, pixel_size_nm, min_diameter_nm, fill_holes)
    parts = [
        _smooth_contour(line, smooth, max(curvature, smooth), inside) for line in _contours(clean, level)
    ]
    parts = [part for part in parts if part is not None]
    if not parts:
        return _empty(inside, pixel_size_nm)
    step_nm = STEP_PIXELS * pixel_size_nm
    reasons = []
    for number, (points, normals, radius, closed) in enumerate(parts):
        frame = _near_frame(points, normals, inside.shape, margin_pixels, view_nm / pixel_size_nm)
        facing = _meets_particle(points, normals, clean - level, facing_nm / pixel_size_nm)
        shift = _start_of_closed(frame | facing) if closed else 0
        roll = [np.roll(item, -shift, axis=0) for item in (points, normals, radius, frame, facing)]
        parts[number] = (roll[0], roll[1], roll[2], closed)
        reasons.append((roll[3], roll[4]))
    frame = np.concatenate([item[0] for item in reasons])
    facing = np.concatenate([item[1] for item in reasons])
    contour = np.concatenate([np.full(len(part[0]), number) for number, part in enumerate(parts)])
    return Surface(
        points=np.concatenate([part[0] for part in parts]),
        normals=np.concatenate([part[1] for part in parts]),
        position_nm=(np.arange(len(contour)) + 0.5) * step_nm,
        radius_nm=np.concatenate([part[2] for part in parts]) * pixel_size_nm,
        contour=contour,
        stretch=stretches(~(frame | facing), contour),
        inside=inside,
        pixel_size_nm=float(pixel_size_nm),
        step_nm=float(step_nm),
        lost_nm={
            "frame": float(frame.sum() * step_nm),
            "facing": float((facing & ~frame).sum() * step_nm),
        },
    )


def _clean(values, level, pixel_size_nm, min_diameter_nm, fill_holes):
    """Mask of the particles, and the field without islands and holes."""
    from scipy import ndimage

    finite = np.where(np.isfinite(values), values, min(level, float(np.nanmin(values, initial=level))) - 1.0)
    inside = finite > level
    smallest = max(MIN_PIXELS, np.pi / 4 * (min_diameter_nm / pixel_size_nm) ** 2)
    smallest = min(smallest, inside.size / 4)
    labels, count = ndimage.label(inside)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= smallest
    keep[0] = False
    kept = keep[labels]
    clean = np.where(inside & ~kept, 2 * level - finite, finite)
    if fill_holes:
        filled = ndimage.binary_fill_holes(kept)
        clean = np.where(filled & ~kept, 2 * level - finite, clean)
        kept = filled
    # Mirrored values can equal the level where the field does: they must not open a contour of their own.
    clean = np.where(kept & (clean <= level), np.nextafter(level, np.inf), clean)
    clean = np.where(~kept & (clean > level), level, clean)
    return kept, clean


def _contours(clean, level):
    """Raw contours with the particle on the same side, cut at the frame's outer edge."""
    from skimage.measure import find_contours

    # A pixel is an area: the outermost half of it beyond its centre is part of the map.
    padded = np.pad(clean, 1, mode="edge")
    lines = []
    for line in find_contours(padded, level, positive_orientation="low"):
        line = line - 1.0
        if np.array_equal(line[0], line[-1]):
            lines.append(line)
        else:
            limit = np.array(clean.shape) - 0.5
            line = _resample(line, STEP_PIXELS / 2)
            line = line[np.all((line >= -0.5 - 1e-9) & (line <= limit + 1e-9), axis=1)]
            if len(line) > 1:
                lines.append(line)
    lines.sort(key=lambda line: (-_length(line)[-1], *line.min(axis=0)))
    return lines


def _length(line):
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])


def _at(line, length, where):
    """Points of a line at the given arc lengths."""
    return np.stack([np.interp(where, length, line[:, axis]) for axis in (0, 1)], axis=1)


def _resample(line, step):
    """Points of a line about `step` apart, both ends kept."""
    length = _length(line)
    return _at(line, length, np.linspace(0.0, length[-1], max(2, round(length[-1] / step) + 1)))


def _smooth_contour(line, smooth, curvature, inside):
    """Uniformly resampled and smoothed contour; None if it is shorter than a pixel.

    Returns points, normals, radius (in pixels) and whether it is closed.
    """
    closed = bool(np.array_equal(line[0], line[-1]))
    length = _length(line)
    if length[-1] < 1.0:
        return None
    count = max(4, round(length[-1] / STEP_PIXELS))
    where = (np.arange(count) + 0.5) * (length[-1] / count)
    raw = _at(line, length, where)
    # Smoothing longer than the contour itself would turn a particle into a point.
    limit = length[-1] / (12.0 if closed else 4.0)
    points = _twice(raw, min(smooth, limit) / STEP_PIXELS, closed)
    normals, _ = _normals(points, closed)
    _, bend = _normals(_twice(raw, min(curvature, limit) / STEP_PIXELS, closed), closed)
    outward = _outward_sign(points, normals, inside)
    with np.errstate(divide="ignore"):
        radius = np.where(np.abs(bend) > 1e-9, 1.0 / np.where(bend == 0, 1e-300, bend * outward), np.inf)
    return points, normals * outward, radius, closed


def _twice(points, sigma, closed):
    """Gaussian smoothing and its residual smoothed once more, which leaves a circle where it was."""
    once = _gauss(points, sigma, closed)
    return once + _gauss(points - once, sigma, closed)


def _gauss(points, sigma, closed):
    from scipy.ndimage import gaussian_filter1d

    if closed:
        return gaussian_filter1d(points, sigma, axis=0, mode="wrap")
    pad = min(len(points) - 1, int(4 * sigma) + 1)
    # Point reflection continues the direction at an open end.
    long = np.pad(points, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    return gaussian_filter1d(long, sigma, axis=0)[pad:-pad]


def _normals(points, closed):
    """Unit normals (the tangent turned) and curvature per pixel, positive where it turns away from them."""
    if closed:
        first = (np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)) / 2
        second = np.roll(points, -1, axis=0) - 2 * points + np.roll(points, 1, axis=0)
    else:
        first = np.gradient(points, axis=0)
        second = np.gradient(first, axis=0)
    speed = np.maximum(np.hypot(first[:, 0], first[:, 1]), 1e-12)
    normals = np.stack([first[:, 1], -first[:, 0]], axis=1) / speed[:, None]
    bend = -np.einsum("ij,ij->i", second, normals) / speed**2
    return normals, bend


def _outward_sign(points, normals, inside):
    """+1 if the normals point out of the particle, else -1: a vote of all points."""
    from scipy.ndimage import map_coordinates

    mask = inside.astype(float)
    here = [
        map_coordinates(mask, (points + s * normals).T, order=1, mode="nearest").sum() for s in (1.0, -1.0)
    ]
    return 1.0 if here[0] <= here[1] else -1.0


def _near_frame(points, normals, shape, margin, view):
    """Points too near to the frame, or that look out of it."""
    out = np.zeros(len(points), dtype=bool)
    for axis in (0, 1):
        narrow = shape[axis] < NARROW_PIXELS
        edge = (0.0 if narrow else 1.0) if margin is None else margin
        position = points[:, axis]
        out |= (position < edge - 0.5) | (position > shape[axis] - 0.5 - edge)
        seen = position + view * normals[:, axis]
        # Across a line scan the pixels of the line stand for what lies beside them.
        if not narrow:
            out |= (seen < -0.5) | (seen > shape[axis] - 0.5)
    return out


def _meets_particle(points, normals, height, reach):
    """Points whose outward normal enters a particle within `reach` pixels; `height` is above zero inside."""
    from scipy.ndimage import map_coordinates

    # The field itself and not its mask: a gap may be narrower than a pixel.
    distances = np.arange(NEAREST_PIXELS, max(reach, 0.0) + 0.5, 0.5)
    met = np.zeros(len(points), dtype=bool)
    free = np.zeros(len(points), dtype=bool)
    for distance in distances:
        where = (points + distance * normals).T
        value = map_coordinates(height, where, order=1, mode="constant", cval=-1.0)
        # The ray has to have left its own particle before meeting one counts.
        met |= free & (value > 0)
        free |= value < 0
    return met


def _start_of_closed(left_out):
    """Index at which a closed contour is cut: after a point that is left out, so no stretch is split."""
    if not left_out.any() or left_out.all():
        return 0
    last = np.flatnonzero(left_out & ~np.roll(left_out, -1))
    return int((last[0] + 1) % len(left_out))


def stretches(use: NDArray[np.bool_], contour: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers of the runs of used points, -1 elsewhere; a run ends with its contour."""
    change = np.ones(len(use), dtype=bool)
    change[1:] = (use[1:] != use[:-1]) | (contour[1:] != contour[:-1])
    starts = change & use
    return np.where(use, np.cumsum(starts) - 1, -1)


def _empty(inside, pixel_size_nm):
    none = np.zeros(0)
    whole = np.zeros(0, dtype=np.intp)
    pairs = np.zeros((0, 2))
    return Surface(
        pairs, pairs, none, none, whole, whole, inside, float(pixel_size_nm),
        STEP_PIXELS * pixel_size_nm, {"frame": 0.0, "facing": 0.0},
    )  # fmt: skip
