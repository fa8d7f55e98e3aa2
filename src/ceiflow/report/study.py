"""Sections of the study page: what may be claimed, on what evidence, and what was left out."""

from __future__ import annotations

from collections import Counter

from ceiflow.figures import folders, maps
from ceiflow.figures.claims import VERDICTS, interval_text
from ceiflow.figures.tables import endpoint_name, figures3, group_words, known, number, plain, unit_name
from ceiflow.report import html, methods
from ceiflow.report.html import Block, Column, Markup, block, join, paragraph, tag
from ceiflow.report.results import MODALITY_NAMES, Results

# Images of the panels share this, so that the page stays below five megabytes.
PANEL_BUDGET_KB = 2600.0
MOST_PANELS = 36
SYMBOLS = {name: symbol for name, (symbol, _) in VERDICTS.items()}
QC_SYMBOLS = {"ok": "✔", "warning": "!", "failed": "✘", "excluded": "–"}


def counted(number_of: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"


def subject(claim: dict) -> str:
    """What a claim is about, in words."""
    name = endpoint_name(claim["endpoint"])
    test, reference = group_words(claim.get("test", "")), group_words(claim.get("reference", ""))
    test = test or group_words(claim.get("group", ""))
    if claim["kind"] == "difference":
        return f"{name}, {test or 'test'} minus {reference or 'reference'}"
    if claim["kind"] == "absence":
        margin = (
            f" above {plain(claim['margin'])} {unit_name(claim.get('unit', ''))}"
            if known(claim.get("margin"))
            else ""
        )
        return f"no {name}{margin.rstrip()}, {test or 'all cells'}"
    if known(claim.get("low")) and known(claim.get("high")):
        bounds = f" within {plain(claim['low'])} to {plain(claim['high'])} {unit_name(claim.get('unit', ''))}"
        return f"{name}{bounds.rstrip()}, {test or 'all cells'}"
    return f"{name}, {test or 'all cells'}"


def head(results: Results) -> Block:
    """Title, authors and the answer in one paragraph, from the claims alone."""
    study = results.config.get("study") or {}
    title = study.get("title") or "Study"
    authors = ", ".join(map(str, study.get("authors") or []))
    description = study.get("description") or ""
    return block(
        tag("h1", title),
        paragraph(authors, class_="by") if authors else None,
        paragraph(description, class_="soft") if description else None,
        tag("div", *answer(results), class_="answer"),
        losses(results),
        title=title,
    )


def answer(results: Results) -> list[Markup]:
    """The answer: each verdict with its claims, then what it rests on."""
    claims = results.claims
    parts = []
    if not claims:
        parts.append(
            paragraph(
                "No claim was registered in the configuration: this page describes, and decides nothing."
            )
        )
    sentences: list[object] = []
    for verdict, opening in (
        ("supported", "Supported: "),
        ("refuted", "Refuted: "),
        ("cannot tell", "Cannot be told from these data: "),
    ):
        own = [claim for claim in claims if claim["verdict"] == verdict]
        if own:
            sentences += [tag("strong", opening), join(*_listed(own)), ". "]
    if sentences:
        parts.append(paragraph(*sentences))
    analysed = results.analysed()
    cells = {row["cell_id"] for row in analysed}
    spectra = sum(row["modality"].startswith("eels") for row in analysed)
    parts.append(
        paragraph(
            f"This rests on {counted(len(cells), 'cell')}, {counted(spectra, 'EELS acquisition')} and "
            f"{counted(len(analysed) - spectra, 'image')}; the cell is the unit of every interval and test."
        )
    )
    return parts


def _listed(claims: list[dict]) -> list[object]:
    parts: list[object] = []
    for index, claim in enumerate(claims):
        parts.append("; " if index else "")
        parts += [subject(claim), " (", html.link(claim["claim_id"], f"#claim-{claim['claim_id']}")]
        parts.append(f": {interval_text(claim)})" if known(claim.get("estimate")) else ")")
    return parts


def losses(results: Results) -> Markup | None:
    """One line, at the top, on what failed, was excluded or carries a warning."""
    counts = Counter(row["qc_status"] for row in results.acquisitions)
    named = [
        f"{counts[key]} {word}"
        for key, word in (
            ("failed", "failed"),
            ("excluded", "excluded by the sheet"),
            ("warning", "analysed with a warning"),
        )
        if counts[key]
    ]
    if not named:
        return None
    total = len(results.acquisitions)
    text = f"Of {counted(total, 'acquisition')}, {', '.join(named)}: "
    return paragraph(text, html.link("which, and why", "#quality"), ".", class_="notice")


def verdicts(results: Results) -> Block:
    """All claims: verdict, estimate, interval, cells, detection limit, reason."""
    if not results.claims:
        return block(paragraph("There is no claim to judge."))
    columns = [
        Column("Claim", _claim_cell, "claim"),
        Column("Verdict", lambda row: html.badge(row["verdict"], SYMBOLS.get(row["verdict"], ""))),
        Column("Estimate", _estimate_cell),
        Column("Rests on", _evidence_cell),
        Column("Reason", "reason", "reason"),
    ]
    level = 100 * (1 - number((results.config.get("statistics") or {}).get("alpha", 0.05)))
    return block(
        html.figure(
            folders.study_figure("claims", results.tables),
            f"Estimates with {level:g} % intervals, each in its own unit; dashed: zero or the margin; shaded: the interval the estimate has to lie in.",
            "svg",
        ),
        html.table(results.claims, columns, stack=True),
    )


def _claim_cell(row: dict) -> Markup:
    return tag(
        "div", tag("strong", row["claim_id"]), Markup("<br>"), subject(row), id=f"claim-{row['claim_id']}"
    )


def _estimate_cell(row: dict) -> Markup:
    lines = []
    if known(row.get("estimate")) or known(row.get("ci_high")):
        lines.append(interval_text(row))
    if known(row.get("prevalence")):
        lines.append(f"found in {number(row['prevalence']):.0%}")
    if known(row.get("prevalence_high")):
        lines.append(f"at most {number(row['prevalence_high']):.0%}")
    return _lines(lines or ["none"])


def _evidence_cell(row: dict) -> Markup:
    cells = [row.get(name, "") for name in ("n_cells_test", "n_cells_reference")]
    lines = [f"{' v '.join(filter(None, cells)) or '0'} cells, {row.get('n_acquisitions') or 0} acquisitions"]
    if known(row.get("lod")):
        lines.append(f"detection limit {with_unit(row['lod'], row)}")
    if known(row.get("p_adjusted")):
        least = f" (least possible {figures3(row['p_min'])})" if known(row.get("p_min")) else ""
        lines.append(f"p = {figures3(row['p_adjusted'])}{least}")
    return _lines(lines)


def _lines(lines: list[str]) -> Markup:
    return join(*(tag("div", line, class_="line") for line in lines))


def with_unit(value: object, row: dict) -> str:
    """A number of a row with the row's unit."""
    return f"{figures3(value)} {unit_name(row.get('unit', ''))}".rstrip()


def evidence(results: Results) -> Block:
    """Thickness, coverage and presence by group."""
    return block(
        html.figure(
            folders.study_figure("layer_thickness", results.tables),
            "Layer thickness. Large points are cells, the unit of inference; small ones acquisitions; downward arrows upper limits, where nothing was found above the detection limit.",
            "svg",
        ),
        html.figure(
            folders.study_figure("layer_coverage", results.tables),
            "Covered fraction of the analysed surface.",
            "svg",
        ),
        html.figure(
            folders.study_figure("prevalence", results.tables),
            "What each acquisition says about the presence of a layer.",
            "svg",
        ),
    )


def panels(results: Results, explorer: bool = False) -> Block:
    """For every condition, electrode and state: its cells in numbers, and one acquisition of each modality."""
    order = sorted(results.groups, key=_study_order)
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


def _study_order(group: str) -> tuple[int, int]:
    """Normal cycling first, then shorted cells, then references, as the question is asked."""
    condition = group.split(" · ")[0].lower()
    return {"normal": 0, "shorted": 1, "pristine": 3}.get(condition, 2), 0


def _group_line(results: Results, cells: list[str]) -> Markup:
    values = [row for row in results.cells if row["cell_id"] in cells and row["zone"] == "layer"]
    thickness = [row for row in values if row["endpoint"] == "layer_thickness_nm"]
    coverage = [row for row in values if row["endpoint"] == "layer_coverage" and known(row["value"])]
    found = [number(row["value"]) for row in thickness if known(row["value"])]
    bounded = sum(row["status"] == "bounded" for row in thickness)
    own = [row for row in results.acquisitions if row["cell_id"] in cells]
    lod = [number(row["lod_thickness_nm"]) for row in own if known(row.get("lod_thickness_nm"))]
    return html.facts(
        {
            "Cells": len(cells),
            "Particles": len({(row["cell_id"], row["particle_id"]) for row in own}),
            "Acquisitions": len(own),
            "Layer thickness by cell": f"{', '.join(f'{value:.3g}' for value in found)} nm" if found else "",
            "Cells below detection": bounded or "",
            "Coverage by cell": ", ".join(f"{number(row['value']):.0%}" for row in coverage),
            "Detection limits": _range(lod),
        }
    )


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
        return f"Layer thickness {html.amount(measured['value'], measured.get('se_stat'))} nm where covered."
    if status == "bounded":
        return f"No layer above the detection limit of {figures3(measured.get('lod'))} nm."
    return f"Layer thickness not identifiable: {measured.get('note') or 'no measurement'}."


def composition(results: Results) -> Block:
    """Elements by group and zone."""
    drawn = folders.study_figure("composition", results.tables)
    return block(html.figure(drawn, "One point a cell, with its standard error.", "svg"))


def heterogeneity(results: Results) -> Block:
    """At which level values vary."""
    columns = [
        Column("Quantity", lambda row: endpoint_name(row["endpoint"])),
        Column("Zone", "zone"),
        Column("Level", "level"),
        Column("Variance", lambda row: figures3(row["variance"]) if known(row["variance"]) else "", "number"),
        Column(
            "Interval",
            lambda row: (
                f"{figures3(row['ci_low'])} to {figures3(row['ci_high'])}" if known(row.get("ci_low")) else ""
            ),
            "number",
        ),
        Column("Share", lambda row: f"{number(row['share']):.0%}" if known(row["share"]) else "", "number"),
        Column("Units", "n", "number"),
    ]
    rows = [row for row in results.heterogeneity if known(row["variance"])]
    table = html.details("The variances in numbers", html.table(rows, columns)) if rows else None
    return block(html.figure(folders.study_figure("heterogeneity", results.tables), "", "svg"), table)


def quality(results: Results) -> Block:
    """Acquisitions that failed, were excluded, or carry a warning, each with its reason."""
    order = ("failed", "excluded", "warning")
    rows = [row for status in order for row in results.acquisitions if row["qc_status"] == status]
    counts = Counter(row["qc_status"] for row in results.acquisitions)
    total = paragraph(
        f"{counted(len(results.acquisitions), 'acquisition')}: "
        + ", ".join(f"{counts[key]} {key}" for key in ("ok", *order) if counts[key])
        + "."
    )
    columns = [
        Column(
            "Acquisition",
            lambda row: html.link(
                row["acquisition_id"], f"cells/{row['cell_id']}.html#{row['acquisition_id']}"
            ),
            "name",
        ),
        Column("Cell", "cell_id", "name"),
        Column("Signal", lambda row: MODALITY_NAMES.get(row["modality"], row["modality"])),
        Column("Status", lambda row: html.badge(row["qc_status"], QC_SYMBOLS.get(row["qc_status"], ""))),
        Column("Reason", "qc_reason", "reason"),
    ]
    if not rows:
        return block(total, paragraph("Nothing failed, nothing was excluded, and there is no warning."))
    return block(total, html.table(rows, columns, stack=True))


def limits(results: Results) -> Block:
    """What the data cannot say: quantities by the reason why."""
    reasons: dict[str, dict[str, set]] = {}
    for row in results.measurements:
        if row["status"] == "not_identifiable":
            entry = reasons.setdefault(row["note"], {"what": {}, "where": set()})
            entry["what"][endpoint_name(row["endpoint"])] = None
            entry["where"].add(row["acquisition_id"])
    if not reasons:
        return block(paragraph("Every quantity was identified or bounded in every acquisition."))
    rows = [
        {"reason": note, "what": ", ".join(entry["what"]), "n": len(entry["where"])}
        for note, entry in sorted(reasons.items(), key=lambda item: (-len(item[1]["where"]), item[0]))
    ]
    columns = [
        Column("Reason", "reason", "reason"),
        Column("Quantities", "what"),
        Column("Acquisitions", "n", "number"),
    ]
    more = len(rows) - 40
    note = paragraph(f"{more} rarer reasons stand in measurements.tsv.", class_="soft") if more > 0 else None
    return block(html.table(rows[:40], columns, stack=True), note)


def how(results: Results) -> Block:
    """The methods, from the configuration that ran."""
    return block(*(paragraph(text) for text in methods.sentences(results.config)))


def provenance(results: Results) -> Block:
    """Versions, revision, seeds and inputs."""
    return block(*methods.provenance(results.provenance))


def cells(results: Results) -> Block:
    """Links to the pages of all cells."""
    parts: list[Markup] = []
    for group in sorted(results.groups, key=_study_order):
        items = [tag("li", html.link(cell, f"cells/{cell}.html")) for cell in results.groups[group]]
        parts += [html.heading(group, 4), tag("ul", *items, class_="links")]
    return block(*parts)
