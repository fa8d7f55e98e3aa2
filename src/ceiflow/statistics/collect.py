"""Rows of measurements.tsv and acquisitions.tsv from what each acquisition left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ceiflow.statistics.tables import Row, columns_of
from ceiflow.study.measurements import SUMMARY_COLUMNS
from ceiflow.study.metadata import METADATA

MEASUREMENT_COLUMNS = [
    "acquisition_id",
    "cell_id",
    "particle_id",
    "region_id",
    "condition",
    "electrode",
    "modality",
    "zone",
    "endpoint",
    "value",
    "unit",
    "se_stat",
    "se_sys",
    "lod",
    "status",
    "n",
    "note",
    "correlation",
]
LAST_COLUMNS = ["sha256", "low_loss_sha256", "adf_sha256", "qc_status", "qc_reason"]
_SHEET_OF_MEASUREMENT = ("acquisition_id", "cell_id", "particle_id", "region_id", "modality")


def measurement_rows(acquisition: Row, cell: Row, rows: Sequence[Row]) -> list[Row]:
    """Measurements of one acquisition with the columns of the sheets filled in."""
    known = {name: acquisition.get(name) for name in _SHEET_OF_MEASUREMENT}
    known |= {name: cell.get(name) for name in ("condition", "electrode")}
    return [{**row, **known} for row in rows]


def acquisition_columns(acquisitions: Sequence[Row]) -> list[str]:
    """Columns of the results' acquisitions.tsv: the sheet's, the metadata's with origin, the run's.

    What the run found takes the place of a sheet's column of the same name at the end of the line; the
    sheet's own energy offset is kept as `sheet_energy_offset_eV`, because the results' column of that
    name is what was subtracted.
    """
    sheet = columns_of(acquisitions)
    found = {*SUMMARY_COLUMNS, *LAST_COLUMNS}
    columns = [name for name in sheet if name not in found and name not in METADATA]
    if "energy_offset_eV" in sheet:
        columns.append("sheet_energy_offset_eV")
    for name in METADATA:
        columns += [name, f"{name}_origin"] if name not in found else [f"{name}_origin"]
    return [*columns, *SUMMARY_COLUMNS, *LAST_COLUMNS]


def acquisition_row(acquisition: Row, summary: Mapping[str, object] | None) -> Row:
    """One row of the results' acquisitions.tsv.

    Parameters
    ----------
    acquisition : dict
        The sheet's row.
    summary : mapping or None
        What the run left in summary.json; None for a row that the sheet excludes.

    Returns
    -------
    dict
        Keys of `acquisition_columns`. Values that nobody said are absent.
    """
    row = dict(acquisition)
    row["sheet_energy_offset_eV"] = row.pop("energy_offset_eV", None)
    if summary is None:
        row["qc_status"], row["qc_reason"] = "excluded", acquisition.get("exclude")
        return row
    for name, item in dict(summary.get("metadata") or {}).items():
        row[f"{name}_origin"] = item.get("origin")
        if name != "energy_offset_eV":
            row[name] = item.get("value")
    for name in SUMMARY_COLUMNS:
        if summary.get(name) is not None:
            row[name] = summary[name]
    row |= _digests(acquisition, summary)
    row["qc_status"] = summary["qc_status"]
    row["qc_reason"] = _reason(summary)
    return row


def _digests(acquisition: Row, summary: Mapping[str, object]) -> Row:
    """SHA-256 of the files behind the acquisition, by their part in it."""
    by_role = {item.get("role"): item.get("sha256") for item in summary.get("sources") or []}
    main = next((by_role[role] for role in ("core_loss", "image") if by_role.get(role)), None)
    if main is None and acquisition.get("modality") == "adf":
        main = by_role.get("adf")
    return {
        "sha256": main or acquisition.get("sha256"),
        "low_loss_sha256": by_role.get("low_loss"),
        "adf_sha256": by_role.get("adf"),
    }


def _reason(summary: Mapping[str, object]) -> str:
    """The summary's reason; a warning that gives none is explained by its notes."""
    reason = str(summary.get("qc_reason") or "")
    if not reason and summary["qc_status"] != "ok":
        reason = "; ".join(str(note) for note in summary.get("notes") or []) or "no reason was given"
    return reason
