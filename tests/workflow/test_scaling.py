"""A study that grows: nothing to do the second time, and one more acquisition runs its own jobs only."""

from __future__ import annotations

import sys

import pytest
from running import ROOT

sys.path.insert(0, str(ROOT / "benchmarks" / "scaling"))
import generated
import run

pytestmark = pytest.mark.workflow


def test_one_more_acquisition_asks_for_its_own_jobs(tmp_path, capsys):
    run.no_op(tmp_path, [20])
    row = capsys.readouterr().out.splitlines()[-1]
    jobs = dict(item.rsplit(" ", 1) for item in row.strip("| ").split(" | ")[2].split(", "))
    assert {"ingest", "collect_measurements", "cell_page", "study_page", "write_manifest"} <= set(jobs)
    assert set(jobs.values()) == {"1"}, jobs


def test_generated_studies_are_valid(tmp_path):
    from ceiflow.study.validation import load_study

    assert len(load_study(generated.write_study(tmp_path, 45)).acquisitions) == 45
