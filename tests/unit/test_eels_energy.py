"""The energy axis from edges: what was put wrong comes out, and a good axis stays good."""

import numpy as np
import pytest

from ceiflow.eels.calibration import decide_axis
from ceiflow.eels.energy import calibrate_axis
from ceiflow.eels.zero_loss import ZeroLoss

ELEMENTS = ["C", "O", "F", "Mn", "Co", "Ni"]
OPTIONS = {"policy": "auto", "max_offset_eV": 25, "max_dispersion_error": 0.05, "tolerance_eV": 1.5}
CHANNELS = 1400


def step(energy, onset, height, width=1.5):
    return height / (1 + np.exp(-(energy - onset) / width)) * (energy / onset) ** -3.0


def line(energy, at, fwhm, height):
    return height * np.exp(-4 * np.log(2) * ((energy - at) / fwhm) ** 2)


def oxide(energy, level):
    """A layered oxide: its pre-peak and white lines stand where references say, give or take chemistry."""
    counts = level * (energy / 500) ** -3.0
    counts += step(energy, 536, 0.5 * level) + line(energy, 529.6, 2.4, 0.25 * level)
    counts += line(energy, 541, 7, 0.3 * level)
    for l3, split, height in ((642.7, 11, 0.5), (780.4, 15, 0.2), (854.4, 17.3, 0.25)):
        counts += step(energy, l3 + 1, 0.25 * height * level)
        counts += line(energy, l3, 2.8, height * level) + line(energy, l3 + split, 3.2, 0.4 * height * level)
    return counts


def carbonate(energy, level):
    counts = 4 * level * (energy / 300) ** -3.0
    counts += (
        step(energy, 295, level) + line(energy, 290.3, 1.3, 1.5 * level) + line(energy, 300, 7, 0.6 * level)
    )
    counts += step(energy, 537, 0.4 * level) + line(energy, 533.9, 1.6, 0.35 * level)
    return counts + line(energy, 541, 6, 0.3 * level)


def recorded(model, offset, factor, start=250.0, channel=0.5, level=3e3, seed=0):
    """Counts, and the axis that a file with that offset and dispersion error would state."""
    true = start + channel * factor * np.arange(CHANNELS)
    counts = np.random.default_rng(seed).poisson(model(true, level))
    middle = true[CHANNELS // 2] + offset
    return middle + channel * (np.arange(CHANNELS) - CHANNELS // 2), counts, true


@pytest.mark.parametrize(
    ("offset", "factor"),
    [(0.0, 1.0), (0.8, 1.0), (-12.0, 1.0), (18.0, 1.02), (-15.0, 0.98), (3.0, 0.995)],
)
def test_offset_and_dispersion_are_recovered(offset, factor):
    energy, counts, true = recorded(oxide, offset, factor)
    found = calibrate_axis(energy, counts, ELEMENTS)
    inside = (true > 500) & (true < 900)
    error = (found.apply(energy) - true)[inside]
    assert np.abs(error).max() < 0.8
    assert np.abs(error.mean()) < 0.5
    assert found.dispersion_factor == pytest.approx(factor, abs=0.004)
    assert {item["edge"] for item in found.edges} == {"O_K", "Mn_L", "Co_L", "Ni_L"}
    assert all(abs(item["residual_eV"]) < 1.0 for item in found.edges)


@pytest.mark.parametrize("level", [30, 300])
def test_few_counts_do_not_spoil_a_good_axis(level):
    for seed in range(4):
        energy, counts, true = recorded(oxide, 0.3, 1.0, level=level, seed=seed)
        found = decide_axis(energy, counts, ELEMENTS, OPTIONS, ZeroLoss(0.3, 1.0, 1e5), True)
        assert np.abs(found.apply(energy) - true).max() < 1.6
        assert abs(found.offset_eV - 0.3) < 0.6


def test_edges_that_can_be_read_in_two_ways_do_not_overrule_the_zero_loss():
    energy, counts, _ = recorded(carbonate, 0.3, 1.0)
    found = decide_axis(energy, counts, ELEMENTS, OPTIONS, ZeroLoss(0.3, 1.0, 1e5), True)
    assert abs(found.offset_eV - 0.3) < 0.5


def test_white_lines_overrule_a_zero_loss_that_was_recorded_apart():
    energy, counts, _ = recorded(oxide, -15.0, 1.02)
    found = decide_axis(energy, counts, ELEMENTS, OPTIONS, ZeroLoss(-3.0, 2.0, 1e5), False)
    assert found.method == "edges"
    assert found.offset_eV == pytest.approx(-15.0, abs=0.7)
    assert any("disagree" in flag for flag in found.flags)


@pytest.mark.parametrize(
    ("zero_loss", "method", "offset"), [(ZeroLoss(-3.0, 1.0, 1e5), "zero_loss", -3.0), (None, "file", 0.0)]
)
def test_without_edges_the_axis_is_that_of_the_zero_loss_or_the_file(zero_loss, method, offset):
    energy = 250 + 0.5 * np.arange(CHANNELS)
    counts = np.random.default_rng(1).poisson(1e3 * (energy / 300) ** -3.0)
    found = decide_axis(energy, counts, ELEMENTS, OPTIONS, zero_loss, True)
    assert found.method == method
    assert found.offset_eV == offset
    assert any("no significant edge" in flag for flag in found.flags)


def test_policies_are_obeyed():
    energy, counts, _ = recorded(oxide, 4.0, 1.0)
    peak = ZeroLoss(1.0, 1.0, 1e5)
    for policy, offset in (("file", 0.0), ("zero_loss", 1.0)):
        assert (
            decide_axis(energy, counts, ELEMENTS, {**OPTIONS, "policy": policy}, peak, True).offset_eV
            == offset
        )
    found = decide_axis(energy, counts, ELEMENTS, {**OPTIONS, "policy": "edges"}, peak, True)
    assert found.offset_eV == pytest.approx(4.0, abs=0.6)


def test_one_edge_gives_an_offset_and_no_dispersion():
    def manganese(energy, level):
        counts = level * (energy / 500) ** -3.0 + step(energy, 643.5, 0.2 * level)
        return counts + line(energy, 642.6, 2.8, level) + line(energy, 653.6, 3.0, 0.4 * level)

    energy, counts, _ = recorded(manganese, 6.0, 1.0)
    found = calibrate_axis(energy, counts, ["Mn"])
    # The axis is read at its middle, and the edge stands near it.
    assert found.offset_eV == pytest.approx(6.0, abs=0.9)
    assert found.dispersion_factor == 1.0
    # Nobody measured it: that of a file, which the axis is the less known by the further from the edge.
    assert found.dispersion_se == pytest.approx(0.004)
    assert any("dispersion not measured" in flag for flag in found.flags)
    assert found.se_at(648.0) < 1.0 < found.se_at(348.0)
    assert found.se_at(948.0) == pytest.approx(np.hypot(found.se_at(648.0), 1.2), abs=0.15)
