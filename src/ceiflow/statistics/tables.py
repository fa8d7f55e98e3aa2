"""Tab-separated tables as lists of dictionaries: one way in, one way out."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ceiflow.study.measurements import format_number
from ceiflow.study.sheets import text_rows

Row = dict[str, object]


def read_table(source: str | Path | Iterable[Mapping[str, object]]) -> list[Row]:
    """Rows of a tab-separated file, or a copy of rows that were read already.

    Parameters
    ----------
    source : path or iterable of mappings
        A `.tsv` file with one header line, or the rows of `ceiflow.study.Study`.

    Returns
    -------
    list of dict
        Texts as they stand in the file; `""` where a cell is empty.
    """
    if isinstance(source, str | Path):
        return list(text_rows(source))
    return [dict(row) for row in source]


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as a tab-separated table with exactly `columns`; same rows, same bytes."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([text(row.get(column)) for column in columns] for row in rows)


def text(value: object) -> str:
    """A table cell: numbers at seven digits, no tab and no line break, empty for None and NaN."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) or hasattr(value, "dtype"):
        return format_number(value.item() if hasattr(value, "dtype") else value)
    return " ".join(str(value).split())


def number(value: object) -> float | None:
    """A finite number, or None for anything else (an empty cell, a text, NaN)."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def columns_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Every key that occurs, in the order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))
