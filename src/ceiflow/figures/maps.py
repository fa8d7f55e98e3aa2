"""Maps of one spectrum image, and the elements along the normal to the particle's surface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ceiflow.figures import style
from ceiflow.figures.tables import by_number, figures3

LAYER, PARTICLE, EXCLUDED = 1, 2, 255
# Of larger maps every second, third ... row and column is drawn, which is still more than a page resolves.
LARGEST_SIDE = 1024


@dataclass
class Maps:
    """What the figures need of a `maps.h5`: arrays [row, column], empty where the file has none.

    Of large maps it is every `step`-th row and column; `pixel_size_nm` is that of the file.
    """

    acquisition_id: str
    pixel_size_nm: float | None
    elements: list[str]
    kind: str
    unit: str
    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    zone: np.ndarray | None = None
    distance_nm: np.ndarray | None = None
    thickness: np.ndarray | None = None
    total: np.ndarray | None = None
    attributes: dict = field(default_factory=dict)
    full_shape: tuple[int, int] = (1, 1)
    step: int = 1

    @property
    def drawn_size_nm(self) -> float | None:
        """Between the rows that are here."""
        return None if self.pixel_size_nm is None else self.pixel_size_nm * self.step

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) that are here; `full_shape` is that of the file."""
        arrays = [*self.values.values(), self.zone, self.thickness]
        return next((a.shape for a in arrays if a is not None), (1, 1))


def read_maps(path: str | Path) -> Maps:
    """Maps of a spectrum image: areal densities, or edge counts where no density is identifiable.

    Parameters
    ----------
    path : path
        A `maps.h5`.
    """
    import h5py

    with h5py.File(path, "r") as file:
        full_shape = next((item.shape for item in _datasets(file)), (1, 1))
        step = step_of(full_shape)
        densities = _group(file, "areal_density", step)
        has_density = any(np.isfinite(array).any() for array in densities.values())
        kind, unit = ("areal_density", "nm⁻²") if has_density else ("counts", "counts")
        values = densities if has_density else _group(file, "counts", step)
        size = file.attrs.get("pixel_size_nm")
        return Maps(
            acquisition_id=str(file.attrs.get("acquisition_id", "")),
            pixel_size_nm=float(size) if size is not None and np.isfinite(float(size)) else None,
            elements=by_number(values),
            kind=kind,
            unit=unit,
            values=values,
            errors=_group(file, f"{kind}_std", step),
            zone=_dataset(file, "zone", step),
            distance_nm=_dataset(file, "distance_nm", step),
            thickness=_dataset(file, "thickness_over_mfp", step),
            total=_dataset(file, "total_counts", step),
            attributes={key: file.attrs[key] for key in sorted(file.attrs)},
            full_shape=full_shape,
            step=step,
        )


