"""Real Slurm, to the bytes of local runs: the demo, and a small study after losses and an interrupt."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import time
from pathlib import Path

import pytest
from controller import Controller, Unavailable, install
from running import (
    ROOT,
    SMALL,
    command,
    copy_study,
    demo_study,
    environment,
    read_table,
    small_demo,
    snakemake,
)

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
        reason="the extra `slurm` is not installed (make slurm)",
    ),
]
MANIFEST = "results/MANIFEST.sha256"
# Seconds for a run of some thirty jobs, each of which starts Snakemake twice, and for one of three hundred.
LONGEST, LONGEST_DEMO = 420, 2700
# Seconds of the demo's own jobs beyond which they are not run again with a start of Snakemake each.
SLOW = 1500
ENDED = ("COMPLETED", "CANCELLED", "FAILED")
OPTIONS = (
    *("--profile", str(ROOT / "profiles" / "slurm")),
    # No accounting here; and a test does not wait as a cluster would have it.
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2", "--latency-wait", "10", "--jobs", "4"),
)
# Three hundred jobs of seconds: those of a stage go as four submissions, as many as run at once, and
# each saves its jobs a start of Snakemake.
STAGES = {
    "read": (20, "ingest"),
    "calibrate": (8, "calibrate"),
    "fit": (6, "quantify"),
    "surface": (8, "measure_spectrum", "measure_spectrum_image"),
    "images": (12, "measure_image"),
    "copies": (12, "explore_spectra", "export_hyperspy"),
    "pages": (5, "cell_page"),
}
GROUPED = (
    *("--groups", *(f"{rule}={stage}" for stage, (_, *rules) in STAGES.items() for rule in rules)),
    *("--group-components", *(f"{stage}={jobs}" for stage, (jobs, *_) in STAGES.items())),
    # The jobs of a group run one after another: one core is what it needs.
    *("--cores", "1"),
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    controller = Controller(tmp_path_factory.mktemp("slurm"))
    try:
        install()
        controller.start()
    except (Unavailable, OSError, LookupError, subprocess.SubprocessError) as reason:
        controller.stop()
        pytest.skip(f"no Slurm here: {reason}")
    yield controller
    controller.stop()


def begin(study: Path, *options: str, longest: int = LONGEST) -> subprocess.Popen:
    """A run in the background, with its output in the study folder."""
    study.mkdir(parents=True, exist_ok=True)
    with open(study / "run.log", "ab") as log:
        call = ["timeout", "-k", "10", str(longest), *command(study, *OPTIONS), *options]
        return subprocess.Popen(call, stdout=log, stderr=log, env=environment())


def text(study: Path) -> str:
    return (study / "run.log").read_text(encoding="utf-8", errors="replace")


def wait_for(condition, process: subprocess.Popen, study: Path):
    """The first true answer; the run must not end before."""
    deadline = time.monotonic() + 240
    while not (found := condition()):
        assert process.poll() is None, f"the run ended too early\n{text(study)[-3000:]}"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def running(slurm: Controller, rule: str) -> list[dict[str, str]]:
    return [job for job in slurm.jobs() if job["JobState"] == "RUNNING" and rule in job.get("Comment", "")]


def megabytes(text: str) -> int:
    """Slurm writes 2500M, or 5G."""
    return int(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def test_losses_and_an_interrupt_on_the_way_to_the_same_bytes(slurm, finished, tmp_path):
    """One study: a job is cancelled, the controller dies, the run is interrupted, and a rerun completes."""
    study = small_demo(tmp_path / "a study")
    process = begin(study)
    # A lost job goes again with twice the memory.
    lost = wait_for(lambda: running(slurm, "ingest"), process, study)[0]
    subprocess.run(["scancel", lost["JobId"]], check=True, timeout=30)
    # A run outlives the controller.
    wait_for(lambda: list((study / "results" / "calibrated").glob("*.h5")), process, study)
    slurm.kill_controller()
    time.sleep(5)
    slurm.start_controller()
    submitted = len(slurm.jobs())
    wait_for(lambda: len(slurm.jobs()) > submitted + 2, process, study)
    # An interrupt, to the run itself: `timeout` hands it on. No job is left behind.
    process.send_signal(signal.SIGINT)
    assert process.wait(120) != 0
    assert not (study / MANIFEST).exists()
    deadline = time.monotonic() + 120
    while left := [job["JobId"] for job in slurm.jobs() if job["JobState"] not in ENDED]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
    locks = study / ".snakemake" / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        assert snakemake(study, "--unlock").returncode == 0
    ingested = (study / "results" / "signals").stat().st_mtime_ns

    assert begin(study).wait(LONGEST) == 0, text(study)[-5000:]
    assert (study / MANIFEST).read_text() == (finished / MANIFEST).read_text()
    assert (study / "results" / "signals").stat().st_mtime_ns == ingested, "finished work was thrown away"
    jobs = slurm.jobs()
    assert {job["JobState"] for job in jobs} <= {"COMPLETED", "CANCELLED"}
    memory = [job["MinMemoryNode"] for job in jobs if "ingest" in job.get("Comment", "")]
    assert max(map(megabytes, memory)) == 2 * megabytes(lost["MinMemoryNode"])
    assert sum(megabytes(item) == megabytes(lost["MinMemoryNode"]) for item in memory) >= len(SMALL) - 1


def test_demo_study(slurm, demo, tmp_path):
    """Every rule that the demo has, as jobs of Slurm, from the raw files of the local run."""
    timings = (row for path in (demo / "benchmarks").glob("*/*.tsv") for row in read_table(path))
    if (spent := sum(float(row.get("s", 0)) for row in timings)) > SLOW:
        pytest.skip(f"the demo's jobs took {spent:.0f} s on this machine, {SLOW} s at most are tried again")
    study = demo_study(tmp_path / "the demo")
    for name in ("raw", "truth"):
        (study / name).mkdir()
        copy_study(demo / name / "demo", study / name / "demo")
    assert begin(study, *GROUPED, longest=LONGEST_DEMO).wait(LONGEST_DEMO + 60) == 0, text(study)[-5000:]
    assert (study / MANIFEST).read_text() == (demo / MANIFEST).read_text()
    assert {job["JobState"] for job in slurm.jobs()} <= {"COMPLETED", "CANCELLED"}
