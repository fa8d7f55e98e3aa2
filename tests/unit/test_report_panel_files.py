"""Figure files of the panels: promised from the sheets, the same twice, with the numbers behind them."""

import csv
import re
from xml.etree import ElementTree

import fake_results
import pytest
from PIL import Image

from ceiflow.figures import plate, style
from ceiflow.figures.slots import slots
from ceiflow.figures.tables import groups
from ceiflow.report.panel_files import write_panels
from ceiflow.report.panels import study_slots
from ceiflow.report.results import Results
from ceiflow.study.panels import panels


def results_of(folder, **how):
    return Results(fake_results.make(folder, **how), folder / "config" / "cells.tsv")


def names_from_sheets(results):
    """As the rules know them before anything ran."""
    sheet = results.sheet
    with open(results.folder.parent / "config" / "acquisitions.tsv", encoding="utf-8") as handle:
        acquisitions = list(csv.DictReader(handle, delimiter="\t"))
    return [
        place.name for place in slots(panels(sheet, acquisitions, []), groups(sheet, sheet), acquisitions)
    ]


def test_sheets_tell_the_names_that_the_results_fill(tmp_path):
    results = results_of(tmp_path)
    names = names_from_sheets(results)
    assert names == [place.name for place in study_slots(results, [])]
    assert names[0] == "panel_1a_1"
    assert "panel_2e" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("how", [{}, {"failed": True}], ids=["analysed", "failed"])
def test_every_promised_file_is_written_the_same_twice(tmp_path, how):
    results = results_of(tmp_path, **how)
    names = [*names_from_sheets(results), "panel_9z_1"]
    folders = [tmp_path / "a", tmp_path / "b"]
    written = [write_panels(results, [], names, folder, 100, "Words.") for folder in folders]
    ends = [path.relative_to(folders[0]) for path in written[0]]
    assert len(ends) == 4 * len(names)
    for end in ends:
        assert (folders[0] / end).read_bytes() == (folders[1] / end).read_bytes(), end
    assert not list(folders[0].rglob(".*"))


def test_files_are_as_wide_as_one_or_two_columns_and_hold_their_numbers(tmp_path):
    results = results_of(tmp_path)
    names = names_from_sheets(results)
    write_panels(results, [], names, tmp_path / "f", 100, "Words.")
    for name in names:
        text = (tmp_path / "f" / f"{name}.svg").read_text(encoding="utf-8")
        width = float(re.search(r'width="([\d.]+)mm"', text).group(1))
        assert width in (style.ONE_COLUMN_MM, style.TWO_COLUMNS_MM), name
        assert "<text" not in text  # letters are outlines: no font can be missing
        assert not re.search(r"""href=["'](?:https?:|file:)""", text)
        ids = re.findall(r'\bid="([^"]*)"', text)
        # Names of one figure are not those of another on the plate.
        assert all(re.match(r"f\d+-", own) for own in ids), name
        used = set(re.findall(r"url\(#([^)]*)\)", text)) | set(re.findall(r'href="#([^"]*)"', text))
        assert used <= set(ids), name
        ElementTree.fromstring(text)
        with Image.open(tmp_path / "f" / f"{name}.png") as image:
            assert image.size[0] == pytest.approx(width / 25.4 * 100, abs=1)
        caption = (tmp_path / "f" / "captions" / f"{name}.rst").read_text(encoding="utf-8")
        assert caption.startswith("Words.")
        assert len(caption) > 60
    with open(tmp_path / "f" / "panel_1a_1.tsv", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert rows
    assert {"acquisition_id", "part", "position_nm", "thickness_nm", "lod_nm"} <= set(rows[0])


def test_figures_of_a_plate_do_not_overlap():
    row = [style.nothing("a"), style.nothing("b")]
    placed, width, height = plate.place([row, [style.nothing("c", style.TWO_COLUMNS_MM)]])
    assert width == pytest.approx(style.TWO_COLUMNS_MM)
    assert [left for _, left, _ in placed] == pytest.approx([0.0, style.ONE_COLUMN_MM + plate.GAP_MM, 0.0])
    assert placed[2][2] >= 18.0
    assert height == pytest.approx(36.0 + plate.GAP_MM)
