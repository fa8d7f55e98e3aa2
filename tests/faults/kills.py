"""SIGKILL at random moments: `python tests/faults/kills.py --count 100 --seed 1 STUDY`.

A study is run, killed with everything that it started, and run again until the number of kills is
reached; a run that comes to its end has to have the manifest of an undisturbed one, and is begun anew.
Raw files are made beforehand, and held against their digests in the end. What is done stands in
`kills.json` in the study folder: called again, the harness goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from running import command, copy_study, demo_study, environment, small_demo, snakemake

RECORD = "kills.json"


def prepare(finished: Path, folder: Path) -> Path:
    """A copy of a finished study with its raw files and nothing else; its configuration is untouched."""
    copy_study(finished, folder)
    for name in ("results", "logs", "benchmarks"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder


def moments(seed: int, count: int, longest: float) -> list[float]:
    """Seconds after the start of each run at which it is killed."""
    stream = random.Random(f"kills {seed}")
    return [stream.uniform(1.0, longest) for _ in range(count)]


def run_and_kill(study: Path, after: float) -> int | None:
    """Run, and kill the whole session after so many seconds; the exit status, None if it was killed."""
    process = subprocess.Popen(
        command(study, "--quiet", "all"),
        stdout=subprocess.DEVNULL,
        stderr=open(study / "kills.log", "ab"),  # noqa: SIM115
        env=environment(),
        start_new_session=True,
    )
    try:
        return process.wait(after)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def kill_many(study: Path, manifest: Path, count: int, seed: int, longest: float) -> dict:
    """Kill `count` runs; what was done, from `kills.json` where a part is done already.

    Returns
    -------
    dict
        killed, completed, and wrong: what should not have been.
    """
    record = study / RECORD
    done = {"killed": 0, "completed": 0, "wrong": []}
    if record.exists():
        done = json.loads(record.read_text())
    for after in moments(seed, count, longest)[done["killed"] :]:
        # An end in between is no kill: begin anew until this one is.
        while (status := run_and_kill(study, after)) is not None:
            note_end(study, manifest, status, done)
            record.write_text(json.dumps(done))
            if status != 0:
                return done
        done["killed"] += 1
        record.write_text(json.dumps(done))
        unlock(study)
    run = snakemake(study)
    note_end(study, manifest, run.returncode, done)
    record.write_text(json.dumps(done))
    return done


def note_end(study: Path, manifest: Path, status: int, done: dict) -> None:
    """A run came to its end: right or wrong; then everything is made anew."""
    done["completed"] += 1
    name = study / "results" / "MANIFEST.sha256"
    if status != 0:
        done["wrong"].append(f"after {done['killed']} kills: exit status {status}")
    elif name.read_text() != manifest.read_text():
        done["wrong"].append(f"after {done['killed']} kills: another manifest")
    for folder in ("results", "logs", "benchmarks"):
        shutil.rmtree(study / folder, ignore_errors=True)


def unlock(study: Path) -> None:
    locks = study / ".snakemake" / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        run = snakemake(study, "--unlock")
        if run.returncode != 0:
            raise RuntimeError(run.text[-2000:])


def main() -> int:
    """Exit status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder to work in; made if absent")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--demo", action="store_true", help="the whole demo study instead of the small one")
    options = parser.parse_args()
    reference, study = options.study / "undisturbed", options.study / "killed"
    if not (reference / "results" / "MANIFEST.sha256").exists():
        (demo_study if options.demo else small_demo)(reference) if not reference.exists() else None
        begun = time.monotonic()
        run = snakemake(reference)
        if run.returncode != 0:
            print(run.text[-3000:])
            return 1
        (options.study / "seconds").write_text(f"{time.monotonic() - begun:.0f}")
    if not study.exists():
        prepare(reference, study)
    longest = float((options.study / "seconds").read_text()) if (options.study / "seconds").exists() else 60.0
    manifest = reference / "results" / "MANIFEST.sha256"
    done = kill_many(study, manifest, options.count, options.seed, longest)
    print(f"{done['killed']} kills, {done['completed']} runs completed, wrong: {done['wrong'] or 'none'}")
    return int(bool(done["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
