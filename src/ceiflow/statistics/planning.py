"""How many cells, particles and regions a claim needs, from the variances that were seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ceiflow.statistics.claims import FRACTIONS
from ceiflow.statistics.components import nested_components
from ceiflow.statistics.selection import Group, select, zone_of
from ceiflow.statistics.tables import Row, number

PLANNING_COLUMNS = [
    "claim_id",
    "kind",
    "endpoint",
    "unit",
    "verdict",
    "cells",
    "particles",
    "regions",
    "se_cell",
    "distance",
    "power",
    "detectable",
    "note",
]
POWER = 0.8
MOST_CELLS = 12


@dataclass(frozen=True)
class Variances:
    """Variance between cells, particles and regions (measurement errors included), and the numbers seen.

    A level that was not replicated is 0: its variance is contained in the level above.
    """

    cell: float
    particle: float
    region: float
    particles: float
    regions: float
    note: str

    def of_mean(self, particles: float, regions: float) -> float:
        """Variance of one cell's mean over `particles` of `regions` each."""
        return self.cell + self.particle / particles + self.region / (particles * regions)


def variances(groups: Sequence[Group]) -> Variances | None:
    """Components of the cells of a claim, arms taken apart; None where nothing scatters or is replicated."""
    keys, values, arms = [], [], []
    for place, group in enumerate(groups):
        if group.all_bounded:
            continue  # limits scatter with the instrument
        for key, mean in group.regions.items():
            keys.append(key)
            values.append((mean.low + mean.high) / 2)
            arms.append(place)
    if len({key[0] for key in keys}) - len(set(arms)) < 1:
        return None
    labels = [arms, *([key[:depth] for key in keys] for depth in (1, 2, 3))]
    levels = ("cell", "particle", "region")
    found = {
        item.level: item
        for item in nested_components(np.array(values), labels, levels, np.zeros(len(values)))
    }
    cells = len({key[0] for key in keys})
    particles = len({key[:2] for key in keys})
    notes = [f"{item.level}: {item.note}" for item in found.values() if item.note]
    if sum(item.variance for item in found.values()) <= 0:
        return None
    return Variances(
        *(found[level].variance if level in found else 0.0 for level in levels),
        particles=particles / cells,
        regions=len(keys) / particles,
        note="; ".join(notes),
    )


def power_of(distance: float, sd: float, cells: int, arms: int, alpha: float) -> float:
    """Power of a t test on cell means at a true distance from what it is held against.

    Parameters
    ----------
    distance : float
        Difference of two arms, or of one arm's mean from its nearer limit; in the endpoint's unit.
    sd : float
        Standard deviation of one cell's mean.
    cells : int
        In each arm.
    arms : 1 or 2
    alpha : float
        Of one side.
    """
    df = arms * (cells - 1)
    shift = abs(distance) / (sd * math.sqrt(arms / cells))
    # Beyond this the distribution function of noncentral t loses its digits, and the power is 1.
    return float(stats.nct.sf(stats.t.isf(alpha, df), df, shift)) if shift < 30 else 1.0


def detectable(sd: float, cells: int, arms: int, alpha: float, power: float = POWER) -> float:
    """The smallest distance that is resolved with `power`."""
    return float(
        optimize.brentq(
            lambda d: power_of(d, sd, cells, arms, alpha) - power, 1e-9 * sd, 25 * sd * math.sqrt(arms)
        )
    )


def plan_rows(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claims: Sequence[Mapping[str, object]],
    judged: Sequence[Row],
    alpha: float,
    most_cells: int = MOST_CELLS,
) -> list[Row]:
    """Power and detectable distance of every claim by cells, particles and regions.

    Parameters
    ----------
    measurements, cells : sequences of dict
        Rows of measurements.tsv and of the sheet of cells.
    claims : sequence of mappings
        The configuration's `claims`.
    judged : sequence of dict
        Rows of claims.tsv: estimates and verdicts.
    alpha : float
        The study's error rate; a claim's own goes first. Multiplicity is not allowed for.
    most_cells : int
        Cells of each group up to which the table goes.

    Returns
    -------
    list of dict
        `PLANNING_COLUMNS`. Four designs for each number of cells: as it was, twice the particles, twice the
        regions, twice both. `power` is that of showing the distance seen in the data, which is itself
        uncertain; `detectable` needs no such assumption. A claim without variances has one row, and says why
        in `note`.
    """
    verdicts = {str(row["claim_id"]): row for row in judged}
    rows: list[Row] = []
    for claim in claims:
        found = verdicts.get(str(claim["id"]), {})
        rows += _plan(measurements, cells, claim, found, float(claim.get("alpha") or alpha), most_cells)
    return rows


