"""The panels of the study page: each group of cells in numbers, and one acquisition of each modality."""

from __future__ import annotations

import re

from ceiflow.figures import fine_structure, folders, maps, style
from ceiflow.figures.claims import interval_text
from ceiflow.figures.names import ACQUISITION_FIGURES
from ceiflow.figures.tables import endpoint_name, figures3, known, number, plain, read_json, unit_name
from ceiflow.report import html
from ceiflow.report.cell import CAPTIONS
from ceiflow.report.html import Block, Column, Markup, block, counted, join, paragraph, tag
from ceiflow.report.results import MODALITY_NAMES, SPECTRA, Results
from ceiflow.study.panels import Panel
from ceiflow.study.panels import panels as study_panels

# Images of the panels share this, so that the page stays below five megabytes.
PANEL_BUDGET_KB = 2600.0
MOST_PANELS = 36
MODALITIES = ("hrtem", "tem", "adf", "eels_si")
OUTCOMES = {"reached": "✔", "refuted": "✘", "cannot tell": "?"}
CARBON_ZONES = ("layer", "surface", "all")
CARBON_CAPTION = (
    "Carbon K edge by condition, one acquisition a cell: of the layer, else of the surface or of all that is "
    "there; aligned, without background, with 95 % bands; below: the difference; beside: the species."
)
# How reasons name the cells of a panel.
_CELLS = re.compile(r"(?:with )?cell_id=[^\s;,()]+")


def panels(results: Results, explorer: bool = True) -> Block:
    """The study's panels in its order, each with its finding; then every other group of cells."""
    found = study_panels(results.sheet, results.acquisitions, results.config.get("claims") or [])
    verdicts = {row["claim_id"]: row for row in results.table("panels")}
    shown = [(panel, _examples(results, panel)) for panel in found]
    told = {cell for panel in found for cell in (*panel.cells, *panel.compared)}
    rest = [group for group in sorted(results.groups, key=study_order) if not told & {*results.groups[group]}]
    more = {
        (group, modality): example
        for group in rest
        for modality in MODALITIES
        if (example := results.representative(results.groups[group], modality)) is not None
    }
    count = sum(len(examples) for _, examples in shown) + len(more)
    limit = min(230.0, PANEL_BUDGET_KB / max(1.8 * min(count, MOST_PANELS), 1.0))
    room = MOST_PANELS
    parts: list[Markup | None] = [_overview(found, verdicts)] if found else []
    for panel, examples in shown:
        parts += _study_panel(results, panel, examples[:room], verdicts, limit, explorer)
        room = max(room - len(examples), 0)
    for group in rest:
        parts += [html.heading(group, 3), _group_line(results, results.groups[group])]
        own = [example for key, example in more.items() if key[0] == group]
        for example in own[:room]:
            parts += _panel(results, example, limit, explorer)
        room = max(room - len(own), 0)
        if not own:
            parts.append(paragraph("No acquisition of this group could be analysed.", class_="soft"))
    if count > MOST_PANELS:
        text = f"{counted(count - MOST_PANELS, 'further panel')} stand on the pages of the cells."
        parts.append(paragraph(text, class_="soft"))
    return block(*parts)


def _examples(results: Results, panel: Panel) -> list[dict]:
    """One acquisition for each group and kind of signal of a panel; all kinds of its own, else none."""
    found = []
    for group in sorted(results.groups, key=study_order):
        for cells in (panel.cells, panel.compared):
            own = [cell for cell in results.groups[group] if cell in cells]
            kinds = [results.representative(own, modality) for modality in panel.modalities] if own else []
            found += [example for example in kinds if example is not None]
    return found


def outcome(panel: Panel, verdicts: dict[str, dict]) -> str:
    """`reached`, `refuted` or `cannot tell`: refuted by one criterion, reached by all."""
    said = [verdicts.get(claim["id"], {}).get("verdict", "cannot tell") for claim in panel.claims]
    if "refuted" in said:
        return "refuted"
    return "reached" if said and all(verdict == "supported" for verdict in said) else "cannot tell"


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
    examples: list[dict],
    verdicts: dict[str, dict],
    limit: float,
    explorer: bool,
) -> list[Markup | None]:
    findings = [finding(claim, verdicts.get(claim["id"], {})) for claim in panel.claims]
    parts: list[Markup | None] = [
        html.heading(f"{panel.name} · {panel.title}", 3, f"panel-{panel.name}"),
        paragraph(tag("strong", panel.question), " ", _badge(panel, verdicts)),
        tag("ul", *(tag("li", text) for text in findings)) if findings else None,
        _group_line(results, panel.cells),
    ]
    if not findings:
        text = "There is nothing to compare it with, so that no criterion can be held against it."
        parts.append(paragraph(text, class_="soft"))
    stated = f"Panel {panel.name}, {outcome(panel, verdicts)}: {' '.join(findings)}".strip()
    carbon_edge = panel.name == "2e"
    if carbon_edge and examples:
        drawn = fine_structure.carbon_edges(_carbon(results, panel))
        words = f"{stated} {style.description(drawn)}"
        parts.append(html.figure(drawn, CARBON_CAPTION, limit_kb=limit, alt=words))
    for example in examples:
        parts += _panel(results, example, limit, explorer, stated, carbon_edge)
    if not examples:
        parts.append(paragraph("No acquisition of this panel could be analysed.", class_="soft"))
    return parts


