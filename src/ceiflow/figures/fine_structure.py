"""Fine structure: carbon edges and their difference, species maps, decay with dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ceiflow.figures import style

# Where the bands of carbon stand, for the reader's eye.
BANDS_EV = ((285.3, "sp²"), (287.6, "C–H"), (288.5, "COO"), (289.3, "C–O"), (290.3, "CO₃"))
SPECIES_COLOURS = {
    "sp2": style.BLUE,
    "aliphatic": style.ORANGE,
    "ether": style.SKY,
    "carboxyl": style.PURPLE,
    "carbonate": style.VERMILLION,
}
SPECIES_NAMES = {
    "sp2": "sp²",
    "aliphatic": "aliphatic",
    "ether": "ether",
    "carboxyl": "carboxyl",
    "carbonate": "carbonate",
}
RANGE_EV = (280.0, 312.0)
GRID_EV = np.arange(RANGE_EV[0], RANGE_EV[1] + 1e-9, 0.25)


def aligned(zone: Mapping[str, Any], grid: np.ndarray = GRID_EV) -> tuple[np.ndarray, np.ndarray]:
    """A zone's C K edge per eV, without background, on the corrected axis, in units of all its counts.

    Parameters
    ----------
    zone : mapping
        An entry of `carbon` in fine_structure.json.

    Returns
    -------
    (n,) array, (n,) array
        Values and their standard errors of counting.
    """
    energy = np.asarray(zone["energy_eV"], float) - zone["shift_eV"]
    counts, background = (np.asarray(zone[name], float) for name in ("counts", "background"))
    step = energy[1] - energy[0]
    scale = 1 / (zone["total"] * step)
    value = np.interp(grid, energy, (counts - background) * scale)
    return value, np.interp(grid, energy, np.sqrt(np.maximum(counts, 1)) * scale)


def pooled(zones: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of several edges and its standard error: their scatter, or counting where that is more."""
    values, errors = (np.array(item) for item in zip(*(aligned(zone) for zone in zones), strict=True))
    counting = np.sqrt((errors**2).sum(0)) / len(zones)
    scatter = values.std(0, ddof=1) / np.sqrt(len(zones)) if len(zones) > 1 else np.zeros_like(counting)
    return values.mean(0), np.maximum(counting, scatter)


