"""Array functions of the spectroscopy room against closed forms."""

import numpy as np
import pytest

from ceiflow.eels import low_loss, spikes, window, zero_loss
from ceiflow.eels.cross_sections import CrossSection
from ceiflow.eels.design import EdgeColumns
from ceiflow.eels.table import EDGES

RNG = np.random.default_rng(5)


def zero_loss_peak(energy, centre, fwhm=1.0, height=1e4):
    return height * np.exp(-4 * np.log(2) * ((energy - centre) / fwhm) ** 2)


def plasmons(energy, thickness, electrons=1e5, fwhm=1.0, plasmon=23.0, width=5.0):
    """Poisson series of Gaussian plasmons: total and zero loss are known exactly."""
    sigma0 = fwhm / 2.3548
    step = energy[1] - energy[0]
    result = np.zeros_like(energy)
    weight = np.exp(-thickness)
    for order in range(8):
        sigma = np.hypot(sigma0, width * np.sqrt(order)) if order else sigma0
        shape = np.exp(-0.5 * ((energy - order * plasmon) / sigma) ** 2)
        result += weight * electrons * step * shape / (sigma * np.sqrt(2 * np.pi))
        weight *= thickness / (order + 1)
    return result


def test_zero_loss_is_found_below_a_channel():
    energy = np.arange(-20, 100, 0.5)
    peak = zero_loss.find_zero_loss(energy, zero_loss_peak(energy, -3.17) + 5)
    assert peak.position_eV == pytest.approx(-3.17, abs=0.06)
    assert peak.fwhm_eV == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("start", "counts"),
    [
        (5.0, lambda e: 1e4 * np.exp(-0.5 * ((e - 23) / 4) ** 2)),
        (250.0, lambda e: 1e9 * e**-3),
        (-30.0, lambda e: 1e4 * np.exp(-0.5 * ((e - 10) / 8) ** 2)),
    ],
    ids=["plasmon", "background", "broad"],
)
def test_a_range_without_zero_loss_is_refused(start, counts):
    energy = start + 0.5 * np.arange(400)
    assert zero_loss.find_zero_loss(energy, counts(energy)) is None


@pytest.mark.parametrize("electrons", [30, 3000])
def test_shifts_are_recovered_as_well_as_counts_allow(electrons):
    energy = np.arange(-20, 60, 0.25)
    truth = RNG.normal(0, 0.8, 300)
    shape = zero_loss_peak(energy, 0.0, 1.2, 1.0)
    spectra = np.stack([zero_loss_peak(energy, shift, 1.2, 1.0) for shift in truth])
    spectra = RNG.poisson(electrons * spectra / shape.sum())
    peak = zero_loss.find_zero_loss(energy, shape)
    shifts, likelihood = zero_loss.shift_likelihood(energy, spectra, shape, peak)
    found, error = zero_loss.shifts_from_likelihood(shifts, likelihood)
    # The bound of a Gaussian's centre is sigma / sqrt(counts); whole-channel sampling adds a little.
    bound = 1.2 / 2.3548 / np.sqrt(electrons) / 0.25
    scatter = np.sqrt(np.mean((found - truth / 0.25) ** 2))
    assert scatter < 1.15 * bound + 0.06
    assert 0.7 < np.median(error) / bound < 1.4


def test_rolling_keeps_counts():
    spectra = RNG.poisson(5, (4, 50)).astype(np.uint16)
    moved = zero_loss.roll_channels(spectra, np.array([0, 2, -3, 1]))
    assert moved.dtype == spectra.dtype
    np.testing.assert_array_equal(moved[1, :-2], spectra[1, 2:])
    np.testing.assert_array_equal(moved[2, 3:], spectra[2, :-3])


@pytest.mark.parametrize("thickness", [0.05, 0.3, 0.9])
def test_log_ratio_thickness(thickness):
    energy = np.arange(-20, 220, 0.5)
    spectrum = plasmons(energy, thickness)
    split = low_loss.split_energy(energy, spectrum, 1.0)
    value, error = low_loss.thickness_over_mfp(*low_loss.zero_loss_and_total(energy, spectrum, split))
    assert float(value) == pytest.approx(thickness, rel=0.01)
    assert 0 < error < 0.02


