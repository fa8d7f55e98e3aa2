"""Which energy axis to trust: the file's, the zero loss's, or that of the edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ceiflow.eels.axis_search import PRIOR_DISPERSION
from ceiflow.eels.energy import AxisCalibration, calibrate_axis
from ceiflow.eels.zero_loss import ZeroLoss

# How well a zero loss recorded with the core loss places it (drift tube, drift), how well one recorded
# separately does, and how well a file's axis does by itself.
DUAL_SE_EV = 0.5
SEPARATE_SE_EV = 1.0
FILE_SE_EV = 3.0
# A shift by this moves fractions of carbonates at C K by 9 to 19 points: fine structure needs better.
FINE_STRUCTURE_EV = 0.3


def decide_axis(
    energy_eV: np.ndarray,
    counts: np.ndarray,
    elements: list[str],
    options: dict,
    zero_loss: ZeroLoss | None,
    same_recording: bool,
) -> AxisCalibration:
    """The core-loss axis by the configured policy.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        The file's axis and the summed core loss.
    elements : list of str
    options : dict
        `eels.energy` of the configuration.
    zero_loss : ZeroLoss or None
    same_recording : bool
        Low and core loss come from one file: one axis error for both.
    """
    policy = options.get("policy", "auto")
    middle = float(0.5 * (energy_eV[0] + energy_eV[-1]))
    fallback = AxisCalibration(0.0, FILE_SE_EV, 1.0, PRIOR_DISPERSION, middle, "file")
    if zero_loss is not None:
        error = DUAL_SE_EV if same_recording else SEPARATE_SE_EV
        fallback = AxisCalibration(zero_loss.position_eV, error, 1.0, PRIOR_DISPERSION, middle, "zero_loss")
    if policy == "file":
        return AxisCalibration(0.0, FILE_SE_EV, 1.0, PRIOR_DISPERSION, middle, "file")
    if policy == "zero_loss":
        if zero_loss is None:
            fallback.flags.append("policy zero_loss: no zero loss in range, the file's axis is kept")
        return fallback
    found = calibrate_axis(
        energy_eV,
        counts,
        elements,
        fallback.offset_eV if policy == "auto" else 0.0,
        fallback.offset_se_eV if policy == "auto" else FILE_SE_EV,
        float(options.get("max_offset_eV", 25.0)),
        float(options.get("max_dispersion_error", 0.05)),
    )
    if found is None:
        fallback.flags.append(f"no significant edge: axis by {fallback.method.replace('_', ' ')}")
        return fallback
    tolerance = float(options.get("tolerance_eV", 1.5))
    if abs(found.offset_eV - fallback.offset_eV) > tolerance and zero_loss is not None:
        found.flags.append(
            f"edges and zero loss disagree by {found.offset_eV - fallback.offset_eV:.1f} eV: edges trusted"
        )
    return found


def residual_shift(axis: AxisCalibration) -> tuple[float | None, float]:
    """How far edges still stand off after calibration, and how well the axis is known there, in eV.

    The residuals' mean, weighted by their errors, which hold what chemistry does to each edge. The standard
    error is that of the calibrated axis at the edges' mean energy: counting, chemistry, their common part
    (valence) and the readings that compete. Without edges there is no residual, and the error is that of what
    the axis was taken from.
    """
    if not axis.edges:
        return None, float(axis.offset_se_eV)
    weight = np.array([1 / float(edge["se_eV"]) ** 2 for edge in axis.edges])
    residual = np.array([float(edge["residual_eV"]) for edge in axis.edges])
    place = np.array([float(edge["found_eV"]) for edge in axis.edges])
    return float(weight @ residual / weight.sum()), axis.se_at(float(weight @ place / weight.sum()))


def axis_values(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """What tables/acquisitions.tsv says of the `calibration` of a calibrated file; null where not known."""
    names = (
        "energy_offset_eV",
        "energy_offset_se_eV",
        "low_loss_offset_eV",
        "dispersion_factor",
        "residual_shift_eV",
        "residual_shift_se_eV",
    )
    ready = calibration.get("fine_structure_ready")
    return {
        **{name: calibration.get(name) for name in names},
        "fine_structure_ready": None if ready is None else str(ready).lower(),
        "noise_model": (calibration.get("detector") or {}).get("label"),
    }


def fine_structure_reason(axis: AxisCalibration, blur_eV: float) -> str:
    """Why energies are not known well enough for fine structure; empty where they are.

    Parameters
    ----------
    axis : AxisCalibration
    blur_eV : float
        Standard deviation of the shifts of single pixels that were not taken out.
    """
    value, error = residual_shift(axis)
    limit = FINE_STRUCTURE_EV
    if value is None:
        source = axis.method.replace("_", " ")
        return f"no edge places the energy axis: known to {error:.2g} eV by the {source}, {limit:g} eV needed"
    if abs(value) > limit:
        return f"edges stand {value:.2f} eV off after calibration, {limit:g} eV allowed"
    if error > limit:
        return f"energy axis known to {error:.2f} eV only, {limit:g} eV needed"
    if blur_eV > limit:
        return f"spectra of single pixels stand {blur_eV:.2f} eV apart and could not be aligned"
    return ""
