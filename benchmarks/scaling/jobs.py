"""CPU time of every job of a run, by rule and kind: `python benchmarks/scaling/jobs.py CELL ...`.

Runs the demo study with the given cells from nothing on one core. Each process of a job writes, as it ends,
what it and its children took (Snakemake's own `benchmark` looks now and then, and misses the end of short
jobs). What is not a fit of the acquisition is its overhead; pages, tables and Snakemake's time are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from generated import call
from running import demo_study, edit_config, read_table

# Where spectra and images are fitted. All else of an acquisition is counted as overhead, also what the axis
# and the explorer's spectra take.
FITS = ("quantify", "measure_spectrum_image", "measure_spectrum", "measure_image", "dose_series")
# Raw files are simulated here, and recorded elsewhere.
LEFT_OUT = ("simulate_demo",)
WATCH = """
import atexit, json, os, resource, sys


# Notebooks put another module in its place.
main = sys.modules["__main__"]


def _write():
    job = getattr(main, "snakemake", None)
    if job is None:
        return
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(item.ru_utime + item.ru_stime for item in used)
    line = {"rule": job.rule, "wildcards": dict(job.wildcards.items()), "cpu_s": cpu}
    with open(os.environ["CEIFLOW_JOB_TIMES"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\\n")


atexit.register(_write)
"""


def run(folder: Path, cells: list[str]) -> tuple[list[dict], float, dict[str, str]]:
    """Jobs with their CPU time, that of Snakemake itself, and the modality of each acquisition."""
    study = demo_study(folder / "study", lambda row: row["cell_id"] in cells)
    edit_config(study, lambda config: config.update(claims=[]))
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(folder / "watch"), os.environ.get("PYTHONPATH")])
    )
    os.environ["CEIFLOW_JOB_TIMES"] = str(folder / "times.jsonl")
    whole = call(study, "--quiet", "all")
    jobs = [json.loads(line) for line in (folder / "times.jsonl").read_text().splitlines()]
    rows = read_table(study / "config" / "acquisitions.tsv")
    kinds = {row["acquisition_id"]: row["modality"] for row in rows}
    return jobs, whole.cpu_s - sum(job["cpu_s"] for job in jobs), kinds


def table(jobs: list[dict], own_s: float, kinds: dict[str, str]) -> None:
    """Print mean CPU time by kind, then what all share."""
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for job in jobs:
        if job["rule"] not in LEFT_OUT:
            kind = kinds.get(job["wildcards"].get("acquisition", ""), "")
            spent[kind, job["rule"]].append(job["cpu_s"])
    number = {kind: sum(item == kind for item in kinds.values()) for kind in sorted(set(kinds.values()))}
    print(
        "| kind | acquisitions | fits, CPU s each | outside, CPU s each | of which |\n|---|---|---|---|---|"
    )
    for kind, count in number.items():
        own = {rule: sum(times) / count for (item, rule), times in spent.items() if item == kind}
        fits = sum(seconds for rule, seconds in own.items() if rule in FITS)
        rest = {rule: seconds for rule, seconds in own.items() if rule not in FITS}
        words = ", ".join(f"{rule} {seconds:.2f}" for rule, seconds in rest.items())
        print(f"| {kind} | {count} | {fits:.2f} | {sum(rest.values()):.2f} | {words} |")
    shared = {rule: times for (kind, rule), times in spent.items() if not kind}
    print("\n| for all | jobs | CPU s |\n|---|---|---|")
    for rule, times in sorted(shared.items(), key=lambda item: -sum(item[1])):
        print(f"| {rule} | {len(times)} | {sum(times):.1f} |")
    print(f"| Snakemake itself | {len(jobs)} | {own_s:.1f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="+")
    with tempfile.TemporaryDirectory() as place:
        table(*run(Path(place), parser.parse_args().cells))


if __name__ == "__main__":
    main()
