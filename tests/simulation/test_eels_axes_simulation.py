"""Energy axes and noise on simulated spectra: how near the estimates come to what counts allow.

The spectra are made here, from integrals of Gaussians and from edges of other shapes than those that the
calibration looks for; nothing of the estimators is used.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr

from ceiflow.eels import detector, drift, spikes, zero_loss
from ceiflow.eels.calibration import decide_axis

pytestmark = pytest.mark.simulation

STEP_EV, FWHM_EV, PIXELS = 0.25, 1.0, 1200
SIGMA_EV = FWHM_EV / 2.3548
ELEMENTS = ["C", "O", "F", "Mn", "Co", "Ni"]
OPTIONS = {"policy": "auto", "max_offset_eV": 25, "max_dispersion_error": 0.05, "tolerance_eV": 1.5}


class Spectra:
    """Counts as a signal file gives them."""

    def __init__(self, data):
        self.data, self.shape = data, data.shape

    def blocks(self, pixels):
        flat = self.data.reshape(-1, self.shape[2])
        for first in range(0, len(flat), pixels):
            yield slice(first, min(first + pixels, len(flat))), flat[first : first + pixels]


def low_losses(counts, jitter_eV, drift_eV, seed, thickness=0.5):
    """Poisson low losses with `counts` in the zero loss of each; their axis, and true shifts."""
    rng = np.random.default_rng(seed)
    energy = np.arange(-20, 60, STEP_EV)
    time = np.linspace(-0.5, 0.5, PIXELS)
    slow = drift_eV * (time + 0.3 * np.sin(5 * time) ** 2)
    shift = slow + jitter_eV * rng.standard_normal(PIXELS)
    upper = (energy + STEP_EV / 2 - shift[:, None]) / SIGMA_EV
    peak = ndtr(upper) - ndtr(upper - STEP_EV / SIGMA_EV)
    plasmon = np.exp(-0.5 * ((energy - 22 - shift[:, None]) / 4.0) ** 2)
    plasmon *= thickness / plasmon.sum(1, keepdims=True)
    return energy, rng.poisson(counts * (peak + plasmon)).astype(np.float32), shift, slow


def aligned(energy, spectra):
    """The alignment as the calibration makes it: twice, the second time with the sum of the first."""
    total = spectra.sum(0)
    peak = zero_loss.find_zero_loss(energy, total)
    for _ in range(2):
        shifts, likelihood = zero_loss.shift_likelihood(energy, spectra, total, peak)
        found = drift.align(shifts, likelihood)
        total = zero_loss.roll_channels(spectra, np.rint(found.shift).astype(int)).sum(0)
        peak = zero_loss.find_zero_loss(energy, total) or peak
    return found


def scatter(found, truth):
    """Root mean square of the errors but for their mean, which is the axis's and not the pixels'."""
    away = found - truth
    return float(np.sqrt(np.mean((away - away.mean()) ** 2)))


@pytest.mark.parametrize("counts", [2, 5, 20, 100, 1000])
@pytest.mark.parametrize("jitter_eV", [0.1, 0.4])
def test_zero_loss_is_placed_as_well_as_its_counts_allow(counts, jitter_eV):
    """The bound of a Gaussian of n counts is sigma / sqrt(n); with a known jitter, both combined."""
    energy, spectra, truth, _ = low_losses(counts, jitter_eV, 0.4, seed=counts)
    found = aligned(energy, spectra)
    alone = SIGMA_EV / np.sqrt(counts)
    bound = 1 / np.sqrt(alone**-2 + jitter_eV**-2)
    error = scatter(found.shift * STEP_EV, truth)
    print(
        f"{counts} counts, jitter {jitter_eV}: error {error:.4f}, bound {bound:.4f} eV, {error / bound:.3f}"
    )
    # At two counts the jitter itself has to be learnt from spectra that hardly show it.
    assert error < (1.25 if counts < 5 else 1.15) * bound
    stated = np.sqrt(np.mean(found.se**2)) * STEP_EV
    assert stated == pytest.approx(error, rel=0.45 if counts < 5 else 0.15)


@pytest.mark.parametrize("counts", [3, 30, 300])
def test_drift_and_jitter_are_recovered(counts):
    true_rate, rates, errors, jitters = [], [], [], []
    for seed in range(6):
        energy, spectra, _, slow = low_losses(counts, 0.15, 0.6, seed=100 + seed)
        found = aligned(energy, spectra)
        line = np.polyfit(np.arange(PIXELS), slow, 1)[0]
        true_rate.append(line * PIXELS)
        rates.append(found.rate * STEP_EV * PIXELS)
        errors.append(found.rate_se * STEP_EV * PIXELS)
        jitters.append(found.jitter * STEP_EV)
        assert scatter(found.drift * STEP_EV, slow) < 0.04
    away = (np.array(rates) - true_rate) / errors
    print(
        f"{counts} counts: rate {np.mean(rates):.3f} of {true_rate[0]:.3f}, errors {away.round(1)}, {jitters}"
    )
    assert np.abs(away).max() < 4
    assert np.mean(jitters) == pytest.approx(0.15, abs=0.03 if counts > 10 else 0.09)


def test_a_jump_of_the_high_tension_is_followed():
    energy, spectra, truth, _ = low_losses(200, 0.05, 0.0, seed=4)
    spectra[500:512] = np.roll(spectra[500:512], 9, axis=1)
    truth[500:512] += 9 * STEP_EV
    found = aligned(energy, spectra)
    assert np.abs(found.shift * STEP_EV - truth - np.mean(found.shift * STEP_EV - truth)).max() < 0.35


def oxide(energy, level, rng):
    """A layered oxide with chemistry of its own: every feature off its textbook place by a draw."""

    def rise(onset, height, width):
        return height * 0.5 * (1 + np.tanh((energy - onset) / width)) * (energy / onset) ** -2.7

    def lorentz(at, fwhm, height):
        return height / (1 + (2 * (energy - at) / fwhm) ** 2)

    valence = rng.normal(0, 0.3)
    counts = (energy / 500) ** -2.8 + rise(537, 0.45, 2.0) + 0.22 * np.exp(-(((energy - 541) / 4) ** 2))
    counts += lorentz(529.5 + rng.normal(0, 0.4), 2.2, 0.22)
    for at, split, height, ratio in (
        (642.5, 11.2, 0.5, 0.5),
        (780.3, 15, 0.2, 0.4),
        (854.6, 17.5, 0.26, 0.4),
    ):
        at = at + valence + rng.normal(0, 0.4)
        counts += rise(at + 1.5, 0.22 * height, 1.5)
        counts += lorentz(at, 2.6, height) + lorentz(at + split, 3.4, ratio * height)
    return level * counts


def test_offset_and_dispersion_without_a_low_loss_cover_the_truth():
    """Thirty axes that are wrong by up to 18 eV and 2 %, with chemistry that moves every reference."""
    away, factors, errors = [], [], []
    for seed in range(30):
        rng = np.random.default_rng(900 + seed)
        offset, factor = rng.uniform(-18, 18), rng.uniform(0.98, 1.02)
        true = 440 + 0.4 * factor * np.arange(1500)
        counts = rng.poisson(oxide(true, 10 ** rng.uniform(2.5, 5), rng))
        file = true[750] + offset + 0.4 * (np.arange(1500) - 750)
        found = decide_axis(file, counts, ELEMENTS, OPTIONS, None, False)
        assert found.method == "edges"
        at = np.searchsorted(true, 700.0)
        error = found.apply(file)[at] - true[at]
        away.append(error / found.se_at(file[at]))
        errors.append(error)
        factors.append((found.dispersion_factor - factor) / found.dispersion_se)
    rms, own, slopes = (np.sqrt(np.mean(np.square(values))) for values in (errors, away, factors))
    print(f"at 700 eV: rms {rms:.3f} eV, in standard errors {own:.2f}; dispersion {slopes:.2f}")
    assert rms < 0.6
    assert np.mean(np.abs(away) < 1.96) >= 0.9
    assert np.mean(np.abs(factors) < 1.96) >= 0.9


def recorded(rng, gain=1.0, read=0.0, spread=0.0, level=200.0, shape=(20, 40), scattered=False):
    """Spectra of a wedge, from vacuum to an oxide, by a detector; `scattered`: spread before counting."""
    energy = 250 + 0.5 * np.arange(1024)
    expected = level * (energy / 280) ** -3.0
    expected += 0.5 * level * (energy > 534) * (energy / 534) ** -3.0
    expected += level * np.exp(-0.5 * ((energy - 642) / 1.3) ** 2)
    expected = expected * np.broadcast_to(np.linspace(0.02, 1, shape[1])[:, None], (*shape, energy.size))
    if scattered:
        expected = gaussian_filter1d(expected, spread, axis=-1)
    counts = rng.poisson(expected).astype(float)
    if spread and not scattered:
        counts = gaussian_filter1d(counts, spread, axis=-1)
    return gain * counts + read * rng.standard_normal(counts.shape)


CAMERAS = {
    "counting, 5 counts": ({"level": 5.0}, 1.0, 0.0, 0.0),
    "counting": ({}, 1.0, 0.0, 0.0),
    "camera": ({"gain": 8.0, "read": 5.0}, 8.0, 5.0, 0.0),
    "camera that spreads light": ({"gain": 8.0, "read": 5.0, "spread": 1.2}, 8.0, 5.0, 1.2),
    "electrons scattered before counting": ({"spread": 1.2, "scattered": True}, 1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_gain_and_noise_are_read_off_the_spectra(name):
    arguments, gain, read, spread = CAMERAS[name]
    found = [
        detector.estimate_noise(Spectra(recorded(np.random.default_rng(seed), **arguments)), {})
        for seed in range(6)
    ]
    gains, reads = np.array([f.gain for f in found]), np.array([f.read_noise for f in found])
    error = np.sqrt(np.mean((gains / gain - 1) ** 2))
    print(f"{name}: gain {gains.mean():.3f} of {gain}, rms {error:.2%}, read {reads.mean():.2f} of {read}, "
          f"spread {np.mean([f.point_spread for f in found]):.2f} of {spread}")  # fmt: skip
    assert error < 0.02
    assert np.abs(reads - read).max() < max(0.15 * read, 0.05 * np.sqrt(arguments.get("level", 200.0)))
    assert all(f.point_spread == pytest.approx(spread, abs=0.1) for f in found)
    assert all(f.contradicts() == (gain != 1.0) for f in found)


def test_errors_of_amplitudes_need_the_gain_of_wide_sums():
    """A spread of 1.2 channels takes three quarters off a channel's variance and nothing off an edge's."""
    rng = np.random.default_rng(17)
    gain, spread, draws = 4.0, 1.2, 1200
    energy = 450 + 0.5 * np.arange(500)
    columns = np.stack([(energy / 500) ** -3.0, (energy / 500) ** -3.0 * np.log(energy / 500),
                        (energy > 534) * (energy / 534) ** -3.0], axis=1)  # fmt: skip
    columns = gaussian_filter1d(columns, spread, axis=0)
    expected = columns @ [400.0, 0.0, 120.0]
    counts = gain * gaussian_filter1d(
        rng.poisson(expected, (draws, energy.size)).astype(float), spread, axis=-1
    )
    noise = detector.estimate_noise(Spectra(counts.reshape(30, 40, -1)), {})
    inside = slice(20, -20)
    weighted = columns[inside] / (noise.gain * gain * expected[inside])[:, None]
    inverse = np.linalg.inv(columns[inside].T @ weighted)
    found = counts[:, inside] @ weighted @ inverse
    ratio = np.std(found[:, 2]) / np.sqrt(inverse[2, 2])
    single = np.mean(np.var(counts[:, inside], axis=0) / (gain * expected[inside])) / gain
    print(f"scatter over stated error {ratio:.3f}; variance of single channels over the gain's {single:.3f}")
    assert ratio == pytest.approx(1.0, abs=0.08)
    assert single == pytest.approx(1 / (2 * spread * np.sqrt(np.pi)), rel=0.05)


def test_one_spectrum_tells_its_gain():
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        energy = 250 + 0.5 * np.arange(2048)
        counts = 5.0 * rng.poisson(3e3 * (energy / 280) ** -2.5)
        found = detector.estimate_noise(Spectra(counts[None, None]), {})
        assert found.known
        assert found.contradicts()
        gains.append((found.gain - 5) / found.gain_se)
    assert np.abs(gains).max() < 3.5


@pytest.mark.parametrize("level", [2, 50, 5000])
def test_spikes_are_found_at_any_dose_and_nothing_else_is(level):
    rng = np.random.default_rng(level)
    expected = np.maximum(recorded(rng, level=1e7, shape=(12, 30)), 0) * level / 1e7
    clean = rng.poisson(expected)
    assert len(spikes.find_spikes(clean)) == 0
    for shares in ((1.0,), (1.0, 0.6), (0.5, 1.0, 0.5)):
        spoiled = clean.copy()
        places = {tuple(int(rng.integers(low, high)) for low, high in ((0, 12), (0, 30), (8, 1010)))
                  for _ in range(60)}  # fmt: skip
        for row, column, channel in places:
            height = 40 * max(np.sqrt(expected[row, column, channel]), 1.0)
            for k, share in enumerate(shares):
                spoiled[row, column, channel + k] += round(share * height)
        spots = {tuple(spot) for spot in spikes.find_spikes(spoiled)}
        hit = [any((r, c, k + o) in spots for o in range(len(shares))) for r, c, k in places]
        print(f"level {level}, {len(shares)} channels: {np.mean(hit):.2f} of {len(hit)} found")
        assert np.mean(hit) >= 0.93
        mended = spikes.replace_spikes(spoiled, spikes.find_spikes(spoiled))
        assert abs(int(mended.sum()) - int(clean.sum())) < 0.05 * abs(int(spoiled.sum()) - int(clean.sum()))
