"""Poisson fits of thousands of pixels that share their columns, by matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np

from ceiflow.eels.fit import Noise, scaled_inverse

# Pixels whose sums go through the processor together; fixed, so that no result depends on how a file is read.
BATCH = 256
SLOPE_SPREAD = 0.15
# Weights of the normal matrix are taken over this share of the mid energy (about 2 eV) at a time: a fitted
# spectrum hardly changes over it.
WEIGHT_SHARE = 0.004
# A pixel is done when its last step gained less than this in chi2.
SMALL_STEP = 0.1


@dataclass
class GroupModel:
    """What pixels of one group share: the design with one edge shape an element.

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


@dataclass
class Solution:
    """Whitened amplitudes of a batch and what follows from them.

    Parameters
    ----------
    z : (p, m) array
    inverse : (m, m, p) array
        Covariance of `z`.
    total : (p,) array
        Counts.
    chi2 : (p,) array
        Reduced.
    unwhiten : (m, m) array
        Amplitudes of `GroupModel.columns` are ``z @ unwhiten.T``.
    prior : (p, m) array
        Weight of the prior on `z`: what it leaves open is in `inverse` too, and is no counting noise.
    """

    z: np.ndarray
    inverse: np.ndarray
    total: np.ndarray
    chi2: np.ndarray
    unwhiten: np.ndarray
    prior: np.ndarray

    def sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear functions of the amplitudes, (k, m) rows, and their counting noise: (p, k) both."""
        rows = rows @ self.unwhiten
        size, pixels = rows.shape[1], self.z.shape[0]
        inverse = self.inverse[:, :, :pixels].reshape(size, size * pixels)
        spread = (rows @ inverse).reshape(len(rows), size, pixels)
        variance = np.sum(spread * rows[:, :, None], axis=1) - np.sum(spread**2 * self.prior.T, axis=1)
        return self.z @ rows.T, np.sqrt(np.clip(variance, 0, None)).T


class Workspace:
    """Arrays of one batch that all groups use in turn: making new ones would cost more than using them."""

    def __init__(self, channels: int):
        self.model, self.weighted = (np.empty((BATCH, channels), np.float32) for _ in range(2))
        self.counts = np.zeros((BATCH, channels), np.float32)


class BatchFitter:
    """Fits many pixels that share a `GroupModel`: every pass is a few matrix products.

    Poisson maximum likelihood by weighted least squares with weights from the fitted spectrum. The first pass
    starts from the group's mean spectrum, so that one diagonal matrix serves all pixels; the second has the
    pixel's own weights and normal matrix; where that moved a pixel by much, further ones follow. The power
    law is followed beyond its linear term in every pixel, as far as its counts can tell its exponent.
    """

    def __init__(self, group: GroupModel, noise: Noise, passes: int = 4, workspace: Workspace | None = None):
        self.group, self.noise, self.passes = group, noise, max(passes, 2)
        self.workspace = workspace or Workspace(group.columns.shape[0])
        columns = group.columns
        self.size = columns.shape[1]
        mean = np.maximum(group.mean, 1e-3 * max(group.mean.mean(), 1e-12))
        self.total = mean.sum()
        variance = noise.variance(mean)
        self._whiten(columns, variance)
        self.start = np.linalg.solve(self.unwhiten, group.start)
        white = columns @ self.unwhiten
        self.whitened = _padded(white)
        # A last column of ones adds up a pixel's counts along with its gradient.
        self.first = _padded(np.concatenate([white / variance[:, None], np.ones((mean.size, 1))], axis=1))
        self.first_constant = (white / variance[:, None]).T @ (columns @ group.start)
        # Beyond first order the background's change of exponent is a Taylor series in ln E: more columns.
        powers = [(-1.0) ** k / factorial(k) * group.log_energy**k for k in (2, 3, 4)]
        bends = np.stack([group.background * power for power in powers])
        self.expansion = np.concatenate([white.T, bends]).astype(np.float32)
        self.floor = (0.25 * mean).astype(np.float32)
        self._coarse(white, bends, mean)
        self._at_zero(variance)
        self.information = float(np.sum(group.background * group.log_energy**2)) / noise.gain

    def _at_zero(self, variance: np.ndarray) -> None:
        """Errors of each element in a mean pixel that holds none of it, and that pixel's noise."""
        columns, group = self.group.columns, self.group
        number = group.shapes.shape[1]
        penalty = np.zeros(self.size)
        penalty[self.size - group.penalty.size :] = group.penalty
        deviations, levels = np.empty(number), np.empty(number)
        for i in range(number):
            own = group.element_atoms[i] != 0
            less = np.maximum(columns[:, own] @ group.start[own], 0.0) * self.noise.gain
            left = np.maximum(variance - less, 0.1 * variance)
            gram = columns.T @ (columns / left[:, None])
            norm = 1 / np.sqrt(np.diag(gram))
            inverse = scaled_inverse(norm[:, None] * (gram + np.diag(penalty)) * norm)
            row = group.element_atoms[i] * norm
            deviations[i] = np.sqrt(max(row @ inverse @ row, 0.0))
            levels[i] = left.sum()
        self.zero_std, self.zero_level = deviations, levels

    def zero_deviations(self, total: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Errors that elements would have in pixels without them: (p, E), in units of theta.

        Parameters
        ----------
        total : (p,) array
            Counts of each pixel.
        counts : (p, E) array
            Those of each element.
        """
        channels = self.group.columns.shape[0]
        left = np.maximum(total[:, None] - np.clip(counts, 0, None), 0.1 * np.maximum(total, 1.0)[:, None])
        noise = self.noise.gain * left + self.noise.read_noise**2 * channels
        number = counts.shape[1]
        return self.zero_std[:number] * np.sqrt(noise / self.zero_level[:number])

    def _whiten(self, columns: np.ndarray, variance: np.ndarray) -> None:
        """A basis where the mean pixel's normal matrix and the prior are both diagonal and add up to one."""
        gram = columns.T @ (columns / variance[:, None])
        penalty = np.zeros(self.size)
        penalty[self.size - self.group.penalty.size :] = self.group.penalty
        norm = 1 / np.sqrt(np.diag(gram))
        both = norm[:, None] * (gram + np.diag(penalty)) * norm + 1e-12 * np.eye(self.size)
        basis = norm[:, None] * np.linalg.inv(np.linalg.cholesky(both)).T
        shares, turn = np.linalg.eigh(basis.T @ (penalty[:, None] * basis))
        self.prior = np.clip(shares, 0.0, 1.0 - 1e-9)
        self.unwhiten = basis @ turn

    def _coarse(self, white: np.ndarray, bends: np.ndarray, mean: np.ndarray) -> None:
        """Sums and means over a few channels for the normal matrix, whose weights change slowly."""
        energy = np.exp(self.group.log_energy)
        step = (energy[-1] - energy[0]) / max(energy.size - 1, 1)
        starts = np.arange(0, mean.size, max(int(WEIGHT_SHARE / step), 1))
        widths = np.diff(np.append(starts, mean.size))
        self.upper = np.triu_indices(self.size)
        products = white[:, self.upper[0]] * white[:, self.upper[1]]
        self.products = np.add.reduceat(products, starts, axis=0).T.astype(np.float32)
        expansion = np.concatenate([white.T, bends])
        self.coarse_expansion = (np.add.reduceat(expansion, starts, axis=1) / widths).astype(np.float32)
        self.coarse_mean = (np.add.reduceat(mean, starts) / widths).astype(np.float32)

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
        padded = self.workspace.counts
        padded[:pixels] = counts
        padded[pixels:] = 0
        found = self.solve(padded)
        covariance = self.unwhiten @ np.moveaxis(found.inverse, 2, 0)[:pixels] @ self.unwhiten.T
        return found.z[:pixels] @ self.unwhiten.T, covariance, found.chi2[:pixels]

    def solve(self, counts: np.ndarray) -> Solution:
        """Fit exactly `BATCH` pixels, (BATCH, n) float32; those that are none may hold zeros."""
        # A pixel without counts is one that could have had one: its errors are those of a single count.
        sums = (counts @ self.first)[:, : self.size + 1].astype(np.float64)
        total = sums[:, -1]
        level = np.maximum(total, self.noise.gain) / self.total
        # The prior is on ratios: it scales with the pixel.
        prior = self.prior / (level**2)[:, None]
        gradient = sums[:, :-1] / level[:, None]
        gradient -= self.first_constant + self.prior * self.start / level[:, None]
        z = level[:, None] * self.start + gradient / ((1 - self.prior) / level[:, None] + prior)
        inverse = _inverses(self._normal(z, level, prior))
        z, chi2, gain = self._step(counts, z, level, prior, inverse)
        for _ in range(self.passes - 2):
            active = np.flatnonzero(gain > SMALL_STEP)
            if not active.size:
                break
            part = (counts[active], z[active], level[active], prior[active], inverse[:, :, active])
            z[active], chi2[active], gain[active] = self._step(*part)
        return Solution(z, inverse, total, chi2 / (counts.shape[1] - self.size), self.unwhiten, prior)

    def _step(
        self, counts: np.ndarray, z: np.ndarray, level: np.ndarray, prior: np.ndarray, inverse: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step with each pixel's own weights: amplitudes, chi2 after it, and how much it gained."""
        pixels = counts.shape[0]
        model, weighted = self.workspace.model[:pixels], self.workspace.weighted[:pixels]
        np.matmul(self._amplitudes(z), self.expansion, out=model)
        np.multiply(level.astype(np.float32)[:, None], self.floor, out=weighted)
        np.maximum(model, weighted, out=weighted)
        if self.noise.gain != 1.0 or self.noise.read_noise:
            weighted *= np.float32(self.noise.gain)
            weighted += np.float32(self.noise.read_noise**2)
        np.subtract(counts, model, out=model)
        np.divide(model, weighted, out=weighted)
        chi2 = np.einsum("pn,pn->p", model, weighted).astype(np.float64)
        gradient = (weighted @ self.whitened)[:, : self.size].astype(np.float64) - prior * z
        step = np.einsum("ijp,pj->pi", inverse, gradient)
        gain = np.sum(gradient * step, axis=1)
        moved = z + step
        chi2 += np.sum(prior * (z**2 - moved**2), axis=1) - gain
        return moved, np.maximum(chi2, 0.0), gain

    def _normal(self, z: np.ndarray, level: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Normal matrices of all pixels by one matrix product: (m, m, p)."""
        weight = self._amplitudes(z) @ self.coarse_expansion
        expected = level.astype(np.float32)[:, None] * self.coarse_mean
        np.maximum(weight, np.float32(0.25) * expected, out=weight)
        weight *= np.float32(self.noise.gain)
        weight += np.float32(self.noise.read_noise**2)
        np.reciprocal(weight, out=weight)
        flat = self.products @ weight.T
        # Columns are whitened, so that single precision is plenty for a covariance.
        normal = np.empty((self.size, self.size, z.shape[0]), np.float32)
        normal[self.upper] = flat
        normal[self.upper[1], self.upper[0]] = flat
        normal[np.arange(self.size), np.arange(self.size)] += prior.T.astype(np.float32)
        return normal

    def _amplitudes(self, z: np.ndarray) -> np.ndarray:
        """Of `expansion`: the background beyond first order in its exponent's step, where that is known."""
        theta = z @ self.unwhiten[:2].T
        amplitude = theta[:, 0]
        step = np.where(amplitude > 0, -theta[:, 1] / np.where(amplitude > 0, amplitude, 1.0), 0.0)
        # How well counts tell the exponent; edges take their share, correlation about doubles its error.
        variance = 4 / np.maximum(amplitude * self.information, 1e-9)
        step = np.clip(step * SLOPE_SPREAD**2 / (SLOPE_SPREAD**2 + variance), -0.7, 0.7)
        bends = amplitude[:, None] * step[:, None] ** np.array([2, 3, 4])
        return np.concatenate([z, bends], axis=1).astype(np.float32)


def _padded(columns: np.ndarray) -> np.ndarray:
    """Single precision, with empty columns up to a multiple of 16: products are faster by a third."""
    return np.pad(columns, [(0, 0), (0, -columns.shape[1] % 16)]).astype(np.float32)


def _inverses(matrices: np.ndarray) -> np.ndarray:
    """Inverses of symmetric positive matrices (m, m, p), in place, all pixels at once (Gauss and Jordan)."""
    update = np.empty_like(matrices)
    for k in range(matrices.shape[0]):
        scale = 1 / matrices[k, k]
        row = matrices[k] * scale
        column = matrices[:, k].copy()
        column[k] = 0
        np.multiply(column[:, None], row[None], out=update)
        matrices -= update
        matrices[:, k] = -column * scale
        matrices[k] = row
        matrices[k, k] = scale
    return matrices
