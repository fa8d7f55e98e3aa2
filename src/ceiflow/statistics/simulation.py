"""Errors of the statistics over many simulated studies whose truth is known: a grid, one cell at a time.

Data are nested normal effects of cell, particle, region and pixel in nm, or what a scenario makes of them;
the truth is chosen here, and the functions under test are those that judge claims. Every scenario has a
random stream of its own, named after it, so that scenarios may run in any order and be taken up again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats

from ceiflow.statistics import bounds, designs
from ceiflow.statistics.absence import Presence
from ceiflow.statistics.censoring import censored_mean
from ceiflow.statistics.claims import claim_rows
from ceiflow.statistics.grid import EXPECTED, PREVALENCES, RUNS
from ceiflow.statistics.heterogeneity import LEVELS, heterogeneity_rows
from ceiflow.statistics.mixed import kenward_roger, nested_design, reml
from ceiflow.statistics.simulated import FLAT, PARTICLES, PIXELS, REGIONS, SD, nested_pixels, tables
from ceiflow.statistics.tables import Row
from ceiflow.study import seed_for

ALPHA = 0.05
EFFECT_NM = 3.0
SETTINGS = {"alpha": ALPHA, "seed": 532, "resamples": 2000, "intraclass_correlation": 0.1}


def simulate(scenario: str, seed: int, runs: int = RUNS) -> list[Row]:
    """Measured rates of one cell of the grid.

    Parameters
    ----------
    scenario : str
        One of `scenarios`: family, case and cells in the smaller arm.
    seed : int
        Root of the random streams.
    runs : int
        Simulated studies.

    Returns
    -------
    list of dict
        One row for each quantity and method, with `COLUMNS`.
    """
    family, case, cells = scenario.split("-")
    rng = np.random.default_rng(seed_for(seed, "simulation", scenario))
    found = _FAMILIES[family](rng, case, int(cells), runs)
    return [_row(family, case, int(cells), runs, *item) for item in found]


def _row(
    family: str, case: str, cells: int, runs: int, quantity: str, method: str, value: float, expected: str
) -> Row:
    low, high = EXPECTED.get(expected, (0.0, 1.0))
    return {
        "family": family,
        "case": case,
        "cells": cells,
        "quantity": quantity,
        "method": method,
        "value": float(value),
        "se": math.sqrt(value * (1 - value) / runs),
        "runs": runs,
        "expected": f"{low:g} to {high:g}" if expected else "",
        "kept": "" if not expected else "yes" if low <= value <= high else "no",
    }


def _difference(rng: np.random.Generator, case: str, cells: int, runs: int) -> list[tuple]:
    """Type I error, coverage and power of contrasts of two arms."""
    if case == "censored":
        return _censored_difference(rng, cells, runs)
    other = cells + 2 if case == "unequal_arms" else cells
    shapes = [(runs, count, PARTICLES, REGIONS, PIXELS) for count in (cells, other)]
    heavy = case == "heavy_tails"
    sds = [SD, FLAT if case == "flat_normal" else SD]
    arms = [nested_pixels(rng, shape, 0.0, sd, heavy) for shape, sd in zip(shapes, sds, strict=True)]
    labels: list[list[tuple]] = [[((), ())] * cells, [((), ())] * other]
    factors, pairs = (), ()
    if case == "state":
        levels = [[c % 2 for c in range(cells)], [int(c >= other // 2) for c in range(other)]]
        arms = [
            arm + EFFECT_NM * np.array(own)[:, None, None, None]
            for arm, own in zip(arms, levels, strict=True)
        ]
        labels, factors = [[((), (str(v),)) for v in own] for own in levels], ("state",)
    if case == "paired":
        batch = 2.0 * rng.normal(size=(runs, cells, 1, 1, 1))
        arms = [arm + batch for arm in arms]
        labels, pairs = [[((str(c),), ()) for c in range(cells)]] * 2, ("batch",)
    keep = [
        (side, c, p, r)
        for side, count in enumerate((cells, other))
        for c, p, r in np.ndindex(count, PARTICLES, REGIONS)
        if _seen(case, side, c, p, r)
    ]
    regions = np.stack([arms[side][:, c, p, r].mean(axis=-1) for side, c, p, r in keep], axis=1)
    values = [_cell_means(regions, keep, side, count) for side, count in enumerate((cells, other))]
    plan = designs.plan(*labels, factors, pairs)
    out = _contrasts(values, plan, case)
    out += _mixed(regions, keep, plan, case)
    if case in ("balanced", "unbalanced", "very_unbalanced"):
        pixels = [
            np.concatenate([arms[side][:, c, p, r] for s, c, p, r in keep if s == side], axis=1)
            for side in (0, 1)
        ]
        rejected = stats.ttest_ind(*pixels, axis=1).pvalue <= ALPHA
        out.append(("type I error", "t on pixels (negative control)", rejected.mean(), "fails"))
    return out


def _seen(case: str, side: int, c: int, p: int, r: int) -> bool:
    """Whether a region was recorded: all of them, 3 to 5 particles of 2 or 3 regions, or 1 to 5 of 1 to 3."""
    if case == "unbalanced":
        return p < 3 + (2 * c + side) % 3 and r < 2 + (c + p) % 2
    if case == "very_unbalanced":
        return p <= (2 * c + side) % PARTICLES and r <= (c + p) % REGIONS
    return True


def _cell_means(regions: np.ndarray, keep: Sequence[tuple], side: int, count: int) -> np.ndarray:
    """(run, cell) means of particle means of region means."""
    cells = []
    for c in range(count):
        particles = sorted({key[2] for key in keep if key[:2] == (side, c)})
        means = [
            regions[:, [i for i, key in enumerate(keep) if key[:3] == (side, c, p)]].mean(axis=1)
            for p in particles
        ]
        cells.append(np.mean(means, axis=0))
    return np.stack(cells, axis=1)


def _contrasts(values: Sequence[np.ndarray], plan: designs.Plan, case: str) -> list[tuple]:
    """The decisive test, Student's beside it, and the permutation, run by run."""
    a, b = values
    counts = dict.fromkeys(["size", "cover", "power", "permuted", "student"], 0)
    for x, y in zip(a, b, strict=True):
        if plan.paired:
            d = designs.pair_differences(x, y, plan.strata)
            found = designs.paired(d, "two_sided", ALPHA)
            shifted = designs.paired(d + EFFECT_NM, "two_sided", ALPHA)
        else:
            found = designs.stratified(x, y, plan.strata, "two_sided", ALPHA)
            shifted = designs.stratified(x + EFFECT_NM, y, plan.strata, "two_sided", ALPHA)
        counts["size"] += found.p <= ALPHA
        counts["cover"] += found.low <= 0 <= found.high
        counts["power"] += shifted.p <= ALPHA
        p = designs.exchange_p(x, y, plan.strata, plan.paired, "two_sided", 2000, 0)
        counts["permuted"] += p <= ALPHA
    runs = len(a)
    name = "paired t" if plan.paired else "Welch within states" if len(plan.strata) > 1 else "Welch"
    # Exchanging cells of arms that scatter unequally is no symmetry, and no promise is made for it.
    permuted = "" if case == "flat_normal" else "size"
    # Two cells an arm leave no variance within states: states then add to the scatter.
    confounded = case == "state" and len(plan.strata) == 1
    out = [
        ("type I error", name, counts["size"] / runs, "exact size" if plan.paired else "size"),
        ("coverage", name, counts["cover"] / runs, "at least 95 %" if confounded else "coverage"),
        ("type I error", "permutation of cells", counts["permuted"] / runs, permuted),
        (f"power at {EFFECT_NM:g} nm", name, counts["power"] / runs, ""),
    ]
    if len(plan.strata) == 1:
        student = stats.ttest_ind(a, b, axis=1).pvalue <= ALPHA
        equal = case in ("balanced", "unequal_arms")
        out.append(("type I error", "Student on cells", student.mean(), "exact size" if equal else ""))
    return out


