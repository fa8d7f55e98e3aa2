"""The panels of the study page: each group of cells in numbers, and one acquisition of each modality."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ceiflow.figures import folders, maps, style
from ceiflow.figures.slots import CARBON_EDGE, Slot, slots
from ceiflow.figures.tables import (
    endpoint_name,
    figures3,
    known,
    number,
    unit_name,
)
from ceiflow.report import html
from ceiflow.report.carbon import carbon_parts, page_of
from ceiflow.report.cell import CAPTIONS
from ceiflow.report.findings import finding, outcome
from ceiflow.report.html import Block, Column, Markup, block, counted, join, paragraph, tag
from ceiflow.report.results import MODALITY_NAMES, Results
from ceiflow.study.panels import Panel
from ceiflow.study.panels import panels as study_panels

# Images of the panels share this, so that the page stays below five megabytes.
PANEL_BUDGET_KB = 2600.0
MOST_PANELS = 36
# Values of a cell that are listed one by one; of more, the range.
MOST_VALUES = 6
OUTCOMES = {"reached": "✔", "refuted": "✘", "cannot tell": "?"}
READING = (
    "How to read them. Image: outer and inner edge of the layer, coloured by its thickness; dotted where "
    "bare, dashed where nothing could be measured. Trace: thickness along the surface with one standard "
    "deviation; "
    "grey: below the detection limit; marks at the foot: bare, not measured, or no limit known."
)


def study_slots(results: Results, claims: Iterable[Mapping] | None = None) -> list[Slot]:
    """Places of all examples, on the page and in files; the configuration's claims where none are given."""
    registered = results.config.get("claims") or [] if claims is None else claims
    found = study_panels(results.sheet, results.acquisitions, registered)
    return slots(found, results.groups, results.acquisitions)


def is_carbon_edge(panel: Panel | None) -> bool:
    """Whether a panel is about the carbon K edge, and so shows spectra instead of a layer."""
    return panel is not None and panel.name == CARBON_EDGE


def panels(results: Results, explorer: bool = True) -> Block:
    """The study's panels in its order, each with its finding; then every other group of cells."""
    places = study_slots(results)
    verdicts = {row["claim_id"]: row for row in results.table("panels")}
    found = study_panels(results.sheet, results.acquisitions, results.config.get("claims") or [])
    examples = [(place, example) for place in places if (example := _example(results, place)) is not None]
    limit = min(230.0, PANEL_BUDGET_KB / max(1.8 * min(len(examples), MOST_PANELS), 1.0))
    shown = examples[:MOST_PANELS]
    parts: list[Markup | None] = [_overview(found, verdicts)] if found else []
    parts.append(paragraph(READING, class_="soft") if shown else None)
    for panel in found:
        own = [item for item in shown if item[0].panel is panel or item[0].panel == panel]
        files = [place for place in places if place.panel == panel]
        parts += _study_panel(results, panel, own, files, verdicts, limit, explorer)
    told = {cell for panel in found for cell in (*panel.cells, *panel.compared)}
    others = dict.fromkeys(place.group for place in places if place.panel is None)
    for group in [*others, *(name for name in results.groups if name not in others)]:
        if told & {*results.groups[group]}:
            continue
        own = [item for item in shown if item[0].panel is None and item[0].group == group]
        files = [place for place in places if place.panel is None and place.group == group]
        parts += [html.heading(group, 3), _group_line(results, results.groups[group]), _files(files)]
        for place, example in own:
            parts += _panel(results, place, example, limit, explorer)
        if not own:
            parts.append(paragraph("No acquisition of this group could be analysed.", class_="soft"))
    if len(examples) > MOST_PANELS:
        text = f"{counted(len(examples) - MOST_PANELS, 'further example')} stand on the pages of the cells."
        parts.append(paragraph(text, class_="soft"))
    return block(*parts)


def _example(results: Results, place: Slot) -> dict | None:
    return results.representative([*place.cells], place.modality) if place.modality else None


def _badge(panel: Panel, verdicts: dict[str, dict]) -> Markup:
    verdict = outcome(panel, verdicts)
    return html.badge(verdict, OUTCOMES[verdict])


