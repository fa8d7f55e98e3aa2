"""The outer edge: bias on scenes with a known edge, and what is said where there is none."""

import numpy as np
import pytest
from images_scene import adf_scene, edge_positions, scene

from ceiflow.images import matter_field
from ceiflow.images.field import clean


@pytest.mark.parametrize(
    ("gap", "angle", "dose", "defocus"),
    [
        (0, 35, 100, 60),
        (1, 0, 400, -60),
        (2, 90, 1000, 20),
        (5, 35, 100, 200),
        (5, 0, 300, -200),
        (10, 90, 300, 120),
    ],
)
def test_matter_edge_is_unbiased(gap, angle, dose, defocus):
    image, distance = scene(gap_nm=gap, edge_angle=angle, dose=dose, defocus_nm=defocus, edge_nm=-3, seed=gap)
    field = matter_field(image, 0.04, "hrtem", defocus, 300)
    found = edge_positions(field.values, field.level, distance, field.bin) - gap
    assert field.notes["vacuum"]
    assert found.size > 100
    assert abs(np.median(found)) < 0.3
    assert np.std(found) < 0.4
    assert field.null_sigma < 0.15


def test_illumination_gradient_and_other_shapes():
    image, distance = scene(shape=(500, 900), gap_nm=3, gradient=0.4, edge_nm=2, edge_angle=10, seed=1)
    field = matter_field(image, 0.04, "hrtem", 60, 300)
    found = edge_positions(field.values, field.level, distance, field.bin) - 3
    assert abs(np.median(found)) < 0.3
    assert field.values.shape == (500 // field.bin, 900 // field.bin)


def test_round_particle_without_defocus_metadata():
    image, distance = scene(gap_nm=3, radius_nm=30, edge_nm=0, defocus_nm=40, seed=2)
    field = matter_field(image, 0.04)
    found = edge_positions(field.values, field.level, distance, field.bin) - 3
    assert abs(np.median(found)) < 0.8


def test_vacuum_only():
    image = np.random.default_rng(0).poisson(200, (400, 512)).astype(np.uint16)
    field = matter_field(image, 0.05)
    assert field.notes["vacuum"]
    assert not field.notes["matter"]
    assert np.mean(field.values > field.level) < 0.01


@pytest.mark.parametrize("edge", [-40, 40])
def test_no_vacuum_is_said(edge):
    image, _ = scene(edge_nm=edge, gap_nm=80 if edge < 0 else 5)
    field = matter_field(image, 0.04, "hrtem", 60, 300)
    assert not field.notes["vacuum"]
    assert field.notes["reason"]


def test_support_is_recognised_and_the_second_level_found():
    image, distance = scene(gap_nm=5, support_nm=8, seed=3)
    field = matter_field(image, 0.04, "hrtem", 60, 300)
    assert field.notes["support"]
    assert not field.notes["vacuum"]
    assert "absence is not claimable" in field.notes["reason"]
    found = edge_positions(field.values, field.level, distance, field.bin) - 5
    assert abs(np.median(found)) < 0.6


@pytest.mark.parametrize("dose", [100, 1000])
def test_vacuum_is_no_support(dose):
    image, _ = scene(gap_nm=2, edge_nm=-4, dose=dose, seed=5)
    assert not matter_field(image, 0.04, "hrtem", 60, 300).notes["support"]


def test_dark_field_finds_the_outside_of_a_dim_rim():
    image, distance = adf_scene(gap_nm=6.0, seed=4)
    field = matter_field(image, 0.3, "adf")
    found = edge_positions(field.values, field.level, distance, field.bin)
    assert field.notes["vacuum"]
    assert abs(np.median(found) - 6) < 0.6


def test_hot_pixels_dead_pixels_and_saturation():
    rng = np.random.default_rng(0)
    image = rng.poisson(100, (200, 300)).astype(float)
    image[50, 60], image[10, 10] = 1e5, np.nan
    out, notes = clean(image)
    assert np.isfinite(out).all()
    assert out.max() < 200
    assert notes["hot_pixels"] >= 1
    assert notes["not_finite"] == 1
    saturated = np.minimum(image, 100)
    assert clean(saturated)[1]["saturated_fraction"] > 0.3
    assert matter_field(np.full((128, 128), 255, np.uint8), 0.1).notes["matter"] is False


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="two dimensions"):
        matter_field(np.zeros((3, 40, 40)), 0.1)
    with pytest.raises(ValueError, match="pixel size"):
        matter_field(np.zeros((40, 40)), None)
    with pytest.raises(ValueError, match="modality"):
        matter_field(np.zeros((40, 40)), 0.1, "sem")
    with pytest.raises(ValueError, match="finite"):
        matter_field(np.full((40, 40), np.nan), 0.1)


def test_coordinates_of_pixels():
    image, _ = scene(shape=(300, 300))
    field = matter_field(image, 0.04, "hrtem", 60, 300)
    points = np.array([[0.0, 0.0], [3.5, 10.25]])
    assert np.allclose(field.to_pixels(points), field.bin * points + (field.bin - 1) / 2)
    assert field.on_image(image.shape).shape == image.shape


def test_same_bits_twice():
    image, _ = scene(shape=(300, 320))
    one, two = (matter_field(image, 0.04, "hrtem", 60, 300).values for _ in range(2))
    assert one.tobytes() == two.tobytes()
