"""Claims of kind `difference`: two groups of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ceiflow.statistics import designs
from ceiflow.statistics.contrasts import Contrast, cells_for_difference
from ceiflow.statistics.findings import (
    REFUTED,
    SUPPORTED,
    Finding,
    bounded_note,
    count_cells,
    empty_group,
    ends,
    level,
    more_cells,
    shown,
    silent_note,
)
from ceiflow.statistics.mixed import kenward_roger, nested_design, reml
from ceiflow.statistics.selection import Group

Arms = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Tested:
    """One way to take what is bounded: the p-value that counts, the contrast, the permutation's p-value."""

    p: float
    contrast: Contrast
    permutation: float


def difference(
    test: Group,
    reference: Group,
    direction: str,
    alpha: float,
    resamples: int,
    seed: int | None,
    factors: Sequence[str] = (),
    pairs: Sequence[str] = (),
) -> Finding:
    """Difference of the means of two groups of cells.

    Welch's test on cell values decides, within the levels of `factors` or on the differences of `pairs`; the
    exact permutation of whole cells and the mixed model stand beside it. All is done at every combination of
    the arms' ends (bounded at 0, bounded at the detection limit), and the one that is worst for the claim is
    reported: the largest p-value, and among equal ones the smallest effect in the stated direction. `refuted`
    needs the two-sided interval to exclude the stated direction at every combination; a two-sided claim
    cannot be refuted, since no difference is ever shown to be nil.

    Parameters
    ----------
    test, reference : Group
    direction : {"greater", "less", "two_sided"}
        Of test relative to reference.
    alpha : float
        Size of the test; the interval is two-sided with level 1 - alpha.
    resamples, seed : int
        Of the permutation where the cells are too many to enumerate.
    factors : sequence of str
        Columns of the cells' sheet (the state of charge) within whose levels the arms are compared.
    pairs : sequence of str
        Columns (the batch) that make pairs of what shares their values.
    """
    out = Finding()
    out.missing = [empty_group(group) for group in (test, reference) if not group.cells]
    shared = sorted({c.cell_id for c in test.cells} & {c.cell_id for c in reference.cells})
    if shared:
        out.missing.append(f"disjoint groups: {', '.join(shared)} in both")
    if out.missing:
        return out
    arms = list(product(ends(test), ends(reference)))
    plan = designs.plan(*(_labels(group, pairs, factors) for group in (test, reference)), factors, pairs)
    if plan.paired and len(plan.strata) < 2:
        lacking = 2 - len(plan.strata)
        words = f"at least {lacking} more pair{'s' if lacking > 1 else ''}"
        return _described(test, reference, arms, direction, [words])
    if min(len(test.cells), len(reference.cells)) < 2:
        lacking = [
            f"at least {2 - len(group.cells)} more cell with {group.name}"
            for group in (test, reference)
            if len(group.cells) < 2
        ]
        return _described(test, reference, arms, direction, lacking)
    found = [_tested(plan, a, b, direction, alpha, resamples, seed) for a, b in arms]
    worst = max(range(len(arms)), key=lambda i: (found[i].p, -_along(found[i].contrast.estimate, direction)))
    out.p, contrast = found[worst].p, found[worst].contrast
    out.numbers = {
        "estimate": contrast.estimate,
        "ci_low": contrast.low,
        "ci_high": contrast.high,
        "p_min": designs.smallest(plan.strata, plan.paired, direction),
        "p_permutation": max(item.permutation for item in found),
        "p_basis": "permutation" if contrast.p is None else "t",
        "hedges_g": designs.effect_size(contrast.estimate, *arms[worst], plan.strata, plan.paired),
        "design": plan.label,
    }
    model = _mixed(test, reference, plan, worst, direction, alpha)
    out.numbers |= model
    signs = {math.copysign(1, item.contrast.estimate) for item in found if item.contrast.estimate}
    if all(_excluded(item.contrast, direction) for item in found):
        out.verdict = REFUTED
    elif len(signs) == 1:
        out.verdict = SUPPORTED  # if the adjusted p-value agrees
    out.reasons = [
        _sentence(contrast, out.p, plan, direction, alpha),
        _permutation_sentence(out.numbers, contrast, alpha),
        *plan.notes,
        *_mixed_sentence(model, alpha),
        *bounded_note(test, reference),
        *silent_note(test, reference, states=not (factors or pairs)),
    ]
    out.missing = _missing(test, reference, arms[worst], contrast, direction, alpha, len(signs) > 1)
    return out


