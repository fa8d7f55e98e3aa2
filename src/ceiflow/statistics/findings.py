"""What a claim's test found, and the phrases that all kinds of claims share."""

from __future__ import annotations

from dataclasses import dataclass, field

from ceiflow.statistics.selection import Group

SUPPORTED, REFUTED, CANNOT_TELL = "supported", "refuted", "cannot tell"


@dataclass
class Finding:
    """A claim's verdict and numbers before the correction for multiplicity.

    `verdict` is final unless it is `supported` and there is a `p`: then the adjusted p-value has to agree.
    `reasons` are what was found, in order; `missing` is what would decide the claim where it is not decided.
    """

    verdict: str = CANNOT_TELL
    numbers: dict[str, object] = field(default_factory=dict)
    p: float | None = None
    reasons: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def shown(value: float | None) -> str:
    """A number in a sentence."""
    return "" if value is None else f"{value:.3g}"


def level(alpha: float) -> str:
    """Confidence level in a sentence."""
    return f"{100 * (1 - alpha):g} %"


def count_cells(count: int) -> str:
    """`1 cell`, `3 cells`."""
    return f"{count} cell{'' if count == 1 else 's'}"


def more_cells(count: int, group: str) -> str:
    """How many cells are lacking, as a guide."""
    return f"about {count} more cell{'' if count == 1 else 's'} with {group}"


def ends(group: Group) -> list[list[float]]:
    """Cell values of a group at its ends: once where nothing is bounded, else at 0 and at the limits."""
    return [group.low] if group.low == group.high else [group.low, group.high]


def empty_group(group: Group) -> str:
    """Why a group says nothing."""
    if not group.matched:
        return f"cells with {group.name}: none was measured"
    if not group.silent:
        other = f" (there are some in zone {', '.join(group.elsewhere)})" if group.elsewhere else ""
        return f"measurements of this endpoint in zone {group.zone} of cells with {group.name}{other}"
    return f"not identifiable in {count_cells(len(group.silent))} with {group.name}: {group.reasons}"


def silent_note(*groups: Group, states: bool = True) -> list[str]:
    """Cells that were left out because they cannot say or were not measured, and states that were pooled."""
    notes = []
    for group in groups:
        absent = group.matched - len(group.cells) - len(group.silent)
        if group.silent:
            silent = count_cells(len(group.silent))
            notes.append(f"{silent} with {group.name} cannot say and do not count: {group.reasons}")
        if absent:
            notes.append(f"{count_cells(absent)} with {group.name} without a measurement")
        if states and len(group.states) > 1:
            notes.append(f"cells with {group.name} differ in state: {', '.join(group.states)}")
    return notes


def bounded_note(*groups: Group) -> list[str]:
    """Acquisitions that entered with both ends."""
    return [
        f"{group.n_bounded} of {group.n_acquisitions} acquisitions with {group.name} are below their "
        f"detection limit: taken at 0 and at the limit, the worse end is given"
        for group in groups
        if group.n_bounded
    ]


def systematic_note(group: Group) -> list[str]:
    """The error that the number of cells does not shrink."""
    return [f"includes a systematic error of {shown(group.se_sys)}"] if group.se_sys else []
