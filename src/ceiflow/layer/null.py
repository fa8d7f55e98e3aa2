"""What a bare surface's thickness would scatter by: the ground of the detection limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer.batch import THICKNESS, X_IN, Batch, Fit

FloatArray = NDArray[np.float64]

#: Thicknesses, in detection limits, that a segment has to rule out before it is called bare, and by how much
#: chi-square (of one parameter, at 95 %).
DOUBTED, RULED_OUT = (2.0, 4.0), 3.84
#: Steps of those fits: their start is a good one.
DOUBT_STEPS = 8
#: Step of the logarithm that limits are rounded up to.
ROUNDED = float(np.log(120.0) / 23)
#: The shape of pixel and probe is known to some percent of their width: an excess below this share of the
#: blur (one standard deviation), or of a pixel, is as well explained by an edge of slightly different shape.
FLOOR_PIXELS, FLOOR_BLURS = 0.25, 0.25

#: Segments from which on a median over them is worth more than their sum.
SEVERAL = 4


def null_std(kind: str, batch: Batch, fitted: Fit) -> FloatArray:
    """Standard deviation of each segment's thickness if its true thickness were zero.

    With a species that is in the layer only, that is the error at thickness zero. Where the particle's own
    map has to show the layer, a thin one is the same as a shifted edge, and the error at zero is infinite:
    then it is a third of the smallest thickness that is three times its own error.
    """
    if np.any(batch.layered & ~batch.particle):
        # The levels are those that were found: fitted anew, without a thickness, they would take up the layer
        # that stands there, and the edge of such a level is what a layer looks like.
        return _std_at(kind, batch, fitted, np.zeros(len(batch.x)), free_linear=False)
    grid = np.geomspace(0.5 * fitted.blur, 60 * fitted.blur, 10)
    std = np.array([_std_at(kind, batch, fitted, np.full(len(batch.x), t)) for t in grid])
    # The thickness over three times its own error passes 1 at the limit: between two trials, in logarithms.
    excess = np.log(grid[:, None] / (3.0 * np.maximum(std, 1e-30)))
    first = np.argmax(excess > 0, axis=0)
    every = np.arange(len(batch.x))
    here, before = excess[first, every], excess[np.maximum(first - 1, 0), every]
    back = np.where(first > 0, here / np.maximum(here - before, 1e-12), 0.0)
    steps = np.log(grid)[first] - back * np.log(grid[1] / grid[0]) - np.log(grid[0])
    # A linearised error is known to some ten per cent: the limit is rounded up, by that much in the mean.
    steps = np.ceil(np.maximum(steps, 0.0) / ROUNDED) * ROUNDED
    limit = grid[0] * np.exp(steps)
    return np.where((excess > 0).any(axis=0), limit / 3.0, np.inf)


def _std_at(
    kind: str, batch: Batch, fitted: Fit, thickness: FloatArray, free_linear: bool = True
) -> FloatArray:
    local = fitted.local.copy()
    local[:, THICKNESS] = thickness
    if batch.outer is not None:
        local[:, X_IN] = batch.outer[0] - thickness
    return _batch.fit(
        kind, batch, local, fitted.blur, fitted.amplitude, iterations=0, free_linear=free_linear
    ).own_std()


def detection_floor_nm(pixel_nm: float, blur_nm: float) -> float:
    """Thickness below which no excess is called a layer, however many the counts."""
    return float(max(FLOOR_PIXELS * pixel_nm, FLOOR_BLURS * blur_nm))


def undecided(
    kind: str, batch: Batch, fitted: Fit, lod_nm: FloatArray, edge_sd_nm: float, most_nm: float
) -> NDArray[np.bool_]:
    """Segments (K,) fitted below the limit whose profile does not tell a bare surface from a covered one.

    For the particle's own map alone, where a layer and a shifted edge may look alike, and where fringes are
    no part of the model: a layer of some limits' thickness fits nearly as well, the data's own scatter about
    the model taken for noise.

    Parameters
    ----------
    kind : str
    batch : Batch
    fitted : Fit
    lod_nm : (K,) array
    edge_sd_nm : float
        How well the edge is known beforehand.
    most_nm : float
        Largest thickness that is looked for.
    """
    below = np.isfinite(lod_nm) & (fitted.thickness <= lod_nm)
    result = np.zeros(len(lod_nm), dtype=bool)
    chosen = np.flatnonzero(below)
    if not len(chosen) or np.any(batch.layered & ~batch.particle):
        return result
    part, lod, local = batch.select(chosen), lod_nm[chosen], fitted.local[chosen]
    dof = np.maximum(fitted.n_data[chosen] - local.shape[1], 1.0)
    scatter = np.maximum(1.0, fitted.chi2[chosen] / dof)
    edge = float(fitted.x_in.mean()), edge_sd_nm
    doubt = np.zeros(len(chosen), dtype=bool)
    for share in DOUBTED:
        # The layer may stand on either side of the edge that was found without it.
        thick = np.minimum(share * lod, most_nm)
        for back in (0.0, 0.5, 1.0):
            begin = local.copy()
            begin[:, THICKNESS], begin[:, X_IN] = thick, local[:, X_IN] - back * thick
            other = _batch.fit(
                kind, part, begin, fitted.blur, fitted.amplitude, free_thickness=False, prior_x=edge,
                iterations=DOUBT_STEPS,
            )  # fmt: skip
            doubt |= other.chi2 - fitted.chi2[chosen] < RULED_OUT * scatter
    result[chosen] = doubt
    return result


def why_blind(counted: NDArray[np.bool_], inflation: float) -> str:
    """Why segments have no limit; `counted`: those that counting noise alone would have left one."""
    if not np.all(counted):
        return "too few counts"
    return f"no kernel describes the edge (chi2 per degree of freedom {inflation**2:.3g})"


def detection_limits(
    kind: str, batch: Batch, fitted: Fit, pixel_nm: float, detection_sigma: float
) -> FloatArray:
    """Detection limit of every segment."""
    null = inflation_of(fitted) * null_std(kind, batch, fitted)
    return limits_above(null, fitted, pixel_nm, detection_sigma)


def limits_above(null: FloatArray, fitted: Fit, pixel_nm: float, detection_sigma: float) -> FloatArray:
    """Detection limit, from the standard deviation of a bare segment."""
    return np.maximum(detection_sigma * null, detection_floor_nm(pixel_nm, fitted.blur))


def inflation_of(fitted: Fit) -> float:
    """Factor on standard deviations where the model does not describe the data within its noise.

    With several segments it is the median's: one that holds the end of a bare run fits badly, and says
    nothing of the others.
    """
    dof = fitted.n_data - fitted.local.shape[1]
    if len(dof) < SEVERAL:
        return float(np.sqrt(max(1.0, fitted.chi2.sum() / dof.sum()))) if dof.sum() > 0 else 1.0
    return float(np.sqrt(max(1.0, np.median(fitted.chi2 / np.maximum(dof, 1.0)))))
