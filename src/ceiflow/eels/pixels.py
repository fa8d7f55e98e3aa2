"""Every pixel of a spectrum image: groups of thickness and material, one design a group, one batched fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from ceiflow.eels.batch import BATCH, BatchFitter, GroupModel, Solution, Workspace
from ceiflow.eels.design import Design, EdgeColumns
from ceiflow.eels.fit import CURVATURE_SIGMA, Noise, SpectrumFit, fit_spectrum
from ceiflow.eels.groups import group_kernels, group_pixels, sum_groups
from ceiflow.eels.source import Source, fixed_batches

# A pixel's near edge may differ from its group's by so much of it (one sigma).
PIXEL_FREEDOM = 0.3
# Gets the rows of a batch that was fitted, its fitter, and the solution, whose first entries are those rows.
Watch = Callable[[np.ndarray, BatchFitter, Solution], None]


@dataclass
class PixelFits:
    """Per-pixel results, flattened in C order.

    Parameters
    ----------
    theta, theta_std : (p, E) array
        Amplitudes: atoms nm^-2 times incident electrons of the core-loss exposure.
    theta_zero_std : (p, E) array
        What `theta_std` would be without the element.
    counts, counts_std : (p, E) array
        Counts of each edge within the window.
    total, chi2 : (p,) array
    thickness : (p,) array
    group : (p,) int array
    pair_covariance : (p,) array
        Of the two elements that were asked for, by counting noise; 0 where none were.
    """

    theta: np.ndarray
    theta_std: np.ndarray
    theta_zero_std: np.ndarray
    counts: np.ndarray
    counts_std: np.ndarray
    total: np.ndarray
    chi2: np.ndarray
    thickness: np.ndarray
    group: np.ndarray
    pair_covariance: np.ndarray

    def part(self, where: slice) -> PixelFits:
        """Those of some pixels, without copies."""
        return PixelFits(**{field.name: getattr(self, field.name)[where] for field in fields(self)})


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
    counts: np.ndarray, pixels: int, design: Design, noise: Noise, overall: SpectrumFit | None, passes: int
) -> GroupModel:
    """What the pixels of a group share, from the group's summed spectrum."""
    summed = Noise(noise.gain, noise.read_noise * np.sqrt(pixels), 0.0)
    fit = fit_spectrum(counts, design, summed, passes, start=overall)
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


def fit_pixels(
    source: Source, watch: Watch | None = None, pair: tuple[int, int | None] | None = None
) -> PixelFits:
    """Fit every pixel of a source; `pair` and `watch` as in `fit_groups`.

    Pixels are gathered by group into batches of fixed size in the order of the file, so results do not
    depend on `eels.fit.block_pixels`, which only bounds what is read at once.
    """
    return fit_groups(source, group_pixels(source), np.ones(source.pixels), pair, watch)


def fit_groups(
    source: Source,
    group: np.ndarray,
    pooled: np.ndarray,
    pair: tuple[int, int | None] | None = None,
    watch: Watch | None = None,
) -> PixelFits:
    """`fit_pixels` in given groups, of spectra that may be sums of several pixels.

    Parameters
    ----------
    source : Source
    group : (p,) int array
        Labels 0..k-1.
    pooled : (p,) array
        Pixels that each spectrum is the sum of; their read noise adds up. Within a group they are alike.
    pair : (int, int or None), optional
        Two of `source.elements` whose covariance is wanted.
    watch : callable, optional
        Called after every batch.
    """
    options = source.config["eels"]["fit"]
    block, passes = int(options.get("block_pixels") or 1024), int(options.get("passes") or 4)
    sums, kernels = sum_groups(source, group), group_kernels(source, group)
    numbers = np.bincount(group, minlength=len(kernels))
    sizes = np.bincount(group, pooled, len(kernels)) / numbers
    longest = max(weights.size for weights, _ in kernels)
    columns = EdgeColumns(source.energy_eV, source.sections, source.modelled, longest, longest)
    middle = columns.design(kernels[_heaviest(sums)])
    overall = fit_spectrum(sums.sum(0), middle, source.noise, passes, CURVATURE_SIGMA)
    workspace = Workspace(source.energy_eV.size)
    fitters = []
    for index, spread in enumerate(kernels):
        design = columns.design(spread, 3.0, overall.curvature)
        noise = replace(source.noise, read_noise=source.noise.read_noise * float(np.sqrt(sizes[index])))
        model = group_model(sums[index], int(numbers[index]), design, noise, overall, passes)
        fitters.append(BatchFitter(model, noise, passes, workspace))
    return _run(source, fitters, group, block, pair, watch)


