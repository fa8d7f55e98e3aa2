"""Simulated spectra and counts against closed forms."""

import math

import numpy as np
import pytest

from ceiflow.phantom.detectors import Detector, add_spikes, record
from ceiflow.phantom.edges import PARTIAL_NM2, angular_factor, edge_spectra, nature, white_line_ratio
from ceiflow.phantom.materials import MATERIALS, SPECIES, mix
from ceiflow.phantom.spectra import Beam, expected_dual, simulate_dual, single_scattering

EVEN = dict.fromkeys(PARTIAL_NM2, 1.0)


def test_mixture_adds_by_volume_and_bonding_by_atoms():
    half = mix({"Li2CO3": 1, "polyether": 1})
    assert half.atoms["C"] == pytest.approx((17.2 + 32.8) / 2)
    assert half.carbon["carbonate"] == pytest.approx(17.2 / (17.2 + 32.8))
    assert sum(half.carbon.values()) == pytest.approx(1)
    assert set(half.carbon) <= set(SPECIES)


@pytest.mark.parametrize(
    ("element", "material"), [("C", "Li2CO3"), ("O", "NMC532"), ("F", "LiF"), ("Mn", "NMC532")]
)
def test_edge_holds_its_partial_cross_section(element, material):
    energy = np.arange(250, 1200, 0.05)
    edge = edge_spectra(MATERIALS[material], energy, {element: 1.1}, 300, 20)[element]
    onset = {"C": 284, "O": 529, "F": 686, "Mn": 638}[element]
    inside = (energy >= onset) & (energy < onset + 50)
    expected = MATERIALS[material].atoms[element] * PARTIAL_NM2[element] * 1.1
    assert edge[inside].sum() * 0.05 == pytest.approx(expected, rel=0.01)
    assert edge[energy < onset - 12].max() < 1e-3 * edge.max()


def test_cross_sections_grow_with_the_aperture_and_fall_with_the_voltage():
    assert angular_factor(300, 20, 284) == pytest.approx(1)
    assert angular_factor(300, 40, 284) > 1
    assert angular_factor(200, 20, 284) > 1


def test_nature_differs_from_the_tables_by_the_stated_spread():
    logs = {el: np.log([nature(seed)[el] for seed in range(200)]) for el in ("C", "Mn")}
    assert np.std(logs["C"]) == pytest.approx(0.07, rel=0.2)
    assert np.std(logs["Mn"]) == pytest.approx(0.15, rel=0.2)
    assert nature(1) == nature(1)


def test_white_lines_tell_the_valence():
    assert white_line_ratio("rocksalt", "Mn") > 3.5 > white_line_ratio("layered", "Mn")


def test_low_loss_is_poissonian_in_the_number_of_losses():
    way = 0.5 * MATERIALS["NMC532"].mean_free_path_nm
    beam = Beam(zero_loss_fwhm_eV=1.0, low_electrons=1e6, low_channels=900)
    _, low = expected_dual({"oxide": np.array([way])}, {"oxide": MATERIALS["NMC532"]}, beam, EVEN)
    energy = beam.low_start_eV + beam.dispersion_eV * np.arange(beam.low_channels)
    arrived = 1e6 * math.exp(-way / MATERIALS["NMC532"].elastic_path_nm)
    assert low.sum() == pytest.approx(arrived, rel=0.005)
    assert low[0, np.abs(energy) <= 2].sum() == pytest.approx(arrived * math.exp(-0.5), rel=0.01)


def test_single_scattering_is_a_distribution_with_its_plasmon():
    energy = np.arange(0, 1000, 0.5)
    distribution = single_scattering(MATERIALS["NMC532"], energy)
    assert distribution.sum() == pytest.approx(1)
    assert distribution.min() >= 0
    assert 20 < energy[distribution.argmax()] < 26


def test_core_loss_grows_with_thickness_less_than_in_proportion():
    ways = {"layer": np.array([1.0, 50.0])}
    core, _ = expected_dual(ways, {"layer": MATERIALS["Li2CO3"]}, Beam(), EVEN)
    per_nm = core.sum(1) / np.array([1, 50])
    assert core.min() >= 0
    assert 0.8 < per_nm[1] / per_nm[0] < 1.2
    energy = Beam().core_energy()
    line = np.abs(energy - 290.3) < 0.6
    assert core[1, line].max() / core[0, line].max() < 50  # multiple losses take it away from the line


def test_shift_moves_both_losses():
    ways, materials = {"oxide": np.full(2, 30.0)}, {"oxide": MATERIALS["NMC532"]}
    core, low = expected_dual(ways, materials, Beam(), EVEN, shift_eV=np.array([0.0, 3.0]))
    np.testing.assert_allclose(low[1, 6:], low[0, :-6], atol=1e-6 * low.max())
    np.testing.assert_allclose(core[1, 6:], core[0, :-6], rtol=1e-6)


def test_files_axes_are_wrong_by_what_the_truth_says():
    beam = Beam(offset_eV=12.5, low_offset_eV=-1.5, dispersion_factor=1.004)
    axes, middle = beam.file_axes(), (beam.channels - 1) / 2
    told = axes["core_start_eV"] + axes["dispersion_eV"] * middle
    assert told - np.interp(middle, np.arange(beam.channels), beam.core_energy()) == pytest.approx(12.5)
    _, low = expected_dual({"layer": np.zeros(1)}, {"layer": MATERIALS["LiF"]}, beam, EVEN)
    energy = axes["low_start_eV"] + axes["dispersion_eV"] * np.arange(beam.low_channels)
    assert (energy * low[0]).sum() / low.sum() == pytest.approx(-1.5, abs=0.01)


def test_counts_are_poissonian_and_cameras_add_their_noise():
    rng = np.random.default_rng(4)
    counts = record(np.full(200_000, 30.0), Detector(), rng)
    assert counts.dtype == np.uint16
    assert counts.mean() == pytest.approx(30, abs=0.1)
    assert counts.var() == pytest.approx(30, rel=0.02)
    camera = record(np.full(200_000, 30.0), Detector(False, gain=8, read_noise=5, dark=100), rng)
    assert camera.mean() == pytest.approx(340, rel=0.005)
    assert camera.var() == pytest.approx(64 * 30 + 25, rel=0.02)
    assert record(np.full(10, 1e5), Detector(), rng).dtype == np.uint32


def test_spikes_are_few_and_high():
    counts = np.full((40, 50, 100), 20, np.uint16)
    add_spikes(counts, 0.01, np.random.default_rng(5))
    spikes = counts[counts != 20]
    assert 8 < spikes.size < 60
    assert spikes.max() > 400


def test_spectrum_image_repeats_with_its_stream_and_knows_its_truth():
    ways = {"oxide": np.full((3, 4), 40.0), "layer": np.full((3, 4), 10.0)}
    materials = {"oxide": MATERIALS["NMC532"], "layer": MATERIALS["Li2CO3"]}
    first, again, other = (
        simulate_dual(ways, materials, Beam(channels=400), EVEN, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.core, again.core)
    assert not np.array_equal(first.core, other.core)
    assert first.areal_density["C"][0, 0] == pytest.approx(172)
    assert first.areal_density["O"][0, 0] == pytest.approx(40 * 58.6 + 10 * 51.6)
    assert first.thickness_over_mfp[0, 0] == pytest.approx(40 / 151 + 10 / 181)
    assert abs(first.shift_eV.mean()) < 1e-12
