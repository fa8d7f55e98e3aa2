"""Whole runs: from nothing, again, changed, and with a file that is broken."""

from __future__ import annotations

import re
import subprocess

import pytest
from running import (
    SMALL,
    contract_faults,
    edit_config,
    read_table,
    snakemake,
)

pytestmark = pytest.mark.workflow
# What stands behind every change of a table.
PAGES = {
    "study_page",
    "cell_page",
    "plot_study",
    "plot_panels",
    "plan_study",
    "write_manifest",
    "judge_panels",
    "index_pages",
}


def test_finished_study_holds_to_the_contract(finished):
    rows = read_table(finished / "results" / "tables" / "acquisitions.tsv")
    assert {row["acquisition_id"] for row in rows} == set(SMALL)
    assert {row["qc_status"] for row in rows} <= {"ok", "warning"}
    assert contract_faults(finished).endswith("0 fault(s)")


def test_manifest_is_what_sha256sum_checks(finished):
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "MANIFEST.sha256"],
        cwd=finished / "results",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_second_run_finds_nothing_to_do(study):
    run = snakemake(study)
    assert run.returncode == 0
    assert "Nothing to be done" in run.text


def test_report_of_snakemake(study):
    run = snakemake(study, "--report", "report.html")
    assert run.returncode == 0, run.text[-3000:]
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "Is there a layer, and how thick?" in page
    # Panels stand under the question that they answer.
    assert "Is the layer about 10 nm thick and mainly amorphous?" in page
    # A caption holds its figure's numbers.
    claim = read_table(study / "results" / "tables" / "claims.tsv")[0]
    assert f"{claim['claim_id']} (layer thickness): {claim['verdict']}" in page.replace("\\", "")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda config: config["claims"][0].update(high=16),
            {
                "judge_claims",
                "plan_study",
                "record_provenance",
                "plot_study",
                "plot_panels",
                "study_page",
                "index_pages",
                "write_manifest",
            },
        ),
        (
            lambda config: config["images"].update(segment_nm=3.0),
            {"measure_image", "collect_measurements", "aggregate_cells", "judge_claims", "record_provenance"}
            | PAGES,
        ),
        (
            lambda config: config["layer"].update(surface_depth_nm=5.0),
            {"measure_spectrum_image", "export_hyperspy", "explore_spectra", "measure_image", "pool_species"}
            | {"collect_measurements", "aggregate_cells", "judge_claims", "record_provenance"}
            | PAGES,
        ),
        (
            lambda config: config["study"].update(title="Another"),
            {"record_provenance", "study_page", "index_pages", "write_manifest"},
        ),
    ],
    ids=["claim", "images", "layer", "title"],
)
def test_changed_key_reruns_what_it_touches(study, change, expected):
    edit_config(study, change)
    run = snakemake(study, "--dry-run")
    assert run.returncode == 0, run.text[-3000:]
    assert set(run.jobs()) == expected


@pytest.fixture
def broken(study):
    """A truncated raw file, and another that is gone."""
    rows = {row["acquisition_id"]: row for row in read_table(study / "config" / "acquisitions.tsv")}
    edit_config(study, lambda config: config.update(demo=False))
    truncated = study / rows["shorted-2-p1r1-si"]["path"]
    truncated.write_bytes(truncated.read_bytes()[:5000])
    (study / rows["pristine-1-p1r1-hr"]["path"]).unlink()
    return study


def test_broken_file_fails_its_own_rows_only(broken):
    run = snakemake(broken)
    assert run.returncode == 0, run.text[-3000:]
    table = {
        row["acquisition_id"]: row for row in read_table(broken / "results" / "tables" / "acquisitions.tsv")
    }
    failed = {name for name, row in table.items() if row["qc_status"] == "failed"}
    assert failed == {"shorted-2-p1r1-si", "pristine-1-p1r1-hr"}
    page = (broken / "results" / "reports" / "study.html").read_text(encoding="utf-8")
    for name in failed:
        assert table[name]["qc_reason"]
        assert name in page
        assert re.search(rf"{name}: .*(found|expected)", run.text), "the end of the run lists what failed"
    measured = {
        row["acquisition_id"] for row in read_table(broken / "results" / "tables" / "measurements.tsv")
    }
    assert measured == set(SMALL) - failed
    assert contract_faults(broken).endswith("0 fault(s)")


def test_strict_turns_a_broken_file_into_an_error(broken):
    edit_config(broken, lambda config: config.update(strict=True))
    run = snakemake(broken)
    assert run.returncode != 0
    assert "found" in run.text
