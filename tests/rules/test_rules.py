"""Every rule once more, on the files of a finished study: it makes the same bytes again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from running import small_demo, snakemake

pytestmark = pytest.mark.rules
SPECTRUM_IMAGE = "results/eels/shorted-2-p1r1-si"
TARGETS = {
    "ingest": ["results/signals/shorted-2-p1r1-si.h5"],
    "calibrate": ["results/calibrated/shorted-2-p1r1-si.h5"],
    "list_settings": ["results/study/settings.json"],
    "edges": ["results/study/edges.h5"],
    "quantify": [f"{SPECTRUM_IMAGE}/fit.h5"],
    "measure_spectrum_image": [
        f"{SPECTRUM_IMAGE}/{name}" for name in ("maps.h5", "layer.tsv", "spectra.tsv")
    ],
    "export_hyperspy": [f"{SPECTRUM_IMAGE}/{Path(SPECTRUM_IMAGE).name}.hspy"],
    "dose_series": ["results/dose/shorted-2-p2r2-f1.json"],
    "measure_spectrum": ["results/eels/shorted-2-p2r2-f1/measurements.tsv"],
    "measure_image": [
        "results/images/pristine-1-p1r1-hr/layer.tsv",
        "results/images/pristine-1-p1r1-hr/measurements.tsv",
    ],
    "collect_measurements": ["results/tables/measurements.tsv", "results/tables/acquisitions.tsv"],
    "aggregate_cells": ["results/tables/cells.tsv", "results/tables/heterogeneity.tsv"],
    "judge_claims": ["results/tables/claims.tsv", "results/tables/exploration.tsv"],
    "judge_panels": ["results/tables/panels.tsv"],
    "index_pages": ["results/reports/index.html"],
    "explore_spectra": ["results/reports/explorer/shorted-2-p1r1-si.html"],
    "plot_study": [f"results/figures/claims.{kind}" for kind in ("svg", "png", "tsv")],
    "record_provenance": ["results/study/provenance.json", "results/study/config.yaml"],
    "study_page": ["results/reports/study.html", "results/reports/study.ipynb"],
    "cell_page": ["results/reports/cells/shorted-2.html"],
    "write_manifest": ["results/MANIFEST.sha256"],
}


def digests(study: Path, names: list[str]) -> dict[str, str]:
    return {name: hashlib.sha256((study / name).read_bytes()).hexdigest() for name in names}


def test_every_rule_makes_the_same_bytes_again(study, finished):
    """On the files of a finished study, in one call: Snakemake's start costs more than most rules."""
    files = sorted({name for names in TARGETS.values() for name in names})
    first = [names[0] for names in TARGETS.values()]
    run = snakemake(
        study,
        *first,
        "--force",
        "--notemp",
        "--target-files-omit-workdir-adjustment",
        "--allowed-rules",
        *TARGETS,
    )
    assert run.returncode == 0, run.text[-3000:]
    assert run.jobs() == dict.fromkeys(TARGETS, 1)
    before, after = digests(finished, files), digests(study, files)
    assert [name for name in files if before[name] != after[name]] == []


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
    assert rules - {"simulate_demo"} == set(TARGETS)
