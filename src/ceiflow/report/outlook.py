"""What would tell: cells that undecided claims need; and what was explored beside the registered claims."""

from __future__ import annotations

from collections.abc import Mapping

from ceiflow.figures import folders
from ceiflow.figures.tables import (
    endpoint_name,
    figures3,
    group_words,
    known,
    number,
    unit_name,
    with_interval,
)
from ceiflow.report import html
from ceiflow.report.html import Block, Column, block, counted, paragraph
from ceiflow.report.results import Results

PLANNING_CAPTION = (
    "Left: power to show the distance that was seen, which is as uncertain as that distance. Right: the "
    "smallest distance that 80 % power resolves. Variances are those of this study; many claims at once are "
    "not allowed for."
)
EXPLORED = 40


def planning(results: Results) -> Block:
    """How many cells the claims that cannot be told need."""
    from ceiflow.statistics.nesting import group_by

    open_ = [row for row in results.planning if row.get("verdict") == "cannot tell"]
    if not results.claims:
        return block(paragraph("There is no claim to plan for."))
    if not open_:
        return block(
            paragraph("Every registered claim could be told; what another study of this kind would need: "),
            html.link("planning.tsv", "../tables/planning.tsv"),
        )
    claims = {row["claim_id"]: row for row in results.claims}
    rows = [
        _needs(claims.get(name, {}), own)
        for name, own in group_by(open_, lambda row: row["claim_id"]).items()
    ]
    columns = [
        Column("Claim", lambda row: html.link(row["claim"], f"#claim-{row['claim']}"), "name"),
        Column("Cells now", "now", "number"),
        Column("80 % power at", "recorded", "number"),
        Column("2 × particles", "particles", "number"),
        Column("2 × regions", "regions", "number"),
        Column("Seen", "distance", "number"),
        Column("Detectable", "detectable", "number"),
        Column("Note", "note"),
    ]
    words = (
        "Cells in each group that give 80 % power: as recorded, with twice the particles of each cell, with "
        "twice the regions of each particle. Seen: how far the estimate lies from what it is held against; "
        "detectable: the distance that as many cells as now resolve. The reason of a verdict names the "
        "number at which its interval would just decide if the estimate stayed where it is; 80 % power asks "
        "for more."
    )
    drawn = any(known(row.get("cells")) for row in open_)
    figure = folders.study_figure("planning", results.tables) if drawn else None
    return block(
        html.table(rows, columns, stack=True),
        paragraph(words, class_="soft"),
        html.figure(figure, PLANNING_CAPTION, "svg") if drawn else None,
    )


def _needs(claim: Mapping[str, str], rows: list[dict]) -> dict[str, str]:
    """One row of the table: cells that 80 % power takes, in each design."""
    from ceiflow.statistics.planning import designs, reaching

    found = designs(rows)
    now = [claim[name] for name in ("n_cells_test", "n_cells_reference") if claim.get(name)]
    row = {"claim": rows[0]["claim_id"], "now": " v ".join(now), "note": rows[0].get("note", "")}
    if not found:
        return row
    recorded = found[0]
    unit = unit_name(rows[0].get("unit", ""))
    most = max(int(number(item["cells"])) for item in recorded)
    for name, own in zip(("recorded", "particles", "regions"), found, strict=False):
        least = reaching(own)
        seen = known(own[0].get("distance"))
        row[name] = str(least) if least else f"more than {most}" if seen else "estimate on the wrong side"
    fewest = min((int(number(count)) for count in now), default=0)
    at = next((item for item in recorded if int(number(item["cells"])) == fewest), None)
    for name, value in (("distance", recorded[0].get("distance")), ("detectable", at and at["detectable"])):
        row[name] = f"{figures3(value)} {unit}".rstrip() if known(value) else ""
    if at and not row["detectable"]:
        first = next((item for item in recorded if known(item["detectable"])), None)
        row["detectable"] = f"none with fewer than {int(number(first['cells']))} cells" if first else "none"
    row["note"] = recorded[-1].get("note", "")
    return row


def exploration(results: Results) -> Block:
    """Every quantity between every two conditions, folded: what may be asked next, and proves nothing."""
    rows = sorted(results.table("exploration"), key=lambda row: (number(row["q_value"]), row["endpoint"]))
    if not rows:
        return block(paragraph("No two groups have two cells each that say something of one quantity."))
    level = number((results.config.get("statistics") or {}).get("alpha", 0.05))
    below = sum(number(row["q_value"]) <= level for row in rows)
    columns = [
        Column("Quantity", lambda row: endpoint_name(row["endpoint"])),
        Column("Zone", "zone"),
        Column("Between", lambda row: f"{group_words(row['test'])} minus {group_words(row['reference'])}"),
        Column("Difference", _difference, "number"),
        Column("q", lambda row: figures3(row["q_value"]), "number"),
        Column("p alone", lambda row: figures3(row["p_value"]), "number"),
        Column("Cells", lambda row: f"{row['n_cells_test']} v {row['n_cells_reference']}", "number"),
        Column("Registered as", lambda row: row.get("registered", ""), "name"),
    ]
    more = len(rows) - EXPLORED
    rest = paragraph(
        f"{counted(more, 'further row')} in ", html.link("exploration.tsv", "../tables/exploration.tsv"), "."
    )
    text = (
        f"Exploration, not registered beforehand: {counted(len(rows), 'difference')} between groups of "
        f"cells, of which {below} {'has' if below == 1 else 'have'} a q-value of at most {level:g} "
        "(Benjamini and Hochberg over all of them). A claim needs a registration and new cells."
    )
    table = html.table(rows[:EXPLORED], columns, stack=True)
    return block(paragraph(text), html.details("The explored differences", table, rest if more > 0 else ""))


def _difference(row: Mapping[str, str]) -> str:
    return with_interval(row["estimate"], row["ci_low"], row["ci_high"], unit_name(row.get("unit", "")))
