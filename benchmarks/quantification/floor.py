"""What cannot be undercut: weighted least squares as matrix products, nothing learnt, nothing checked."""

from __future__ import annotations

import numpy as np

BATCH = 1024


def columns_of(convolved: np.ndarray, energy_eV: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(n, 2 + E) array: a power law with the exponent of the mean spectrum, its derivative, and the edges."""
    log = np.log(energy_eV / energy_eV[0])
    start = slice(0, max(energy_eV.size // 10, 2))
    exponent = -np.polyfit(log[start], np.log(np.maximum(mean[start], 1e-6)), 1)[0]
    for _ in range(6):
        background = np.exp(-exponent * log)
        columns = np.stack([background, background * log, *convolved], axis=1)
        scale = np.abs(columns).max(0)
        weight = np.sqrt(1 / np.maximum(mean, 1e-3 * mean.mean()))
        theta = np.linalg.lstsq(columns / scale * weight[:, None], mean * weight, rcond=None)[0] / scale
        exponent -= theta[1] / theta[0]
    return columns


class OnePass:
    """A pass with the weights of the mean spectrum and, with `own_weights`, one more with each pixel's."""

    def __init__(self, columns: np.ndarray, mean: np.ndarray, own_weights: bool):
        self.columns, self.own_weights = columns, own_weights
        level = np.maximum(mean, 1e-3 * mean.mean())
        gram = columns.T @ (columns / level[:, None])
        norm = 1 / np.sqrt(np.diag(gram))
        lower = np.linalg.cholesky(norm[:, None] * gram * norm)
        self.unwhiten = norm[:, None] * np.linalg.inv(lower).T
        white = columns @ self.unwhiten
        self.solve = (white / level[:, None]).astype(np.float32)
        self.white = white.astype(np.float32)
        self.upper = np.triu_indices(columns.shape[1])
        self.products = (white[:, self.upper[0]] * white[:, self.upper[1]]).astype(np.float32)
        self.floor = (0.1 * level / level.sum()).astype(np.float32)

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """(p, m) amplitudes of the columns for (p, n) float32 counts."""
        z = counts @ self.solve
        if self.own_weights:
            model = z @ self.white.T
            total = counts.sum(1, keepdims=True)
            weight = 1 / np.maximum(model, np.maximum(total, 1.0) * self.floor)
            size = self.white.shape[1]
            gram = np.empty((counts.shape[0], size, size), np.float32)
            flat = weight @ self.products
            gram[:, self.upper[0], self.upper[1]] = flat
            gram[:, self.upper[1], self.upper[0]] = flat
            z = np.linalg.solve(gram, ((weight * counts) @ self.white)[..., None])[..., 0]
        return z.astype(np.float64) @ self.unwhiten.T
