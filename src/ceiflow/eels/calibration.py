"""Which energy axis to trust: the file's, the zero loss's, or that of the edges."""

from __future__ import annotations

import numpy as np

from ceiflow.eels.energy import AxisCalibration, calibrate_axis
from ceiflow.eels.zero_loss import ZeroLoss

# How well a zero loss recorded with the core loss places it (drift tube, drift), how well one recorded
# separately does, and how well a file's axis does by itself.
DUAL_SE_EV = 0.5
SEPARATE_SE_EV = 1.0
FILE_SE_EV = 3.0


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
    fallback = AxisCalibration(0.0, FILE_SE_EV, 1.0, 0.0, middle, "file")
    if zero_loss is not None:
        error = DUAL_SE_EV if same_recording else SEPARATE_SE_EV
        fallback = AxisCalibration(zero_loss.position_eV, error, 1.0, 0.0, middle, "zero_loss")
    if policy == "file":
        return AxisCalibration(0.0, FILE_SE_EV, 1.0, 0.0, middle, "file")
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