@style.styled
def carbon_edges(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """C K of groups of cells, aligned and normalised, with 95 % bands, their difference, and the species.

    Parameters
    ----------
    groups : mapping of name to list of zones
        Name of a condition, and one entry of `carbon` of fine_structure.json a cell; the second group minus
        the first is the difference.
    """
    groups = {name: [zone for zone in zones if not zone.get("reason")] for name, zones in groups.items()}
    groups = {name: zones for name, zones in groups.items() if zones}
    if not groups:
        return style.nothing("No C K edge is known well enough to show its fine structure.")
    colours = style.condition_colours(list(groups))
    two = len(groups) == 2
    figure = style.new_figure(style.TWO_COLUMNS_MM, 92.0 if two else 62.0)
    layout = figure.add_gridspec(
        2 if two else 1, 2, width_ratios=[2.2, 1], height_ratios=[2, 1] if two else [1]
    )
    main = figure.add_subplot(layout[0, 0])
    means = {}
    for name, zones in groups.items():
        mean, error = pooled(zones)
        means[name] = mean, error
        main.fill_between(
            GRID_EV, mean - 1.96 * error, mean + 1.96 * error, color=colours[name], alpha=0.25, linewidth=0
        )
        cells = "cell" if len(zones) == 1 else "cells"
        main.plot(GRID_EV, mean, color=colours[name], label=f"{name} ({len(zones)} {cells})")
    _bands(main)
    main.set_xlim(*RANGE_EV)
    main.set_ylabel("Share of C K per eV")
    main.legend(loc="lower right")
    words = ""
    if two:
        words = _difference(figure.add_subplot(layout[1, 0], sharex=main), groups, means)
        main.tick_params(labelbottom=False)
    else:
        main.set_xlabel("Energy loss (eV)")
    shares = figure.add_subplot(layout[:, 1])
    text = _shares(shares, groups, colours)
    return style.describe(figure, f"Carbon K edge by group, with shares of species: {text}. {words}")


def _bands(axes: Axes) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.003), high * 1.16)
    for index, (energy, name) in enumerate(BANDS_EV):
        axes.axvline(energy, color=style.GREY, linewidth=0.4, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(
            f"{name} {energy:g}",
            (energy, 0.99),
            xycoords=("data", "axes fraction"),
            xytext=(-1.5 if index < 2 else 1.5, -7 * (1 - index if index < 2 else index - 2)),
            textcoords="offset points",
            ha="right" if index < 2 else "left",
            va="top",
            fontsize=6,
            color=style.GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )
    axes.axhline(0, color=style.GREY, linewidth=0.5)


def _difference(axes: Axes, groups: Mapping, means: Mapping) -> str:
    (first, (a, a_error)), (second, (b, b_error)) = means.items()
    error = np.hypot(a_error, b_error)
    axes.fill_between(
        GRID_EV, b - a - 1.96 * error, b - a + 1.96 * error, color=style.GREY, alpha=0.3, linewidth=0
    )
    axes.plot(GRID_EV, b - a, color=style.BLACK)
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    for energy, _ in BANDS_EV:
        axes.axvline(energy, color=style.GREY, linewidth=0.4, linestyle=(0, (2, 2)), zorder=0)
    axes.set_xlabel("Energy loss (eV)")
    axes.set_ylabel(f"{second} −\n{first}")
    peak = GRID_EV[np.argmax(np.where(GRID_EV < 293, b - a, -np.inf))]
    return f"{second} exceeds {first} most at {peak:.1f} eV."


def _shares(axes: Axes, groups: Mapping, colours: Mapping) -> str:
    """Species of every cell as points with their intervals, the mean of the group beside them."""
    names = list(SPECIES_COLOURS)
    words = []
    for offset, (group, zones) in zip(
        np.linspace(-0.16, 0.16, max(len(groups), 2)), groups.items(), strict=False
    ):
        means = []
        for row, species in enumerate(names):
            values = []
            for zone in zones:
                if species not in zone["species"]:
                    continue
                i = zone["species"].index(species)
                values.append((zone["fraction"][i], zone["low"][i], zone["high"][i]))
            for j, (value, low, high) in enumerate(values):
                at = row + offset + 0.05 * (j - (len(values) - 1) / 2)
                axes.plot([low, high], [at, at], color=colours[group], linewidth=0.6, alpha=0.7)
                axes.plot(value, at, "o", color=colours[group], markersize=2.2)
            if values:
                means.append(f"{SPECIES_NAMES[species]} {np.mean([v[0] for v in values]):.2f}")
        words.append(f"{group}: {', '.join(means)}")
    axes.set_yticks(range(len(names)), [SPECIES_NAMES[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Share of carbon, 95 % interval")
    axes.set_title("Species", weight="bold")
    return "; ".join(words)


@style.styled
def carbon_zone(content: Mapping[str, Any]) -> Figure:
    """C K of one acquisition: data, species, model, background off; residual in sigma.

    Parameters
    ----------
    content : mapping
        fine_structure.json.
    """
    name, zone = shown_zone(content)
    if not zone:
        return style.nothing("The range of this acquisition does not hold C K with room below it.")
    energy = np.asarray(zone["energy_eV"], float) - zone["shift_eV"]
    counts, background, model = (np.asarray(zone[key], float) for key in ("counts", "background", "model"))
    shown = (energy > RANGE_EV[0]) & (energy < RANGE_EV[1])
    top = float(np.max((model - background)[shown]))
    # An edge within the noise of a channel would be a picture of noise.
    if zone["reason"] and top < 2 * np.sqrt(np.median(np.maximum(counts[shown], 1.0))):
        return style.nothing(f"{_named(name)}: {zone['reason']}.")
    figure = style.new_figure(style.ONE_COLUMN_MM, 80.0)
    main, rest = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    main.plot(energy, counts - background, color="#9a9a9a", linewidth=0.7, label="counts")
    main.plot(energy, model - background, color=style.BLACK, linewidth=0.9, label="model")
    for species, values in zone["parts"].items():
        part = np.asarray(values, float)
        if part.max() > 0:
            colour = SPECIES_COLOURS.get(species, style.GREEN)
            main.plot(energy, part, color=colour, linewidth=0.8, label=SPECIES_NAMES.get(species, species))
    main.set_xlim(*RANGE_EV)
    main.set_ylim(-0.15 * top, 1.3 * top)
    _bands(main)
    from ceiflow.figures.spectra import short_count

    main.yaxis.set_major_formatter(lambda value, _: short_count(value))
    main.set_ylabel("Counts above\nbackground")
    main.set_title(_named(name), weight="bold")
    figure.legend(*main.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    rest.axhspan(-2, 2, color="#e9e9e9", linewidth=0)
    rest.plot(energy, zone["residual_sigma"], color=style.BLACK, linewidth=0.6)
    for item in zone["missing"]:
        rest.axvline(item["energy_eV"], color=style.VERMILLION, linewidth=0.8)
    rest.set_ylabel("Resid. (σ)")
    rest.set_xlabel("Energy loss (eV)")
    if zone["reason"]:
        main.annotate(
            zone["reason"], (0.02, 0.62), xycoords="axes fraction", color=style.VERMILLION, fontsize=6
        )
    shares = ", ".join(
        f"{SPECIES_NAMES.get(species, species)} {share:.2f}"
        for species, share in zip(zone["species"], zone["fraction"], strict=True)
    )
    reason = f" {zone['reason']}." if zone["reason"] else ""
    return style.describe(figure, f"Carbon K edge of the {_named(name)}, shares of carbon: {shares}.{reason}")


def _named(zone: str) -> str:
    return "whole view" if zone == "all" else zone


def shown_zone(content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The zone whose C K is shown: the layer where it can be read, else the first; empty without C K."""
    zones = content.get("carbon") or {}
    if not zones:
        return "", {}
    name = "layer" if "layer" in zones and not zones["layer"]["reason"] else next(iter(zones))
    return name, zones[name]


def edge_rows(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, object]]:
    """Numbers behind `carbon_edges`: mean edges with their errors by group and energy."""
    found: list[dict[str, object]] = []
    for name, zones in groups.items():
        if usable := [zone for zone in zones if not zone.get("reason")]:
            for energy, value, error in zip(GRID_EV, *pooled(usable), strict=True):
                found.append(
                    {
                        "part": "carbon K edge",
                        "group": name,
                        "cells": len(usable),
                        "energy_eV": energy,
                        "value": value,
                        "se": error,
                    }
                )
            for index, zone in enumerate(usable, 1):
                columns = (zone[key] for key in ("species", "fraction", "low", "high"))
                for species, share, low, high in zip(*columns, strict=True):
                    row = {"part": "species", "group": name, "cells": 1, "cell": index, "species": species}
                    found.append({**row, "value": share, "low": low, "high": high})
    return found


def mapped(maps_h5: str | Path, species: str) -> bool:
    """Whether there is a map of a species with its standard deviation."""
    import h5py

    with h5py.File(maps_h5, "r") as file:
        return all(f"carbon_fraction{end}/{species}" in file for end in ("", "_std"))


@style.styled
def species_map(maps_h5: str | Path, species: str = "carbonate") -> Figure:
    """Share of one species over the map and its standard deviation; grey where it cannot be told."""
    import h5py

    from ceiflow.figures.maps import step_of, zone_outlines

    if not mapped(maps_h5, species):
        return style.nothing(f"No map of {species}: the carbon edge is not known well enough.")
    names = [f"carbon_fraction/{species}", f"carbon_fraction_std/{species}"]
    with h5py.File(maps_h5, "r") as file:
        step = step_of(file["zone"].shape)
        value, error, zone = (file[name][()][::step, ::step].copy() for name in (*names, "zone"))
        pixel = float(file.attrs["pixel_size_nm"]) * step

    error = np.where(np.isfinite(value), error, np.nan)
    figure = style.new_figure(style.TWO_COLUMNS_MM, 62.0)
    panels = figure.subplots(1, 2)
    for axes, data, title, most in zip(
        panels, (value, error), (f"{species}, share of carbon", "standard deviation"), (1.0, 0.3), strict=True
    ):
        axes.set_facecolor("#d9d9d9")
        image = axes.imshow(data, vmin=0, vmax=most, cmap=style.MAP)
        zone_outlines(axes, zone)
        style.scale_bar(axes, pixel if np.isfinite(pixel) else None, data.shape)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, weight="bold")
        figure.colorbar(image, ax=axes, fraction=0.05)
    middle = float(np.nanmedian(value)) if np.isfinite(value).any() else float("nan")
    return style.describe(figure, f"Map of {species}: median share {middle:.2f} where it can be told.")


@style.styled
def dose_decay(dose: Mapping[str, Any]) -> Figure:
    """What fades and what grows along a series of frames, relative to zero dose, with the fitted decays."""
    decays = dose.get("decays") or []
    if not decays:
        return style.nothing(dose.get("reason") or "No series of frames of this region.")
    middle = np.asarray(dose["dose_middle_e_per_A2"], float)
    line = np.linspace(0, dose["dose_end_e_per_A2"][-1], 100)
    figure = style.new_figure(style.ONE_COLUMN_MM, 60.0)
    axes = figure.subplots()
    colours = (style.VERMILLION, style.BLACK, style.GREEN)
    words, highest = [], 1.0
    ordered = sorted(decays, key=lambda item: item["name"] != "carbonate line")
    for shift, colour, item in zip((0.0, 8.0, 16.0), colours, ordered, strict=False):
        series = dose["series"][item["name"]]
        scale = item["zero"] or 1.0
        values, errors = (np.asarray(series[key], float) / scale for key in ("values", "errors"))
        text = f"{item['name']}: {_critical(item)}"
        axes.errorbar(
            middle + shift, values, yerr=errors, fmt="o", color=colour, markersize=3, elinewidth=0.8
        )
        axes.plot(line, np.exp(-item["rate"] * line), color=colour, linewidth=0.9, label=text)
        words.append(text)
        highest = max(highest, float(values.max()))
    axes.set_ylim(0, 1.08 * highest)
    axes.set_xlim(left=0)
    axes.set_xlabel("Accumulated dose (e Å⁻²)")
    axes.set_ylabel("Relative to zero dose")
    axes.legend(loc="lower left", title="critical dose, 95 % interval", title_fontsize=6.5)
    return style.describe(figure, f"Decay along {len(middle)} frames: {'; '.join(words)}.")


def _critical(item: Mapping[str, Any]) -> str:
    """The critical dose of one quantity in words; of what grows, by how much."""
    if item["critical"] is not None:
        return f"{_end(item['critical'])} e/Å² ({item['low']:.0f}–{_end(item['high'])})"
    if item["low"] is None:
        return f"grows by {-100 * item['rate']:.2g} per 100 e/Å²"
    return f"above {_end(item['low'])} e/Å²" if item["low"] > 0 else "not told"


def _end(value: float | None) -> str:
    if value is None:
        return "∞"
    return f"{value:.0f}" if value < 1e4 else f"{float(f'{value:.1g}'):,.0f}"
