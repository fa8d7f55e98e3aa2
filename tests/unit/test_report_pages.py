"""Pages: executed, normalised, rendered; offline, escaped, accessible, the same twice."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import fake_results
import nbformat
import pytest

from ceiflow import report
from ceiflow.report import cell, html, pages, study
from ceiflow.report.html import Column
from ceiflow.report.results import Results

SECTIONS = [name for name in study.__all__ if name != "head"]


class Page(HTMLParser):
    """Elements, texts and attributes of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in {"img", "br", "meta", "link", "input", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.elements if tag == name]


def check(text: str) -> Page:
    """What every page must hold to: nothing from elsewhere, no script, text for images, sound nesting."""
    page = Page(text)
    assert not page.faults
    assert not page.open
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "data:").startswith("data:image/"[:5]), (tag, name)
        if tag == "a":
            assert not re.match(r"(?i)javascript|data|file|/", attributes["href"].strip()), attributes
    assert not re.search(r"url\(|@import", text)
    for image in page.all("img"):
        assert len(image.get("alt", "")) > 20
    names = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(names) == len(set(names))
    targets = {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")}
    assert targets <= set(names)
    return page


def assemble(*blocks) -> str:
    # The section that the head links to; its heading stands in the notebook.
    return '<main><h2 id="quality">Quality</h2>' + "".join(str(block) for block in blocks) + "</main>"


def at(folder) -> Results:
    """Results of a study folder, with its sheet."""
    return Results(folder, folder.parent / "config" / "cells.tsv")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return at(fake_results.make(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def executed(results, root):
    """The study page and one cell page, made as the workflow makes them."""
    folder = results.folder / "reports"
    made = {}
    for name, notebook, page, more in (
        ("study", "study.ipynb", "study.html", {}),
        ("cell", "cell.ipynb", "cells/N1.html", {"cell_id": "N1"}),
    ):
        source = root / "notebooks" / notebook
        output = folder / f"{name}.ipynb"
        report.execute(source, output, {"results": results.folder, **more}, cwd=results.folder.parent)
        report.render(output, folder / page)
        made[name] = (output, folder / page)
    return made


def test_notebooks_are_clean(root):
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        nbformat.validate(notebook)
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
        assert [cell["id"] for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
        for item in notebook["cells"]:
            if item["cell_type"] == "code":
                assert item["outputs"] == []
                assert item["execution_count"] is None
                assert "import numpy" not in "".join(item["source"])


def test_pages_are_offline_escaped_and_accessible(executed):
    for name, (_, path) in executed.items():
        text = path.read_text(encoding="utf-8")
        page = check(text.replace("<!DOCTYPE html>", ""))
        assert path.stat().st_size < 5_000_000
        assert "default-src 'none'" in text
        assert "<script" not in text, name
        assert page.all("html")[0]["lang"] == "en"
        assert [a for a in page.all("a") if a["href"].endswith(f"{name}.ipynb")]
        assert page.all("img")
    assert "&lt;script&gt;alert" in executed["study"][1].read_text(encoding="utf-8")


def test_pages_do_not_name_this_machine(executed, results):
    for pair in executed.values():
        for path in pair:
            text = path.read_text(encoding="utf-8")
            assert str(results.folder.parent) not in text
            assert str(Path.home()) + "/" not in text
            assert str(Path(sys.prefix)) not in text


def test_executed_notebook_is_normalised(executed):
    notebook = nbformat.read(executed["study"][0], as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    for item in notebook.cells:
        assert set(item.metadata) <= {"tags"}
    assert 'results = "results"' in "".join(item.source for item in notebook.cells)


def test_same_results_give_the_same_bytes_without_a_home(executed, results, root, tmp_path):
    """In another process, with a home that cannot be written and no configuration of Jupyter."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    code = (
        "import sys; from pathlib import Path; from ceiflow import report\n"
        "report.execute(sys.argv[1], sys.argv[2], {'results': Path('results'), 'cell_id': 'N1'})\n"
        "report.render(sys.argv[2], sys.argv[3])\n"
    )
    again = results.folder / "again"
    command = [sys.executable, "-c", code, str(root / "notebooks/cell.ipynb"), "results/again/cell.ipynb"]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [*command, "results/again/cells/N1.html"],
        cwd=results.folder.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    notebook, page = executed["cell"]
    assert (again / "cell.ipynb").read_bytes() == notebook.read_bytes()
    assert (again / "cells" / "N1.html").read_bytes() == page.read_bytes()
    assert [path.name for path in home.iterdir() if not path.name.startswith(".")] == []


def test_a_failing_notebook_is_kept_beside_the_log(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0", id="a")])
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        report.execute(
            tmp_path / "bad.ipynb", tmp_path / "out.ipynb", {}, failed=tmp_path / "log" / "bad.ipynb"
        )
    assert not (tmp_path / "out.ipynb").exists()
    assert "ZeroDivisionError" in (tmp_path / "log" / "bad.ipynb").read_text(encoding="utf-8")


def test_the_answer_comes_from_the_claims(results):
    text = assemble(study.head(results), study.verdicts(results), study.quality(results))
    check(text)
    plain = re.sub(r"<[^>]*>", "", text)
    assert "Supported: layer thickness, shorted minus normal (thicker: 8.0 [6.5, 9.5] nm)" in plain
    assert "Cannot be told from these data: no layer above 2 nm, normal" in plain
    assert "1 excluded by the sheet" in plain
    assert "Two cells are too few." in plain


@pytest.mark.parametrize("which", [{"empty": True}, {"failed": True}, {"densities": False}])
def test_pages_of_little(tmp_path, which):
    results = at(fake_results.make(tmp_path, **which))
    text = assemble(study.head(results), *(getattr(study, name)(results) for name in SECTIONS))
    check(text)
    for name in ("N1", "S1", "unheard-of"):
        check(
            assemble(cell.head(results, name), cell.values(results, name), cell.acquisitions(results, name))
        )
    if "failed" in which:
        assert "Of 8 acquisitions, 8 failed" in text
    if "empty" in which:
        assert "No claim was registered" in text


def test_a_folder_without_anything_still_gives_a_page(tmp_path):
    results = at(tmp_path / "results")
    check(assemble(study.head(results), *(getattr(study, name)(results) for name in SECTIONS)))


def test_cell_page_says_what_missing_angles_cost(tmp_path):
    results = at(fake_results.make(tmp_path, densities=False))
    text = str(cell.acquisitions(results, "S1"))
    assert "Absolute areal densities of C, O, Mn are not identifiable: convergence or collection" in text
    assert "compare shapes, not amounts" in text
    assert '<span class="missing">missing</span>' in text
    assert "284.10" in text


def test_not_identifiable_is_grouped_by_reason(tmp_path):
    results = at(fake_results.make(tmp_path, densities=False))
    text = re.sub(r"<[^>]*>", " ", str(study.limits(results)))
    assert "C areal density, O areal density, Mn areal density" in text
    assert text.count("convergence or collection angle missing") == 1


def test_representative_is_the_median_and_not_the_prettiest(tmp_path):
    results = at(fake_results.make(tmp_path))
    results.measured("S1_eels_si", "layer_thickness_nm")["value"] = "20"
    results.measured("S2_eels_si", "layer_thickness_nm")["value"] = "10"
    cells = ["N1", "N2", "S1", "S2"]
    assert results.representative(cells, "eels_si")["acquisition_id"] == "S2_eels_si"
    assert results.representative(cells[:2], "eels_si")["acquisition_id"] == "N1_eels_si"
    assert results.representative(cells, "tem") is None


def test_texts_of_data_are_escaped():
    columns = [Column("a<b", "a"), Column("empty", "b")]
    text = str(html.table([{"a": fake_results.HOSTILE}], columns, caption="<&>"))
    assert "<script" not in text
    assert "a&lt;b" in text
    assert "empty" not in text
    assert html.escape("a\x00b\u202e") == "a b "


def test_large_images_are_made_smaller():
    from matplotlib.figure import Figure
    from numpy.random import default_rng

    drawn = Figure(figsize=(7, 4))
    drawn.subplots().imshow(default_rng(1).normal(size=(800, 800)), cmap="gray")
    drawn.set_label("Noise of no interest at all")
    small, large = (len(str(html.figure(drawn, limit_kb=limit))) for limit in (60, 2000))
    assert small < 60_000 * 4 / 3 + 500 < large


def test_markdown_of_a_notebook_cannot_bring_html_in():
    text = pages.markdown("## A & B\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) *y*")
    assert '<h2 id="a-b">A &amp; B</h2>' in text
    assert "<script" not in text
    assert "javascript:" not in text


def test_headings_of_the_same_name_have_addresses_of_their_own():
    body, contents = pages._with_contents('<h2 id="a">A</h2><h2 id="a">A <i>b</i></h2>')
    assert contents == [("a", "A"), ("a-2", "A b")]
    assert 'id="a-2"' in body


def test_report_is_light_for_the_start_of_the_workflow():
    code = (
        "import sys; import ceiflow.report.closing; "
        "print([m for m in ('papermill', 'nbconvert', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_groups_in_reasons_are_named_by_their_values():
    reason = "6 of 16 acquisitions with condition=shorted;electrode=NMC532 are below: taken at 0"
    assert study.in_words(reason) == "6 of 16 acquisitions with shorted · NMC532 are below: taken at 0"
    assert study.in_words("3 cells with condition=pristine: no angles") == "3 cells with pristine: no angles"
    assert study.in_words("Welch p = 0.1, two-sided") == "Welch p = 0.1, two-sided"


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        ((0.0178, 0.2246), "9.86 ± 0.02 ± 0.22"),
        ((0.03, 0), "9.861 ± 0.030"),
        ((0.0001, 1), "9.9 ± 0.0001 ± 1.0"),
        (("", 0.5), "9.86 ± ? ± 0.50"),
        ((0, 0), "9.86"),
        (("", ""), "9.86"),
    ],
)
def test_values_carry_both_errors(errors, text):
    assert html.amount(9.861433, *errors) == text
    assert html.amount(-1234.5, 260, 120) == "−1230 ± 260 ± 120"


def test_pages_say_which_error_is_which(tmp_path):
    results = at(fake_results.make(tmp_path))
    for row in results.measurements:
        if row["endpoint"] == "layer_thickness_nm":
            row["se_sys"] = "0.5"
    text = str(cell.acquisitions(results, "S1"))
    assert "9.50 ± 0.19 ± 0.50 nm" in text
    assert "Values ± statistical ± systematic" in text


def test_methods_say_how_the_axes_of_this_run_were_set(tmp_path):
    results = at(fake_results.make(tmp_path))
    path = results.source({"modality": "eels_si", "acquisition_id": "S1_eels_si"}) / "summary.json"
    path.write_text(json.dumps({"calibration": {"method": "zero_loss"}}), encoding="utf-8")
    text = str(study.how(results))
    assert "was set by known edges in 3 and by the zero loss in 1 of 4 acquisitions" in text


@pytest.mark.parametrize(
    ("note", "modality", "said", "unsaid"),
    [
        (
            "C K (284 eV) lies below the range, which starts at 400 eV",
            "eels_si",
            "Nothing of C",
            "do not need",
        ),
        ("no background window below C K: the range starts at 280 eV", "eels_si", "Nothing of C", "not need"),
        ("no low loss: the number is unknown", "eels_si", "profile along the normal", "Nothing"),
        ("no low loss: the number is unknown", "eels_spectrum", "Counts do not need them", "profile"),
        ("t/lambda 3 is above 2", "eels_si", "not identifiable: t/lambda", "do not need"),
    ],
)
def test_what_a_missing_density_costs(note, modality, said, unsaid):
    text = cell._density_words(note, "C", modality)
    assert said in text
    assert unsaid not in text
