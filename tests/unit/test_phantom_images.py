"""Simulated images against closed forms."""

import math

import numpy as np
import pytest

from ceiflow.phantom import images, matter, optics
from ceiflow.phantom.geometry import Arc, Scene, make_arc
from ceiflow.phantom.materials import MATERIALS

MATTER = {"oxide": MATERIALS["NMC532"], "skin": MATERIALS["rocksalt"], "layer": MATERIALS["Li2CO3"]}


def test_wavelength_and_interaction_at_300_kV():
    lens = optics.Lens()
    assert lens.wavelength_nm == pytest.approx(1.96875e-3, rel=1e-4)
    assert lens.interaction == pytest.approx(6.526e-3, rel=2e-3)


@pytest.mark.parametrize("defocus", [-60, 0, 80])
def test_weak_grating_is_imaged_with_the_contrast_of_the_transfer_function(defocus):
    lens = optics.Lens(defocus_nm=defocus, mtf_half=0, dose_e_per_A2=100)
    pixel, cycles, size = 0.05, 40, 800
    k = cycles / (size * pixel)
    phase = 0.01 * np.cos(2 * math.pi * k * pixel * np.arange(size))[None, :] * np.ones((size, 1))
    image = optics.expected_image(phase, np.zeros_like(phase), pixel, lens) / (100 * 100 * pixel**2)
    transfer = optics.transfer(np.array([[k**2]], np.float32), lens)[0, 0]
    harmonic = 2 * np.fft.fft(image[0])[cycles].real / size
    assert image.mean() == pytest.approx(1, abs=1e-3)
    assert harmonic == pytest.approx(-2 * 0.01 * transfer.imag, abs=2e-4)


def test_vacuum_holds_the_dose():
    flat = np.zeros((300, 300))
    counts = optics.expose(flat, flat, 0.073, optics.Lens(dose_e_per_A2=400), np.random.default_rng(1))
    electrons = 400 * 0.73**2
    assert counts.shape == (124, 124)
    assert counts.mean() == pytest.approx(electrons, rel=0.005)
    assert counts.var() == pytest.approx(electrons, rel=0.05)


def test_lattice_has_the_spacings_of_the_layered_oxide():
    spacings = [g.spacing_nm for g in matter.lattice(np.random.default_rng(2))]
    for spacing in (0.474, 0.245, 0.204):
        assert min(abs(found - spacing) for found in spacings) < 1e-3


def test_speckle_scales_with_the_atoms_and_has_a_ring():
    noise = matter.speckle(np.random.default_rng(3), (512, 512), 0.06)
    power = np.abs(np.fft.fft2(noise)) ** 2
    k = np.sqrt(optics.frequencies((512, 512), 0.06))
    ring, low = power[np.abs(k - 3.0) < 0.2].mean(), power[(k > 0.3) & (k < 1.2)].mean()
    assert ring > 4 * low
    assert abs(noise.mean()) < 0.02 * noise.std()


def spectrum_at(image, spacing_nm, pixel_nm):
    power = np.abs(np.fft.fft2((image - image.mean()) * np.outer(*[np.hanning(n) for n in image.shape]))) ** 2
    k = np.sqrt(optics.frequencies(image.shape, pixel_nm))
    near = np.abs(k - 1 / spacing_nm) < 0.05
    around = (np.abs(k - 1 / spacing_nm) < 0.4) & ~near
    return power[near].max() / np.median(power[around])


def test_fringes_end_at_the_surface_and_the_layer_has_none():
    position = np.linspace(-100, 100, 801)
    arc = Arc(position, np.full(801, 10.0), np.zeros(801))
    scene = Scene("facet", arc, depth_nm=40)
    taken = images.high_resolution(
        scene, MATTER, optics.Lens(defocus_nm=70), np.random.default_rng(4), (512, 512)
    )
    counts = taken.counts.astype(float)
    crystal, layer, vacuum = counts[:, 60:230], counts[:, 270:380], counts[:, 410:]
    assert spectrum_at(crystal, 0.4743, 0.073) > 1000
    assert spectrum_at(layer, 0.4743, 0.073) < 100
    assert crystal.mean() < layer.mean() < vacuum.mean()
    assert layer.var() > 1.15 * layer.mean()
    assert vacuum[:, 20:].var() == pytest.approx(vacuum[:, 20:].mean(), rel=0.1)
    assert taken.amorphous_fraction == 1


def test_crystallites_reduce_the_amorphous_share():
    scene = Scene("facet", make_arc(np.random.default_rng(5), 200, 10), depth_nm=40)
    taken = images.high_resolution(
        scene, MATTER, optics.Lens(), np.random.default_rng(5), (512, 512), crystallites_per_nm2=0.02
    )
    assert 0.5 < taken.amorphous_fraction < 0.99


def test_carbon_black_has_fringes_along_its_surface():
    scene = Scene("sphere", make_arc(np.random.default_rng(6), 150), radius_nm=25, depth_nm=1e3)
    black = {"oxide": MATERIALS["carbon"], "layer": MATERIALS["polyether"]}
    lens = optics.Lens(defocus_nm=60, dose_e_per_A2=800)
    taken = images.high_resolution(
        scene, black, lens, np.random.default_rng(6), (512, 512), 0.035, "turbostratic"
    )
    inside = taken.counts[200:312, 60:250].astype(float)
    assert spectrum_at(inside, 0.35, 0.035) > 40
    assert taken.spacings_nm == (0.35,)


def test_overview_is_dark_inside_and_between_in_the_rim():
    arc = make_arc(np.random.default_rng(7), 2 * math.pi * 60, 12, periodic=True)
    scene = Scene("sphere", arc, radius_nm=60, depth_nm=1e3, closed=True)
    lens = optics.Lens(defocus_nm=600, dose_e_per_A2=20)
    counts = images.overview(scene, MATTER, lens, np.random.default_rng(7), (256, 256), 0.78).counts
    radius = np.hypot(*np.meshgrid(np.arange(256) - 127.5, np.arange(256) - 127.5)) * 0.78
    inside, rim, outside = (
        counts[(radius > a) & (radius < b)].mean() for a, b in ((0, 40), (63, 69), (80, 95))
    )
    assert inside < 0.7 * rim
    assert rim < 0.97 * outside


def test_dark_field_follows_mass_thickness():
    ways = {"oxide": np.array([[0.0, 20.0, 40.0]] * 400), "layer": np.zeros((400, 3))}
    taken = images.dark_field(ways, {name: MATTER[name] for name in ways}, 1e5, np.random.default_rng(8))
    vacuum, thin, thick = taken.mean(0)
    assert (thick - vacuum) / (thin - vacuum) == pytest.approx(2, rel=0.02)
