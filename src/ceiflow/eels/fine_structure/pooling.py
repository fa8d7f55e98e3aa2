"""One fit to all spectra of a cell: shares in common, amount, axis, blur and background each spectrum's own.

What a spectrum knows of its shares is kept as the quadratic forms of its best nodes: at shares f and amount
a, chi-square is c - 2 a b'f + a^2 f'Gf, with background, corrections, shift and blur of that spectrum inside.
Sums of these over spectra are the likelihood of a cell, and no spectrum has to be read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure.least_squares import non_negative
from ceiflow.eels.fine_structure.profile import (
    SHARES,
    VALUES,
    Shares,
    ends,
    upper_with_systematic,
    with_systematic,
)

NODES = 12
ROUNDS = 40
# Twice the logarithm of the likelihood changes by less than this a round: settled.
SETTLED = 1e-4
# Spectra whose shares differ by chance less often than this are not pooled.
DIFFER = 0.01


@dataclass(frozen=True)
class Likelihood:
    """What one spectrum knows of its shares.

    Parameters
    ----------
    names, species : tuple of str
        References in order, and the species of each.
    gram : (nodes, r, r) array
    right : (nodes, r) array
    constant : (nodes,) array
        Chi-square without any of the references, above the least of the best fit; priors are in it.
    systematic : dict of species to float
        Systematic error of each share.
    """

    names: tuple[str, ...]
    species: tuple[str, ...]
    gram: np.ndarray
    right: np.ndarray
    constant: np.ndarray
    systematic: Mapping[str, float]

    def chi2(self, shares: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Chi-square of the best node at these shares; normal matrix and right-hand side there, by amount."""
        bend = np.einsum("i,nij,j->n", shares, self.gram, shares)
        amount = np.maximum(self.right @ shares, 0.0) / np.maximum(bend, 1e-300)
        values = self.constant - amount**2 * bend
        at = int(np.argmin(values))
        return float(values[at]), amount[at] ** 2 * self.gram[at], amount[at] * self.right[at]


@dataclass(frozen=True)
class Pooled(Shares):
    """Shares of a cell by one fit, and how well its spectra agree.

    `agreement` is the probability of spectra that differ by as much, were their shares the same.
    """

    agreement: float
    spectra: int


def content_of(nodes: Sequence[Any], temper: float) -> dict[str, Any]:
    """The best nodes of an unmixing as numbers for fine_structure.json, chi-square over its scatter."""
    near = sorted(nodes, key=lambda node: node.chi2)[:NODES]
    scale = max(float(near[0].amounts.sum()), 1e-12)
    least = near[0].chi2
    upper = np.triu_indices(near[0].right.size)
    return {
        "gram": [_digits(node.gram[upper] * scale**2 / temper) for node in near],
        "right": [_digits(node.right * scale / temper) for node in near],
        "constant": _digits(np.array([(node.constant + node.offset - least) / temper for node in near])),
    }


def likelihood_of(zone: Mapping[str, Any]) -> Likelihood:
    """The likelihood that a zone of fine_structure.json holds."""
    kept = zone["likelihood"]
    right = np.array(kept["right"])
    size = right.shape[1]
    gram = np.zeros((len(right), size, size))
    first, second = np.triu_indices(size)
    gram[:, first, second] = gram[:, second, first] = np.array(kept["gram"])
    references = zone["references"]
    return Likelihood(
        tuple(item["name"] for item in references),
        tuple(item["species"] for item in references),
        gram,
        right,
        np.array(kept["constant"]),
        dict(zip(zone["species"], zone["se_sys"], strict=True)),
    )


def pool(spectra: Sequence[Likelihood]) -> Pooled:
    """Shares that all spectra have in common.

    Parameters
    ----------
    spectra : sequence of Likelihood
        On the same references.

    Returns
    -------
    Pooled
        The references are common to all spectra, so their systematic errors are averaged and do not shrink.
    """
    from scipy.stats import chi2 as chi_square

    first = spectra[0]
    if any(item.names != first.names for item in spectra):
        raise ValueError("spectra that are pooled have to be fitted with the same references")
    species = list(dict.fromkeys(first.species))
    size = len(first.names)
    shares, least = _best(spectra, np.eye(size))
    alone = sum(_best([item], np.eye(size))[1] for item in spectra)
    # Free shares: those that are not held at zero by any spectrum's own data.
    freedom = max(int((shares > 1e-6).sum()) - 1, 1) * (len(spectra) - 1)
    agreement = float(chi_square.sf(max(least - alone, 0.0), freedom)) if len(spectra) > 1 else 1.0
    rows = np.array([[float(own == name) for own in first.species] for name in species])
    fraction = rows @ shares
    found = [ends(_profile(spectra, row, shares), 1.0) for row in rows]
    low, high, upper, seen = (np.array(column) for column in zip(*found, strict=True))
    systematic = np.array([np.mean([item.systematic[name] for item in spectra]) for name in species])
    # Half of the 95 % interval over 1.96: the profile need not be a parabola.
    error = (high - low) / (2 * 1.96)
    limit = upper_with_systematic(fraction, upper, systematic)
    low, high = with_systematic(fraction, low, high, systematic)
    return Pooled(species, fraction, error, systematic, low, high, limit, seen, agreement, len(spectra))


def _best(
    spectra: Sequence[Likelihood], transform: np.ndarray, start: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Shares of the form `transform` g, g >= 0, with the least chi-square of all spectra together."""
    parts = start if start is not None else transform @ np.ones(transform.shape[1])
    parts = parts / max(parts.sum(), 1e-300)
    last = np.inf
    for _ in range(ROUNDS):
        found = [item.chi2(parts) for item in spectra]
        total = sum(item[0] for item in found)
        if last - total < SETTLED:
            break
        last = total
        gram = transform.T @ sum(item[1] for item in found) @ transform
        right = transform.T @ sum(item[2] for item in found)
        moved = transform @ non_negative(gram, right)[0]
        if not moved.sum() > 0:
            break
        parts = moved / moved.sum()
    return parts, min(last, sum(item.chi2(parts)[0] for item in spectra))


def _profile(spectra: Sequence[Likelihood], row: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Least chi-square at each of `VALUES` of the share of one species."""
    inside, outside = np.flatnonzero(row > 0), np.flatnonzero(row <= 0)
    identity = np.eye(row.size)[:, outside]
    return np.array([_held(spectra, inside, identity, value) for value in VALUES])


def _held(spectra: Sequence[Likelihood], inside: np.ndarray, identity: np.ndarray, value: float) -> float:
    if value <= 0:
        return _best(spectra, identity)[1]
    least = np.inf
    for first, second in combinations_with_replacement(inside, 2):
        for share in SHARES if first != second else (1.0,):
            transform = identity.copy()
            transform[first] += share * value / (1 - value)
            transform[second] += (1 - share) * value / (1 - value)
            least = min(least, _best(spectra, transform)[1])
    return least


def _digits(values: np.ndarray) -> list[float]:
    # Large numbers of nearly the same size are subtracted from each other.
    return [float(f"{value:.10g}") for value in values]
