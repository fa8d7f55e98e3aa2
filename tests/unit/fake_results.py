"""A small results folder as the contract has it, for tests of figures and pages; no science in it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import yaml

ELEMENTS = ("C", "O", "Mn")
HOSTILE = '<script>alert("1")</script> & $x$ <img src="http://evil.example/x.png">'
ENDPOINTS = (("layer_thickness_nm", "nm"), ("layer_coverage", "1"), ("layer_longest_bare_nm", "nm"))


def write_tsv(path: Path, rows: list[dict], columns: str = "") -> None:
    """Rows as a tab-separated table; the header is written even without rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = columns.split() or list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, names, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)


def make(study: Path, failed: bool = False, empty: bool = False, densities: bool = True) -> Path:
    """Write `study/results` and `study/config`, and return the results folder.

    Parameters
    ----------
    study : Path
    failed : bool
        Every acquisition failed.
    empty : bool
        All tables have their header and nothing else, and there is no claim.
    densities : bool
        Whether the spectrum images have areal densities.
    """
    results = study / "results"
    cells = [
        {"cell_id": "N1", "condition": "normal", "electrode": "NMC532", "state": "charged", "note": HOSTILE},
        {"cell_id": "N2", "condition": "normal", "electrode": "NMC532", "state": "charged"},
        {"cell_id": "S1", "condition": "shorted", "electrode": "NMC532", "state": "charged"},
        {"cell_id": "S2", "condition": "shorted", "electrode": "NMC532", "state": "charged"},
    ]
    write_tsv(study / "config" / "cells.tsv", cells, "cell_id condition electrode state note")
    pairs = [] if empty else [(cell, kind) for cell in cells for kind in ("eels_si", "hrtem")]
    acquisitions = [_acquisition(cell, kind, failed) for cell, kind in pairs]
    measurements = [row for item in acquisitions for row in _measurements(item, cells, densities)]
    _tables(results, cells, acquisitions, measurements, empty)
    for item in acquisitions:
        _files(results, item, densities)
        own = [row for row in measurements if row["acquisition_id"] == item["acquisition_id"]]
        if item["qc_status"] != "excluded":
            folder = results / ("eels" if item["modality"] == "eels_si" else "images")
            rows = [{key: value for key, value in row.items() if key in OWN.split()} for row in own]
            write_tsv(folder / item["acquisition_id"] / "measurements.tsv", rows, OWN)
    sheet = [
        {
            **{key: item[key] for key in SHEET.split()[:-1]},
            "exclude": HOSTILE if item["qc_status"] == "excluded" else "",
        }
        for item in acquisitions
    ]
    write_tsv(study / "config" / "acquisitions.tsv", sheet, SHEET)
    _study(results)
    return results


def _acquisition(cell: dict, modality: str, failed: bool) -> dict:
    name = f"{cell['cell_id']}_{modality}"
    excluded = name == "N2_hrtem"
    status = "failed" if failed else "excluded" if excluded else "ok"
    return {
        "acquisition_id": name, "cell_id": cell["cell_id"], "particle_id": "p1", "region_id": "r1",
        "modality": modality, "path": f"raw/{name}.dm4",
        "beam_energy_keV": 300, "beam_energy_keV_origin": "file", "convergence_mrad": "",
        "convergence_mrad_origin": "missing", "energy_offset_eV": 1.5, "energy_offset_se_eV": 0.1,
        "dispersion_factor": 1.0, "analysed_length_nm": 50, "lod_thickness_nm": 1.5, "n_pixels": 100,
        "sha256": "ab" * 32, "qc_status": status, "qc_reason": HOSTILE if status != "ok" else "",
    }  # fmt: skip


def _measurements(item: dict, cells: list[dict], densities: bool) -> list[dict]:
    if item["qc_status"] != "ok":
        return []
    cell = next(row for row in cells if row["cell_id"] == item["cell_id"])
    shorted = cell["condition"] == "shorted"
    base = {key: item[key] for key in ("acquisition_id", "cell_id", "particle_id", "region_id", "modality")}
    base |= {"condition": cell["condition"], "electrode": cell["electrode"], "zone": "layer", "n": 10}
    rows = []
    for endpoint, unit in ENDPOINTS:
        bounded = endpoint == "layer_thickness_nm" and not shorted
        told = {"lod": 1.5, "status": "bounded"} if bounded else identified(0.9 if unit == "1" else 9.5)
        rows.append({**base, "endpoint": endpoint, "unit": unit, **told})
    if item["modality"] == "eels_si":
        for element in ELEMENTS:
            rows.append({**base, "endpoint": f"atomic_fraction_{element}", "unit": "1", **identified(0.3)})
            told = identified(800) if densities else {"status": "not_identifiable", "note": MISSING}
            rows.append({**base, "endpoint": f"areal_density_{element}_per_nm2", "unit": "nm^-2", **told})
    return rows


