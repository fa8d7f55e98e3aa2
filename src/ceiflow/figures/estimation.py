"""Cells as the points that count, particles behind them, and the registered difference beside."""

from __future__ import annotations

import math
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from ceiflow.figures import style
from ceiflow.figures.tables import (
    Rows,
    Table,
    axis_label,
    by_number,
    endpoint_name,
    figures3,
    group_words,
    groups,
    known,
    number,
    rows,
    unit_name,
)


@style.styled
def estimation_plot(
    cells: Table,
    measurements: Table,
    claims: Table,
    endpoint: str,
    zone: str = "layer",
    sheet: Table = (),
) -> Figure:
    """One endpoint by group: cells large, particles small, detection limits as ticks, differences beside.

    Parameters
    ----------
    cells, measurements, claims : table
        Results `cells.tsv`, `measurements.tsv`, `claims.tsv`, as paths or rows.
    endpoint, zone : str
        What to show.
    sheet : table, optional
        The cells sheet of the study; its `state` splits the groups further.
    """
    wanted = [row for row in rows(cells) if row["endpoint"] == endpoint and row["zone"] == zone]
    points = [row for row in rows(measurements) if row["endpoint"] == endpoint and row["zone"] == zone]
    shown = [row for row in wanted if known(row.get("value")) or _limits(row, points)]
    if not shown:
        return style.nothing(f"No cell has a value or a limit of {endpoint_name(endpoint)}.")
    differences = [
        row
        for row in rows(claims)
        if row["endpoint"] == endpoint
        and row.get("zone", zone) == zone
        and row["kind"] == "difference"
        and known(row.get("estimate"))
    ]
    layout = groups(shown, rows(sheet))
    names = [[_label(name, len(cells)) for name, cells in layout.items()], _claim_labels(differences)]
    most = max(len(cells) for cells in layout.values())
    room = _Room(names, [max(9.0, 2.2 * most), 14.0])
    figure = style.new_figure(room.width_mm, room.height_mm)
    if differences:
        left, right = figure.subplots(1, 2, width_ratios=room.ratio)
        _differences(right, differences)
        room.ticks(right, 1)
    else:
        left = figure.subplots()
    unit = shown[0].get("unit", "")
    handles = _groups(left, layout, {row["cell_id"]: row for row in shown}, points)
    figure.legend(handles=handles, loc="outside upper left", ncols=4, handletextpad=0.1, columnspacing=0.9)
    room.ticks(left, 0)
    left.set_ylabel(axis_label(endpoint, unit))
    return style.describe(figure, _words(endpoint, unit, layout, shown, differences))


class _Room:
    """Sizes at which no label of a group meets its neighbour: a wider figure, then labels upright.

    Parameters
    ----------
    names : two lists of str
        Labels of the groups, and of the differences beside them, in lines.
    least_mm : two floats
        The least room of a group and of a difference.
    """

    AXIS_MM = 18.0

    def __init__(self, names: list[list[str]], least_mm: list[float]):
        self.names, self.size, self.rotation, self.height_mm = names, 6.5, 0, 66.0
        panels = sum(bool(own) for own in names)
        for self.size in (6.5, 5.4):
            widths = [_width_mm(own, self.size) + 0.4 * self.size for own in names]
            slots = [max(pair) for pair in zip(widths, least_mm, strict=True)]
            needed = self._needed(slots)
            if needed <= style.TWO_COLUMNS_MM:
                break
        if needed > style.TWO_COLUMNS_MM:
            self.size = 6.5
            self.names = [
                [
                    "\n".join(textwrap.wrap(" ".join(name.split("\n")), 26, break_long_words=False))
                    for name in own
                ]
                for own in names
            ]
            self.rotation = 90
            slots = [self._upright(own) for own in self.names]
            free = style.TWO_COLUMNS_MM - self.AXIS_MM * panels
            if self._needed(slots) > style.TWO_COLUMNS_MM:
                self.size *= free / (self._needed(slots) - self.AXIS_MM * panels)
            self.height_mm = 54.0 + max(_width_mm(own, self.size) for own in self.names)
        self.spare = panels == 1 and needed < 0.75 * style.ONE_COLUMN_MM
        self.width_mm = min(max(needed, style.ONE_COLUMN_MM), style.TWO_COLUMNS_MM)
        self.ratio = [slot * len(own) for slot, own in zip(slots, names, strict=True)]

    def _needed(self, slots: list[float]) -> float:
        pairs = zip(slots, self.names, strict=True)
        return sum(slot * len(own) + self.AXIS_MM for slot, own in pairs if own)

    def _upright(self, names: list[str]) -> float:
        lines = max((name.count("\n") + 1 for name in names), default=1)
        return lines * 1.3 * self.size / 72 * 25.4 + 1.5

    def ticks(self, axes: Axes, panel: int) -> None:
        """Label one of the two panels."""
        own = self.names[panel]
        axes.set_xticks(range(len(own)), own, fontsize=self.size, rotation=self.rotation)
        # Few groups stand together rather than at the two ends.
        margin = 0.8 if self.spare else 0.5
        axes.set_xlim(-margin, len(own) - 1 + margin)
        axes.tick_params(axis="x", length=0)


