"""Sections of the study page: what may be claimed, on what evidence, and what was left out."""

from __future__ import annotations

import re
from collections import Counter

from ceiflow.figures import folders
from ceiflow.figures.claims import VERDICTS, interval_text
from ceiflow.figures.slots import study_order
from ceiflow.figures.tables import (
    endpoint_name,
    figures3,
    group_words,
    known,
    number,
    percent,
    plain,
    unit_name,
)
from ceiflow.report import formulas, html, methods
from ceiflow.report.carbon import page_of
from ceiflow.report.evidence import evidence_lines
from ceiflow.report.html import Block, Column, Markup, block, counted, join, paragraph, tag
from ceiflow.report.outlook import exploration, planning
from ceiflow.report.panels import panels
from ceiflow.report.results import MODALITY_NAMES, QC_SYMBOLS, Results

__all__ = [
    "cells",
    "composition",
    "evidence",
    "exploration",
    "head",
    "heterogeneity",
    "how",
    "limits",
    "panels",
    "planning",
    "provenance",
    "quality",
    "verdicts",
]
THICKNESS_CAPTION = (
    "Large points are cells, the unit of inference; small ones are their particles. Downward triangles are "
    "upper limits: nothing was found above them. Bars are statistical errors; the systematic ones stand on "
    "the pages of the cells."
)
_GROUP = re.compile(r"\b\w+=[^;=]+?(?:;\w+=[^;=]+?)*(?=$|[;:,.)]?(?:\s|$))")
# A number in a reason; not one that is part of a name, such as L3 or p2r1.
_NUMBER = re.compile(r"(?<![\w.\-/])-?\d+(?:\.\d+)?(?![\w\-/])")
# Reasons beyond these are folded away.
MOST_REASONS = 12
SYMBOLS = {name: symbol for name, (symbol, _) in VERDICTS.items()}


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
        name = "layer" if claim["endpoint"] == "layer_thickness_nm" else name
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
        paragraph(html.link("All pages", "index.html")),
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
        Column("Rests on", lambda row: _lines(evidence_lines(results, row)), "rests"),
        Column("Reason", _reason_cell, "reason"),
    ]
    level = 100 * (1 - number((results.config.get("statistics") or {}).get("alpha", 0.05)))
    caption = (
        f"Estimates with {level:g} % intervals, each in its own unit; dashed: zero or the margin; shaded: "
        "the interval in which the estimate has to lie."
    )
    return block(
        html.figure(
            folders.study_figure("claims", results.tables),
            caption,
            "svg",
        ),
        html.table(results.claims, columns, stack=True),
    )


def _claim_cell(row: dict) -> Markup:
    return tag(
        "div", tag("strong", row["claim_id"]), Markup("<br>"), subject(row), id=f"claim-{row['claim_id']}"
    )


def _reason_cell(row: dict) -> Markup:
    """What decides first; the steps that led there folded below it."""
    first, *rest = [in_words(part) for part in row["reason"].split("; ")]
    more = html.details("In full", tag("ul", *(tag("li", part) for part in rest))) if rest else ""
    return join(tag("div", first[:1].upper() + first[1:] + ("" if first.endswith(".") else ".")), more)


def in_words(reason: str) -> str:
    """A reason whose groups of cells, written `column=value;column=value`, are named by their values."""
    worded = _GROUP.sub(lambda found: group_words(found.group()), reason.strip())
    return re.sub(r"(?<![\w.])-(?=\d)", "−", worded.replace("+-", "±"))


def _estimate_cell(row: dict) -> Markup:
    lines = []
    if known(row.get("estimate")) or known(row.get("ci_high")):
        lines.append(interval_text(row))
    if known(row.get("prevalence")):
        lines.append(f"in {percent(row['prevalence'])} of the regions")
    if known(row.get("prevalence_high")):
        lines.append(f"at most {percent(row['prevalence_high'])}")
    return _lines(lines or ["none"], "line")


def _lines(lines: list[str], kind: str | None = None) -> Markup:
    return join(*(tag("div", line, class_=kind) for line in lines))


def evidence(results: Results) -> Block:
    """Thickness, coverage and presence by group."""
    return block(
        html.figure(
            folders.study_figure("layer_thickness", results.tables),
            THICKNESS_CAPTION,
            "svg",
        ),
        html.figure(
            folders.study_figure("layer_coverage", results.tables),
            "Covered fraction of the analysed surface; points and bars as above.",
            "svg",
        ),
        html.figure(
            folders.study_figure("prevalence", results.tables),
            "What each acquisition says about the presence of a layer; beside: the share of regions that "
            "have one, with its bounds, for the claims that there is none.",
            "svg",
        ),
    )


def composition(results: Results) -> Block:
    """Elements by group and zone."""
    drawn = folders.study_figure("composition", results.tables)
    return block(
        html.figure(
            drawn,
            "One point a cell; bars: its statistical error (the systematic one stands on its page).",
            "svg",
        )
    )


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
        Column("Share", lambda row: percent(row["share"]) if known(row["share"]) else "", "number"),
        Column("Units", "n", "number"),
    ]
    rows = [row for row in results.heterogeneity if known(row["variance"])]
    table = html.details("The variances in numbers", html.table(rows, columns)) if rows else None
    caption = (
        "Share of each quantity's variance by level; beside: the scatter of the layer's thickness at each."
    )
    return block(html.figure(folders.study_figure("heterogeneity", results.tables), caption, "svg"), table)


