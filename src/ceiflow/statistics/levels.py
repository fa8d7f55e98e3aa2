"""Levels of a factor (charged, discharged) within one group of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ceiflow.statistics.findings import shown
from ceiflow.statistics.selection import Group


@dataclass(frozen=True)
class Levels:
    """How the cells of a group divide by factors.

    Attributes
    ----------
    of_cell : n ints or None
        Level of each cell, where the mean is taken over levels; None where it is taken over cells.
    names : texts
        Of the levels, in their order; "none" where the sheet says nothing.
    design : text
        For tables: `cells`, or `within` the factors.
    notes : texts
        What a reader has to know of it.
    """

    of_cell: tuple[int, ...] | None
    names: tuple[str, ...]
    design: str = "cells"
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Degrees of freedom that the mean costs."""
        return len(self.names) if self.of_cell else 1

    def means(self, values: Sequence[float]) -> dict[str, float]:
        """Mean of the cells of each level; nothing where levels are not told apart."""
        if self.of_cell is None:
            return {}
        own = [
            [v for v, level in zip(values, self.of_cell, strict=True) if level == i]
            for i in range(self.count)
        ]
        return {name: sum(found) / len(found) for name, found in zip(self.names, own, strict=True)}

    def outside(self, ends: Sequence[Sequence[float]], low: float, high: float) -> list[str]:
        """Levels whose own mean lies outside of [low, high] at one end at least, with that mean."""
        found: dict[str, str] = {}
        for values in ends:
            for name, mean in self.means(values).items():
                if not low <= mean <= high:
                    found.setdefault(name, f"{name} {shown(mean)}")
        return list(found.values())


def levels_of(group: Group, factors: Sequence[str]) -> Levels:
    """Levels of a group's cells in columns of the sheet.

    The mean of a group whose cells differ in a factor is that of the levels' means, with the scatter within
    levels: what differs between charged and discharged cells is no scatter between replicates. Where a level
    has one cell, its mean cannot be told from scatter; levels then add to it, which makes intervals wider
    than the scatter of like cells does, and far narrower than one or two degrees of freedom would.
    """
    labels = [group.labels(cell.cell_id, factors) for cell in group.cells]
    kinds = sorted(set(labels))
    names = tuple(" ".join(kind).strip() or "none" for kind in kinds)
    if not factors or len(kinds) < 2:
        return Levels(None, names)
    title = " and ".join(factors)
    if min(labels.count(kind) for kind in kinds) < 2:
        return Levels(
            None,
            names,
            notes=(f"cells differ in {title} ({', '.join(names)}), and are too few to take that out",),
        )
    counts = ", ".join(f"{name} {labels.count(kind)}" for name, kind in zip(names, kinds, strict=True))
    note = f"mean over each {title}, with the scatter within ({counts} cells)"
    return Levels(
        tuple(kinds.index(label) for label in labels), names, f"within {', '.join(factors)}", (note,)
    )
