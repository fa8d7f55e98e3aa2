"""Errors and coverage over many seeded studies whose truth is known: verdicts, and a part of the grid."""

import numpy as np
import pytest
from running import ROOT
from scipy import stats

from ceiflow.statistics.bounds import design_effect, upper_proportion
from ceiflow.statistics.claims import claim_rows
from ceiflow.statistics.components import nested_components
from ceiflow.statistics.grid import scenarios
from ceiflow.statistics.simulated import FLAT, PARTICLES, PIXELS, REGIONS, SD, nested_pixels, tables
from ceiflow.statistics.simulation import simulate
from ceiflow.statistics.tables import read_table

pytestmark = pytest.mark.simulation

RUNS = 1000
THREE = (3, PARTICLES, REGIONS, PIXELS)  # cells of an arm
TOLERANCE = 0.064  # two binomial standard errors above 5 % in 1000 runs
SETTINGS = {"alpha": 0.05, "seed": 532, "resamples": 2000, "intraclass_correlation": 0.1}
DIFFERENCE = {
    "id": "d",
    "kind": "difference",
    "endpoint": "layer_thickness_nm",
    "test": {"condition": "t"},
    "reference": {"condition": "r"},
    "direction": "two_sided",
}


def judged(claim, arms, **more):
    (row,) = claim_rows(*tables(arms, **more), [claim], SETTINGS)
    return row


def test_welch_keeps_its_size_and_coverage_where_pixels_do_not():
    rng = np.random.default_rng(20240501)
    rejected = covered = pixel_rejected = 0
    for _ in range(RUNS):
        arms = {"t": nested_pixels(rng, THREE, 12.0, SD), "r": nested_pixels(rng, THREE, 10.0, SD)}
        row = judged(DIFFERENCE, arms)
        covered += row["ci_low"] <= 2.0 <= row["ci_high"]
        null = {"t": arms["t"] - 2.0, "r": arms["r"]}
        rejected += (
            stats.ttest_ind(null["t"].mean((1, 2, 3)), null["r"].mean((1, 2, 3)), equal_var=False).pvalue
            <= 0.05
        )
        pixel_rejected += stats.ttest_ind(null["t"].ravel(), null["r"].ravel()).pvalue <= 0.05
    assert rejected / RUNS <= TOLERANCE
    assert covered / RUNS == pytest.approx(1 - rejected / RUNS)  # the claim's interval is Welch's on cells
    assert 0.93 <= covered / RUNS <= 0.985
    assert pixel_rejected / RUNS > 0.5  # negative control: pixels are not replicates


