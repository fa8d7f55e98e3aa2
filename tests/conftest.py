"""Fixtures that all layers of tests share."""

import os
from pathlib import Path

import pytest
from running import ROOT, copy_study, small_demo, snakemake


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


@pytest.fixture
def study(finished, tmp_path) -> Path:
    """A copy of the finished small study."""
    return copy_study(finished, tmp_path / "a study")
