"""The rim in images: slope of a tilted facet, distances in the band alone, when a spot names a crystal."""

import numpy as np
import pytest

from ceiflow.images.amorphous import naming_bar
from ceiflow.layer.distance import distance_and_position
from ceiflow.layer.kernels import basis
from ceiflow.layer.surface import trace_surface


def test_tilted_facet_is_the_mean_of_edges_at_all_depths():
    x = np.linspace(-8, 12, 81)[None, :]
    one = np.ones((1, 1))
    inner, _, _, layer = basis("tilted", x, 0.5 * one, 3.0 * one, 0.6, 2.0 * one)
    sharp = [
        basis("planar", x, (0.5 + s) * one, 3.0 * one, 0.6, one) for s in np.linspace(-1.995, 1.995, 400)
    ]
    assert np.allclose(inner, np.mean([item[0] for item in sharp], axis=0), atol=1e-4)
    assert np.allclose(layer, np.mean([item[3] for item in sharp], axis=0), atol=1e-4)
    # What stands in the layer does not hang on the tilt.
    assert float(layer.sum() * (x[0, 1] - x[0, 0])) == pytest.approx(3.0, abs=1e-3)


def test_distances_in_reach_are_the_same_and_others_are_left_out():
    rows, columns = np.indices((120, 140))
    values = 30.0 - np.hypot(rows - 60, columns - 60)
    surface = trace_surface(values, 0.0, 0.5)
    whole, position, index = distance_and_position(surface)
    near, near_position, near_index = distance_and_position(surface, reach_nm=(4.0, 8.0))
    band = (whole > -4.0) & (whole < 8.0)
    assert np.array_equal(near[band], whole[band])
    assert np.array_equal(near_position[band], position[band])
    assert np.array_equal(near_index[band], index[band])
    far = (whole < -8.0) | (whole > 12.0)
    assert far.any()
    assert np.isnan(near[far]).all()
    assert (near_index[far] == -1).all()


def test_bar_for_a_name_is_above_that_of_a_known_background_and_grows_with_the_area():
    known = np.log(200 * np.pi / 2 * (5.5**2 - 1.3**2) / 0.01)
    bars = [naming_bar(area, 1.3, 5.5) for area in (10.0, 200.0, 2000.0)]
    assert bars[1] > known
    assert bars == sorted(bars)
