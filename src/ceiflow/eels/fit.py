"""Poisson fits of a nearly linear model: one spectrum with all free, or thousands by matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np

from ceiflow.eels.design import Design

# Pixels whose sums go through the processor together; fixed, so that no result depends on how a file is read.
BATCH = 256
SLOPE_SPREAD = 0.15
# How far a background's logarithm may be from a straight line in ln E: exp(-c ln^2 E), c of this deviation.
CURVATURE_SIGMA = 0.05


@dataclass(frozen=True)
class Noise:
    """Variance of a channel: gain * counts + read_noise^2, after `dark` counts are taken off."""

    gain: float = 1.0
    read_noise: float = 0.0
    dark: float = 0.0

    def variance(self, model: np.ndarray) -> np.ndarray:
        return self.gain * model + self.read_noise**2


@dataclass
class SpectrumFit:
    """One spectrum's fit.

    Parameters
    ----------
    theta : (E,) array
        Atoms nm^-2 times incident electrons (see `ceiflow.eels.design`).
    continuum : (E,) array
        Amplitudes of the edge continua alone, in the same unit.
    covariance : (E, E) array
        Counting noise only, with the share of the background and the near edge.
    near : list of (k,) array
        Amplitudes of each element's near-edge lines.
    exponent, curvature : float
        The background's shape.
    background, model : (n,) array
    edges : (n, E) array
        Counts of each element: continuum and lines.
    reduced_chi2 : float
    robust : (E, E) array
        Covariance that also carries correlated misfit (see `misfit_covariance`) and unknown edge shapes.
    """

    theta: np.ndarray
    continuum: np.ndarray
    covariance: np.ndarray
    near: list[np.ndarray]
    amplitude: float
    exponent: float
    curvature: float
    background: np.ndarray
    model: np.ndarray
    edges: np.ndarray
    reduced_chi2: float
    robust: np.ndarray


def fit_spectrum(
    counts: np.ndarray,
    design: Design,
    noise: Noise,
    passes: int = 4,
    curvature_sigma: float = 0.0,
    free_near: bool = True,
) -> SpectrumFit:
    """Fit one (summed) spectrum: power law, edge continua and free near-edge lines.

    Near-edge lines are held by Gaussian priors about zero in units of the edge's own jump, so that where an
    element is absent they do not invent one; where the model misfits, the priors gain weight (`temper`).

    Parameters
    ----------
    counts : (n,) array
        Dark level removed.
    design : Design
        On the same channels; its exponent is where the iteration starts.
    noise : Noise
        Of this spectrum (read noise of all summed pixels).
    passes : int
        At least so many weighted passes; the background's exponent is iterated along.
    curvature_sigma : float
        Standard deviation of the prior on the background's curvature, about 0; without it the curvature is
        that of `design`.
    free_near : bool
        Without it, continua only.
    """
    counts = np.asarray(counts, np.float64)
    number = len(design.elements)
    near = [lines if free_near else lines[:, :0] for lines in design.near]
    widths = [lines.shape[1] for lines in near]
    edge_columns = np.concatenate([design.continuum, *near], axis=1) if number else np.zeros((counts.size, 0))
    freedom = np.concatenate([*design.near_freedom, np.zeros(0)]) if free_near else np.zeros(0)
    scale = np.maximum(np.abs(edge_columns).max(0, initial=0), 1e-300)
    # Atoms in units of the scaled continuum.
    atoms = _atoms_matrix(design, widths, free_near) / scale * scale[:number, None]
    log = design.log_energy
    exponent, curvature = _start_background(counts, design)
    model = _smooth_positive(counts)
    floor = max(1e-3 * model.mean(), 1e-9)
    heights = np.full(number, np.sqrt(max(counts.mean(), 1.0)))
    temper, amplitude = 1.0, max(counts.mean(), 1e-6)
    for sweep in range(max(passes, 3) + 6):
        background = np.exp(-exponent * log - curvature * log**2)
        base = [background, background * log] + ([background * log**2] if curvature_sigma else [])
        columns = np.concatenate([np.stack(base, 1), edge_columns / scale], axis=1)
        weight = 1 / np.maximum(noise.variance(np.maximum(model, floor)), 1e-12)
        gram = columns.T @ (weight[:, None] * columns)
        penalty = np.zeros(columns.shape[1])
        penalty[len(base) + number :] = temper / (np.repeat(heights, widths) * freedom) ** 2
        pull = np.zeros(columns.shape[1])
        if curvature_sigma:
            # The column is a step from the present curvature; the prior is on where it ends.
            penalty[2] = temper / (curvature_sigma * amplitude) ** 2
            pull[2] = penalty[2] * amplitude * curvature
        inverse = _inverse(gram + np.diag(penalty))
        solution = inverse @ (columns.T @ (weight * counts) + pull)
        amplitude = max(solution[0], 1e-3 * amplitude)
        model = columns @ solution
        temper = _correlated_misfit(np.sqrt(weight) * (counts - model), design.energy_eV)
        alone = slice(0, len(base) + number)
        errors = np.sqrt(np.diag(_inverse(gram[alone, alone])))[len(base) :]
        # Scale of the lines' prior: the element as a whole, never less than what could just be seen of it if
        # there were no lines (with them, uncertainty would feed on itself).
        heights = np.maximum(atoms @ solution[len(base) :], errors)
        step = -solution[1] / solution[0] if solution[0] > 0 else 0.0
        exponent += float(np.clip(step, -0.7, 0.7))
        bend = -solution[2] / solution[0] if curvature_sigma and solution[0] > 0 else 0.0
        curvature += float(np.clip(bend, -0.3, 0.3))
        if sweep >= max(passes, 3) and abs(step) + abs(bend) < 1e-6:
            break
    k = len(base)
    atoms = np.concatenate([np.zeros((number, k)), atoms / scale[:number, None]], axis=1)
    # The posterior's covariance in two parts: what counting noise makes, and what the priors leave open.
    spread = atoms @ inverse
    covariance = spread @ gram @ spread.T
    misfit = atoms @ misfit_covariance(columns, weight, counts - model, inverse, design.energy_eV) @ atoms.T
    robust = temper * spread @ (penalty[:, None] * spread.T) + np.maximum(misfit, covariance * np.eye(number))
    continuum = solution[k : k + number] / scale[:number]
    theta = atoms @ solution
    lines = np.split(solution[k + number :] / scale[number:], np.cumsum(widths)[:-1]) if number else []
    parts = [
        continuum[i] * design.continuum[:, i] + (near[i] @ lines[i] if widths[i] else 0.0)
        for i in range(number)
    ]
    edges = np.stack(parts, axis=1) if number else np.zeros((counts.size, 0))
    used = np.trace(inverse @ gram)
    chi2 = float(np.sum(weight * (counts - model) ** 2) / max(counts.size - used, 1))
    return SpectrumFit(
        theta, continuum, covariance, list(lines), float(solution[0]), exponent, curvature,
        model - edges.sum(1), model, edges, chi2, robust,
    )  # fmt: skip


def _correlated_misfit(residual: np.ndarray, energy: np.ndarray) -> float:
    """How much more means over 10 eV of residuals scatter than independent ones would; 1 for a good model.

    Where a model does not fit, counts are no measure of what the data know: priors have to keep their weight
    against a misfit, not against counting noise.
    """
    width = max(round(10.0 / (energy[1] - energy[0])), 2)
    blocks = residual[: residual.size // width * width].reshape(-1, width)
    return max(1.0, float(np.mean(blocks.mean(1) ** 2) * width)) if blocks.size else 1.0


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a normal matrix, scaled to a unit diagonal first; directions without information give 0."""
    norm = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    return norm[:, None] * np.linalg.pinv(norm[:, None] * matrix * norm, hermitian=True) * norm


