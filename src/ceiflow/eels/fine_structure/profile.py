"""Intervals of fractions by profile likelihood: the best fit at every fixed value of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from ceiflow.eels.fine_structure.least_squares import non_negative

if TYPE_CHECKING:
    from ceiflow.eels.fine_structure.unmixing import Node

TWO_SIDED, ONE_SIDED = 3.841, 2.706
NODES = 12
SHARES = (0.25, 0.5, 0.75)
VALUES = np.concatenate([np.linspace(0.0, 0.1, 6), np.linspace(0.14, 0.86, 19), np.linspace(0.9, 0.98, 5)])


@dataclass(frozen=True)
class Shares:
    """What an edge is made of, by one spectrum or by several.

    Parameters
    ----------
    species : list of str
    fraction, se_stat, se_sys, low, high : (s,) array
        Shares of the edge's atoms; errors; ends of the 95 % interval by profile likelihood, with the error of
        the references.
    limit : (s,) array
        Upper end of the one-sided 95 % interval, systematic error included.
    seen_sigma : (s,) array
        By how many standard deviations the fit is worse without the species (statistical).
    """

    species: list[str]
    fraction: np.ndarray
    se_stat: np.ndarray
    se_sys: np.ndarray
    low: np.ndarray
    high: np.ndarray
    limit: np.ndarray
    seen_sigma: np.ndarray


def upper_with_systematic(fraction: np.ndarray, upper: np.ndarray, se_sys: np.ndarray) -> np.ndarray:
    """Upper ends of one-sided 95 % intervals, with a systematic error added; no share is above 1."""
    return np.minimum(np.hypot(upper - fraction, 1.645 * se_sys) + fraction, 1.0)


def profile_intervals(
    nodes: Sequence[Node], group: np.ndarray, temper: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ends of the 95 % interval, upper end of the one-sided one, and how many sigma a species is seen by.

    A fraction c of one species is held by writing its amount as c / (1 - c) times that of all others, which
    leaves a smaller non-negative problem. Shift and blur are free at every value. A species is seen by the
    root of what chi-square loses with it: the error of a share at its own value says less, since much of it
    is the error of the other shares.

    Parameters
    ----------
    nodes : sequence of Node
    group : (species, references) array
    temper : float
        Chi-square per degree of freedom, where it is above one.
    """
    found = [ends(values_of(nodes, row), temper) for row in group]
    return tuple(np.array(column) for column in zip(*found, strict=True))


def values_of(nodes: Sequence[Node], row: np.ndarray) -> np.ndarray:
    """Smallest chi-square over all nodes at each of `VALUES` of the fraction of the species in `row`."""
    inside = np.flatnonzero(row > 0)
    outside = np.flatnonzero(row <= 0)
    near = sorted(nodes, key=lambda node: node.chi2)[:NODES]
    return np.array([min(_held(node, inside, outside, value) for node in near) for value in VALUES])


def _held(node: Node, inside: np.ndarray, outside: np.ndarray, value: float) -> float:
    if value <= 0:
        gram, right = node.gram[np.ix_(outside, outside)], node.right[outside]
        reduced = non_negative(gram, right)[1]
        return node.constant - reduced + node.offset
    best = np.inf
    # A species of several references: its amount is tied to the others as each mixture of two of them.
    for first, second in combinations_with_replacement(inside, 2):
        for share in SHARES if first != second else (1.0,):
            transform = np.zeros((node.right.size, outside.size))
            transform[outside, np.arange(outside.size)] = 1.0
            transform[first] += share * value / (1 - value)
            transform[second] += (1 - share) * value / (1 - value)
            gain = non_negative(transform.T @ node.gram @ transform, transform.T @ node.right)[1]
            best = min(best, node.constant - gain + node.offset)
    return best


def ends(chi2: np.ndarray, temper: float) -> tuple[float, float, float, float]:
    """Ends of the 95 % interval, upper end of the one-sided one, and sigma above zero, of one profile."""
    excess = (chi2 - chi2.min()) / temper
    at = int(np.argmin(excess))
    low = _crossing(excess[: at + 1][::-1], VALUES[: at + 1][::-1], TWO_SIDED)
    high, upper = (_crossing(excess[at:], VALUES[at:], level) for level in (TWO_SIDED, ONE_SIDED))
    return low, high, upper, float(np.sqrt(max(excess[0], 0.0)))


def with_systematic(
    fraction: np.ndarray, low: np.ndarray, high: np.ndarray, systematic: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of 95 % intervals of counts and references: what either adds to a side, in quadrature."""
    below, above = (np.hypot(end - fraction, 1.96 * systematic) for end in (low, high))
    return np.clip(fraction - below, 0.0, 1.0), np.clip(fraction + above, 0.0, 1.0)


def _crossing(excess: np.ndarray, values: np.ndarray, level: float) -> float:
    """Where the profile first rises above `level`, on square-root scale, in which it is straight."""
    above = np.flatnonzero(excess > level)
    if not above.size:
        return float(values[-1]) if values[-1] < 0.5 else 1.0
    i = int(above[0])
    if i == 0:
        return float(values[0])
    low, high = np.sqrt(max(excess[i - 1], 0.0)), np.sqrt(excess[i])
    share = (np.sqrt(level) - low) / max(high - low, 1e-9)
    return float(values[i - 1] + share * (values[i] - values[i - 1]))