def step_of(shape: tuple[int, int]) -> int:
    """Every how many rows and columns of a map are drawn."""
    return -(-max(shape) // LARGEST_SIDE)


def _datasets(file) -> Iterator:
    """Maps of an open file, any of which tells the shape of all."""
    for item in file.values():
        yield from (item,) if hasattr(item, "shape") else _datasets(item)


def _group(file, name: str, step: int) -> dict[str, np.ndarray]:
    return {key: _dataset(file[name], key, step) for key in file[name]} if name in file else {}


def _dataset(file, name: str, step: int) -> np.ndarray | None:
    # Read whole and copied in part: the file is packed, and would be unpacked for every row.
    return file[name][...][::step, ::step].copy() if name in file else None


def grid(count: int, shape: tuple[int, int], width_mm: float, most: int = 6) -> tuple[int, int, float]:
    """Rows, columns and height in mm of a grid of images, as square as the page allows."""
    rows, columns = shape
    best = (count, 1, 1e9)
    for n in range(1, min(most, count) + 1):
        lines = -(-count // n)
        tile = width_mm / n - 11.0  # the colour bar and its label
        height = min(tile * max(rows, 1) / max(columns, 1), 70.0) + 7.0
        total = lines * max(height, 16.0)
        used = min(tile, (height - 7.0) * columns / max(rows, 1))
        score = abs(total - 95.0) + (40.0 if used < 0.5 * tile else 0.0) + 6.0 * (lines * n - count)
        if score < best[2]:
            best = (lines, n, score)
            chosen = (lines, n, total)
    return chosen


def zone_outlines(axes: Axes, zone: np.ndarray | None) -> None:
    """The particle's outline as a line and the layer's as dashes."""
    if zone is None or min(zone.shape) < 2:
        return
    for code, dashes in ((PARTICLE, "solid"), (LAYER, (0, (2, 1.5)))):
        mask = (zone == code).astype(float)
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors="black", linewidths=1.3, linestyles="solid", alpha=0.55)
            axes.contour(mask, levels=[0.5], colors="white", linewidths=0.7, linestyles=[dashes])


@style.styled
def element_maps(maps_h5: str | Path) -> Figure:
    """Every element of a spectrum image with zone outlines, scale bar and colour bar, then t/λ.

    Parameters
    ----------
    maps_h5 : path
        Areal densities are shown; where none is identifiable (missing angles), edge counts.
    """
    maps = read_maps(maps_h5)
    panels = [(name, maps.values[name], f"{name} ({maps.unit})") for name in maps.elements]
    if maps.thickness is not None:
        panels.append(("t/λ", maps.thickness, "t/λ"))
    panels = [panel for panel in panels if np.isfinite(panel[1]).any()]
    if not panels:
        return style.nothing("No map holds a finite value.")
    shape = maps.shape
    if min(shape) == 1:
        return _line_scan(maps, panels)
    lines, columns, height = grid(len(panels), shape, style.TWO_COLUMNS_MM)
    figure = style.new_figure(style.TWO_COLUMNS_MM, height)
    axes_grid = figure.subplots(lines, columns, squeeze=False)
    for index, axes in enumerate(axes_grid.flat):
        style.image_axes(axes)
        if index >= len(panels):
            axes.set_visible(False)
            continue
        name, values, label = panels[index]
        low, high = style.limits(values)
        colours = "viridis" if name == "t/λ" else style.MAP
        shown = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="equal")
        axes.set_facecolor("#dddddd")
        zone_outlines(axes, maps.zone)
        axes.set_title(name)
        if index == 0:
            style.scale_bar(axes, maps.drawn_size_nm, shape)
        style.colour_bar(figure, shown, axes, label, style.extend(values, low, high))
    return style.describe(figure, _words(maps, panels))


def _line_scan(maps: Maps, panels: list) -> Figure:
    figure = style.new_figure(style.TWO_COLUMNS_MM, 10.0 + 20.0 * len(panels))
    grid_axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    length = max(maps.shape)
    x = np.arange(length) * (maps.drawn_size_nm or 1.0)
    for index, (axes, (name, values, label)) in enumerate(zip(grid_axes, panels, strict=True)):
        colour = style.element_colour(name, index)
        error = maps.errors.get(name)
        axes.plot(x, values.ravel(), color=colour, marker="." if length < 4 else "")
        if error is not None:
            axes.fill_between(x, (values - error).ravel(), (values + error).ravel(), color=colour, alpha=0.2)
        axes.set_ylabel(label)
    grid_axes[-1].set_xlabel("Position (nm)" if maps.pixel_size_nm else "Position (pixels)")
    return style.describe(figure, _words(maps, panels))


def _words(maps: Maps, panels: list) -> str:
    what = "Areal densities" if maps.kind == "areal_density" else "Edge counts"
    ranges = "; ".join(
        f"{name} {np.nanpercentile(v, 1):.3g} to {np.nanpercentile(v, 99):.3g}" for name, v, _ in panels
    )
    rows, columns = maps.full_shape
    size = f"{maps.pixel_size_nm:.3g} nm pixels" if maps.pixel_size_nm else "pixel size unknown"
    where = f"{maps.acquisition_id}, {columns} by {rows} pixels, {size}"
    where += f" of which one in {maps.step} by {maps.step} is drawn" if maps.step > 1 else ""
    inside = [
        _zone_words(maps, panels, code, name) for code, name in ((LAYER, "layer"), (PARTICLE, "particle"))
    ]
    if any(inside):
        return f"{what} of {where}. Means: {'; '.join(filter(None, inside))}."
    return f"{what} of {where}; 1st to 99th percentile: {ranges}."


def _zone_words(maps: Maps, panels: list, code: int, name: str) -> str:
    """Means of all maps in one zone; empty where there is none."""
    mask = maps.zone == code if maps.zone is not None else np.zeros(maps.shape, bool)
    found = [(label, values[mask]) for label, values, _ in panels if np.isfinite(values[mask]).any()]
    return (
        f"{name} {', '.join(f'{label} {figures3(np.nanmean(own))}' for label, own in found)}" if found else ""
    )


Profile = tuple[np.ndarray, np.ndarray, np.ndarray]
REACH_NM = (-40.0, 40.0)


