"""Groups of pixels: compact, ordered, no finer than noise; materials of one thickness are told apart."""

import numpy as np
import pytest

from ceiflow.eels import groups

RNG = np.random.default_rng(21)


def test_a_spread_of_thickness_is_cut_evenly():
    thickness = RNG.uniform(0.1, 0.9, (4000, 1)) / groups.THICKNESS_SCALE
    labels = groups.in_order(groups.split_groups(thickness, np.zeros_like(thickness), 16), thickness[:, 0])
    assert labels.max() == 15
    means = [thickness[labels == k].mean() for k in range(16)]
    assert np.all(np.diff(means) > 0)
    widths = [np.ptp(thickness[labels == k]) for k in range(16)]
    assert max(widths) < 3 * np.ptp(thickness) / 16


def test_noise_makes_no_groups():
    noise = RNG.normal(0, 2.0, (3000, 3))
    assert groups.split_groups(noise, np.full((3000, 3), 4.0), 16).max() == 0
    both = noise + np.where(np.arange(3000) < 1000, 0.0, 12.0)[:, None]
    labels = groups.split_groups(both, np.full((3000, 3), 4.0), 16)
    assert labels.max() == 1
    assert np.unique(labels[:1000]).size == np.unique(labels[1000:]).size == 1


def test_materials_of_one_thickness_are_apart():
    features = np.zeros((900, 2))
    features[:, 0] = 10 + RNG.normal(0, 0.1, 900)
    features[300:, 1] = 8.0
    labels = groups.split_groups(features, np.full((900, 2), 0.01), 8)
    assert set(labels[:300]).isdisjoint(labels[300:])


def test_few_points_stay_together():
    assert groups.split_groups(RNG.normal(0, 50, (5, 2)), np.zeros((5, 2)), 4).tolist() == [0] * 5


def test_ratios_are_pooled_where_counts_are_few():
    counts = RNG.poisson(20, (40 * 40, 1)).astype(float)
    total = RNG.poisson(200, 40 * 40).astype(float)
    single = groups.pooled(counts, total, 0.02, (40, 40), 1.0)
    mean, level, side = groups.pooled(counts, total, 0.02, (40, 40), 0.01)
    assert single[2] == 1
    assert side == 5
    assert level.mean() == pytest.approx(1.0, abs=0.01)
    assert mean.std() < 0.4 * single[0].std()
    assert mean.mean() == pytest.approx(0.1, abs=0.002)
