"""What a finished run says in the terminal: verdicts, what failed, and where the page is."""

from __future__ import annotations

import csv
from pathlib import Path


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a tab-separated table; none if it is not there."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def closing_text(results: Path) -> str:
    """Lines for the terminal at the end of a run.

    Parameters
    ----------
    results : Path
        The folder that the run has filled.
    """
    lines = []
    for claim in read_table(results / "tables" / "claims.tsv"):
        # What decides; the steps that led there stand on the page.
        lines.append(f"  {claim['verdict']:<12} {claim['claim_id']}: {claim['reason'].split('; ')[0]}")
    failed = [
        row for row in read_table(results / "tables" / "acquisitions.tsv") if row["qc_status"] == "failed"
    ]
    if failed:
        lines.append(f"{len(failed)} acquisition(s) failed, and everything else was finished without them:")
        lines += [f"  {row['acquisition_id']}: {row['qc_reason']}" for row in failed]
    page = results / "reports" / "study.html"
    if page.is_file():
        lines.append(f"Read {page} first.")
    return "\n".join(lines)
