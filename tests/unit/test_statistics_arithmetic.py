"""Contrasts, bounds and variance components against other people's implementations."""

import math

import numpy as np
import pytest
from scipy import stats

from ceiflow.statistics import bounds, components, contrasts, designs

SCIPY_SIDE = {"greater": "greater", "less": "less", "two_sided": "two-sided"}
ARMS = [
    ([9.1, 10.4, 11.9], [0.2, 0.9, 0.4]),
    ([3.0, 2.1, 2.6, 4.0], [2.2, 3.1, 1.0]),
    ([1.0, 1.5], [1.4, 0.2, 0.9, 1.1, 5.0]),
]


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize("direction", SCIPY_SIDE)
def test_welch_is_scipys(arms, direction):
    found = designs.welch(*arms, direction, 0.05)
    expected = stats.ttest_ind(*arms, equal_var=False, alternative=SCIPY_SIDE[direction])
    two_sided = stats.ttest_ind(*arms, equal_var=False).confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    assert (found.low, found.high) == pytest.approx(tuple(two_sided))


def test_welch_takes_an_arm_without_scatter():
    found = designs.welch([9.0, 10.0, 11.0], [0.0, 0.0, 0.0], "greater", 0.05)
    assert found.df == pytest.approx(2)
    assert found.p == pytest.approx(stats.ttest_1samp([9.0, 10.0, 11.0], 0, alternative="greater").pvalue)
    assert designs.welch([1.0, 1.0], [0.1 + 0.2, 0.3], "greater", 0.05).p is None
    with pytest.raises(ValueError):
        designs.welch([1.0], [1.0, 2.0], "greater", 0.05)


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize("direction", SCIPY_SIDE)
def test_permutation_is_scipys(arms, direction):
    expected = stats.permutation_test(
        arms,
        lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis),
        vectorized=True,
        n_resamples=np.inf,
        alternative=SCIPY_SIDE[direction],
    )
    assert designs.permutation_p(*arms, direction) == pytest.approx(expected.pvalue)


def test_permutation_counts_ties_and_many_cells_are_sampled():
    assert designs.permutation_p([1.0, 1.0], [1.0, 1.0], "greater") == 1.0
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.7, 1, 14), rng.normal(0, 1, 14)
    found = designs.permutation_p(a, b, "greater", 4000, 7)
    assert found == designs.permutation_p(a, b, "greater", 4000, 7)
    assert found == pytest.approx(stats.ttest_ind(a, b, alternative="greater").pvalue, abs=0.02)
    assert found >= 1 / 4001


def test_smallest_p_of_a_design():
    assert [round(designs.smallest_p(n, n, "two_sided"), 3) for n in (2, 3, 4, 5)] == [
        0.333,
        0.1,
        0.029,
        0.008,
    ]
    assert designs.smallest_p(3, 3, "greater") == pytest.approx(0.05)
    best = designs.permutation_p([8.0, 9.0, 10.0], [1.0, 2.0, 3.0], "two_sided")
    assert best == pytest.approx(designs.smallest_p(3, 3, "two_sided"))


def test_hedges_g_and_holm():
    from statsmodels.stats.multitest import multipletests

    a, b = [9.1, 10.4, 11.9], [0.2, 0.9, 0.4]
    pooled = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    # Exact factor at four degrees of freedom: Gamma(2) / (sqrt(2) Gamma(1.5)) = 0.7979
    assert designs.hedges_g(a, b) == pytest.approx((np.mean(a) - np.mean(b)) / pooled * 0.7978846)
    assert designs.hedges_g([1.0, 1.0], [2.0, 2.0]) is None
    p = [0.03, None, 0.001, 0.04, 0.2]
    known = [value for value in p if value is not None]
    expected = multipletests(known, method="holm")[1]
    assert [value for value in contrasts.holm(p) if value is not None] == pytest.approx(list(expected))
    assert contrasts.holm(p)[1] is None


def test_cells_for_difference_have_the_power_promised():
    from statsmodels.stats.power import TTestIndPower

    n = contrasts.cells_for_difference(3.0, 1.5, 1.5, "two_sided", 0.05)
    power = TTestIndPower().power
    assert power(2.0, n, 0.05) >= 0.8 > power(2.0, n - 1, 0.05)
    assert contrasts.cells_for_difference(0.01, 1, 1, "greater", 0.05) is None


def test_mean_limits_are_those_of_tost():
    from statsmodels.stats.weightstats import DescrStatsW

    x = [0.5, 1.1, 0.8, 0.9]
    limits = bounds.mean_limits(x, 0.05)
    expected = DescrStatsW(x).tconfint_mean(alpha=0.10)
    assert (limits.low, limits.high) == pytest.approx(expected)
    p, *_ = DescrStatsW(x).ttost_mean(-100, 1.5)
    assert bounds.p_below(x, 1.5) == pytest.approx(p)
    assert bounds.p_below(x, 0.2) == pytest.approx(stats.ttest_1samp(x, 0.2, alternative="less").pvalue)
    assert bounds.p_below([1.0, 1.0], 2.0) is None


@pytest.mark.parametrize("margin", [0.95, 1.3, 2.0])
def test_systematic_error_widens_limits_and_p_agrees_with_them(margin):
    x, sys = [0.5, 1.1, 0.8, 0.9], 0.2
    p = bounds.p_below(x, margin, sys)
    assert bounds.mean_limits(x, p, sys).high == pytest.approx(margin)
    assert bounds.mean_limits(x, 0.05, sys).high > bounds.mean_limits(x, 0.05).high


