"""The manifest does not depend on where, with what and in what order a study is run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from running import (
    ROOT,
    command,
    copy_study,
    edit_config,
    edit_table,
    environment,
    read_only,
    small_demo,
    snakemake,
)

from ceiflow.study.verify import compare

pytestmark = pytest.mark.workflow
MANIFEST = "results/MANIFEST.sha256"
# Of whatever the shell may bring along.
ODD = {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "77", "COLUMNS": "40"}


def test_one_core_other_folder_other_home_and_a_kill(finished, tmp_path):
    """From nothing; killed half-way, and taken up again."""
    study = small_demo(tmp_path / "elsewhere" / "$HOME; 'quoted' #1")
    home = tmp_path / "home"
    home.mkdir()
    odd = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **ODD}
    process = subprocess.Popen(
        command(study, "--cores", "1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(**odd),
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not list((study / "results" / "calibrated").glob("*.h5")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (study / MANIFEST).exists()
    assert snakemake(study, "--unlock").returncode == 0
    run = snakemake(study, "--cores", "1", **odd)
    assert run.returncode == 0, run.text[-3000:]
    assert "simulate_demo" not in run.jobs(), "finished work was thrown away"
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()


def test_blocks_order_of_the_sheets_and_raw_files_that_cannot_be_written(study, finished):
    """The configuration itself is in the manifest; nothing else differs."""
    edit_config(study, lambda config: config["eels"]["fit"].update(block_pixels=97))
    edit_table(study / "config" / "acquisitions.tsv", lambda rows: rows[::-1])
    edit_table(study / "config" / "cells.tsv", lambda rows: rows[::-1])
    before = {path: path.stat().st_mtime_ns for path in (study / "raw").rglob("*")}
    run = snakemake(study, before=read_only(study / "raw"))
    assert run.returncode == 0, run.text[-3000:]
    assert {path: path.stat().st_mtime_ns for path in (study / "raw").rglob("*")} == before
    assert {"quantify", "measure_spectrum_image", "collect_measurements"} <= set(run.jobs())
    found = compare(study / "results", finished / "results")
    assert {*found.equivalent, *found.ignored, *found.different} == {"study/config.yaml"}


def test_results_that_cannot_be_written(study):
    """The run ends with the reason, and is done once it can write."""
    edit_config(study, lambda config: config["study"].update(title="Another"))
    run = snakemake(study, before=read_only(study / "results"))
    assert run.returncode != 0
    assert re.search("read-only file system|permission denied|write-protected", run.text, re.IGNORECASE)
    again = snakemake(study)
    assert again.returncode == 0, again.text[-3000:]
    assert {"study_page", "write_manifest"} <= set(again.jobs())


def verify(*arguments):
    call = [sys.executable, "-m", "ceiflow.cli", "verify", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=120)


def test_verify_tells_same_equivalent_and_different(finished, study, tmp_path):
    recorded = tmp_path / "recorded.sha256"
    shutil.copy(finished / MANIFEST, recorded)
    done = verify(study, "--against", recorded)
    assert (done.returncode, "study: same" in done.stdout) == (0, True), done.stdout

    table = study / "results" / "tables" / "measurements.tsv"
    lines = table.read_text().splitlines()
    column = lines[0].split("\t").index("value")
    values = [line.split("\t")[column] for line in lines]
    row = next(i for i, value in enumerate(values) if i and value and float(value) > 0.1)
    cells = lines[row].split("\t")

    def put(value: float) -> None:
        changed = [*cells[:column], repr(value), *cells[column + 1 :]]
        table.write_text("\n".join([*lines[:row], "\t".join(changed), *lines[row + 1 :]]) + "\n")

    put(float(cells[column]) * 2)
    done = verify(study)
    assert done.returncode == 1
    assert "changed since the run" in done.stdout
    for factor, verdict, code in ((1 + 1e-6, "equivalent", 0), (1.01, "different", 1)):
        put(float(cells[column]) * factor)
        rewrite_manifest(study)
        done = verify(study, "--against", finished)
        assert (done.returncode, f"study: {verdict}" in done.stdout) == (code, True), done.stdout
        copy = copy_study(study, tmp_path / verdict)
        assert verify(copy, "--against", recorded).returncode == 1, "no values to compare with"


def test_tables_stand_for_the_maps_that_were_not_recorded(finished, study, tmp_path):
    """As `make record` keeps them: a map that differs is passed over, a table that differs is not."""
    import h5py

    shutil.copy(finished / MANIFEST, tmp_path)
    shutil.copytree(finished / "results" / "tables", tmp_path / "tables")
    with h5py.File(next((study / "results" / "eels").glob("*/maps.h5")), "r+") as file:
        file["thickness_over_mfp"][0, 0] += 1e-6
    rewrite_manifest(study)
    found = compare(study / "results", tmp_path)
    assert (found.verdict, len(found.ignored), found.different) == ("equivalent", 1, {})
    (tmp_path / "tables" / "measurements.tsv").unlink()
    assert compare(study / "results", tmp_path).verdict == "different"


def rewrite_manifest(study):
    from ceiflow.study.manifest import write_manifest

    results = study / "results"
    names = [line.split("  ", 1)[1] for line in (study / MANIFEST).read_text().splitlines()]
    write_manifest(results, [results / name for name in names])
