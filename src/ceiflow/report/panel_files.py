"""Figure files of the panels: each example of the study page as SVG and PNG, with the numbers in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ceiflow.figures import fine_structure, folders, maps, plate, style
from ceiflow.figures.names import ACQUISITION_FIGURES
from ceiflow.figures.slots import Slot
from ceiflow.figures.sources import write_table
from ceiflow.figures.tables import Rows, read_json, rows
from ceiflow.report.carbon import carbon_zones
from ceiflow.report.findings import stated
from ceiflow.report.panels import is_carbon_edge, study_slots
from ceiflow.report.results import SPECTRA, Results

Row = dict[str, object]


def write_panels(
    results: Results,
    claims: Sequence[Mapping],
    names: Sequence[str],
    folder: str | Path,
    dpi: float,
    words: str,
) -> list[Path]:
    """Write `{folder}/{name}.svg`, `.png`, `.tsv` and `{folder}/captions/{name}.rst`.

    Parameters
    ----------
    results : Results
        Its tables `acquisitions`, `measurements` and `panels`, the cells sheet and the acquisitions.
    claims : sequence of mappings
        Registered claims.
    names : sequence of str
        Of the slots that were promised from the sheets. One that nothing was recorded for says so.
    folder : path
    dpi : float
    words : str
        What every panel shows, in reStructuredText.

    Returns
    -------
    list of paths
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = {slot.name: slot for slot in study_slots(results, claims)}
    written = []
    for name in names:
        pieces, table, caption = _content(results, found.get(name))
        text = " ".join([caption, *(style.description(figure) for line in pieces for figure in line)])
        for kind in ("svg", "png"):
            written.append(_write(folder / f"{name}.{kind}", plate.to_bytes(pieces, kind, dpi, text)))
        written.append(write_table(table, folder / f"{name}.tsv"))
        written.append(folders.write_caption(words, text, folder, name))
    return written


def _write(path: Path, content: bytes) -> Path:
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path


def _content(results: Results, slot: Slot | None) -> tuple[list[list[Figure]], Rows, str]:
    """Figures by row, the numbers in them, and what was found."""
    if slot is None:
        return [[style.nothing("No cells of this panel are in the sheet.")]], [], ""
    verdicts = {row["claim_id"]: row for row in results.table("panels")}
    caption = stated(slot.panel, verdicts) if slot.panel else f"{slot.group}."
    if not slot.modality and slot.panel:
        edges = carbon_zones(results, slot.panel)
        return [[fine_structure.carbon_edges(edges)]], _text(fine_structure.edge_rows(edges)), caption
    example = results.representative([*slot.cells], slot.modality)
    if example is None:
        nothing = style.nothing(f"No acquisition of {slot.group} could be analysed.")
        return [[nothing]], [], caption
    source = results.source(example)
    pieces = [
        [folders.acquisition_figure(kind, slot.modality, source) for kind in line]
        for line in drawn_kinds(slot.modality, is_carbon_edge(slot.panel))
    ]
    table = [
        {"acquisition_id": example["acquisition_id"], **row}
        for row in _numbers(source, slot.modality, is_carbon_edge(slot.panel))
    ]
    return pieces, _text(table), f"{caption} Example of {slot.group}."


def drawn_kinds(modality: str, carbon_edge: bool) -> list[list[str]]:
    """Figures of one example, by row."""
    if carbon_edge:
        return [["fine_structure" if "fine_structure" in ACQUISITION_FIGURES[modality] else "spectra"]]
    pair = ["layer", "trace"]
    return [["maps"], ["profile"], pair] if modality == "eels_si" else [pair]


def _numbers(source: Path, modality: str, carbon_edge: bool) -> Iterable[Row]:
    """What the figures of one example are drawn from; images and maps stand in their own files."""
    if carbon_edge:
        yield from _carbon_rows(source)
        return
    if modality in SPECTRA and (source / "maps.h5").is_file():
        read = maps.read_maps(source / "maps.h5")
        for element, profile in maps.profile_values(read)[0].items():
            for distance, value, error in zip(*profile, strict=True):
                yield {
                    "part": "profile",
                    "element": element,
                    "distance_nm": distance,
                    "value": value,
                    "se": error,
                    "unit": "nm^-2" if read.kind == "areal_density" else read.unit,
                }
    for row in rows(source / "layer.tsv"):
        yield {"part": "layer", **row}


def _carbon_rows(source: Path) -> Iterable[Row]:
    zone_name, zone = fine_structure.shown_zone(read_json(source / "fine_structure.json"))
    if not zone:
        return
    energy = np.asarray(zone["energy_eV"], float) - zone["shift_eV"]
    curves = {name: zone[name] for name in ("counts", "background", "model", "residual_sigma")}
    curves |= {f"model_{species}": values for species, values in zone["parts"].items()}
    for index, value in enumerate(energy):
        yield {
            "part": "carbon K edge",
            "zone": zone_name,
            "energy_eV": value,
            **{name: values[index] for name, values in curves.items()},
        }
    columns = (zone[key] for key in ("species", "fraction", "low", "high"))
    for species, share, low, high in zip(*columns, strict=True):
        row = {"part": "species", "zone": zone_name, "species": species}
        yield {**row, "value": share, "low": low, "high": high}


def _text(table: Iterable[Row]) -> Rows:
    """Numbers at seven digits: a table is the same wherever its last bit was rounded another way."""
    return [
        {key: f"{value:.7g}" if isinstance(value, float) else str(value) for key, value in row.items()}
        for row in table
    ]
