"""How many cells, particles and regions a claim needs, from the variances that were seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ceiflow.statistics.bounds import score_limits
from ceiflow.statistics.claims import FRACTIONS
from ceiflow.statistics.components import nested_components
from ceiflow.statistics.levels import levels_of
from ceiflow.statistics.nesting import group_by
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
NOT_ENOUGH = "with so few cells no mean is shown to lie within these bounds"
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


def variances(groups: Sequence[Group], factors: Sequence[str] = ()) -> Variances | None:
    """Components of the cells of a claim, arms and levels of `factors` taken apart.

    None where nothing scatters or is replicated.
    """
    keys, values, arms = [], [], []
    for place, group in enumerate(groups):
        if group.all_bounded:
            continue  # limits scatter with the instrument
        for key, mean in group.regions.items():
            keys.append(key)
            values.append((mean.low + mean.high) / 2)
            arms.append((place, group.labels(key[0], factors)))
    if factors and len({key[0] for key in keys}) - len(set(arms)) < 1:
        return variances(groups)  # levels cannot be told from scatter, and add to it
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


def power_of(distance: float, sd: float, cells: int, arms: int, alpha: float, levels: int = 1) -> float:
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
    levels : int
        Of a factor that is taken out, equally large; each costs a degree of freedom in each arm.
    """
    df = arms * (cells - levels)
    shift = abs(distance) / (sd * math.sqrt(arms / cells))
    # Beyond this the distribution function of noncentral t loses its digits, and the power is 1.
    return float(stats.nct.sf(stats.t.isf(alpha, df), df, shift)) if shift < 30 else 1.0


def detectable(
    sd: float, cells: int, arms: int, alpha: float, power: float = POWER, levels: int = 1
) -> float:
    """The smallest distance that is resolved with `power`."""
    return float(
        optimize.brentq(
            lambda d: power_of(d, sd, cells, arms, alpha, levels) - power,
            1e-9 * sd,
            25 * sd * math.sqrt(arms),
        )
    )


@dataclass(frozen=True)
class FractionPlan:
    """Planning of a fraction held against two bounds, by the score interval that its verdict rests on.

    The dispersion of cells, relative to single yes/no trials, is that of the design at the mean seen, and
    not below `least` (the correlation within cells that the study allows for).
    """

    mean: float
    sd: float
    bounds: tuple[float, float]
    least: float
    alpha: float
    levels: int = 1

    def power(self, cells: int) -> float:
        """Probability that the limits of `cells` lie within the bounds, at the mean seen."""
        return float(self._power(cells, np.array([self.mean]))[0])

    def detectable(self, cells: int, power: float = POWER) -> float | None:
        """Distance from the nearer bound at which a mean is shown to lie inside; None where none is."""
        low, high = self.bounds
        steps = np.linspace(0.0, (high - low) if high >= 1 or low <= 0 else (high - low) / 2, 201)
        inside = self._power(cells, low + steps if low > 0 else high - steps) >= power
        return float(steps[inside.argmax()]) if inside.any() else None

    def _power(self, cells: int, means: np.ndarray) -> np.ndarray:
        kept = self._decided(cells)
        if kept is None:
            return np.zeros(means.shape)
        low, high = kept
        se = self.sd / math.sqrt(cells)
        # Means at the end of the range are all that lies beyond it.
        above = 1.0 if high >= 1 else stats.norm.cdf((high - means) / se)
        below = 0.0 if low <= 0 else stats.norm.cdf((low - means) / se)
        return np.broadcast_to(above - below, means.shape)

    def _decided(self, cells: int) -> tuple[float, float] | None:
        """Least and largest mean whose limits lie within the bounds; None where there is none."""
        trial = self.mean * (1 - self.mean)
        dispersion = min(1.0, max(self.sd**2 / trial if trial > 0 else 0.0, self.least))
        kept = []
        for mean in np.linspace(0.0, 1.0, 201):
            low, high = score_limits(float(mean), dispersion, cells, self.alpha, cells - self.levels)
            if self.bounds[0] <= low and high <= self.bounds[1]:
                kept.append(float(mean))
        return (kept[0], kept[-1]) if kept else None