def test_proportions_are_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for positive, trials in ((0, 12), (3, 17), (9, 9)):
        low, high = proportion_confint(positive, trials, alpha=0.10, method="beta")
        assert bounds.upper_proportion(positive, trials, 0.05) == pytest.approx(high)
        assert bounds.lower_proportion(positive, trials, 0.05) == pytest.approx(low)


def test_nothing_seen_bounds_little():
    assert bounds.upper_proportion(0, 10, 0.05) == pytest.approx(0.26, abs=0.005)
    assert bounds.upper_proportion(0, 29, 0.05) == pytest.approx(0.10, abs=0.005)
    assert bounds.upper_proportion(0, 59, 0.05) == pytest.approx(0.05, abs=0.002)
    assert bounds.upper_proportion(0, 3, 0.05) == pytest.approx(0.63, abs=0.005)
    assert 28 < bounds.trials_for_upper(0.10, 0.05) <= 29
    assert 58 < bounds.trials_for_upper(0.05, 0.05) <= 59


def test_numbers_that_are_asked_for_are_enough():
    n = bounds.regions_for_upper(0.10, 4, 0.1, 0.05)
    reached = [
        bounds.upper_proportion(0, total / bounds.design_effect([total / 4] * 4, 0.1), 0.05)
        for total in (n, n - 1)
    ]
    assert reached[0] <= 0.10 < reached[1]
    assert bounds.regions_for_upper(0.05, 3, 0.1, 0.05) is None
    cells = bounds.cells_for_upper(0.10, 6, 0.1, 0.05)
    assert bounds.upper_proportion(0, 6 * cells / 1.5, 0.05) <= 0.10
    n = bounds.cells_for_limit(0.5, 1.0, 0.05)
    assert stats.t.ppf(0.95, n - 1) / math.sqrt(n) < 0.5 <= stats.t.ppf(0.95, n - 2) / math.sqrt(n - 1)


def test_intraclass_correlation():
    assert bounds.intraclass_correlation([10, 10, 0, 0], [10] * 4) == pytest.approx(1)
    assert bounds.intraclass_correlation([5, 5, 5, 5], [10] * 4) == 0
    assert bounds.intraclass_correlation([0, 0, 1], [10] * 3) is None


def nested(cells, particles, regions):
    keys = [(c, p, r) for c in range(cells) for p in range(particles) for r in range(regions)]
    return [[0] * len(keys), *([key[:depth] for key in keys] for depth in (1, 2, 3))]


def test_balanced_components_are_the_textbooks():
    labels = nested(4, 3, 5)
    y = np.random.default_rng(3).normal(size=60).reshape(4, 3, 5)
    y += np.random.default_rng(4).normal(size=(4, 1, 1)) * 2 + np.random.default_rng(5).normal(size=(4, 3, 1))
    found = components.nested_components(y.ravel(), labels, ("cell", "particle", "region"), np.full(60, 0.04))
    ms_region = y.var(axis=2, ddof=1).mean()
    ms_particle = 5 * y.mean(axis=2).var(axis=1, ddof=1).mean()
    ms_cell = 15 * y.mean(axis=(1, 2)).var(ddof=1)
    expected = [(ms_cell - ms_particle) / 15, (ms_particle - ms_region) / 5, ms_region - 0.04]
    assert [item.variance for item in found] == pytest.approx(expected)
    assert [item.n for item in found] == [4, 12, 60]
    chi2 = stats.chi2(48)
    assert found[2].low == pytest.approx(48 * ms_region / chi2.ppf(0.975) - 0.04)
    assert found[2].high == pytest.approx(48 * ms_region / chi2.ppf(0.025) - 0.04)


def test_unbalanced_components_are_unbiased_and_groups_are_no_variance():
    rng = np.random.default_rng(11)
    keys = [(c, p, r) for c in range(6) for p in range(1 + c % 3) for r in range(1 + (c + p) % 4)]
    labels = [[key[0] % 2 for key in keys], *([key[:depth] for key in keys] for depth in (1, 2, 3))]
    noise = rng.uniform(0.1, 2, len(keys))
    design = [np.unique([repr(k) for k in level], return_inverse=True)[1] for level in labels[1:]]
    total = np.zeros(3)
    # Estimates are linear in the mean squares: average the mean squares by averaging clipped-free estimates.
    for _ in range(1500):
        y = 50.0 * np.array(labels[0])
        for codes, sd in zip(design, (2.0, 1.5, 1.0), strict=True):
            y = y + sd * rng.normal(size=codes.max() + 1)[codes]
        y = y + np.sqrt(noise) * rng.normal(size=len(keys))
        found = components.nested_components(y, labels, ("cell", "particle", "region"), noise)
        total += [
            item.variance if "negative" not in item.note else float(item.note.split()[2]) for item in found
        ]
    assert total / 1500 == pytest.approx([4, 2.25, 1], rel=0.15)


def test_levels_without_replicates_are_left_out_and_named():
    labels = nested(4, 1, 2)
    found = components.nested_components(np.arange(8.0), labels, ("cell", "particle", "region"), np.zeros(8))
    assert [item.level for item in found] == ["cell", "region"]
    assert "includes particle" in found[0].note
    assert (
        components.nested_components(np.ones(1), nested(1, 1, 1), ("cell", "particle", "region"), np.zeros(1))
        == []
    )


def test_negative_components_are_zero_and_say_so():
    y = np.array([[0.0, 10.0], [10.0, 0.0], [0.0, 10.0]]).ravel()
    labels = [[0] * 6, [0, 0, 1, 1, 2, 2], list(range(6))]
    cell, region = components.nested_components(y, labels, ("cell", "region"), np.zeros(6))
    assert cell.variance == 0
    assert "negative" in cell.note
    assert cell.low == 0 <= cell.high
    shares = components.with_shares([cell, region])
    assert [item.share for item in shares] == [0, 1]
