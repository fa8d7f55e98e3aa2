"""Verdicts of a finished demo beside the truth that its simulation kept.

    python benchmarks/claims/verdicts.py [STUDY]

prints the table of docs/statistics.md. The truth is averaged as measurements are (acquisitions of a region,
regions of a particle, particles of a cell, cells of a state), over the acquisitions that took part.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ceiflow.statistics.designs import plan
from ceiflow.statistics.selection import Group, select, zone_of
from ceiflow.statistics.tables import Row, number, read_table
from ceiflow.study.config import read_yaml

#: Columns of truth.tsv that endpoints estimate.
TRUTH = {
    "layer_thickness_nm": "thickness_nm",
    "layer_coverage": "coverage",
    "carbon_fraction_carbonate": "carbon_carbonate",
}


def true_cells(truth: Mapping[str, Row], group: Group, endpoint: str) -> list[float]:
    """True value of each cell of a group; a region without a layer is 0 thick."""
    means = []
    for cell in group.cells:
        nested: dict[str, dict[str, list[float]]] = {}
        for item in group.observations:
            if item.cell_id == cell.cell_id:
                value = number(truth[item.acquisition_id].get(TRUTH[endpoint])) or 0.0
                nested.setdefault(item.particle_id, {}).setdefault(item.region_id, []).append(value)
        particles = [np.mean([np.mean(own) for own in regions.values()]) for regions in nested.values()]
        means.append(float(np.mean(particles)))
    return means


def true_estimate(claim: Mapping[str, object], groups: Sequence[Group], truth: Mapping[str, Row]) -> float:
    """What the claim's estimate would be without any error of measurement."""
    values = [true_cells(truth, group, str(claim["endpoint"])) for group in groups]
    states = [[group.labels(cell.cell_id, ["state"]) for cell in group.cells] for group in groups]
    if claim["kind"] != "difference":
        own = [[v for v, s in zip(values[0], states[0], strict=True) if s == one] for one in set(states[0])]
        return float(np.mean([np.mean(part) for part in own]))
    strata = plan(*([((), state) for state in own] for own in states), ["state"], []).strata
    sizes = np.array([len(a) * len(b) / (len(a) + len(b)) for a, b in strata])
    apart = [np.mean([values[0][i] for i in a]) - np.mean([values[1][i] for i in b]) for a, b in strata]
    return float(sizes @ apart / sizes.sum())


def right_answer(claim: Mapping[str, object], value: float) -> bool:
    """Whether the claim is true of that value."""
    if claim["kind"] == "difference":
        return value > 0 if claim.get("direction") == "greater" else value < 0
    if claim["kind"] == "absence":
        return value < float(claim["margin"])
    return float(claim.get("low", 0)) <= value <= float(claim.get("high", 1))


def table(study: Path) -> str:
    """Markdown: claim, what is claimed, truth, estimate with interval, verdict."""
    results = study / "results" / "tables"
    truth = {str(row["acquisition_id"]): row for row in read_table(study / "truth" / "demo" / "truth.tsv")}
    measurements, cells = read_table(results / "measurements.tsv"), read_table(study / "config" / "cells.tsv")
    config = read_yaml(study / "config" / "config.yaml", "config/config.yaml")
    judged = {str(row["claim_id"]): row for row in read_table(results / "claims.tsv")}
    lines = ["| claim | truth | estimate, interval | true | verdict |", "|---|---:|---:|---|---|"]
    for claim in config["claims"]:
        names = ("test", "reference") if claim["kind"] == "difference" else ("group",)
        zone = zone_of(claim, measurements)
        groups = [
            select(measurements, cells, claim["endpoint"], zone, claim[name], claim.get("modality"))
            for name in names
        ]
        value, row = true_estimate(claim, groups, truth), judged[claim["id"]]
        ends = [float(str(row[name])) for name in ("estimate", "ci_low", "ci_high")]
        found = f"{ends[0]:.3g} [{ends[1]:.3g}, {ends[2]:.3g}]"
        answer = "yes" if right_answer(claim, value) else "no"
        lines.append(f"| `{claim['id']}` | {value:.3g} | {found} | {answer} | {row['verdict']} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", type=Path, default=Path())
    print(table(parser.parse_args().study))


if __name__ == "__main__":
    main()
