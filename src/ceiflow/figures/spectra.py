"""Zone spectra with their model, and what the energy calibration found."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ceiflow.figures import style
from ceiflow.figures.tables import Table, number, rows

FIXED = ("zone", "energy_eV", "counts", "model", "background", "residual_sigma")
ZONE_ORDER = ("layer", "surface", "particle", "all")


@style.styled
def zone_spectra(spectra_tsv: Table) -> Figure:
    """Summed spectrum of each zone: counts, model and background; edges above it; residual in sigma.

    Parameters
    ----------
    spectra_tsv : table
        The contract's `spectra.tsv`; every column beyond the fixed ones is an edge.
    """
    table = rows(spectra_tsv)
    zones = [zone for zone in ZONE_ORDER if any(row["zone"] == zone for row in table)]
    if not zones:
        return style.nothing("No zone holds enough pixels for a spectrum.")
    edges = [name for name in table[0] if name not in FIXED]
    figure = style.new_figure(style.TWO_COLUMNS_MM, 8.0 + 66.0 * len(zones))
    panels = figure.subplots(3 * len(zones), 1, sharex=True, height_ratios=[2.2, 2.0, 0.9] * len(zones))
    worst = []
    for index, zone in enumerate(zones):
        own = [row for row in table if row["zone"] == zone]
        data = {name: np.array([number(row[name]) for row in own]) for name in own[0] if name != "zone"}
        order = np.argsort(data["energy_eV"])
        data = {name: values[order] for name, values in data.items()}
        top, middle, bottom = panels[3 * index : 3 * index + 3]
        _counts(top, data, zone, legend=index == 0)
        _edge_signals(middle, data, edges)
        residual = _residual(bottom, data)
        worst.append(f"{zone}: residual {residual:.2g} sigma rms")
    panels[-1].set_xlabel("Energy loss (eV)")
    labels = ", ".join(name.replace("_", " ") for name in edges)
    return style.describe(
        figure, f"Summed spectra with model, background and edges ({labels}). {'; '.join(worst)}."
    )


def _counts(axes: Axes, data: dict, zone: str, legend: bool) -> None:
    x, counts = data["energy_eV"], data["counts"]
    axes.plot(x, counts, color="#9a9a9a", linewidth=0.7, label="counts")
    axes.plot(
        x, data["background"], color=style.BLUE, linewidth=0.8, linestyle=(0, (4, 2)), label="background"
    )
    axes.plot(x, data["model"], color=style.VERMILLION, linewidth=0.9, label="model")
    positive = counts[np.isfinite(counts) & (counts > 0)]
    if positive.size and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
        axes.set_ylim(np.percentile(positive, 1) / 1.5, positive.max() * 1.6)
        axes.yaxis.set_major_formatter(FuncFormatter(short_count))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(short_count))
    axes.set_ylabel("Counts")
    axes.set_title(f"{zone} zone", weight="bold")
    if legend:
        axes.legend(loc="upper right", ncols=3)


def short_count(value: float, _=None) -> str:
    """A count in few characters: 200, 20k, 2M."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:g}{letter}"
    return f"{value:g}"


def _edge_signals(axes: Axes, data: dict, edges: list[str]) -> None:
    """Counts above the background on a signed square-root scale, where edges of all sizes are seen."""
    x = data["energy_eV"]
    axes.plot(x, data["counts"] - data["background"], color="#9a9a9a", linewidth=0.6)
    axes.set_yscale("function", functions=(_root, _square))
    tops = []
    for index, name in enumerate(edges):
        values = np.nan_to_num(data[name])
        if not values.max() > 0:
            continue
        colour = style.element_colour(name, index)
        axes.fill_between(x, 0, values, color=colour, alpha=0.25, linewidth=0)
        axes.plot(x, values, color=colour, linewidth=0.8)
        tops.append((x[np.argmax(values > 0.05 * values.max())], name, colour, values.max()))
    if tops:
        highest = max(top for *_, top in tops)
        low = np.nanpercentile(data["counts"] - data["background"], 1)
        axes.set_ylim(min(-0.01 * highest, max(low, -0.2 * highest)), 1.5 * highest)
    _edge_labels(axes, tops)
    ticks = _root_ticks(*axes.get_ylim())
    axes.set_yticks(ticks)
    axes.yaxis.set_major_formatter(FuncFormatter(short_count))
    axes.set_ylabel("Above\nbackground")


