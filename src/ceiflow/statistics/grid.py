"""The grid of simulated designs: its cells, what is promised for each, and the page of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from ceiflow.statistics.tables import Row, read_table, write_table

COLUMNS = ["family", "case", "cells", "quantity", "method", "value", "se", "runs", "expected", "kept"]
RUNS = 1000
CELLS = (2, 3, 4, 5, 6)
DIFFERENCES = (
    "balanced",
    "unbalanced",
    "very_unbalanced",
    "unequal_arms",
    "flat_normal",
    "heavy_tails",
    "state",
    "paired",
)
MEANS = ("normal", "heavy_tails", "state", "censored", "coverage")
ABSENCES = ("identified", "censored")
HETEROGENEITIES = ("balanced", "unbalanced", "uneven")
PREVALENCES = (0.02, 0.05, 0.1, 0.2, 0.4)
# What is promised, and where. 1000 runs measure a rate of 5 % to +-1.4 % (two standard errors): .036 to .064.
EXPECTED = {
    "exact size": (0.036, 0.064),
    "size": (0.0, 0.064),
    "coverage": (0.93, 0.98),
    "at least 95 %": (0.936, 1.0),
    "variance": (0.93, 1.0),
    "fails": (0.2, 1.0),
}


def scenarios() -> list[str]:
    """Names of all cells of the grid."""
    families = {
        "difference": (*DIFFERENCES, "censored"),
        "mean": MEANS,
        "absence": ABSENCES,
        "prevalence": ("correlated",),
        "heterogeneity": HETEROGENEITIES,
    }
    return [
        f"{family}-{case}-{cells}" for family, cases in families.items() for case in cases for cells in CELLS
    ]


def tabulate(parts: Sequence[str], out_table: str, out_page: str, seed: int) -> None:
    """Join the cells of the grid into one table and a page.

    Parameters
    ----------
    parts : sequence of paths
        Tables of single scenarios, in any order.
    out_table, out_page : path
        All rows in the order of the grid, and the page that shows them.
    seed : int
        Root of the random streams, for the page.
    """
    order = {tuple(name.split("-")): place for place, name in enumerate(scenarios())}
    rows = [row for part in parts for row in read_table(part)]
    rows.sort(key=lambda row: order[str(row["family"]), str(row["case"]), str(row["cells"])])
    write_table(out_table, COLUMNS, rows)
    with open(out_page, "w", encoding="utf-8", newline="\n") as page:
        page.write(_page(rows, seed))


TITLES = {
    "difference": "Difference of two groups of cells",
    "mean": "Mean of one group of cells",
    "absence": "Absence: two one-sided tests",
    "prevalence": "Prevalence",
    "heterogeneity": "Heterogeneity: intervals of variances by level",
}
CASES = {
    "balanced": "5 particles of 3 regions in every cell",
    "unbalanced": "3 to 5 particles of 2 or 3 regions",
    "very_unbalanced": "1 to 5 particles of 1 to 3 regions",
    "unequal_arms": "two cells more in the reference arm",
    "flat_normal": "hardly any scatter in the reference arm",
    "heavy_tails": "cells follow Student's t with 3 degrees of freedom",
    "state": "cells of two states that differ by 3 nm",
    "paired": "pairs of one batch, batches with SD 2 nm",
    "censored": "a part of the regions below the detection limit",
    "normal": "normal cells",
    "coverage": "fractions near 1, beta between cells",
    "identified": "every region above its limit",
    "uneven": "cells that differ in roughness (squared: SD half its mean)",
    "correlated": "9 regions a cell, intraclass correlation 0.1",
}


def _page(rows: Sequence[Row], seed: int) -> str:
    """The results as Markdown: one table a family and case, methods down, cells an arm across."""
    promised = [row for row in rows if row["expected"]]
    broken = [row for row in promised if row["kept"] == "no"]
    runs = rows[0]["runs"] if rows else RUNS
    lines = [
        "# Simulated errors of the statistics",
        "",
        f"Made by `make simulation`: {runs} simulated studies for each number, seed {seed}. Every number",
        "also stands in [simulation.tsv](simulation.tsv). Unless a case says otherwise: SD 1 nm between",
        "cells, 1.5 between particles, 1 between regions, 1 between pixels; 5 particles of 3 regions of",
        "10 pixels; nominal level 5 %. Columns count the cells of the smaller arm.",
        "",
        f"Of {len(promised)} numbers with a promise, {len(promised) - len(broken)} keep it. The others:"
        if broken
        else f"All {len(promised)} numbers with a promise keep it.",
        "",
    ]
    lines += [
        f"- {row['family']}, {row['case']}, {row['cells']} cells: {row['quantity']} of {row['method']} "
        f"{_shown(row['value'])}, promised {row['expected']}"
        for row in broken
    ]
    lines += [""] if broken else []
    for family, title in TITLES.items():
        lines += [f"## {title}", ""]
        own = [row for row in rows if row["family"] == family]
        for case in dict.fromkeys(row["case"] for row in own):
            lines += _case_table([row for row in own if row["case"] == case], str(case))
    return "\n".join(lines).rstrip() + "\n"


def _case_table(rows: Sequence[Row], case: str) -> list[str]:
    sizes = sorted({int(str(row["cells"])) for row in rows})
    cells = {(row["quantity"], row["method"], int(str(row["cells"]))): row for row in rows}
    names = list(dict.fromkeys((row["quantity"], row["method"]) for row in rows))
    names.sort(key=lambda pair: [str(row["quantity"]) for row in rows].index(str(pair[0])))
    lines = [
        f"### {CASES[case][:1].upper()}{CASES[case][1:]}",
        "",
        "| | | " + " | ".join(f"{n} cells" for n in sizes) + " | promised |",
        "|---|---|" + "---:|" * len(sizes) + "---|",
    ]
    for quantity, method in names:
        found = [cells.get((quantity, method, n)) for n in sizes]
        shown = [
            "" if row is None else _shown(row["value"]) + (" ✘" if row["kept"] == "no" else "")
            for row in found
        ]
        promise = next((str(row["expected"]) for row in found if row and row["expected"]), "")
        lines.append(f"| {quantity} | {method} | {' | '.join(shown)} | {promise} |")
    return [*lines, ""]


def _shown(value: object) -> str:
    return f"{float(str(value)):.3f}"
