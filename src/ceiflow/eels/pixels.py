"""Every pixel of a spectrum image: groups of like low loss, one design a group, one batched fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceiflow.eels.design import Design, build_design
from ceiflow.eels.fit import BATCH, CURVATURE_SIGMA, BatchFitter, GroupModel, SpectrumFit, fit_spectrum
from ceiflow.eels.low_loss import group_by_thickness, kernel
from ceiflow.eels.source import Source, fixed_batches

NO_SPREAD = (np.ones(1), 0)
# A pixel's near edge may differ from its group's by so much of it (one sigma).
PIXEL_FREEDOM = 0.3


@dataclass
class PixelFits:
    """Per-pixel results, flattened in C order.

    Parameters
    ----------
    theta, theta_std : (p, E) array
        Amplitudes: atoms nm^-2 times incident electrons of the core-loss exposure.
    counts, counts_std : (p, E) array
        Counts of each edge within the window.
    total, chi2 : (p,) array
    thickness : (p,) array
    group : (p,) int array
    """

    theta: np.ndarray
    theta_std: np.ndarray
    counts: np.ndarray
    counts_std: np.ndarray
    total: np.ndarray
    chi2: np.ndarray
    thickness: np.ndarray
    group: np.ndarray


def smooth_thickness(source: Source) -> np.ndarray:
    """t/lambda of every pixel for grouping, pooled over neighbours where counts are few."""
    from scipy.ndimage import uniform_filter

    low = source.low
    shape = source.core.shape[:2]
    zero, total = low.zero_loss.reshape(shape), low.total.reshape(shape)
    for side in (1, 3, 5, 7):
        pooled_zero = uniform_filter(zero, side, mode="nearest") if side > 1 else zero
        pooled_total = uniform_filter(total, side, mode="nearest") if side > 1 else total
        if np.nanmedian(low.thickness_se) / side < 0.03 or side >= max(shape):
            break
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(pooled_total / pooled_zero)
    return np.where(np.isfinite(value), value, np.nan).ravel()


def group_pixels(source: Source) -> np.ndarray:
    """Label of every pixel: groups of like t/lambda, one group without a low loss of its own."""
    if source.low is None or source.low.shared:
        return np.zeros(source.pixels, dtype=np.int64)
    groups = int(source.config["eels"]["fit"].get("groups") or 16)
    return group_by_thickness(smooth_thickness(source), source.low.thickness_se / 3, groups)


def group_kernels(source: Source, group: np.ndarray, block: int) -> list[tuple[np.ndarray, int]]:
    """Mean low loss of each group as a convolution kernel."""
    number = int(group.max()) + 1
    if source.low is None:
        return [NO_SPREAD] * number
    low = source.low
    sums = np.zeros((number, low.energy_eV.size))
    for where, batch in fixed_batches(low.signal, block):
        labels = np.zeros(batch.shape[0], np.int64) if low.shared else group[where]
        sums += _one_hot(labels, number) @ (batch.astype(np.float64) - low.dark)
    return [kernel(low.energy_eV, np.clip(total, 0, None), _step(source)) for total in sums]


def group_sums(source: Source, group: np.ndarray, block: int) -> np.ndarray:
    """Summed core loss of each group within the window: (groups, channels)."""
    number = int(group.max()) + 1
    sums = np.zeros((number, source.energy_eV.size))
    for where, batch in fixed_batches(source.core, block):
        spectra = batch[:, source.channels].astype(np.float64) - source.noise.dark
        sums += _one_hot(group[where], number) @ spectra
    return sums


def _one_hot(labels: np.ndarray, number: int) -> np.ndarray:
    return (labels[None, :] == np.arange(number)[:, None]).astype(np.float64)


def _step(source: Source) -> float:
    return float(source.energy_eV[1] - source.energy_eV[0])


def _shape(
    fit: SpectrumFit, design: Design, i: int, fallback: SpectrumFit | None
) -> tuple[np.ndarray, float, bool]:
    """Near edge of element i for a unit of its continuum, learnt from its group or else from all pixels.

    Returns its counts, the atoms it stands for, and whether it was learnt at all.
    """
    for candidate in (fit, fallback):
        if candidate is None:
            continue
        error = np.sqrt(max(candidate.covariance[i, i], 0.0))
        if candidate.theta[i] > 10 * error > 0 and candidate.continuum[i] > 0.3 * candidate.theta[i]:
            ratio = candidate.near[i] / candidate.continuum[i]
            return design.near[i] @ ratio, float(design.near_atoms[i] @ ratio), True
    return np.zeros(design.energy_eV.size), 0.0, False


def group_model(
    counts: np.ndarray, pixels: int, design: Design, source: Source, overall: SpectrumFit | None, passes: int
) -> GroupModel:
    """What the pixels of a group share, from the group's summed spectrum."""
    noise = source.noise
    summed = type(noise)(noise.gain, noise.read_noise * np.sqrt(pixels), 0.0)
    fit = fit_spectrum(counts, design, summed, passes)
    design = design.with_background(fit.exponent, fit.curvature)
    shapes, freedom, penalty, owners, atoms = [], [], [], [], []
    for i in range(len(design.elements)):
        lines, share, learnt = _shape(fit, design, i, overall)
        atoms.append(share)
        shapes.append(design.continuum[:, i] + lines)
        if learnt:
            typical = max(fit.continuum[i], np.sqrt(max(fit.covariance[i, i], 0.0)), 1e-300) / pixels
            freedom.append(lines)
            owners.append(i)
            penalty.append(1 / (PIXEL_FREEDOM * typical) ** 2)
    size = counts.size
    theta = np.clip(fit.continuum, 0, None) / pixels
    start = np.concatenate([[fit.amplitude / pixels, 0.0], theta, np.zeros(len(freedom))])
    return GroupModel(
        design.background,
        design.log_energy,
        np.stack(shapes, 1) if shapes else np.zeros((size, 0)),
        np.stack(freedom, 1) if freedom else np.zeros((size, 0)),
        np.array(penalty),
        np.maximum(fit.model, 0) / pixels,
        start,
        np.array(owners, dtype=np.int64),
        1 + np.array(atoms),
        np.array(atoms)[owners] if owners else np.zeros(0),
    )


