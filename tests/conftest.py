"""Fixtures that all layers of tests share."""

import os
from pathlib import Path

import pytest
from running import ROOT, copy_study, demo_study, small_demo, snakemake


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of measured files, named by CEIFLOW_REAL_DATA."""
    folder = os.environ.get("CEIFLOW_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CEIFLOW_REAL_DATA does not name a folder of measured files")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A small study, run to its end in a folder with a space in its name; copy it to change it."""
    folder = small_demo(tmp_path_factory.mktemp("finished") / "a study")
    run = snakemake(folder)
    assert run.returncode == 0, run.text[-5000:]
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """The finished demo study; CEIFLOW_DEMO may name a checkout that holds one of this very state."""
    if given := os.environ.get("CEIFLOW_DEMO"):
        run = snakemake(Path(given), "--dry-run", snakefile=ROOT / "Snakefile")
        assert "Nothing to be done" in run.text, f"CEIFLOW_DEMO is not of this state\n{run.text[-3000:]}"
        return Path(given)
    study = demo_study(tmp_path_factory.mktemp("demo") / "the demo")
    run = snakemake(study, snakefile=ROOT / "Snakefile")
    assert run.returncode == 0, run.text[-5000:]
    assert "Read " in run.text
    return study


@pytest.fixture
def study(finished, tmp_path) -> Path:
    """A copy of the finished small study."""
    return copy_study(finished, tmp_path / "a study")
