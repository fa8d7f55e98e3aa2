"""Li K from the low loss: single scattering, and only where no transition metal stands in the zone.

Li K at 55 eV lies on M2,3 edges of Mn, Co and Ni (51 to 68 eV), whose cross-sections are far larger than
those of their L edges: where L3 is seen, and where it was not looked for, nothing is said of lithium.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure.plural import single_loss
from ceiflow.eels.fine_structure.unmixing import Spectrum
from ceiflow.eels.fine_structure.white_lines import DETECTION_SIGMA, WhiteLines
from ceiflow.eels.source import Source
from ceiflow.eels.zones import ZoneSums

ONSET_EV = 55.0
# Below the onset a stretch of background is needed, above it the lines of all compounds.
RANGE_EV = (45.0, 76.0)
# The zero loss is put at 0 to a fraction of a channel; a low loss has no second mark for its dispersion.
ZERO_SE_EV, DISPERSION_SE = 0.1, 0.005


def metal_reason(found: Sequence[WhiteLines]) -> str:
    """Which metal forbids Li K; empty where each has been looked for and none stands above its limit."""
    for item in found:
        if not np.isfinite(item.l3_se):
            return f"whether {item.element} is there is not known ({item.reason}): its M2,3 lies on Li K"
        if item.l3 > DETECTION_SIGMA * item.l3_se:
            return f"{item.element} is there: its M2,3 lies on Li K"
    return ""


def range_reason(source: Source) -> str:
    """Why there is no low loss to read Li K from; empty where there is."""
    if source.low is None:
        return "no low loss: Li K not recorded"
    if source.low.shared:
        return "one low loss for all pixels: Li K of a zone not recorded"
    energy = source.low.energy_eV
    if energy[0] > -2 or energy[-1] < RANGE_EV[1]:
        return f"Li K lies outside the low loss ({energy[0]:.0f} to {energy[-1]:.0f} eV)"
    return ""


def lithium_spectrum(source: Source, sums: ZoneSums) -> Spectrum:
    """A zone's low loss around Li K, plural scattering taken off, with the noise of all that was counted."""
    energy = source.low.energy_eV
    single = single_loss(energy, sums.low, source.low.split_eV)
    calibration: dict[str, Any] = json.loads(source.header.attributes.get("calibration", "{}"))
    dispersion = float(calibration.get("dispersion_se") or DISPERSION_SE)
    return Spectrum(
        energy,
        single,
        None,
        source.noise.gain,
        source.noise.read_noise * float(np.sqrt(sums.n)),
        float(np.hypot(ZERO_SE_EV, dispersion * ONSET_EV)),
        plural=np.clip(sums.low - single, 0.0, None),
    )
