"""Whether a rim in one brightness is a layer or a slope of the particle.

A layer has a thickness: up to its outer edge its brightness goes on, and ends there as sharply as the
particle does. A particle that is bevelled, that leans, or that another one looks out from behind, ends in a
slope. Fitted with layers, a slope has a thickness as well, and under a wide blur it is fitted no worse than a
layer is: that the fit converged says nothing. A rim is therefore held against what a bare particle can look
like:

- a wedge, that thins out evenly to nothing, with as many parameters. Where it does as well, no thickness
  is in the data;
- a convex body, whose projection is concave from its edge inwards (Brunn's theorem on the sections of convex
  bodies): the outermost step of a bare convex particle is its steepest. A rim that rises more at its outer
  edge than the particle rises at its inner one is no evidence of anything but a rounded or leaning edge.

Both compare models on the same residuals, so neither hangs on how well the noise is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer import profile as _p
from ceiflow.layer.batch import THICKNESS, X_IN, Batch, Fit, linear_columns

#: Starts of a wedge: its length and its brightness over those of the layer, and by how many thicknesses it
#: begins further in. The least squares of a layer in a wedge are two thirds of its length and of its height.
STARTS = ((1.5, 1.5, 0.0), (2.0, 2.0, 0.5), (2.0, 3.0, 1.0))
#: Segments that are looked at, at most.
MOST_SEGMENTS = 40
#: Shortest layer and wedge, in pixels, and the longest wedge, in the thickest layer.
SHORTEST_PIXELS, LONGEST = 0.1, 2.0
#: A rim's step as a share of what particle and rim rise by together: above a half, the outer step is the
#: larger of the two.
STEEPEST = 0.5


@dataclass(frozen=True)
class Rim:
    """A rim as a layer, and as a wedge.

    Parameters
    ----------
    thickness_nm : float
        Of the layer, mean over covered segments.
    wedge_nm : float
        Length of the wedge that fits best.
    for_layer : float
        Standard deviations by which the layer does better than the wedge; negative where it does worse.
    brightness : float
        Of the rim, over that of the particle next to it.
    concave : bool
        The rim rises more at its outer edge than the particle does at its inner one.
    """

    thickness_nm: float
    wedge_nm: float
    for_layer: float
    brightness: float
    concave: bool


def compare(
    batch: Batch, fitted: Fit, present: NDArray[np.bool_], pixel_nm: float, most_nm: float
) -> Rim | None:
    """The covered segments as a layer and as a wedge, blur and brightness of either free.

    Parameters
    ----------
    batch : Batch
        Of one map, that of the particle, which holds the layer as well.
    fitted : Fit
        Of its segments, with a layer.
    present : (K,) bool array
        Covered segments.
    pixel_nm, most_nm : float
        Pixel, and the thickest layer that is looked for.

    Returns
    -------
    Rim or None
        None where nothing is covered.
    """
    where = np.flatnonzero(present)
    if not len(where):
        return None
    where = where[np.unique(np.linspace(0, len(where) - 1, min(len(where), MOST_SEGMENTS)).astype(int))]
    part, local = batch.select(where), fitted.local[where]
    given = {
        "shared": ("blur", "amplitude:0"),
        # The edge of a wedge's particle may be anywhere under it.
        "prior_x": (float(local[:, X_IN].mean()), float(local[:, THICKNESS].mean()) + 2 * pixel_nm),
        "blur_range": _p.blur_limits(pixel_nm),
        "thickness_range": (SHORTEST_PIXELS * pixel_nm, LONGEST * most_nm),
    }
    layer = _batch.fit(fitted.kind, part, local, fitted.blur, fitted.amplitude, **given)
    wedge = _wedge(replace(part, radius=np.zeros(len(where))), layer, given)
    dof = max(float(layer.n_data.sum()) - layer.local.size - len(layer.shared_names), 1.0)
    # What neither describes is noise to the comparison.
    scale = max(1.0, min(layer.chi2.sum(), wedge.chi2.sum()) / dof)
    gain = float(wedge.chi2.sum() - layer.chi2.sum()) / scale
    whole = float(np.median(layer.local[:, linear_columns(part.particle)[0].start + 1]))
    brightness = float(layer.amplitude[0]) / whole if whole > 0 else np.inf
    return Rim(
        thickness_nm=float(layer.thickness.mean()),
        wedge_nm=float(wedge.thickness.mean()),
        for_layer=float(np.sign(gain) * np.sqrt(abs(gain))),
        brightness=brightness,
        # A shell's brightness is no step: its chord rises from nothing, as a bare sphere's does.
        concave=fitted.kind != "shell" and brightness > STEEPEST,
    )


def _wedge(batch: Batch, layer: Fit, given: dict) -> Fit:
    """The best wedge, from several starts."""
    trials = []
    for length, height, back in STARTS:
        begin = layer.local.copy()
        begin[:, X_IN] -= back * layer.thickness
        begin[:, THICKNESS] *= length
        trials.append(_batch.fit("wedge", batch, begin, layer.blur, height * layer.amplitude, **given))
    return min(trials, key=lambda item: item.chi2.sum())


def why_no_layer(rim: Rim, clear: float, concave: bool) -> str:
    """Why a rim is not called a layer; empty where it may be.

    Parameters
    ----------
    rim : Rim
    clear : float
        Standard deviations that a layer has to have over a wedge.
    concave : bool
        Whether a layer in this kind of image is less than half as bright as the particle.
    """
    if rim.for_layer < clear:
        return (
            f"a rim of {rim.thickness_nm:.2g} nm stands out, but a wedge that thins out to nothing over "
            f"{rim.wedge_nm:.2g} nm describes it as well ({rim.for_layer:.1f} standard deviations for a "
            f"layer of one thickness, {clear:g} are asked): a slope of the particle itself looks like this"
        )
    if concave and rim.concave:
        return (
            f"a rim of {rim.thickness_nm:.2g} nm stands out, but it is {rim.brightness:.2g} times as bright "
            "as the particle next to it, and rises more at its outer edge than at its inner one: a rounded "
            "or leaning edge of the particle itself looks like this"
        )
    return ""
