"""Snakemake on small studies, as a user calls it."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ceiflow.study import load_config

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / "workflow" / "Snakefile"
# Two spectrum images, two images and two frames of a dose series of two cells, of three formats.
SMALL = (
    "pristine-1-p1r1-si",
    "pristine-1-p1r1-hr",
    "shorted-2-p1r1-si",
    "shorted-2-p1r1-hr",
    "shorted-2-p2r2-f1",
    "shorted-2-p2r2-f2",
)
Row = dict[str, str]


@dataclass
class Run:
    """A finished call of Snakemake."""

    returncode: int
    text: str

    def jobs(self) -> dict[str, int]:
        """Jobs by rule, from the table that Snakemake prints first."""
        counts: dict[str, int] = {}
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith("job ") and line.split()[-1] == "count":
                for row in lines:
                    words = row.split()
                    if not words or words[0] == "total":
                        break
                    if not row.startswith("-"):
                        counts[words[0]] = int(words[1])
                break
        return {rule: count for rule, count in counts.items() if rule not in ("all", "default")}


def of_clusters(module: str) -> str:
    """The interpreter of `make clusters`, with plugins of other clusters; a test without it is skipped."""
    python = Path(sys.prefix) / "clusters" / "bin" / "python"
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if not python.exists() or subprocess.run([python, "-c", probe], timeout=60).returncode:
        pytest.skip(f"{module} is not installed (make clusters)")
    return str(python)


def command(
    study: Path, *arguments: str, snakefile: Path = WORKFLOW, python: str = sys.executable
) -> list[str]:
    """The command line for a study folder."""
    options = ["-s", str(snakefile), "--directory", str(study), "--cores", "2"]
    return [python, "-m", "snakemake", *arguments, *options]


def environment(**changes: str) -> dict[str, str]:
    """This environment with byte-code allowed, which halves the start of every job."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **changes}


def snakemake(
    study: Path,
    *arguments: str,
    snakefile: Path = WORKFLOW,
    before: Sequence[str] = (),
    longest: float = 900,
    python: str = sys.executable,
    **variables: str,
) -> Run:
    """Run Snakemake on a study folder, for `longest` seconds at most; `before` stands before the command."""
    done = subprocess.run(
        [*before, *command(study, *arguments, snakefile=snakefile, python=python)],
        capture_output=True,
        text=True,
        timeout=longest,
        env=environment(**variables),
    )
    return Run(done.returncode, done.stdout + done.stderr)


def read_only(folder: Path) -> list[str]:
    """What to put before a command that may not write below `folder`; for root a mount of its own."""
    if os.geteuid() != 0:
        return ["sh", "-c", 'chmod -R a-w "$0"; "$@"; code=$?; chmod -R u+w "$0"; exit $code', str(folder)]
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    if subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, str(folder), "true"], capture_output=True
    ).returncode:
        pytest.skip("no mounts here, and root writes everywhere")
    return ["unshare", "-m", "sh", "-c", mount, str(folder)]


def demo_study(folder: Path, keep: Callable[[Row], bool] = lambda row: True) -> Path:
    """A study folder with the demo's configuration and the acquisitions that `keep` lets through."""
    shutil.copytree(ROOT / "config", folder / "config", ignore=shutil.ignore_patterns("examples", "recorded"))
    kept = edit_table(folder / "config" / "acquisitions.tsv", lambda rows: [row for row in rows if keep(row)])
    cells = {row["cell_id"] for row in kept}
    edit_table(folder / "config" / "cells.tsv", lambda rows: [row for row in rows if row["cell_id"] in cells])
    return folder


def small_demo(folder: Path) -> Path:
    """The acquisitions of `SMALL`, with one claim that they can carry."""
    demo_study(folder, lambda row: row["acquisition_id"] in SMALL)
    claim = {"id": "about_ten_nm", "kind": "interval", "endpoint": "layer_thickness_nm", "low": 5, "high": 15}
    edit_config(folder, lambda config: config.update(claims=[claim | {"group": {"condition": "shorted"}}]))
    return folder


def edit_config(study: Path, change: Callable[[dict], object]) -> None:
    """Load the configuration with its defaults, change it, write it back."""
    path = study / "config" / "config.yaml"
    config = load_config(yaml.safe_load(path.read_text(encoding="utf-8")))
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def read_table(path: Path) -> list[Row]:
    """Rows of a tab-separated table."""
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def edit_table(path: Path, change: Callable[[list[Row]], list[Row]]) -> list[Row]:
    """Change the rows of a tab-separated table in place; at least one has to stay."""
    rows = change(read_table(path))
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def copy_study(study: Path, folder: Path) -> Path:
    """A copy with time stamps and Snakemake's own records, so that nothing in it is stale."""
    subprocess.run(["cp", "-a", str(study), str(folder)], check=True)
    return folder


def contract_faults(study: Path) -> str:
    """What the contract's own checker says; a test that comes so far without one is skipped, not passed."""
    checker = os.environ.get("CEIFLOW_CONTRACT_CHECK")
    if not checker:
        pytest.skip("CEIFLOW_CONTRACT_CHECK does not name the contract's checker")
    done = subprocess.run([sys.executable, checker, str(study)], capture_output=True, text=True, timeout=300)
    return done.stdout.strip() + done.stderr