def _mixed(regions: np.ndarray, keep: Sequence[tuple], plan: designs.Plan, case: str) -> list[tuple]:
    """Kenward and Roger's test of the mixed model, all runs at once."""
    where = [{i: s for s, stratum in enumerate(plan.strata) for i in stratum[side]} for side in (0, 1)]
    used = [i for i, key in enumerate(keep) if key[1] in where[key[0]]]
    keys = [((keep[i][0], keep[i][1]), keep[i][2], keep[i][3]) for i in used]
    block = [where[keep[i][0]][keep[i][1]] for i in used]
    arm = np.array([1.0 - keep[i][0] for i in used])
    x = np.column_stack([np.eye(len(plan.strata))[block], arm])
    free = len({key[0] for key in keys}) - x.shape[1]
    if free < 1:
        return []
    fit = reml(nested_design(keys), regions[:, used], x)
    found = kenward_roger(fit, [0.0] * len(plan.strata) + [1.0], free)
    sound = fit.converged & np.isfinite(found.se) & np.isfinite(found.df)
    low, high = found.interval(ALPHA)
    # Runs without a fit count as no rejection, and as not covered.
    size = np.mean(sound & (found.p_value() <= ALPHA))
    cover = np.mean(sound & (low <= 0) & (high >= 0))
    shifted = np.mean(
        sound & (2 * stats.t.sf(np.abs(found.estimate + EFFECT_NM) / found.se, found.df) <= ALPHA)
    )
    equal = case in ("balanced", "unequal_arms", "paired") or (case == "state" and len(plan.strata) > 1)
    # With unequal numbers and few cells the test is conservative, which is no fault.
    size_expected = "exact size" if equal else "size" if "unbalanced" in case else ""
    cover_expected = "coverage" if equal else "at least 95 %" if "unbalanced" in case else ""
    name = "mixed model, Kenward-Roger"
    return [
        ("type I error", name, size, size_expected),
        ("coverage", name, cover, cover_expected),
        (f"power at {EFFECT_NM:g} nm", name, shifted, ""),
        ("no convergence", name, 1 - np.mean(sound), ""),
    ]


