"""Dry runs with every profile, for the executor that it is meant for, by the Snakemake of `make clusters`."""

from __future__ import annotations

from pathlib import Path

import pytest
from bucket import serving
from running import ROOT, Run, demo_study, edit_config, of_clusters, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.clusters]
SHARED = ("lsf", "htcondor")
BUCKET = ("kubernetes", "aws-batch")


def dry_run(study: Path, profile: str, *arguments: str, **variables: str) -> Run:
    """A dry run by the interpreter that has the profile's plugin, and finds ceiflow by its path."""
    python = of_clusters(f"snakemake_executor_plugin_{profile.replace('-', '_')}")
    options = ("--dry-run", "--profile", str(ROOT / "profiles" / profile), *arguments)
    run = snakemake(study, *options, python=python, longest=120, PYTHONPATH=str(ROOT / "src"), **variables)
    assert run.returncode == 0, run.text[-3000:]
    assert run.jobs()["ingest"] > 1
    return run


@pytest.fixture
def some(tmp_path) -> Path:
    study = demo_study(tmp_path / "study", lambda row: row["cell_id"] == "shorted-1")
    edit_config(study, lambda config: config.update(claims=[]))
    return study


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_system(name, some):
    dry_run(some, name)


@pytest.mark.parametrize("name", BUCKET)
def test_bucket(name, some, tmp_path):
    (tmp_path / "bucket").mkdir()
    with serving(tmp_path / "bucket") as served:
        run = dry_run(some, name, **served)
    assert "s3://your-bucket/your-study/results/" in run.text
