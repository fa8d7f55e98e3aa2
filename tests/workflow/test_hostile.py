"""Titles, ids, names of files and what files say, made to break out: no page, notebook or shell runs them."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from running import contract_faults, demo_study, edit_config, edit_table, read_table, snakemake

pytestmark = pytest.mark.workflow
SCRIPT = "</script><script>window.ran=1</script><img src=x onerror=window.ran=1>"
TEXT = (
    f"{SCRIPT} \"'`touch escaped` $(touch escaped); touch escaped | {{{{ 7*7 }}}} {{wildcard}} $x$ %s \u202e"
)
FILE = 'raw/a b\'; touch escaped; $(touch escaped) "`touch escaped`" & #1'
LONG = "a" + "..-rf." * 16 + "z--"
CELL = "c..-rf"


class Page(HTMLParser):
    """What of a page could run or load something."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.scripts: list[str] = []
        self.wrong: list[tuple[str, str]] = []
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self._inside = tag == "script"
        if tag == "script":
            self.scripts.append("")
        for name, value in attributes:
            outside = name in ("src", "srcset", "data", "poster", "action") and not (value or "").startswith(
                "data:"
            )
            if name.startswith("on") or outside or re.match(r"\s*javascript:", value or "", re.IGNORECASE):
                self.wrong.append((tag, f"{name}={value}"))

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def hostile(finished, tmp_path_factory) -> Path:
    """A spectrum image and an image with hostile words, a spectrum that is none, and an excluded row."""
    study = tmp_path_factory.mktemp("hostile") / "study"
    kept = ("shorted-2-p1r1-si", "shorted-2-p1r1-hr", "shorted-2-p2r2-f1", "shorted-2-p2r2-f2")
    demo_study(study, lambda row: row["acquisition_id"] in kept)
    (study / "raw").mkdir()

    def rename(rows):
        for number, row in enumerate(rows):
            row["cell_id"] = CELL
            for key in ("path", "low_loss_path", "adf_path"):
                if row[key]:
                    name = f"{FILE}{number}{key}{Path(row[key]).suffix}"
                    shutil.copy(finished / row[key], study / name)
                    row[key] = name
            row["a <b>column</b> $(touch escaped)"] = TEXT
        by_id = {row["acquisition_id"]: row for row in rows}
        by_id["shorted-2-p1r1-si"]["acquisition_id"] = LONG
        by_id["shorted-2-p1r1-hr"]["acquisition_id"] = "x-rf..x"
        by_id["shorted-2-p2r2-f1"] |= {"acquisition_id": "broken", "frame": ""}
        by_id["shorted-2-p2r2-f2"]["exclude"] = TEXT
        content = f"#FORMAT : {SCRIPT}\n#TITLE : {TEXT}\n#XUNITS : {SCRIPT}\n#SPECTRUM : {TEXT}\n{SCRIPT}\n"
        (study / by_id["shorted-2-p2r2-f1"]["path"]).write_text(content, encoding="utf-8")
        return rows

    edit_table(study / "config" / "acquisitions.tsv", rename)
    words = {"condition": TEXT, "electrode": TEXT, "electrolyte": TEXT, "batch": TEXT, "note": TEXT}
    edit_table(study / "config" / "cells.tsv", lambda rows: [rows[0] | words | {"cell_id": CELL}])
    claim = {"id": "about..ten", "kind": "interval", "endpoint": "layer_thickness_nm", "low": 5, "high": 15}
    titles = {"title": TEXT, "authors": [TEXT], "description": TEXT, "licence": TEXT}

    def change(config):
        config.update(demo=False, study=titles, claims=[claim | {"group": {"condition": TEXT}}])

    edit_config(study, change)
    run = snakemake(study)
    assert run.returncode == 0, run.text[-5000:]
    return study


def test_nothing_was_run_and_nothing_left_its_folder(hostile):
    assert [path for path in hostile.parent.rglob("*escaped*") if path.parent != hostile / "raw"] == []
    known = {".snakemake", "benchmarks", "config", "logs", "raw", "results"}
    assert {path.name for path in hostile.iterdir()} <= known
    assert [path.name for path in hostile.parent.iterdir()] == ["study"]
    assert not Path("escaped").exists()


