"""Claims of kind `absence`: a layer is thinner than a margin and rarer than a bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ceiflow.statistics import bounds
from ceiflow.statistics.findings import (
    REFUTED,
    SUPPORTED,
    Finding,
    bounded_note,
    count_cells,
    empty_group,
    level,
    more_cells,
    shown,
    silent_note,
    systematic_note,
)
from ceiflow.statistics.levels import Levels, levels_of
from ceiflow.statistics.nesting import Observation, group_by
from ceiflow.statistics.selection import Group


@dataclass(frozen=True)
class Presence:
    """Regions that hold a layer (`positives`) among those that could show it (`sizes`), cell by cell.

    `unclear` regions have no layer above detection limits that exceed the margin: they do not count as bare.
    """

    positives: list[int]
    sizes: list[int]
    unclear: int
    correlation: float

    @property
    def found(self) -> int:
        return sum(self.positives)

    @property
    def regions(self) -> int:
        return sum(self.sizes)

    def by_design_effect(self, alpha: float) -> float:
        """Upper limit of the prevalence from the effective number of regions."""
        effect = bounds.design_effect(self.sizes, self.correlation)
        return bounds.upper_proportion(self.found / effect, self.regions / effect, alpha)

    def by_beta_binomial(self, alpha: float) -> float:
        """Upper limit of the prevalence where the cells' own prevalences follow a beta distribution."""
        return bounds.upper_beta_binomial(self.found, self.sizes, self.correlation, alpha)

    def upper(self, alpha: float) -> float:
        """Upper limit of the prevalence: the larger of the two."""
        return max(self.by_design_effect(alpha), self.by_beta_binomial(alpha))

    def cells_upper(self, alpha: float) -> float:
        """Upper limit of the share of cells that carry a layer anywhere."""
        return bounds.upper_proportion(sum(count > 0 for count in self.positives), len(self.positives), alpha)

    def lower(self, alpha: float) -> float:
        """Lower limit of the prevalence, unclear regions counted as bare."""
        effect = bounds.design_effect(self.sizes, self.correlation)
        return bounds.lower_proportion(self.found / effect, (self.regions + self.unclear) / effect, alpha)


def is_present(endpoint: str, item: Observation) -> bool:
    """Whether an acquisition shows the thing.

    An identified thickness is a layer by definition (the mean over the covered part); any other endpoint has
    to exceed its own detection limit, or 0 where it has none.
    """
    if item.status != "identified":
        return False
    return item.low > 0 if endpoint == "layer_thickness_nm" else item.low > (item.lod or 0.0)


def presence(group: Group, endpoint: str, margin: float, correlation: float) -> Presence:
    """Regions with a layer; a region counts once, and is coated if any of its acquisitions shows it.

    The correlation within cells is the configured one, or the estimated one where that is larger.
    """
    regions = group_by(group.observations, lambda item: (item.cell_id, item.particle_id, item.region_id))
    positives = {cell.cell_id: 0 for cell in group.cells}
    sizes = dict(positives)
    unclear = 0
    for (cell, *_), items in regions.items():
        coated = any(is_present(endpoint, item) for item in items)
        if not coated and all((item.lod or 0.0) > margin for item in items):
            unclear += 1
            continue
        positives[cell] += coated
        sizes[cell] += 1
    estimated = bounds.intraclass_correlation(list(positives.values()), list(sizes.values()))
    return Presence(
        list(positives.values()), list(sizes.values()), unclear, max(correlation, estimated or 0.0)
    )


