"""Which cells, which measurements: a claim's words turned into groups of cells with both ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ceiflow.statistics.nesting import (
    Cell,
    Mean,
    Observation,
    cell_means,
    common_notes,
    group_by,
    observation,
    region_means,
    summarise,
)
from ceiflow.statistics.pooled import pooled_of, with_pooled
from ceiflow.statistics.tables import Row, number, text
from ceiflow.study.claims import group_text, matches

FINE_STRUCTURE = (
    "carbon_fraction_",
    "oxygen_fraction_",
    "lithium_fraction_",
    "oxygen_prepeak",
    "_l3_l2_ratio",
    "_valence",
    "_separation_",
)
UNCONTROLLED = "dose not controlled"
PLACED = "placed by its own lines"
TEMPLATES = "by shipped templates"
DOSE_LIMIT = 0.3  # of the critical dose, above which fine structure is not taken as the specimen's own


@dataclass(frozen=True)
class Group:
    """The cells of one arm.

    `cells` are those that say something (identified or bounded), sorted by id; `silent` are those that have
    measurements of the endpoint and cannot say; `reasons` is why. `observations` belong to `cells`.
    `matched` counts the cells that were selected, `states` are their states of charge, `elsewhere` names
    other zones that hold the endpoint, `sheet` holds the rows of the cells' sheet.
    """

    name: str
    cells: tuple[Cell, ...]
    silent: tuple[Cell, ...]
    observations: tuple[Observation, ...]
    matched: int
    reasons: str
    states: tuple[str, ...] = ()
    zone: str = ""
    elsewhere: tuple[str, ...] = ()
    sheet: Mapping[str, Row] = field(default_factory=dict)

    def labels(self, cell_id: str, columns: Sequence[str]) -> tuple[str, ...]:
        """What the sheet says of a cell in some columns; empty text where it says nothing."""
        return tuple(text(self.sheet.get(cell_id, {}).get(column)) for column in columns)

    @cached_property
    def regions(self) -> dict[tuple[str, str, str], Mean]:
        """Means of regions of the cells that count, by (cell, particle, region)."""
        return region_means(self.observations)

    @property
    def low(self) -> list[float]:
        """Cell values with everything bounded at 0."""
        return [cell.low for cell in self.cells]

    @property
    def high(self) -> list[float]:
        """Cell values with everything bounded at its detection limit."""
        return [cell.high for cell in self.cells]

    @property
    def all_bounded(self) -> bool:
        """Whether no acquisition of any cell has a value."""
        return all(cell.n_bounded == cell.n_acquisitions for cell in self.cells)

    @property
    def n_acquisitions(self) -> int:
        return sum(cell.n_acquisitions for cell in self.cells)

    @property
    def n_bounded(self) -> int:
        return sum(cell.n_bounded for cell in self.cells)

    @property
    def lod(self) -> float | None:
        """The largest detection limit among the cells."""
        return max((cell.lod for cell in self.cells if cell.lod is not None), default=None)

    @property
    def se_measured(self) -> float:
        """Standard error of the group's mean by measurement errors alone, cells weighed alike."""
        variances = [part.variance for part in cell_means(self.regions).values()]
        return math.sqrt(math.fsum(variances)) / len(variances) if variances else 0.0

    @property
    def se_sys(self) -> float:
        """Systematic error of the group's mean: shared by its cells."""
        return sum(cell.se_sys or 0.0 for cell in self.cells) / len(self.cells) if self.cells else 0.0


