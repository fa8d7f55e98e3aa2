"""Every rule once more, on the files of a finished study: it makes the same bytes again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from running import small_demo, snakemake

pytestmark = pytest.mark.rules
# Of the analysis; that of the simulation has a test of its own.
RULES = {
    *("ingest", "calibrate", "list_settings", "edges", "quantify", "dose_series"),
    *("measure_spectrum_image", "measure_spectrum", "measure_image", "export_hyperspy"),
    *("collect_measurements", "pool_species", "aggregate_cells", "record_provenance"),
    *("judge_claims", "judge_panels", "plan_study"),
    *(
        "plot_study",
        "plot_panels",
        "study_page",
        "cell_page",
        "index_pages",
        "explore_spectra",
        "write_manifest",
    ),
}


def digests(study: Path, names: list) -> dict:
    return {name: hashlib.sha256((study / name).read_bytes()).hexdigest() for name in names}


def test_every_rule_makes_the_same_bytes_again(study, finished):
    """All in one call, since the start of Snakemake costs more than most rules."""
    run = snakemake(study, "--forcerun", *sorted(RULES))
    assert run.returncode == 0, run.text[-3000:]
    assert set(run.jobs()) == RULES
    names = [path.relative_to(finished) for path in (finished / "results").rglob("*") if path.is_file()]
    before, after = digests(finished, names), digests(study, names)
    assert [str(name) for name in names if before[name] != after[name]] == []


def test_simulation_is_seeded(finished, tmp_path):
    study = small_demo(tmp_path / "again")
    raw = [
        str(path.relative_to(finished)) for path in sorted((finished / "raw").rglob("*")) if path.is_file()
    ]
    run = snakemake(study, raw[0], "--allowed-rules", "simulate_demo")
    assert run.returncode == 0, run.text[-3000:]
    assert digests(study, raw) == digests(finished, raw)


def test_every_rule_is_tested(finished):
    rules = set(snakemake(finished, "--dry-run", "--forceall").jobs())
    assert rules - {"simulate_demo"} == RULES
