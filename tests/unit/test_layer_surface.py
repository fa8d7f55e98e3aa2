"""Closed-form geometry: circles, facets, frames, neighbours, holes."""

import numpy as np
import pytest

from ceiflow.layer.distance import distance_and_position
from ceiflow.layer.surface import trace_surface


def disc(shape, centre, radius, blur=1.0):
    from scipy.special import ndtr

    rows, columns = np.indices(shape)
    return ndtr((radius - np.hypot(rows - centre[0], columns - centre[1])) / blur)


def half_plane(shape, angle, offset, blur=1.0):
    from scipy.special import ndtr

    rows, columns = np.indices(shape)
    normal = np.array([np.sin(angle), np.cos(angle)])
    return ndtr(-(rows * normal[0] + columns * normal[1] - offset) / blur), normal


@pytest.mark.parametrize("pixel", [0.5, 3.0])
def test_circle_has_its_radius_length_and_normals(pixel):
    centre, radius = (41.3, 38.7), 22.4
    surface = trace_surface(disc((84, 80), centre, radius), 0.5, pixel)
    away = surface.points - centre
    assert np.allclose(np.hypot(*away.T), radius, atol=0.03)
    assert np.einsum("ij,ij->i", away / radius, surface.normals).min() > 0.999
    assert surface.length_nm == pytest.approx(2 * np.pi * radius * pixel, rel=0.01)
    assert np.median(surface.radius_nm) == pytest.approx(radius * pixel, rel=0.05)
    assert surface.n_stretches == 1
    distance, position, index = distance_and_position(surface)
    rows, columns = np.indices((84, 80))
    truth = (np.hypot(rows - centre[0], columns - centre[1]) - radius) * pixel
    assert np.abs(distance - truth).max() < 0.06 * pixel
    assert np.isfinite(position).all()
    assert (index >= 0).all()


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 133, 180, 251, 300])
def test_facet_at_any_angle(degrees):
    field, normal = half_plane((60, 70), np.radians(degrees), 0.0)
    centre = np.array([29.4, 35.3])
    field, normal = half_plane((60, 70), np.radians(degrees), float(centre @ normal))
    surface = trace_surface(field, 0.5, 2.0, margin_pixels=2)
    assert np.abs((surface.points[surface.used] - centre) @ normal).max() < 0.05
    assert (surface.normals[surface.used] @ normal).min() > 0.999
    assert np.abs(surface.radius_nm[surface.used]).min() > 500
    distance, *_ = distance_and_position(surface)
    rows, columns = np.indices(field.shape)
    truth = 2.0 * (rows * normal[0] + columns * normal[1] - centre @ normal)
    away = np.abs(truth) < 20
    assert np.abs(distance - truth)[away][:].mean() < 0.3
    assert (np.sign(distance) == np.sign(truth))[np.abs(truth) > 0.5].all()
    assert surface.lost_nm["frame"] > 0


def test_no_level_no_surface():
    surface = trace_surface(np.zeros((20, 20)), 0.5, 1.0)
    assert surface.length_nm == 0
    distance, position, index = distance_and_position(surface)
    assert np.isnan(distance).all()
    assert np.isnan(position).all()
    assert (index == -1).all()


def test_islands_and_holes_are_dropped():
    field = disc((80, 80), (40, 40), 25)
    field[38:42, 38:42] = 0.0
    field[3:5, 3:5] = 1.0
    field[5, 70] = np.nan
    surface = trace_surface(field, 0.5, 1.0)
    assert surface.n_stretches == 1
    assert len(np.unique(surface.contour)) == 1
    assert surface.inside[40, 40]
    assert not surface.inside[3, 3]


def test_stretches_that_face_another_particle_are_left_out():
    field = np.maximum(disc((60, 120), (30, 30), 18), disc((60, 120), (30, 74), 18))
    surface = trace_surface(field, 0.5, 1.0, facing_nm=15)
    assert surface.lost_nm["facing"] > 5
    between = (np.abs(surface.points[:, 0] - 30) < 3) & (np.abs(surface.points[:, 1] - 52) < 6)
    assert between.any()
    assert not surface.used[between].any()
    assert surface.n_stretches == 2
    far = trace_surface(field, 0.5, 1.0, facing_nm=5)
    assert far.lost_nm["facing"] == 0


