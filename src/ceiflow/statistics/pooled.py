"""Cells whose value is one fit to all of their spectra, in the place of the average over acquisitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ceiflow.statistics.nesting import Cell
from ceiflow.statistics.tables import Row, number

#: What `Cell.se_source` says of such a cell.
ONE_FIT = "one fit to all spectra"


def pooled_of(
    pooled: Sequence[Row],
    endpoint: str,
    zone: str,
    modality: set[str] | None,
    of_cell: Mapping[str, set[str]],
) -> dict[str, Row]:
    """Rows of tables/pooled.tsv that answer for a cell, by cell.

    Parameters
    ----------
    pooled : sequence of dict
    endpoint, zone : str
    modality : set of str or None
        Those that a claim lets in.
    of_cell : mapping of cell to set of str
        Modalities that have rows of the endpoint in each cell; several are answered for by the row of all.
    """
    found = {}
    for row in pooled:
        if row["endpoint"] != endpoint or row["zone"] != zone or row["status"] == "not_identifiable":
            continue
        cell = str(row["cell_id"])
        present = of_cell.get(cell, set())
        allowed = present if modality is None else present & modality
        wanted = next(iter(allowed)) if len(allowed) == 1 else ""
        if allowed and str(row["modality"] or "") == wanted:
            found[cell] = row
    return found


def with_pooled(cell: Cell, row: Row | None) -> Cell:
    """A cell with the share that one fit to all its spectra gives; the cell as it is without such a row."""
    if row is None:
        return cell
    count = int(number(row["n_acquisitions"]) or 0)
    known = row["status"] == "identified"
    value, lod = number(row["value"]), number(row["lod"])
    return replace(
        cell,
        status=str(row["status"]),
        value=value if known else None,
        low=value if known else 0.0,
        high=value if known else lod,
        se=number(row["se_stat"]) if known else None,
        se_source=ONE_FIT,
        se_sys=number(row["se_sys"]) if known else cell.se_sys,
        lod=lod,
        n_acquisitions=count,
        n_bounded=0 if known else count,
        n_not_identifiable=max(cell.n_acquisitions + cell.n_not_identifiable - count, 0),
    )


def sentence(cells: Sequence[Cell]) -> str:
    """What a claim says of cells that were fitted as a whole; empty where there are none."""
    count = sum(cell.se_source == ONE_FIT for cell in cells)
    return f"shares of {count} of {len(cells)} cells from one fit to all of a cell's spectra" if count else ""