def test_tables_keep_the_words_as_they_are(hostile):
    rows = {
        row["acquisition_id"]: row for row in read_table(hostile / "results" / "tables" / "acquisitions.tsv")
    }
    assert {name: row["qc_status"] for name, row in rows.items()} | {LONG: "", "x-rf..x": ""} == {
        LONG: "",
        "x-rf..x": "",
        "broken": "failed",
        "shorted-2-p2r2-f2": "excluded",
    }
    assert contract_faults(hostile).endswith("0 fault(s)")


def test_pages_run_nothing_of_it(hostile, finished):
    pages = sorted((hostile / "results" / "reports").rglob("*.html"))
    assert {"study.html", "index.html", f"{CELL}.html", f"{LONG}.html"} <= {page.name for page in pages}
    own = scripts(next((finished / "results" / "reports" / "explorer").glob("*.html")))
    for path in pages:
        text = path.read_text(encoding="utf-8")
        found = Page(text)
        assert found.wrong == [], path
        assert scripts(path) == (own if path.parent.name == "explorer" else []), path
    study = (hostile / "results" / "reports" / "study.html").read_text(encoding="utf-8")
    assert "window.ran=1" in study, "the words are there, as text"
    assert "window.ran=1" not in "".join(scripts(hostile / "results" / "reports" / "study.html"))


def scripts(path: Path) -> list[str]:
    """Scripts of a page that run; what holds data is read as JSON and is no script."""
    text = path.read_text(encoding="utf-8")
    kinds = re.findall(r"<script([^>]*)>", text)
    bodies = Page(text).scripts
    assert len(kinds) == len(bodies)
    for kind, body in zip(kinds, bodies, strict=True):
        if "json" in kind:
            json.loads(body)
    return [body for kind, body in zip(kinds, bodies, strict=True) if "type=" not in kind]


def test_notebooks_hold_no_code_of_it(hostile, root):
    for name, made in (("study", "study"), ("cell", f"cells/{CELL}")):
        template = json.loads((root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        notebook = json.loads((hostile / "results" / "reports" / f"{made}.ipynb").read_text(encoding="utf-8"))
        known = {"".join(cell["source"]) for cell in template["cells"]}
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            injected = "injected-parameters" in cell["metadata"].get("tags", [])
            assert source in known or (injected and "touch" not in source), source
            for output in cell.get("outputs", []):
                for kind, content in output.get("data", {}).items():
                    assert "javascript" not in kind
                    if kind == "text/html":
                        found = Page("".join(content))
                        assert (found.wrong, found.scripts) == ([], []), made


@pytest.mark.parametrize(
    "name", ["../../escaped", "a b", "$(touch escaped)", "-rf", "<b>", "a/b", "x" * 300, ".."], ids=repr
)
def test_ids_that_are_refused(name, tmp_path):
    study = demo_study(tmp_path, lambda row: row["cell_id"] == "shorted-1")
    edit_config(study, lambda config: config.update(claims=[]))
    edit_table(study / "config" / "acquisitions.tsv", lambda rows: [rows[0] | {"acquisition_id": name}])
    from ceiflow.errors import StudyError
    from ceiflow.study.validation import load_study

    with pytest.raises(StudyError, match="a name of letters"):
        load_study(study)


def test_configuration_that_makes_objects(tmp_path):
    """Snakemake reads the configuration first."""
    study = demo_study(tmp_path / "study", lambda row: row["cell_id"] == "shorted-1")
    path = study / "config" / "config.yaml"
    path.write_text(f"{path.read_text()}\nevil: !!python/object/apply:os.mkdir ['{tmp_path}/escaped']\n")
    run = snakemake(study, "--dry-run")
    assert run.returncode != 0
    assert "Traceback" not in run.text
    assert not (tmp_path / "escaped").exists()


def test_path_longer_than_a_file_system_takes(tmp_path):
    """It is absent, and fails its own row only."""
    study = demo_study(tmp_path, lambda row: row["acquisition_id"] == "shorted-1-p1r1-hr")
    edit_config(study, lambda config: config.update(claims=[], demo=False))
    edit_table(
        study / "config" / "acquisitions.tsv", lambda rows: [rows[0] | {"path": "raw/" + "a" * 300 + ".dm3"}]
    )
    run = snakemake(study, "results/tables/acquisitions.tsv")
    assert run.returncode == 0, run.text[-3000:]
    (row,) = read_table(study / "results" / "tables" / "acquisitions.tsv")
    assert row["qc_status"] == "failed"
