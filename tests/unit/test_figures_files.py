"""Figures: byte-identical files, texts that state their content, and folders with nothing to show."""

import itertools
import subprocess
import sys

import fake_results
import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection

from ceiflow import figures
from ceiflow.figures import folders, overlay, style
from ceiflow.figures.tables import rows

TABLES = ("claims", "cells", "measurements", "acquisitions", "heterogeneity")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return fake_results.make(tmp_path_factory.mktemp("study"))


def tables(results):
    found = {name: results / "tables" / f"{name}.tsv" for name in TABLES}
    return {**found, "sheet": results.parent / "config" / "cells.tsv"}


def test_study_figures_are_byte_identical_whatever_the_users_style(results, tmp_path):
    first = figures.draw_study(tables(results), tmp_path / "a")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.facecolor": "red"}):
        second = figures.draw_study(tables(results), tmp_path / "b")
    names = [path.name for path in first]
    assert names == [f"{name}.{kind}" for name in figures.STUDY_FIGURES for kind in ("png", "svg", "tsv")]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_files_do_not_hang_on_which_is_written_first(results, tmp_path):
    first, second = (figures.claims_forest(results / "tables" / "claims.tsv") for _ in range(2))
    a = [figures.save(first, tmp_path / "a" / name) for name in ("claims.png", "claims.svg")]
    b = [figures.save(second, tmp_path / "b" / name) for name in ("claims.svg", "claims.png")]
    assert {p.name: p.read_bytes() for p in a} == {p.name: p.read_bytes() for p in b}


def test_acquisition_figures_are_byte_identical(results, tmp_path):
    for name, modality, kind in (("S1_eels_si", "eels_si", "eels"), ("S1_hrtem", "hrtem", "images")):
        pairs = [
            figures.draw_acquisition(name, modality, results / kind / name, tmp_path / run) for run in "ab"
        ]
        assert len(pairs[0]) == 2 * len(figures.ACQUISITION_FIGURES[modality])
        for a, b in zip(*pairs, strict=True):
            assert a.read_bytes() == b.read_bytes(), a.name


def test_files_hold_no_version_and_no_date(results, tmp_path):
    for path in figures.draw_study(tables(results), tmp_path):
        content = path.read_bytes()
        assert b"Matplotlib v" not in content
        assert b"dc:date" not in content


def test_no_partial_file_is_left_and_other_endings_are_refused(results, tmp_path):
    figure = folders.study_figure("claims", {name: rows(path) for name, path in tables(results).items()})
    figures.save(figure, tmp_path / "claims.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["claims.svg"]
    with pytest.raises(ValueError, match="jpg"):
        figures.save(figure, tmp_path / "claims.jpg")


def test_every_figure_states_its_content(results):
    read = {name: rows(path) for name, path in tables(results).items()}
    for name in figures.STUDY_FIGURES:
        assert len(figures.description(folders.study_figure(name, read))) > 40, name
    text = figures.description(folders.study_figure("layer_thickness", read))
    assert "shorted · NMC532 · charged: 9.50, 9.50 nm" in text
    assert "2 cell(s) below detection" in text
    assert "difference thicker 8.00 [6.50, 9.50] nm" in text


@pytest.mark.parametrize("which", [{"empty": True}, {"failed": True}])
def test_figures_of_nothing_say_so(tmp_path, which):
    results = fake_results.make(tmp_path, **which)
    read = {name: rows(path) for name, path in tables(results).items()}
    for name in figures.STUDY_FIGURES:
        assert figures.description(folders.study_figure(name, read))
    for name, modality, kind in (("S1_eels_si", "eels_si", "eels"), ("S1_hrtem", "hrtem", "images")):
        assert figures.draw_acquisition(name, modality, results / kind / name, tmp_path / "figures", ("png",))


def test_missing_tables_are_empty_tables(tmp_path):
    nothing = {name: tmp_path / f"{name}.tsv" for name in (*TABLES, "sheet")}
    written = figures.draw_study(nothing, tmp_path / "figures", ("png",))
    assert len(written) == 2 * len(figures.STUDY_FIGURES)


def test_maps_show_counts_where_no_density_is_identifiable(tmp_path):
    for densities, words in ((True, "Areal densities"), (False, "Edge counts")):
        fake_results.write_maps(tmp_path / "maps.h5", "a", densities)
        assert figures.description(figures.element_maps(tmp_path / "maps.h5")).startswith(words)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (2, 60), (80, 4)])
