"""White lines: maps of L3/L2, position of L3 and valence; their profile from the surface inwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ceiflow.figures import style
from ceiflow.figures.maps import step_of, zone_outlines

METALS = ("Mn", "Co", "Ni")


def mapped_metal(maps_h5: str | Path) -> str | None:
    """The first metal that has maps of its white lines; None where none has."""
    import h5py

    with h5py.File(maps_h5, "r") as file:
        return next((name for name in METALS if f"l3_l2_ratio/{name}" in file), None)


@style.styled
def line_maps(maps_h5: str | Path) -> Figure:
    """L3/L2 and the position of L3 (valence too, with references) by bins, each beside its standard error."""
    import h5py

    metal = mapped_metal(maps_h5)
    if metal is None:
        return style.nothing("White lines of Mn, Co and Ni do not stand above their detection limit.")
    names = ("l3_l2_ratio", "valence", "l3_position")
    with h5py.File(maps_h5, "r") as file:
        step = step_of(file["zone"].shape)
        thin = np.s_[::step, ::step]
        zone, pixel = file["zone"][()][thin].copy(), float(file.attrs["pixel_size_nm"]) * step
        found = {}
        for name in names:
            unit = "_eV" if name == "l3_position" else ""
            paths = [f"{name}{end}{unit}/{metal}" for end in ("", "_std")]
            if all(path in file for path in paths):
                found[name] = [file[path][()][thin].copy() for path in paths]
    titles = {"l3_l2_ratio": f"{metal} L₃/L₂", "valence": f"{metal} valence"}
    if "l3_position" in found:
        middle = float(np.nanmedian(found["l3_position"][0]))
        found["l3_position"][0] = found["l3_position"][0] - middle
        titles["l3_position"] = f"{metal} L₃ − {middle:.1f} eV"
    figure = style.new_figure(style.TWO_COLUMNS_MM, 52.0 * len(found))
    panels = figure.subplots(len(found), 2, squeeze=False)
    for pair, (name, data) in zip(panels, found.items(), strict=True):
        for axes, values, words, ends in zip(
            pair, data, (titles[name], "standard error"), _limits(*data), strict=True
        ):
            axes.set_facecolor("#d9d9d9")
            image = axes.imshow(values, vmin=ends[0], vmax=ends[1], cmap=style.MAP)
            zone_outlines(axes, zone)
            style.scale_bar(axes, pixel if np.isfinite(pixel) else None, values.shape)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(words, weight="bold")
            figure.colorbar(image, ax=axes, fraction=0.05)
    ratio = found["l3_l2_ratio"][0]
    bins, middle = len(np.unique(ratio[np.isfinite(ratio)])), np.nanmedian(ratio)
    return style.describe(figure, f"Maps of {metal} white lines in {bins} bins: median L3/L2 {middle:.2f}.")


def _limits(value: np.ndarray, error: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of both colour scales: values span four standard errors at least, so that noise looks like it."""
    low, high = np.nanquantile(value, [0.02, 0.98])
    middle, half = (low + high) / 2, max((high - low) / 2, 2 * float(np.nanmedian(error)))
    return (middle - half, middle + half), (0.0, max(float(np.nanquantile(error, 0.98)), 1e-6))


@style.styled
def valence_profile(content: Mapping[str, Any]) -> Figure:
    """Mn L3/L2, position of Mn L3 and (with references) valence, surface to bulk; the bulk as a band."""
    profile = [item for item in content.get("profile") or [] if not item["reason"]]
    shells = sorted((item for item in profile if not item["bulk"]), key=lambda item: item["depth_nm"])
    bulk = next((item for item in profile if item["bulk"]), None)
    if not shells:
        return style.nothing("Mn L is too weak in shells below the surface.")
    rows = [("ratio", "ratio_se", "Mn L₃/L₂"), ("position_eV", "position_se_eV", "Mn L₃ (eV)")]
    if any(item.get("valence") is not None for item in shells):
        # What all shells share, above all where templates calibrate, is in no error bar.
        shared = [item["valence_sys"] for item in shells if item.get("valence_sys") is not None]
        label = f"Mn valence\n(common error {np.median(shared):.1f})" if shared else "Mn valence"
        rows.append(("valence", "valence_se", label))
    figure = style.new_figure(style.ONE_COLUMN_MM, 10.0 + 32.0 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True)
    depth = [item["depth_nm"] for item in shells]
    for axes, (name, error_name, label) in zip(panels, rows, strict=True):
        values, errors = (_column(shells, key) for key in (name, error_name))
        if bulk is not None and bulk.get(name) is not None:
            half = 1.96 * bulk[error_name]
            axes.axhspan(bulk[name] - half, bulk[name] + half, color="#e4e4e4", linewidth=0)
            axes.axhline(bulk[name], color=style.GREY, linewidth=0.6)
        errors = 1.96 * errors
        axes.errorbar(depth, values, yerr=errors, fmt="o-", color=style.PURPLE, markersize=3, elinewidth=0.8)
        axes.set_ylabel(label)
    panels[0].annotate(
        "grey: bulk, 95 %",
        (0.99, 0.96),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=6,
        color=style.GREY,
    )
    panels[-1].set_xlabel("Depth below the surface (nm)")
    panels[-1].set_xlim(left=0)
    first, last = (item["position_eV"] for item in (shells[0], shells[-1]))
    ends = f"{first:.2f} eV at {depth[0]:.1f} nm and {last:.2f} eV inside"
    return style.describe(figure, f"Mn L3/L2 and position of Mn L3 below the surface: L3 at {ends}.")


def _column(shells: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if item.get(name) is None else item[name] for item in shells], float)
