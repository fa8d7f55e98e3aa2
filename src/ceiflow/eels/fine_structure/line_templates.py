"""Shipped references of L3/L2 by valence: what literature says of Mn, and how little that fixes.

A template is no measurement. A published L3/L2 depends on how it was extracted at least as much as on the
compound, and a compiled range does not say how. So each template has two errors, one of its own (compounds,
laboratories) and one that all of them share (the recipe). The shared one is the scatter of one and the same
edge under the families of extraction that are in use (`benchmarks/fine_structure/recipes.py`): two steps 2:1
scaled near to or far above L2, wide and narrow windows, no continuum, a straight line under L2, heights of
maxima. It grows with the ratio, as the continuum is a larger part of a weak L2.

Co and Ni have none: no published numbers that could be checked were at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Riedl et al. compare methods of extraction on compounds of these valences; the ranges are not theirs alone.
_COMPILED = (
    "published L3/L2 as compiled, no single source; methods: Riedl et al. 2006, Ultramicroscopy 106, 284; "
    "L3 by common readings of MnO, Mn(III) oxides and MnO2"
)
_NODES_SHARED, _NODES_OWN = 41, 7


@dataclass(frozen=True)
class LineTemplate:
    """White lines of one valence.

    Parameters
    ----------
    element : str
    valence : float
    low, high : float
        Range of L3/L2 in the literature.
    recipe_se : float
        Error of ln(L3/L2) that is common to all templates: the recipe.
    l3_eV, energy_se_eV : float
        Maximum of L3 and its uncertainty. No valence is read from it: calibration of the axis may rest on L3.
    source : str
    """

    element: str
    valence: float
    low: float
    high: float
    recipe_se: float
    l3_eV: float
    energy_se_eV: float
    source: str

    @property
    def ratio(self) -> float:
        """Middle of the range, in the logarithm."""
        return float(np.sqrt(self.low * self.high))

    @property
    def own_se(self) -> float:
        """Error of ln(L3/L2) that is its own: half the range is taken as one standard deviation."""
        return float(0.5 * np.log(self.high / self.low))


MANGANESE = (
    LineTemplate("Mn", 2.0, 3.8, 4.8, 0.35, 640.3, 0.7, _COMPILED),
    LineTemplate("Mn", 3.0, 2.3, 2.9, 0.26, 642.0, 0.7, _COMPILED),
    LineTemplate("Mn", 4.0, 1.9, 2.2, 0.21, 643.5, 0.7, _COMPILED),
)


def line_templates(element: str) -> tuple[LineTemplate, ...]:
    """Templates of one metal, by rising valence; none for Co and Ni."""
    return tuple(item for item in MANGANESE if item.element == element)


class TemplateCalibration:
    """All calibrations that the templates allow for, each with its weight.

    Parameters
    ----------
    templates : sequence of LineTemplate
        By rising valence, two at least.
    measured : sequence of (name, valence, ratio, error of ln ratio)
        References of the user's, too few to calibrate alone: they tell of the recipe that is in use.
    """

    def __init__(
        self,
        templates: Sequence[LineTemplate],
        measured: Sequence[tuple[str, float, float, float]] = (),
    ):
        from scipy.special import ndtri

        self.templates, self.measured = tuple(templates), tuple(measured)
        self.valences = np.array([item.valence for item in templates])
        # Nodes of equal weight, scaled to unit variance: a grid, not draws, so no seed is in it.
        shared, own = (ndtri((np.arange(n) + 0.5) / n) for n in (_NODES_SHARED, _NODES_OWN))
        shared, own = shared / shared.std(), own / own.std()
        grids = np.meshgrid(shared, *[own] * len(templates), indexing="ij")
        nodes = np.stack([grid.ravel() for grid in grids], 1)
        logs = np.log([item.ratio for item in templates])
        logs = logs + nodes[:, :1] * np.array([item.recipe_se for item in templates])
        logs = logs + nodes[:, 1:] * np.array([item.own_se for item in templates])
        # That L3/L2 falls with valence between these is not in doubt.
        self.logs = logs[(np.diff(logs, axis=1) < -0.05).all(1)]
        misfit = np.zeros(len(self.logs))
        for _, valence, ratio, error in measured:
            misfit += ((np.log(ratio) - self._log_ratio(valence)) / max(error, 0.03)) ** 2
        weight = np.exp(-0.5 * (misfit - misfit.min()))
        self.weight = weight / weight.sum()

    @property
    def note(self) -> str:
        """Where a valence comes from."""
        text = "by shipped templates out of the literature, not by measured standards"
        names = ", ".join(f"{name} {valence:g}+" for name, valence, _, _ in self.measured)
        return f"{text} (recipe by the reference {names})" if names else text

    def _segment(self, first: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.arange(len(self.logs))
        slope = (self.logs[rows, first + 1] - self.logs[rows, first]) / (
            self.valences[first + 1] - self.valences[first]
        )
        return self.logs[rows, first], self.valences[first], slope

    def _log_ratio(self, valence: float) -> np.ndarray:
        at = int(np.clip(np.searchsorted(self.valences, valence) - 1, 0, self.valences.size - 2))
        level, start, slope = self._segment(np.full(len(self.logs), at))
        return level + slope * (valence - start)

    def valence(self, ratio: float) -> np.ndarray:
        """Valence by each calibration, linear in ln(L3/L2), held on beyond the ends."""
        at = np.log(ratio)
        first = np.minimum((self.logs[:, 1:] > at).sum(1), self.valences.size - 2)
        level, start, slope = self._segment(first)
        # No clipping: values that pile up at an end would pass for a small error.
        return start + (at - level) / slope

    def outside(self, valence: float) -> bool:
        """Whether a valence lies more than one beyond those of the templates."""
        return not self.valences[0] - 1 <= valence <= self.valences[-1] + 1

    def quantiles(self, values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
        """Weighted quantiles of one value for each calibration."""
        order = np.argsort(values, kind="stable")
        total = np.cumsum(self.weight[order])
        return [float(np.interp(share, total - 0.5 * self.weight[order], values[order])) for share in shares]
