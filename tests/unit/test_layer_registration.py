"""Shift and drift of a dark-field image against maps: found, with an error that covers, or said so."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from ceiflow.layer.registration import register


def scene(rows, columns, straight=False):
    """Path through a particle and through its layer at positions in pixels of the spectrum image."""
    if straight:
        depth = np.clip(30 - columns, 0, None)
        return 20 * (columns < 22.0), 6 * ((columns >= 22.0) & (columns < 26)) + 0 * depth
    r = np.hypot(rows - 30, columns - 12)
    wobble = 22 + 2 * np.sin(3 * np.arctan2(rows - 30, columns - 12))
    return 20.0 * (r < wobble), 8.0 * ((r >= wobble) & (r < wobble + 4))


def recorded(
    rng,
    shift=(0.0, 0.0),
    drift=(0.0, 0.0),
    shape=(40, 50),
    noise=1.0,
    straight=False,
    factor=4,
    step=1.0,
    more=0,
):
    """Maps of the scan and an image; the scan sees the scene displaced by minus the shift."""
    rows, _columns = np.indices((shape[0] + 40, shape[1] + 40)).repeat(factor, 1).repeat(factor, 2) * 1.0
    fine = (np.indices(rows.shape) + 0.5) / factor - 0.5 - 20
    metal, carbon = (gaussian_filter(item, 0.8 * factor) for item in scene(*fine, straight))
    at = np.indices(shape, dtype=float)
    slow = at[0] / (shape[0] - 1) - 0.5

    def seen(field, r, c):
        return map_coordinates(field, [(r + 20.5) * factor - 0.5, (c + 20.5) * factor - 0.5], order=1)

    moved = [at[axis] + shift[axis] + slow * drift[axis] for axis in (0, 1)]
    maps = [seen(field, *moved) for field in (metal, carbon)]
    maps = [item + rng.normal(size=shape) * noise for item in maps]
    size = [int((n + 2 * more) / step) for n in shape]
    place = [(np.arange(n) - (n - 1) / 2) * step + (m - 1) / 2 for n, m in zip(size, shape, strict=True)]
    r, c = np.meshgrid(*place, indexing="ij")
    image = 3.0 * seen(metal, r, c) + 1.0 * seen(carbon, r, c) + 10
    return maps, image + rng.normal(size=image.shape) * noise


@pytest.mark.parametrize("shift", [(0.4, -0.7), (3.3, 2.2)])
def test_shift_of_equal_frames_with_its_error(shift):
    wrong = []
    for seed in range(8):
        maps, image = recorded(np.random.default_rng(seed), shift)
        found = register(maps, image, 2.0, 2.0)
        assert found.applied
        assert "along rows" in found.words(2.0)
        assert found.quality > 0.9
        error = found.shift_pixels - shift
        assert np.all(np.abs(error) < 0.15)
        wrong.append(error @ np.linalg.solve(found.covariance, error))
    assert np.median(wrong) < 5.0


def test_no_shift_is_not_applied():
    applied = [register(*recorded(np.random.default_rng(seed)), 2.0, 2.0).applied for seed in range(12)]
    assert np.mean(applied) < 0.2


def test_along_a_straight_edge_nothing_is_known():
    maps, image = recorded(np.random.default_rng(3), (0.0, 0.8), straight=True)
    found = register(maps, image, 2.0, 2.0)
    error = np.sqrt(np.diag(found.covariance))
    assert abs(found.shift_pixels[1] - 0.8) < 0.1
    assert error[0] > 5 * error[1]


def test_drift_within_the_scan():
    maps, image = recorded(np.random.default_rng(4), (0.5, 0.3), (1.5, -1.0))
    found = register(maps, image, 2.0, 2.0)
    assert found.applied
    assert np.all(np.abs(found.drift_pixels - (1.5, -1.0)) < 4 * found.drift_std_pixels + 0.05)
    assert np.all(np.abs(found.shift_pixels - (0.5, 0.3)) < 0.15)


def test_survey_of_a_wider_view_with_smaller_pixels():
    maps, image = recorded(np.random.default_rng(5), (4.0, -3.0), step=0.5, more=10)
    found = register(maps, image, 2.0, 1.0)
    assert np.all(np.abs(found.shift_pixels - (4.0, -3.0)) < 0.15)
    whole = [np.isfinite(found.image).mean(), np.corrcoef(found.image.ravel(), maps[0].ravel())[0, 1]]
    assert min(whole) > 0.95


def test_reasons():
    rng = np.random.default_rng(6)
    maps, image = recorded(rng)
    assert "too narrow" in register([item[:2] for item in maps], image, 2.0, 2.0)
    assert "pixel size" in register(maps, image[:30], None, None)
    assert "less than" in register(maps, image[:20], 2.0, 2.0)
    noise = register(maps, rng.normal(size=image.shape), 2.0, 2.0)
    assert not noise.applied
    assert "in common" in noise.reason
