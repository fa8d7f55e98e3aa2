"""The small study through a real Slurm: the same bytes, also after losses and an interrupt."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from controller import Controller, Unavailable, install
from running import ROOT, SMALL, command, environment, small_demo, snakemake

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
        reason="the extra `slurm` is not installed (make slurm)",
    ),
]
MANIFEST = "results/MANIFEST.sha256"
OPTIONS = (
    *("--profile", str(ROOT / "profiles" / "slurm")),
    # No accounting here; and a test does not wait as a cluster would have it.
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2", "--latency-wait", "10", "--jobs", "4"),
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    controller = Controller(tmp_path_factory.mktemp("slurm"))
    try:
        install()
        controller.start()
    except Unavailable as reason:
        controller.stop()
        pytest.skip(str(reason))
    yield controller
    controller.stop()


def begin(study: Path) -> subprocess.Popen:
    """A run in the background, with its output in the study folder."""
    study.mkdir(parents=True, exist_ok=True)
    with open(study / "run.log", "ab") as log:
        call = ["timeout", "-k", "10", "1200", *command(study, *OPTIONS)]
        return subprocess.Popen(call, stdout=log, stderr=log, env=environment())


def text(study: Path) -> str:
    return (study / "run.log").read_text(encoding="utf-8", errors="replace")


def wait_for(condition, process: subprocess.Popen, study: Path):
    """The first true answer; the run must not end before."""
    deadline = time.monotonic() + 600
    while not (found := condition()):
        assert process.poll() is None, f"the run ended too early\n{text(study)[-3000:]}"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def running(slurm: Controller, rule: str) -> list[dict[str, str]]:
    return [job for job in slurm.jobs() if job["JobState"] == "RUNNING" and rule in job.get("Comment", "")]


def test_lost_job_and_lost_controller(slurm, finished, tmp_path):
    """A job is cancelled from outside, and goes again with twice the memory; the controller dies too."""
    study = small_demo(tmp_path / "a study")
    process = begin(study)
    lost = wait_for(lambda: running(slurm, "ingest"), process, study)[0]
    subprocess.run(["scancel", lost["JobId"]], check=True)
    wait_for(lambda: list((study / "results" / "calibrated").glob("*.h5")), process, study)
    slurm.kill_controller()
    time.sleep(5)
    slurm.start_controller()
    assert process.wait(1200) == 0, text(study)[-5000:]
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()
    jobs = slurm.jobs()
    assert {job["JobState"] for job in jobs} <= {"COMPLETED", "CANCELLED"}
    memory = [job["MinMemoryNode"] for job in jobs if "ingest" in job.get("Comment", "")]
    assert max(map(megabytes, memory)) == 2 * megabytes(lost["MinMemoryNode"])
    assert sum(megabytes(item) == megabytes(lost["MinMemoryNode"]) for item in memory) >= len(SMALL) - 1


def megabytes(text: str) -> int:
    """Slurm writes 2500M, or 5G."""
    return int(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def test_interrupt_leaves_no_job_and_the_rerun_completes(slurm, finished, tmp_path):
    before = {job["JobId"] for job in slurm.jobs()}
    study = small_demo(tmp_path / "a study")
    process = begin(study)
    wait_for(lambda: list((study / "results" / "signals").glob("*.h5")), process, study)
    # To the run itself: `timeout` hands it on.
    process.send_signal(signal.SIGINT)
    assert process.wait(300) != 0
    assert not (study / MANIFEST).exists()

    def left() -> list[str]:
        ended = ("COMPLETED", "CANCELLED", "FAILED")
        jobs = [job for job in slurm.jobs() if job["JobId"] not in before]
        return [job["JobId"] for job in jobs if job["JobState"] not in ended]

    deadline = time.monotonic() + 120
    while left():
        assert time.monotonic() < deadline, left()
        time.sleep(1)
    if (study / ".snakemake" / "locks").is_dir() and os.listdir(study / ".snakemake" / "locks"):
        assert snakemake(study, "--unlock").returncode == 0
    assert begin(study).wait(1200) == 0, text(study)[-5000:]
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()
