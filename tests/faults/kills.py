"""SIGKILL at random moments: `python tests/faults/kills.py --count 100 --seed 1 STUDY`.

A study is run, killed with everything that it started, and run again until the number of kills is
reached; a run that comes to its end has to have every file of an undisturbed one with the same bytes, no file
more, and is begun anew. After every kill each result that is there and differs from the undisturbed run's has
to be one that Snakemake knows to be unfinished. Raw files are made beforehand, and held against their digests
at every end. What is done stands in `kills.json` in the study folder: called again, the harness goes on from
there.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
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
    with open(study / "kills.log", "ab") as log:
        process = subprocess.Popen(
            command(study, "--quiet", "all"),
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
    try:
        return process.wait(after)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Also where the harness itself is stopped.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Digests:
    """Digests of the files below a folder; a file is read again only where its time or size changed."""

    def __init__(self) -> None:
        self.known: dict[Path, tuple[tuple[int, int], str]] = {}

    def of(self, folder: Path) -> dict[str, str]:
        found = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            stamp = (path.stat().st_mtime_ns, path.stat().st_size)
            if path not in self.known or self.known[path][0] != stamp:
                self.known[path] = (stamp, hashlib.sha256(path.read_bytes()).hexdigest())
            found[str(path.relative_to(folder))] = self.known[path][1]
        return found


def unfinished(study: Path) -> set[str]:
    """Outputs that Snakemake will make anew, as paths below the study folder."""
    marks = study / ".snakemake" / "incomplete"
    names = ["".join(path.relative_to(marks).parts) for path in marks.rglob("*") if path.is_file()]
    return {base64.b64decode(name, altchars=b"_-").decode() for name in names}


def taken_for_finished(study: Path, undisturbed: dict[str, str], digests: Digests) -> list[str]:
    """Results that differ from those of the undisturbed run, and that Snakemake takes for finished."""
    known = unfinished(study)
    found = digests.of(study / "results")
    return [
        name
        for name, digest in found.items()
        if undisturbed.get(name, digest) != digest and f"results/{name}" not in known
    ]


def kill_many(study: Path, reference: Path, count: int, seed: int, longest: float) -> dict:
    """Kill `count` runs; what was done, from `kills.json` where a part is done already.

    Parameters
    ----------
    study, reference
        The study to kill, and the same one, finished without a disturbance.
    count, seed, longest
        Number of kills, and the seed and the largest of the seconds after which they come.

    Returns
    -------
    dict
        killed; completed: runs that came to their end; partial: unfinished files that kills left in place, by
        Snakemake's own account; and wrong: what should not have been.
    """
    record = study / RECORD
    done = {"killed": 0, "completed": 0, "partial": 0, "wrong": []}
    if record.exists():
        done = json.loads(record.read_text())
    # The harness itself may have been stopped.
    unlock(study)
    digests = Digests()
    undisturbed, raw = digests.of(reference / "results"), digests.of(reference / "raw")
    for after in moments(seed, count, longest)[done["killed"] :]:
        # An end in between is no kill: begin anew until this one is.
        while (status := run_and_kill(study, after)) is not None:
            note_end(study, undisturbed, raw, status, done)
            record.write_text(json.dumps(done))
            if done["wrong"]:
                return done
        done["killed"] += 1
        done["partial"] += sum((study / name).exists() for name in unfinished(study))
        wrong = taken_for_finished(study, undisturbed, digests)
        done["wrong"] += [f"after {done['killed']} kills taken for finished: {name}" for name in wrong]
        record.write_text(json.dumps(done))
        unlock(study)
    run = snakemake(study, longest=3600)
    note_end(study, undisturbed, raw, run.returncode, done)
    record.write_text(json.dumps(done))
    return done


def note_end(study: Path, undisturbed: dict, raw: dict, status: int, done: dict) -> None:
    """A run came to its end: right or wrong; then everything is made anew."""
    done["completed"] += 1
    found = Digests().of(study / "results")
    differ = sorted(name for name in {*undisturbed, *found} if undisturbed.get(name) != found.get(name))
    faults = [f"exit status {status}"] * (status != 0) + [f"differs: {name}" for name in differ]
    if Digests().of(study / "raw") != raw:
        faults.append("raw files were changed")
    done["wrong"] += [f"after {done['killed']} kills: {fault}" for fault in faults]
    if not faults:
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
    parser.add_argument("--longest", type=float, help="seconds a run may live; as long as an undisturbed one")
    parser.add_argument("--demo", action="store_true", help="the whole demo study instead of the small one")
    options = parser.parse_args()
    # Stopped from outside, it takes what it started along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reference, study = options.study / "undisturbed", options.study / "killed"
    seconds = options.study / "seconds"
    if not seconds.exists():
        if not reference.exists():
            (demo_study if options.demo else small_demo)(reference)
        begun = time.monotonic()
        unlock(reference)
        run = snakemake(reference, longest=3600)
        if run.returncode != 0:
            print(run.text[-3000:])
            return 1
        seconds.write_text(f"{time.monotonic() - begun:.0f}")
    if not study.exists():
        prepare(reference, study)
    longest = options.longest or float(seconds.read_text())
    done = kill_many(study, reference, options.count, options.seed, longest)
    wrong = "; ".join(done["wrong"][:20]) or "none"
    print(
        f"{done['killed']} kills, {done['completed']} runs completed, {done['partial']} unfinished files "
        f"found in place, wrong: {wrong}"
    )
    return int(bool(done["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
