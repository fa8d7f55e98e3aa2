"""Differences within strata (a state of charge) and within pairs (a batch): contrast, permutation, effect.

Strata are pairs of index lists: cells of the test arm and of the reference arm that share a factor's level.
One stratum with everything in it is Welch's test of `contrasts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy import special, stats

from ceiflow.statistics.contrasts import MAX_ENUMERATED, Contrast, p_of_t, variance_of

Stratum = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Plan:
    """How two arms are compared.

    `strata` hold the cells that count; `paired` says that each stratum is one pair; `label` names the design
    in tables and `notes` what a reader has to know of it.
    """

    strata: tuple[Stratum, ...]
    paired: bool
    label: str
    notes: tuple[str, ...] = ()

    def used(self, side: int) -> list[int]:
        """Indices of the cells of one arm (0 test, 1 reference) that count."""
        return sorted(i for stratum in self.strata for i in stratum[side])


def plan(
    test: Sequence[tuple], reference: Sequence[tuple], factors: Sequence[str], pairs: Sequence[str]
) -> Plan:
    """Strata of two arms.

    Parameters
    ----------
    test, reference : sequences of (pair label, factor levels)
        Of each cell, both as tuples of text; an empty text is a level of a factor, and no pair.
    factors, pairs : sequences of str
        Names of the columns.

    Notes
    -----
    Factors that the arms do not share in any level cannot be taken out: the cells are then compared as they
    are, with a note that says so. The same where too few cells are left for a variance within strata: none,
    or one degree of freedom of an arm (three cells, two states), as long as both arms hold each level as
    often. Such arms differ by no factor, which then only widens the interval, by less than 12.7 errors would.
    """
    everything = ((list(range(len(test))), list(range(len(reference)))),)
    if pairs:
        strata = _strata([item[0] for item in test], [item[0] for item in reference])
        strata = {key: value for key, value in strata.items() if all(key)}
        lost = len(test) + len(reference) - sum(len(a) + len(b) for a, b in strata.values())
        notes = [f"{len(strata)} pairs by {' and '.join(pairs)}"]
        notes += [f"without a partner, and not counted: {lost}"] if lost else []
        return Plan(tuple(strata.values()), True, f"paired by {', '.join(pairs)}", tuple(notes))
    levels = [item[1] for item in test], [item[1] for item in reference]
    if not factors or len({*levels[0], *levels[1]}) < 2:
        return Plan(everything, False, "cells")
    strata = _strata(*levels)
    name = " and ".join(factors)
    if not strata:
        arms = " v ".join(_levels(own) for own in levels)
        note = f"the arms differ in {name} ({arms}): the difference may be that of {name}"
        return Plan(everything, False, "cells", (note,))
    free = [sum(len(pair[side]) - 1 for pair in strata.values()) for side in (0, 1)]
    alike = sorted(levels[0]) == sorted(levels[1])
    if min(free) < (2 if alike else 1):
        note = f"cells of an arm differ in {name}, and are too few to take that out"
        return Plan(everything, False, "cells", (note,))
    lost = len(test) + len(reference) - sum(len(a) + len(b) for a, b in strata.values())
    notes = [f"compared within each {name} ({_levels(strata)})"]
    notes += [f"cells of a {name} that the other arm lacks, and not counted: {lost}"] if lost else []
    return Plan(tuple(strata.values()), False, f"within {', '.join(factors)}", tuple(notes))


def _strata(test: Sequence[tuple], reference: Sequence[tuple]) -> dict[tuple, Stratum]:
    """Indices by level, for the levels that both arms have."""
    shared = sorted(set(test) & set(reference))
    return {
        level: (
            [i for i, own in enumerate(test) if own == level],
            [i for i, own in enumerate(reference) if own == level],
        )
        for level in shared
    }


def _levels(levels: Sequence[tuple]) -> str:
    return ", ".join(sorted({" ".join(level).strip() or "none" for level in levels}))


def stratified(
    test: Sequence[float], reference: Sequence[float], strata: Sequence[Stratum], direction: str, alpha: float
) -> Contrast:
    """Difference of means within strata, arms of unequal variance.

    Strata are weighed by n_t n_r / (n_t + n_r), which is the least-squares estimate of an additive factor.
    Each arm has a variance of its own, pooled within strata; the degrees of freedom are Satterthwaite's. One
    stratum is Welch's test.

    References
    ----------
    Satterthwaite (1946), Biometrics Bulletin 2, 110.
    """
    arms = np.asarray(test, float), np.asarray(reference, float)
    sizes = np.array([[len(stratum[side]) for stratum in strata] for side in (0, 1)], float)
    weight = sizes[0] * sizes[1] / sizes.sum(axis=0)
    weight /= weight.sum()
    means = [[arms[side][stratum[side]].mean() for stratum in strata] for side in (0, 1)]
    estimate = float(weight @ (np.array(means[0]) - np.array(means[1])))
    free = sizes.sum(axis=1) - len(strata)
    if min(free) < 1:
        raise ValueError("no cells are left for a variance within strata")
    scatter = np.array(
        [
            sum(variance_of(arms[side][s[side]]) * (len(s[side]) - 1) for s in strata if len(s[side]) > 1)
            for side in (0, 1)
        ]
    )
    parts = scatter / free * (weight**2 / sizes).sum(axis=1)
    if parts.sum() <= 0:
        return Contrast(estimate, estimate, estimate, None, math.nan)
    scaled = parts / parts.max()
    df = float(scaled.sum() ** 2 / (scaled**2 / free).sum())
    return _contrast(estimate, math.sqrt(parts.sum()), df, direction, alpha)


def pair_differences(
    test: Sequence[float], reference: Sequence[float], strata: Sequence[Stratum]
) -> np.ndarray:
    """One difference a pair; several cells of one arm in a pair are averaged."""
    a, b = np.asarray(test, float), np.asarray(reference, float)
    return np.array([a[own].mean() - b[other].mean() for own, other in strata])


def paired(differences: Sequence[float], direction: str, alpha: float) -> Contrast:
    """Student's t on the differences of pairs."""
    d = np.asarray(differences, float)
    if d.size < 2:
        raise ValueError("a paired test needs at least two pairs")
    error = math.sqrt(variance_of(d) / d.size)
    mean = float(d.mean())
    if error == 0:
        return Contrast(mean, mean, mean, None, math.nan)
    return _contrast(mean, error, d.size - 1, direction, alpha)


