"""Fine structure as rows of measurements.tsv and as entries of fine_structure.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceiflow.eels.densities import DETECTION_SIGMA
from ceiflow.eels.fine_structure.prepeak import PrePeak
from ceiflow.eels.fine_structure.separation import Separation
from ceiflow.eels.fine_structure.unmixing import Spectrum, Unmixing
from ceiflow.eels.fine_structure.white_lines import WhiteLines
from ceiflow.study.measurements import (
    LITHIUM_SPECIES,
    METAL_KINDS,
    METALS,
    OXYGEN_SPECIES,
    SPECIES,
    Measurement,
    bounded,
    not_identifiable,
)

# Shift at which species that differ in energy alone are no longer told apart: about a third of what lies
# between their marking lines.
LARGEST_SHIFT_SE_EV = {"C_K": 0.3, "O_K": 0.7, "Li_K": 1.2}
SPECIES_OF = {"carbon": SPECIES, "oxygen": OXYGEN_SPECIES, "lithium": LITHIUM_SPECIES}
# A limit above this excludes nothing.
LARGEST_LIMIT = 0.9
INSEPARABLE = -0.9
# So many standard deviations from where the axis should be is no shift of the axis.
STRAINED = 3.0
# A shift of L3 that the axis may have from place to place.
LEAST_SHIFT_EV = 0.1


def join(*parts: str) -> str:
    """Notes as one line."""
    return "; ".join(part for part in parts if part)


def unmixing_reason(found: Unmixing, spectrum: Spectrum, edge: str = "C_K") -> str:
    """Why an unmixing may not be reported; empty where it may."""
    name, largest = edge.replace("_", " "), LARGEST_SHIFT_SE_EV[edge]
    if not found.total > DETECTION_SIGMA * found.total_se:
        return f"{name} does not stand above its detection limit"
    if found.shift_se_eV > largest:
        return f"energy of {name} known to {found.shift_se_eV:.2f} eV only ({largest:g} eV needed)"
    if abs(found.shift_eV) > STRAINED * max(spectrum.shift_se_eV, 0.1):
        return f"references fit only {found.shift_eV:+.2f} eV away from the calibrated axis"
    return ""


def species_rows(
    zone: str,
    of: str,
    found: Unmixing | None,
    reason: str,
    pixels: int,
    notes: str,
    before: tuple[float, float] = (1.0, 0.0),
) -> list[Measurement]:
    """`{of}_fraction_*` of one zone; `before` is how much more carbonate there was at zero dose."""
    names = SPECIES_OF[of]
    if found is None or reason:
        return [not_identifiable(zone, f"{of}_fraction_{name}", reason) for name in names]
    rows = []
    general = join(notes, placed_note(found, of), missing_note(found))
    for name in names:
        endpoint = f"{of}_fraction_{name}"
        if name not in found.species:
            rows.append(not_identifiable(zone, endpoint, f"no reference of {name}"))
            continue
        i = found.species.index(name)
        value, error, systematic = found.fraction[i], found.se_stat[i], found.se_sys[i]
        lod = detection_limit(found, i)
        note = join(general, partner_note(found, i))
        if name == "carbonate" and before[0] != 1.0:
            note = join(zero_dose_note(value, float(np.hypot(error, systematic)), before), note)
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
            why = f"{value:.2f} +- {error:.2f} (counts) +- {systematic:.2f} (references) excludes nothing"
            rows.append(not_identifiable(zone, endpoint, join(why, note)))
    return [*rows, *sum_rows(zone, of, found, pixels, general)]


def detection_limit(found: Unmixing, index: int) -> float:
    """Share above which a species counts as seen: 3.29 sigma of the likelihood ratio and of its references.

    The likelihood ratio against the fit without the species gives the statistical part; it is in proportion
    to the share.
    """
    value, seen = found.fraction[index], found.seen_sigma[index]
    if not (value > 0 and seen > 0):
        return DETECTION_SIGMA * float(np.hypot(found.se_stat[index], found.se_sys[index]))
    return DETECTION_SIGMA * float(np.hypot(value / seen, found.se_sys[index]))


def covariance_of(found: Unmixing) -> np.ndarray:
    """(s, s) covariance of the shares, statistical and systematic."""
    return found.correlation * np.outer(found.se_stat, found.se_stat) + found.sys_covariance


def correlation_of(found: Unmixing) -> np.ndarray:
    """(s, s) correlation of the shares' whole errors: counts, axis and references."""
    covariance = np.nan_to_num(covariance_of(found))
    se = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return covariance / np.outer(se, se)


