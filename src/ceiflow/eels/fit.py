"""Poisson fits of a nearly linear model: one spectrum with everything free, or thousands by matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceiflow.eels.design import Design

# Pixels whose sums go through the processor together; fixed, so that no result depends on how a file is read.
BATCH = 256
SLOPE_SPREAD = 0.15
NEAR_EDGE_FREEDOM = 1.0


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
        Amplitudes of the edge continua, in the design's unit (atoms nm^-2 times incident electrons).
    covariance : (E, E) array
        Counting noise only, with the background's and the near-edge terms' share.
    near : list of (k,) array
        Amplitudes of each element's near-edge lines.
    exponent, curvature : float
        The background's shape.
    background, model : (n,) array
    edges : (n, E) array
        Counts of each element: continuum and lines.
    reduced_chi2 : float
    robust : (E, E) array
        Covariance that also carries correlated misfit (see `misfit_covariance`).
    """

    theta: np.ndarray
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
    free_curvature: bool = False,
    free_near: bool = True,
) -> SpectrumFit:
    """Fit one (summed) spectrum: power law, edge continua and free near-edge lines.

    Near-edge lines are held by a broad Gaussian prior about zero, as wide as the edge itself is high, so that
    where an element is absent they do not invent one.

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
    free_curvature : bool
        Give the background the term c ln^2(E).
    free_near : bool
        Without it, continua only.
    """
    counts = np.asarray(counts, np.float64)
    number = len(design.elements)
    near = [lines if free_near else lines[:, :0] for lines in design.near]
    widths = [lines.shape[1] for lines in near]
    edge_columns = np.concatenate([design.continuum, *near], axis=1) if number else np.zeros((counts.size, 0))
    scale = np.maximum(np.abs(edge_columns).max(0, initial=0), 1e-300)
    log = design.log_energy
    exponent, curvature = _start_background(counts, design)
    model = _smooth_positive(counts)
    floor = max(1e-3 * model.mean(), 1e-9)
    theta = np.zeros(number)
    heights = np.full(number, np.sqrt(max(counts.mean(), 1.0)))
    for sweep in range(max(passes, 3) + 6):
        background = np.exp(-exponent * log - curvature * log**2)
        base = [background, background * log] + ([background * log**2] if free_curvature else [])
        columns = np.concatenate([np.stack(base, 1), edge_columns / scale], axis=1)
        weight = 1 / np.maximum(noise.variance(np.maximum(model, floor)), 1e-12)
        gram = columns.T @ (weight[:, None] * columns)
        penalty = np.zeros(columns.shape[1])
        penalty[len(base) + number :] = np.repeat(1 / (NEAR_EDGE_FREEDOM * heights) ** 2, widths)
        matrix = gram + np.diag(penalty)
        norm = 1 / np.sqrt(np.diag(matrix))
        inverse = norm[:, None] * np.linalg.pinv(norm[:, None] * matrix * norm, hermitian=True) * norm
        solution = inverse @ (columns.T @ (weight * counts))
        model = columns @ solution
        theta = solution[len(base) : len(base) + number] / scale[:number]
        errors = np.sqrt(np.diag(inverse))[len(base) : len(base) + number]
        # Height of the lines' prior: three times the edge's own jump, never less than its uncertainty.
        heights = 3 * np.maximum(np.abs(solution[len(base) : len(base) + number]), errors)
        step = -solution[1] / solution[0] if solution[0] > 0 else 0.0
        exponent += float(np.clip(step, -0.7, 0.7))
        if free_curvature and solution[0] > 0:
            curvature += float(np.clip(-solution[2] / solution[0], -0.5, 0.5))
        if sweep >= max(passes, 3) and abs(step) < 1e-6:
            break
    k = len(base)
    covariance = inverse[k : k + number, k : k + number] / np.outer(scale[:number], scale[:number])
    robust = misfit_covariance(columns, weight, counts - model, inverse, design.energy_eV)
    robust = robust[k : k + number, k : k + number] / np.outer(scale[:number], scale[:number])
    lines = np.split(solution[k + number :] / scale[number:], np.cumsum(widths)[:-1]) if number else []
    parts = [
        theta[i] * design.continuum[:, i] + (near[i] @ lines[i] if widths[i] else 0.0) for i in range(number)
    ]
    edges = np.stack(parts, axis=1) if number else np.zeros((counts.size, 0))
    used = np.trace(inverse @ gram)
    chi2 = float(np.sum(weight * (counts - model) ** 2) / max(counts.size - used, 1))
    return SpectrumFit(
        theta, covariance, list(lines), float(solution[0]), exponent, curvature,
        model - edges.sum(1), model, edges, chi2, robust,
    )  # fmt: skip


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
    Econometrica 55, 703: triangular lags, here up to 20 eV).
    """
    reach = max(int(round(20.0 / (energy[1] - energy[0]))), 1)
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
    """

    background: np.ndarray
    log_energy: np.ndarray
    shapes: np.ndarray
    freedom: np.ndarray
    penalty: np.ndarray
    mean: np.ndarray
    start: np.ndarray
    owners: np.ndarray

    def __post_init__(self) -> None:
        columns = [self.background, self.background * self.log_energy]
        self.columns = np.concatenate([np.stack(columns, 1), self.shapes, self.freedom], axis=1)
        totals = self.columns.sum(0)
        number = self.shapes.shape[1]
        owner = np.concatenate([[-1, -1], np.arange(number), self.owners])
        # (E, m): counts of each element are this times the amplitudes.
        self.element_sums = np.where(owner[None, :] == np.arange(number)[:, None], totals[None, :], 0.0)


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
        self.log = group.log_energy.astype(np.float32)
        self.shape = group.background.astype(np.float32)

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
        level = np.maximum(padded.sum(1, dtype=np.float64) / self.relative.sum(), 1e-6)
        penalty_scale = 1 / level
        z = level[:, None] * np.linalg.solve(self.unwhiten, self.group.start)[None, :]
        expected = level[:, None].astype(np.float32) * self.relative.astype(np.float32)
        model = expected
        for step in range(self.passes):
            low, high = (0.25, 8.0) if step else (0.999, 1.001)
            weight = 1 / self.noise.variance(np.clip(model, low * expected, high * expected))
            gram = np.empty((BATCH, self.size, self.size))
            flat = (weight.astype(np.float32) @ self.products).astype(np.float64)
            gram[:, self.upper[0], self.upper[1]] = flat
            gram[:, self.upper[1], self.upper[0]] = flat
            prior = self.prior[None] * (penalty_scale**2)[:, None, None]
            residual = (padded - self._model(z)) * weight
            gradient = (residual.astype(np.float32) @ self.whitened).astype(np.float64) - np.einsum(
                "pij,pj->pi", prior, z
            )
            inverse = np.linalg.inv(gram + prior)
            z = z + np.einsum("pij,pj->pi", inverse, gradient)
            model = self._model(z)
        chi2 = np.sum(weight * (padded - model) ** 2, axis=1, dtype=np.float64) / (
            counts.shape[1] - self.size
        )
        theta = z @ self.unwhiten.T
        covariance = self.unwhiten @ inverse @ self.unwhiten.T
        return theta[:pixels], covariance[:pixels], chi2[:pixels]

    def _model(self, z: np.ndarray) -> np.ndarray:
        """Expected counts; the background beyond first order in the exponent's step, where that is known."""
        linear = z.astype(np.float32) @ self.whitened.T
        theta = z @ self.unwhiten[:2].T
        amplitude = theta[:, 0]
        step = np.where(amplitude > 0, -theta[:, 1] / np.where(amplitude > 0, amplitude, 1.0), 0.0)
        # How well counts can tell the exponent: its variance is about that of a slope of ln E.
        information = amplitude / self.noise.gain * np.sum(self.group.background * self.group.log_energy**2)
        variance = 4 / np.maximum(
            information, 1e-9
        )  # edges take their share: correlation roughly doubles the error
        step = np.clip(step * SLOPE_SPREAD**2 / (SLOPE_SPREAD**2 + variance), -1.0, 1.0).astype(np.float32)
        bend = np.exp(-step[:, None] * self.log[None, :]) - 1 + step[:, None] * self.log[None, :]
        return linear + amplitude.astype(np.float32)[:, None] * self.shape * bend