def _heaviest(sums: np.ndarray) -> int:
    """The group that holds the middle of all core-loss counts."""
    share = np.cumsum(sums.sum(1))
    return int(np.searchsorted(share, 0.5 * share[-1]))


class _Waiting:
    """Spectra of one group, gathered until they fill a batch."""

    def __init__(self, channels: int):
        self.spectra = np.zeros((BATCH, channels), np.float32)
        self.rows = np.zeros(BATCH, np.int64)
        self.filled = 0

    def take(self, spectra: np.ndarray, rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Put in as many as there is room for; returns which are left over."""
        room = BATCH - self.filled
        chosen, rest = chosen[:room], chosen[room:]
        inside = slice(self.filled, self.filled + chosen.size)
        np.take(spectra, chosen, axis=0, out=self.spectra[inside], mode="clip")
        self.rows[inside] = rows[chosen]
        self.filled += chosen.size
        return rest


def _run(
    source: Source,
    fitters: list[BatchFitter],
    group: np.ndarray,
    block: int,
    pair: tuple[int, int | None] | None,
    watch: Watch | None,
) -> PixelFits:
    pixels, number = source.pixels, len(source.elements)
    result = PixelFits(
        *(np.full((pixels, number), np.nan) for _ in range(5)),
        np.zeros(pixels),
        np.full(pixels, np.nan),
        source.low.thickness.copy() if source.low is not None else np.full(pixels, np.nan),
        group,
        np.zeros(pixels),
    )
    waiting = [_Waiting(source.energy_eV.size) for _ in fitters]
    for where, batch in fixed_batches(source.core, block):
        # Contiguous, or every gathering of a group would copy the whole batch.
        spectra = np.ascontiguousarray(batch[:, source.channels])
        rows = np.arange(where.start, where.stop)
        if source.noise.dark:
            spectra = spectra - np.float32(source.noise.dark)
        labels = group[where]
        for label in np.unique(labels):
            rest = np.flatnonzero(labels == label)
            while rest.size:
                rest = waiting[label].take(spectra, rows, rest)
                if waiting[label].filled == BATCH:
                    _store(result, waiting[label], fitters[label], pair, watch)
    for held, fitter in zip(waiting, fitters, strict=True):
        if held.filled:
            held.spectra[held.filled :] = 0
            _store(result, held, fitter, pair, watch)
    return result


def _store(
    result: PixelFits,
    held: _Waiting,
    fitter: BatchFitter,
    pair: tuple[int, int | None] | None,
    watch: Watch | None,
) -> None:
    """Fit a batch and put its values where they belong."""
    size, number = held.filled, result.theta.shape[1]
    rows, held.filled = held.rows[:size], 0
    found = fitter.solve(held.spectra)
    group = fitter.group
    wanted = [group.element_atoms[:number], group.element_sums[:number]]
    both = pair is not None and pair[1] is not None
    if both:
        wanted.append(group.element_atoms[list(pair)].sum(0, keepdims=True))
    values, deviations = found.sums(np.concatenate(wanted))
    values, deviations = values[:size], deviations[:size]
    atoms, counts = slice(0, number), slice(number, 2 * number)
    result.theta[rows], result.counts[rows] = values[:, atoms], values[:, counts]
    result.theta_std[rows], result.counts_std[rows] = deviations[:, atoms], deviations[:, counts]
    result.total[rows] = found.total[:size]
    result.theta_zero_std[rows] = fitter.zero_deviations(found.total[:size], values[:, counts])
    result.chi2[rows] = found.chi2[:size]
    if both:
        # var(a + b) = var(a) + var(b) + 2 cov(a, b)
        single = deviations[:, list(pair)] ** 2
        result.pair_covariance[rows] = 0.5 * (deviations[:, -1] ** 2 - single.sum(1))
    if watch is not None:
        watch(rows, fitter, found)
