"""Shape and cover of simulated particles against closed forms."""

import math

import numpy as np
import pytest

from ceiflow.phantom.geometry import (
    Arc,
    Scene,
    layer_truth,
    make_arc,
    paths,
    pixel_paths,
    smooth_noise,
    surface_in_view,
)
from ceiflow.phantom.streams import stream


def even_arc(thickness_nm, length_nm=600.0):
    position = np.linspace(-length_nm / 2, length_nm / 2, 2401)
    return Arc(position, np.full(position.size, float(thickness_nm)), np.zeros(position.size))


def width_at_half(x, y):
    above = np.flatnonzero(y >= y.max() / 2)
    return x[above[-1]] - x[above[0]]


@pytest.mark.parametrize(("radius", "width"), [(50, 14.3), (100, 13.7), (500, 13.2)])
def test_projected_shell_has_the_width_of_the_closed_form(radius, width):
    scene = Scene("sphere", even_arc(10), radius_nm=radius, depth_nm=1e4)
    x = np.arange(-40, 20, 0.01)
    layer = paths(scene, x, np.zeros_like(x))["layer"]
    assert width_at_half(x, layer) == pytest.approx(width, abs=0.06)


def test_sphere_has_its_volume_and_the_shell_too():
    scene = Scene("sphere", even_arc(5), radius_nm=30, depth_nm=1e4, closed=True, skin_nm=2)
    ways = pixel_paths(scene, (80, 80), 1.0, oversample=4)
    ball = [4 / 3 * math.pi * radius**3 for radius in (28, 30, 35)]
    assert ways["oxide"].sum() == pytest.approx(ball[0], rel=1e-3)
    assert ways["skin"].sum() == pytest.approx(ball[1] - ball[0], rel=1e-3)
    assert ways["layer"].sum() == pytest.approx(ball[2] - ball[1], rel=1e-3)


def test_slab_limits_every_way():
    scene = Scene("sphere", even_arc(10), radius_nm=200, depth_nm=40)
    ways = paths(scene, np.linspace(-60, 30, 500), np.zeros(500))
    assert np.max(ways["oxide"] + ways["skin"] + ways["layer"]) == pytest.approx(40)
    assert ways["oxide"][0] == pytest.approx(40)


@pytest.mark.parametrize("tilt_degrees", [0, 2, 10])
def test_tilted_facet_keeps_the_layers_area(tilt_degrees):
    tilt = math.radians(tilt_degrees)
    scene = Scene("facet", even_arc(8), depth_nm=50, tilt_rad=tilt)
    x = np.arange(-60, 60, 0.005)
    layer = paths(scene, x, np.zeros_like(x))["layer"]
    assert layer.sum() * 0.005 == pytest.approx(50 * 8 / math.cos(tilt), rel=1e-3)


def test_facets_edge_is_smeared_by_its_tilt():
    scene = Scene("facet", even_arc(0), depth_nm=50, tilt_rad=0.1)
    x = np.arange(-20, 20, 0.01)
    oxide = paths(scene, x, np.zeros_like(x))["oxide"]
    ramp = x[(oxide > 0) & (oxide < 50)]
    assert np.ptp(ramp) == pytest.approx(50 * math.tan(0.1), abs=0.05)


def test_scene_turns_with_its_angle():
    point = paths(
        Scene("facet", even_arc(10), depth_nm=30, angle_rad=math.pi / 2), 0.0, np.array([-5.0, 5.0])
    )
    assert point["oxide"] == pytest.approx([30, 0])
    assert point["layer"] == pytest.approx([0, 30])
    assert point["height"] == pytest.approx([-5, 5])


def test_blur_moves_matter_and_loses_none():
    scene = Scene("facet", even_arc(10), depth_nm=30, angle_rad=0.4)
    sharp = pixel_paths(scene, (20, 30), 2.0)
    blurred = pixel_paths(scene, (20, 30), 2.0, probe_fwhm_nm=3.0, tail_share=0.02)
    assert blurred["layer"].sum() == pytest.approx(sharp["layer"].sum(), rel=0.03)
    assert np.abs(blurred["layer"] - sharp["layer"]).max() > 1


def test_thickness_noise_has_its_variance_and_correlation_length():
    noise = smooth_noise(np.random.default_rng(1), 200_000, 0.5, 15.0)
    assert noise.var() == pytest.approx(1, abs=0.08)
    lag = round(15 / 0.5)
    assert np.mean(noise[:-lag] * noise[lag:]) == pytest.approx(math.exp(-1), abs=0.05)


def test_arc_has_the_mean_and_the_bare_share_asked_for():
    arc = make_arc(np.random.default_rng(2), 20_000, 10, sd_nm=1, bare_fraction=0.15)
    truth = layer_truth({"position_nm": arc.position_nm, "thickness_nm": arc.thickness_nm})
    assert truth["coverage"] == pytest.approx(0.85, abs=0.03)
    assert truth["thickness_nm"] == pytest.approx(10, abs=0.5)
    assert truth["equivalent_thickness_nm"] < truth["thickness_nm"]
    assert truth["arc_length_nm"] == pytest.approx(20_000, rel=1e-3)


def test_bare_surface_has_no_thickness_and_a_patch_is_an_island():
    bare = make_arc(np.random.default_rng(3), 100)
    truth = layer_truth({"position_nm": bare.position_nm, "thickness_nm": bare.thickness_nm})
    assert math.isnan(truth["thickness_nm"])
    assert truth["coverage"] == 0
    assert truth["longest_bare_nm"] == pytest.approx(100, abs=1)
    patch = {"position_nm": 10, "length_nm": 20, "thickness_nm": 4}
    island = make_arc(np.random.default_rng(3), 100, patches=(patch,))
    covered = island.position_nm[island.thickness_nm > 2]
    assert (covered[0], covered[-1]) == pytest.approx((0, 20), abs=0.5)


def test_longest_bare_run_goes_round_a_closed_contour():
    thickness = np.full(100, 10.0)
    thickness[:5] = thickness[-7:] = 0
    surface = {"position_nm": np.arange(100.0), "thickness_nm": thickness}
    assert layer_truth(surface)["longest_bare_nm"] == 7
    assert layer_truth(surface, closed=True)["longest_bare_nm"] == 12


def test_surface_in_view_lies_on_the_particles_edge():
    scene = Scene("sphere", even_arc(10), radius_nm=80, depth_nm=40, angle_rad=1.1)
    surface = surface_in_view(scene, (60, 80), 1.0)
    x, y = surface["column"] - 39.5, surface["row"] - 29.5
    assert paths(scene, x, y)["height"] == pytest.approx(np.zeros(x.size), abs=1e-6)
    assert paths(scene, x, y)["position"] == pytest.approx(surface["position_nm"], abs=1e-6)


def test_streams_have_names():
    first, again, other = (stream(1, name).standard_normal(5) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, stream(2, "a").standard_normal(5))
