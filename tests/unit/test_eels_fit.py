"""The batched fit: unbiased, efficient, with honest errors, and the same however it is cut into blocks."""

import numpy as np
import pytest

from ceiflow.eels import batch as batches
from ceiflow.eels import fit as fitting
from ceiflow.eels.cross_sections import CrossSection
from ceiflow.eels.design import build_design, elements_in_view, near_edge_lines
from ceiflow.eels.low_loss import kernel
from ceiflow.eels.pixels import group_model
from ceiflow.eels.table import EDGES, chosen_edges

ENERGY = 240.0 + 0.5 * np.arange(1024)


def section(element, strength):
    """A plain saw-tooth edge: nothing here needs a cross-section program."""
    edge = EDGES[element]
    grid = np.arange(edge.onset_eV - 5, 2000.0, 0.5)
    return CrossSection(
        edge, grid, np.where(grid >= edge.onset_eV, strength * (grid / edge.onset_eV) ** -3.5, 0.0)
    )


SECTIONS = {
    "C": section("C", 9e-9),
    "O": section("O", 2.2e-9),
    "F": section("F", 1.2e-9),
    "Mn": section("Mn", 2e-9),
}


def low_loss_kernel(thickness=0.5):
    energy = np.arange(-10, 100, 0.5)
    loss = np.exp(-0.5 * (energy / 0.4) ** 2) / 2
    loss = loss + thickness * np.exp(-0.5 * ((energy - 23) / 5) ** 2) / 12.5
    return kernel(energy, loss, 0.5)


def same_design_truth(dose):
    """Expected counts from the estimator's own columns: checks the algebra, not the model."""
    design = build_design(ENERGY, SECTIONS, list(SECTIONS), low_loss_kernel()).with_background(3.2, 0.0)
    background = dose * 30 * design.background
    atoms = np.array([2000.0, 3000.0, 500.0, 1500.0])
    theta = dose * 2e5 * atoms
    return design, background + design.continuum @ theta, theta


def plain_group(design, truth):
    model = group_model(truth * 1000, 1000, design, fitting.Noise(), None, 4)
    number = len(design.elements)
    empty = np.zeros((ENERGY.size, 0))
    start = model.start[: 2 + number]
    shared = (model.background, model.log_energy, design.continuum, empty, np.zeros(0), truth, start)
    return batches.GroupModel(*shared, np.zeros(0, int), np.ones(number), np.zeros(0))


@pytest.mark.parametrize("dose", [5.0, 0.1], ids=["high dose", "low dose"])
def test_batched_fit_reaches_the_bound_on_its_own_model(dose):
    rng = np.random.default_rng(3)
    design, truth, theta = same_design_truth(dose)
    group = plain_group(design, truth)
    fitter = batches.BatchFitter(group, fitting.Noise(), 4)
    columns = group.columns
    bound = np.sqrt(np.diag(np.linalg.inv(columns.T @ (columns / truth[:, None]))))[2:6]
    parts = [fitter.fit(rng.poisson(truth, (256, truth.size)).astype(np.float32)) for _ in range(12)]
    values = np.concatenate([part[0][:, 2:6] for part in parts])
    errors = np.sqrt(np.concatenate([np.einsum("pii->pi", part[1])[:, 2:6] for part in parts]))
    deviation = values - theta
    count = len(values)
    assert np.all(np.sqrt(np.mean(deviation**2, 0)) / bound < 1.05)
    assert np.all(np.abs(deviation.mean(0)) < 4 * bound / np.sqrt(count) + 0.003 * theta)
    covered = np.mean(np.abs(deviation) < 1.96 * errors, axis=0)
    assert np.all((covered > 0.93) & (covered < 0.97))
    assert np.mean(np.concatenate([part[2] for part in parts])) == pytest.approx(1.0, abs=0.05)


def test_exponent_of_each_pixel_is_followed():
    """A pixel whose background is steeper than its group's keeps its carbon."""
    rng = np.random.default_rng(8)
    design, truth, theta = same_design_truth(20.0)
    fitter = batches.BatchFitter(plain_group(design, truth), fitting.Noise(), 4)
    steeper = truth + 600 * (design.with_background(3.5, 0.0).background - design.background)
    values = np.concatenate(
        [fitter.fit(rng.poisson(steeper, (256, truth.size)).astype(np.float32))[0] for _ in range(4)]
    )
    error = np.std(values[:, 2:4], axis=0) / np.sqrt(len(values))
    # Linearised once, the same pixels are off by more than ten times these errors.
    assert np.all(np.abs(values[:, 2:4].mean(0) - theta[:2]) < 3 * error + 0.005 * theta[:2])


def test_camera_noise_widens_errors():
    rng = np.random.default_rng(4)
    design, truth, theta = same_design_truth(5.0)
    gain, read = 8.0, 30.0
    noise = fitting.Noise(gain, read)
    group = plain_group(design, truth * gain)
    fitter = batches.BatchFitter(group, noise, 4)
    counts = gain * rng.poisson(truth, (256, truth.size)) + rng.normal(0, read, (256, truth.size))
    values, covariance, chi2 = fitter.fit(counts.astype(np.float32))
    scatter = np.std(values[:, 2:6], axis=0)
    errors = np.sqrt(np.einsum("pii->pi", covariance)[:, 2:6]).mean(0)
    np.testing.assert_allclose(scatter, errors, rtol=0.15)
    assert np.all(np.abs(values[:, 2:6].mean(0) - gain * theta) < 4 * errors / 16)
    assert chi2.mean() == pytest.approx(1.0, abs=0.03)