def _width_mm(labels: list[str], size: float) -> float:
    """Width of the longest line of some labels."""
    lines = {line for label in labels for line in label.split("\n") if line.strip()}
    return (
        max((TextPath((0, 0), line, size=size).get_extents().width for line in lines), default=0.0)
        / 72
        * 25.4
    )


def _particles(points: Rows) -> list[float]:
    """Particles of one cell, each the mean of its regions; where nothing lies below a detection limit."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in points:
        if known(row.get("value")):
            regions = found.setdefault(row.get("particle_id", ""), {})
            regions.setdefault(row.get("region_id", ""), []).append(number(row["value"]))
    return [float(np.mean([np.mean(values) for values in regions.values()])) for regions in found.values()]


def _limits(cell: dict, points: Rows) -> list[float]:
    """Detection limits of the bounded acquisitions of a cell."""
    own = [row for row in points if row["cell_id"] == cell["cell_id"] and row["status"] == "bounded"]
    return [number(row["lod"]) for row in own if known(row.get("lod"))]


def _groups(axes: Axes, layout: dict, cells: dict, points: Rows) -> list[Line2D]:
    """Draw the cells group by group; what the legend has to say of them."""
    colours = style.condition_colours([row["condition"] for row in cells.values()])
    bounded = ticks = False
    for index, (_, names) in enumerate(layout.items()):
        width = min(0.7, 0.18 * len(names))
        places = index + (np.linspace(-width / 2, width / 2, len(names)) if len(names) > 1 else np.zeros(1))
        for x, name in zip(places, names, strict=True):
            cell = cells[name]
            colour = colours[cell["condition"]]
            own = [row for row in points if row["cell_id"] == name]
            values = np.sort(_particles(own))
            spread = x + 0.09 * np.resize([-1, 1], values.size)
            axes.plot(spread, values, ".", color=colour, alpha=0.7, markersize=4, markeredgewidth=0, zorder=2)
            limits = _limits(cell, points)
            bounded |= bool(limits)
            for limit in limits:
                _limit(axes, x, limit, colour, small=True)
            if known(cell.get("value")):
                if known(cell.get("lod")):
                    ticks = True
                    _tick(axes, x, number(cell["lod"]), colour, 0.8)
                error = number(cell.get("se"))
                axes.errorbar(
                    x,
                    number(cell["value"]),
                    yerr=None if np.isnan(error) else error,
                    fmt="o",
                    markersize=5.5,
                    color=colour,
                    markeredgecolor="white",
                    markeredgewidth=0.6,
                    elinewidth=0.9,
                    zorder=4,
                )
            elif limits:
                _limit(axes, x, max(limits), colour, small=False)
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(0.0, bottom), top)
    handles = [
        Line2D(
            [], [], marker="o", color=style.GREY, linestyle="", markersize=5, label="cell ± statistical error"
        ),
        Line2D([], [], marker=".", color=style.GREY, linestyle="", markersize=3, label="particle"),
    ]
    plain = {"color": style.GREY, "linestyle": ""}
    if bounded:
        handles.append(
            Line2D([], [], marker="v", fillstyle="none", markersize=4, label="below its limit", **plain)
        )
    if ticks:
        handles.append(Line2D([], [], marker="_", markersize=7, label="detection limit", **plain))
    return handles


def _label(name: str, cells: int) -> str:
    kept = name.replace(" V", "\u00a0V")
    parts = [line for part in kept.split(" · ") for line in textwrap.wrap(part, 14, break_long_words=False)]
    return "\n".join([*parts, f"{cells}\u00a0cell{'s' if cells != 1 else ''}"])


def _tick(axes: Axes, x: float, limit: float, colour: str, width: float) -> None:
    axes.plot([x - 0.06, x + 0.06], [limit] * 2, color=colour, linewidth=width, solid_capstyle="butt")


def _limit(axes: Axes, x: float, limit: float, colour: str, small: bool) -> None:
    """A downward tick: the value lies somewhere below."""
    size = 3.0 if small else 6.0
    _tick(axes, x, limit, colour, 0.6 if small else 1.2)
    axes.plot(
        x,
        limit,
        marker=11,
        markersize=size,
        color=colour,
        fillstyle="none",
        markeredgewidth=0.5 if small else 1.0,
        alpha=0.6 if small else 1.0,
        zorder=3,
    )


def _differences(axes: Axes, claims: Rows) -> None:
    for index, claim in enumerate(claims):
        value, low, high = (number(claim.get(name)) for name in ("estimate", "ci_low", "ci_high"))
        axes.plot(index, value, "D", color=style.BLACK, markersize=4)
        if not np.isnan([low, high]).any():
            axes.plot([index, index], [low, high], color=style.BLACK, linewidth=1.3)
    axes.axhline(0.0, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 3)))
    unit = unit_name(claims[0].get("unit", ""))
    axes.set_ylabel(f"Difference ({unit})" if unit else "Difference")
    axes.margins(y=0.15)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.05 * (high - low)), max(high, 0.05 * (high - low)))


def _claim_labels(claims: Rows) -> list[str]:
    return [
        f"{_wrap(group_words(row.get('test', '')))}\nminus\n{_wrap(group_words(row.get('reference', '')))}"
        for row in claims
    ]


def _wrap(words: str) -> str:
    return "\n".join(textwrap.wrap(words, 14, break_long_words=False))


def _words(endpoint: str, unit: str, layout: dict, shown: Rows, differences: Rows) -> str:
    cells = {row["cell_id"]: row for row in shown}
    printed = unit_name(unit)
    parts = []
    for name, members in layout.items():
        values = [figures3(cells[cell]["value"]) for cell in members if known(cells[cell].get("value"))]
        below = len(members) - len(values)
        text = f"{name}: " + (", ".join(values) + f" {printed}".rstrip() if values else "")
        parts.append(text + (f" {below} cell(s) below detection" if below else ""))
    for row in differences:
        parts.append(
            f"difference {row['claim_id']} {figures3(row['estimate'])} [{figures3(row.get('ci_low'))}, "
            f"{figures3(row.get('ci_high'))}] {printed}".rstrip()
        )
    name = endpoint_name(endpoint)
    return f"{name[:1].upper() + name[1:]} by cell. " + "; ".join(parts) + "."


@style.styled
def composition_plot(
    cells: Table, zones: tuple[str, ...] = ("layer", "surface", "particle"), sheet: Table = ()
) -> Figure:
    """Elements by group and zone: atomic fractions where identified, else areal densities.

    Parameters
    ----------
    cells : table
        Results `cells.tsv`.
    zones : tuple of str
        One panel each, where there is anything to show.
    sheet : table, optional
        The cells sheet of the study.
    """
    table = [row for row in rows(cells) if known(row.get("value"))]
    kind = "atomic_fraction_"
    if not any(row["endpoint"].startswith(kind) for row in table):
        kind = "areal_density_"
    table = [row for row in table if row["endpoint"].startswith(kind) and row["zone"] in zones]
    if not table:
        return style.nothing("No composition was identified in any cell.")
    present = [zone for zone in zones if any(row["zone"] == zone for row in table)]
    elements = by_number({row["endpoint"].split("_")[2] for row in table})
    layout = groups(table, rows(sheet))
    width = style.TWO_COLUMNS_MM if len(present) > 1 else style.ONE_COLUMN_MM
    across = 3 if len(present) > 1 else 1
    figure = style.new_figure(width, 52.0 + 4.5 * math.ceil(len(layout) / across))
    panels = figure.subplots(1, len(present), squeeze=False, sharey=kind == "atomic_fraction_")[0]
    condition = {row["cell_id"]: row["condition"] for row in table}
    colours = style.condition_colours(list(condition.values()))
    markers = ("o", "s", "^", "D", "v", "P", "X", "*")
    for axes, zone in zip(panels, present, strict=True):
        own = {(r["cell_id"], r["endpoint"].split("_")[2]): r for r in table if r["zone"] == zone}
        for g, (name, members) in enumerate(layout.items()):
            shift = (g - (len(layout) - 1) / 2) * min(0.8 / len(layout), 0.22)
            found = [
                (e + shift, number(own[c, el]["value"]), number(own[c, el].get("se")))
                for e, el in enumerate(elements)
                for c in members
                if (c, el) in own
            ]
            if found:
                x, y, error = np.array(found).T
                axes.errorbar(
                    x,
                    y,
                    yerr=np.nan_to_num(error),
                    fmt=markers[g % len(markers)],
                    markersize=3.2,
                    elinewidth=0.7,
                    color=colours[condition[members[0]]],
                    markeredgecolor="white",
                    markeredgewidth=0.3,
                    label=name,
                )
        axes.set_xticks(range(len(elements)), elements)
        axes.tick_params(axis="x", length=0)
        axes.set_title(zone)
        axes.set_xlim(-0.6, len(elements) - 0.4)
    for axes in panels:  # once all is drawn: shared axes stop to grow when one of them gets a limit
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), axes.get_ylim()[1])
    panels[0].set_ylabel("Atomic fraction" if kind == "atomic_fraction_" else "Areal density (nm⁻²)")
    handles = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    columns = min(across, len(handles))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=6)
    text = (
        f"{'Atomic fractions' if kind == 'atomic_fraction_' else 'Areal densities'} of {', '.join(elements)}"
    )
    means = [f"{zone}: {found}" for zone in present if (found := _zone_means(table, zone, elements))]
    return style.describe(
        figure, f"{text}, one point a cell, by group. Means of the cells: {'; '.join(means)}."
    )


def _zone_means(table: Rows, zone: str, elements: list[str]) -> str:
    """Mean of the cells of each condition in one zone, in words."""
    words = []
    for condition in dict.fromkeys(row["condition"] for row in table):
        own = [row for row in table if row["zone"] == zone and row["condition"] == condition]
        found = {
            element: [number(row["value"]) for row in own if row["endpoint"].split("_")[2] == element]
            for element in elements
        }
        said = [f"{element} {figures3(np.mean(values))}" for element, values in found.items() if values]
        words += [f"{condition} {', '.join(said)}"] if said else []
    return ", ".join(words)
