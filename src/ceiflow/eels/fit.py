"""Poisson fit of one (summed) spectrum by a nearly linear model with everything free."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ceiflow.eels.design import Design

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
    zero_variance : (E,) array
        What the diagonal of `covariance` would be if the spectrum held none of the element, everything else
        being as it is. Where the fit started from another it is the diagonal itself.
    response : (E, n) array
        What one count more in a channel adds to `theta`, to first order.
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
    zero_variance: np.ndarray
    response: np.ndarray

    def first(self, number: int) -> SpectrumFit:
        """The same fit with the numbers of its first elements only; the others stay in `model`."""
        square = (slice(number), slice(number))
        return replace(
            self,
            theta=self.theta[:number],
            continuum=self.continuum[:number],
            covariance=self.covariance[square],
            near=self.near[:number],
            edges=self.edges[:, :number],
            robust=self.robust[square],
            zero_variance=self.zero_variance[:number],
            response=self.response[:number],
        )


def fit_spectrum(
    counts: np.ndarray,
    design: Design,
    noise: Noise,
    passes: int = 4,
    curvature_sigma: float = 0.0,
    free_near: bool = True,
    start: SpectrumFit | None = None,
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
    start : SpectrumFit, optional
        Fit of a like spectrum on the same channels: a few passes less. No `robust` covariance is made.
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
    if start is None:
        exponent, curvature = _start_background(counts, design)
        model = _smooth_positive(counts)
    else:
        exponent, curvature = start.exponent, design.curvature
        model = np.maximum(start.model, 0.0) * max(counts.sum() / start.model.sum(), 0.0)
    sweeps = max(passes, 3) if start is None else 2
    floor = max(1e-3 * model.mean(), 1e-9)
    heights = np.full(number, np.sqrt(max(counts.mean(), 1.0)))
    temper, amplitude = 1.0, max(counts.mean(), 1e-6)
    for sweep in range(sweeps + 6):
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
        if sweep >= sweeps and abs(step) + abs(bend) < (1e-6 if start is None else 1e-5):
            break
    k = len(base)
    atoms = np.concatenate([np.zeros((number, k)), atoms / scale[:number, None]], axis=1)
    # The posterior's covariance in two parts: what counting noise makes, and what the priors leave open.
    spread = atoms @ inverse
    covariance = spread @ gram @ spread.T
    robust, at_zero = covariance, np.diag(covariance)
    if start is None:
        owner = np.concatenate([np.full(k, -1), np.arange(number), np.repeat(np.arange(number), widths)])
        lines = owner.copy()
        lines[: k + number] = -1
        # Without the element its lines are held by what could just be seen of it.
        alone_penalty = penalty * np.where(lines >= 0, (heights / errors)[lines], 1.0) ** 2
        at_zero = np.array([
            _variance_at_zero(
                columns, solution, owner == i, np.where(lines == i, alone_penalty, penalty), atoms[i],
                np.maximum(model, floor), noise,
            )
            for i in range(number)
        ])  # fmt: skip
        misfit = misfit_covariance(columns, weight, counts - model, inverse, design.energy_eV)
        misfit = np.maximum(atoms @ misfit @ atoms.T, covariance * np.eye(number))
        robust = temper * spread @ (penalty[:, None] * spread.T) + misfit
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
        model - edges.sum(1), model, edges, chi2, robust, at_zero, spread @ (columns.T * weight),
    )  # fmt: skip


def _variance_at_zero(
    columns: np.ndarray,
    solution: np.ndarray,
    own: np.ndarray,
    penalty: np.ndarray,
    atoms: np.ndarray,
    model: np.ndarray,
    noise: Noise,
) -> float:
    """Counting noise of an element, background and neighbours free, in a spectrum without it.

    Parameters
    ----------
    columns : (n, m) array
    solution, penalty, atoms : (m,) array
        Amplitudes; weight of the prior on each; what of each adds to the element.
    own : (m,) bool array
        Columns of the element.
    model : (n,) array
    noise : Noise
    """
    left = np.maximum(model - np.maximum(columns[:, own] @ solution[own], 0.0), 0.1 * model)
    gram = columns.T @ (columns / np.maximum(noise.variance(left), 1e-12)[:, None])
    spread = _inverse(gram + np.diag(penalty)) @ atoms
    return float(spread @ gram @ spread)


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
    return norm[:, None] * scaled_inverse(norm[:, None] * matrix * norm) * norm


def scaled_inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a symmetric matrix of unit diagonal, the pseudo-inverse where it is singular or nearly so.

    By factors where that is safe: the pseudo-inverse needs several times as long.
    """
    try:
        smallest = np.linalg.cholesky(matrix).diagonal().min(initial=1.0)
    except np.linalg.LinAlgError:
        smallest = 0.0
    if not smallest > 1e-4:
        return np.linalg.pinv(matrix, hermitian=True)
    inverse = np.linalg.inv(matrix)
    return 0.5 * (inverse + inverse.T)


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
    size = 1 << (score.shape[0] + kernel.size - 2).bit_length()
    full = np.fft.irfft(np.fft.rfft(score, size, axis=0) * np.fft.rfft(kernel, size)[:, None], size, axis=0)
    spread = full[reach : reach + score.shape[0]]
    middle = score.T @ spread
    return inverse @ (0.5 * (middle + middle.T)) @ inverse