def _contrast(estimate: float, error: float, df: float, direction: str, alpha: float) -> Contrast:
    reach = float(stats.t.ppf(1 - alpha / 2, df)) * error
    p = p_of_t(estimate / error, df, direction)
    return Contrast(estimate, estimate - reach, estimate + reach, p, df)


def arrangements(strata: Sequence[Stratum], is_paired: bool) -> int:
    """Ways to exchange whole cells between the arms: within strata, or between the partners of pairs."""
    if is_paired:
        return 2 ** len(strata)
    return math.prod(math.comb(len(a) + len(b), len(a)) for a, b in strata)


def smallest(strata: Sequence[Stratum], is_paired: bool, direction: str) -> float:
    """The smallest p-value that an exact permutation of this design can reach at all."""
    return min(1.0, (2 if direction == "two_sided" else 1) / arrangements(strata, is_paired))


def exchange_p(
    test: Sequence[float],
    reference: Sequence[float],
    strata: Sequence[Stratum],
    is_paired: bool,
    direction: str,
    resamples: int,
    seed: int | None,
) -> float:
    """Exact permutation p-value within strata or pairs; seeded random exchanges beyond 200 000 of them.

    With the weights of `stratified` the sum over the test arm orders exchanges as the contrast does.
    """
    rng = np.random.default_rng(seed)
    exact = arrangements(strata, is_paired) <= MAX_ENUMERATED
    if is_paired:
        d = pair_differences(test, reference, strata)
        signs = (
            np.array(list(product((1.0, -1.0), repeat=d.size)))
            if exact
            else rng.choice((1.0, -1.0), (resamples, d.size))
        )
        sums, observed, size = signs @ d, float(d.sum()), float(np.abs(d).sum())
    else:
        a, b = np.asarray(test, float), np.asarray(reference, float)
        pools = [np.concatenate([a[own], b[other]]) for own, other in strata]
        counts = [len(own) for own, _ in strata]
        sums = np.zeros(1 if exact else resamples)
        for pool, count in zip(pools, counts, strict=True):
            if exact:
                ways = math.comb(pool.size, count)
                flat = (i for chosen in combinations(range(pool.size), count) for i in chosen)
                own = pool[np.fromiter(flat, int, ways * count).reshape(ways, count)].sum(axis=1)
                sums = (sums[:, None] + own[None, :]).ravel()
            else:
                order = np.argsort(rng.random((resamples, pool.size)), axis=1)[:, :count]
                sums = sums + pool[order].sum(axis=1)
        observed = float(sum(a[own].sum() for own, _ in strata))
        size = float(sum(np.abs(pool).sum() for pool in pools))
    return one_of_many(sums, observed, size, direction, 0 if exact else 1)


