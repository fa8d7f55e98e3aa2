"""The command `ceiflow`, called as a function."""

import csv
import itertools
import shutil
import sys
import types

import pytest
import yaml

from ceiflow import __version__
from ceiflow.cli import main
from ceiflow.study import default_config, load_config
from ceiflow.study.schemas import load_schema
from ceiflow.study.sheets import read_sheet
from ceiflow.study.template import _EXAMPLES, config_text, example_row, sheet_text


@pytest.fixture
def new(tmp_path, capsys):
    """A freshly laid out study in a folder with a space."""
    folder = tmp_path / "my first study"
    assert main(["new", str(folder)]) == 0
    capsys.readouterr()
    return folder


def fill_in(folder, changes=None):
    for name in ("cells", "acquisitions"):
        row = {**example_row(name), **((changes or {}) if name == "acquisitions" else {})}
        (folder / "config" / f"{name}.tsv").write_text(sheet_text(name, [row]), encoding="utf-8")


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ceiflow {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["fly"], ["new"], ["check"], ["sheet"]])
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: ceiflow" in capsys.readouterr().err


def test_new_lays_out_a_study(new):
    config = yaml.safe_load((new / "config" / "config.yaml").read_text(encoding="utf-8"))
    expected = default_config()
    expected["study"]["title"] = "my first study"
    assert config == expected
    assert list(config) == list(expected)
    with open(new / "config" / "acquisitions.tsv", encoding="utf-8", newline="") as handle:
        (header,) = csv.reader(handle, delimiter="\t")
    assert header == list(load_schema("acquisitions")["properties"])
    readme = (new / "README.md").read_text(encoding="utf-8")
    assert "short-1_p1_r1_si" in readme
    assert (new / "raw").is_dir()


def test_every_line_of_the_template_has_a_comment_above():
    lines = [line for line in config_text().splitlines() if line.strip()]
    for above, line in itertools.pairwise(lines):
        if not line.lstrip().startswith("#"):
            assert above.lstrip().startswith("#"), line
    assert max(map(len, lines)) <= 110


def test_examples_in_the_template_are_valid(new, capsys):
    text = config_text()
    for key in ("claims", "references", "files"):
        assert f"{key}: []\n" in text
    config = {"claims": yaml.safe_load(_EXAMPLES["claims"])}
    config["fine_structure"] = {"references": yaml.safe_load(_EXAMPLES["fine_structure.references"])}
    config["retrieve"] = {"files": yaml.safe_load(_EXAMPLES["retrieve.files"])}
    config["retrieve"]["files"][0]["sha256"] = "0" * 64
    fill_in(new)
    cells = [example_row("cells"), {**example_row("cells"), "cell_id": "normal-1", "condition": "normal"}]
    (new / "config" / "cells.tsv").write_text(sheet_text("cells", cells), encoding="utf-8")
    (new / "config" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (new / "references").mkdir()
    (new / "references" / "mno2.csv").touch()
    assert main(["check", str(new)]) == 0, capsys.readouterr().out
    assert load_config(config)["claims"][1]["margin"] == 2.0


def test_example_rows_are_valid(new):
    fill_in(new)
    for name in ("cells", "acquisitions"):
        sheet = read_sheet(new / "config" / f"{name}.tsv", name, load_schema(name))
        assert not sheet.faults


@pytest.mark.parametrize("occupied", ["folder", "file"])
def test_new_overwrites_nothing(tmp_path, capsys, occupied):
    target = tmp_path / "study"
    if occupied == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("x")
    else:
        target.write_text("x")
    assert main(["new", str(target)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert not (target / "config").exists()


def test_new_takes_an_empty_folder(tmp_path):
    assert main(["new", str(tmp_path)]) == 0
    assert (tmp_path / "config" / "config.yaml").is_file()


def test_new_from_an_example(tmp_path, capsys, root):
    assert main(["new", str(tmp_path / "a"), "--example", "nmc-edge"]) == 0
    original = root / "config" / "examples" / "nmc-edge" / "config" / "config.yaml"
    assert (tmp_path / "a" / "config" / "config.yaml").read_text() == original.read_text()
    assert main(["new", str(tmp_path / "b"), "--example", "moon"]) == 2
    assert "nmc-edge" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_check_of_an_empty_study_says_what_to_fill_in(new, capsys):
    assert main(["check", str(new)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "2 faults"
    assert any("acquisitions.tsv: file: found no rows" in line for line in out)


def test_check_names_absent_files_and_passes(new, capsys):
    fill_in(new)
    assert main(["check", str(new)]) == 0
    out = capsys.readouterr().out
    assert "note: short-1_p1_r1_si: path: raw/short-1/core.dm4 is not there" in out
    assert "1 acquisition, 1 cell, 0 claims; no faults" in out
    (new / "raw" / "short-1").mkdir()
    for name in ("core", "low"):
        (new / "raw" / "short-1" / f"{name}.dm4").touch()
    assert main(["check", str(new)]) == 0
    assert "note" not in capsys.readouterr().out


def test_check_prints_one_line_a_fault(new, capsys):
    fill_in(new, {"modality": "eels", "beam_energy_keV": "3e5", "cell_id": "short-2"})
    assert main(["check", str(new)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4
    assert all(line.startswith("config/acquisitions.tsv: row 2, column ") for line in out[:3])


def test_check_needs_a_folder(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(["check", str(tmp_path)]) == 1
    assert "config/config.yaml: file: found no such file" in capsys.readouterr().out


@pytest.fixture
def draft(monkeypatch):
    """Stands in for the reading of instrument files."""
    module = types.ModuleType("ceiflow.signals.sheet")
    rows = [{"acquisition_id": "a", "path": "raw/a.dm4", "beam_energy_keV": 300, "note": None}]
    module.draft_sheet = lambda folder: (rows, ["a: no pixel size in the file"])
    monkeypatch.setitem(sys.modules, "ceiflow.signals.sheet", module)


def test_sheet_prints_rows_and_what_is_missing(tmp_path, capsys, draft):
    assert main(["sheet", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    header, row = (line.split("\t") for line in printed.out.splitlines())
    assert dict(zip(header, row, strict=True))["beam_energy_keV"] == "300"
    assert printed.err == "note: a: no pixel size in the file\n"


def test_sheet_fills_an_empty_sheet_and_overwrites_no_other(new, capsys, draft):
    target = new / "config" / "acquisitions.tsv"
    assert main(["sheet", str(new / "raw"), "--output", str(target)]) == 0
    assert "raw/a.dm4" in target.read_text()
    before = target.read_bytes()
    assert main(["sheet", str(new / "raw"), "--output", str(target)]) == 2
    assert "rows already" in capsys.readouterr().err
    assert target.read_bytes() == before
    shutil.rmtree(new / "raw")
    assert main(["sheet", str(new / "raw")]) == 2


@pytest.mark.real_data
def test_sheet_of_measured_files(real_data, tmp_path, capsys):
    """What is drafted becomes a sheet without faults once cell, particle and region are filled in."""
    target = tmp_path / "acquisitions.tsv"
    assert main(["sheet", str(real_data / "nmc-edge"), "-o", str(target)]) == 0
    assert "missing convergence_mrad" in capsys.readouterr().err
    drafted = read_sheet(target, "drafted", load_schema("acquisitions"))
    assert {fault.field.split("column ")[1] for fault in drafted.faults} == {
        "cell_id",
        "particle_id",
        "region_id",
    }
    assert drafted.rows[0]["low_loss_path"] == "nmc-edge/low_loss_si.dm3"