def _overview(found: list[Panel], verdicts: dict[str, dict]) -> Markup:
    columns = [
        Column("Panel", lambda row: html.link(row["panel"].name, f"#panel-{row['panel'].name}"), "name"),
        Column("Cells", lambda row: row["panel"].title),
        Column("Question", lambda row: row["panel"].question),
        Column("Outcome", lambda row: _badge(row["panel"], verdicts)),
    ]
    caption = "Outcome of each panel by its own criteria; registered claims stand under Verdicts."
    return html.table([{"panel": panel} for panel in found], columns, caption, stack=True)


def _study_panel(
    results: Results,
    panel: Panel,
    examples: list[tuple[Slot, dict]],
    files: list[Slot],
    verdicts: dict[str, dict],
    limit: float,
    explorer: bool,
) -> list[Markup | None]:
    findings = [finding(claim, verdicts.get(claim["id"], {})) for claim in panel.claims]
    parts: list[Markup | None] = [
        html.heading(f"{panel.name} · {panel.title}", 3, f"panel-{panel.name}"),
        paragraph(tag("strong", panel.question), " ", _badge(panel, verdicts)),
        tag("ul", *(tag("li", text) for text in findings)) if findings else None,
        _values(results, panel) if findings else _group_line(results, panel.cells),
        _files(files),
    ]
    if not findings:
        text = "There is nothing to compare it with, so that no criterion can be held against it."
        parts.append(paragraph(text, class_="soft"))
    if is_carbon_edge(panel):
        parts += carbon_parts(results, panel, examples, limit, f"Panel {panel.name}")
    else:
        for place, example in examples:
            words = f"Panel {panel.name}, {outcome(panel, verdicts)}."
            parts += _panel(results, place, example, limit, explorer, words)
    if not examples:
        parts.append(paragraph("No acquisition of this panel could be analysed.", class_="soft"))
    return parts


def _values(results: Results, panel: Panel) -> Markup:
    """What every acquisition of every cell says on the panel's criteria."""
    chosen = [row for row in results.sheet if row["cell_id"] in (*panel.cells, *panel.compared)]
    columns = [
        Column("Cell", lambda row: html.link(row["cell_id"], f"cells/{row['cell_id']}.html"), "name"),
        Column("Condition", "condition"),
        Column("State", "state"),
    ]
    for claim in panel.claims:
        unit = next((row["unit"] for row in results.measurements if row["endpoint"] == claim["endpoint"]), "")
        printed = f" ({unit_name(unit)})" if unit_name(unit) else ""
        name = endpoint_name(claim["endpoint"])
        columns.append(
            Column(
                f"{name[:1].upper()}{name[1:]}{printed}",
                lambda row, claim=claim: _listed(results, row["cell_id"], claim),
            )
        )
    caption = (
        "What each acquisition says, ± all its errors together; < its detection limit; ? not identifiable."
    )
    return html.table(chosen, columns, caption, stack=True)


def _listed(results: Results, cell: str, claim: dict) -> str:
    """Values of the acquisitions of one cell that a criterion rests on; of many, their range."""
    kinds = claim.get("modality") or []
    own = [
        row
        for row in results.measurements
        if row["cell_id"] == cell
        and row["endpoint"] == claim["endpoint"]
        and row["zone"] == claim["zone"]
        and (not kinds or row["modality"] in kinds)
    ]
    told = [row for row in own if row["status"] != "not_identifiable"]
    if len(told) > MOST_VALUES:
        found = sorted(number(row["value"]) for row in told if known(row["value"]))
        below = sum(not known(row["value"]) for row in told)
        words = [f"{figures3(found[0])} to {figures3(found[-1])} in {len(found)}"] if found else []
        return ", ".join(words + ([f"{below} below detection"] if below else []))
    if not told:
        return "?" if own else ""
    return ", ".join(_short(row) for row in told)


def _short(row: dict) -> str:
    if not known(row.get("value")):
        return f"< {figures3(row.get('lod'))}"
    errors = [number(row.get(name)) for name in ("se_stat", "se_sys")]
    whole = math.hypot(*(0.0 if math.isnan(error) else error for error in errors))
    return html.amount(row["value"], whole if whole > 0 else None)


