"""The manifest does not depend on where, with what and in what order a study is run."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from running import ROOT, copy_study, edit_config, environment, small_demo, snakemake

from ceiflow.study.verify import compare

pytestmark = pytest.mark.workflow
MANIFEST = "results/MANIFEST.sha256"
# Of whatever the shell may bring along.
ODD = {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "77", "COLUMNS": "40"}


def test_one_core_other_folder_other_home(finished, tmp_path):
    study = small_demo(tmp_path / "elsewhere" / "$HOME; 'quoted' #1")
    home = tmp_path / "home"
    home.mkdir()
    run = snakemake(study, "--cores", "1", HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), **ODD)
    assert run.returncode == 0, run.text[-3000:]
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()


def test_block_size(study, finished):
    """The configuration itself is in the manifest, and on the page that prints it; nothing else differs."""
    edit_config(study, lambda config: config["eels"]["fit"].update(block_pixels=97))
    edit_config(study, lambda config: config.update(demo=False))
    run = snakemake(study)
    assert run.returncode == 0, run.text[-3000:]
    assert {"quantify", "measure_spectrum_image"} <= set(run.jobs())
    found = compare(study / "results", finished / "results")
    other = {name for name in (*found.equivalent, *found.ignored, *found.different)}
    assert other <= {"study/config.yaml", "reports/study.html"}, other


def verify(*arguments):
    call = [sys.executable, "-m", "ceiflow.cli", "verify", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, env=environment(), cwd=ROOT)


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


def rewrite_manifest(study):
    from ceiflow.study.manifest import write_manifest

    results = study / "results"
    names = [line.split("  ", 1)[1] for line in (study / MANIFEST).read_text().splitlines()]
    write_manifest(results, [results / name for name in names])
