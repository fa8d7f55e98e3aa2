"""What the workflow costs beside the fits: `make scaling` prints the tables of docs/scaling.md.

DAG: a dry run over empty files. No-op: a finished study again, with Snakemake's own records written by
`--touch` over made-up outputs, since what they hold plays no part. Adding one: the jobs that a new row asks
for. Overhead: whole runs of two sizes on empty files, whose every acquisition fails at once, so that what
remains is the workflow: the slope is the cost of an acquisition.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generated import call, write_study


def dag(folder: Path, sizes: list[int]) -> None:
    """CPU time of building the DAG, and of a whole dry run."""
    print("| acquisitions | DAG, CPU s | dry run, CPU s | memory, MB |\n|---|---|---|---|")
    for size in sizes:
        study = write_study(folder / f"dag{size}", size)
        graph = call(study, "--rulegraph", "dot")
        dry = call(study, "--dry-run", "--quiet", "all")
        print(f"| {size} | {graph.cpu_s:.1f} | {dry.cpu_s:.1f} | {graph.peak_MB:.0f} |", flush=True)


def outputs(text: str) -> list[str]:
    """Output files of every job, as a dry run prints them."""
    found = re.findall(r"^    (?:output|log|benchmark): (.*)$", text, re.MULTILINE)
    return [name for line in found for name in re.sub(r" \(check.*", "", line).split(", ")]


def no_op(folder: Path, sizes: list[int]) -> None:
    """A run that finds nothing to do, and one that finds a single new acquisition."""
    print("| acquisitions | no-op, CPU s | jobs that one more acquisition asks for |\n|---|---|---|")
    for size in sizes:
        study = write_study(folder / f"noop{size}", size)
        for name in outputs(call(study, "--dry-run").text):
            path = study / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        call(study, "--touch", "--quiet", "all")
        again = call(study)
        if "Nothing to be done" not in again.text:
            raise RuntimeError(again.text[-2000:])
        write_study(study, size + 1, first=size)
        dry = call(study, "--dry-run").text
        counts = re.findall(r"^(\w+) +(\d+)$", dry.split("total")[0], re.MULTILINE)
        jobs = ", ".join(f"{rule} {count}" for rule, count in counts if rule != "all")
        print(f"| {size} | {again.cpu_s:.1f} | {jobs} |", flush=True)


def overhead(folder: Path, small: int, large: int) -> None:
    """Slope of the CPU time of whole runs."""
    costs = {
        size: call(write_study(folder / f"run{size}", size), "--quiet", "all", cores=2)
        for size in (small, large)
    }
    slope = (costs[large].cpu_s - costs[small].cpu_s) / (large - small)
    print("| acquisitions | CPU s | wall s |\n|---|---|---|")
    for size, cost in costs.items():
        print(f"| {size} | {cost.cpu_s:.0f} | {cost.wall_s:.0f} |")
    print(f"\nSlope: {slope:.2f} s of CPU an acquisition")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("dag", "no_op", "overhead"), nargs="*")
    parser.add_argument("--quick", action="store_true", help="smaller studies")
    options = parser.parse_args()
    chosen = options.only or ["dag", "no_op", "overhead"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if "dag" in chosen:
            dag(folder, [100, 1000] if options.quick else [100, 1000, 10_000])
        if "no_op" in chosen:
            no_op(folder, [100] if options.quick else [100, 1000])
        if "overhead" in chosen:
            overhead(folder, 20, 40 if options.quick else 100)


if __name__ == "__main__":
    main()
