"""Designs of simulated studies: their files and their sheets.

Standard library only, so that a workflow can import it.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CELL = """
cell_id condition electrode electrolyte v_min_V v_max_V cycles c_rate_per_h state short_duration_s
recovery_cycles batch note
"""
_ACQUISITION = """
acquisition_id cell_id particle_id region_id modality path signal low_loss_path low_loss_signal adf_path
adf_signal beam_energy_keV convergence_mrad collection_mrad pixel_size_nm dispersion_eV energy_offset_eV
exposure_s low_loss_exposure_s dose_e_per_A2 defocus_nm frame sha256 exclude
"""
CELL_COLUMNS = tuple(_CELL.split())
ACQUISITION_COLUMNS = tuple(_ACQUISITION.split())
_SPECTRA = ("eels_si", "eels_spectrum")


def settings(design: Mapping[str, Any], acquisition: Mapping[str, Any]) -> dict[str, Any]:
    """An acquisition's own entries over the defaults of its modality and of the beam."""
    return {**design["beam"], **design.get(acquisition["modality"], {}), **acquisition}


def files_of(design: Mapping[str, Any], acquisition: Mapping[str, Any]) -> dict[str, str]:
    """Raw files of one acquisition, relative to the study folder.

    Returns
    -------
    dict of str to str
        By column of the sheet: path, and low_loss_path, adf_path where there are any. A HyperSpy file holds
        both losses; every other format takes a file for each.
    """
    stem, ext = f"{design['folder']}/{acquisition['acquisition_id']}", acquisition["format"]
    if acquisition["modality"] not in _SPECTRA:
        return {"path": f"{stem}.{ext}"}
    if ext == "hspy":
        files = {"path": f"{stem}.hspy", "low_loss_path": f"{stem}.hspy"}
    else:
        files = {"path": f"{stem}_core.{ext}", "low_loss_path": f"{stem}_low.{ext}"}
    if acquisition.get("adf"):
        files["adf_path"] = f"{stem}_adf.{ext}"
    return files


def design_files(design: Mapping[str, Any], acquisitions: Iterable[str] | None = None) -> list[str]:
    """Every raw file of a design, sorted, relative to the study folder.

    Parameters
    ----------
    acquisitions : iterable of str, optional
        Only these.
    """
    wanted = None if acquisitions is None else set(acquisitions)
    return sorted(
        {
            path
            for acquisition in design["acquisitions"]
            if wanted is None or acquisition["acquisition_id"] in wanted
            for path in files_of(design, acquisition).values()
        }
    )


def cell_rows(design: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of cells.tsv."""
    return [{name: _text(cell.get(name)) for name in CELL_COLUMNS} for cell in design["cells"]]


def acquisition_rows(design: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of acquisitions.tsv: what the raw files cannot hold; the rest stays in them."""
    rows = []
    for acquisition in design["acquisitions"]:
        full = settings(design, acquisition)
        names = ["acquisition_id", "cell_id", "particle_id", "region_id", "modality", "dose_e_per_A2"]
        if acquisition["modality"] in _SPECTRA:
            names += ["exposure_s", "low_loss_exposure_s", "frame"]
        if acquisition["modality"] in ("hrtem", "tem"):
            names += ["defocus_nm", "exposure_s"]
        if acquisition["format"] == "tif":
            names += ["beam_energy_keV", "pixel_size_nm"]
        row = {name: full.get(name) for name in names} | files_of(design, acquisition)
        if acquisition["format"] == "hspy" and acquisition["modality"] in _SPECTRA:
            row |= {"signal": "core loss", "low_loss_signal": "low loss"}
        rows.append({name: _text(row.get(name)) for name in ACQUISITION_COLUMNS})
    return rows


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_sheets(design: Mapping[str, Any], folder: Path) -> None:
    """Write cells.tsv and acquisitions.tsv of a design into `folder`."""
    sheets = {
        "cells.tsv": (CELL_COLUMNS, cell_rows(design)),
        "acquisitions.tsv": (ACQUISITION_COLUMNS, acquisition_rows(design)),
    }
    for name, (columns, rows) in sheets.items():
        with open(Path(folder) / name, "w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, columns, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main(arguments: list[str]) -> None:
    """Write the sheets of the design in the first argument into the folder in the second."""
    import yaml

    design, folder = arguments
    write_sheets(yaml.safe_load(Path(design).read_text(encoding="utf-8")), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
