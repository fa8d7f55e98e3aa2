"""The carbon K edge on the study page: groups compared, shares of species, and each edge with its model."""

from __future__ import annotations

from ceiflow.figures import fine_structure, folders, style
from ceiflow.figures.names import ACQUISITION_FIGURES
from ceiflow.figures.slots import Slot
from ceiflow.figures.tables import figures3, known, read_json
from ceiflow.report import html
from ceiflow.report.cell import CAPTIONS
from ceiflow.report.html import Column, Markup, join, paragraph
from ceiflow.report.results import MODALITY_NAMES, SPECTRA, Results
from ceiflow.study.panels import Panel

ZONES = ("layer", "surface", "all")
CAPTION = (
    "Carbon K edge by condition, one acquisition a cell: of the layer, else of the surface or of all that is "
    "there; aligned, without background, with 95 % bands; below: the difference; beside: the species."
)


def carbon_parts(
    results: Results, panel: Panel, examples: list[tuple[Slot, dict]], limit: float, name: str
) -> list[Markup | None]:
    """The comparison, the shares of every example in one table, and each edge with its species."""
    if not examples:
        return []
    drawn = fine_structure.carbon_edges(carbon_zones(results, panel))
    parts: list[Markup | None] = [
        html.figure(drawn, CAPTION, limit_kb=limit, alt=f"{name}. {style.description(drawn)}"),
        _species(results, [example for _, example in examples]),
    ]
    single = []
    for _, example in examples:
        kinds = ACQUISITION_FIGURES[example["modality"]]
        kind = "fine_structure" if "fine_structure" in kinds else "spectra"
        edge = folders.acquisition_figure(kind, example["modality"], results.source(example))
        words = f"{name}. {example['acquisition_id']}: {style.description(edge)}"
        caption = join(MODALITY_NAMES[example["modality"]], " ", page_of(example), ".")
        single.append(html.figure(edge, caption, limit_kb=limit, alt=words))
    return [*parts, html.row(*single), paragraph(CAPTIONS["fine_structure"], class_="soft")]


def carbon_zones(results: Results, panel: Panel) -> dict[str, list[dict]]:
    """The carbon K edge of one acquisition of each cell: of its layer, else of the particle's surface."""
    found: dict[str, list[dict]] = {}
    for cells in (panel.compared, panel.cells):
        for cell in cells:
            for row in sorted(results.analysed([cell]), key=lambda row: row["modality"]):
                if row["modality"] not in SPECTRA:
                    continue
                zones = read_json(results.source(row) / "fine_structure.json").get("carbon") or {}
                usable = [zones[name] for name in ZONES if zones.get(name, {}).get("reason") == ""]
                if usable:
                    found.setdefault(row.get("condition") or _condition(results, cell), []).append(usable[0])
                    break
    return found


def _condition(results: Results, cell: str) -> str:
    return next((row["condition"] for row in results.sheet if row["cell_id"] == cell), cell)


def _species(results: Results, examples: list[dict]) -> Markup | None:
    """What the carbon of each zone of the examples is bound in, a species a column."""
    names = {example["acquisition_id"]: example for example in examples}
    found: dict[tuple[str, str], dict[str, dict]] = {}
    for row in results.measurements:
        kind, _, species = row["endpoint"].partition("carbon_fraction_")
        if row["acquisition_id"] in names and species and not kind and row["status"] != "not_identifiable":
            found.setdefault((row["acquisition_id"], row["zone"]), {})[species] = row
    if not found:
        return None
    order = [*names]
    keys = sorted(found, key=lambda key: (order.index(key[0]), key[1] != "layer", key[1]))
    lines = [{"example": names[key[0]], "zone": key[1], "species": found[key]} for key in keys]
    columns = [Column("Acquisition", lambda row: page_of(row["example"]), "name"), Column("Zone", "zone")]
    listed = [
        species for species in fine_structure.SPECIES_NAMES if any(species in row for row in found.values())
    ]
    listed += sorted({species for row in found.values() for species in row} - {*listed})
    for species in listed:
        columns.append(
            Column(
                fine_structure.SPECIES_NAMES.get(species, species),
                lambda row, species=species: _share(row["species"].get(species, {})),
            )
        )
    notes = [row["note"] for rows in found.values() for row in rows.values()]
    open_dose = sum("dose not controlled" in note for note in notes)
    caption = f"Shares of the carbon, {html.ERRORS}; < detection limit."
    if open_dose:
        which = "All" if open_dose == len(notes) else f"{open_dose} of {len(notes)}"
        caption += (
            f" {which} with the dose not controlled: no series of frames says what the beam has changed."
        )
    return html.table(lines, columns, caption, stack=True)


def _share(row: dict) -> str:
    if known(row.get("value")):
        return html.amount(row["value"], row.get("se_stat"), row.get("se_sys"))
    return f"< {figures3(row['lod'])}" if known(row.get("lod")) else ""


def page_of(example: dict) -> Markup:
    """A link to an acquisition on the page of its cell."""
    name = example["acquisition_id"]
    return html.link(name, f"cells/{example['cell_id']}.html#{name}")
