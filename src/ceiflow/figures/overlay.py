"""The layer where it was found: drawn into the image, and as a trace along the surface."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib.patheffects as effects
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ceiflow.figures import maps as maps_module
from ceiflow.figures import style
from ceiflow.figures.tables import Rows, Table, number, rows, true

BARE = style.SKY
# What a point of the surface says where no layer was found: colour, dashes, marker on a trace, words.
BARE_KIND, UNMEASURED, CANNOT_TELL = "bare", "not measured", "cannot tell"
UNCOVERED = {
    BARE_KIND: (BARE, (0, (1, 1)), "|", "bare: below the detection limit"),
    UNMEASURED: ("#ffffff", (0, (4, 2)), "x", "not measured"),
    CANNOT_TELL: (style.YELLOW, (0, (3, 1, 1, 1)), "d", "cannot tell: no detection limit"),
}

# More normals than this would be a hatching.
MOST_NORMALS = 60
# A layer narrower than this on the page, in points, gets thin lines.
NARROW = 5.0
RUG = {BARE_KIND: style.BLUE, UNMEASURED: style.GREY, CANNOT_TELL: style.ORANGE}


def columns(table: Rows, *names: str) -> tuple[np.ndarray, ...]:
    """Columns of a table as float arrays, NaN where empty or absent."""
    return tuple(np.array([number(row.get(name)) for row in table], float) for name in names)


def stretches(table: Rows) -> list[np.ndarray]:
    """Indices of the rows of each unbroken stretch of surface, in the order of the table."""
    names = [row.get("stretch", "") for row in table]
    return [np.array([i for i, own in enumerate(names) if own == name]) for name in dict.fromkeys(names)]


def present(table: Rows) -> np.ndarray:
    """Where a layer was found."""
    return np.array([true(row.get("present")) for row in table], bool)


def kinds(table: Rows) -> dict[str, np.ndarray]:
    """Where no layer was found: bare, not measured (no thickness), or untold (no detection limit)."""
    thickness, lod = columns(table, "thickness_nm", "lod_nm")
    open_ = ~present(table)
    measured, limited = np.isfinite(thickness), np.isfinite(lod)
    return {
        BARE_KIND: open_ & measured & limited,
        UNMEASURED: open_ & ~measured,
        CANNOT_TELL: open_ & measured & ~limited,
    }


def _top_thickness(table: Rows) -> float:
    (thickness,) = columns(table, "thickness_nm")
    own = thickness[present(table) & np.isfinite(thickness)]
    return float(np.percentile(own, 98)) if own.size else 1.0


def _edges(axes: Axes, table: Rows, place, closed_gap: float, point: float) -> LineCollection | None:
    """Outer and inner edge in the colour of the thickness; the rest of the surface by what is known of it."""
    thickness, row, column = columns(table, "thickness_nm", "row", "column")
    found = present(table)
    outline = [effects.Stroke(linewidth=2.4, foreground="black"), effects.Normal()]
    ends = columns(table, "outer_row", "inner_row", "outer_column", "inner_column")
    apart = np.hypot(place(ends[0]) - place(ends[1]), place(ends[2]) - place(ends[3]))[found] / point
    # Both lines of a layer that is a few points wide on the page would cover it.
    thin = bool(np.isfinite(apart).any()) and float(np.nanmedian(apart)) < NARROW
    width, rim = (0.6, 1.0) if thin else (1.4, 2.4)
    segments, colours, dots = [], [], []
    for pair in (("outer_row", "outer_column"), ("inner_row", "inner_column")):
        y, x = columns(table, *pair)
        if not np.isfinite(y).any():
            y, x = row, column
        y, x = place(y), place(x)
        drawn = np.zeros(found.size, bool)
        for a, b in _neighbours(table, found, x, y, closed_gap):
            segments.append([(x[a], y[a]), (x[b], y[b])])
            colours.append((thickness[a] + thickness[b]) / 2)
            drawn[[a, b]] = True
        dots += [(x[i], y[i], thickness[i]) for i in np.flatnonzero(found & ~drawn & np.isfinite(x + y))]
    _normals(axes, table, place)
    for kind, where in kinds(table).items():
        colour, dashes, _, _ = UNCOVERED[kind]
        for index in stretches(table) if where.any() else []:
            x, y = place(column[index]).copy(), place(row[index]).copy()
            x[~where[index]] = np.nan
            look = {"color": colour, "linewidth": 1.3, "linestyle": dashes, "path_effects": outline}
            # A point between two others of another kind has no line to be seen by.
            lone = np.convolve(np.isfinite(x), [1, 1, 1], "same")[: len(x)] == 1
            sizes = ((~lone, 1.5), (lone, 5.0))
            for points, size in sizes:
                shown = np.where(points, x, np.nan)
                axes.plot(shown, y, marker=".", markersize=size, **look)
    if not segments and not dots:
        return None
    limits = (0.0, _top_thickness(table) or 1.0)
    colour_map = colormaps[style.THICKNESS_MAP].with_extremes(bad=style.GREY)
    lines = LineCollection(segments, cmap=colour_map, linewidths=width)
    lines.set_path_effects([effects.Stroke(linewidth=rim, foreground="black"), effects.Normal()])
    lines.set_array(np.array(colours))
    lines.set_clim(*limits)
    axes.add_collection(lines)
    if dots:
        x, y, values = np.array(dots).T
        shown = {"cmap": colour_map, "vmin": limits[0], "vmax": limits[1], "plotnonfinite": True}
        axes.scatter(x, y, 7.0, values, **shown, edgecolors="black", linewidths=0.5, zorder=3)
    return lines


def _normals(axes: Axes, table: Rows, place) -> None:
    """The normals along which the thickness counts, from inner to outer edge; a few dozen of them."""
    ends = columns(table, "inner_column", "inner_row", "outer_column", "outer_row")
    x0, y0, x1, y1 = (place(values) for values in ends)
    where = np.flatnonzero(present(table) & np.isfinite(x0 + y0 + x1 + y1))
    where = where[:: max(1, -(-where.size // MOST_NORMALS))]
    lines = [[(x0[i], y0[i]), (x1[i], y1[i])] for i in where]
    axes.add_collection(LineCollection(lines, colors="white", linewidths=0.5, alpha=0.8))


def _neighbours(table: Rows, where: np.ndarray, x: np.ndarray, y: np.ndarray, closed_gap: float):
    """Pairs of points that follow one another on one stretch, both chosen and both with a place."""
    for index in stretches(table):
        for a, b in itertools.pairwise(index):
            if where[a] and where[b] and np.hypot(x[a] - x[b], y[a] - y[b]) < closed_gap:
                yield a, b


def _overlay(image, pixel_size_nm, table, place, label: str, what: str, low=0.5, high=99.5) -> Figure:
    shape = image.shape
    width = style.ONE_COLUMN_MM
    height = min(max((width - 14.0) * shape[0] / shape[1], 22.0), 130.0) + 12.0
    figure = style.new_figure(width, height)
    axes = figure.subplots()
    style.image_axes(axes)
    bottom, top = style.limits(image, low, high)
    axes.imshow(image, cmap="gray", vmin=bottom, vmax=top, aspect="equal")
    axes.set_facecolor("#dddddd")
    # Pixels of the image in a point of the page.
    point = shape[1] / ((width - 14.0) / 25.4 * 72)
    lines = _edges(axes, table, place, 0.25 * max(shape), point) if table else None
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
    style.scale_bar(axes, pixel_size_nm, shape, _free_corner(image, table, place))
    handles = []
    if lines is not None:
        handles.append(Line2D([], [], color=style.GREY, label="edges of the layer, normals"))
        style.colour_bar(figure, lines, axes, "Layer thickness (nm)", "max")
    for kind, where in kinds(table).items():
        colour, dashes, _, words = UNCOVERED[kind]
        if where.any():
            handle = Line2D([], [], color=colour, linestyle=dashes, label=words)
            handle.set_path_effects([effects.Stroke(linewidth=2.4, foreground="black"), effects.Normal()])
            handles.append(handle)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.6, fontsize=6)
    return style.describe(figure, f"{what} {label}. {_found_words(table)}")


def _free_corner(image: np.ndarray, table: Rows, place) -> tuple[bool, bool]:
    """Corner for the scale bar (bottom, left): the least of the surface, then none of another bar, in it.

    A bar that the microscope burned into the image is a patch of values that hardly occur elsewhere.
    """
    rows_, columns_ = image.shape
    ends = columns(table, "outer_column", "outer_row", "inner_column", "inner_row", "column", "row")
    x, y = (np.concatenate([place(values) for values in ends[k::2]]) for k in (0, 1))
    rare = np.zeros(image.shape, bool)
    low, high = np.nanpercentile(image, [0.05, 99.95])
    for tail in (image <= low, image >= high):
        rare |= tail & (tail.mean() < 0.01)
    high_, wide = int(np.ceil(0.2 * rows_)), int(np.ceil(0.4 * columns_))

    def cost(corner: tuple[bool, bool]) -> tuple[int, bool]:
        bottom, left = corner
        first_row, first = rows_ - high_ if bottom else 0, 0 if left else columns_ - wide
        met = (y >= first_row) & (y < first_row + high_) & (x >= first) & (x < first + wide)
        return int(met.sum()), bool(rare[first_row : first_row + high_, first : first + wide].mean() > 0.005)

    return min(((True, True), (True, False), (False, True), (False, False)), key=cost)


def _found_words(table: Rows) -> str:
    if not table:
        return "No particle surface was traced."
    thickness, lod = columns(table, "thickness_nm", "lod_nm")
    found = present(table)
    share = f"A layer is present at {int(found.sum())} of {len(table)} surface points"
    if found.any():
        share += f", median thickness {np.nanmedian(thickness[found]):.3g} nm"
    if np.isfinite(lod).any():
        share += f", median detection limit {np.nanmedian(lod):.3g} nm"
    counts = {kind: int(where.sum()) for kind, where in kinds(table).items() if kind != BARE_KIND}
    share += "".join(f", {count} {kind}" for kind, count in counts.items() if count)
    return share + "."


@style.styled
def layer_overlay_eels(maps_h5: str | Path, layer_tsv: Table) -> Figure:
    """The layer's edges on a spectrum image, coloured by thickness.

    Parameters
    ----------
    maps_h5 : path
        Background: total counts, else the particle's elements.
    layer_tsv : table
        The layer along the surface, in pixels of the spectrum image.
    """
    maps = maps_module.read_maps(maps_h5)
    image = _background(maps)
    if image is None or min(image.shape) < 2:
        return style.nothing("There is no image to draw the surface into.")
    return _overlay(
        image,
        maps.drawn_size_nm,
        rows(layer_tsv),
        lambda x: x / maps.step,
        maps.acquisition_id,
        "Spectrum image",
    )


def _background(maps: maps_module.Maps) -> np.ndarray | None:
    metals = [maps.values[name] for name in ("Mn", "Co", "Ni") if name in maps.values]
    for candidate in (
        maps.total,
        np.nansum(metals, axis=0) if metals else None,
        maps.thickness,
        *maps.values.values(),
    ):
        if candidate is not None and np.isfinite(candidate).any():
            return candidate
    return None


@style.styled
def layer_overlay_image(overlay_h5: str | Path, layer_tsv: Table) -> Figure:
    """The layer's edges on an image, coloured by thickness.

    Parameters
    ----------
    overlay_h5 : path
        The binned image, with `pixel_size_nm` (of the binned image) and `bin`.
    layer_tsv : table
        The layer along the contour, in pixels of the full image.
    """
    import h5py

    with h5py.File(overlay_h5, "r") as file:
        if "image" not in file:
            return style.nothing("This acquisition was not analysed.")
        image = file["image"][...]
        size = float(file.attrs.get("pixel_size_nm", np.nan))
        factor = float(file.attrs.get("bin", 1))
        name = str(file.attrs.get("acquisition_id", ""))
    return _overlay(
        image,
        size if np.isfinite(size) else None,
        rows(layer_tsv),
        lambda x: (x + 0.5) / factor - 0.5,
        name,
        "Image",
        low=0.2,
        high=99.8,
    )


@style.styled
def layer_trace(layer_tsv: Table) -> Figure:
    """Thickness along the surface with its standard deviation, the detection limit and bare stretches.

    Parameters
    ----------
    layer_tsv : table
        The layer along the surface, of either modality.
    """
    table = rows(layer_tsv)
    if not table:
        return style.nothing("No particle surface was traced.")
    position, thickness, deviation, lod = columns(
        table, "position_nm", "thickness_nm", "thickness_std_nm", "lod_nm"
    )
    found, uncovered = present(table), kinds(table)
    figure = style.new_figure(style.ONE_COLUMN_MM, 52.0)
    axes = figure.subplots()
    for index in stretches(table):
        index = index[np.argsort(position[index], kind="stable")]
        x, y, error = position[index], thickness[index], np.nan_to_num(deviation[index])
        wide, limit = _with_ends(x, lod[index])
        axes.fill_between(wide, 0, limit, color="#e6e6e6", linewidth=0, zorder=0)
        axes.plot(wide, limit, color=style.GREY, linewidth=0.7, linestyle=(0, (4, 2)))
        if len(x) == 1 and np.isfinite(y[0]):
            # A stretch of one segment has no line to be seen by.
            axes.errorbar(x, y, error, fmt=".", color=style.VERMILLION, markersize=3, elinewidth=0.8)
        axes.fill_between(x, y - error, y + error, color=style.VERMILLION, alpha=0.25, linewidth=0)
        axes.plot(x, y, color=style.VERMILLION, linewidth=0.8)
        where = found[index]
        axes.plot(x[where], y[where], ".", color=style.VERMILLION, markersize=3)
        for kind, open_ in uncovered.items():
            at = x[open_[index]]
            colour, marker = RUG[kind], UNCOVERED[kind][2]
            rug, size = np.full(at.size, 0.03), 4 if kind == BARE_KIND else 3
            axes.plot(at, rug, marker, color=colour, markersize=size, transform=axes.get_xaxis_transform())
    axes.set_xlabel("Position along the surface (nm)")
    axes.set_ylabel("Layer thickness (nm)")
    _trace_limits(axes, thickness + np.nan_to_num(deviation), lod)
    handles = [
        Line2D([], [], color=style.VERMILLION, marker=".", label="thickness ± 1 SD"),
        Line2D([], [], color=style.GREY, linestyle=(0, (4, 2)), linewidth=0.7, label="detection limit"),
    ]
    for kind, where in uncovered.items():
        if where.any():
            marker = UNCOVERED[kind][2]
            handles.append(
                Line2D([], [], color=RUG[kind], marker=marker, linestyle="", markersize=4, label=kind)
            )
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handlelength=1.8, columnspacing=1.0)
    span = position[np.isfinite(position)]
    length = f" over {np.ptp(span):.3g} nm" if span.size else ""
    return style.describe(figure, f"Layer thickness along the surface{length}. {_found_words(table)}")


def _with_ends(x: np.ndarray, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A stretch's limit out to half a segment beyond the middles of its first and last one."""
    half = float(np.median(np.diff(x))) / 2 if len(x) > 1 else min(1.0, float(x[0])) if len(x) else 0.0
    return np.r_[x[:1] - half, x, x[-1:] + half], np.r_[limit[:1], limit, limit[-1:]]


def _trace_limits(axes: Axes, upper: np.ndarray, lod: np.ndarray) -> None:
    """Leave a single wild error bar out of the scale, and say so where the limit lies beyond it."""
    finite = upper[np.isfinite(upper)]
    top = max(float(np.percentile(finite, 99)) if finite.size else 0.0, 1.0)
    limit = float(np.nanmax(lod)) if np.isfinite(lod).any() else 0.0
    if limit > 8 * top:
        low = f"{np.nanmin(lod):.3g}"
        axes.text(
            0.5,
            0.97,
            f"detection limit off the scale, from {low} nm",
            va="top",
            ha="center",
            transform=axes.transAxes,
            color=style.GREY,
            fontsize=6.5,
        )
    else:
        top = max(top, limit)
    axes.set_ylim(min(0.0, axes.get_ylim()[0] if finite.size and finite.min() < 0 else 0.0), 1.12 * top)
