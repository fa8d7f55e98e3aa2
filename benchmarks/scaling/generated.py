"""Generated studies of any size, and CPU time of what Snakemake does with them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "workflow" / "Snakefile"
# Of ten acquisitions: four spectrum images, one spectrum, five images; twenty acquisitions a cell.
KINDS = (
    "eels_si",
    "hrtem",
    "eels_si",
    "hrtem",
    "eels_spectrum",
    "hrtem",
    "eels_si",
    "tem",
    "eels_si",
    "hrtem",
)
SUFFIX = {"eels_si": ".dm4", "eels_spectrum": ".msa", "hrtem": ".dm3", "tem": ".tif"}
PER_CELL = 20


@dataclass
class Cost:
    """CPU seconds of a process and its children, wall seconds, and the largest memory of one of them."""

    cpu_s: float
    wall_s: float
    peak_MB: float
    text: str


def write_study(folder: Path, count: int, first: int = 0) -> Path:
    """A study of `count` acquisitions whose raw files are empty; a larger count adds to what is there."""
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "raw").mkdir(exist_ok=True)
    rows, cells = ["acquisition_id\tcell_id\tparticle_id\tregion_id\tmodality\tpath"], ["cell_id\tcondition"]
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        cell = number // PER_CELL
        path = f"raw/a{number}{SUFFIX[kind]}"
        if number >= first:
            (folder / path).touch()
        rows.append(f"a{number}\tc{cell}\tp{number % PER_CELL // 4}\tr{number % 4}\t{kind}\t{path}")
    for cell in range(-(-count // PER_CELL)):
        cells.append(f"c{cell}\t{'shorted' if cell % 2 else 'normal'}")
    (folder / "config" / "acquisitions.tsv").write_text("\n".join(rows) + "\n")
    (folder / "config" / "cells.tsv").write_text("\n".join(cells) + "\n")
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump({"study": {"title": "Scaling"}}))
    return folder


def call(study: Path, *arguments: str, cores: int = 1) -> Cost:
    """Run Snakemake on a study and measure it."""
    command = [sys.executable, "-m", "snakemake", "-s", str(WORKFLOW), "--directory", str(study)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(
        [*command, "--cores", str(cores), *arguments], capture_output=True, text=True, env=environment
    )
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError((done.stdout + done.stderr)[-3000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, after.ru_maxrss / 1024, done.stdout + done.stderr)
