"""Small non-negative least-squares problems by their normal equations."""

from __future__ import annotations

import numpy as np


def non_negative(gram: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Minimise x'Gx - 2b'x over x >= 0; returns x and how far chi-square falls below that of x = 0.

    Parameters
    ----------
    gram : (m, m) array
    right : (m,) array
    """
    from scipy.optimize import nnls

    scale = 1 / np.sqrt(np.maximum(np.diag(gram), 1e-300))
    matrix = scale[:, None] * gram * scale
    matrix = matrix + 1e-10 * np.eye(len(right))
    factor = np.linalg.cholesky(matrix + 1e-9 * np.eye(len(right)))
    target = np.linalg.solve(factor, scale * right)
    solution, _ = nnls(factor.T, target)
    gain = 2 * (scale * right) @ solution - solution @ matrix @ solution
    return solution * scale, float(gain)
