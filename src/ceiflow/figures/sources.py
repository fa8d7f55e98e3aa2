"""The table behind each figure of a study: what somebody needs who draws it anew."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from ceiflow.figures.planning import undecided
from ceiflow.figures.tables import Rows, group_of, groups

_CELL = ("cell_id", "zone", "endpoint", "value", "unit", "se", "se_sys", "lod", "status", "n_acquisitions")
_CLAIM = (
    "claim_id", "kind", "endpoint", "zone", "test", "reference", "estimate", "unit", "ci_low", "ci_high",
    "prevalence", "prevalence_high", "lod", "margin", "low", "high", "n_cells_test", "n_cells_reference",
    "n_acquisitions", "verdict",
)  # fmt: skip


def figure_table(name: str, tables: Mapping[str, Rows]) -> Rows:
    """Rows behind one of `STUDY_FIGURES`.

    Parameters
    ----------
    name : str
    tables : mapping of str to rows
        As for `ceiflow.figures.folders.study_figure`.

    Raises
    ------
    KeyError
        For another name.
    """
    sheet = tables.get("sheet", [])
    group = {cell: key for key, cells in groups(sheet or tables["cells"], sheet).items() for cell in cells}
    make = {
        "claims": lambda: [_only(row, _CLAIM) for row in tables["claims"]],
        "layer_thickness": lambda: _estimation(tables, "layer_thickness_nm", group),
        "layer_coverage": lambda: _estimation(tables, "layer_coverage", group),
        "prevalence": lambda: _presence(tables, group),
        "composition": lambda: _composition(tables["cells"], group),
        "heterogeneity": lambda: [dict(row) for row in tables["heterogeneity"]],
        "planning": lambda: undecided(tables.get("planning", [])),
    }
    return make[name]()


def _only(row: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: row.get(name, "") for name in names}


def _group(row: Mapping[str, str], group: Mapping[str, str]) -> str:
    return group.get(row["cell_id"], "") or group_of(row)


def _estimation(tables: Mapping[str, Rows], endpoint: str, group: Mapping[str, str]) -> Rows:
    """Cells, then acquisitions, each with its level."""
    found = []
    for level, table, error in (("cell", "cells", "se"), ("acquisition", "measurements", "se_stat")):
        for row in tables[table]:
            if row["endpoint"] == endpoint and row["zone"] == "layer":
                named = {"group": _group(row, group), "level": level, "cell_id": row["cell_id"]}
                named["acquisition_id"] = row.get("acquisition_id", "")
                values = _only(row, ("value", "unit", "se_sys", "lod", "status"))
                found.append({**named, **values, "se": row.get(error, "")})
    return found


def _presence(tables: Mapping[str, Rows], group: Mapping[str, str]) -> Rows:
    """What each acquisition says about a layer."""
    status = {
        row["acquisition_id"]: row
        for row in tables["measurements"]
        if row["endpoint"] == "layer_thickness_nm" and row["zone"] == "layer"
    }
    found = []
    for row in tables["acquisitions"]:
        if row["modality"] == "eels_spectrum":
            continue
        measured = status.get(row["acquisition_id"], {})
        found.append(
            {
                "group": _group(row, group),
                **_only(row, ("cell_id", "acquisition_id", "modality", "qc_status")),
                **_only(measured, ("status", "value", "unit", "lod")),
            }
        )
    return found


def _composition(cells: Rows, group: Mapping[str, str]) -> Rows:
    kinds = ("areal_density_", "atomic_fraction_", "carbon_fraction_")
    return [
        {"group": _group(row, group), **_only(row, _CELL)}
        for row in cells
        if row["endpoint"].startswith(kinds)
    ]


def write_table(rows: Rows, path: Path) -> Path:
    """Write rows as a tab-separated table; without rows, a table that says so."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["nothing_to_show"]
    partial = path.with_name(f".{path.name}.part")
    with open(partial, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)
    return path
