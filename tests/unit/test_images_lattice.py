"""The lattice edge: bias on scenes with a known edge; nothing where there is no lattice."""

import numpy as np
import pytest
from images_scene import edge_positions, random_atoms, scene, signed_distances

from ceiflow.images import amorphous_fraction, lattice_field, matter_field
from ceiflow.images.amorphous import named
from ceiflow.images.lattice import outward_shift


def fields(image, pixel, defocus):
    matter = matter_field(image, pixel, "hrtem", defocus, 300)
    return matter, lattice_field(image, pixel, matter=matter, defocus_nm=defocus, beam_energy_keV=300)


@pytest.mark.parametrize(
    ("spacing", "plane", "gap", "angle", "dose", "defocus"),
    [
        (0.47, 25, 0, 0, 200, 60),
        (0.47, 90, 2, 35, 100, -60),
        (0.47, 25, 5, 90, 1000, 100),
        (0.47, 25, 2, 0, 400, 200),
        (0.20, 25, 2, 0, 400, 30),
        (0.20, 0, 5, 35, 200, 60),
        (0.20, 25, 5, 0, 400, 200),
    ],
)
def test_lattice_edge(spacing, plane, gap, angle, dose, defocus):
    image, distance = scene(
        gap_nm=gap, spacings=(spacing,), angles=(plane,), edge_angle=angle, dose=dose, defocus_nm=defocus,
        edge_nm=-3, seed=gap,
    )  # fmt: skip
    _, field = fields(image, 0.04, defocus)
    found = edge_positions(field.values, field.level, distance, field.bin)
    assert field.notes["lattice"]
    best = field.notes["spots"][0]
    assert best["spacing_nm"] == pytest.approx(spacing, rel=0.02)
    assert abs((best["angle_deg"] - plane + 90) % 180 - 90) < 1.5
    assert found.size > 100
    assert abs(np.median(found)) < 0.5
    assert np.median(np.abs(found - np.median(found))) < 0.4


def test_gap_of_two_edges():
    errors = []
    for gap, defocus in ((0, 60), (1, 60), (2, -120), (5, 200), (10, 60)):
        image, distance = scene(gap_nm=gap, defocus_nm=defocus, edge_nm=-4, dose=300, seed=gap + 7)
        matter, lattice = fields(image, 0.04, defocus)
        outer = np.median(edge_positions(matter.values, matter.level, distance, matter.bin))
        inner = np.median(edge_positions(lattice.values, lattice.level, distance, lattice.bin))
        errors.append(outer - inner - gap)
    assert np.sqrt(np.mean(np.square(errors))) < 0.4


def test_amorphous_and_vacuum_have_no_lattice():
    rng = np.random.default_rng(0)
    assert not lattice_field(rng.poisson(100, (600, 600)), 0.04).notes["lattice"]
    false = 0
    for seed in range(4):
        image, _ = scene(lattice=0.0, gap_nm=5, seed=seed, dose=300, shape=(500, 500))
        false += fields(image, 0.04, 60)[1].notes["lattice"]
    assert false == 0


def test_two_grains_and_turning():
    image, distance = scene(spacings=(), angles=(), gap_nm=4, dose=1e6, edge_nm=0, lattice=0, noise=False)
    rows, columns = np.indices(image.shape) * 0.04
    upper = rows < rows.max() / 2
    angle = np.where(upper, np.radians(20), np.radians(65))
    fringes = (
        0.15 * np.cos(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / 0.47) * (distance < 0)
    )
    counts = np.random.default_rng(1).poisson(image / image.max() * 300 * (1 + fringes)).astype(np.float32)
    _, field = fields(counts, 0.04, 60)
    angles = [s["angle_deg"] for s in field.notes["spots"]]
    assert any(abs(a - 20) < 4 for a in angles)
    assert any(abs(a - 65) < 4 for a in angles)
    found = edge_positions(field.values, field.level, distance, field.bin, -3, 3)
    assert abs(np.median(found)) < 0.6


