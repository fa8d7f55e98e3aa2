"""Tab-separated sheets: text in, typed rows and every fault out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ceiflow.errors import Fault
from ceiflow.study.checker import explain_pattern, out_of_range, perhaps, range_words
from ceiflow.study.schemas import pattern, types, unit_suffixes

# [0-9] and not \d, which lets digits of every script through.
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
INTEGER = re.compile(r"[-+]?[0-9]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOTHING = {"na", "n/a", "nan", "none", "null", "-", "--", "?", "unknown", "#n/a"}

# A cell's text to its value; ValueError(expected) where it is none.
Parser = Callable[[str], Any]


@dataclass
class Sheet:
    """Rows of a sheet with the line each stands on in an editor.

    Attributes
    ----------
    name : str
        The file as the configuration names it.
    columns : list of str
        Header, in order.
    rows : list of dict
        Typed values; None where a cell is empty. Every column of the schema has a key.
    lines : list of int
        Line of each row.
    faults : list of Fault
    extra : list of str
        Columns that the schema does not know.
    """

    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def fault(self, line: int | None, column: str | None, found: str, expected: str) -> None:
        """Note a fault at a line and a column."""
        where = ", ".join([f"row {line}"] * (line is not None) + [f"column {column}"] * (column is not None))
        self.faults.append(Fault(self.name, where or "file", found, expected))


def read_sheet(path: Path, name: str, schema: dict[str, Any]) -> Sheet:
    """Read a sheet and hold it against its schema; never raises for what stands in it.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file as messages name it.
    schema : dict
        Schema of one row.
    """
    sheet = Sheet(name)
    text = _read_text(path, sheet)
    if text is None:
        return sheet
    table = _split(text, sheet)
    if table is None:
        return sheet
    (_, header), *body = table
    if _check_header(header, sheet, schema):
        _fill_rows(body, sheet, schema)
    return sheet


def text_rows(path: str | Path) -> list[dict[str, str]]:
    """Rows of a tab-separated table as texts, a sheet exactly as `read_sheet` splits it.

    A byte order mark, blanks around a cell, empty lines and empty columns at the right are what
    spreadsheet programs add: stages that read a sheet again must not stumble over what its check let in.

    Parameters
    ----------
    path : path
        A sheet that has been checked, or a table of the results.

    Returns
    -------
    list of dict
        `""` where a cell is empty; no rows where the file holds no more than a header.
    """
    with open(path, encoding="utf-8-sig", newline="") as handle:
        table = ([cell.strip() for cell in cells] for cells in csv.reader(handle, delimiter="\t"))
        filled = (cells for cells in table if any(cells))
        header = next(filled, [])
        while header and not header[-1]:
            header.pop()
        return [dict(zip_longest(header, cells[: len(header)], fillvalue="")) for cells in filled]


def _read_text(path: Path, sheet: Sheet) -> str | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        sheet.fault(None, None, (error.strerror or "unreadable").lower(), "a tab-separated table")
        return None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:200]:
        kind = "a workbook or binary file" if data[:2] == b"PK" else "UTF-16 or binary data"
        sheet.fault(None, None, kind, "tab-separated text in UTF-8")
        return None
    if data[:2] == b"PK":
        sheet.fault(None, None, "a workbook (xlsx or ods)", "the sheet saved as tab-separated text in UTF-8")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        sheet.fault(line, None, f"the byte {data[error.start]:#04x}, which is not UTF-8", "text in UTF-8")
        return None


def _split(text: str, sheet: Sheet) -> list[tuple[int, list[str]]] | None:
    """Lines as (line in an editor, stripped cells), blank ones left out; None where that fails."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        sheet.fault(None, None, "an empty file", "a header and rows")
        return None
    if "\t" not in first:
        other = max(",;|", key=first.count)
        if first.count(other):
            sheet.fault(1, None, f"a header separated by {other!r}", "columns separated by tabs")
            return None
    # Only \n, \r\n and \r end a line, as in an editor; str.splitlines would add exotic ones.
    reader = csv.reader(io.StringIO(text, newline=None), delimiter="\t")
    table, line = [], 0
    try:
        for cells in reader:
            start, line = line + 1, reader.line_num
            if line > start or any("\n" in cell for cell in cells):
                sheet.fault(
                    start, None, f'a quote " that is open until row {line}', "no line breaks within a cell"
                )
                return None
            cells = [cell.strip() for cell in cells]
            if any(cells):
                table.append((line, cells))
    except csv.Error as error:
        sheet.fault(line + 1, None, str(error), "tab-separated text")
        return None
    return table