def _labels(group: Group, pairs: Sequence[str], factors: Sequence[str]) -> list[tuple[tuple, tuple]]:
    """Pair and factor levels of every cell of a group."""
    return [(group.labels(cell.cell_id, pairs), group.labels(cell.cell_id, factors)) for cell in group.cells]


def _tested(
    plan: designs.Plan,
    a: list[float],
    b: list[float],
    direction: str,
    alpha: float,
    resamples: int,
    seed: int | None,
) -> Tested:
    """One combination of the arms' ends."""
    if plan.paired:
        contrast = designs.paired(designs.pair_differences(a, b, plan.strata), direction, alpha)
    else:
        contrast = designs.stratified(a, b, plan.strata, direction, alpha)
    permutation = designs.exchange_p(a, b, plan.strata, plan.paired, direction, resamples, seed)
    # Without any scatter t is undefined, and exchangeability of cells is all that is left.
    return Tested(permutation if contrast.p is None else contrast.p, contrast, permutation)


def _mixed(
    test: Group, reference: Group, plan: designs.Plan, worst: int, direction: str, alpha: float
) -> dict[str, object]:
    """The mixed model on means of regions, at the ends of the reported combination; empty where it has none.

    Measurement errors enter as known variances of the regions; strata and pairs as fixed effects.
    """
    tops = divmod(worst, len(ends(reference)))  # in the order of `product`
    keys, values, known, arm, block = [], [], [], [], []
    for side, group in enumerate((test, reference)):
        place = {cell.cell_id: i for i, cell in enumerate(group.cells)}
        where = {i: s for s, stratum in enumerate(plan.strata) for i in stratum[side]}
        for key, mean in group.regions.items():
            stratum = where.get(place[key[0]])
            if stratum is None:
                continue
            keys.append(key)
            values.append(mean.high if tops[side] else mean.low)
            known.append(mean.variance)
            arm.append(1.0 - side)
            block.append(stratum)
    x = np.column_stack([np.eye(len(plan.strata))[block], arm])
    y = np.array(values)
    cells = len({key[0] for key in keys})
    if cells - x.shape[1] < 1 or np.ptp(y) == 0 or np.linalg.matrix_rank(x) < x.shape[1]:
        return {}
    if any(np.ptp(y[np.array(arm) == side]) == 0 for side in (0.0, 1.0)):
        # An arm of limits or zeros alone has no variance, and pulls that of the other arm to 0.
        return {"mixed_note": "not applied: one arm has no scatter"}
    scale = float(np.ptp(y))
    try:
        fit = reml(nested_design(keys), y / scale, x, np.array(known) / scale**2)
        found = kenward_roger(fit, [0.0] * len(plan.strata) + [1.0], cells - x.shape[1])
    except np.linalg.LinAlgError:
        # Components that nothing in the data tells apart leave no information to invert.
        return {"mixed_note": "did not converge"}
    if not fit.converged or not np.isfinite([found.se, found.df]).all() or found.se == 0:
        return {"mixed_note": "did not converge"}
    low, high = found.interval(alpha)
    notes = []
    if fit.bounded:
        notes.append("components kept at or above 0")
    if fit.variances[0] <= 0:
        notes.append("variance between cells at its boundary (estimate 0 or below)")
    elif fit.variances.min() <= 0:
        notes.append("a variance within cells at its boundary (estimate 0 or below)")
    return {
        "mixed_estimate": float(found.estimate) * scale,
        "mixed_low": float(low) * scale,
        "mixed_high": float(high) * scale,
        "mixed_p": float(found.p_value(direction)),
        "mixed_df": float(found.df),
        "mixed_note": ", ".join(notes),
    }


