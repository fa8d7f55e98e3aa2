"""Clocks that are wrong or jump, and a file system on which files show late."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from running import ROOT, edit_config, read_table, snakemake

from ceiflow.study.verify import compare

pytestmark = pytest.mark.workflow
MANIFEST = "results/MANIFEST.sha256"
DAY = 86_400.0


def date(paths, seconds: float) -> None:
    """Give files a time, by as much from now."""
    for path in paths:
        os.utime(path, (time.time() + seconds, time.time() + seconds))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def recorded(study):
    """The study with raw files that no rule makes, as an instrument leaves them."""
    edit_config(study, lambda config: config.update(demo=False))
    return study


def test_an_instrument_whose_clock_is_wrong(recorded, finished):
    """Raw files of tomorrow and of 1970: done once, and then there is nothing to do."""
    date(files(recorded / "raw"), DAY)
    os.utime(recorded / read_table(recorded / "config" / "acquisitions.tsv")[0]["path"], (0, 0))
    run = snakemake(recorded)
    assert run.returncode == 0, run.text[-3000:]
    found = compare(recorded / "results", finished / "results")
    assert {*found.equivalent, *found.ignored, *found.different} == {"study/config.yaml"}
    again = snakemake(recorded)
    assert "Nothing to be done" in again.text, again.text[-3000:]


def test_a_raw_file_that_is_replaced_by_an_older_one(recorded):
    assert snakemake(recorded).returncode == 0
    rows = {row["acquisition_id"]: row for row in read_table(recorded / "config" / "acquisitions.tsv")}
    first, second = (recorded / rows[f"shorted-2-p2r2-f{frame}"]["path"] for frame in (1, 2))
    shutil.copy(second, first)
    date([first], -1000 * DAY)
    run = snakemake(recorded, "--dry-run")
    assert run.jobs()["ingest"] == 1


def test_a_sheet_of_tomorrow_is_refused_at_once(recorded):
    date([recorded / "config" / "cells.tsv"], DAY)
    run = snakemake(recorded)
    assert run.returncode != 0
    assert "config/cells.tsv: time of the file: found the future" in run.text
    assert "Traceback" not in run.text


def test_a_clock_that_jumps_back_during_a_run(study, finished):
    """What was made before is of tomorrow when the rest is made: told as such, mended by times alone."""
    for name in ("reports", "tables", "eels", "images"):
        shutil.rmtree(study / "results" / name)
    (study / MANIFEST).unlink()
    date(files(study / "results"), DAY)
    run = snakemake(study)
    assert run.returncode != 0
    assert "clock skew" in run.text
    assert not (study / MANIFEST).exists()
    subprocess.run(["find", "results", "-newermt", "now", "-exec", "touch", "{}", "+"], cwd=study, check=True)
    run = snakemake(study)
    assert run.returncode == 0, run.text[-3000:]
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()
    assert "Nothing to be done" in snakemake(study).text


@pytest.fixture(scope="module")
def late(tmp_path_factory) -> Path:
    """A library that shows results to Snakemake a while after they were made."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("late") / "late.so"
    source = ROOT / "tests" / "faults" / "late.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def test_files_that_show_late(late, study, finished):
    """A job's files show a second and a half after its end: `latency-wait` bridges that, and is needed to."""
    shutil.rmtree(study / "results" / "images")
    shutil.rmtree(study / "results" / "tables")
    (study / MANIFEST).unlink()
    variables = {"LD_PRELOAD": str(late), "LATE_PARENT": str(os.getpid()), "LATE_SECONDS": "1.5"}
    hasty = snakemake(study, "--latency-wait", "0", **variables)
    assert hasty.returncode != 0
    assert "latency" in hasty.text
    run = snakemake(study, "--latency-wait", "30", **variables)
    assert run.returncode == 0, run.text[-3000:]
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()
    assert "Nothing to be done" in snakemake(study).text
