"""Figures of a whole study and of one acquisition, from a results folder to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ceiflow.figures import (
    bars,
    claims,
    estimation,
    fine_structure,
    maps,
    overlay,
    planning,
    spectra,
    style,
    valence,
)
from ceiflow.figures.names import ACQUISITION_FIGURES, STUDY_FIGURES
from ceiflow.figures.sources import figure_table, write_table
from ceiflow.figures.tables import Rows, Table, read_json, rows


def study_figure(name: str, tables: dict[str, Rows]) -> Figure:
    """One of `STUDY_FIGURES` from the tables of a study.

    Parameters
    ----------
    name : str
    tables : dict of rows
        `claims`, `cells`, `measurements`, `acquisitions`, `heterogeneity`, `planning` (optional), and
        `sheet` (the cells sheet; optional).
    """
    sheet = tables.get("sheet", [])
    draw: dict[str, Callable[[], Figure]] = {
        "claims": lambda: claims.claims_forest(tables["claims"]),
        "layer_thickness": lambda: _estimation(tables, "layer_thickness_nm", sheet),
        "layer_coverage": lambda: _estimation(tables, "layer_coverage", sheet),
        "prevalence": lambda: bars.prevalence_bars(
            tables["acquisitions"], tables["measurements"], tables["cells"], sheet, tables.get("claims", [])
        ),
        "composition": lambda: estimation.composition_plot(tables["cells"], sheet=sheet),
        "heterogeneity": lambda: bars.heterogeneity_bars(tables["heterogeneity"]),
        "planning": lambda: planning.planning_curves(planning.undecided(tables.get("planning", []))),
    }
    return draw[name]()


def _estimation(tables: dict[str, Rows], endpoint: str, sheet: Rows) -> Figure:
    return estimation.estimation_plot(
        tables["cells"], tables["measurements"], tables["claims"], endpoint, "layer", sheet
    )


def draw_study(
    tables: dict[str, Table],
    folder: str | Path,
    formats: Sequence[str] = ("png", "svg"),
    dpi: float = 150,
    captions: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write every figure of a study as `{folder}/{name}.{format}`, and its numbers as `{folder}/{name}.tsv`.

    Parameters
    ----------
    tables : dict of paths or rows
        As for `study_figure`.
    folder : path
    formats : sequence of "png", "svg"
    dpi : float
    captions : mapping of str to str, optional
        What a figure shows, in reStructuredText. Written with its numbers as `{folder}/captions/{name}.rst`.

    Returns
    -------
    list of paths, in the order of `STUDY_FIGURES`, the table of each after its figures.
    """
    read = {name: rows(table) for name, table in tables.items()}
    written = []
    for name in STUDY_FIGURES:
        figure = study_figure(name, read)
        written += [style.save(figure, Path(folder) / f"{name}.{kind}", dpi) for kind in formats]
        written.append(write_table(figure_table(name, read), Path(folder) / f"{name}.tsv"))
        if captions and name in captions:
            written.append(write_caption(captions[name], style.description(figure), Path(folder), name))
    return written


def write_caption(words: str, numbers: str, folder: Path, name: str) -> Path:
    """A caption for Snakemake's report, which reads it as a template: nothing from data may be one."""
    plain = numbers.replace("{", "(").replace("}", ")")
    plain = re.sub(r"([\\*`_|<>:.])", r"\\\1", plain)
    path = folder / "captions" / f"{name}.rst"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{words.strip()}\n\n{plain}\n", encoding="utf-8", newline="\n")
    return path


def acquisition_figure(name: str, modality: str, source: Path) -> Figure:
    """One of `ACQUISITION_FIGURES[modality]`, from the folder of results of that acquisition."""
    layer = source / "layer.tsv"
    if modality in {"eels_si", "eels_spectrum"}:
        draw: dict[str, Callable[[], Figure]] = {
            "maps": lambda: maps.element_maps(source / "maps.h5"),
            "layer": lambda: overlay.layer_overlay_eels(source / "maps.h5", layer),
            "trace": lambda: overlay.layer_trace(layer),
            "spectra": lambda: spectra.zone_spectra(source / "spectra.tsv"),
            "profile": lambda: maps.normal_profile(source / "maps.h5"),
            "fine_structure": lambda: fine_structure.carbon_zone(read_json(source / "fine_structure.json")),
            "species": lambda: fine_structure.species_map(source / "maps.h5"),
            "valence_map": lambda: valence.line_maps(source / "maps.h5"),
            "valence": lambda: valence.valence_profile(read_json(source / "fine_structure.json")),
            "dose": lambda: fine_structure.dose_decay(
                read_json(source / "fine_structure.json").get("dose") or {}
            ),
            "calibration": lambda: spectra.energy_calibration(
                read_json(source / "summary.json").get("calibration", {})
            ),
        }
    else:
        draw = {
            "layer": lambda: overlay.layer_overlay_image(source / "overlay.h5", layer),
            "trace": lambda: overlay.layer_trace(layer),
        }
    needed = dict.fromkeys(("fine_structure", "valence", "dose"), "fine_structure.json") | {
        **dict.fromkeys(("maps", "species", "valence_map"), "maps.h5"),
        "profile": "maps.h5",
        "layer": "maps.h5" if "maps" in draw else "overlay.h5",
    }
    if name in needed and not (source / needed[name]).is_file():
        return style.nothing("This acquisition was not analysed.")
    return draw[name]()


def has_something(name: str, source: Path) -> bool:
    """Whether a figure that not every acquisition has would show anything; true for those that all have."""
    if name in ("valence", "dose"):
        path = source / "fine_structure.json"
        content = read_json(path) if path.is_file() else {}
        shells = [item for item in content.get("profile") or [] if not item["reason"]]
        return bool(shells if name == "valence" else (content.get("dose") or {}).get("decays"))
    if name not in ("species", "valence_map"):
        return True
    path = source / "maps.h5"
    if not path.is_file():
        return False
    if name == "valence_map":
        return valence.mapped_metal(path) is not None
    return fine_structure.mapped(path, "carbonate")


def draw_acquisition(
    acquisition_id: str,
    modality: str,
    source: str | Path,
    folder: str | Path,
    formats: Sequence[str] = ("png", "svg"),
    dpi: float = 150,
) -> list[Path]:
    """Write every figure of one acquisition as `{folder}/{acquisition_id}_{name}.{format}`.

    Parameters
    ----------
    acquisition_id, modality : str
    source : path
        `results/eels/{acquisition_id}` or `results/images/{acquisition_id}`.
    folder : path
    formats : sequence of "png", "svg"
    dpi : float

    Returns
    -------
    list of paths; for an acquisition that was not analysed the figures say so.
    """
    written = []
    for name in ACQUISITION_FIGURES[modality]:
        figure = acquisition_figure(name, modality, Path(source))
        written += [
            style.save(figure, Path(folder) / f"{acquisition_id}_{name}.{kind}", dpi) for kind in formats
        ]
    return written