def _files(places: list[Slot]) -> Markup | None:
    """Where the examples of a panel stand as files for a journal."""
    if not places:
        return None
    parts: list[object] = ["Figure files: "]
    for index, place in enumerate(places):
        parts += ["; " if index else "", f"{place.name} "]
        for kind in ("svg", "png", "tsv"):
            parts += [
                " · " if kind != "svg" else "",
                html.link(kind.upper(), f"../figures/{place.name}.{kind}"),
            ]
    return paragraph(*parts, ".", class_="soft files")


def _group_line(results: Results, cells: list[str]) -> Markup:
    values = [row for row in results.cells if row["cell_id"] in cells and row["zone"] == "layer"]
    thickness = [row for row in values if row["endpoint"] == "layer_thickness_nm"]
    coverage = [row for row in values if row["endpoint"] == "layer_coverage" and known(row["value"])]
    found = [_amount(row, "se") for row in thickness if known(row["value"])]
    bounded = sum(row["status"] == "bounded" for row in thickness)
    own = [row for row in results.acquisitions if row["cell_id"] in cells]
    lod = [number(row["lod_thickness_nm"]) for row in own if known(row.get("lod_thickness_nm"))]
    return html.facts(
        {
            "Cells": len(cells),
            "Particles": len({(row["cell_id"], row["particle_id"]) for row in own}),
            "Acquisitions": len(own),
            f"Layer thickness by cell, {html.ERRORS}": f"{', '.join(found)} nm" if found else "",
            "Cells below detection": bounded or "",
            f"Coverage by cell, {html.ERRORS}": ", ".join(_amount(row, "se") for row in coverage),
            "Detection limits": _range(lod),
        }
    )


def _amount(row: dict, error: str) -> str:
    return html.amount(row["value"], row.get(error), row.get("se_sys"))


def _range(values: list[float]) -> str:
    if not values:
        return ""
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return f"{low} nm" if low == high else f"{low} to {high} nm"


def _panel(
    results: Results, place: Slot, acquisition: dict, limit: float, explorer: bool, words: str = ""
) -> list[Markup | None]:
    name, modality = acquisition["acquisition_id"], acquisition["modality"]
    source = results.source(acquisition)

    def draw(kind: str, caption: str = "") -> Markup:
        drawn = folders.acquisition_figure(kind, modality, source)
        return html.figure(drawn, caption, limit_kb=limit, alt=f"{words} {style.description(drawn)}".strip())

    title = join(f"{MODALITY_NAMES[modality]} ", page_of(acquisition), f" · {place.group}")
    measured = results.measured(name, "layer_thickness_nm")
    parts = [
        html.heading(title, 4),
        paragraph(_thickness_words(measured), " ", _conditions(acquisition), class_="soft"),
    ]
    if modality == "eels_si":
        parts += [draw("maps", caption=_map_caption(source)), draw("profile", CAPTIONS["profile"])]
    parts.append(html.row(draw("layer"), draw("trace")))
    if modality == "eels_si" and explorer:
        parts.append(paragraph(html.link("Move over this map and see the spectra", f"explorer/{name}.html")))
    return parts


def _conditions(acquisition: dict) -> str:
    """How much surface was seen, at which dose and defocus."""
    said = []
    for column, text in (
        ("analysed_length_nm", "{} nm of surface"),
        ("dose_e_per_A2", "{} e Å⁻²"),
        ("defocus_nm", "defocus {} nm"),
        ("pixel_size_nm", "{} nm pixels"),
    ):
        if known(acquisition.get(column)):
            said.append(text.format(figures3(acquisition[column])))
    text = ", ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _map_caption(source) -> str:
    path = source / "maps.h5"
    kind = maps.read_maps(path).kind if path.is_file() else "counts"
    text = (
        "Areal densities"
        if kind == "areal_density"
        else "Edge counts: areal densities are not identifiable here"
    )
    return f"{text}; t/λ last. Solid outline: particle; dashed: layer."


def _thickness_words(measured: dict) -> str:
    status = measured.get("status")
    if status == "identified":
        return f"Layer thickness {_amount(measured, 'se_stat')} nm ({html.ERRORS}) where covered."
    if status == "bounded":
        return f"No layer above the detection limit of {figures3(measured.get('lod'))} nm."
    return f"Layer thickness not identifiable: {measured.get('note') or 'no measurement'}."
