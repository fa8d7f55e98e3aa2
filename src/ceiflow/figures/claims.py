"""All claims at a glance: estimate, interval, what it is held against, verdict."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ceiflow.figures import style
from ceiflow.figures.tables import Table, endpoint_name, number, rows, unit_name, with_interval

# A symbol and a word beside the colour: no verdict is told by colour alone.
VERDICTS = {
    "supported": ("✔", style.GREEN),
    "refuted": ("✘", style.VERMILLION),
    "cannot tell": ("?", style.GREY),
}
# Claims that an estimate lies within two ends.
WITHIN = ("interval", "proportion")


def interval_text(claim: dict) -> str:
    """Estimate, interval and unit of a claim as text; an upper limit where every value is below detection."""
    if all_below(claim):
        return f"< {with_interval(claim['ci_high'], None, None, claim.get('unit', ''))}"
    return with_interval(
        claim.get("estimate"), claim.get("ci_low"), claim.get("ci_high"), claim.get("unit", "")
    )


def all_below(claim: dict) -> bool:
    """Whether every acquisition is below its detection limit, so that there is an upper limit and no mean."""
    return number(claim.get("censored_fraction")) == 1 and not np.isnan(number(claim.get("ci_high")))


def references(claim: dict) -> list[float]:
    """The values that a claim is held against: zero, a margin, or the two ends of an interval."""
    if claim["kind"] == "difference":
        return [0.0]
    if claim["kind"] in WITHIN:
        ends = [number(claim.get(name)) for name in ("low", "high")]
        return [value for value in ends if not np.isnan(value)]
    margin = number(claim.get("margin"))
    return [] if np.isnan(margin) else [margin]


@style.styled
def claims_forest(claims: Table) -> Figure:
    """Every claim on a scale of its own, in its own unit, with its verdict as symbol and word.

    Parameters
    ----------
    claims : table
        Results `claims.tsv`. Where it has `low` and `high`, interval claims show their bounds.
    """
    table = rows(claims)
    if not table:
        return style.nothing("No claim was registered in the configuration.", style.TWO_COLUMNS_MM)
    figure = style.new_figure(style.TWO_COLUMNS_MM, 8.0 + 12.0 * len(table))
    panels = figure.subplots(len(table), 3, squeeze=False, width_ratios=[1.15, 1.6, 1.0])
    for (name, plot, verdict), claim in zip(panels, table, strict=True):
        _text(name, claim["claim_id"], _subject(claim), style.BLACK)
        _row(plot, claim)
        symbol, colour = VERDICTS.get(claim["verdict"], ("", style.BLACK))
        counts = [claim.get("n_cells_test"), claim.get("n_cells_reference")]
        cells = " v ".join(count for count in counts if count) or "0"
        _text(verdict, f"{symbol} {claim['verdict']}", f"{interval_text(claim)}\n{cells} cells", colour)
    words = "; ".join(
        f"{c['claim_id']} ({endpoint_name(c['endpoint'])}): {c['verdict']}, {interval_text(c)}" for c in table
    )
    return style.describe(figure, f"Claims with estimates and intervals. {words}.")


def _subject(claim: dict) -> str:
    return "\n".join(textwrap.wrap(f"{claim['kind']}, {endpoint_name(claim['endpoint'])}", 34))


def _text(axes: Axes, head: str, body: str, colour: str) -> None:
    axes.axis("off")
    axes.text(0, 0.98, head, va="top", weight="bold", color=colour, transform=axes.transAxes, fontsize=7.5)
    axes.text(
        0, 0.55, body, va="top", color=style.GREY, transform=axes.transAxes, fontsize=6.5, linespacing=1.25
    )


def _row(axes: Axes, claim: dict) -> None:
    value, low, high = (number(claim.get(name)) for name in ("estimate", "ci_low", "ci_high"))
    against = references(claim)
    ends = np.array([v for v in (value, low, high, *against) if not np.isnan(v)])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-1, 1)
    if np.isnan(value) and np.isnan(low) and np.isnan(high):
        axes.text(0.5, 0.4, "no estimate", ha="center", color=style.GREY, transform=axes.transAxes)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        return
    span = float(np.ptp(ends)) or abs(value) or 1.0
    axes.set_xlim(ends.min() - 0.08 * span, ends.max() + 0.08 * span)
    axes.locator_params(axis="x", nbins=5)
    colour = VERDICTS.get(claim["verdict"], ("", style.BLACK))[1]
    if claim["kind"] in WITHIN and len(against) == 2:
        axes.axvspan(*against, color=style.SKY, alpha=0.25, linewidth=0)
    else:
        for line in against:
            axes.axvline(line, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 3)))
    left, right = axes.get_xlim()
    whisker = [left if np.isnan(low) else low, right if np.isnan(high) else high]
    if not (np.isnan(low) and np.isnan(high)):
        axes.plot(whisker, [0, 0], color=colour, linewidth=1.8, solid_capstyle="butt")
    if all_below(claim):
        axes.plot(high, 0, "<", markersize=5.5, color="white", markeredgecolor=colour, markeredgewidth=1.2)
    elif not np.isnan(value):
        axes.plot(value, 0, "o", markersize=5.5, color=colour, markeredgecolor="white", markeredgewidth=0.6)
    unit = unit_name(claim.get("unit", ""))
    if unit:
        axes.text(1.02, 0.0, unit, transform=axes.transAxes, fontsize=6.5, va="center", color=style.GREY)
