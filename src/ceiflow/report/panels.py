"""The panels of the study page: each group of cells in numbers, and one acquisition of each modality."""

from __future__ import annotations

from ceiflow.figures import folders, maps
from ceiflow.figures.tables import figures3, known, number
from ceiflow.report import html
from ceiflow.report.html import Block, Markup, block, counted, join, paragraph
from ceiflow.report.results import MODALITY_NAMES, Results

# Images of the panels share this, so that the page stays below five megabytes.
PANEL_BUDGET_KB = 2600.0
MOST_PANELS = 36


def panels(results: Results, explorer: bool = False) -> Block:
    """For every condition, electrode and state: its cells in numbers, one acquisition of each modality."""
    order = sorted(results.groups, key=study_order)
    modalities = ("hrtem", "tem", "adf", "eels_si")
    chosen = {
        (group, modality): found
        for group in order
        for modality in modalities
        if (found := results.representative(results.groups[group], modality)) is not None
    }
    limit = min(230.0, PANEL_BUDGET_KB / max(1.8 * len(chosen), 1.0))
    left_out = max(0, len(chosen) - MOST_PANELS)
    shown = set(list(chosen)[:MOST_PANELS])
    parts: list[Markup | None] = []
    for group in order:
        parts += [html.heading(group, 3), _group_line(results, results.groups[group])]
        for modality in modalities:
            if (group, modality) in shown:
                parts += _panel(results, chosen[group, modality], limit, explorer)
        if not any(key[0] == group for key in chosen):
            parts.append(paragraph("No acquisition of this group could be analysed.", class_="soft"))
    if left_out:
        parts.append(
            paragraph(f"{counted(left_out, 'further panel')} stand on the pages of the cells.", class_="soft")
        )
    return block(*parts)


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


def _panel(results: Results, acquisition: dict, limit: float, explorer: bool) -> list[Markup | None]:
    name, modality = acquisition["acquisition_id"], acquisition["modality"]
    source = results.source(acquisition)

    def draw(kind: str, caption: str = "") -> Markup:
        return html.figure(folders.acquisition_figure(kind, modality, source), caption, limit_kb=limit)

    parts = [
        html.heading(
            join(
                f"{MODALITY_NAMES[modality]} ", html.link(name, f"cells/{acquisition['cell_id']}.html#{name}")
            ),
            4,
        )
    ]
    measured = results.measured(name, "layer_thickness_nm")
    parts.append(paragraph(_thickness_words(measured), class_="soft"))
    if modality == "eels_si":
        parts.append(draw("maps", caption=_map_caption(source)))
    parts.append(html.row(draw("layer"), draw("trace")))
    if modality == "eels_si" and explorer:
        parts.append(paragraph(html.link("Move over this map and see the spectra", f"explorer/{name}.html")))
    return parts


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
