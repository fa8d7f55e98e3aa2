"""What a bare surface's thickness would scatter by: the ground of the detection limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer.batch import THICKNESS, X_IN, Batch, Fit

FloatArray = NDArray[np.float64]

#: Step of the logarithm that limits are rounded up to.
ROUNDED = float(np.log(120.0) / 23)
#: The shape of pixel and probe is known to some percent of their width: an excess below this share of the
#: blur (one standard deviation), or of a pixel, is as well explained by an edge of slightly different shape.
FLOOR_PIXELS, FLOOR_BLURS = 0.25, 0.25


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
