"""Counts and shares: how often a layer was found, and at which level thickness varies."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ceiflow.figures import style
from ceiflow.figures.claims import VERDICTS
from ceiflow.figures.tables import Rows, Table, endpoint_name, groups, known, number, rows

LOST = "failed or excluded"
OUTCOMES = {
    "layer found": (style.VERMILLION, ""),
    "none above the limit": (style.BLUE, "//"),
    "cannot tell": ("#b5b5b5", ".."),
    LOST: ("#ffffff", "xx"),
}
MOST_BARS = 14
LEVELS = {
    "pixel": ("#b5b5b5", ""),
    "region": (style.SKY, "//"),
    "particle": (style.ORANGE, "\\\\"),
    "cell": (style.BLUE, ""),
}


def outcome(measurement: dict | None, qc_status: str) -> str:
    """What an acquisition says about the presence of a layer."""
    if qc_status in {"failed", "excluded"}:
        return LOST
    status = (measurement or {}).get("status")
    return {"identified": "layer found", "bounded": "none above the limit"}.get(status or "", "cannot tell")


@style.styled
def prevalence_bars(
    acquisitions: Table, measurements: Table, cells: Table, sheet: Table = (), claims: Table = ()
) -> Figure:
    """Acquisitions by group and by what each says: layer found, none above its limit, cannot tell, lost.

    Beside them, for every claim of absence, the prevalence with both bounds and what is claimed at most.

    Parameters
    ----------
    acquisitions, measurements, cells : table
        Results `acquisitions.tsv`, `measurements.tsv`, and any table of cells with their condition.
    sheet : table, optional
        The cells sheet of the study.
    claims : table, optional
        Results `claims.tsv`.
    """
    bounded = [row for row in rows(claims) if known(row.get("prevalence_high"))]
    found = {
        row["acquisition_id"]: row
        for row in rows(measurements)
        if row["endpoint"] == "layer_thickness_nm" and row["zone"] == "layer"
    }
    counts: dict[str, Counter] = {}
    names = rows(sheet) or rows(cells)
    layout = groups(names, rows(sheet))
    group = {cell: name for name, members in layout.items() for cell in members}
    for row in rows(acquisitions):
        if row["modality"] == "eels_spectrum":
            continue
        name = group.get(row["cell_id"], "no condition")
        counts.setdefault(name, Counter())[outcome(found.get(row["acquisition_id"]), row["qc_status"])] += 1
    shown = [name for name in [*layout, "no condition"] if name in counts]
    if not shown:
        return style.nothing("There is no acquisition that could show a layer.")
    height = 20.0 + max(8.0 * len(shown), 14.0 * len(bounded))
    figure = style.new_figure(style.TWO_COLUMNS_MM, height)
    if bounded:
        axes, beside = figure.subplots(1, 2, width_ratios=[1.7, 1.0])
        _bounds(beside, bounded)
    else:
        axes = figure.subplots()
    left, handles = np.zeros(len(shown)), []
    for key, (colour, hatch) in OUTCOMES.items():
        width = np.array([counts[name][key] for name in shown], float)
        edge = style.GREY if key == LOST else "white"
        handles.append(
            _stack(axes, left, width, [f"{int(n)}" if n else "" for n in width], key, (colour, hatch, edge))
        )
        left += width
    axes.set_yticks(range(len(shown)), shown)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel("Acquisitions")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.4)
    words = "; ".join(
        f"{name}: " + ", ".join(f"{n} {key}" for key, n in sorted(counts[name].items())) for name in shown
    )
    bounds = "; ".join(
        f"{row['claim_id']}: found in {number(row.get('prevalence')):.0%}, at most "
        f"{number(row['prevalence_high']):.0%}"
        if known(row.get("prevalence"))
        else f"{row['claim_id']}: at most {number(row['prevalence_high']):.0%}"
        for row in bounded
    )
    text = f"Presence of a layer by group of acquisitions. {words}."
    return style.describe(figure, f"{text} Bounds on the prevalence: {bounds}." if bounded else text)


def _stack(
    axes: Axes,
    left: np.ndarray,
    width: np.ndarray,
    labels: list[str],
    name: str,
    look: tuple[str, str, str],
) -> Patch:
    """One part of stacked bars, its labels on white, for the legend; `look` is colour, hatch and edge."""
    drawn = dict(zip(("facecolor", "hatch", "edgecolor"), look, strict=True), linewidth=0.6)
    bars = axes.barh(range(len(width)), width, left=left, height=0.7, **drawn)
    for bar, size in zip(bars, width, strict=True):
        bar.set_visible(size > 0)  # the edge of a bar without length is a line
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.7, "alpha": 0.85}
    for text in axes.bar_label(bars, labels, label_type="center", fontsize=6):
        text.set_bbox(white if text.get_text() else None)
    return Patch(label=name, **drawn)


def _bounds(axes: Axes, claims: Rows) -> None:
    """Share of regions with a layer, from lower to upper bound, and the share that is claimed at most."""
    for place, row in enumerate(claims):
        low, high = number(row.get("prevalence_low")), number(row["prevalence_high"])
        colour = VERDICTS.get(row["verdict"], ("", style.BLACK))[1]
        axes.plot(
            [np.nan_to_num(low), high], [place, place], color=colour, linewidth=1.8, solid_capstyle="butt"
        )
        axes.plot([high, high], [place - 0.16, place + 0.16], color=colour, linewidth=1.2)
        if known(row.get("prevalence")):
            axes.plot(number(row["prevalence"]), place, "o", color=colour, markersize=5, clip_on=False)
        if known(row.get("max_prevalence")):
            claimed = number(row["max_prevalence"])
            axes.plot(
                [claimed] * 2,
                [place - 0.34, place + 0.34],
                color=style.GREY,
                linestyle=(0, (3, 2)),
                linewidth=0.8,
            )
        axes.text(0.0, place - 0.42, row["claim_id"], fontsize=6, va="bottom", color=style.GREY)
    axes.set_ylim(len(claims) - 0.4, -0.8)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Prevalence with bounds;\ndashed: claimed at most")


@style.styled
def heterogeneity_bars(heterogeneity: Table) -> Figure:
    """Share of the variance by level (pixel, region, particle, cell), one bar an endpoint.

    Beside them the standard deviations of the layer's thickness by level, with their intervals.

    Parameters
    ----------
    heterogeneity : table
        Results `heterogeneity.tsv`.
    """
    table = [row for row in rows(heterogeneity) if known(row.get("share"))]
    if not table:
        return style.nothing("There are too few acquisitions to tell at which level values vary.")
    keys = list(dict.fromkeys((row["endpoint"], row["zone"]) for row in table))
    # The layer first, then what lies in it, then the particle; sums over a whole map mix both.
    order = {"layer": 0, "particle": 1, "surface": 2}
    keys.sort(key=lambda key: (not key[0].startswith("layer_"), order.get(key[1], 3), key[0]))
    more, keys = max(0, len(keys) - MOST_BARS), keys[:MOST_BARS]
    figure = style.new_figure(style.TWO_COLUMNS_MM, 20.0 + max(6.5 * len(keys), 30.0))
    thickness = [row for row in table if row["endpoint"] == "layer_thickness_nm" and row["zone"] == "layer"]
    if thickness:
        axes, beside = figure.subplots(1, 2, width_ratios=[1.9, 1.0])
        spread = _standard_deviations(beside, thickness)
    else:
        axes, spread = figure.subplots(), ""
    left, handles = np.zeros(len(keys)), []
    share = {(row["endpoint"], row["zone"], row["level"]): number(row["share"]) for row in table}
    used = [level for level in LEVELS if any(key[2] == level for key in share)]
    for level in used:
        colour, hatch = LEVELS[level]
        width = np.array([np.nan_to_num(share.get((*key, level), 0.0)) for key in keys])
        labels = [f"{w:.0%}" if w >= 0.06 else "" for w in width]
        handles.append(_stack(axes, left, width, labels, level, (colour, hatch, "white")))
        left += width
    axes.set_yticks(range(len(keys)), [f"{endpoint_name(e)} ({z})" for e, z in keys])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel("Share of the variance" + (f"\nand {more} more in the table" if more else ""))
    axes.set_xlim(0, max(1.0, float(left.max())))
    figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.4)
    words = "; ".join(f"{endpoint_name(e)} ({z}): {_shares(share, used, (e, z))}" for e, z in keys)
    rest = f"; and {more} more in the table" if more else ""
    return style.describe(figure, f"Share of the variance by level. {words}{rest}.{spread}")


def _standard_deviations(axes: Axes, table: Rows) -> str:
    """Standard deviation of the layer's thickness by level; the same in words."""
    by_level = {row["level"]: row for row in table}
    used = [level for level in LEVELS if level in by_level]
    # An interval from few units reaches far beyond any thickness: its end lies outside, and is marked.
    finite = [number(by_level[level]["variance"]) for level in used]
    right = 3.0 * max(np.sqrt(max(finite)), 1e-9)
    words = []
    for place, level in enumerate(used):
        row = by_level[level]
        value, low, high = (np.sqrt(number(row.get(name))) for name in ("variance", "ci_low", "ci_high"))
        colour = LEVELS[level][0]
        if not np.isnan([low, high]).any():
            axes.plot([low, min(high, right)], [place, place], color=colour, linewidth=1.8, zorder=1)
            if high > right:
                axes.plot(right, place, marker=">", color=colour, markersize=4, clip_on=False)
        axes.plot(
            value, place, "o", color=colour, markersize=5, markeredgecolor=style.GREY, markeredgewidth=0.5
        )
        words.append(f"{level} {value:.2g}" + ("" if np.isnan(high) else f" [{low:.2g}, {high:.2g}]"))
    axes.set_yticks(range(len(used)), used)
    axes.set_ylim(len(used) - 0.5, -0.5)
    axes.set_xlim(0, right)
    axes.set_xlabel("SD of the layer's thickness (nm),\nwith interval")
    return f" Standard deviation of the layer's thickness in nm: {', '.join(words)}."


def _shares(share: dict, levels: list[str], key: tuple[str, str]) -> str:
    return ", ".join(f"{level} {share[*key, level]:.0%}" for level in levels if (*key, level) in share)