def test_curved_carbon_layers_count_as_crystal():
    pixel, spacing = 0.05, 0.35
    rng = np.random.default_rng(3)
    distance = signed_distances((500, 500), pixel, 0, 4.0, radius_nm=9.0)
    radius = distance + 9.0
    broken = 1.2 * random_atoms(distance.shape, 0.6, rng) / random_atoms((64, 64), 0.6, rng).std()
    inside = 1 / (1 + np.exp(distance / 0.1))
    image = 1 + 0.2 * inside * np.cos(2 * np.pi * radius / spacing + broken * 0.4) - 0.1 * inside
    image += 0.03 * rng.standard_normal(image.shape)
    counts = rng.poisson(np.clip(image, 0, None) * 150).astype(np.float32)
    _, field = fields(counts, pixel, 30)
    assert field.notes["lattice"]
    assert field.notes["turbostratic"]
    assert field.notes["turbostratic_spacing_nm"] == pytest.approx(spacing, abs=0.02)
    found = edge_positions(field.values, field.level, distance, field.bin, -3, 3)
    assert abs(np.median(found)) < 0.6


def test_amorphous_rim_of_carbon_black_is_no_lattice():
    """Amorphous matter with more contrast at the ring's own frequency than beside it, as defocus makes it."""
    pixel, spacing = 0.05, 0.35
    rng = np.random.default_rng(5)
    distance = signed_distances((500, 500), pixel, 0, 1.0, radius_nm=9.0)
    noise = np.fft.fft2(rng.standard_normal(distance.shape))
    g = np.hypot(*np.meshgrid(np.fft.fftfreq(500, pixel), np.fft.fftfreq(500, pixel)))
    texture = np.fft.ifft2(noise * (0.6 + np.exp(-((g - 1 / spacing) ** 2) / 0.5))).real
    texture /= texture.std()
    inside, matter = 1 / (1 + np.exp(distance / 0.1)), 1 / (1 + np.exp((distance - 7.0) / 0.1))
    image = 1 + 0.2 * inside * np.cos(2 * np.pi * distance / spacing) - 0.1 * matter
    image += 0.1 * (matter - inside) * texture
    counts = rng.poisson(np.clip(image, 0, None) * 150).astype(np.float32)
    _, field = fields(counts, pixel, 30)
    assert field.notes["turbostratic"]
    result = amorphous_fraction(counts, field, (distance > 0) & (distance < 6.5), pixel)
    assert result["amorphous_fraction"] > 0.95


def test_pixels_too_wide_for_a_lattice():
    image = np.random.default_rng(0).poisson(50, (200, 200))
    field = lattice_field(image, 0.5)
    assert not field.notes["lattice"]
    assert "too wide" in field.notes["reason"]


def test_amorphous_layer_and_a_crystal_in_it():
    image, distance = scene(gap_nm=12, edge_nm=-6, dose=400, shape=(800, 700), seed=2)
    _, field = fields(image, 0.04, 60)
    mask = (distance > 0) & (distance < 11)
    result = amorphous_fraction(image, field, mask, 0.04)
    assert result["amorphous_fraction"] > 0.95
    rows, columns = np.indices(image.shape) * 0.04
    here = np.exp(-((((distance - 7.5) / 2.6) ** 2 + ((rows - 16) / 5.0) ** 2) ** 2))
    wave = 1 + 0.35 * here * np.cos(2 * np.pi * (0.8 * columns + 0.6 * rows) / 0.233)
    image = np.random.default_rng(0).poisson(image * wave).astype(np.float32)
    _, field = fields(image, 0.04, 60)
    with_crystal = amorphous_fraction(image, field, mask, 0.04)
    assert with_crystal["amorphous_fraction"] < 0.95
    assert "LiF" in [c["name"] for c in with_crystal["crystals"]]
    narrow = amorphous_fraction(image, field, (distance > 0) & (distance < 1), 0.04)
    assert narrow["amorphous_fraction"] is None
    assert narrow["reason"]


def test_names_of_spacings():
    assert named(0.2015) == "LiF"
    assert named(0.267) == "Li2O"
    assert named(0.285) == "Li2CO3"
    assert named(0.47) is None


def test_no_shift_without_displacement():
    assert outward_shift(0.0, 1.0) == pytest.approx(0, abs=0.03)
    assert outward_shift(3.0, 1.5) == pytest.approx(3, abs=0.7)


def test_same_bits_twice():
    image, _ = scene(shape=(300, 320))
    one, two = (lattice_field(image, 0.04).values for _ in range(2))
    assert one.tobytes() == two.tobytes()