def _root(values):
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(values):
    return np.sign(values) * np.square(values)


def _root_ticks(low: float, high: float) -> list[float]:
    power = 10.0 ** np.floor(np.log10(high)) if high > 0 else 1.0
    ticks = [0.0]
    for step in (0.05, 0.1, 0.2, 0.5, 1, 2, 5):
        if step * power <= high and np.sqrt(step * power) - np.sqrt(ticks[-1]) > 0.2 * np.sqrt(high):
            ticks.append(float(step * power))
    return ticks


def _edge_labels(axes: Axes, tops: list) -> None:
    """Names of the edges at their onset, on two levels where they crowd."""
    left, right = axes.get_xlim()
    last = {0: -np.inf, 1: -np.inf}
    for onset, name, colour, _ in sorted(tops):
        level = 0 if (onset - last[0]) > 0.06 * (right - left) else 1
        last[level] = onset
        axes.axvline(onset, color=colour, linewidth=0.4, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(
            name.replace("_", " "),
            (onset, 0.99 - 0.13 * level),
            xycoords=("data", "axes fraction"),
            xytext=(1.5, 0),
            textcoords="offset points",
            color=colour,
            va="top",
            fontsize=6.5,
            weight="bold",
        )


def _residual(axes: Axes, data: dict) -> float:
    x, residual = data["energy_eV"], data["residual_sigma"]
    axes.axhspan(-2, 2, color="#e9e9e9", linewidth=0)
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    axes.plot(x, residual, color=style.BLACK, linewidth=0.5)
    finite = residual[np.isfinite(residual)]
    reach = max(4.0, float(np.percentile(np.abs(finite), 99.5)) * 1.1) if finite.size else 4.0
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("Resid.\n(σ)")
    return float(np.sqrt(np.mean(finite**2))) if finite.size else float("nan")


@style.styled
def energy_calibration(calibration: dict, tolerance_eV: float | None = None) -> Figure:
    """Where edges were found against where they should be, after calibration.

    Parameters
    ----------
    calibration : dict
        The `calibration` of a `summary.json`; its `edges` hold expected_eV, found_eV, residual_eV, se_eV.
    tolerance_eV : float, optional
        The band of the configuration within which an edge counts as found.
    """
    found = [
        edge
        for edge in (calibration or {}).get("edges") or []
        if np.isfinite(number(edge.get("residual_eV")))
    ]
    if not found:
        return style.nothing("No edge was strong enough to check the energy axis.")
    figure = style.new_figure(style.ONE_COLUMN_MM, 46.0)
    axes = figure.subplots()
    x = np.array([number(edge.get("expected_eV")) for edge in found])
    y = np.array([number(edge.get("residual_eV")) for edge in found])
    error = np.nan_to_num([number(edge.get("se_eV")) for edge in found])
    if tolerance_eV:
        axes.axhspan(-tolerance_eV, tolerance_eV, color="#e9e9e9", linewidth=0)
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    axes.errorbar(x, y, yerr=error, fmt="o", color=style.BLUE, markersize=3.5, elinewidth=0.8)
    for edge, a, b in zip(found, x, y, strict=True):
        axes.annotate(
            str(edge.get("edge", "")).replace("_", " "),
            (a, b),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6.5,
        )
    axes.margins(x=0.12, y=0.25)
    axes.set_xlabel("Expected energy (eV)")
    axes.set_ylabel("Found − expected (eV)")
    words = ", ".join(f"{e.get('edge')} {v:+.2f} eV" for e, v in zip(found, y, strict=True))
    return style.describe(figure, f"Energy of edges, found minus expected: {words}.")
