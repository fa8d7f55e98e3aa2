"""Claims of kind `difference`: two groups of cells."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from ceiflow.statistics.contrasts import (
    Contrast,
    cells_for_difference,
    hedges_g,
    permutation_p,
    smallest_p,
    welch,
)
from ceiflow.statistics.findings import (
    REFUTED,
    SUPPORTED,
    Finding,
    bounded_note,
    count_cells,
    empty_group,
    ends,
    level,
    shown,
    silent_note,
)
from ceiflow.statistics.selection import Group

Arms = tuple[list[float], list[float]]


def difference(
    test: Group, reference: Group, direction: str, alpha: float, resamples: int, seed: int | None
) -> Finding:
    """Difference of the means of two groups of cells.

    Welch's test on cell values decides; the exact permutation of whole cells stands beside it. Both are done
    at every combination of the arms' ends (bounded at 0, bounded at the detection limit), and the one that is
    worst for the claim is reported: the largest p-value, and among equal ones the smallest effect in the
    stated direction. `refuted` needs the two-sided interval to exclude the stated direction at every
    combination; a two-sided claim cannot be refuted, since no difference is ever shown to be nil.

    Parameters
    ----------
    test, reference : Group
    direction : {"greater", "less", "two_sided"}
        Of test relative to reference.
    alpha : float
        Size of the test; the interval is two-sided with level 1 - alpha.
    resamples, seed : int
        Of the permutation where the cells are too many to enumerate.
    """
    out = Finding()
    out.missing = [empty_group(group) for group in (test, reference) if not group.cells]
    shared = sorted({c.cell_id for c in test.cells} & {c.cell_id for c in reference.cells})
    if shared:
        out.missing.append(f"disjoint groups: {', '.join(shared)} in both (paired designs are not analysed)")
    if out.missing:
        return out
    arms = list(product(ends(test), ends(reference)))
    n_test, n_reference = len(test.cells), len(reference.cells)
    if min(n_test, n_reference) < 2:
        return _described(test, reference, arms, direction)
    found = [_tested(a, b, direction, alpha, resamples, seed) for a, b in arms]
    worst = max(range(len(arms)), key=lambda i: (found[i][0], -_along(found[i][1].estimate, direction)))
    out.p, contrast, _ = found[worst]
    out.numbers = {
        "estimate": contrast.estimate,
        "ci_low": contrast.low,
        "ci_high": contrast.high,
        "p_min": smallest_p(n_test, n_reference, direction),
        "p_permutation": max(permutation for _, _, permutation in found),
        "hedges_g": hedges_g(*arms[worst]),
    }
    signs = {math.copysign(1, item.estimate) for _, item, _ in found if item.estimate}
    if all(_excluded(item, direction) for _, item, _ in found):
        out.verdict = REFUTED
    elif len(signs) == 1:
        out.verdict = SUPPORTED  # if the adjusted p-value agrees
    out.reasons = [
        _sentence(contrast, out.p, (n_test, n_reference), direction, alpha),
        _permutation_sentence(out.numbers, contrast, alpha),
        *bounded_note(test, reference),
        *silent_note(test, reference),
    ]
    out.missing = _missing(test, reference, arms[worst], contrast, direction, alpha, len(signs) > 1)
    return out


def _tested(
    a: list[float], b: list[float], direction: str, alpha: float, resamples: int, seed: int | None
) -> tuple[float, Contrast, float]:
    """The p-value that counts, Welch's contrast, and the permutation's p-value."""
    contrast = welch(a, b, direction, alpha)
    permutation = permutation_p(a, b, direction, resamples, seed)
    # Without any scatter Welch is undefined, and exchangeability of cells is all that is left.
    return (permutation if contrast.p is None else contrast.p), contrast, permutation


def _along(estimate: float, direction: str) -> float:
    """The estimate counted in the direction of the claim."""
    return {"greater": estimate, "less": -estimate, "two_sided": abs(estimate)}[direction]


def _excluded(contrast: Contrast, direction: str) -> bool:
    """Whether the interval excludes the claim's direction; an interval without width excludes nothing."""
    if contrast.p is None or direction == "two_sided":
        return False
    return contrast.high < 0 if direction == "greater" else contrast.low > 0


def _described(test: Group, reference: Group, arms: list[Arms], direction: str) -> Finding:
    """One cell in an arm: no test, only what was seen."""
    estimates = [float(np.mean(a) - np.mean(b)) for a, b in arms]
    estimate = min(estimates, key=lambda value: _along(value, direction))
    versus = f"{len(test.cells)} v {count_cells(len(reference.cells))}"
    return Finding(
        numbers={"estimate": estimate},
        reasons=[
            f"described only, {versus}: difference {shown(estimate)}",
            *bounded_note(test, reference),
            *silent_note(test, reference),
        ],
        missing=[
            f"at least {2 - len(group.cells)} more cell with {group.name}"
            for group in (test, reference)
            if len(group.cells) < 2
        ],
    )


def _sentence(contrast: Contrast, p: float, n: tuple[int, int], direction: str, alpha: float) -> str:
    side = "two-sided" if direction == "two_sided" else f"one-sided, {direction}"
    versus = f"{n[0]} v {n[1]} cells"
    if contrast.p is None:
        found = f"difference {shown(contrast.estimate)} without scatter"
        return f"{found}, permutation p {shown(p)} ({side}), {versus}"
    return (
        f"difference {shown(contrast.estimate)}, {level(alpha)} interval {shown(contrast.low)} to "
        f"{shown(contrast.high)}, Welch p {shown(p)} ({side}), {versus}"
    )


def _permutation_sentence(numbers: dict[str, float | None], contrast: Contrast, alpha: float) -> str:
    sentence = f"permutation of whole cells p {shown(numbers['p_permutation'])}"
    smallest = numbers["p_min"]
    if smallest > alpha:
        rests = "" if contrast.p is None else ": the verdict rests on Welch's t"
        return f"{sentence}, which cannot fall below {shown(smallest)} here{rests}"
    return f"{sentence} (smallest possible {shown(smallest)})"


def _missing(
    test: Group,
    reference: Group,
    values: Arms,
    contrast: Contrast,
    direction: str,
    alpha: float,
    sign_is_open: bool,
) -> list[str]:
    """What would decide a difference that is not decided."""
    if test.all_bounded and reference.all_bounded:
        limit = shown(max(test.lod, reference.lod))
        return [f"a smaller detection limit (no cell of either group has a value, limits up to {limit})"]
    if sign_is_open:
        return ["a smaller detection limit (the sign of the difference depends on values below it)"]
    if contrast.p is None:
        return ["more cells in both groups"]
    if _along(contrast.estimate, direction) <= 0:
        reach = -contrast.low if direction == "less" else contrast.high
        return [f"more cells (the difference has the wrong sign, and up to {shown(reach)} is not excluded)"]
    scatter = [float(np.std(arm, ddof=1)) for arm in values]
    needed = cells_for_difference(contrast.estimate, *scatter, direction, alpha)
    number = f"about {needed}" if needed else "more than 200"
    return [
        f"more cells ({number} a group would show a difference of {shown(contrast.estimate)} with 80 % power)"
    ]
