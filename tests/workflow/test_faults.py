"""Kills, a full disk, folders that cannot be written, and two runs at once: a rerun gives the same bytes."""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import ROOT, command, edit_config, environment, snakemake

sys.path.insert(0, str(ROOT / "tests" / "faults"))
import kills

pytestmark = pytest.mark.workflow
MANIFEST = "results/MANIFEST.sha256"


def raw_digests(study: Path) -> dict[str, str]:
    files = sorted(path for path in (study / "raw").rglob("*") if path.is_file())
    return {str(path.relative_to(study)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_full_disk_and_kills_at_random_moments(finished, tmp_path):
    """First no file may grow beyond a limit that maps do not keep; `make faults` does a hundred kills."""
    study = kills.prepare(finished, tmp_path / "killed study")
    before = raw_digests(study)
    largest = max(path.stat().st_size for path in (finished / "results").rglob("*.h5"))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 3, largest // 3))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        command(study), capture_output=True, text=True, env=environment(), preexec_fn=limit, timeout=600
    )
    assert done.returncode != 0
    assert not (study / MANIFEST).exists()
    table = study / "results" / "tables" / "acquisitions.tsv"
    assert not table.exists() or "failed" not in table.read_text(), "a full disk is no fault of a raw file"

    # What was made before the disk was full is kept, and what was half made is not.
    done = kills.kill_many(study, finished, count=3, seed=11, longest=15.0)
    assert done["wrong"] == []
    assert done["killed"] == 3
    assert raw_digests(study) == before


def test_two_runs_at_once(study):
    edit_config(study, lambda config: config["claims"][0].update(high=16))
    first = subprocess.Popen(
        command(study), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    locks = study / ".snakemake" / "locks"
    deadline = time.monotonic() + 120
    while not (locks.is_dir() and any(locks.iterdir())):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = snakemake(study)
    assert second.returncode != 0
    assert "lock" in second.text.lower()
    assert first.wait(600) == 0
    assert snakemake(study).text.count("Nothing to be done") == 1


def test_kills_are_seeded():
    assert kills.moments(3, 5, 25.0) == kills.moments(3, 5, 25.0)
    assert kills.moments(3, 5, 25.0) != kills.moments(4, 5, 25.0)
