"""The page that ties all pages: study, cells, spectra, notebooks, tables, figures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ceiflow.figures.names import STUDY_FIGURES
from ceiflow.figures.slots import study_order
from ceiflow.figures.tables import figures3, known
from ceiflow.report import html
from ceiflow.report.html import Column, Markup, counted, join, paragraph, tag
from ceiflow.report.pages import write_page
from ceiflow.report.panels import study_slots
from ceiflow.report.results import MODALITY_NAMES, QC_SYMBOLS, Results
from ceiflow.report.study import SYMBOLS, subject

TABLES = {
    "claims": "one row a claim: estimate, interval, verdict and what it rests on",
    "panels": "one row for each criterion of a panel, judged like a claim",
    "planning": "cells, particles and regions that each claim needs",
    "exploration": "differences that nobody registered, with q-values: to ask further, not to claim",
    "pooled": "species of each cell by one fit to all of its spectra",
    "cells": "one row for each cell, zone and quantity",
    "measurements": "one row for each acquisition, zone and quantity, with errors, limit and status",
    "acquisitions": "one row an acquisition: metadata with their origin, calibration, quality",
    "heterogeneity": "variance by level: pixel, region, particle, cell",
}
FIGURES = {
    "claims": "What may be claimed",
    "layer_thickness": "Thickness of the layer",
    "layer_coverage": "Coverage",
    "prevalence": "How often there is a layer",
    "composition": "What it is made of",
    "heterogeneity": "At which level values vary",
    "planning": "How many cells would tell",
}


def write_index(results: Results, page: str | Path) -> None:
    """Write reports/index.html.

    Parameters
    ----------
    results : Results
    page : path
    """
    title = (results.config.get("study") or {}).get("title") or "Study"
    parts = [
        tag("h1", title),
        paragraph(html.link("Read the study page first", "study.html"), class_="answer"),
        html.heading("Verdicts", 2, "verdicts"),
        _verdicts(results),
        html.heading("Cells and acquisitions", 2, "cells"),
        _counts(results),
        *_cells(results),
        html.heading("Figures", 2, "figures"),
        paragraph(
            "Each as SVG and PNG at the width of one or two columns (89 or 183 mm), and the numbers in it."
        ),
        tag("ul", *_figures(results)),
        html.heading("Tables", 2, "tables"),
        tag("ul", *_tables(results)),
        html.heading("Notebooks and records", 2, "notebooks"),
        tag("ul", *_records()),
    ]
    write_page(page, f"{title}: all pages", [str(part) for part in parts])


def _verdicts(results: Results) -> Markup:
    if not results.claims:
        return paragraph("No claim was registered.")
    columns = [
        Column("Claim", lambda row: html.link(row["claim_id"], f"study.html#claim-{row['claim_id']}")),
        Column("About", subject),
        Column("Verdict", lambda row: html.badge(row["verdict"], SYMBOLS.get(row["verdict"], ""))),
    ]
    return html.table(results.claims, columns, stack=True)


def _counts(results: Results) -> Markup:
    listed = results.acquisitions
    lost = sum(row["qc_status"] in {"failed", "excluded"} for row in listed)
    cells = counted(sum(len(cells) for cells in results.groups.values()), "cell")
    more = f", {lost} of which failed or were excluded" if lost else ""
    return paragraph(f"{cells}, {counted(len(listed), 'acquisition')}{more}.")


def _cells(results: Results) -> Iterable[Markup]:
    columns = [
        Column("Acquisition", _page_of, "name"),
        Column("Cell", lambda row: html.link(row["cell_id"], f"cells/{row['cell_id']}.html"), "name"),
        Column("Signal", lambda row: MODALITY_NAMES.get(row["modality"], row["modality"])),
        Column("Quality", lambda row: html.badge(row["qc_status"], QC_SYMBOLS.get(row["qc_status"], ""))),
        Column("Layer thickness", lambda row: _thickness(results, row), "number"),
        Column("Spectra", _explorer_of),
    ]
    for group in sorted(results.groups, key=study_order):
        cells = results.groups[group]
        own = [row for row in results.acquisitions if row["cell_id"] in cells]
        yield html.heading(group, 3)
        links = [tag("li", html.link(cell, f"cells/{cell}.html")) for cell in cells]
        yield tag("ul", *links, class_="links")
        if own:
            yield html.details(counted(len(own), "acquisition"), html.table(own, columns, stack=True))


def _page_of(row: dict) -> Markup:
    return html.link(row["acquisition_id"], f"cells/{row['cell_id']}.html#{row['acquisition_id']}")


def _explorer_of(row: dict) -> Markup | str:
    if row["modality"] != "eels_si" or row["qc_status"] in {"failed", "excluded"}:
        return ""
    return html.link("explore", f"explorer/{row['acquisition_id']}.html")


def _thickness(results: Results, row: dict) -> str:
    measured = results.measured(row["acquisition_id"], "layer_thickness_nm")
    if known(measured.get("value")):
        return f"{html.amount(measured['value'], measured.get('se_stat'), measured.get('se_sys'))} nm"
    return f"< {figures3(measured['lod'])} nm" if known(measured.get("lod")) else ""


def _figures(results: Results) -> Iterable[Markup]:
    named = {name: FIGURES.get(name, name.replace("_", " ")) for name in STUDY_FIGURES}
    for place in study_slots(results):
        panel = f"Panel {place.panel.name}, " if place.panel else ""
        kind = MODALITY_NAMES.get(place.modality, "all compared")
        named[place.name] = f"{panel}{place.group}, {kind}"
    for name, words in named.items():
        kinds = []
        for kind in ("svg", "png", "tsv"):
            kinds += [" · " if kinds else "", html.link(kind.upper(), f"../figures/{name}.{kind}")]
        yield tag("li", f"{words}: ", join(*kinds))


def _tables(results: Results) -> Iterable[Markup]:
    for name, words in TABLES.items():
        count = counted(len(results.table(name)), "row")
        yield tag("li", html.link(f"{name}.tsv", f"../tables/{name}.tsv"), f" ({count}): {words}")


def _records() -> Iterable[Markup]:
    yield tag("li", html.link("study.ipynb", "study.ipynb"), ": the notebook behind the study page")
    yield tag("li", "cells/*.ipynb: the notebooks behind the pages of the cells, linked at their foot")
    yield tag("li", html.link("config.yaml", "../study/config.yaml"), ": the configuration that ran")
    yield tag(
        "li", html.link("provenance.json", "../study/provenance.json"), ": versions, digests of inputs, seeds"
    )