def _judged(claim: Mapping[str, object], arms: Mapping[str, np.ndarray], lod: float | None) -> Row:
    (row,) = claim_rows(*tables(arms, lod), [{"id": "c", **claim}], SETTINGS)
    return row


_CLAIM = {"endpoint": "layer_thickness_nm"}


def _censored_difference(rng: np.random.Generator, cells: int, runs: int) -> list[tuple]:
    """Verdicts where about half of the regions lie below a detection limit of 2 nm, as in whole studies."""
    claim = {
        **_CLAIM,
        "kind": "difference",
        "test": {"condition": "t"},
        "reference": {"condition": "r"},
        "direction": "greater",
    }
    shape = (cells, 3, 2, PIXELS)
    supported = {0.0: 0, EFFECT_NM: 0}
    for _ in range(runs):
        arms = [np.abs(nested_pixels(rng, shape, 2.0, SD)) for _ in range(2)]
        for effect in supported:
            row = _judged(claim, {"t": arms[0] + effect, "r": arms[1]}, 2.0)
            supported[effect] += row["verdict"] == "supported"
    return [
        ("type I error", "verdict supported", supported[0.0] / runs, "size"),
        (f"power at {EFFECT_NM:g} nm", "verdict supported", supported[EFFECT_NM] / runs, ""),
    ]


def _mean(rng: np.random.Generator, case: str, cells: int, runs: int) -> list[tuple]:
    """Coverage of intervals for the mean of one group of cells."""
    if case == "coverage":
        return _fractions(rng, cells, runs)
    if case == "censored":
        return _censored_means(rng, cells, runs)
    data = nested_pixels(rng, (runs, cells, PARTICLES, REGIONS, PIXELS), 10.0, SD, case == "heavy_tails")
    means = data.mean(axis=(2, 3, 4))
    if case == "state":
        return _mean_over_states(means, cells)
    found = [bounds.mean_limits(x, ALPHA / 2) for x in means]
    covered = np.mean([item.low <= 10 <= item.high for item in found])
    return [("coverage", "Student on cells", covered, "coverage")]


def _mean_over_states(means: np.ndarray, cells: int) -> list[tuple]:
    """Coverage of the mean of two states that differ, with the scatter within them."""
    states = [c % 2 for c in range(cells)]
    data = means + EFFECT_NM * (np.array(states) - 0.5)
    apart = cells > 2  # one cell of each state leaves no scatter within
    found = [bounds.mean_limits(x, ALPHA / 2, 0.0, states if apart else None) for x in data]
    covered = np.mean([item.low <= 10 <= item.high for item in found])
    name = "Student within states" if apart else "Student on cells"
    return [("coverage", name, covered, "coverage" if apart else "at least 95 %")]


def _fractions(rng: np.random.Generator, cells: int, runs: int) -> list[tuple]:
    """Fractions that scatter between cells as a beta distribution does, near the end of their range."""
    out = []
    for mean, dispersion in ((0.9, 0.1), (0.97, 0.05)):
        size = 1 / dispersion - 1
        data = rng.beta(mean * size, (1 - mean) * size, (runs, cells))
        score = [bounds.proportion_limits(x, ALPHA / 2, SETTINGS["intraclass_correlation"]) for x in data]
        plain = [bounds.mean_limits(x, ALPHA / 2) for x in data]
        for name, items, expected in (("score interval", score, "at least 95 %"), ("Student", plain, "")):
            covered = np.mean([item.low <= mean <= item.high for item in items])
            out.append((f"coverage of {mean:g}", name, covered, expected))
    return out


