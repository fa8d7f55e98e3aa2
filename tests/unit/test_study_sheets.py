"""A sheet reads the same wherever it is read: at the check, in the tables, on the pages."""

import pytest

from ceiflow.figures.tables import rows
from ceiflow.statistics.tables import read_table
from ceiflow.study.schemas import load_schema
from ceiflow.study.sheets import read_sheet

PLAIN = "condition\tcell_id\tbatch\nnormal\tc1\tB 1\nshorted\tc2\t\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\t\t\n"),
        PLAIN.replace("c1", " c1 ").replace("cell_id", "cell_id "),
        PLAIN + "\n\t\t\n",
        PLAIN.replace("B 1", '"B 1"'),
        PLAIN.replace("c2\t\n", "c2\t"),
    ],
    ids=["plain", "byte order mark", "CRLF", "empty columns", "blanks", "empty lines", "quotes", "no end"],
)
def test_what_spreadsheet_programs_add_changes_nothing(tmp_path, text):
    path = tmp_path / "cells.tsv"
    path.write_text(text, encoding="utf-8", newline="")
    sheet = read_sheet(path, "cells.tsv", load_schema("cells"))
    assert not sheet.faults
    expected = [
        {"condition": "normal", "cell_id": "c1", "batch": "B 1"},
        {"condition": "shorted", "cell_id": "c2", "batch": ""},
    ]
    checked = [{name: row[name] or "" for name in sheet.columns} for row in sheet.rows]
    assert checked == read_table(path) == rows(path) == expected
