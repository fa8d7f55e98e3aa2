"""How many cells a claim needs: power and detectable distance against the number of cells."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from ceiflow.figures import style
from ceiflow.figures.tables import Rows, Table, endpoint_name, known, number, rows, unit_name

DESIGNS = (
    ("as recorded", style.BLACK, "-", "o"),
    ("twice the particles", style.BLUE, "--", "s"),
    ("twice the regions", style.ORANGE, ":", "^"),
    ("twice both", style.GREEN, "-.", "D"),
)


def undecided(planning: Table) -> Rows:
    """Rows of claims that came out as `cannot tell` and have variances to plan with; of all if none has."""
    able = [row for row in rows(planning) if known(row.get("cells"))]
    return [row for row in able if row.get("verdict") == "cannot tell"] or able


@style.styled
def planning_curves(planning: Table) -> Figure:
    """Power at the distance that was seen, and the smallest distance that 80 % power resolves, by claim.

    Parameters
    ----------
    planning : table
        Rows of `ceiflow.statistics.planning.plan_rows`.
    """
    table = [row for row in rows(planning) if known(row.get("cells"))]
    names = list(dict.fromkeys(row["claim_id"] for row in table))
    if not names:
        return style.nothing("No claim has variances to plan the next study with.", style.TWO_COLUMNS_MM)
    figure = style.new_figure(style.TWO_COLUMNS_MM, 16.0 + 44.0 * len(names))
    panels = figure.subplots(len(names), 2, squeeze=False, sharex=True)
    for (left, right), name in zip(panels, names, strict=True):
        own = [row for row in table if row["claim_id"] == name]
        designs = list(dict.fromkeys((row["particles"], row["regions"]) for row in own))
        for (label, colour, line, marker), design in zip(DESIGNS, designs, strict=False):
            part = [row for row in own if (row["particles"], row["regions"]) == design]
            cells = [number(row["cells"]) for row in part]
            drawn = {
                "color": colour,
                "linestyle": line,
                "marker": marker,
                "markersize": 2.6,
                "linewidth": 1.0,
            }
            if known(part[0].get("power")):
                left.plot(cells, [number(row["power"]) for row in part], label=label, **drawn)
            right.plot(cells, [number(row["detectable"]) for row in part], label=label, **drawn)
        left.axhline(0.8, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 3)))
        left.set_ylim(0, 1.04)
        left.set_ylabel("Power")
        if not left.lines[:-1]:
            left.text(0.5, 0.4, "the estimate is on the wrong side", ha="center", transform=left.transAxes)
        unit = unit_name(own[0].get("unit", ""))
        right.set_ylabel("Detectable" + (f" ({unit})" if unit else ""))
        right.set_ylim(bottom=0)
        title = f"{name}: {own[0]['kind']}, {endpoint_name(own[0]['endpoint'])}"
        left.set_title("\n".join(textwrap.wrap(title, 60)), loc="left", fontsize=7)
    for axes in panels[-1]:
        axes.set_xlabel("Cells in each group")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(
        *panels[0][1].get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=2.4
    )
    said = "; ".join(_finding(name, [row for row in table if row["claim_id"] == name]) for name in names)
    return style.describe(figure, f"Power and smallest detectable distance against cells. {said}.")


def _finding(name: str, own: Rows) -> str:
    """The number of cells at which the design as recorded reaches 80 % power."""
    part = [
        row for row in own if (row["particles"], row["regions"]) == (own[0]["particles"], own[0]["regions"])
    ]
    able = [number(row["cells"]) for row in part if number(row.get("power")) >= 0.8]
    if able:
        return f"{name}: {min(able):.0f} cells in each group give 80 % power"
    return f"{name}: more than {max(number(row['cells']) for row in part):.0f} cells in each group"