def test_maps_of_lines_and_slivers_are_drawn(tmp_path, shape):
    fake_results.write_maps(tmp_path / "maps.h5", "a", shape=shape)
    fake_results.write_layer(tmp_path / "layer.tsv")
    for figure in (figures.element_maps(tmp_path / "maps.h5"), figures.normal_profile(tmp_path / "maps.h5"),
                   figures.layer_overlay_eels(tmp_path / "maps.h5", tmp_path / "layer.tsv")):  # fmt: skip
        figures.save(figure, tmp_path / "figure.png", dpi=60)
        assert max(figure.get_size_inches()) < 12


def test_trace_tells_how_much_is_covered(tmp_path):
    fake_results.write_layer(tmp_path / "layer.tsv")
    text = figures.description(figures.layer_trace(tmp_path / "layer.tsv"))
    assert "present at 10 of 12 surface points" in text


def test_what_was_not_measured_is_not_bare(tmp_path):
    """A missing thickness or limit is no absence, and a covered point without neighbours is drawn."""
    fake_results.write_layer(tmp_path / "layer.tsv")
    table = rows(tmp_path / "layer.tsv")
    told = [("9", "1.5", "true"), ("", "1.5", "false"), ("0.1", "", "false"), ("0.1", "1.5", "false")]
    for row, (thickness, limit, found) in zip(table, told, strict=False):
        row |= {"thickness_nm": thickness, "lod_nm": limit, "present": found}
    assert [int(where.sum()) for where in overlay.kinds(table).values()] == [2, 1, 1]
    fake_results.write_maps(tmp_path / "maps.h5", "a")
    drawn = figures.layer_overlay_eels(tmp_path / "maps.h5", table)
    for figure in (drawn, figures.layer_trace(table)):
        words = [text.get_text().partition(":")[0] for text in figure.legends[0].get_texts()]
        assert {"bare", "not measured", "cannot tell"} <= set(words)
        assert "1 not measured, 1 cannot tell" in figures.description(figure)
    isolated = [item for item in drawn.axes[0].collections if isinstance(item, PathCollection)]
    assert [len(item.get_offsets()) for item in isolated] == [2]


def test_dollar_signs_are_not_formulas(tmp_path):
    figure = style.nothing(r"a $\frac{broken$ title")
    figures.save(figure, tmp_path / "figure.png")


def test_control_characters_do_not_break_the_svg(tmp_path):
    from xml.dom import minidom

    figures.save(style.nothing("a\x0bb <&>"), tmp_path / "figure.svg")
    minidom.parse(str(tmp_path / "figure.svg"))


def test_names_of_figures_are_had_without_matplotlib():
    code = "import sys; import ceiflow.figures as f; f.STUDY_FIGURES; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_bars_that_are_left_out_are_counted():
    levels = [
        {"endpoint": name, "zone": "all", "level": "cell", "variance": "1", "share": "1"}
        for name in (*(f"atomic_fraction_{i}" for i in range(16)), "layer_thickness_nm")
    ]
    figure = figures.heterogeneity_bars(levels)
    assert figure.axes[0].get_yticklabels()[0].get_text().startswith("layer thickness")
    assert "and 3 more in the table" in figure.axes[0].get_xlabel()
    assert "and 3 more in the table" in figures.description(figure)


@pytest.mark.parametrize(("groups", "differences"), [(1, 2), (2, 1), (3, 0), (4, 4), (12, 2), (16, 4)])
def test_labels_of_groups_never_meet(groups, differences):
    about = {"endpoint": "layer_thickness_nm", "zone": "layer", "unit": "nm"}
    cells = [
        {"cell_id": f"c{i}", "condition": f"condition{i}", "electrode": "NMC532", "value": "5", **about}
        for i in range(groups)
    ]
    names = {"test": "condition=shorted;electrode=NMC532", "reference": "condition=normal;electrode=NMC532"}
    claim = {"claim_id": "a", "kind": "difference", "estimate": "5", **names, **about}
    figure = figures.estimation_plot(cells, [], [claim] * differences, "layer_thickness_nm")
    style.settle(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = [label for axes in figure.axes for label in axes.get_xticklabels() if label.get_text()]
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    assert len(boxes) == groups + differences
    assert not [a for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