def fit_pixels(source: Source) -> PixelFits:
    """Fit every pixel of a source.

    Pixels are gathered by group into batches of fixed size in the order of the file, so results do not
    depend on `eels.fit.block_pixels`, which only bounds what is read at once.
    """
    options = source.config["eels"]["fit"]
    block, passes = int(options.get("block_pixels") or 1024), int(options.get("passes") or 4)
    group = group_pixels(source)
    kernels = group_kernels(source, group, block)
    sums = group_sums(source, group, block)
    numbers = np.bincount(group, minlength=len(kernels))
    middle = build_design(
        source.energy_eV, source.sections, source.elements, kernels[_heaviest(sums)], curvature=0.0
    )
    everything = sums.sum(0)
    overall = fit_spectrum(everything, middle, source.noise, passes, CURVATURE_SIGMA)
    curvature = overall.curvature
    fitters = []
    for index, spread in enumerate(kernels):
        design = build_design(source.energy_eV, source.sections, source.elements, spread, 3.0, curvature)
        model = group_model(sums[index], int(numbers[index]), design, source, overall, passes)
        fitters.append(BatchFitter(model, source.noise, passes))
    return _run(source, group, fitters, block)


def _heaviest(sums: np.ndarray) -> int:
    """The group that holds the middle of all core-loss counts."""
    share = np.cumsum(sums.sum(1))
    return int(np.searchsorted(share, 0.5 * share[-1]))


def _run(source: Source, group: np.ndarray, fitters: list[BatchFitter], block: int) -> PixelFits:
    pixels, number = source.pixels, len(source.elements)
    shape = (pixels, number)
    result = PixelFits(
        *(np.full(shape, np.nan) for _ in range(4)),
        np.zeros(pixels),
        np.full(pixels, np.nan),
        source.low.thickness.copy() if source.low is not None else np.full(pixels, np.nan),
        group,
    )
    waiting: list[list[tuple[int, np.ndarray]]] = [[] for _ in fitters]

    def flush(index: int) -> None:
        rows = np.array([pixel for pixel, _ in waiting[index]])
        spectra = np.stack([spectrum for _, spectrum in waiting[index]])
        waiting[index].clear()
        _store(result, rows, spectra, fitters[index])

    for where, batch in fixed_batches(source.core, block):
        spectra = batch[:, source.channels]
        if source.noise.dark:
            spectra = spectra - np.float32(source.noise.dark)
        for offset, label in enumerate(group[where]):
            waiting[label].append((where.start + offset, spectra[offset].copy()))
            if len(waiting[label]) == BATCH:
                flush(int(label))
    for index in range(len(fitters)):
        if waiting[index]:
            flush(index)
    return result


def _store(result: PixelFits, rows: np.ndarray, spectra: np.ndarray, fitter: BatchFitter) -> None:
    total = spectra.sum(1, dtype=np.float64)
    theta, covariance, chi2 = fitter.fit(spectra)
    sums = fitter.group.element_sums
    counts = theta @ sums.T
    variance = np.einsum("ei,pij,ej->pe", sums, covariance, sums)
    atoms = fitter.group.element_atoms
    deviation = np.sqrt(np.clip(np.einsum("ei,pij,ej->pe", atoms, covariance, atoms), 0, None))
    result.theta[rows] = theta @ atoms.T
    result.theta_std[rows] = deviation
    result.counts[rows] = counts
    result.counts_std[rows] = np.sqrt(np.clip(variance, 0, None))
    result.total[rows] = total
    result.chi2[rows] = chi2
