"""White lines and valence as rows of measurements.tsv."""

from __future__ import annotations

import numpy as np

from ceiflow.eels.densities import DETECTION_SIGMA
from ceiflow.eels.fine_structure.line_templates import TemplateCalibration
from ceiflow.eels.fine_structure.rows import join
from ceiflow.eels.fine_structure.valence import (
    Calibration,
    change_by_templates,
    valence_of,
)
from ceiflow.eels.fine_structure.white_lines import WhiteLines
from ceiflow.study.measurements import Measurement, bounded, not_identifiable


def line_rows(
    zone: str, found: WhiteLines, standards: Calibration, pixels: int, dose: str
) -> list[Measurement]:
    """L3/L2 and valence of one metal in one zone."""
    metal = found.element.lower()
    if not found.known:
        reasons = (f"{metal}_l3_l2_ratio", f"{metal}_valence")
        return [not_identifiable(zone, endpoint, found.reason) for endpoint in reasons]
    note = join(f"L3 at {found.position_eV:.2f} +- {found.position_se_eV:.2f} eV on this axis", dose)
    numbers = (found.ratio, found.ratio_se, found.ratio_sys, None)
    ratio = Measurement(zone, f"{metal}_l3_l2_ratio", *numbers, "identified", pixels, note)
    return [ratio, _valence_row(zone, found, standards, pixels, dose)]


def _valence_row(zone: str, found: WhiteLines, standards: Calibration, pixels: int, dose: str) -> Measurement:
    endpoint = f"{found.element.lower()}_valence"
    valence = valence_of(found.ratio, found.ratio_se, found.ratio_sys, standards)
    if valence.reason:
        if np.isfinite(valence.limit):
            return bounded(zone, endpoint, valence.limit, pixels, join(valence.note, dose))
        return not_identifiable(zone, endpoint, valence.reason)
    numbers = (valence.value, valence.se, valence.systematic, None)
    return Measurement(zone, endpoint, *numbers, "identified", pixels, join(valence.note, dose))


def change_rows(
    surface: WhiteLines, bulk: WhiteLines, standards: Calibration, dose: str
) -> list[Measurement]:
    """Surface minus bulk: what the recipe gets wrong it gets wrong in both, and most of it cancels."""
    metal = surface.element.lower()
    names = (f"{metal}_l3_l2_ratio_change", f"{metal}_l3_shift_eV", f"{metal}_valence_change")
    if not (surface.known and bulk.known):
        reason = surface.reason or bulk.reason
        return [not_identifiable("surface", name, reason) for name in names]
    difference = surface.ratio - bulk.ratio
    error = float(np.hypot(surface.ratio_se, bulk.ratio_se))
    systematic = abs(surface.ratio_sys - bulk.ratio_sys)
    moved = surface.position_eV - bulk.position_eV
    moved_se = float(np.hypot(surface.position_se_eV, bulk.position_se_eV))
    note = join("surface minus particle", dose)
    return [
        Measurement("surface", names[0], difference, error, systematic, DETECTION_SIGMA * error, note=note),
        Measurement("surface", names[1], moved, moved_se, 0.0, DETECTION_SIGMA * moved_se, note=note),
        _valence_change(names[2], surface, bulk, standards, note),
    ]


def _valence_change(
    endpoint: str, surface: WhiteLines, bulk: WhiteLines, standards: Calibration, note: str
) -> Measurement:
    """Valence of the surface minus that of the bulk, on the same references.

    What the recipe does to a ratio it does to both zones alike: what is left of it is the difference of the
    two sensitivities. What the calibration is wrong by stays, and goes with the difference.
    """
    if isinstance(standards, TemplateCalibration):
        found = change_by_templates(
            (surface.ratio, bulk.ratio),
            (surface.ratio_se, bulk.ratio_se),
            (surface.ratio_sys, bulk.ratio_sys),
            standards,
        )
        if found.reason:
            return not_identifiable("surface", endpoint, found.reason)
        numbers = (found.value, found.se, found.systematic, found.limit)
        return Measurement("surface", endpoint, *numbers, note=join(note, found.note))
    ends = [valence_of(item.ratio, item.ratio_se, 0.0, standards) for item in (surface, bulk)]
    reason = next((item.reason for item in ends if item.reason), "")
    if reason:
        return not_identifiable("surface", endpoint, reason)
    difference = ends[0].value - ends[1].value
    error = float(np.hypot(ends[0].se, ends[1].se))
    moved = [
        valence_of(lines.ratio + lines.ratio_sys, 0.0, 0.0, standards).value - item.value
        for item, lines in zip(ends, (surface, bulk), strict=True)
    ]
    recipe = float(np.nan_to_num(abs(moved[0] - moved[1])))
    calibration = max(item.systematic for item in ends)
    span = max(item.valence for item in standards) - min(item.valence for item in standards)
    systematic = float(np.hypot(recipe, calibration * min(abs(difference) / span, 1.0)))
    lod = DETECTION_SIGMA * float(np.hypot(error, recipe))
    return Measurement("surface", endpoint, difference, error, systematic, lod, note=join(note, ends[0].note))
