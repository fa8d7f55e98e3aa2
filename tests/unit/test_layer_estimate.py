"""Thickness from simulated maps: kernels, bias, errors, presence."""

import numpy as np
import pytest
from layer_maps import count_maps
from scipy.ndimage import gaussian_filter

from ceiflow.layer.distance import distance_and_position
from ceiflow.layer.estimate import estimate
from ceiflow.layer.kernels import chord, ramp, step
from ceiflow.layer.profile import Species
from ceiflow.layer.segments import divide, split
from ceiflow.layer.surface import trace_surface


def measured(rng, segment_nm=6.0, reference=True, **more):
    """Profile of one simulated map, and the segments it was taken from."""
    pixel, metal, carbon = more.get("pixel", 1.0), more.get("metal", 20.0), more.get("carbon", 2.0)
    maps, distance, _ = count_maps(rng, **more)
    values = maps["metal"][0]
    level = 0.5 * np.median(values[(distance < -5) & (distance > -15)])
    surface = trace_surface(gaussian_filter(values, 1), level, pixel)
    away, _, index = distance_and_position(surface)
    segments = divide(surface, segment_nm)
    ratio = carbon / metal if reference else None
    species = [
        Species("Mn", maps["metal"][0].ravel(), maps["metal"][1].ravel(), particle=True),
        Species(
            "C",
            maps["carbon"][0].ravel(),
            maps["carbon"][1].ravel(),
            reference_ratio=ratio,
            dense_ratio=ratio,
        ),
    ]
    found = estimate(
        away.ravel(), segments.of_pixels(index).ravel(), species, len(segments), segments.radius_nm, pixel
    )
    return found, segments


@pytest.mark.parametrize("w", [0.4, 1.0, 3.0])
def test_kernels_are_what_convolution_gives(w):
    u = np.linspace(-25, 10, 300)
    fine = np.linspace(-6, 6, 4001)
    weight = np.exp(-0.5 * fine**2)
    weight /= weight.sum()
    depth = np.clip(-(u[:, None] + w * fine), 0, None)
    assert np.allclose(step(u, w), (depth > 0) @ weight, atol=2e-3)
    assert np.allclose(ramp(u, w), depth @ weight, atol=1e-4 * w + 1e-4)
    radius = 60.0
    path = 2 * np.sqrt(np.clip(depth, 0, radius) * (2 * radius - np.clip(depth, 0, radius)))
    assert np.allclose(chord(u, w, radius), path @ weight, atol=0.02)


@pytest.mark.parametrize("radius", [None, 50.0, 100.0, 500.0])
@pytest.mark.parametrize("thickness", [0.0, 2.0, 5.0, 10.0])
def test_thickness_without_bias_at_high_counts(radius, thickness):
    rng = np.random.default_rng(int(thickness) + int(radius or 0))
    found, _ = measured(rng, thickness=thickness, radius=radius, noise=1.0, shape=(60, 80))
    error = np.sqrt(np.mean(found.own_std_nm**2) / len(found.own_std_nm) + found.common_covariance_nm2.mean())
    assert abs(found.thickness_nm.mean() - thickness) < max(0.1, 3.5 * error)
    assert error < (0.25 if radius == 50.0 else 0.15)
    if radius is not None and thickness > 1:
        assert found.kind == "shell"
    assert set(found.compared) <= {"planar", "shell"}
    assert found.present.mean() == (1.0 if thickness >= 2 else 0.0)
    assert found.blur_nm == pytest.approx(np.hypot(1.0, np.sqrt(1 / 12)), abs=0.12)


def test_facet_at_an_angle_and_coarse_pixels():
    found, _ = measured(
        np.random.default_rng(3), thickness=10.0, angle=0.6, pixel=3.0, blur=2.0, shape=(40, 50), noise=3.0
    )
    assert found.kind == "planar"
    assert found.thickness_nm.mean() == pytest.approx(10.0, abs=0.15)


def test_errors_are_what_they_say():
    rng = np.random.default_rng(8)
    z, inside = [], []
    for _ in range(8):
        found, _ = measured(rng, thickness=8.0, noise=30.0, shape=(50, 50))
        z += list((found.thickness_nm - 8.0) / found.std_nm)
        weight = np.full(len(found.x_in_nm), 1 / len(found.x_in_nm))
        error = np.sqrt(weight @ (np.diag(found.own_std_nm**2) + found.common_covariance_nm2) @ weight)
        inside.append(abs(found.thickness_nm.mean() - 8.0) < 1.96 * error)
    assert 0.90 <= np.mean(np.abs(z) < 1.96) <= 0.99
    assert np.mean(inside) >= 0.75


def test_bare_surfaces_are_rarely_called_covered():
    rng = np.random.default_rng(9)
    z, present, lod = [], [], []
    for noise in (3.0, 30.0, 100.0) * 3:
        found, _ = measured(rng, thickness=0.0, noise=noise, shape=(50, 50))
        z += list(found.thickness_nm / found.std_nm)
        present += list(found.present)
        lod.append(np.median(found.lod_nm))
        assert found.amplitude_source == "reference"
    assert np.mean(present) <= 0.05
    assert np.std(z) == pytest.approx(1.0, abs=0.25)
    assert lod[0] < lod[1] < lod[2]


def test_layer_at_the_detection_limit_is_mostly_seen():
    rng = np.random.default_rng(10)
    limit = np.median(measured(rng, thickness=0.0, noise=30.0, shape=(60, 60))[0].lod_nm)
    above = [
        measured(rng, thickness=1.5 * limit, noise=30.0, shape=(60, 60))[0].present.mean() for _ in range(2)
    ]
    assert np.mean(above) > 0.8


def test_without_reference_a_bare_surface_has_no_limit():
    found, _ = measured(np.random.default_rng(11), thickness=0.0, reference=False)
    assert found.amplitude_source == "none"
    assert np.isnan(found.lod_nm).all()
    assert not found.present.any()
    assert any("no detection limit" in note for note in found.notes)


def test_haze_is_no_layer():
    found, _ = measured(np.random.default_rng(12), thickness=20.0, carbon=2.0, noise=1.0, shape=(40, 80))
    assert found.present.all()
    rng = np.random.default_rng(12)
    maps, _, _ = count_maps(rng, thickness=20.0, carbon=0.1, noise=1.0, shape=(40, 80))
    surface = trace_surface(gaussian_filter(maps["metal"][0], 1), 500.0, 1.0)
    away, _, index = distance_and_position(surface)
    segments = divide(surface, 6.0)
    species = [
        Species("Mn", maps["metal"][0].ravel(), maps["metal"][1].ravel(), particle=True),
        Species(
            "C", maps["carbon"][0].ravel(), maps["carbon"][1].ravel(), reference_ratio=0.1, dense_ratio=0.1
        ),
    ]
    haze = estimate(
        away.ravel(), segments.of_pixels(index).ravel(), species, len(segments), segments.radius_nm, 1.0
    )
    assert haze.amplitude_source == "reference"
    assert any("haze" in note for note in haze.notes)


def test_segments_are_cut_in_halves():
    values = np.tile(np.linspace(1, 0, 40), (60, 1))
    surface = trace_surface(values, 0.5, 1.0)
    segments = divide(surface, 6.0)
    finer = split(surface, segments, np.arange(len(segments)) == 1, 1.0)
    assert len(finer) == len(segments) + 1
    assert finer.length_nm.sum() == pytest.approx(segments.length_nm.sum())
    assert np.all(np.diff(finer.position_nm) > 0)
    assert len(split(surface, segments, np.ones(len(segments), bool), 5.0)) == len(segments)
