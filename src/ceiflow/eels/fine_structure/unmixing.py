"""Unmixing one edge into species: Poisson likelihood, non-negative, with energy shift and blur as nuisances.

The model of a channel is background + sum of references x amounts + a few broad corrections of the sigma*
region, everything spread by the low loss. Background and corrections enter linearly and are eliminated; the
non-negative amounts are found at every node of a grid of shift and broadening, each node weighs by its
likelihood and its prior, and what is reported is the mixture of all nodes: the uncertainty of the energy axis
is in every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ceiflow.eels.fine_structure.columns import ReferenceColumns
from ceiflow.eels.fine_structure.least_squares import non_negative
from ceiflow.eels.fine_structure.profile import Shares, upper_with_systematic, with_systematic
from ceiflow.eels.fine_structure.references import ONSET_EV, Reference

BELOW_EV, ABOVE_EV = 34.0, 50.0
# Li K: only what lies above the second plasmon holds to a power law.
BELOW_LITHIUM_EV = 9.0
# Without a low loss only what stands before the first plasmon can be modelled.
ABOVE_WITHOUT_EV = 20.0
# Neighbouring residuals that agree over so many eV are misfit, not noise.
MISFIT_EV = 2.0
# What the broad corrections may do: standard deviation of their height in units of the edge's jump.
CORRECTION = 0.15
CORRECTIONS_EV = ((10.5, 2.5), (16.5, 3.5), (23.5, 5.0))
# Blur that neither the templates nor the low loss hold: lifetime, point spread, drift (one sigma, in eV).
BLUR_PRIOR_EV = 0.3
BLURS_WITH_LOW_LOSS = (0.0, 0.2, 0.4, 0.6)
BLURS_WITHOUT = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


@dataclass(frozen=True)
class Spectrum:
    """A summed spectrum around an edge, on a calibrated axis.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        Dark level removed.
    kernel : ((k,) array, int) or None
        Low loss of unit area on the same channels with the index of its zero; None without a low loss.
    gain, read_noise : float
        Variance of a channel: gain x counts + read_noise^2.
    shift_se_eV : float
        How well the axis is known at the edge, before the edge itself is looked at.
    plural : (n,) array, optional
        Counts that were taken off already, and whose noise stayed.
    """

    energy_eV: np.ndarray
    counts: np.ndarray
    kernel: tuple[np.ndarray, int] | None
    gain: float = 1.0
    read_noise: float = 0.0
    shift_se_eV: float = 0.3
    plural: np.ndarray | None = None

    def cut(self, low_eV: float, high_eV: float) -> Spectrum:
        """The channels between two energies."""
        keep = (self.energy_eV >= low_eV) & (self.energy_eV <= high_eV)
        plural = None if self.plural is None else self.plural[keep]
        return replace(self, energy_eV=self.energy_eV[keep], counts=self.counts[keep], plural=plural)

    def variance(self, model: np.ndarray) -> np.ndarray:
        """Variance of each channel where the spectrum is `model`."""
        counted = np.maximum(model, 1e-3 * np.mean(np.abs(model)))
        if self.plural is not None:
            counted = counted + self.plural
        return np.maximum(self.gain * counted + self.read_noise**2, 1e-9)


@dataclass
class Node:
    """The solution at one shift and broadening.

    `offset` is what the priors add to chi-square; `stretch_eV` is the length of shift that it stands for.
    """

    shift_eV: float
    blur_eV: float
    gram: np.ndarray
    right: np.ndarray
    constant: float
    offset: float
    amounts: np.ndarray
    chi2: float
    stretch_eV: float = 1.0


@dataclass(frozen=True)
class Unmixing(Shares):
    """What one spectrum's edge is made of.

    Parameters
    ----------
    correlation : (s, s) array
        Of the statistical errors of the fractions.
    sys_covariance : (s, s) array
        Of their systematic errors.
    shift_eV, shift_se_eV, blur_eV : float
        By how much the axis stands too high at this edge, after the fit.
    total, total_se : float
        Counts of the whole edge within 50 eV of its onset, single scattering.
    energy_eV, counts, background, model : (n,) array
    parts : dict of species to (n,) array
    residual_sigma : (n,) array
    reduced_chi2 : float
    missing : list of dict
        Structure that no reference holds: energy_eV, sigma, share.
    templates : dict of str to float
        Share of each reference.
    likelihood : dict
        The nodes that count, for a fit together with other spectra (`pooling`).
    axis_se_eV : float
        How well the axis was known before the fit.
    """

    correlation: np.ndarray
    sys_covariance: np.ndarray
    shift_eV: float
    shift_se_eV: float
    blur_eV: float
    total: float
    total_se: float
    energy_eV: np.ndarray
    counts: np.ndarray
    background: np.ndarray
    model: np.ndarray
    parts: dict[str, np.ndarray]
    residual_sigma: np.ndarray
    reduced_chi2: float
    missing: list[dict] = field(default_factory=list)
    templates: dict[str, float] = field(default_factory=dict)
    likelihood: dict = field(default_factory=dict)
    axis_se_eV: float = 0.0


class Problem:
    """One spectrum, ready to be solved for any set of references.

    Parameters
    ----------
    spectrum : Spectrum
    onset_eV : float
        Of the edge; the window is laid around it.
    """

    def __init__(self, spectrum: Spectrum, onset_eV: float):
        above = ABOVE_EV if spectrum.kernel is not None else ABOVE_WITHOUT_EV
        below = BELOW_LITHIUM_EV if onset_eV == ONSET_EV["Li_K"] else BELOW_EV
        self.spectrum = spectrum.cut(onset_eV - below, onset_eV + above)
        self.onset = onset_eV
        energy, counts = self.spectrum.energy_eV, self.spectrum.counts
        self.step = float(energy[1] - energy[0])
        self.kernel = spectrum.kernel if spectrum.kernel is not None else (np.ones(1), 0)
        self.blurs = BLURS_WITHOUT if spectrum.kernel is None else BLURS_WITH_LOW_LOSS
        self.log = np.log(energy / onset_eV)
        width = 9
        padded = np.pad(counts, width // 2, mode="edge")
        self.model = np.convolve(padded, np.ones(width) / width, mode="valid")
        before = energy < onset_eV - 3
        slope = np.polyfit(self.log[before], np.log(np.maximum(self.model[before], 1e-9)), 1)[0]
        self.exponent = float(np.clip(-slope, 0.0, 7.0))
        self.jump = max(float(self.model[energy > onset_eV + 8].mean()) * 0.2, 1e-9)

    def free(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns without a sign (background and corrections), and their penalties."""
        energy = self.spectrum.energy_eV
        shape = np.exp(-self.exponent * self.log)
        columns = [shape, shape * self.log]
        columns += [np.exp(-0.5 * ((energy - self.onset - at) / width) ** 2) for at, width in CORRECTIONS_EV]
        penalty = np.array([0.0, 0.0] + [1 / (CORRECTION * self.jump) ** 2] * len(CORRECTIONS_EV))
        return np.stack(columns, 1), penalty

    def prepare(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Weights, free columns, the inverse of their normal matrix, and their right-hand side."""
        weight = 1 / self.spectrum.variance(self.model)
        columns, penalty = self.free()
        inverse = np.linalg.inv(columns.T @ (weight[:, None] * columns) + np.diag(penalty))
        return weight, columns, inverse, columns.T @ (weight * self.spectrum.counts)

    def node(self, references: ReferenceColumns, shift: float, blur: float, ready: tuple) -> Node:
        """Amounts at one shift and blur."""
        weight, free, inverse, free_right = ready
        columns = references.columns(shift, blur)
        cross = columns.T @ (weight[:, None] * free)
        gram = columns.T @ (weight[:, None] * columns) - cross @ inverse @ cross.T
        right = columns.T @ (weight * self.spectrum.counts) - cross @ inverse @ free_right
        constant = float(weight @ self.spectrum.counts**2 - free_right @ inverse @ free_right)
        prior = (shift / self.spectrum.shift_se_eV) ** 2
        if self.spectrum.kernel is not None:
            prior += (blur / BLUR_PRIOR_EV) ** 2
        amounts, gain = non_negative(gram, right)
        return Node(shift, blur, gram, right, constant, prior, amounts, constant - gain + prior)

    def fitted(self, references: ReferenceColumns, node: Node, ready: tuple) -> tuple[np.ndarray, np.ndarray]:
        """Model and background (corrections belong to the edge) of a node."""
        weight, free, inverse, free_right = ready
        columns = references.columns(node.shift_eV, node.blur_eV)
        edge = columns @ node.amounts
        heights = inverse @ (free_right - free.T @ (weight * edge))
        background = free[:, :2] @ heights[:2]
        step = -heights[1] / heights[0] if heights[0] > 0 else 0.0
        self.exponent += float(np.clip(step, -0.5, 0.5))
        return edge + free @ heights, background

    def solve(self, references: Sequence[Reference], passes: int = 3) -> tuple[list[Node], ReferenceColumns]:
        """All nodes of the grid that count, with weights that have settled."""
        columns = ReferenceColumns(self.spectrum.energy_eV, self.kernel, references)
        spread = max(self.spectrum.shift_se_eV, 0.02)
        coarse = np.linspace(-3, 3, 13) * spread
        best = None
        for _ in range(passes):
            ready = self.prepare()
            shifts = (
                coarse if best is None else best.shift_eV + np.array([-0.2, -0.1, 0.0, 0.1, 0.2]) * spread
            )
            nodes = [self.node(columns, s, b, ready) for s in shifts for b in self.blurs]
            best = min(nodes, key=lambda item: item.chi2)
            self.model, _ = self.fitted(columns, best, ready)
            jump = best.amounts.sum() / ABOVE_EV * self.step
            self.jump = max(
                jump, 3 * np.sqrt(self.spectrum.variance(self.model).mean() / ABOVE_EV * self.step)
            )
        ready = self.prepare()
        return self._posterior(columns, best, coarse, ready), columns

    def _posterior(
        self, columns: ReferenceColumns, best: Node, coarse: np.ndarray, ready: tuple
    ) -> list[Node]:
        """Nodes on a grid fine enough for the likelihood's own width, and the coarse one for other maxima."""
        spread = max(self.spectrum.shift_se_eV, 0.02)
        left, middle, right = (
            self.node(columns, best.shift_eV + d, best.blur_eV, ready).chi2 for d in (-0.05, 0.0, 0.05)
        )
        bend = (left + right - 2 * middle) / 0.05**2
        width = np.clip(np.sqrt(2 / bend), 0.01, spread) if bend > 0 else spread
        shifts = best.shift_eV + np.linspace(-3.5, 3.5, 15) * width
        shifts = np.unique(np.concatenate([shifts, coarse[np.abs(coarse - best.shift_eV) > 3.7 * width]]))
        # Every node stands for its own stretch of the shift.
        stretch = np.gradient(shifts)
        nodes = []
        for shift, length in zip(shifts, stretch, strict=True):
            for blur in self.blurs:
                node = self.node(columns, shift, blur, ready)
                node.stretch_eV = float(length)
                nodes.append(node)
        lowest = min(node.chi2 for node in nodes)
        return [node for node in nodes if node.chi2 < lowest + 16]


def weights_of(nodes: Sequence[Node], temper: float) -> np.ndarray:
    """Posterior weight of each node: likelihood and prior, times the stretch of shift it stands for."""
    lowest = min(node.chi2 for node in nodes)
    raw = np.array([np.exp(-0.5 * (node.chi2 - lowest) / temper) * node.stretch_eV for node in nodes])
    return raw / raw.sum()


def correlated_misfit(residual: np.ndarray, step_eV: float) -> float:
    """How much more means over 2 eV of residuals scatter than those of independent ones would."""
    width = max(round(MISFIT_EV / step_eV), 1)
    blocks = residual[: residual.size // width * width].reshape(-1, width)
    return float(np.mean(blocks.mean(1) ** 2) * width)


def grouping(references: Sequence[Reference]) -> tuple[list[str], np.ndarray]:
    """Species in order, and the (species, references) matrix that adds references of one species up."""
    species = list(dict.fromkeys(item.species for item in references))
    matrix = np.array([[float(item.species == name) for item in references] for name in species])
    return species, matrix


def mixture(
    nodes: Sequence[Node], weight: np.ndarray, group: np.ndarray, temper: float
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Mean fractions, their covariance, total counts and their error over all nodes."""
    fractions, covariances, totals, total_variances = [], [], [], []
    for node in nodes:
        total = max(node.amounts.sum(), 1e-12)
        share = group @ node.amounts / total
        spread = temper * np.linalg.pinv(node.gram, hermitian=True)
        gradient = (group - share[:, None]) / total
        fractions.append(share)
        covariances.append(gradient @ spread @ gradient.T)
        totals.append(total)
        total_variances.append(float(spread.sum()))
    fractions, totals = np.array(fractions), np.array(totals)
    mean = weight @ fractions
    apart = fractions - mean
    covariance = np.tensordot(weight, np.array(covariances), 1) + (weight[:, None] * apart).T @ apart
    total = float(weight @ totals)
    variance = weight @ np.array(total_variances) + weight @ (totals - total) ** 2
    return mean, covariance, total, float(np.sqrt(variance))


def unmix(spectrum: Spectrum, references: Sequence[Reference], seed: int, edge: str = "C_K") -> Unmixing:
    """Shares of the species at one edge, with everything that is uncertain about them.

    Parameters
    ----------
    spectrum : Spectrum
        Reaching 15 eV below and 25 eV above the edge at least.
    references : sequence of Reference
    seed : int
        Of the draws of templates for the systematic error.
    edge : str

    Returns
    -------
    Unmixing
    """
    from ceiflow.eels.fine_structure.checks import misfit, missing_structure
    from ceiflow.eels.fine_structure.pooling import content_of
    from ceiflow.eels.fine_structure.profile import profile_intervals

    references = list(references)
    problem = Problem(spectrum, ONSET_EV[edge])
    nodes, columns = problem.solve(references)
    species, group = grouping(references)
    best = min(nodes, key=lambda item: item.chi2)
    ready = problem.prepare()
    model, background = problem.fitted(columns, best, ready)
    own = problem.spectrum
    sigma = np.sqrt(own.variance(model))
    residual = (own.counts - model) / sigma
    used = len(references) + 4
    reduced = float(residual @ residual / max(residual.size - used, 1))
    temper = max(reduced, correlated_misfit(residual, problem.step), 1.0)
    weight = weights_of(nodes, temper)
    fraction, covariance, total, total_se = mixture(nodes, weight, group, temper)
    shifts = np.array([node.shift_eV for node in nodes])
    shift = float(weight @ shifts)
    se = np.sqrt(np.maximum(np.diag(covariance), 0))
    sys_covariance, moved = misfit(problem, references, group, best, fraction, seed)
    drawn = np.sqrt(np.diag(sys_covariance))
    # The references' own energies are the scale that the shift is told by.
    shift_se = float(np.sqrt(weight @ (shifts - shift) ** 2 + moved**2))
    low, high, upper, seen = profile_intervals(nodes, group, temper)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = covariance / np.outer(se, se)
    parts_columns = columns.columns(best.shift_eV, best.blur_eV) * best.amounts
    parts = {name: parts_columns @ group[i] for i, name in enumerate(species)}
    return Unmixing(
        species,
        fraction,
        se,
        drawn,
        *with_systematic(fraction, low, high, drawn),
        upper_with_systematic(fraction, upper, drawn),
        seen,
        correlation,
        sys_covariance,
        shift,
        shift_se,
        best.blur_eV,
        total,
        total_se,
        own.energy_eV,
        own.counts,
        background,
        model,
        parts,
        residual,
        reduced,
        missing_structure(problem, columns, best, total),
        {
            item.name: float(best.amounts[i] / max(best.amounts.sum(), 1e-12))
            for i, item in enumerate(references)
        },
        content_of(nodes, temper),
        spectrum.shift_se_eV,
    )
