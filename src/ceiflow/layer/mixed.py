"""Segments that hold more than one thickness: their mean, from how much material stands in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer.batch import THICKNESS, Batch, Fit

FloatArray = NDArray[np.float64]

#: A segment whose chi-square is this many times the usual one holds several thicknesses.
MIXED_CHI2 = 2.0


def mixed_segments(chi2_per_dof: FloatArray) -> NDArray[np.bool_]:
    """Segments that one thickness does not describe: they hold the end of a bare run, or a step."""
    if len(chi2_per_dof) == 0:
        return np.zeros(0, dtype=bool)
    usual = float(np.median(chi2_per_dof))
    return (chi2_per_dof > MIXED_CHI2 * usual) & (chi2_per_dof > usual + MIXED_CHI2 / 4)


def unresolved_std(thickness_nm: FloatArray, std_nm: FloatArray, stretch: NDArray[np.intp]) -> FloatArray:
    """Error of each segment's mean from changes that are shorter than a segment.

    Between two neighbours the thickness changes by D somewhere between their middles, evenly. A fit of one
    thickness follows the larger part of a segment; the smaller part, u of its length with u even in 0..1/2,
    lies in one of the two and moves its mean by u D. The mean square of that is D^2 / 12 for the one that
    holds the change, and D^2 / 24 for either, since it is not known which.

    Parameters
    ----------
    thickness_nm, std_nm : (n,) arrays
        Along the arc, and the errors of measurement, whose part of D is taken off.
    stretch : (n,) int array
        Only segments of one stretch are neighbours.

    Returns
    -------
    (n,) array
    """
    variance = np.zeros(len(thickness_nm))
    if len(thickness_nm) < 2:
        return variance
    square = np.diff(thickness_nm) ** 2 - std_nm[1:] ** 2 - std_nm[:-1] ** 2
    square = np.where((stretch[1:] == stretch[:-1]) & np.isfinite(square), np.maximum(square, 0.0), 0.0)
    variance[1:] += square / 24
    variance[:-1] += square / 24
    return np.sqrt(variance)


def mean_thickness(
    kind: str,
    batch: Batch,
    fitted: Fit,
    which: NDArray[np.bool_],
    limits: tuple[float, float],
    prior_x: tuple[float, float] | None,
) -> tuple[FloatArray, FloatArray]:
    """Mean thickness of some segments whose layer is not of one thickness.

    A step of the full height fits either the covered or the bare part. With the height left free, height
    times width is the material that stands there; divided by the height of a full layer it is the mean.

    Parameters
    ----------
    kind : {"planar", "shell"}
    batch : Batch
    fitted : Fit
        Of all segments, at the common amplitudes.
    which : (K,) bool array
    limits : (low, high)
        Of the thickness.
    prior_x : (mean, sd), optional
        Of the edge positions.

    Returns
    -------
    thickness_nm, own_std_nm : (K,) arrays
        The fit's own where `which` is false, or where the free height cannot be fitted.
    """
    thickness, std = fitted.thickness.copy(), fitted.own_std()
    light = [s for s in np.flatnonzero(batch.layered) if fitted.amplitude[s] > 0]
    if not light:
        return thickness, std
    # The species that shows the layer best: amplitude over the noise of a pixel.
    clear = [fitted.amplitude[s] * np.sqrt(np.median(batch.weight[s][batch.weight[s] > 0])) for s in light]
    main = light[int(np.argmax(clear))]
    full = fitted.amplitude[main]
    for k in np.flatnonzero(which):
        part = batch.select(np.array([k]))
        own = _batch.fit(
            kind, part, fitted.local[k : k + 1], fitted.blur, fitted.amplitude,
            shared=(f"amplitude:{main}",), prior_x=prior_x, thickness_range=(0.05 * fitted.blur, limits[1]),
        )  # fmt: skip
        share, t = own.amplitude[main] / full, float(own.thickness[0])
        if not (0.0 < share < 1.2 and own.chi2.sum() < fitted.chi2[k]):
            continue
        of_share = own.shared_std(f"amplitude:{main}") / full
        of_t = float(own.std()[0])
        together = float(own.sensitivity[0, THICKNESS, 0]) * own.shared_covariance[0, 0] / full
        variance = (share * of_t) ** 2 + (t * of_share) ** 2 + 2 * share * t * together
        thickness[k] = share * t
        std[k] = max(float(np.sqrt(max(variance, 0.0))), std[k])
    return thickness, std