def quality(results: Results) -> Block:
    """Acquisitions that failed or were excluded, each with its reason; warnings by what they say."""
    order = ("failed", "excluded", "warning")
    rows = [row for status in order[:2] for row in results.acquisitions if row["qc_status"] == status]
    warned = [row for row in results.acquisitions if row["qc_status"] == "warning"]
    counts = Counter(row["qc_status"] for row in results.acquisitions)
    total = paragraph(
        f"{counted(len(results.acquisitions), 'acquisition')}: "
        + ", ".join(f"{counts[key]} {key}" for key in ("ok", *order) if counts[key])
        + "."
    )
    columns = [
        Column("Acquisition", page_of, "name"),
        Column("Cell", "cell_id", "name"),
        Column("Signal", lambda row: MODALITY_NAMES.get(row["modality"], row["modality"])),
        Column("Status", lambda row: html.badge(row["qc_status"], QC_SYMBOLS.get(row["qc_status"], ""))),
        Column("Reason", "qc_reason", "reason"),
    ]
    if not rows and not warned:
        return block(total, paragraph("Nothing failed, nothing was excluded, and there is no warning."))
    return block(total, html.table(rows, columns, stack=True) if rows else None, _warnings(warned))


def _warnings(warned: list[dict]) -> Markup | None:
    """Warnings that say the same but for their numbers, once, with all acquisitions they are about."""
    kinds: dict[str, list[dict]] = {}
    for row in warned:
        kinds.setdefault(_NUMBER.sub("…", row["qc_reason"]), []).append(row)
    columns = [
        Column("Warning", lambda row: in_words(row["text"]), "reason"),
        Column("Acquisitions", "n", "number"),
        Column("Which", lambda row: html.details("Names", _linked(row["rows"]))),
    ]
    lines = [
        {"text": without_numbers([row["qc_reason"] for row in rows]), "n": len(rows), "rows": rows}
        for rows in sorted(kinds.values(), key=len, reverse=True)
    ]
    return html.table(lines, columns, "Analysed with a warning", stack=True) if lines else None


def _linked(rows: list[dict]) -> Markup:
    return join(*(join(", " if index else "", page_of(row)) for index, row in enumerate(rows)))


def without_numbers(texts: list[str]) -> str:
    """Texts that differ in their numbers alone as one, with the range of each number that differs."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    ranges = iter(
        [
            values[0]
            if len(set(values)) == 1
            else f"{min(values, key=float)} to {max(values, key=float)}".replace("-", "−")
            for values in columns
        ]
    )
    return _NUMBER.sub(lambda _: next(ranges), texts[0])


def limits(results: Results) -> Block:
    """What the data cannot say: quantities by the reason why."""
    reasons: dict[str, dict[str, set]] = {}
    for row in results.measurements:
        if row["status"] == "not_identifiable":
            entry = reasons.setdefault(
                _NUMBER.sub("…", row["note"]), {"what": {}, "where": set(), "notes": {}}
            )
            entry["notes"][row["note"]] = None
            entry["what"][endpoint_name(row["endpoint"])] = None
            entry["where"].add(row["acquisition_id"])
    if not reasons:
        return block(paragraph("Every quantity was identified or bounded in every acquisition."))
    rows = [
        {
            "reason": in_words(without_numbers([*entry["notes"]])),
            "what": ", ".join(entry["what"]),
            "n": len(entry["where"]),
        }
        for _, entry in sorted(reasons.items(), key=lambda item: (-len(item[1]["where"]), item[0]))
    ]
    columns = [
        Column("Reason", "reason", "reason"),
        Column("Quantities", "what"),
        Column("Acquisitions", "n", "number"),
    ]
    rarer = rows[MOST_REASONS:]
    more = (
        html.details(f"{counted(len(rarer), 'rarer reason')}", html.table(rarer, columns, stack=True))
        if rarer
        else None
    )
    return block(html.table(rows[:MOST_REASONS], columns, stack=True), more)


def how(results: Results) -> Block:
    """The methods, from the configuration that ran, with formulas and sources."""
    sources = [tag("li", text) for text in formulas.references(results.config)]
    return block(
        *(paragraph(text) for text in methods.sentences(results.config, results.axes)),
        *formulas.of_methods(results.config),
        tag("ul", *sources, class_="soft") if sources else None,
    )


def provenance(results: Results) -> Block:
    """Versions, revision, seeds and inputs."""
    return block(*methods.provenance(results.provenance))


def cells(results: Results) -> Block:
    """Links to the pages of all cells."""
    parts: list[Markup] = []
    for group in sorted(results.groups, key=study_order):
        items = [tag("li", html.link(cell, f"cells/{cell}.html")) for cell in results.groups[group]]
        parts += [html.heading(group, 4), tag("ul", *items, class_="links")]
    return block(*parts)