def _atoms_matrix(design: Design, widths: list[int], free_near: bool) -> np.ndarray:
    """(E, E + lines): how edge columns add up to atoms."""
    number = len(design.elements)
    matrix = np.zeros((number, number + sum(widths)))
    matrix[:, :number] = np.eye(number)
    start = number
    for i, width in enumerate(widths):
        if free_near:
            matrix[i, start : start + width] = design.near_atoms[i]
        start += width
    return matrix


def _start_background(counts: np.ndarray, design: Design) -> tuple[float, float]:
    """A first exponent from the two ends of the spectrum."""
    tenth = max(counts.size // 20, 1)
    first, last = max(counts[:tenth].mean(), 1e-6), max(counts[-tenth:].mean(), 1e-6)
    log = design.log_energy
    slope = np.log(first / last) / (log[-tenth:].mean() - log[:tenth].mean())
    return float(np.clip(slope, 0.0, 6.0)), design.curvature


def _smooth_positive(counts: np.ndarray) -> np.ndarray:
    """Start of the weights: a running mean, never a channel's own count alone."""
    width = 9
    padded = np.pad(counts, width // 2, mode="edge")
    smooth = np.convolve(padded, np.ones(width) / width, mode="valid")
    return np.maximum(smooth, max(0.02 * counts.mean(), 1e-9))


def misfit_covariance(
    columns: np.ndarray, weight: np.ndarray, residual: np.ndarray, inverse: np.ndarray, energy: np.ndarray
) -> np.ndarray:
    """Covariance of the amplitudes under residuals that are correlated along energy.

    With a perfect model this is the counting noise again; where edge shapes do not fit, neighbouring
    residuals agree in sign, and the amplitudes are as uncertain as those say (Newey and West 1987,
    Econometrica 55, 703: triangular lags, here up to 40 eV).
    """
    reach = max(round(40.0 / (energy[1] - energy[0])), 1)
    score = columns * (weight * residual)[:, None]
    kernel = 1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1)
    from scipy.signal import oaconvolve

    spread = oaconvolve(score, kernel[:, None], mode="same", axes=0)
    middle = score.T @ spread
    return inverse @ (0.5 * (middle + middle.T)) @ inverse


@dataclass
class GroupModel:
    """What pixels of one group share: the design with one edge shape an element, in whitened columns.

    Parameters
    ----------
    shapes : (n, E) array
        Continuum with its learnt near-edge lines, of unit theta.
    freedom : (n, d) array
        Directions in which a pixel's near edge may leave the group's.
    penalty : (d,) array
        1 / variance of those.
    mean : (n,) array
        The group's mean spectrum by its model; sets the first weights.
    start : (2 + E + d,) array
        Mean amplitudes of all columns.
    owners : (d,) int array
        Which element each of `freedom` belongs to.
    shape_atoms, freedom_atoms : (E,) array, (d,) array
        What a unit of each column adds to its element's areal density.
    """

    background: np.ndarray
    log_energy: np.ndarray
    shapes: np.ndarray
    freedom: np.ndarray
    penalty: np.ndarray
    mean: np.ndarray
    start: np.ndarray
    owners: np.ndarray
    shape_atoms: np.ndarray
    freedom_atoms: np.ndarray

    def __post_init__(self) -> None:
        columns = [self.background, self.background * self.log_energy]
        self.columns = np.concatenate([np.stack(columns, 1), self.shapes, self.freedom], axis=1)
        totals = self.columns.sum(0)
        number = self.shapes.shape[1]
        owner = np.concatenate([[-1, -1], np.arange(number), self.owners])
        # (E, m): counts of each element are this times the amplitudes.
        self.element_sums = np.where(owner[None, :] == np.arange(number)[:, None], totals[None, :], 0.0)
        # (E, m): atoms nm^-2 times incident electrons of each element.
        atoms = np.concatenate([[0.0, 0.0], self.shape_atoms, self.freedom_atoms])
        self.element_atoms = np.where(owner[None, :] == np.arange(number)[:, None], atoms[None, :], 0.0)


class BatchFitter:
    """Fits many pixels that share a `GroupModel`: every pass is two matrix products.

    Poisson maximum likelihood by weighted least squares with weights from the fitted spectrum. The power law
    is followed beyond its linear term in every pixel, as far as that pixel's counts can tell its exponent.
    """

    def __init__(self, group: GroupModel, noise: Noise, passes: int = 4):
        self.group, self.noise, self.passes = group, noise, max(passes, 2)
        columns = group.columns
        self.size = columns.shape[1]
        mean = np.maximum(group.mean, 1e-3 * max(group.mean.mean(), 1e-12))
        self.relative = mean
        weight = 1 / noise.variance(mean)
        gram = columns.T @ (weight[:, None] * columns)
        penalty = np.zeros(self.size)
        penalty[self.size - group.penalty.size :] = group.penalty
        norm = 1 / np.sqrt(np.diag(gram))
        lower = np.linalg.cholesky(
            norm[:, None] * (gram + np.diag(penalty)) * norm + 1e-12 * np.eye(self.size)
        )
        # theta = unwhiten @ z: with these columns the average pixel's normal matrix is the identity.
        self.unwhiten = norm[:, None] * np.linalg.inv(lower).T
        self.whitened = (columns @ self.unwhiten).astype(np.float32)
        self.upper = np.triu_indices(self.size)
        self.products = (self.whitened[:, self.upper[0]] * self.whitened[:, self.upper[1]]).astype(np.float32)
        self.prior = self.unwhiten.T @ (penalty[:, None] * self.unwhiten)
        # Beyond first order the background's change of exponent is a Taylor series in ln E: more columns.
        powers = [(-1.0) ** k / factorial(k) * group.log_energy**k for k in (2, 3, 4)]
        bends = np.stack([group.background * power for power in powers])
        self.expansion = np.concatenate([self.whitened.T, bends.astype(np.float32)])
        self.information = float(np.sum(group.background * group.log_energy**2)) / noise.gain

    def fit(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit up to `BATCH` pixels.

        Parameters
        ----------
        counts : (p, n) array
            Dark level removed.

        Returns
        -------
        theta : (p, m) float64
            Of `GroupModel.columns`.
        covariance : (p, m, m) float64
        chi2 : (p,) float64
            Reduced.
        """
        pixels = counts.shape[0]
        padded = np.zeros((BATCH, counts.shape[1]), np.float32)
        padded[:pixels] = counts
        # A pixel without counts is one that could have had one: its errors are those of a single count.
        level = np.maximum(padded.sum(1, dtype=np.float64), self.noise.gain) / self.relative.sum()
        expected = level[:, None].astype(np.float32) * self.relative.astype(np.float32)
        # The prior is on ratios: it scales with the pixel.
        prior = self.prior[None] / (level**2)[:, None, None]
        z = level[:, None] * np.linalg.solve(self.unwhiten, self.group.start)[None, :]
        model, linearised = self._model(z), expected
        for _ in range(self.passes):
            weight = np.reciprocal(self.noise.variance(linearised).astype(np.float32))
            gram = self._gram(weight) + prior
            pull = np.matmul(prior, z[:, :, None])[:, :, 0]
            gradient = (((padded - model) * weight) @ self.whitened).astype(np.float64) - pull
            z = z + np.linalg.solve(gram, gradient[:, :, None])[:, :, 0]
            model = self._model(z)
            linearised = np.clip(model, 0.25 * expected, 8.0 * expected)
        residual = padded - model
        chi2 = np.sum(weight * residual * residual, axis=1, dtype=np.float64)
        theta = z @ self.unwhiten.T
        covariance = self.unwhiten @ np.linalg.inv(gram) @ self.unwhiten.T
        return theta[:pixels], covariance[:pixels], chi2[:pixels] / (counts.shape[1] - self.size)

    def _gram(self, weight: np.ndarray) -> np.ndarray:
        """Normal matrices of all pixels by one matrix product."""
        flat = (weight @ self.products).astype(np.float64)
        gram = np.empty((weight.shape[0], self.size, self.size))
        gram[:, self.upper[0], self.upper[1]] = flat
        gram[:, self.upper[1], self.upper[0]] = flat
        return gram

    def _model(self, z: np.ndarray) -> np.ndarray:
        """Expected counts; the background beyond first order in the exponent's step, where that is known."""
        theta = z @ self.unwhiten[:2].T
        amplitude = theta[:, 0]
        step = np.where(amplitude > 0, -theta[:, 1] / np.where(amplitude > 0, amplitude, 1.0), 0.0)
        # How well counts tell the exponent; edges take their share, correlation about doubles its error.
        variance = 4 / np.maximum(amplitude * self.information, 1e-9)
        step = np.clip(step * SLOPE_SPREAD**2 / (SLOPE_SPREAD**2 + variance), -0.7, 0.7)
        bends = amplitude[:, None] * step[:, None] ** np.array([2, 3, 4])
        return np.concatenate([z, bends], axis=1).astype(np.float32) @ self.expansion
