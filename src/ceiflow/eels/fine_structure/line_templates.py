"""Shipped references of L3/L2 by valence: what is known of Mn, Co and Ni, and how little that fixes.

A template is no measurement. Those of Mn are compiled from literature: a published L3/L2 depends on how it
was extracted at least as much as on the compound, and a compiled range does not say how. Those of Co and Ni
are computed (`benchmarks/fine_structure/computed_templates.py`), as no published numbers that could be
checked were at hand: crystal-field multiplets of the ion, read by the recipe of `white_lines`.

Each template has two errors, one of its own (compounds, laboratories; parameters and model of a computed one)
and one that all of them share (the recipe). The shared one is the scatter of one and the same edge under the
families of extraction that are in use (`benchmarks/fine_structure/recipes.py`): two steps 2:1 scaled near to
or far above L2, wide and narrow windows, no continuum, a straight line under L2, heights of maxima. It grows
with the ratio, as the continuum is a larger part of a weak L2. A computed ratio has it too: theory gives
lines, and how they stand on a real continuum is what recipes do not agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Riedl et al. compare methods of extraction on compounds of these valences; the ranges are not theirs alone.
_COMPILED = (
    "published L3/L2 as compiled, no single source; methods: Riedl et al. 2006, Ultramicroscopy 106, 284; "
    "L3 by common readings of MnO, Mn(III) oxides and MnO2"
)
_COMPUTED = (
    "crystal-field multiplets, computed with Hartree-Fock integrals as tabulated by Crispy and EDRIXS; "
    "L3 by the thresholds of the metals (X-Ray Data Booklet) and {}"
)
_COBALT = _COMPUTED.format("2 eV between CoO and CoOOH (Yang et al. 2019, PNAS 116, 24425)")
_NICKEL = "with and without charge transfer: " + _COMPUTED.format("common readings of NiO, LiNiO2 and NiO2")
_NODES_SHARED, _NODES_OWN = 41, 7
# Valences that are tried where ratios of templates overlap.
_STEPS = 41


@dataclass(frozen=True)
class LineTemplate:
    """White lines of one valence.

    Parameters
    ----------
    element : str
    valence : float
    low, high : float
        Range of L3/L2 in the literature, or as computed: middle and one error of its own to either side.
    recipe_se : float
        Error of ln(L3/L2) that is common to all templates: the recipe.
    l3_eV, energy_se_eV : float
        Maximum of L3 and its uncertainty. No valence is read from it: calibration of the axis may rest on L3.
    source : str
    origin : str
        The source in a word or two, for notes.
    """

    element: str
    valence: float
    low: float
    high: float
    recipe_se: float
    l3_eV: float
    energy_se_eV: float
    source: str
    origin: str

    @property
    def ratio(self) -> float:
        """Middle of the range, in the logarithm."""
        return float(np.sqrt(self.low * self.high))

    @property
    def own_se(self) -> float:
        """Error of ln(L3/L2) that is its own: half the range is taken as one standard deviation."""
        return float(0.5 * np.log(self.high / self.low))


_LITERATURE, _THEORY = "out of the literature", "computed by multiplet theory"
LINE_TEMPLATES = (
    LineTemplate("Mn", 2.0, 3.8, 4.8, 0.35, 640.3, 0.7, _COMPILED, _LITERATURE),
    LineTemplate("Mn", 3.0, 2.3, 2.9, 0.26, 642.0, 0.7, _COMPILED, _LITERATURE),
    LineTemplate("Mn", 4.0, 1.9, 2.2, 0.21, 643.5, 0.7, _COMPILED, _LITERATURE),
    LineTemplate("Co", 2.0, 3.1, 4.9, 0.45, 778.5, 1.5, _COBALT, _THEORY),
    LineTemplate("Co", 3.0, 1.7, 3.7, 0.35, 780.5, 1.5, _COBALT, _THEORY),
    LineTemplate("Co", 4.0, 1.8, 2.7, 0.26, 781.5, 2.0, _COBALT, _THEORY),
    LineTemplate("Ni", 2.0, 2.1, 3.1, 0.48, 853.0, 1.5, _NICKEL, _THEORY),
    LineTemplate("Ni", 3.0, 1.9, 3.3, 0.40, 854.0, 1.5, _NICKEL, _THEORY),
    LineTemplate("Ni", 4.0, 1.7, 2.8, 0.28, 855.0, 2.0, _NICKEL, _THEORY),
)


def line_templates(element: str) -> tuple[LineTemplate, ...]:
    """Templates of one metal, by rising valence."""
    return tuple(item for item in LINE_TEMPLATES if item.element == element)


class TemplateCalibration:
    """All calibrations that the templates allow for, each with its weight.

    `falls` says whether L3/L2 falls from each valence to the next by more than the templates' own errors.
    Then a ratio has one valence in each calibration; else it may have several, and only an interval can be
    told.

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
        own_se = np.array([item.own_se for item in templates])
        logs = logs + nodes[:, 1:] * own_se
        steps = np.diff(np.log([item.ratio for item in templates]))
        self.falls = bool(np.all(steps < -np.hypot(own_se[1:], own_se[:-1])))
        # Where L3/L2 falls with valence beyond doubt (Mn), calibrations in which it does not are left out.
        self.logs = logs[(np.diff(logs, axis=1) < -0.05).all(1)] if self.falls else logs
        # Where templates overlap they stand for ions in several states: a reference in one of these tells of
        # the recipe alone.
        recipes = logs - nodes[:, 1:] * own_se
        misfit = np.zeros(len(self.logs))
        for _, valence, ratio, error in measured:
            own = 0.0 if self.falls else float(np.interp(valence, self.valences, own_se))
            expected = self._log_ratio(valence, self.logs if self.falls else recipes)
            misfit += ((np.log(ratio) - expected) / np.hypot(max(error, 0.03), own)) ** 2
        weight = np.exp(-0.5 * (misfit - misfit.min()))
        self.weight = weight / weight.sum()

    @property
    def note(self) -> str:
        """Where a valence comes from."""
        text = f"by shipped templates {self.templates[0].origin}, not by measured standards"
        names = ", ".join(f"{name} {valence:g}+" for name, valence, _, _ in self.measured)
        return f"{text} (recipe by the reference {names})" if names else text

    def _segment(self, first: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.arange(len(logs))
        slope = (logs[rows, first + 1] - logs[rows, first]) / (
            self.valences[first + 1] - self.valences[first]
        )
        return logs[rows, first], self.valences[first], slope

    def _log_ratio(self, valence: float, logs: np.ndarray) -> np.ndarray:
        at = int(np.clip(np.searchsorted(self.valences, valence) - 1, 0, self.valences.size - 2))
        level, start, slope = self._segment(np.full(len(logs), at), logs)
        return level + slope * (valence - start)

    def valence(self, ratio: float) -> np.ndarray:
        """Valence by each calibration, linear in ln(L3/L2), held on beyond the ends."""
        at = np.log(ratio)
        first = np.minimum((self.logs[:, 1:] > at).sum(1), self.valences.size - 2)
        level, start, slope = self._segment(first, self.logs)
        # No clipping: values that pile up at an end would pass for a small error.
        return start + (at - level) / slope

    @cached_property
    def _expected(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Valences, and mean and variance over the calibrations of ln(L3/L2) at each."""
        tried = np.linspace(self.valences[0], self.valences[-1], _STEPS)
        logs = np.array([self._log_ratio(item, self.logs) for item in tried])
        means = logs @ self.weight
        return tried, means, (logs - means[:, None]) ** 2 @ self.weight

    def interval(self, ratio: float, error: float, sigmas: float) -> tuple[float, float] | None:
        """Lowest and highest valence of the templates that a ratio leaves, whether or not L3/L2 falls.

        A valence is left out where it fits worse than the best one by the square of `sigmas`. A ratio that is
        more than one error away from all valences tells none of them: all are left.

        Parameters
        ----------
        ratio, error : float
            L3/L2 and its own error.
        sigmas : float
            1.96 for 95 %.

        Returns
        -------
        (float, float) or None
            None where the ratio is no valence's.
        """
        tried, means, variances = self._expected
        misfit = (np.log(ratio) - means) ** 2 / (variances + (error / ratio) ** 2)
        if misfit.min() > sigmas**2:
            return None
        left = tried[(misfit - misfit.min() < sigmas**2) | (misfit.min() > 1.0)]
        return round(float(left[0]), 2), round(float(left[-1]), 2)

    def outside(self, valence: float) -> bool:
        """Whether a valence lies more than one beyond those of the templates."""
        return not self.valences[0] - 1 <= valence <= self.valences[-1] + 1

    def quantiles(self, values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
        """Weighted quantiles of one value for each calibration."""
        order = np.argsort(values, kind="stable")
        total = np.cumsum(self.weight[order])
        return [float(np.interp(share, total - 0.5 * self.weight[order], values[order])) for share in shares]
