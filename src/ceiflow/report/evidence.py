"""What a claim rests on: cells, detection limit, dose, and how many acquisitions could tell at all."""

from __future__ import annotations

from collections import Counter

from ceiflow.figures.tables import conditions, figures3, known, number, unit_name
from ceiflow.report.html import counted
from ceiflow.report.results import Results


def evidence_lines(results: Results, claim: dict) -> list[str]:
    """Lines on the evidence behind one row of claims.tsv."""
    cells = [claim.get(name, "") for name in ("n_cells_test", "n_cells_reference")]
    lines = [
        f"{' v '.join(filter(None, cells)) or '0'} cells, {claim.get('n_acquisitions') or 0} acquisitions"
    ]
    if known(claim.get("lod")):
        lines.append(f"detection limit {figures3(claim['lod'])} {unit_name(claim.get('unit', ''))}".rstrip())
    if known(claim.get("p_adjusted")):
        # Of the permutation of cells; the p of a t test may lie below it.
        least = f" (by permutation at least {figures3(claim['p_min'])})" if known(claim.get("p_min")) else ""
        lines.append(f"p = {figures3(claim['p_adjusted'])}{least}")
    own = asked(results, claim)
    more = dose_line(results, own), identifiability_line(results, claim, own), registration_line(claim)
    return lines + [line for line in more if line]


def registration_line(claim: dict) -> str:
    """Digest of the claim's wording, and whether it is that of the study's first run."""
    if not claim.get("digest"):
        return ""
    since = {
        "unchanged": ", unchanged since the first run",
        "changed": ", changed since the first run",
        "added": ", added after the first run",
    }
    return f"registered as {claim['digest']}{since.get(claim.get('registered', ''), '')}"


def asked(results: Results, claim: dict) -> set[str]:
    """The cells that a claim speaks of."""
    groups = [conditions(claim.get(name, "")) for name in ("test", "reference", "group")]
    groups = [group for group in groups if group]
    return {
        cell["cell_id"]
        for cell in results.sheet or results.cells
        if any(all(_same(cell.get(key, ""), options) for key, options in group.items()) for group in groups)
    }


def _same(value: str, options: set[str]) -> bool:
    """Numbers as numbers, the rest as text."""
    return value in options or any(known(value) and number(value) == number(option) for option in options)


def dose_line(results: Results, cells: set[str]) -> str:
    """Range of the doses of the analysed acquisitions of these cells."""
    rows = results.analysed(list(cells))
    doses = [number(row["dose_e_per_A2"]) for row in rows if known(row.get("dose_e_per_A2"))]
    if not rows:
        return ""
    if not doses:
        return "dose not recorded"
    low, high = f"{min(doses):g}", f"{max(doses):g}"
    lacking = len(rows) - len(doses)
    text = f"dose {low if low == high else f'{low} to {high}'} e Å⁻²"
    return text + (f", not recorded in {lacking}" if lacking else "")


def identifiability_line(results: Results, claim: dict, cells: set[str]) -> str:
    """In how many acquisitions the endpoint was identified, only bounded, or not to be told."""
    modalities = set(filter(None, (claim.get("modality") or "").replace("|", ",").split(",")))
    counts = Counter(
        row["status"]
        for row in results.measurements
        if row["endpoint"] == claim["endpoint"]
        and row["zone"] == claim["zone"]
        and row["cell_id"] in cells
        and (not modalities or row["modality"] in modalities)
    )
    words = (("identified", "identified"), ("bounded", "below detection"), ("not_identifiable", "cannot say"))
    parts = [f"{counts[key]} {word}" for key, word in words if counts[key]]
    total = counted(sum(counts.values()), "acquisition")
    return f"of {total}: {', '.join(parts)}" if parts else ""