def absence(
    group: Group,
    endpoint: str,
    margin: float,
    max_prevalence: float | None,
    alpha: float,
    correlation: float,
    factors: Sequence[str] = (),
    dispersion: float | None = None,
) -> Finding:
    """Whether a layer is absent: thinner than `margin` on the mean of cells, and rare.

    Supported when the upper one-sided confidence limit of the cell mean (bounded cells at their detection
    limits) lies below a margin that is not smaller than the detection limit, and the upper limit of the
    prevalence does not exceed `max_prevalence` where that is given. Refuted when the lower limit of the
    prevalence exceeds `max_prevalence`, or the lower limit of the mean (bounded cells at 0) exceeds margin
    and detection limit. The interval is that of level 1 - 2 alpha, which two one-sided tests of size alpha
    read off.

    Parameters
    ----------
    margin : float
        In the unit of the endpoint.
    max_prevalence : float or None
        Largest share of regions with a layer that still counts as absent.
    correlation : float
        Assumed intraclass correlation of presence within a cell.
    factors : sequence of str
        Columns of the cells' sheet (the state of charge) whose levels weigh alike and are no scatter; absence
        is not supported where the mean of some level is not below the margin.
    dispersion : float, optional
        Least dispersion of a fraction between cells: the endpoint is one, and its mean has the score limits
        of a proportion instead of Student's, and no p-value.
    """
    if not group.cells:
        return Finding(missing=[empty_group(group)])
    levels = levels_of(group, factors)
    seen = presence(group, endpoint, margin, correlation)
    high = seen.upper(alpha)
    out = Finding(
        numbers={
            "prevalence": seen.found / seen.regions if seen.regions else None,
            "prevalence_low": seen.lower(alpha),
            "prevalence_high": high,
            "prevalence_high_beta_binomial": seen.by_beta_binomial(alpha),
            "prevalence_cells_high": seen.cells_upper(alpha),
        }
    )
    rare = max_prevalence is None or high <= max_prevalence
    out.reasons = [
        *_presence_sentences(seen, len(group.cells), high, alpha, max_prevalence),
        *_by_level(seen, levels),
        *([] if group.all_bounded else levels.notes),
        *systematic_note(group),
        *bounded_note(group),
        *silent_note(group, states=not factors),
    ]
    if len(group.cells) < 2:
        out.numbers["estimate"] = group.high[0]
        out.reasons.insert(0, f"described only, 1 cell: at most {shown(group.high[0])}")
        out.missing = [f"at least 1 more cell with {group.name}"]
        return out
    upper, lower = _limits(group, levels, alpha, dispersion)
    mute = upper.low == upper.high and not group.all_bounded
    out.numbers |= {"estimate": upper.mean, "ci_low": upper.low, "ci_high": upper.high}
    out.numbers["design"] = "cells" if group.all_bounded else levels.design
    thicker = levels.outside([group.high], 0.0, margin)
    resolved = group.lod is None or group.lod <= margin
    thick = lower.low > max(margin, group.lod or 0.0)
    often = max_prevalence is not None and seen.lower(alpha) > max_prevalence
    below = upper.high <= margin if group.all_bounded else upper.high < margin
    if thick or often:
        out.verdict = REFUTED
    elif resolved and below and rare and not thicker and not mute:
        out.verdict = SUPPORTED
    if not group.all_bounded and dispersion is None:
        out.p = bounds.p_below(group.high, margin, _shared_error(group, group.high, levels), levels.of_cell)
        if out.p is not None:
            out.numbers |= {"p_min": 0.5 ** len(group.cells), "p_basis": "t"}
    sentences = [_mean_sentence(group, upper, margin, alpha)]
    # What decides stands first: pages show the first sentence, and fold the others.
    if often:
        lowest = shown(100 * seen.lower(alpha))
        sentences.insert(
            0,
            f"prevalence at least {lowest} % (lower {level(alpha)} limit), "
            f"claimed {shown(100 * max_prevalence)} % at most",
        )
    if thick:
        sentences.insert(
            0,
            f"mean of {count_cells(len(group.cells))} at least {shown(lower.low)} (lower {level(alpha)} "
            f"limit, everything bounded taken as 0), margin {shown(margin)}",
        )
    out.reasons[:0] = sentences
    if mute:
        sentences.insert(0, f"{count_cells(len(group.cells))} without scatter and without errors")
        out.missing = ["values that scatter, or their measurement errors"]
    out.missing += _missing(group, levels, seen, upper, margin, None if rare else max_prevalence, alpha)
    if thicker:
        out.missing.insert(0, f"cells below the margin in every level (now {', '.join(thicker)})")
    return out


def _limits(
    group: Group, levels: Levels, alpha: float, dispersion: float | None
) -> tuple[bounds.MeanLimits, bounds.MeanLimits]:
    """Limits of the mean at the upper and at the lower end.

    Where nothing is identified there is no scatter to infer from (limits scatter with the instrument, not
    with the specimen): each cell lies between 0 and the largest limit, and so does their mean.
    """
    if group.all_bounded:
        top = max(group.high)
        return bounds.MeanLimits(float(np.mean(group.high)), 0.0, top, 0.0), bounds.MeanLimits(
            0.0, 0.0, top, 0.0
        )
    found = []
    for cells in (group.high, group.low):
        if dispersion is not None:
            limits = bounds.proportion_limits(cells, alpha, dispersion, group.se_sys, levels.of_cell)
        else:
            limits = bounds.mean_limits(cells, alpha, _shared_error(group, cells, levels), levels.of_cell)
        found.append(limits)
    return found[0], found[1]


def _shared_error(group: Group, cells: Sequence[float], levels: Levels) -> float:
    """Systematic error; with it that of measurement, where cells agree to the last digit."""
    least = 0.0 if bounds.scatters(cells, levels.of_cell) else group.se_measured
    return math.hypot(group.se_sys, least)


def _mean_sentence(group: Group, upper: bounds.MeanLimits, margin: float, alpha: float) -> str:
    cells, top = count_cells(len(group.cells)), shown(upper.high)
    sentence = (
        f"every one of {cells} below its detection limit, at most {top}"
        if group.all_bounded
        else f"mean of {cells} at most {top} (upper {level(alpha)} limit)"
    )
    limit = shown(group.lod) or "not given"
    return f"{sentence}, margin {shown(margin)}, largest detection limit of a cell {limit}"