def _carbon(results: Results, panel: Panel) -> dict[str, list[dict]]:
    """The carbon K edge of one acquisition of each cell: of its layer, else of the particle's surface."""
    found: dict[str, list[dict]] = {}
    for cells in (panel.compared, panel.cells):
        for cell in cells:
            for row in sorted(results.analysed([cell]), key=lambda row: row["modality"]):
                if row["modality"] not in SPECTRA:
                    continue
                zones = read_json(results.source(row) / "fine_structure.json").get("carbon") or {}
                usable = [zones[name] for name in CARBON_ZONES if zones.get(name, {}).get("reason") == ""]
                if usable:
                    found.setdefault(row.get("condition") or _condition(results, cell), []).append(usable[0])
                    break
    return found


def _condition(results: Results, cell: str) -> str:
    return next((row["condition"] for row in results.sheet if row["cell_id"] == cell), cell)


def finding(claim: dict, row: dict) -> str:
    """What was found on one criterion, in one sentence with its numbers."""
    name = endpoint_name(claim["endpoint"])
    name = name[:1].upper() + name[1:]
    unit = unit_name(row.get("unit", ""))
    if claim["kind"] == "absence":
        against = (
            f"above {plain(claim['margin'])} nm in at most {claim['max_prevalence']:.0%} of the surface seen"
        )
    elif claim["kind"] == "interval":
        against = f"{plain(claim['low'])} to {plain(claim['high'])} {unit}".rstrip()
    else:
        against = "a difference greater than zero"
    if not row:
        return f"{name}: not judged."
    parts = [interval_text(row) if known(row.get("estimate")) else "no estimate"]
    if known(row.get("prevalence")):
        high = f", at most {number(row['prevalence_high']):.0%}" if known(row.get("prevalence_high")) else ""
        parts.append(f"a layer in {number(row['prevalence']):.0%}{high}")
    cells = " v ".join(filter(None, (row.get("n_cells_test"), row.get("n_cells_reference")))) or "0"
    basis = f"{cells} cells, {row.get('n_acquisitions') or 0} acquisitions"
    if known(row.get("lod")):
        basis += f", detection limit {figures3(row['lod'])} {unit}".rstrip()
    word = {"supported": "reached"}.get(row["verdict"], row["verdict"])
    text = f"{name}: {', '.join(parts)} ({basis}), held against {against}: {word}."
    if word == "cannot tell":
        first = _CELLS.sub("of this panel", row.get("reason", "").split("; ")[0]).strip()
        text += f" {first[:1].upper()}{first[1:]}" + ("" if first.endswith(".") else ".") if first else ""
    return text


def study_order(group: str) -> tuple[int, int]:
    """Normal cycling first, then shorted cells, then references, as the question is asked."""
    condition = group.split(" · ")[0].lower()
    return {"normal": 0, "shorted": 1, "pristine": 3}.get(condition, 2), 0


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
    results: Results,
    acquisition: dict,
    limit: float,
    explorer: bool,
    finding: str = "",
    carbon_edge: bool = False,
) -> list[Markup | None]:
    name, modality = acquisition["acquisition_id"], acquisition["modality"]
    source = results.source(acquisition)

    def draw(kind: str, caption: str = "") -> Markup:
        drawn = folders.acquisition_figure(kind, modality, source)
        words = f"{finding} {style.description(drawn)}".strip()
        return html.figure(drawn, caption, limit_kb=limit, alt=words)

    address = f"cells/{acquisition['cell_id']}.html#{name}"
    cell = html.link(name, address)
    parts = [html.heading(join(f"{MODALITY_NAMES[modality]} ", cell), 4)]
    if carbon_edge:
        kind = "fine_structure" if "fine_structure" in ACQUISITION_FIGURES[modality] else "spectra"
        return [*parts, _species(results, name), draw(kind, CAPTIONS.get(kind, ""))]
    measured = results.measured(name, "layer_thickness_nm")
    parts.append(paragraph(_thickness_words(measured), class_="soft"))
    if modality == "eels_si":
        parts += [draw("maps", caption=_map_caption(source)), draw("profile", CAPTIONS["profile"])]
    parts.append(html.row(draw("layer"), draw("trace")))
    if modality == "eels_si" and explorer:
        parts.append(paragraph(html.link("Move over this map and see the spectra", f"explorer/{name}.html")))
    return parts


def _species(results: Results, name: str) -> Markup | None:
    """What the carbon of each zone of one acquisition is bound in."""
    found = [
        row
        for row in results.measurements
        if row["acquisition_id"] == name
        and row["endpoint"].startswith("carbon_fraction_")
        and row["status"] != "not_identifiable"
    ]
    columns = [
        Column("Zone", "zone"),
        Column("Carbon as", lambda row: row["endpoint"].removeprefix("carbon_fraction_")),
        Column(
            "Fraction",
            lambda row: (
                _amount(row, "se_stat") if known(row.get("value")) else f"< {figures3(row.get('lod'))}"
            ),
            "number",
        ),
        Column("Status", lambda row: row["status"].replace("_", " ")),
        Column("Note", "note", "reason"),
    ]
    return html.table(found, columns, f"Fractions of the carbon, {html.ERRORS}") if found else None


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
