"""Counts and shares: how often a layer was found, and at which level thickness varies."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

from ceiflow.figures import style
from ceiflow.figures.tables import Table, endpoint_name, groups, known, number, rows

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
def prevalence_bars(acquisitions: Table, measurements: Table, cells: Table, sheet: Table = ()) -> Figure:
    """Acquisitions by group and by what each says: layer found, none above its limit, cannot tell, lost.

    Parameters
    ----------
    acquisitions, measurements, cells : table
        Results `acquisitions.tsv`, `measurements.tsv`, and any table of cells with their condition.
    sheet : table, optional
        The cells sheet of the study.
    """
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
    figure = style.new_figure(style.TWO_COLUMNS_MM, 20.0 + 8.0 * len(shown))
    axes = figure.subplots()
    left = np.zeros(len(shown))
    for key, (colour, hatch) in OUTCOMES.items():
        width = np.array([counts[name][key] for name in shown], float)
        bars = axes.barh(
            range(len(shown)),
            width,
            left=left,
            color=colour,
            hatch=hatch,
            edgecolor=style.GREY if key == LOST else "white",
            linewidth=0.6,
            label=key,
            height=0.7,
        )
        labels = [f"{int(n)}" if n else "" for n in width]
        texts = axes.bar_label(bars, labels, label_type="center", fontsize=6.5)
        for text in texts:
            text.set_bbox(
                {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
                if text.get_text()
                else None
            )
        left += width
    axes.set_yticks(range(len(shown)), shown)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel("Acquisitions")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=1.4)
    words = "; ".join(
        f"{name}: " + ", ".join(f"{n} {key}" for key, n in sorted(counts[name].items())) for name in shown
    )
    return style.describe(figure, f"Presence of a layer by group of acquisitions. {words}.")


@style.styled
def heterogeneity_bars(heterogeneity: Table) -> Figure:
    """Share of the variance by level (pixel, region, particle, cell), one bar an endpoint.

    Parameters
    ----------
    heterogeneity : table
        Results `heterogeneity.tsv`.
    """
    table = [row for row in rows(heterogeneity) if known(row.get("share"))]
    if not table:
        return style.nothing("There are too few acquisitions to tell at which level values vary.")
    keys = list(dict.fromkeys((row["endpoint"], row["zone"]) for row in table))
    keys.sort(key=lambda key: (not key[0].startswith("layer_"), *key))
    more, keys = max(0, len(keys) - MOST_BARS), keys[:MOST_BARS]
    figure = style.new_figure(style.TWO_COLUMNS_MM, 20.0 + 6.5 * len(keys))
    axes = figure.subplots()
    left = np.zeros(len(keys))
    share = {(row["endpoint"], row["zone"], row["level"]): number(row["share"]) for row in table}
    used = [level for level in LEVELS if any(key[2] == level for key in share)]
    for level in used:
        colour, hatch = LEVELS[level]
        width = np.array([np.nan_to_num(share.get((*key, level), 0.0)) for key in keys])
        bars = axes.barh(
            range(len(keys)),
            width,
            left=left,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=level,
            height=0.7,
        )
        texts = axes.bar_label(
            bars, [f"{w:.0%}" if w >= 0.06 else "" for w in width], label_type="center", fontsize=6
        )
        for text in texts:
            text.set_bbox(
                {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
                if text.get_text()
                else None
            )
        left += width
    axes.set_yticks(range(len(keys)), [f"{endpoint_name(e)} ({z})" for e, z in keys])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel("Share of the variance" + (f"\nand {more} more in the table" if more else ""))
    axes.set_xlim(0, max(1.0, float(left.max())))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=1.4)
    words = "; ".join(f"{endpoint_name(e)} ({z}): {_shares(share, used, (e, z))}" for e, z in keys)
    rest = f"; and {more} more in the table" if more else ""
    return style.describe(figure, f"Share of the variance by level. {words}{rest}.")


def _shares(share: dict, levels: list[str], key: tuple[str, str]) -> str:
    return ", ".join(f"{level} {share[*key, level]:.0%}" for level in levels if (*key, level) in share)
