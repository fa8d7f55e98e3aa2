"""What was found on a panel's criteria, in sentences with their numbers."""

from __future__ import annotations

import re

from ceiflow.figures.claims import interval_text
from ceiflow.figures.tables import endpoint_name, figures3, known, percent, plain, unit_name
from ceiflow.study.panels import Panel

# How reasons name the cells of a panel.
_CELLS = re.compile(r"(?:with )?cell_id=[^\s;,()]+")


def outcome(panel: Panel, verdicts: dict[str, dict]) -> str:
    """`reached`, `refuted` or `cannot tell`: refuted by one criterion, reached by all."""
    said = [verdicts.get(claim["id"], {}).get("verdict", "cannot tell") for claim in panel.claims]
    if "refuted" in said:
        return "refuted"
    return "reached" if said and all(verdict == "supported" for verdict in said) else "cannot tell"


def stated(panel: Panel, verdicts: dict[str, dict]) -> str:
    """Name, outcome and findings of a panel as text."""
    found = " ".join(finding(claim, verdicts.get(claim["id"], {})) for claim in panel.claims)
    return f"Panel {panel.name}, {outcome(panel, verdicts)}. {panel.question} {found}".strip()


def finding(claim: dict, row: dict) -> str:
    """What was found on one criterion, with its numbers, and what it is held against."""
    name = endpoint_name(claim["endpoint"])
    name = name[:1].upper() + name[1:]
    if not row:
        return f"{name}: not judged."
    unit = unit_name(row.get("unit", ""))
    cells = " v ".join(filter(None, (row.get("n_cells_test"), row.get("n_cells_reference")))) or "0"
    basis = f"{cells} cells, {row.get('n_acquisitions') or 0} acquisitions"
    if known(row.get("lod")):
        basis += f", largest detection limit of a cell {figures3(row['lod'])} {unit}".rstrip()
    value = interval_text(row) if known(row.get("estimate")) else "no estimate"
    parts = [f"{name}: {value} ({basis})."]
    if known(row.get("prevalence")):
        high = (
            f", and at most {percent(row['prevalence_high'])} (95 %)" if known(row["prevalence_high"]) else ""
        )
        parts.append(f"A layer in {percent(row['prevalence'])} of the regions{high}.")
    if claim["kind"] == "absence":
        against = f"no layer above {plain(claim['margin'])} nm, in at most {percent(claim['max_prevalence'])}"
        against += " of the regions"
    elif claim["kind"] in ("interval", "proportion"):
        against = f"{plain(claim['low'])} to {plain(claim['high'])} {unit}".rstrip()
    else:
        against = "a difference greater than zero"
    word = {"supported": "reached"}.get(row["verdict"], row["verdict"])
    parts.append(f"Held against {against}: {word}.")
    if word == "cannot tell":
        first = _own_cells(row).strip()
        parts.append(
            f"{first[:1].upper()}{first[1:]}" + ("" if first.endswith(".") else ".") if first else ""
        )
    return " ".join(filter(None, parts))


def _own_cells(row: dict) -> str:
    """What decides, with the groups of cells named by their part in the panel."""
    first = row.get("reason", "").split("; ")[0]
    if row.get("reference"):
        first = first.replace(f"with {row['reference']}", "that it is compared with")
    return _CELLS.sub("of this panel", first)