@pytest.mark.parametrize("case", ["one arm flat", "unbalanced", "heavy tails"])
def test_false_claims_stay_rare_in_hard_cases(case):
    rng = np.random.default_rng([532, len(case)])
    keep = (lambda c, p, r: p <= 2 * c and r <= c) if case == "unbalanced" else None
    supported = 0
    for _ in range(RUNS // 2):
        heavy = case == "heavy tails"
        test = nested_pixels(rng, THREE, 10.0, SD, heavy)
        reference = nested_pixels(rng, THREE, 10.0, FLAT if case == "one arm flat" else SD, heavy)
        row = judged(DIFFERENCE, {"t": test, "r": reference}, keep=keep)
        supported += row["verdict"] == "supported"
    assert supported / (RUNS // 2) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / (RUNS // 2))


@pytest.mark.parametrize("lod", [None, 1.5])
def test_absence_is_rarely_claimed_at_the_margin(lod):
    rng = np.random.default_rng(8)
    claim = {
        "id": "a",
        "kind": "absence",
        "endpoint": "layer_thickness_nm",
        "group": {"condition": "t"},
        "margin": 2.0,
    }
    sd = {"cell": 0.3, "particle": 0.3, "region": 0.2, "pixel": 0.2}
    supported = sum(
        judged(claim, {"t": nested_pixels(rng, (4, *THREE[1:]), 2.0, sd)}, lod=lod)["verdict"] == "supported"
        for _ in range(RUNS)
    )
    assert supported / RUNS <= TOLERANCE
    if lod is None:
        assert supported / RUNS >= 0.036


def test_intervals_of_a_group_cover_its_mean():
    rng = np.random.default_rng(9)
    claim = {
        "id": "i",
        "kind": "interval",
        "endpoint": "layer_thickness_nm",
        "group": {"condition": "t"},
        "low": 5,
        "high": 15,
    }
    covered = 0
    for _ in range(RUNS):
        row = judged(claim, {"t": nested_pixels(rng, THREE, 10.0, SD)})
        covered += row["ci_low"] <= 10.0 <= row["ci_high"]
    assert 0.93 <= covered / RUNS <= 0.98


@pytest.mark.parametrize("prevalence", [0.02, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("cells", [3, 6])
def test_prevalence_stays_below_its_bound(prevalence, cells):
    rng = np.random.default_rng([cells, int(100 * prevalence)])
    correlation, size, runs = 0.1, 9, 4000
    a = prevalence * (1 - correlation) / correlation
    b = (1 - prevalence) * (1 - correlation) / correlation
    found = rng.binomial(size, rng.beta(a, b, (runs, cells))).sum(axis=1)
    effect = design_effect([size] * cells, correlation)
    bound = {x: upper_proportion(x / effect, cells * size / effect, 0.05) for x in np.unique(found)}
    covered = np.mean([bound[x] >= prevalence for x in found])
    assert covered >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / runs)


def test_variance_intervals_cover_their_components():
    rng = np.random.default_rng(10)
    shape = (6, 5, 3)
    keys = list(np.ndindex(shape))
    labels = [[0] * len(keys), *([key[:depth] for key in keys] for depth in (1, 2, 3))]
    truth = {"cell": 1.0, "particle": 2.25, "region": 1.0}
    noise = np.full(len(keys), SD["pixel"] ** 2 / 10)
    covered, runs = dict.fromkeys(truth, 0), 500
    for _ in range(runs):
        y = nested_pixels(rng, (*shape, PIXELS), 10.0, SD).mean(-1).ravel()
        for item in nested_components(y, labels, tuple(truth), noise):
            covered[item.level] += item.low <= truth[item.level] <= item.high
    for level, count in covered.items():
        assert 0.925 <= count / runs <= 0.99, level


GRID_SUBSET = [
    "difference-balanced-3",
    "difference-unbalanced-4",
    "difference-flat_normal-3",
    "difference-state-4",
    "difference-paired-4",
    "mean-normal-4",
    "mean-coverage-4",
    "prevalence-correlated-3",
    "mean-state-4",
    "heterogeneity-uneven-3",
]


@pytest.mark.parametrize("scenario", GRID_SUBSET)
def test_the_grid_keeps_its_promises(scenario):
    """A seeded part of the grid, negative control included; the same numbers as in docs/simulation.tsv."""
    found = simulate(scenario, 532)
    assert found
    assert not [row for row in found if row["kept"] == "no"]
    family, case, cells = scenario.split("-")
    kept = {
        (row["quantity"], row["method"]): float(row["value"])
        for row in read_table(ROOT / "docs" / "simulation.tsv")
        if (row["family"], row["case"], row["cells"]) == (family, case, cells)
    }
    assert kept == {(row["quantity"], row["method"]): pytest.approx(row["value"], abs=1e-6) for row in found}


def test_the_documented_grid_is_whole():
    rows = read_table(ROOT / "docs" / "simulation.tsv")
    assert {f"{row['family']}-{row['case']}-{row['cells']}" for row in rows} == set(scenarios())
    control = [float(row["value"]) for row in rows if "negative control" in row["method"]]
    assert min(control) > 0.5
    assert sum(row["kept"] == "no" for row in rows) <= 2  # Welch with two cells covers more than it promises