def _censored_means(rng: np.random.Generator, cells: int, runs: int) -> list[tuple]:
    """Cells of 2.5 nm of which about a third of the regions lie below a limit of 2 nm."""
    covered = both = given = 0
    for _ in range(runs):
        values = nested_pixels(rng, (cells, 4, 1, PIXELS), 2.5, {**SD, "particle": 0.5, "region": 0.5}).mean(
            axis=(2, 3)
        )
        values = np.maximum(values, 0.0)
        low = np.where(values < 2.0, 0.0, values).mean(axis=1)
        high = np.maximum(values, 2.0).mean(axis=1)
        ends = [bounds.mean_limits(x, ALPHA / 2) for x in (low, high)]
        both += min(item.low for item in ends) <= 2.5 <= max(item.high for item in ends)
        found = censored_mean(low, high, ALPHA)
        given += found is not None
        covered += found is not None and found.low <= 2.5 <= found.high
    out = [("coverage", "both ends", both / runs, "at least 95 %")]
    if given >= runs / 20:
        out.append(("coverage", "interval-censored likelihood", covered / given, "at least 95 %"))
    return [*out, ("no estimate", "interval-censored likelihood", 1 - given / runs, "")]


def _absence(rng: np.random.Generator, case: str, cells: int, runs: int) -> list[tuple]:
    """How often absence is claimed of a layer exactly as thick as the margin (two one-sided tests)."""
    claim = {**_CLAIM, "kind": "absence", "group": {"condition": "t"}, "margin": 2.0}
    sd = {"cell": 0.3, "particle": 0.3, "region": 0.2, "pixel": 0.2}
    lod = 1.5 if case == "censored" else None
    wrong = right = 0
    for _ in range(runs):
        data = nested_pixels(rng, (cells, 4, 2, PIXELS), 2.0, sd)
        wrong += _judged(claim, {"t": data}, lod)["verdict"] == "supported"
        right += _judged(claim, {"t": np.maximum(data - 1.2, 0.0)}, lod)["verdict"] == "supported"
    return [
        ("size at the margin", "verdict supported", wrong / runs, "size"),
        ("power at 0.8 nm", "verdict supported", right / runs, ""),
    ]


def _prevalence(rng: np.random.Generator, case: str, cells: int, runs: int) -> list[tuple]:
    """How often the bound on prevalence lies above the truth, at the correlation that is allowed for."""
    correlation, size = float(SETTINGS["intraclass_correlation"]), 9
    out = []
    for prevalence in PREVALENCES:
        spread = (1 - correlation) / correlation
        own = rng.beta(prevalence * spread, (1 - prevalence) * spread, (runs, cells))
        counts = np.sort(rng.binomial(size, own), axis=1)
        limits: dict[tuple, float] = {}
        covered = 0
        for row in map(tuple, counts.tolist()):
            if row not in limits:
                estimated = bounds.intraclass_correlation(row, [size] * cells)
                seen = Presence(list(row), [size] * cells, 0, max(correlation, estimated or 0.0))
                limits[row] = seen.upper(ALPHA)
            covered += limits[row] >= prevalence
        out.append(
            (
                f"bound above {prevalence:g}",
                "design effect and beta-binomial",
                covered / runs,
                "at least 95 %",
            )
        )
    return out


def _heterogeneity(rng: np.random.Generator, case: str, cells: int, runs: int) -> list[tuple]:
    """How often the interval of each level's variance holds the truth."""
    covered, given = dict.fromkeys(SD, 0), dict.fromkeys(SD, 0)
    truth = {name: sd**2 for name, sd in SD.items()}
    keep = None if case == "balanced" else lambda c, p, r: _seen("unbalanced", 0, c, p, r)
    for _ in range(runs):
        shape = (cells, PARTICLES, REGIONS, PIXELS)
        # Some cells may be rougher than others: the mean over cells is what is asked for.
        rough = np.sqrt(rng.gamma(4.0, 0.25, (cells, 1, 1, 1))) if case == "uneven" else 1.0
        pixels = nested_pixels(rng, shape, 10.0, {**SD, "pixel": 0.0})
        pixels = pixels + rough * SD["pixel"] * rng.normal(size=shape)
        rows, sheet = tables({"t": pixels}, None, keep, roughness=True)
        for row in heterogeneity_rows(rows, sheet, ALPHA):
            level = str(row["level"])
            if row["endpoint"] == "layer_thickness_nm" and row["ci_low"] is not None:
                given[level] += 1
                covered[level] += row["ci_low"] <= truth[level] <= row["ci_high"]
    methods = {level: "analysis of variance" for level in LEVELS} | {"pixel": "means of cells"}
    return [
        (f"coverage of the variance, {level}", methods[level], covered[level] / given[level], "variance")
        for level in SD
        if given[level]
    ]


_FAMILIES: dict[str, Callable[[np.random.Generator, str, int, int], list[tuple]]] = {
    "difference": _difference,
    "mean": _mean,
    "absence": _absence,
    "prevalence": _prevalence,
    "heterogeneity": _heterogeneity,
}