def partner_of(found: Unmixing, index: int) -> int | None:
    """The species that one cannot be told from: the strongest correlation below `INSEPARABLE`."""
    correlation = correlation_of(found)[index]
    partners = [j for j in range(len(found.species)) if j != index and correlation[j] < INSEPARABLE]
    return min(partners, key=lambda j: correlation[j]) if partners else None


def sum_of(found: Unmixing, i: int, j: int) -> tuple[float, float, float]:
    """Two species together, with the statistical and the systematic error of their sum."""
    pair = np.ix_([i, j], [i, j])
    counted = covariance_of(found) - found.sys_covariance
    errors = (float(np.sqrt(max(part[pair].sum(), 0.0))) for part in (counted, found.sys_covariance))
    return float(found.fraction[i] + found.fraction[j]), *errors


def sum_rows(zone: str, of: str, found: Unmixing, pixels: int, note: str) -> list[Measurement]:
    """What pairs that cannot be told apart make together, as `{of}_fraction_{a}_and_{b}`."""
    pairs = {
        tuple(sorted((i, j))) for i in range(len(found.species)) if (j := partner_of(found, i)) is not None
    }
    rows = []
    for i, j in sorted(pairs):
        value, error, systematic = sum_of(found, i, j)
        both = float(np.hypot(error, systematic))
        endpoint = f"{of}_fraction_{found.species[i]}_and_{found.species[j]}"
        if value > DETECTION_SIGMA * both:
            numbers = (value, error, systematic, DETECTION_SIGMA * both)
            rows.append(Measurement(zone, endpoint, *numbers, n=pixels, note=note))
        elif value + 1.645 * both < LARGEST_LIMIT:
            rows.append(bounded(zone, endpoint, value + 1.645 * both, pixels, note))
    return rows


def zero_dose_note(share: float, error: float, before: tuple[float, float]) -> str:
    """The share before the first electron, where the others do not fade."""
    gain, gain_error = before
    whole = 1 - share + share * gain
    spread = gain * np.hypot(error, share * (1 - share) * gain_error) / whole**2
    return f"{share * gain / whole:.2f} +- {spread:.2f} at zero dose"


def partner_note(found: Unmixing, index: int) -> str:
    """Names the species that this one cannot be told from, with what they make together."""
    j = partner_of(found, index)
    if j is None:
        return ""
    total, *errors = sum_of(found, index, j)
    return (
        f"not told from {found.species[j]} (correlation {correlation_of(found)[index, j]:.2f}), "
        f"together {total:.2f} +- {np.hypot(*errors):.2f}"
    )


