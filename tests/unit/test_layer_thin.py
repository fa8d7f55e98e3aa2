"""Layers thinner than the blur, and pixels whose fit ran away."""

import numpy as np
import pytest
from layer_maps import count_maps
from test_layer_estimate import measured
from test_layer_spectrum_image import carbon_per_nm_of_path, run  # noqa: F401  (a fixture)

from ceiflow.layer.amplitude import COMPOSITION_LOG_SD, Looked, prior_sd, shape_error


@pytest.mark.parametrize("thickness", [1.0, 1.5, 2.0])
def test_thin_layers_at_coarse_pixels_are_not_read_too_thick(thickness):
    means, sigmas = [], []
    for seed in range(4):
        rng = np.random.default_rng([7, seed])
        found, _ = measured(
            rng, thickness=thickness, pixel=2.0, blur=0.5, shape=(30, 40), angle=0.2 + 0.2 * seed,
            metal=60.0, carbon=6.0, noise=1.0,
        )  # fmt: skip
        mean = float(np.nanmean(found.thickness_nm))
        common = float(np.sqrt(found.common_covariance_nm2.mean()))
        means.append(mean)
        sigmas.append((mean - thickness) / np.hypot(common, found.shape_relative * mean))
    assert np.mean(means) == pytest.approx(thickness, abs=0.25)
    assert np.sqrt(np.mean(np.square(sigmas))) < 2.0


def test_the_thinner_the_less_the_profile_tells():
    weights = []
    for thickness in (1.0, 8.0):
        found, _ = measured(
            np.random.default_rng(3), thickness=thickness, pixel=2.0, blur=0.5, shape=(30, 40), angle=0.3,
            metal=60.0, carbon=6.0, noise=1.0,
        )  # fmt: skip
        weights.append(found.amplitude_weight)
    assert weights[0] < 0.9
    assert weights[1] > 0.99


def test_shape_error_falls_with_the_square_of_thickness():
    assert shape_error(1.0, 2.0) == pytest.approx(4 * shape_error(1.0, 4.0))
    assert prior_sd() > COMPOSITION_LOG_SD


def test_a_fit_that_ran_away_does_not_hide_the_surface(run):  # noqa: F811
    maps, _, _ = count_maps(
        np.random.default_rng(1), thickness=8.0, shape=(50, 70), carbon=carbon_per_nm_of_path()
    )
    for key, wrong in (("metal", -4e5), ("carbon", 3e5)):
        counts, variance, mean = maps[key]
        counts[5, 66], variance[5, 66] = wrong, 4.0
        maps[key] = (counts, variance, mean)
    rows, _, _, _, _ = run(maps)
    assert rows["layer_thickness_nm"]["status"] == "identified"
    assert float(rows["layer_thickness_nm"]["value"]) == pytest.approx(8.0, abs=0.15)


def test_amplitude_from_a_skew_likelihood():
    logs = np.arange(-20, 21) * 0.1
    plain = Looked(logs, (logs / 0.3) ** 2, np.ones(logs.size))
    assert plain.spread() == pytest.approx(0.3, rel=0.03)
    value, left = plain.with_prior(0.8, 0.4, 0.0)
    share = 0.3**2 / (0.3**2 + 0.4**2)
    sd = 0.3 * np.sqrt(1 - share)
    # The mean of the thickness, which goes as one over the amplitude.
    assert value == pytest.approx(0.8 * share - sd**2 / 2, abs=0.01)
    assert left == pytest.approx(sd, rel=0.02)
    # What says nothing upwards leaves that side to what is known beforehand.
    open_ended = Looked(logs, np.where(logs < 0, (logs / 0.1) ** 2, 0.0), np.ones(logs.size))
    value, left = open_ended.with_prior(0.8, 0.3, 0.0)
    assert 0.6 < value < 0.9
    assert left == pytest.approx(0.3, abs=0.06)