def _mixed_sentence(model: dict[str, object], alpha: float) -> list[str]:
    if not model:
        return []
    note = model.get("mixed_note")
    if "mixed_p" not in model:
        return [f"mixed model {note}"]
    return [
        f"mixed model (REML, Kenward-Roger) {shown(model['mixed_estimate'])}, {level(alpha)} interval "
        f"{shown(model['mixed_low'])} to {shown(model['mixed_high'])}, p {shown(model['mixed_p'])}, "
        f"{shown(model['mixed_df'])} degrees of freedom" + (f", {note}" if note else "")
    ]


def _along(estimate: float, direction: str) -> float:
    """The estimate counted in the direction of the claim."""
    return {"greater": estimate, "less": -estimate, "two_sided": abs(estimate)}[direction]


def _excluded(contrast: Contrast, direction: str) -> bool:
    """Whether the interval excludes the claim's direction; an interval without width excludes nothing."""
    if contrast.p is None or direction == "two_sided":
        return False
    return contrast.high < 0 if direction == "greater" else contrast.low > 0


def _described(
    test: Group, reference: Group, arms: list[Arms], direction: str, missing: list[str]
) -> Finding:
    """One cell in an arm, or one pair: no test, only what was seen."""
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
        missing=missing,
    )


def _sentence(contrast: Contrast, p: float, plan: designs.Plan, direction: str, alpha: float) -> str:
    side = "two-sided" if direction == "two_sided" else f"one-sided, {direction}"
    side += _one_sided(contrast, direction, alpha)
    versus = f"{len(plan.used(0))} v {len(plan.used(1))} cells"
    if contrast.p is None:
        found = f"difference {shown(contrast.estimate)} without scatter"
        return f"{found}, permutation p {shown(p)} ({side}), {versus}"
    name = "paired t" if plan.paired else "Welch"
    return (
        f"difference {shown(contrast.estimate)}, {level(alpha)} interval {shown(contrast.low)} to "
        f"{shown(contrast.high)}, {name} p {shown(p)} ({side}), {versus}"
    )


def _one_sided(contrast: Contrast, direction: str, alpha: float) -> str:
    """The limit that a one-sided p goes with, where the two-sided interval would seem to contradict it."""
    from scipy.stats import t

    if (
        direction == "two_sided"
        or not contrast.low < 0 < contrast.high
        or contrast.p is None
        or contrast.p >= alpha
    ):
        return ""
    half = 0.5 * (contrast.high - contrast.low)
    half *= float(t.ppf(1 - alpha, contrast.df) / t.ppf(1 - alpha / 2, contrast.df))
    side, limit = ("lower", -half) if direction == "greater" else ("upper", half)
    return f": {side} {level(alpha)} limit {shown(contrast.estimate + limit)}"


def _permutation_sentence(numbers: dict[str, float | None], contrast: Contrast, alpha: float) -> str:
    sentence = f"permutation of whole cells p {shown(numbers['p_permutation'])}"
    smallest = numbers["p_min"]
    if smallest > alpha:
        rests = "" if contrast.p is None else ": the verdict rests on the t test"
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
    aim = f"show a difference of {shown(contrast.estimate)} with 80 % power"
    if needed is None:
        return [f"more cells (more than 200 in each group would be needed to {aim})"]
    lacking = [max(0, needed - len(arm)) for arm in values]
    if not any(lacking):
        return [f"more cells (the design should {aim}, and did not)"]
    listed = " and ".join(
        more_cells(count, group.name)
        for count, group in zip(lacking, (test, reference), strict=True)
        if count
    )
    return [f"{listed} (you need about {needed} cells in each group to {aim})"]