def test_empty_and_nearly_empty_pixels_stay_finite():
    design, truth, _ = same_design_truth(0.1)
    fitter = batches.BatchFitter(plain_group(design, truth), fitting.Noise(), 4)
    counts = np.zeros((3, truth.size), np.float32)
    counts[1, 100] = 1
    counts[2] = 1
    theta, covariance, chi2 = fitter.fit(counts)
    assert np.all(np.isfinite(theta))
    assert np.all(np.isfinite(covariance))
    assert np.all(np.isfinite(chi2))


def test_a_pixel_does_not_depend_on_its_batch():
    rng = np.random.default_rng(9)
    design, truth, _ = same_design_truth(1.0)
    fitter = batches.BatchFitter(plain_group(design, truth), fitting.Noise(), 4)
    counts = rng.poisson(truth, (40, truth.size)).astype(np.float32)
    whole, part = fitter.fit(counts)[0], fitter.fit(counts[:7])[0]
    np.testing.assert_allclose(part, whole[:7], rtol=1e-6, atol=1e-6 * np.abs(whole).max())


def generated(rng, atoms, dose=40.0, white_lines=0.0, exponent=3.1):
    """A generator of its own: saw-tooth edges by direct summation, Gaussian plasmon, white lines."""
    fine = np.arange(100.0, 1000.0, 0.25)
    losses = {0.0: 0.6, 23.0: 0.31, 46.0: 0.09}
    expected = dose * 25 * (ENERGY / 350) ** -exponent
    for element, number in atoms.items():
        shape = SECTIONS[element](fine) * number * dose * 1e6
        if element == "Mn" and white_lines:
            jump = shape.max()
            shape = shape + white_lines * jump * np.exp(-0.5 * ((fine - 642.5) / 1.4) ** 2)
            shape = shape + 0.45 * white_lines * jump * np.exp(-0.5 * ((fine - 653.4) / 1.6) ** 2)
        for loss, weight in losses.items():
            expected = expected + 0.5 * weight * np.interp(ENERGY - loss, fine, shape, left=0.0)
    return rng.poisson(expected).astype(np.float64)


@pytest.mark.parametrize("white_lines", [0.0, 3.0])
def test_spectrum_fit_is_unbiased_and_covers(white_lines):
    """Twenty spectra from another generator: means within errors, intervals that hold what they say."""
    rng = np.random.default_rng(11)
    atoms = {"C": 800.0, "O": 2500.0, "F": 0.0, "Mn": 1500.0}
    loss = np.zeros(120)
    loss[[0, 46, 92]] = 0.6, 0.31, 0.09
    design = build_design(ENERGY, SECTIONS, list(SECTIONS), (loss, 0))
    values, errors = [], []
    for _ in range(20):
        fit = fitting.fit_spectrum(generated(rng, atoms, 400.0, white_lines), design, fitting.Noise())
        values.append(fit.theta / (400.0 * 1e6))
        total = np.diag(fit.covariance) + np.clip(np.diag(fit.robust) - np.diag(fit.covariance), 0, None)
        errors.append(np.sqrt(total) / (400.0 * 1e6))
    values, errors = np.array(values), np.array(errors)
    truth = np.array(list(atoms.values()))
    bias = values.mean(0) - truth
    assert np.all(np.abs(bias) < 0.04 * truth.max() / np.sqrt(20) + 0.03 * truth + 15), bias
    assert np.mean(np.abs(values - truth) < 2.5 * errors) > 0.9


def test_low_dose_spectrum_has_wide_finite_errors():
    rng = np.random.default_rng(2)
    design = build_design(ENERGY, SECTIONS, list(SECTIONS), low_loss_kernel())
    counts = rng.poisson(5 * (ENERGY / 300) ** -3.0).astype(float)
    fit = fitting.fit_spectrum(counts, design, fitting.Noise())
    assert np.all(np.isfinite(fit.theta))
    error = np.sqrt(np.diag(fit.covariance))
    assert np.all(error > 0)
    assert np.all(np.abs(fit.theta) < 5 * error)


def test_who_is_in_view():
    table = chosen_edges(["C", "O", "Mn", "Ni"])
    inside, reasons, shown = elements_in_view(table, 460.0, 870.0)
    assert shown == ["Ni"]
    assert inside == ["O", "Mn"]
    assert "below the range" in reasons["C"]
    assert "too few channels" in reasons["Ni"]
    _, reasons, shown = elements_in_view(table, 280.0, 900.0)
    assert "no background window" in reasons["C"]
    assert shown == ["C"]


def test_broad_corrections_stay_off_other_edges():
    free = near_edge_lines(EDGES["Mn"])
    beside_fluorine = near_edge_lines(EDGES["Mn"], [685.0])
    assert len(free) == len(beside_fluorine) + 1


@pytest.mark.parametrize("element", ["O", "F", "Mn"])
def test_error_at_zero_content_is_that_of_a_spectrum_without_the_element(element):
    """What a detection limit rests on, told from a spectrum that is full of the element."""
    design, truth, theta = same_design_truth(20.0)
    index = list(SECTIONS).index(element)
    without = truth - design.continuum[:, index] * theta[index]
    full = fitting.fit_spectrum(truth, design, fitting.Noise(), curvature_sigma=0.05)
    bare = fitting.fit_spectrum(without, design, fitting.Noise(), curvature_sigma=0.05)
    limit, expected = np.sqrt(full.zero_variance[index]), np.sqrt(bare.covariance[index, index])
    assert limit == pytest.approx(expected, rel=0.1)
    assert limit < np.sqrt(full.covariance[index, index])
    assert np.sqrt(bare.zero_variance[index]) == pytest.approx(expected, rel=0.02)