def identified(value: float) -> dict:
    """A value with its error."""
    return {"value": value, "se_stat": value / 50, "status": "identified"}


MISSING = "convergence or collection angle missing"
MEASURED = "acquisition_id cell_id particle_id region_id condition electrode modality zone endpoint value unit se_stat se_sys lod status n note"  # noqa: E501
CLAIMED = "claim_id kind endpoint zone test reference estimate unit ci_low ci_high p_value p_adjusted p_min n_cells_test n_cells_reference n_acquisitions lod margin verdict reason prevalence prevalence_high"  # noqa: E501
OWN = "zone endpoint value se_stat se_sys lod status n note unit"
SHEET = "acquisition_id cell_id particle_id region_id modality path exclude"
COPIED = ("cell_id", "condition", "electrode", "zone", "endpoint", "unit", "status")
CELLS = "cell_id condition electrode zone endpoint value unit se n_acquisitions n_particles n_bounded status"
VARIANCES = "endpoint zone level variance ci_low ci_high share n"


def _tables(results: Path, cells: list[dict], acquisitions: list, measurements: list, empty: bool) -> None:
    tables = results / "tables"
    sheet = "acquisition_id cell_id particle_id region_id modality path energy_offset_eV qc_status qc_reason"
    write_tsv(tables / "acquisitions.tsv", acquisitions, "" if acquisitions else sheet)
    write_tsv(tables / "measurements.tsv", measurements, MEASURED)
    by_cell = {}
    for row in measurements:
        by_cell.setdefault((row["cell_id"], row["zone"], row["endpoint"]), row)
    rows = [
        {**{key: row[key] for key in COPIED},
         "value": row.get("value", ""), "se": row.get("se_stat", ""), "n_acquisitions": 2, "n_particles": 1,
         "n_bounded": int(row["status"] == "bounded")}
        for row in by_cell.values()
    ]  # fmt: skip
    write_tsv(tables / "cells.tsv", rows, CELLS)
    claims = [
        {"claim_id": "thicker", "kind": "difference", "endpoint": "layer_thickness_nm", "zone": "layer",
         "test": "condition=shorted", "reference": "condition=normal", "estimate": 8.0, "unit": "nm",
         "ci_low": 6.5, "ci_high": 9.5, "p_value": 0.01, "p_adjusted": 0.02, "p_min": 0.33, "n_cells_test": 2,
         "n_cells_reference": 2, "n_acquisitions": 7, "lod": 1.5, "verdict": "supported", "reason": HOSTILE},
        {"claim_id": "none", "kind": "absence", "endpoint": "layer_thickness_nm", "zone": "layer",
         "test": "condition=normal", "unit": "nm", "n_cells_test": 2, "margin": 2, "verdict": "cannot tell",
         "reason": "two cells are too few", "prevalence": 0, "prevalence_high": 0.78},
    ]  # fmt: skip
    write_tsv(tables / "claims.tsv", [] if empty else claims, CLAIMED)
    levels = [("region", 0.5, 0.2), ("particle", 1.0, 0.4), ("cell", 1.0, 0.4)]
    about = {"endpoint": "layer_thickness_nm", "zone": "layer", "n": 4}
    rows = [{**about, "level": name, "variance": value, "share": share} for name, value, share in levels]
    write_tsv(tables / "heterogeneity.tsv", [] if empty else rows, VARIANCES)