def one_of_many(sums: np.ndarray, observed: float, size: float, direction: str, extra: int) -> float:
    """P-value of an observed sum among those of all exchanges; ties count as reached."""
    slack = 1e-9 * max(1e-300, size)
    above = (np.count_nonzero(sums >= observed - slack) + extra) / (sums.size + extra)
    below = (np.count_nonzero(sums <= observed + slack) + extra) / (sums.size + extra)
    p = {"greater": above, "less": below, "two_sided": min(1.0, 2 * min(above, below))}
    return float(p[direction])


def effect_size(
    estimate: float,
    test: Sequence[float],
    reference: Sequence[float],
    strata: Sequence[Stratum],
    paired: bool,
) -> float | None:
    """Hedges' g: the difference over the standard deviation of cells within arms and strata, unbiased.

    Pairs are standardised by the same standard deviation within arms, so that g does not depend on how well
    the partners agree. None without scatter.

    References
    ----------
    Hedges (1981), Journal of Educational Statistics 6, 107.
    """
    if paired:
        strata = [(sorted(i for s in strata for i in s[0]), sorted(i for s in strata for i in s[1]))]
    arms = np.asarray(test, float), np.asarray(reference, float)
    parts = [arms[side][s[side]] for s in strata for side in (0, 1) if len(s[side]) > 1]
    df = sum(part.size - 1 for part in parts)
    pooled = sum(variance_of(part) * (part.size - 1) for part in parts) / df if df else 0.0
    if pooled <= 0:
        return None
    factor = math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    return float(estimate / math.sqrt(pooled) * (factor if df > 1 else 1.0))


def welch(test: Sequence[float], reference: Sequence[float], direction: str, alpha: float) -> Contrast:
    """Welch's unequal-variance t test of mean(test) - mean(reference).

    Parameters
    ----------
    test, reference : (n,) sequences
        Cell values; at least two in each. One arm may have no scatter (all its cells at one end of their
        bounds): the degrees of freedom are then those of the other.
    direction : {"greater", "less", "two_sided"}
    alpha : float
        The interval is two-sided with level 1 - alpha, whatever the direction.

    References
    ----------
    Welch (1947), Biometrika 34, 28.
    """
    if min(len(test), len(reference)) < 2:
        raise ValueError("Welch's test needs at least two cells in each arm")
    return stratified(test, reference, _one(test, reference), direction, alpha)


def permutation_p(
    test: Sequence[float],
    reference: Sequence[float],
    direction: str,
    resamples: int = 2000,
    seed: int | None = None,
) -> float:
    """Permutation p-value of the difference of means when whole cells change arms.

    All assignments are enumerated up to 200 000; beyond that `resamples` seeded random ones are drawn and the
    observed one is counted in. Two-sided is twice the smaller one-sided p, as in `scipy.stats`.
    """
    return exchange_p(test, reference, _one(test, reference), False, direction, resamples, seed)


def smallest_p(n_test: int, n_reference: int, direction: str) -> float:
    """The smallest p-value that a permutation of these cells can reach at all.

    Examples
    --------
    >>> [round(smallest_p(n, n, "two_sided"), 3) for n in (2, 3, 4, 5)]
    [0.333, 0.1, 0.029, 0.008]
    """
    return smallest(_one(range(n_test), range(n_reference)), False, direction)


def hedges_g(test: Sequence[float], reference: Sequence[float]) -> float | None:
    """Standardised difference of means with Hedges' exact small-sample factor; None without scatter."""
    estimate = float(np.mean(test) - np.mean(reference))
    return effect_size(estimate, test, reference, _one(test, reference), False)


def _one(test: Sequence, reference: Sequence) -> tuple[Stratum]:
    return ((list(range(len(test))), list(range(len(reference)))),)