def test_line_scan_has_a_surface():
    field = np.tile(np.linspace(0, 1, 21), (2, 1))
    surface = trace_surface(field, 0.53, 2.046, margin_pixels=None)
    assert surface.length_nm == pytest.approx(2 * 2.046, rel=0.3)
    assert np.allclose(surface.points[:, 1], 10.6, atol=0.05)
    assert np.allclose(surface.normals, [0, -1], atol=1e-6)


def test_view_out_of_the_frame():
    field, _ = half_plane((40, 60), 0.0, 50.0)
    assert trace_surface(field, 0.5, 1.0).length_nm > 30
    blind = trace_surface(field, 0.5, 1.0, view_nm=15)
    assert blind.length_nm == 0
    assert blind.lost_nm["frame"] > 30


def test_mirror_image_has_the_same_surface():
    rng = np.random.default_rng(4)
    field = disc((60, 66), (28.2, 31.4), 17.3) + rng.normal(0, 0.05, (60, 66))
    here, _, _ = distance_and_position(trace_surface(field, 0.5, 1.0))
    there, _, _ = distance_and_position(trace_surface(field[::-1, ::-1], 0.5, 1.0))
    assert np.abs(here - there[::-1, ::-1]).max() < 0.15


def test_length_that_leaves_the_frame_is_known():
    radius, row = 20.0, 10.0
    surface = trace_surface(disc((60, 70), (row, 35.0), radius), 0.5, 2.0, view_nm=6.0)
    in_view = 2 * radius * (np.pi - np.arccos((row + 0.5) / radius)) * 2.0
    assert surface.length_nm + surface.lost_nm["frame"] == pytest.approx(in_view, rel=0.02)
    # Points nearer to the frame than the margin, or whose normal leaves it within the view: up to the row
    # where 3 pixels along the normal end half a pixel outside.
    up = np.arccos((row + 0.5) / (radius + 3.0))
    analysed = 2 * radius * (np.pi - up) * 2.0
    assert surface.length_nm == pytest.approx(analysed, rel=0.03)


def test_hole_of_a_ring_counts_only_where_asked():
    outer, inner = 26.0, 16.0
    field = disc((80, 80), (40, 40), outer) * (1 - disc((80, 80), (40, 40), inner))
    assert trace_surface(field, 0.5, 1.0).length_nm == pytest.approx(2 * np.pi * outer, rel=0.01)
    both = trace_surface(field, 0.5, 1.0, fill_holes=False, facing_nm=10.0)
    assert len(np.unique(both.contour)) == 2
    assert both.length_nm == pytest.approx(2 * np.pi * (outer + inner), rel=0.02)
    # Across the hole its walls face each other.
    facing = trace_surface(field, 0.5, 1.0, fill_holes=False, facing_nm=40.0)
    assert facing.lost_nm["facing"] == pytest.approx(2 * np.pi * inner, rel=0.02)


@pytest.mark.parametrize("gap", [0.9, 1.2, 1.6, 3.0])
def test_surfaces_of_a_narrow_gap_are_left_out(gap):
    rng = np.random.default_rng(4)
    columns = np.indices((60, 90))[1]
    left, right = 40.3, 40.3 + gap
    # Shares of pixels that the gap covers, and some noise.
    covered = np.clip(np.minimum(columns + 0.5, right) - np.maximum(columns - 0.5, left), 0.0, 1.0)
    field = 1.0 - covered + 0.02 * rng.standard_normal(columns.shape)
    surface = trace_surface(field, 0.5, 1.0, facing_nm=10.0)
    assert surface.length_nm == 0.0
    assert surface.lost_nm["facing"] > 100.0


def test_noisy_surface_of_one_particle_faces_nothing():
    rng = np.random.default_rng(5)
    rows, columns = np.indices((120, 120))
    clean = np.clip(35.0 - np.hypot(rows - 60, columns - 60), -1.0, 1.0)
    surface = trace_surface(clean + 0.25 * rng.standard_normal(clean.shape), 0.0, 1.0, facing_nm=10.0)
    assert surface.lost_nm["facing"] < 0.03 * 2 * np.pi * 35.0