def _plan(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claim: Mapping[str, object],
    judged: Row,
    alpha: float,
    most_cells: int,
) -> list[Row]:
    names = ("test", "reference") if claim["kind"] == "difference" else ("group",)
    endpoint, zone = str(claim["endpoint"]), zone_of(claim, measurements)
    groups = [
        select(measurements, cells, endpoint, zone, claim.get(name) or {}, claim.get("modality"))
        for name in names
    ]
    base = {
        "claim_id": claim["id"],
        "kind": claim["kind"],
        "endpoint": endpoint,
        "unit": judged.get("unit"),
        "verdict": judged.get("verdict"),
    }
    seen = variances(groups)
    if seen is None:
        return [{**base, "note": "too few cells with values to estimate variances"}]
    distance = _distance(claim, judged)
    one_sided = claim["kind"] == "absence" or claim.get("direction") in ("greater", "less")
    tail = alpha if one_sided else alpha / 2
    notes = [seen.note] if seen.note else []
    if claim["kind"] == "proportion" or endpoint in FRACTIONS:
        notes.append(
            "Student's interval: that of a proportion, which the verdict rests on, asks for more cells"
        )
    rows = []
    for factor_p, factor_r in ((1, 1), (2, 1), (1, 2), (2, 2)):
        particles, regions = seen.particles * factor_p, seen.regions * factor_r
        sd = math.sqrt(seen.of_mean(particles, regions))
        for count in range(2, most_cells + 1) if sd > 0 else ():
            rows.append(
                {
                    **base,
                    "cells": count,
                    "particles": particles,
                    "regions": regions,
                    "se_cell": sd,
                    "distance": distance,
                    "power": None if distance is None else power_of(distance, sd, count, len(groups), tail),
                    "detectable": detectable(sd, count, len(groups), tail),
                    "note": "; ".join(notes),
                }
            )
    return rows or [{**base, "note": "no variance between cells"}]


def _distance(claim: Mapping[str, object], judged: Row) -> float | None:
    """How far the estimate lies from what the claim holds it against; None on the wrong side or unknown."""
    estimate = number(judged.get("estimate"))
    if estimate is None:
        return None
    if claim["kind"] == "difference":
        sign = {"greater": estimate, "less": -estimate}.get(str(claim.get("direction")), abs(estimate))
        return sign if sign > 0 else None
    if claim["kind"] == "absence":
        gap = float(claim["margin"]) - estimate
    else:
        low, high = float(claim.get("low", 0.0)), float(claim.get("high", 1.0))
        fraction = claim["kind"] == "proportion" or str(claim["endpoint"]) in FRACTIONS
        # The ends that a fraction has anyway are no limits.
        gaps = [estimate - low] if not fraction or low > 0 else []
        gaps += [high - estimate] if not fraction or high < 1 else []
        gap = min(gaps, default=0.0)
    return gap if gap > 0 else None


def needed_cells(rows: Sequence[Row], power: float = POWER) -> dict[str, int | None]:
    """For each claim the cells of each group that reach `power`, particles and regions as they were."""
    first: dict[str, int | None] = {}
    for row in rows:
        name = str(row["claim_id"])
        first.setdefault(name, None)
        if row.get("power") is None or first[name] is not None:
            continue
        as_it_was = row["particles"] == min(
            r["particles"] for r in rows if r["claim_id"] == name and r.get("particles") is not None
        ) and row["regions"] == min(
            r["regions"] for r in rows if r["claim_id"] == name and r.get("regions") is not None
        )
        if as_it_was and float(row["power"]) >= power:
            first[name] = int(row["cells"])
    return first