def _check_header(header: list[str], sheet: Sheet, schema: dict[str, Any]) -> bool:
    while header and not header[-1]:
        header.pop()
    sheet.columns = header
    known = schema["properties"]
    seen: dict[str, int] = {}
    for position, column in enumerate(header, 1):
        if not column:
            sheet.fault(1, str(position), "an unnamed column", "a name for every column")
        elif column in seen:
            sheet.fault(
                1, column, f"the name again (columns {seen[column]} and {position})", "every name once"
            )
        elif column not in known:
            sheet.extra.append(column)
            meant = near_column(column, known)
            if meant:
                unit = known[meant].get("unit")
                sheet.fault(1, column, "an unknown column", f"{meant}" + (f", in {unit}" if unit else ""))
        seen.setdefault(column, position)
    missing = [name for name in schema["required"] if name not in seen]
    for name in missing:
        found = "no such column" + perhaps(name, sheet.extra)
        sheet.fault(1, name, found, schema["properties"][name]["description"])
    return len(missing) < len(schema["required"])


def near_column(column: str, known: dict[str, Any]) -> str | None:
    """A known column that differs only in case, in spaces or in its unit; any other name is free.

    >>> near_column("pixel_size_um", {"pixel_size_nm": {}})
    'pixel_size_nm'
    """

    def fold(text: str) -> str:
        return re.sub(r"[\s_\-()\[\]/]+", "_", text).strip("_").lower()

    def stem(text: str) -> str:
        return re.sub(
            r"_(nm|um|pm|a|mm|m|ev|kev|mev|mv|v|s|ms|us|min|h|mrad|rad|deg|e_per_a2|e_per_nm2|per_h|kv)$",
            "",
            text,
        )

    folded = fold(column)
    for name in known:
        has_unit = name.endswith(unit_suffixes())
        if fold(name) == folded or (has_unit and stem(fold(name)) == stem(folded)):
            return name
    return None


def _fill_rows(body: list[tuple[int, list[str]]], sheet: Sheet, schema: dict[str, Any]) -> None:
    required = set(schema["required"])
    parsers = [
        (c, parser(schema["properties"].get(c, {"type": "string"})), c in required) for c in sheet.columns
    ]
    empty = dict.fromkeys([*schema["properties"], *sheet.columns])
    width = len(parsers)
    for line, cells in body:
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) != width:
            sheet.fault(
                line,
                None,
                f"{len(cells)} cells",
                f"{width}, as the header has; an unknown value is an empty cell",
            )
            continue
        row = dict(empty)
        for text, (column, parse, needed) in zip(cells, parsers, strict=True):
            if text:
                try:
                    row[column] = parse(text)
                except ValueError as error:
                    sheet.fault(line, column, repr(text), str(error))
            elif needed:
                sheet.fault(line, column, "nothing", schema["properties"][column]["description"])
        sheet.rows.append(row)
        sheet.lines.append(line)


def parser(schema: dict[str, Any]) -> Parser:
    """The function that turns a cell of a column into its value.

    It raises ValueError with what was expected. Numbers without a point stay whole, so that a table written
    back reads as it did.
    """
    kinds = types(schema)
    if "number" in kinds:
        return lambda text: _number(text, schema)
    if "integer" in kinds and "string" in kinds:
        return lambda text: int(text) if INTEGER.fullmatch(text) else _text(text)
    if "enum" in schema:
        return lambda text: _choice(text, schema)
    if schema.get("format") == "path":
        return _path
    if "pattern" in schema:
        matches = pattern(schema["pattern"]).search
        lower = "a-fA-F" in schema["pattern"]
        return lambda text: _matched(text, matches(text), schema["pattern"], lower)
    return _text


def _number(text: str, schema: dict[str, Any]) -> float | int:
    if not NUMBER.fullmatch(text):
        raise ValueError(_why_no_number(text, schema))
    value = int(text) if INTEGER.fullmatch(text) else float(text)
    if abs(value) == float("inf") or out_of_range(value, schema):
        raise ValueError(range_words(schema))
    return value


def _why_no_number(text: str, schema: dict[str, Any]) -> str:
    unit = schema.get("unit")
    if text.lower() in _NOTHING:
        return "a number, or an empty cell where it is not known"
    if NUMBER.fullmatch(text.replace(",", ".")) and text.count(",") == 1:
        return f"a decimal point: {text.replace(',', '.')}"
    if NUMBER.fullmatch(text.replace("\u2212", "-").replace("\u2013", "-")):
        return "a plain hyphen as minus sign"
    if re.match(r"[-+]?[\d.]+\s*[^\d.,]+$", text) and unit:
        return f"the number alone, in {unit}"
    return f"a number in {unit}" if unit else "a number"


def _text(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("text without control characters")
    return text


def _choice(text: str, schema: dict[str, Any]) -> str:
    choices = [item for item in schema["enum"] if item is not None]
    if text in choices:
        return text
    raise ValueError("one of " + ", ".join(choices) + perhaps(text, choices))


def _path(text: str) -> str:
    if "\\" in text:
        raise ValueError(f"a path with forward slashes: {text.replace(chr(92), '/')}")
    if text.endswith("/"):
        raise ValueError("a file, not a folder")
    if any(letter in text for letter in "{}<>"):
        raise ValueError("a path without { } < >, which a workflow reads as a name to fill in")
    return _text(text)


def _matched(text: str, match: object, form: str, lower: bool) -> str:
    if not match:
        raise ValueError(explain_pattern(form))
    return text.lower() if lower else text