def select(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    endpoint: str,
    zone: str,
    selection: Mapping[str, object],
    modality: str | Sequence[str] | None,
    pooled: Sequence[Row] = (),
) -> Group:
    """The group of cells that `selection` names, from the measurements of one endpoint in one zone.

    Parameters
    ----------
    measurements, cells : sequences of dict
        Rows of measurements.tsv, and of cells.tsv or of the sheet (any column may be selected on).
    modality : str, list of str or None
        Only these take part; None lets every modality in that says something.
    pooled : sequence of dict
        Rows of tables/pooled.tsv: they go before the average of a cell.
    """
    wanted = None if not modality else {modality} if isinstance(modality, str) else set(modality)
    sheet = {str(row["cell_id"]): row for row in cells if matches(row, selection)}
    chosen = {name: text(row.get("state")) for name, row in sheet.items()}
    rows = [
        row
        for row in measurements
        if row["endpoint"] == endpoint
        and row["cell_id"] in chosen
        and (wanted is None or row["modality"] in wanted)
    ]
    found = [observation(row) for row in rows if row["zone"] == zone]
    by_cell = group_by(found, lambda item: item.cell_id)
    spectra = {cell: {item.modality for item in items} for cell, items in by_cell.items()} if pooled else {}
    whole = pooled_of(pooled, endpoint, zone, wanted, spectra)
    summaries = [with_pooled(summarise(cell, by_cell[cell]), whole.get(cell)) for cell in sorted(by_cell)]
    usable = tuple(cell for cell in summaries if cell.n_acquisitions)
    return Group(
        name=group_text(selection),
        cells=usable,
        silent=tuple(cell for cell in summaries if not cell.n_acquisitions),
        observations=tuple(item for item in found if item.usable),
        matched=len(chosen),
        reasons=common_notes(item.note for item in found if not item.usable),
        states=tuple(sorted({chosen[cell.cell_id] for cell in usable} - {""})),
        zone=zone,
        elsewhere=tuple(sorted({str(row["zone"]) for row in rows} - {zone})),
        sheet=sheet,
    )


def zone_of(claim: Mapping[str, object], measurements: Sequence[Row]) -> str:
    """The claim's zone, else the natural one: `layer` for the layer, `all` elsewhere, else the only one."""
    if claim.get("zone"):
        return str(claim["zone"])
    endpoint = str(claim["endpoint"])
    present = sorted({str(row["zone"]) for row in measurements if row["endpoint"] == endpoint})
    natural = "layer" if endpoint.startswith("layer_") else "all"
    return present[0] if natural not in present and len(present) == 1 else natural


def dose_caveat(endpoint: str, groups: Sequence[Group], measurements: Sequence[Row]) -> str:
    """What a claim on fine structure has to carry about the dose; empty where there is nothing to say.

    A measurement's own note that the dose is not controlled is passed on, whatever the endpoint. Where fine
    structure has no such note, the dose in units of the critical one decides.
    """
    used = {item.acquisition_id: item for group in groups for item in group.observations}
    noted = {name: part for name, item in used.items() if (part := _dose_note(item.note))}
    caveats = [
        f"{note} ({count} of {len(used)} acquisitions)"
        for note, count in sorted(Counter(noted.values()).items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    rest = set(used) - set(noted)
    if rest and any(part in endpoint for part in FINE_STRUCTURE):
        doses = {
            str(row["acquisition_id"]): number(row.get("value"))
            for row in measurements
            if row["endpoint"] == "dose_over_critical" and row["status"] == "identified"
        }
        unknown = sum(doses.get(name) is None for name in rest)
        over = sum((doses.get(name) or 0) > DOSE_LIMIT for name in rest)
        if unknown:
            caveats.append(f"{UNCONTROLLED} in {unknown} of {len(used)} acquisitions")
        if over:
            caveats.append(
                f"dose above {DOSE_LIMIT:g} of the critical dose in {over} of {len(used)} acquisitions"
            )
    return "; ".join(caveats)


def axis_caveat(groups: Sequence[Group]) -> str:
    """In how many acquisitions an edge had to place its own energy axis; empty where none had to."""
    used = {item.acquisition_id: item.note for group in groups for item in group.observations}
    count = sum(PLACED in note for note in used.values())
    return f"the edge {PLACED} in {count} of {len(used)} acquisitions" if count else ""


def template_caveat(groups: Sequence[Group]) -> str:
    """In how many acquisitions a valence rests on literature alone; empty where it is measured standards'."""
    used = {item.acquisition_id: item.note for group in groups for item in group.observations}
    count = sum(TEMPLATES in note for note in used.values())
    return f"{TEMPLATES}, not by measured standards, in {count} of {len(used)} acquisitions" if count else ""


def _dose_note(note: str) -> str:
    """The part of a measurement's note that says that the dose is not controlled."""
    return next((part.strip() for part in note.split(";") if part.strip().startswith(UNCONTROLLED)), "")
