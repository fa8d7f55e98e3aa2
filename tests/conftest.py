"""Fixtures and markers that all layers of tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