def profile_values(
    maps: Maps, reach_nm: tuple[float, float] = REACH_NM
) -> tuple[dict[str, Profile], np.ndarray]:
    """Distance to the surface, mean and standard error of each element, and the ends of the bins; in nm.

    No element where no surface was found.
    """
    names = [name for name in maps.elements if np.isfinite(maps.values[name]).any()]
    distance = maps.distance_nm
    if distance is None or not np.isfinite(distance).any() or not names:
        return {}, np.zeros(0)
    good = np.isfinite(distance) & np.any([np.isfinite(maps.values[name]) for name in names], axis=0)
    if maps.zone is not None:
        good &= maps.zone != EXCLUDED
    low = max(reach_nm[0], float(distance[good].min())) if good.any() else reach_nm[0]
    high = min(reach_nm[1], float(distance[good].max())) if good.any() else reach_nm[1]
    step = max(maps.pixel_size_nm or 1.0, (high - low) / 60)
    edges = np.arange(np.floor(low / step) * step, high + 1.5 * step, step)
    profiles = {
        name: _binned(distance, maps.values[name], maps.errors.get(name), good, edges) for name in names
    }
    return profiles, edges


@style.styled
def normal_profile(maps_h5: str | Path, reach_nm: tuple[float, float] = REACH_NM) -> Figure:
    """Mean of each element against the distance to the surface, with standard errors.

    Parameters
    ----------
    maps_h5 : path
        With `distance_nm` (negative inside the particle).
    reach_nm : (float, float)
        How far inside and outside is shown.
    """
    maps = read_maps(maps_h5)
    profiles, edges = profile_values(maps, reach_nm)
    names = list(profiles)
    if not names:
        return style.nothing("No surface was found, so there is no profile along its normal.")
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = style.new_figure(style.TWO_COLUMNS_MM, 12.0 + 30.0 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for index, axes in enumerate(panels.flat):
        if index >= len(names):
            axes.set_visible(False)
            continue
        name = names[index]
        centre, mean, error = profiles[name]
        colour = style.element_colour(name, index)
        axes.axvspan(edges[0], 0.0, color="#efefef", linewidth=0, zorder=0)
        axes.axvline(0.0, color=style.GREY, linewidth=0.6)
        axes.errorbar(
            centre, mean, yerr=error, fmt="o-", markersize=2, linewidth=0.8, elinewidth=0.6, color=colour
        )
        axes.set_title(name)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=min(0.0, np.nanmin(mean - error)) if mean.size else 0.0)
    figure.supxlabel("Distance to the surface (nm); negative, shaded: inside the particle", fontsize=7)
    label = "Areal density (nm⁻²)" if maps.kind == "areal_density" else "Counts per pixel"
    figure.supylabel(label, fontsize=7)
    text = f"{label} of {', '.join(names)} against the distance to the surface of {maps.acquisition_id}"
    text += f", from {edges[0]:.3g} to {edges[-1]:.3g} nm"
    return style.describe(figure, f"{text}. {_profile_words(profiles)}".strip())


def _profile_words(profiles: dict[str, Profile]) -> str:
    """Means within 10 nm of the surface, outside and inside."""
    words = []
    for side, low, high in (("outside", 0.0, 10.0), ("inside", -10.0, 0.0)):
        means = [
            f"{name} {figures3(mean[near].mean())}"
            for name, (centre, mean, _) in profiles.items()
            if (near := (centre > low) & (centre <= high)).any()
        ]
        words += [f"{side} {', '.join(means)}"] if means else []
    return f"Within 10 nm of the surface: {'; '.join(words)}." if words else ""


def _binned(distance, values, errors, good, edges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and standard errors of the pixels in each distance bin."""
    ok = good & np.isfinite(values)
    index = np.digitize(distance[ok], edges) - 1
    inside = (index >= 0) & (index < edges.size - 1)
    index, sample = index[inside], values[ok][inside].astype(float)
    count = np.bincount(index, minlength=edges.size - 1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(index, sample, edges.size - 1) / count
        if errors is not None:
            variance = np.bincount(
                index, np.nan_to_num(errors[ok][inside].astype(float)) ** 2, edges.size - 1
            )
            error = np.sqrt(variance) / count
        else:
            spread = np.bincount(index, (sample - mean[index]) ** 2, edges.size - 1)
            error = np.sqrt(spread / np.maximum(count - 1, 1) / count)
    keep = count > 0
    return ((edges[:-1] + edges[1:]) / 2)[keep], mean[keep], error[keep]