def test_thickness_at_few_counts_is_unbiased_and_its_error_right():
    energy = np.arange(-20, 220, 0.5)
    spectra = RNG.poisson(plasmons(energy, 0.5, electrons=400), (800, energy.size)).astype(np.float32)
    zero, total = low_loss.zero_loss_and_total(energy, spectra, 3.0)
    value, error = low_loss.thickness_over_mfp(zero, total)
    assert value.mean() == pytest.approx(0.5, abs=0.01)
    assert np.std(value) == pytest.approx(error.mean(), rel=0.1)


def test_empty_low_loss_has_no_thickness():
    value, error = low_loss.thickness_over_mfp(np.array([0.0]), np.array([0.0]))
    assert np.isnan(value[0])
    assert np.isnan(error[0])


def test_kernel_keeps_mean_energy_loss_on_other_channels():
    energy = np.arange(-20, 200, 0.5)
    spectrum = plasmons(energy, 0.5)
    weights, zero = low_loss.kernel(energy, spectrum, 0.3)
    assert weights.sum() == pytest.approx(1)
    mean = np.sum(weights * (np.arange(weights.size) - zero) * 0.3)
    assert mean == pytest.approx(0.5 * 23.0, rel=0.01)


def test_columns_are_spread_like_a_direct_sum():
    energy = 500.0 + 0.5 * np.arange(300)
    grid = np.arange(500.0, 900.0, 0.25)
    section = CrossSection(EDGES["O"], grid, np.where(grid > 532.0, (grid / 532.0) ** -4, 0.0))
    columns = EdgeColumns(energy, {"O": section}, ["O"], 60, 60)
    weights, zero = RNG.random(50), 7
    design = columns.design((weights, zero))
    for column, single in zip((design.continuum[:, 0], *design.near[0].T), columns.columns, strict=True):
        direct = np.convolve(single, weights)[zero + 60 : zero + 60 + energy.size]
        np.testing.assert_allclose(column, direct, atol=1e-9 * np.abs(direct).max())


def test_tail_beyond_the_range_of_a_power_law():
    energy = np.arange(-20, 200, 0.5)
    spectrum = np.where(energy > 30, 1e6 * np.maximum(energy, 1.0) ** -3.0, 0.0)
    inside = spectrum[energy > 3].sum()
    beyond = 1e6 * 200.0**-2 / 2 / 0.5
    assert low_loss.missing_tail(energy, spectrum, 3.0) == pytest.approx(beyond / inside, rel=0.05)


def test_window_skips_roll_off_and_dead_ends():
    energy = 440 + 0.3 * np.arange(2000)
    counts = 1e12 * energy**-3.0
    rolled = counts * (1 - np.exp(-(energy - 436) / 6.0))
    rolled[-30:] = 0
    start, stop = window.usable_window(energy, rolled)
    assert 452 < start < 480
    assert stop == pytest.approx(energy[-31], abs=0.01)


def test_window_keeps_a_clean_spectrum_and_an_edge_near_its_start():
    energy = 250 + 0.5 * np.arange(1500)
    counts = 1e10 * energy**-3.0
    counts[energy > 284] *= 1.5
    noisy = RNG.poisson(counts / counts.mean() * 30)
    for spectrum in (counts, noisy):
        assert window.usable_window(energy, spectrum)[0] == 250


def spectrum_image(level=100.0):
    energy = 300 + 0.5 * np.arange(800)
    expected = level * (energy / 300) ** -3.0 + level * 3 * np.exp(-0.5 * ((energy - 642) / 1.2) ** 2)
    return RNG.poisson(expected, (6, 7, energy.size)).astype(np.uint16)


def test_spikes_are_found_and_edges_are_not():
    data = spectrum_image()
    clean = data.copy()
    planted = [(2, 3, 400), (0, 0, 100), (5, 6, 684), (3, 3, 500), (1, 1, 799), (4, 1, 2)]
    for row, column, channel in planted:
        data[row, column, channel] += 900
    found = {tuple(spot) for spot in spikes.find_spikes(data)}
    assert set(planted) <= found
    assert len(found) <= len(planted) + 1
    repaired = spikes.replace_spikes(data, np.array(sorted(found)))
    assert repaired.dtype == data.dtype
    for row, column, channel in planted:
        assert abs(int(repaired[row, column, channel]) - int(clean[row, column, channel])) < 200
    assert len(spikes.find_spikes(clean)) == 0


def test_a_lone_spectrum_keeps_its_white_lines():
    data = spectrum_image(1e4)
    assert len(spikes.find_spikes(data[:1, :1])) == 0
    data[0, 0, 300] += 9000
    assert [spot[2] for spot in spikes.find_spikes(data[:1, :1])] == [300]
