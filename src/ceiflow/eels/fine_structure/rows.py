"""Fine structure as rows of measurements.tsv and as entries of fine_structure.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure.prepeak import PrePeak
from ceiflow.eels.fine_structure.unmixing import Spectrum, Unmixing
from ceiflow.eels.fine_structure.valence import Standard, valence_of
from ceiflow.eels.fine_structure.white_lines import WhiteLines
from ceiflow.study.measurements import METALS, SPECIES, Measurement, bounded, not_identifiable

DETECTION_SIGMA = 3.29
# Shift at which fractions of species that differ in energy alone are no longer told apart.
LARGEST_SHIFT_SE_EV = 0.3
# A limit above this excludes nothing.
LARGEST_LIMIT = 0.9
INSEPARABLE = -0.9
# So many standard deviations from where the axis should be is no shift of the axis.
STRAINED = 3.0


def join(*parts: str) -> str:
    """Notes as one line."""
    return "; ".join(part for part in parts if part)


def unmixing_reason(found: Unmixing, spectrum: Spectrum) -> str:
    """Why an unmixing may not be reported; empty where it may."""
    if not found.total > DETECTION_SIGMA * found.total_se:
        return "C K does not stand above its detection limit"
    if found.shift_se_eV > LARGEST_SHIFT_SE_EV:
        return f"energy of C K known to {found.shift_se_eV:.2f} eV only (0.3 eV needed)"
    if abs(found.shift_eV) > STRAINED * max(spectrum.shift_se_eV, 0.1):
        return f"references fit only {found.shift_eV:+.2f} eV away from the calibrated axis"
    return ""


def carbon_rows(
    zone: str,
    found: Unmixing | None,
    reason: str,
    pixels: int,
    dose: str,
    low_loss: bool,
    before: tuple[float, float] = (1.0, 0.0),
) -> list[Measurement]:
    """`carbon_fraction_*` of one zone; `before` is how much more carbonate there was at zero dose."""
    if found is None or reason:
        return [not_identifiable(zone, f"carbon_fraction_{name}", reason) for name in SPECIES]
    rows = []
    general = join(
        dose, "" if low_loss else "no low loss: plural scattering not corrected", missing_note(found)
    )
    for name in SPECIES:
        endpoint = f"carbon_fraction_{name}"
        if name not in found.species:
            rows.append(not_identifiable(zone, endpoint, f"no reference of {name}"))
            continue
        i = found.species.index(name)
        value, error, systematic = found.fraction[i], found.se_stat[i], found.se_sys[i]
        lod = DETECTION_SIGMA * float(np.hypot(error, systematic))
        note = join(general, partner_note(found, i))
        if name == "carbonate" and before[0] != 1.0:
            note = join(zero_dose_note(value, error, before), note)
        interval = f"95 % interval {found.low[i]:.2f} to {found.high[i]:.2f}"
        if value > lod:
            rows.append(
                Measurement(
                    zone, endpoint, value, error, systematic, lod, "identified", pixels, join(interval, note)
                )
            )
        elif found.limit[i] < LARGEST_LIMIT:
            rows.append(
                bounded(zone, endpoint, found.limit[i], pixels, join("below its detection limit", note))
            )
        else:
            rows.append(not_identifiable(zone, endpoint, join("too few counts for its share", note)))
    return rows


def zero_dose_note(share: float, error: float, before: tuple[float, float]) -> str:
    """The share before the first electron, where the others do not fade."""
    gain, gain_error = before
    whole = 1 - share + share * gain
    spread = gain * np.hypot(error, share * (1 - share) * gain_error) / whole**2
    return f"{share * gain / whole:.2f} +- {spread:.2f} at zero dose"


def partner_note(found: Unmixing, index: int) -> str:
    """Names the species that this one cannot be told from, with what they make together."""
    partners = [
        j for j in range(len(found.species)) if j != index and found.correlation[index, j] < INSEPARABLE
    ]
    if not partners:
        return ""
    j = min(partners, key=lambda k: found.correlation[index, k])
    total = found.fraction[index] + found.fraction[j]
    variance = (
        found.se_stat[index] ** 2
        + found.se_stat[j] ** 2
        + 2 * found.correlation[index, j] * found.se_stat[index] * found.se_stat[j]
    )
    return (
        f"not told from {found.species[j]} (correlation {found.correlation[index, j]:.2f}), "
        f"together {total:.2f} +- {np.sqrt(max(variance, 0)):.2f}"
    )


def missing_note(found: Unmixing) -> str:
    """What the residual holds that no reference does."""
    if not found.missing:
        return ""
    lines = ", ".join(f"{item['energy_eV']:.1f} eV ({item['sigma']:.0f} sigma)" for item in found.missing)
    return f"no reference explains {lines}: a species is missing"


def unmixing_content(found: Unmixing, references: Sequence[Any], reason: str) -> dict[str, Any]:
    """What figures and pages draw."""
    numbers = ("fraction", "se_stat", "se_sys", "low", "high", "limit")
    return {
        "reason": reason,
        "species": found.species,
        **{name: short(getattr(found, name)) for name in numbers},
        "correlation": [short(row) for row in np.nan_to_num(found.correlation)],
        **{name: short(getattr(found, name)) for name in ("shift_eV", "shift_se_eV", "blur_eV")},
        **{name: short(getattr(found, name)) for name in ("total", "total_se", "reduced_chi2")},
        **{name: short(getattr(found, name)) for name in ("energy_eV", "counts", "background", "model")},
        "residual_sigma": short(found.residual_sigma),
        "parts": {name: short(values) for name, values in found.parts.items()},
        "missing": found.missing,
        "templates": {name: short(value) for name, value in found.templates.items()},
        "references": [
            {"name": item.name, "species": item.species, "kind": item.kind, "source": item.source,
             "energy_se_eV": item.energy_se_eV}
            for item in references
        ],
    }  # fmt: skip


def short(values: Any) -> Any:
    """Numbers at six digits; None for what is not finite."""
    if isinstance(values, np.ndarray):
        return [short(float(item)) for item in values]
    return float(f"{values:.6g}") if np.isfinite(values) else None


def line_rows(
    zone: str, found: WhiteLines, standards: Sequence[Standard], pixels: int, dose: str
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


def _valence_row(
    zone: str, found: WhiteLines, standards: Sequence[Standard], pixels: int, dose: str
) -> Measurement:
    endpoint = f"{found.element.lower()}_valence"
    valence = valence_of(found.ratio, found.ratio_se, found.ratio_sys, standards)
    if valence.reason:
        return not_identifiable(zone, endpoint, valence.reason)
    numbers = (valence.value, valence.se, valence.systematic, None)
    return Measurement(zone, endpoint, *numbers, "identified", pixels, join(valence.note, dose))


def change_rows(
    surface: WhiteLines, bulk: WhiteLines, standards: Sequence[Standard], dose: str
) -> list[Measurement]:
    """Surface minus bulk: what the recipe gets wrong it gets wrong in both, and most of it cancels."""
    metal = surface.element.lower()
    names = (f"{metal}_l3_l2_ratio_change", f"{metal}_l3_shift_eV")
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
    ]


def prepeak_row(zone: str, found: PrePeak | None, reason: str, pixels: int, dose: str) -> Measurement:
    """`oxygen_prepeak_ratio` of one zone."""
    endpoint = "oxygen_prepeak_ratio"
    if found is None or reason:
        return not_identifiable(zone, endpoint, reason)
    note = join("526.5-532 eV over 526.5-556.5 eV", dose)
    if not found.ratio > found.limit:
        return bounded(zone, endpoint, found.limit, pixels, note)
    numbers = (found.ratio, found.se, found.systematic, found.limit)
    return Measurement(zone, endpoint, *numbers, "identified", pixels, note)


def skin_rows(profile: Sequence[Mapping[str, Any]], dose: str) -> list[Measurement]:
    """Depth to which Mn is reduced: shells whose L3 lies below the bulk's by more than chance.

    A reduced, rock-salt-like skin is part of the particle, and no coating.
    """
    endpoint = "reduced_skin_nm"
    bulk = next((item for item in profile if item["bulk"] and not item["reason"]), None)
    shells = [item for item in profile if not item["bulk"]]
    if bulk is None or not shells or shells[0]["reason"]:
        return [not_identifiable("surface", endpoint, "Mn L is too weak at the surface or in the bulk")]
    width = 2 * shells[0]["depth_nm"]
    depth, reduced = 0.0, 0
    for item in shells:
        if item["reason"]:
            break
        error = np.hypot(np.hypot(item["position_se_eV"], bulk["position_se_eV"]), 0.1)
        if bulk["position_eV"] - item["position_eV"] < DETECTION_SIGMA * error:
            break
        reduced += 1
        depth += width
    note = join("by the position of Mn L3 in shells below the surface", dose)
    if not reduced:
        return [bounded("surface", endpoint, width, len(shells), note)]
    return [
        Measurement("surface", endpoint, depth, width / np.sqrt(12), None, width, n=len(shells), note=note)
    ]


def lines_content(found: WhiteLines) -> dict[str, Any]:
    """White lines for fine_structure.json."""
    names = ("ratio", "ratio_se", "ratio_sys", "position_eV", "position_se_eV", "l3", "l3_se", "l2")
    return {"reason": found.reason, **{name: short(getattr(found, name)) for name in names}}


def unanswered(modality: str, reason: str) -> list[Measurement]:
    """Every endpoint of the fine structure as not identifiable, for one reason."""
    layer, particle = ("layer", "particle") if modality == "eels_si" else ("all", "all")
    rows = [not_identifiable(layer, f"carbon_fraction_{name}", reason) for name in SPECIES]
    for metal in METALS:
        rows += [not_identifiable(particle, f"{metal}_{kind}", reason) for kind in ("l3_l2_ratio", "valence")]
    rows.append(not_identifiable(particle, "oxygen_prepeak_ratio", reason))
    return [*rows, not_identifiable("all", "dose_over_critical", reason)]
