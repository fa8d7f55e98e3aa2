"""t/lambda of zones: the mean over the pixels that hold matter, with its error."""

from types import SimpleNamespace

import numpy as np
import pytest

from ceiflow.eels import low_loss as ll
from ceiflow.eels.zone_sums import mean_thickness


def recorded(truth, electrons, seed=3, shared=False):
    rng = np.random.default_rng(seed)
    zero = rng.poisson(electrons * np.exp(-truth)).astype(float)
    total = zero + rng.poisson(electrons * (1 - np.exp(-truth)))
    value, error = ll.thickness_over_mfp(zero, total)
    return SimpleNamespace(
        zero_loss=zero, total=total, thickness=value, thickness_se=error, shared=shared, missing=0.0
    )


def test_a_wedge_has_the_mean_of_its_pixels_and_vacuum_is_left_out():
    truth = np.concatenate([np.zeros(3000), np.linspace(0.2, 1.4, 2000)])
    low = recorded(truth, 5000.0)
    inside = np.ones(5000, bool)
    found = mean_thickness(low, inside, True, 1.0)
    assert found.value == pytest.approx(0.8, abs=4 * found.error)
    assert found.error < 0.001
    assert found.note == "mean over 2000 pixels, 3000 of vacuum left out"
    everything = mean_thickness(low, inside, False, 1.0)
    assert everything.value == pytest.approx(truth.mean(), abs=4 * everything.error)
    # What the sum of spectra says of the same pixels is less.
    summed = ll.thickness_over_mfp(low.zero_loss[3000:].sum(), low.total[3000:].sum())[0]
    assert summed < 0.75


@pytest.mark.parametrize("electrons", [60.0, 400.0])
def test_few_counts_do_not_bias_the_mean(electrons):
    pulls = []
    for seed in range(30):
        found = mean_thickness(recorded(np.full(400, 0.5), electrons, seed), np.ones(400, bool), False, 1.0)
        pulls.append((found.value - 0.5) / found.error)
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.8)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.35)


def test_without_counts_for_logarithms_the_sum_stands():
    found = mean_thickness(recorded(np.full(900, 0.5), 4.0), np.ones(900, bool), False, 1.0)
    assert found.note == "of the summed spectrum"
    assert found.value == pytest.approx(0.5, abs=4 * found.error)
    assert mean_thickness(recorded(np.zeros(4), 0.0), np.ones(4, bool), True, 1.0) is None