def _presence_sentences(
    seen: Presence, cells: int, high: float, alpha: float, max_prevalence: float | None
) -> list[str]:
    coated = sum(count > 0 for count in seen.positives)
    by_cell = seen.cells_upper(alpha)
    wanted = "" if max_prevalence is None else f", claimed {shown(100 * max_prevalence)} % at most"
    sentences = [
        f"layer in {seen.found} of {seen.regions} regions, prevalence at most {shown(100 * high)} % "
        f"({level(alpha)}, correlation {shown(seen.correlation)} within cells, by design effect "
        f"{shown(100 * seen.by_design_effect(alpha))} %, by beta-binomial "
        f"{shown(100 * seen.by_beta_binomial(alpha))} %){wanted}",
        f"layer in {coated} of {count_cells(cells)}, so in at most {shown(100 * by_cell)} % of cells",
    ]
    if seen.unclear:
        sentences.append(
            f"{seen.unclear} regions with detection limits above the margin do not count as bare"
        )
    return sentences


def _by_level(seen: Presence, levels: Levels) -> list[str]:
    """Regions with a layer by level of the factors, where there are some of several levels."""
    if levels.of_cell is None or not seen.found:
        return []
    counts = []
    for place, name in enumerate(levels.names):
        own = [i for i, level in enumerate(levels.of_cell) if level == place]
        found, regions = (sum(numbers[i] for i in own) for numbers in (seen.positives, seen.sizes))
        counts.append(f"{name} {found} of {regions}")
    return [f"regions with a layer by level: {', '.join(counts)}"]


def _missing(
    group: Group,
    levels: Levels,
    seen: Presence,
    upper: bounds.MeanLimits,
    margin: float,
    unmet_prevalence: float | None,
    alpha: float,
) -> list[str]:
    """What would decide an absence claim that is not decided."""
    missing = []
    if group.lod is not None and group.lod > margin:
        finest = _fine_enough(group, margin)
        missing.append(
            f"a smaller detection limit (now up to {shown(group.lod)}, margin {shown(margin)}"
            + (f"; {finest} alone would be fine enough)" if finest else ")")
        )
    elif upper.high >= margin:
        missing.append(_for_margin(group, levels, upper, margin, alpha))
    if unmet_prevalence is not None and seen.regions:
        missing.append(_for_prevalence(seen, len(group.cells), unmet_prevalence, alpha))
    return missing


def _fine_enough(group: Group, margin: float) -> str:
    """Modalities whose own detection limits lie within the margin in every cell."""
    fine = []
    for modality, items in sorted(group_by(group.observations, lambda item: item.modality).items()):
        cells = group_by((item for item in items if item.lod is not None), lambda item: item.cell_id)
        limits = [float(np.mean([item.lod for item in seen])) for seen in cells.values()]
        if len(limits) == len(group.cells) and max(limits) <= margin:
            fine.append(modality)
    return " or ".join(fine)


def _for_margin(group: Group, levels: Levels, upper: bounds.MeanLimits, margin: float, alpha: float) -> str:
    """What would bring the mean's upper limit below the margin."""
    if upper.mean >= margin:
        side = "more cells or a smaller detection limit"
        return f"a clear side of the margin: {side} (the mean may be {shown(upper.mean)})"
    scatter = bounds.moments(group.high, levels.of_cell).sd
    needed = bounds.cells_for_limit(margin - upper.mean, scatter, alpha, levels.count)
    if needed is None:
        return f"more than 500 cells with {group.name} at the scatter seen"
    more = max(1, needed - len(group.cells))
    return f"{more_cells(more, group.name)} (you need about {len(group.cells) + more} at the scatter seen)"


def _for_prevalence(seen: Presence, cells: int, limit: float, alpha: float) -> str:
    """How many regions or cells more, all bare, would bring the prevalence below its limit."""
    if seen.found:
        share, counts = shown(100 * limit), f"{seen.found} of {seen.regions} have a layer"
        return f"more regions and cells ({counts}: neither above nor below {share} % is excluded)"
    size = max(1.0, seen.regions / cells)
    lacking = max(1, bounds.cells_for_upper(limit, size, seen.correlation, alpha) - cells)
    regions = bounds.regions_for_upper(limit, cells, seen.correlation, alpha)
    by_cells = f"about {lacking} more cell{'' if lacking == 1 else 's'} with {shown(size)} bare regions each"
    if regions is None or regions <= seen.regions:
        return f"{by_cells} (more acquisitions of the same cells are not enough)"
    return f"{regions - seen.regions} more acquisitions, of new bare regions of these cells, or {by_cells}"