def placed_note(found: Unmixing, of: str) -> str:
    """Says that the axis alone would not have done, and how well the edge's own lines placed it."""
    edge = {"carbon": "C_K", "oxygen": "O_K", "lithium": "Li_K"}[of]
    if found.axis_se_eV <= LARGEST_SHIFT_SE_EV[edge]:
        return ""
    name = edge.replace("_", " ")
    return (
        f"{name} placed by its own lines to {found.shift_se_eV:.2f} eV (axis alone {found.axis_se_eV:.2f} eV)"
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
        "axis_se_eV": short(found.axis_se_eV),
        "species": found.species,
        **{name: short(getattr(found, name)) for name in numbers},
        "correlation": [short(row) for row in np.nan_to_num(found.correlation)],
        **{name: short(getattr(found, name)) for name in ("shift_eV", "shift_se_eV", "blur_eV")},
        **{name: short(getattr(found, name)) for name in ("total", "total_se", "reduced_chi2")},
        **{name: short(getattr(found, name)) for name in ("energy_eV", "counts", "background", "model")},
        "residual_sigma": short(found.residual_sigma),
        "parts": {name: short(values) for name, values in found.parts.items()},
        "missing": found.missing,
        "likelihood": found.likelihood,
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


def separation_rows(
    found: Mapping[str, Separation], metal: str, pixels: Mapping[str, int], dose: str
) -> list:
    """L3 minus the O K maximum by zone, the last but one against the last where there are two."""
    endpoint = f"{metal}_l3_o_k_separation_eV"
    rows = []
    for zone, item in found.items():
        if item.reason:
            rows.append(not_identifiable(zone, endpoint, item.reason))
            continue
        note = join("L3 minus the maximum of O K", dose)
        numbers = (item.value, item.se, item.systematic)
        rows.append(Measurement(zone, endpoint, *numbers, n=pixels.get(zone), note=note))
    if "surface" not in found or "particle" not in found:
        return rows
    surface, bulk, name = found["surface"], found["particle"], f"{metal}_l3_o_k_separation_change_eV"
    if surface.reason or bulk.reason:
        return [*rows, not_identifiable("surface", name, surface.reason or bulk.reason)]
    error = float(np.hypot(surface.se, bulk.se))
    # The dispersion is common to both; the choice of window is each one's own.
    own = [np.sqrt(max(item.systematic**2 - item.dispersion_eV**2, 0.0)) for item in (surface, bulk)]
    systematic = float(np.hypot(*own))
    numbers = (
        surface.value - bulk.value,
        error,
        systematic,
        DETECTION_SIGMA * float(np.hypot(error, systematic)),
    )
    return [*rows, Measurement("surface", name, *numbers, note=join("surface minus particle", dose))]


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
    """Depth to which Mn is reduced: shells whose L3 lies below the bulk's, or L3/L2 above it, beyond chance.

    A reduced, rock-salt-like skin is part of the particle, and no coating.
    """
    endpoint = "reduced_skin_nm"
    bulk = next((item for item in profile if item["bulk"] and not item["reason"]), None)
    shells = [item for item in profile if not item["bulk"]]
    if bulk is None or not shells or shells[0]["reason"]:
        return [not_identifiable("surface", endpoint, "Mn L is too weak at the surface or in the bulk")]
    width = 2 * shells[0]["depth_nm"]
    reduced = _reduced(shells, bulk)
    depth = reduced * width
    note = join("by L3/L2 and the position of L3 of Mn in shells below the surface", dose)
    if not reduced:
        return [bounded("surface", endpoint, width, len(shells), note)]
    if reduced == len(shells) or shells[reduced]["reason"]:
        why = f"reduced from the surface to {depth:.3g} nm at least, as deep as shells can be told"
        return [not_identifiable("surface", endpoint, join(why, note))]
    return [
        Measurement("surface", endpoint, depth, width / np.sqrt(12), None, width, n=len(shells), note=note)
    ]


def all_reduced(profile: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every shell is reduced: then the bulk that they are held against may be reduced in part too."""
    bulk = next((item for item in profile if item["bulk"] and not item["reason"]), None)
    shells = [item for item in profile if not item["bulk"]]
    return bulk is not None and bool(shells) and _reduced(shells, bulk) == len(shells)


def _reduced(shells: Sequence[Mapping[str, Any]], bulk: Mapping[str, Any]) -> int:
    """How many shells from the surface inwards are reduced, without a gap."""
    return next(
        (i for i, item in enumerate(shells) if item["reason"] or not _is_reduced(item, bulk)), len(shells)
    )


def _is_reduced(shell: Mapping[str, Any], bulk: Mapping[str, Any]) -> bool:
    apart = np.hypot(np.hypot(shell["position_se_eV"], bulk["position_se_eV"]), LEAST_SHIFT_EV)
    spread = np.hypot(shell["ratio_se"], bulk["ratio_se"])
    moved = (bulk["position_eV"] - shell["position_eV"]) / apart
    risen = (shell["ratio"] - bulk["ratio"]) / max(spread, 1e-12)
    return bool(max(moved, risen) > DETECTION_SIGMA)


def lines_content(found: WhiteLines) -> dict[str, Any]:
    """White lines for fine_structure.json."""
    names = ("ratio", "ratio_se", "ratio_sys", "position_eV", "position_se_eV", "l3", "l3_se", "l2")
    return {"reason": found.reason, **{name: short(getattr(found, name)) for name in names}}


def unanswered(modality: str, reason: str) -> list[Measurement]:
    """Every endpoint of the fine structure as not identifiable, for one reason."""
    layer, particle = ("layer", "particle") if modality == "eels_si" else ("all", "all")
    rows = [
        not_identifiable(layer, f"{of}_fraction_{name}", reason)
        for of, names in SPECIES_OF.items()
        for name in names
    ]
    rows += [
        not_identifiable(particle, f"{metal}_{kind}", reason) for metal in METALS for kind in METAL_KINDS
    ]
    rows.append(not_identifiable(particle, "oxygen_prepeak_ratio", reason))
    return [*rows, not_identifiable("all", "dose_over_critical", reason)]
