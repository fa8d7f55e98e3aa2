"""What is known of a segment before its profile is looked at: where its edges lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """Gaussian knowledge of linear combinations of a segment's parameters, the same for all segments.

    Parameters
    ----------
    rows : (R, L) array
        The combinations.
    value, precision : (R,) arrays
        Their expected values, and one over the variances of these.
    """

    rows: FloatArray
    value: FloatArray
    precision: FloatArray

    @property
    def information(self) -> FloatArray:
        """(L, L) addition to the normal equations."""
        return (self.rows.T * self.precision) @ self.rows

    def _off(self, local: FloatArray) -> FloatArray:
        return self.value - local @ self.rows.T

    def cost(self, local: FloatArray) -> FloatArray:
        """(K,) addition to chi-square of parameters (K, L)."""
        return self._off(local) ** 2 @ self.precision

    def pull(self, local: FloatArray) -> FloatArray:
        """(K, L) addition to the right-hand side."""
        return (self._off(local) * self.precision) @ self.rows


def of_edges(
    inner: tuple[float, float] | None, outer: tuple[float, float] | None, size: int, free_thickness: bool
) -> Known:
    """Knowledge of the particle's edge, and of its sum with the thickness, as (mean, sd) each.

    Parameters
    ----------
    inner, outer : (mean, sd) or None
    size : int
        Number of parameters: edge, thickness, and those that nothing is known of.
    free_thickness : bool
        Without it the thickness is zero and stays there: the outer edge is the inner one.
    """
    rows = np.eye(2, size)
    rows[1, :2] = 1.0, float(free_thickness)
    given = [(row, item) for row, item in zip(rows, (inner, outer), strict=True) if item is not None]
    return Known(
        np.array([row for row, _ in given]).reshape(-1, size),
        np.array([mean for _, (mean, _) in given], dtype=float),
        np.array([sd**-2.0 for _, (_, sd) in given], dtype=float),
    )