def _files(results: Path, item: dict, densities: bool) -> None:
    spectrum = item["modality"] == "eels_si"
    folder = results / ("eels" if spectrum else "images") / item["acquisition_id"]
    folder.mkdir(parents=True, exist_ok=True)
    if item["qc_status"] == "failed":
        names = ["layer.tsv", "spectra.tsv"] if spectrum else ["layer.tsv"]
        for name in names:
            write_tsv(folder / name, [{"qc_status": "failed", "qc_reason": "broken"}])
        with h5py.File(folder / ("maps.h5" if spectrum else "overlay.h5"), "w") as file:
            file.attrs["status"] = "failed"
        (folder / "summary.json").write_text(json.dumps({"qc_status": "failed", "qc_reason": "broken"}))
        return
    if item["qc_status"] == "excluded":
        return
    write_layer(folder / "layer.tsv")
    if spectrum:
        write_maps(folder / "maps.h5", item["acquisition_id"], densities)
        write_spectra(folder / "spectra.tsv")
    else:
        with h5py.File(folder / "overlay.h5", "w") as file:
            file["image"] = np.random.default_rng(2).normal(100, 5, (24, 32)).astype("f4")
            file.attrs.update(pixel_size_nm=0.5, bin=2, acquisition_id=item["acquisition_id"])
    found = [{"edge": "C_K", "expected_eV": 284.0, "found_eV": 284.1, "residual_eV": 0.1, "se_eV": 0.2}]
    summary = {
        "acquisition_id": item["acquisition_id"],
        "qc_status": "ok",
        "metadata": {"beam_energy_keV": {"value": 300, "origin": "file"}},
        "sources": [{"role": "core_loss", "path": item["path"], "signal": HOSTILE, "sha256": "ab" * 32}],
        "notes": [HOSTILE],
    }
    if spectrum:
        summary["calibration"] = {"method": "edges", "energy_offset_eV": 1.5, "edges": found, "flags": []}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def write_layer(path: Path, points: int = 12) -> None:
    """A layer of 9 to 10 nm with a bare stretch, in two stretches of surface."""
    rows = [
        {"position_nm": 2.0 * i, "row": 10, "column": i, "thickness_nm": 9.0 + i / 12,
         "thickness_std_nm": 0.5, "lod_nm": 1.5, "present": "false" if 3 <= i < 5 else "true",
         "outer_row": 4, "outer_column": i, "inner_row": 10, "inner_column": i, "stretch": int(i > 8)}
        for i in range(points)
    ]  # fmt: skip
    write_tsv(path, rows)


def write_maps(path: Path, name: str, densities: bool = True, shape: tuple[int, int] = (16, 12)) -> None:
    """Maps of a particle below a layer."""
    row = np.arange(shape[0])[:, None] + np.zeros(shape)
    with h5py.File(path, "w") as file:
        file.attrs.update(pixel_size_nm=2.0, acquisition_id=name, schema="ceiflow-maps-1")
        for element in ELEMENTS:
            counts = np.random.default_rng(3).poisson(100 + 10 * row).astype("f4")
            file[f"counts/{element}"] = counts
            file[f"areal_density/{element}"] = counts * (1 if densities else np.nan)
            file[f"areal_density_std/{element}"] = np.sqrt(counts)
        file["thickness_over_mfp"] = (row / 20).astype("f4")
        file["zone"] = np.where(row > 10, 2, np.where(row > 5, 1, 0)).astype("u1")
        file["distance_nm"] = (2.0 * (10 - row)).astype("f4")


def write_spectra(path: Path) -> None:
    """Two zones, two edges."""
    energy = np.arange(250.0, 700.0, 5.0)
    background = 1e9 * energy**-2.5
    edges = {"C_K": np.where(energy > 284, 300.0, 0.0), "O_K": np.where(energy > 532, 100.0, 0.0)}
    model = background + sum(edges.values())
    rows = [
        {"zone": zone, "energy_eV": e, "counts": model[i] + 1, "model": model[i], "background": background[i],
         "residual_sigma": 0.1, **{key: values[i] for key, values in edges.items()}}
        for zone in ("layer", "particle") for i, e in enumerate(energy)
    ]  # fmt: skip
    write_tsv(path, rows)


def _study(results: Path) -> None:
    (results / "study").mkdir(parents=True, exist_ok=True)
    config = {
        "study": {"title": HOSTILE, "authors": [HOSTILE], "description": HOSTILE},
        "cells": "config/cells.tsv",
        "eels": {"elements": list(ELEMENTS), "systematic": {"K": 0.07}},
        "statistics": {"alpha": 0.05, "seed": 1},
        "claims": [],
    }
    (results / "study" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    inputs = [{"path": HOSTILE, "sha256": "ab" * 32}]
    record = {"ceiflow": "0.1.0", "packages": {"numpy": "2"}, "inputs": inputs}
    (results / "study" / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
