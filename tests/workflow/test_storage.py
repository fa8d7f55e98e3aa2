"""A run with nothing shared but a bucket: sources, sheets and every file reach each job by way of storage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bucket import serving
from running import ROOT, Run, edit_config, environment, of_clusters, small_demo

pytestmark = [pytest.mark.workflow, pytest.mark.clusters]
PREFIX = "a-study"
MANIFEST = "results/MANIFEST.sha256"
REGISTRATION = "results/study/registration.json"
OF_S3 = ("snakemake_storage_plugin_s3", "boto3", "botocore", "s3transfer", "jmespath", "dateutil")
OPTIONS = ("--executor", "pods", "--jobs", "2", "--cores", "2", "--default-storage-provider", "s3")
OPTIONS += ("--default-storage-prefix", f"s3://your-bucket/{PREFIX}", "--shared-fs-usage", "none")
# Snakemake starts twice a pod: jobs of one rule, of which none reads another's files, share one.
MANY = ("ingest", "calibrate", "quantify", "measure_spectrum_image", "measure_spectrum", "measure_image")
MANY += ("explore_spectra", "export_hyperspy", "cell_page")
OPTIONS += ("--groups", *(f"{rule}={rule}" for rule in MANY))
OPTIONS += ("--group-components", *(f"{rule}=6" for rule in MANY))


def checkout(folder: Path) -> Path:
    """A folder as such a run is started in: workflow, configuration and sheets, known to git."""
    small_demo(folder)
    for name in ("workflow", "notebooks", "envs"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".snakemake")
        )
    subprocess.run("git init -q && git add .", shell=True, check=True, cwd=folder)
    return folder


def image(folder: Path) -> dict[str, str]:
    """What a container's image holds: requirements.lock, ceiflow, the plugin with what it wants."""
    plugins = Path(of_clusters("snakemake_storage_plugin_s3")).parents[1].glob("lib/python*/site-packages")
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    for packages in plugins:
        for name in (
            "snakemake_storage_plugin_s3",
            "boto3",
            "botocore",
            "s3transfer",
            "jmespath",
            "dateutil",
        ):
            (folder / name).symlink_to(packages / name)
    paths = [folder, ROOT / "src", Path(__file__).parent / "pods"]
    start = environment()["PATH"]
    return {"PYTHONPATH": ":".join(map(str, paths)), "PATH": f"{folder / 'bin'}:{start}"}


def run_in_pods(study: Path, *arguments: str, **variables: str) -> Run:
    """Snakemake, started in the study folder: sources below it are what it sends."""
    done = subprocess.run(
        ["python", "-m", "snakemake", *arguments, *OPTIONS],
        cwd=study,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=900,
    )
    return Run(done.returncode, done.stdout + done.stderr)


def test_jobs_share_nothing_but_a_bucket(finished, tmp_path):
    study, bucket = checkout(tmp_path / "here"), tmp_path / "there"
    shutil.copytree(finished / "raw", bucket / PREFIX / "raw")
    variables = image(tmp_path / "image")
    with serving(bucket) as served:
        run = run_in_pods(study, **variables, **served)
        assert run.returncode == 0, run.text[-8000:]
        again = run_in_pods(study, "--dry-run", **variables, **served)
        assert "Nothing to be done" in again.text, again.text[-8000:]
        assert (bucket / PREFIX / MANIFEST).read_text() == (finished / MANIFEST).read_text()
        # Held against the claims of the first run, which stayed where runs are started.
        edit_config(study, lambda config: config["claims"][0].update(high=16))
        changed = run_in_pods(study, "--until", "judge_claims", **variables, **served)
        assert changed.returncode == 0, changed.text[-8000:]
    assert json.loads((study / REGISTRATION).read_text())["changed"] == ["about_ten_nm"]
    assert "simulate_demo" not in run.jobs(), "raw files of the bucket were not taken"
    assert f"Read s3://your-bucket/{PREFIX}/results/reports/study.html first." in run.text
    assert [path for path in (study / "results").rglob("*") if path.is_file()] == [study / REGISTRATION]
    assert not (study / "raw").exists()
