"""Zone fits as rows of measurements.tsv and as spectra.tsv."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ceiflow.eels.zones import ZoneFit
from ceiflow.signals.store import Header
from ceiflow.study.measurements import (
    Measurement,
    bounded,
    format_correlation,
    format_number,
    not_identifiable,
)

POISSON_ASSUMED = "Poisson assumed"
NO_LOW_LOSS = "no low loss with a zero loss"
#: Errors above the estimate that the true value stays below with 95 %.
UPPER_LIMIT_SIGMA = 1.645


def zone_measurements(
    zone_fits: Mapping[str, ZoneFit], header: Header, elements: Sequence[str]
) -> list[Measurement]:
    """Rows for every endpoint that a fit of zones answers.

    Neither `layer_*`, `dose_e_per_A2` nor the fine structure are among them.

    Parameters
    ----------
    zone_fits : mapping of zone to ZoneFit
        May be empty: then everything is not identifiable, in zone `all`.
    header : Header
        Of the calibrated file.
    elements : sequence of str
        Those the configuration chose.
    """
    rows: list[Measurement] = []
    for zone, fit in zone_fits.items():
        rows.append(_thickness_row(zone, fit))
        rows += _absolute_thickness_rows(zone, fit)
        for element in elements:
            density = _row(
                zone,
                f"areal_density_{element}_per_nm2",
                fit.areal_density.get(element),
                fit.status.get(element),
                fit.n,
            )
            if density.status == "identified":
                known = fit.density_correlation.get(element, {})
                density = replace(density, correlation=format_correlation(known))
            rows.append(density)
            rows.append(
                _row(
                    zone,
                    f"atomic_fraction_{element}",
                    fit.atomic_fraction.get(element),
                    fit.fraction_status.get(element),
                    fit.n,
                )
            )
    if not zone_fits:
        reason = "no zone holds any counts"
        rows.append(not_identifiable("all", "thickness_over_mfp", reason))
        for element in elements:
            rows.append(not_identifiable("all", f"areal_density_{element}_per_nm2", reason))
            rows.append(not_identifiable("all", f"atomic_fraction_{element}", reason))
    return _labelled(rows, header)


def _labelled(rows: list[Measurement], header: Header) -> list[Measurement]:
    """The rows, with a word in their notes where no one knows the noise that their intervals rest on."""
    detector = json.loads(header.attributes.get("calibration", "{}")).get("detector") or {}
    if not str(detector.get("label", "")).startswith(POISSON_ASSUMED):
        return rows
    return [
        replace(row, note="; ".join(part for part in (row.note, POISSON_ASSUMED) if part))
        if row.status in ("identified", "bounded")
        else row
        for row in rows
    ]


def _thickness_row(zone: str, fit: ZoneFit) -> Measurement:
    value, error, systematic = fit.thickness_over_mfp
    if not np.isfinite(value):
        return not_identifiable(zone, "thickness_over_mfp", fit.thickness_note or NO_LOW_LOSS)
    note = "; ".join(filter(None, [fit.thickness_note, *fit.notes]))
    return Measurement(zone, "thickness_over_mfp", value, error, systematic, None, "identified", fit.n, note)


def _absolute_thickness_rows(zone: str, fit: ZoneFit) -> list[Measurement]:
    """`thickness_nm` of the particle along the beam, where its density is given; else no row."""
    path = fit.mean_free_path
    if zone != "particle" or path is None:
        return []
    value, error, systematic = fit.thickness_over_mfp
    if not np.isfinite(value):
        return [not_identifiable(zone, "thickness_nm", fit.thickness_note or NO_LOW_LOSS)]
    if not np.isfinite(path.value_nm):
        return [not_identifiable(zone, "thickness_nm", path.note)]
    scale = path.value_nm
    systematic = float(np.hypot(systematic, value * path.relative_error))
    numbers = (value * scale, error * scale, systematic * scale, None)
    return [Measurement(zone, "thickness_nm", *numbers, "identified", fit.n, path.note)]


def _row(
    zone: str,
    endpoint: str,
    quantity: tuple[float, float, float, float] | None,
    state: tuple[str, str] | None,
    n: int,
) -> Measurement:
    if quantity is None or state is None:
        return not_identifiable(zone, endpoint, "not among the elements that were fitted")
    status, note = state
    value, error, systematic, lod = quantity
    if status == "not_identifiable":
        return not_identifiable(zone, endpoint, note)
    if status == "bounded":
        # What was counted below the limit may come from more than the limit. A negative estimate must not
        # tighten it: it is that of an absent element.
        highest = value + UPPER_LIMIT_SIGMA * float(np.hypot(error, systematic))
        return bounded(zone, endpoint, max(lod, highest), n, note)
    if endpoint.startswith("atomic_fraction") and value > 1:
        # Elements that are absent come out below zero as often as above.
        value, note = 1.0, f"{value:.4g} before it was held at the whole; {note}"
    return Measurement(zone, endpoint, value, error, systematic, lod, status, n, note)


def write_spectra(path: Path, zone_fits: Mapping[str, ZoneFit]) -> None:
    """Write spectra.tsv: one row per zone and channel, one column per edge.

    Parameters
    ----------
    path : Path
    zone_fits : mapping of zone to ZoneFit
    """
    elements = list(dict.fromkeys(element for fit in zone_fits.values() for element in fit.edges))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        names = ["zone", "energy_eV", "counts", "model", "background", "residual_sigma"]
        writer.writerow([*names, *elements])
        for zone, fit in zone_fits.items():
            empty = np.full(fit.energy_eV.size, np.nan)
            columns = [fit.energy_eV, fit.counts, fit.model, fit.background, fit.residual_sigma]
            columns += [fit.edges.get(element, empty) for element in elements]
            for values in zip(*columns, strict=True):
                writer.writerow([zone, *(format_number(float(value)) for value in values)])
