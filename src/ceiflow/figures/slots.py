"""Which examples the panels of a study have: known from its sheets, so that rules may promise figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ceiflow.study.panels import Panel

# Kinds of signal that a group of cells outside of the panels shows, in this order.
MODALITIES = ("hrtem", "tem", "adf", "eels_si")
# The panel that compares carbon K edges before it shows single ones.
CARBON_EDGE = "2e"
OTHER_QUESTION = "What do the other cells look like?"


@dataclass(frozen=True)
class Slot:
    """The place of one example on the study page, and of one figure file.

    Parameters
    ----------
    name : str
        Of the file, such as `panel_1a_2`.
    panel : Panel or None
        None for a group of cells outside of the panels.
    group : str
        Cells that it stands for, in words.
    cells : tuple of str
    modality : str
        Of the signal; empty where it compares the cells of a panel with others.
    """

    name: str
    panel: Panel | None
    group: str
    cells: tuple[str, ...]
    modality: str

    @property
    def question(self) -> str:
        """What a reader asks of it."""
        return self.panel.question if self.panel else OTHER_QUESTION


def study_order(group: str) -> tuple[int, int]:
    """Normal cycling first, then shorted cells, then references, as the question is asked."""
    condition = group.split(" · ")[0].lower()
    return {"normal": 0, "shorted": 1, "pristine": 3}.get(condition, 2), 0


def slots(
    found: Sequence[Panel], groups: Mapping[str, list[str]], acquisitions: Iterable[Mapping]
) -> list[Slot]:
    """Examples of every panel, then of every group of cells that no panel shows.

    Parameters
    ----------
    found : sequence of Panel
    groups : mapping of str to list of str
        Cells by group, from `ceiflow.figures.tables.groups`.
    acquisitions : iterable of mappings
        `cell_id`, `modality` and `exclude` of the sheet.

    Returns
    -------
    list of Slot
        One for each group of cells and kind of signal in the sheet, whether or not it could be analysed.
    """
    recorded = {(str(row["cell_id"]), row["modality"]) for row in acquisitions if not row.get("exclude")}
    order = sorted(groups, key=study_order)

    def numbered(stem: str, panel: Panel | None, chosen: list[tuple[str, list[str]]], kinds) -> list[Slot]:
        made: list[Slot] = []
        for group, cells in chosen:
            for kind in kinds:
                if any((cell, kind) in recorded for cell in cells):
                    made.append(Slot(f"{stem}_{len(made) + 1}", panel, group, tuple(cells), kind))
        return made

    result: list[Slot] = []
    for panel in found:
        stem = f"panel_{panel.name}"
        chosen = [
            (group, [cell for cell in groups[group] if cell in cells])
            for group in order
            for cells in (panel.cells, panel.compared)
        ]
        own = numbered(stem, panel, chosen, panel.modalities)
        if own and panel.name == CARBON_EDGE:
            result.append(Slot(stem, panel, panel.title, (*panel.compared, *panel.cells), ""))
        result += own
    told = {cell for panel in found for cell in (*panel.cells, *panel.compared)}
    rest = [(group, groups[group]) for group in order if not told & {*groups[group]}]
    return result + numbered("other", None, rest, MODALITIES)