def plan_rows(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claims: Sequence[Mapping[str, object]],
    judged: Sequence[Row],
    statistics: Mapping[str, object],
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
    statistics : mapping
        The configuration's `statistics`: `alpha` (a claim's own goes first; multiplicity is not allowed for)
        and `intraclass_correlation`.
    most_cells : int
        Cells of each group up to which the table goes.

    Returns
    -------
    list of dict
        `PLANNING_COLUMNS`. Four designs for each number of cells: as it was, twice the particles, twice the
        regions, twice both. `power` is that of showing the distance seen in the data, which is itself
        uncertain; `detectable` needs no such assumption. A claim without variances has one row, and says why
        in `note`; so does one with too few cells for any distance.
    """
    verdicts = {str(row["claim_id"]): row for row in judged}
    rows: list[Row] = []
    for claim in claims:
        found = verdicts.get(str(claim["id"]), {})
        rows += _plan(measurements, cells, claim, found, statistics, most_cells)
    return rows


def _plan(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claim: Mapping[str, object],
    judged: Row,
    statistics: Mapping[str, object],
    most_cells: int,
) -> list[Row]:
    alpha = float(claim.get("alpha") or statistics["alpha"])
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
    factors = [str(name) for name in claim.get("factors") or ()]
    levels = max(levels_of(group, factors).count for group in groups)
    seen = variances(groups, factors if levels > 1 else ())
    if seen is None:
        return [{**base, "note": _why_not(groups)}]
    distance = _distance(claim, judged)
    one_sided = claim["kind"] == "absence" or claim.get("direction") in ("greater", "less")
    tail = alpha if one_sided else alpha / 2
    notes = [seen.note] if seen.note else []
    if claim.get("max_prevalence") is not None:
        notes.append("for the mean alone: what the bound on the prevalence asks for stands in the reason")
    rows = []
    for factor_p, factor_r in ((1, 1), (2, 1), (1, 2), (2, 2)):
        particles, regions = seen.particles * factor_p, seen.regions * factor_r
        sd = math.sqrt(seen.of_mean(particles, regions))
        fraction = _fraction(claim, judged, sd, tail, float(statistics["intraclass_correlation"]), levels)
        for count in range(levels + 1, most_cells + 1) if sd > 0 else ():
            if fraction:
                power = None if distance is None else fraction.power(count)
                smallest = fraction.detectable(count)
            else:
                power = None if distance is None else power_of(distance, sd, count, len(groups), tail, levels)
                smallest = detectable(sd, count, len(groups), tail, levels=levels)
            design = {"cells": count, "particles": particles, "regions": regions, "se_cell": sd}
            found = {"distance": distance, "power": power, "detectable": smallest}
            own = notes if smallest is not None else [f"no distance: {NOT_ENOUGH}", *notes]
            rows.append({**base, **design, **found, "note": "; ".join(own)})
    return rows or [{**base, "note": "no variance between cells"}]


def _why_not(groups: Sequence[Group]) -> str:
    if any(group.cells for group in groups) and all(group.all_bounded for group in groups if group.cells):
        return "nothing lies above its detection limit, so nothing scatters: a finer limit, or more regions"
    return "too few cells with values to estimate variances"


def _fraction(
    claim: Mapping[str, object], judged: Row, sd: float, alpha: float, least: float, levels: int
) -> FractionPlan | None:
    """The plan of a claim whose interval is that of a proportion; None for any other."""
    estimate = number(judged.get("estimate"))
    own = claim["kind"] == "proportion" or (
        claim["kind"] == "interval" and str(claim["endpoint"]) in FRACTIONS
    )
    if not own or estimate is None or sd <= 0:
        return None
    bounds = (float(claim.get("low", 0.0)), float(claim.get("high", 1.0)))
    return FractionPlan(min(max(estimate, 0.0), 1.0), sd, bounds, least, alpha, levels)


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


def designs(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one claim by design: as it was recorded, then with more particles, regions, both."""
    found: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        if number(row.get("cells")) is not None:
            found.setdefault((row["particles"], row["regions"]), []).append(row)
    return list(found.values())


def reaching(rows: Sequence[Row], power: float = POWER) -> int | None:
    """The least number of cells of each group at which rows of one design have that power."""
    able = [row for row in rows if (number(row.get("power")) or 0.0) >= power]
    return min((int(number(row["cells"]) or 0) for row in able), default=None)


def needed_cells(rows: Sequence[Row], power: float = POWER) -> dict[str, int | None]:
    """For each claim the cells of each group that reach `power`, particles and regions as they were."""
    claims = group_by(rows, lambda row: str(row["claim_id"]))
    return {name: reaching((designs(own) or [[]])[0], power) for name, own in claims.items()}
