"""Spoiled sheets and configurations: `python tests/fuzz/studies.py --count 600 --seed 1`.

Every one has to end in a list of faults or in a valid study: bounded in time, never with another exception,
with every path inside the study folder and every id fit to be a folder's name.
"""

from __future__ import annotations

import argparse
import collections
import re
import shutil
import sys
import tempfile
import traceback
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).parent))

import mutators
import numpy as np

from ceiflow.errors import SignalError, StudyError
from ceiflow.signals.bounded import run_bounded
from ceiflow.study import seed_for
from ceiflow.study.validation import load_study

ROOT = Path(__file__).resolve().parents[2]
FILES = ("config/config.yaml", "config/cells.tsv", "config/acquisitions.tsv")
CELLS = (
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "$(touch escaped)",
    "`touch escaped`",
    "; touch escaped",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a b",
    "'",
    '"',
    "x" * 300,
    "-rf",
    "{wildcard}",
    "!!python/object/apply:os.system ['touch escaped']",
    "1e999",
    "-1",
    "nan",
    "0x10",
    "\u202eabc",
    "a\\b",
    "café",
    "{{ 7*7 }}",
    "=1+1",
    "%s%n",
    "NULL",
)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def change_cell(data: bytes, random: np.random.Generator) -> bytes:
    """One cell of a sheet becomes something else."""
    rows = [line.split(b"\t") for line in data.split(b"\n")]
    row = rows[int(random.integers(0, len(rows)))]
    row[int(random.integers(0, len(row)))] = CELLS[int(random.integers(0, len(CELLS)))].encode()
    return b"\n".join(b"\t".join(row) for row in rows)


def change_value(data: bytes, random: np.random.Generator) -> bytes:
    """One value of a configuration becomes something else, or another kind of thing."""
    lines = data.split(b"\n")
    index = int(random.integers(0, len(lines)))
    key, colon, _ = lines[index].partition(b":")
    values = [
        *CELLS,
        "[]",
        "{}",
        "[1, 2",
        "&a [*a]",
        "*nothing",
        "true",
        "null",
        "2024-01-01",
        "[[[[[[]]]]]]",
        "!!binary x",
    ]
    lines[index] = key + (colon or b":") + b" " + values[int(random.integers(0, len(values)))].encode()
    return b"\n".join(lines)


WAYS = {
    "config.yaml": (change_value, change_value, change_value, *mutators.TEXT),
    "cells.tsv": (change_cell, change_cell, *mutators.TEXT),
    "acquisitions.tsv": (change_cell, change_cell, change_cell, *mutators.TEXT),
}


def one(index: int, seed: int, folder: Path) -> tuple[str, str]:
    """Spoil one file of the demo study and validate it: ("faults" | "valid" | "WRONG", what happened)."""
    random = np.random.default_rng(seed_for(seed, "study", str(index)))
    name = FILES[index % len(FILES)]
    sound = (ROOT / name).read_bytes()
    way, data = mutators.mutate(sound, WAYS[Path(name).name], random)
    (folder / name).write_bytes(data)
    try:
        found = run_bounded(lambda: outcome(folder), name, 20, 500)
    except SignalError as error:
        found = ("WRONG", str(error))
    finally:
        (folder / name).write_bytes(sound)
    if list(folder.rglob("escaped")):
        found = ("WRONG", "something was run")
    return found[0], f"{name} {index} {way}: {found[1]}"


def outcome(folder: Path) -> tuple[str, str]:
    """What validation says."""
    try:
        study = load_study(folder)
    except StudyError as error:
        bad = [fault for fault in error.faults if not (fault.found and fault.expected and fault.file)]
        return ("WRONG", f"empty words in {bad}") if bad or not error.faults else ("faults", str(error)[:300])
    except BaseException as error:
        return "WRONG", f"raised {type(error).__name__}: {error}\n{traceback.format_exc()[-1200:]}"
    for row in [*study.cells, *study.acquisitions]:
        for key in ("acquisition_id", "cell_id"):
            if key in row and not ID.fullmatch(row[key] or ""):
                return "WRONG", f"{key} {row[key]!r} was let in"
        for key in ("path", "low_loss_path", "adf_path"):
            path = PurePosixPath(row.get(key) or "")
            if path.is_absolute() or ".." in path.parts:
                return "WRONG", f"{key} {path} leaves the study"
    return "valid", ""


def study(folder: Path) -> Path:
    """The demo's configuration and sheets, to spoil."""
    (folder / "config").mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def main() -> int:
    """Run and count; exit status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = study(Path(place) / "study")
        for index in range(options.first, options.count):
            state, text = one(index, options.seed, folder)
            counts[state] += 1
            if state == "WRONG":
                print(state, text, flush=True)
    print(f"{sum(counts.values())} studies, seed {options.seed}: {dict(sorted(counts.items()))}")
    return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main())
