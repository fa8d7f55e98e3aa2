"""What a new acquisition makes stale: the study's pages and its own cell's, not those of other cells."""

from __future__ import annotations

import pytest
from running import edit_table, snakemake

pytestmark = pytest.mark.workflow


def test_a_new_acquisition_makes_one_cell_page_stale(study):
    path = study / "config" / "acquisitions.tsv"

    def repeat(rows):
        again = {**rows[0], "acquisition_id": f"{rows[0]['acquisition_id']}-again"}
        return [*rows, again]

    rows = edit_table(path, repeat)
    run = snakemake(study, "--dry-run", "--quiet", "rules")
    assert run.returncode == 0, run.text[-3000:]
    jobs = run.jobs()
    assert jobs["cell_page"] == 1
    assert jobs["study_page"] == jobs["index_pages"] == 1
    assert "explore_spectra" not in jobs or rows[0]["modality"] == "eels_si"
