"""Tables: the contract's columns, sorted rows, the same bytes for shuffled sheets."""

import csv
import json
import subprocess
import sys

import pytest

from ceiflow.statistics import aggregate, collect, judge
from ceiflow.study.measurements import Measurement, bounded, not_identifiable, write_rows

CONFIG = {
    "statistics": {"alpha": 0.05, "seed": 532, "resamples": 2000, "intraclass_correlation": 0.1},
    "claims": [
        {
            "id": "conformal",
            "kind": "difference",
            "endpoint": "layer_thickness_nm",
            "zone": "layer",
            "test": {"condition": "shorted"},
            "reference": {"condition": "normal"},
            "direction": "greater",
        }
    ],
}
CONTRACT = {
    "acquisitions": "acquisition_id cell_id modality energy_offset_eV dispersion_factor analysed_length_nm "
    "lod_thickness_nm n_pixels sha256 qc_status qc_reason",
    "measurements": "acquisition_id cell_id particle_id region_id condition electrode modality zone "
    "endpoint value unit se_stat se_sys lod status n note",
    "cells": "cell_id condition electrode zone endpoint value unit se n_acquisitions n_particles n_bounded "
    "status",
    "claims": "claim_id kind endpoint zone test reference estimate unit ci_low ci_high p_value p_adjusted "
    "p_min n_cells_test n_cells_reference n_acquisitions lod margin verdict reason prevalence "
    "prevalence_high",
    "heterogeneity": "endpoint zone level variance ci_low ci_high share n",
}


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


@pytest.fixture
def study(tmp_path):
    """Six cells of two particles; one acquisition failed, one excluded."""
    cells, acquisitions, summaries, measurements = [], [], {}, {}
    for index in range(6):
        condition = "shorted" if index < 3 else "normal"
        cells.append(
            {"cell_id": f"c{index}", "condition": condition, "electrode": "NMC532", "note": "x", "lot": "7"}
        )
        for particle in range(2):
            name = f"c{index}p{particle}"
            acquisitions.append(
                {
                    "acquisition_id": name,
                    "cell_id": f"c{index}",
                    "particle_id": f"p{particle}",
                    "region_id": "r1",
                    "modality": "eels_si",
                    "path": f"raw/{name}.dm4",
                    "energy_offset_eV": 250.0,
                    "pixel_size_nm": None,
                    "exclude": "",
                    "operator": "A",
                }
            )
            folder = tmp_path / "eels" / name
            folder.mkdir(parents=True)
            summaries[name], measurements[name] = folder / "summary.json", folder / "measurements.tsv"
            summaries[name].write_text(
                json.dumps(
                    {
                        "qc_status": "ok",
                        "qc_reason": "",
                        "energy_offset_eV": -3.25,
                        "n_pixels": 600,
                        "lod_thickness_nm": 1.25,
                        "notes": [],
                        "metadata": {
                            "pixel_size_nm": {"value": 3.0, "origin": "file"},
                            "energy_offset_eV": {"value": 250.0, "origin": "sheet"},
                        },
                        "sources": [
                            {"role": "low_loss", "path": "raw/l", "signal": 1, "sha256": "bb"},
                            {"role": "core_loss", "path": "raw/c", "signal": 0, "sha256": "aa"},
                        ],
                    }
                )
            )
            thick = Measurement(
                "layer", "layer_thickness_nm", 9.0 + index + particle / 3, 0.2, 0.1, 1.2, n=40
            )
            rough = Measurement("layer", "layer_roughness_nm", 1.5, 0.2, n=40)
            write_rows(
                measurements[name],
                [
                    thick if index < 3 else bounded("layer", "layer_thickness_nm", 1.2, 40),
                    rough if index < 3 else not_identifiable("layer", "layer_roughness_nm", "no layer"),
                ],
            )
    acquisitions[0]["exclude"] = "drift"
    del summaries["c0p0"], measurements["c0p0"]
    summaries["c1p1"].write_text(json.dumps({"qc_status": "failed", "qc_reason": "all\tzero"}))
    del measurements["c1p1"]
    return cells, acquisitions, summaries, measurements


def run(folder, study):
    cells, acquisitions, summaries, measurements = study
    folder.mkdir()
    path = {name: folder / f"{name}.tsv" for name in CONTRACT}
    collect(summaries, measurements, acquisitions, cells, path["measurements"], path["acquisitions"])
    aggregate(path["measurements"], cells, path["cells"], path["heterogeneity"], CONFIG)
    judge(path["measurements"], path["cells"], CONFIG, path["claims"])
    return path


def test_tables_have_the_contracts_columns_and_the_answer(tmp_path, study):
    path = run(tmp_path / "tables", study)
    for name, columns in CONTRACT.items():
        header = path[name].read_text().splitlines()[0].split("\t")
        assert set(columns.split()) <= set(header), name
        assert len(header) == len(set(header)), name
    measured = path["measurements"].read_text().splitlines()[0].split("\t")
    assert measured == [*CONTRACT["measurements"].split(), "correlation"]
    (claim,) = rows_of(path["claims"])
    assert claim["verdict"] == "supported"
    cells = [row for row in rows_of(path["cells"]) if row["endpoint"] == "layer_thickness_nm"]
    assert [row["status"] for row in cells] == ["identified"] * 3 + ["bounded"] * 3
    assert cells[3]["value"] == cells[3]["se"] == ""
    assert (cells[3]["lod"], cells[3]["value_low"], cells[3]["value_high"]) == ("1.2", "0", "1.2")
    assert (cells[2]["value"], cells[2]["lot"], cells[2]["note"]) == ("11.16667", "7", "x")
    levels = {
        row["level"]: row for row in rows_of(path["heterogeneity"]) if row["endpoint"] == "layer_thickness_nm"
    }
    assert levels["pixel"]["variance"] == "2.25"
    assert levels["cell"]["n"] == "3"


def test_acquisitions_say_what_happened(tmp_path, study):
    rows = {row["acquisition_id"]: row for row in rows_of(run(tmp_path / "tables", study)["acquisitions"])}
    assert list(rows) == sorted(rows)
    assert (rows["c0p0"]["qc_status"], rows["c0p0"]["qc_reason"]) == ("excluded", "drift")
    assert (rows["c1p1"]["qc_status"], rows["c1p1"]["qc_reason"]) == ("failed", "all zero")
    row = rows["c2p0"]
    assert (row["energy_offset_eV"], row["sheet_energy_offset_eV"]) == ("-3.25", "250")
    assert (row["energy_offset_eV_origin"], row["pixel_size_nm"], row["pixel_size_nm_origin"]) == (
        "sheet",
        "3",
        "file",
    )
    assert (row["sha256"], row["low_loss_sha256"], row["operator"]) == ("aa", "bb", "A")
    assert row["beam_energy_keV"] == ""
    measured = {row["acquisition_id"] for row in rows_of(tmp_path / "tables" / "measurements.tsv")}
    assert not measured & {"c0p0", "c1p1"}


def test_shuffled_sheets_give_the_same_bytes(tmp_path, study):
    first = run(tmp_path / "a", study)
    cells, acquisitions, summaries, measurements = study
    shuffled = (
        cells[::-1],
        acquisitions[::-1],
        list(summaries.values())[::-1],
        list(measurements.values())[::-1],
    )
    second = run(tmp_path / "b", shuffled)
    for name in CONTRACT:
        assert first[name].read_bytes() == second[name].read_bytes(), name


def test_a_missing_summary_is_a_fault_of_the_program(tmp_path, study):
    cells, acquisitions, summaries, measurements = study
    del summaries["c3p0"]
    with pytest.raises(FileNotFoundError, match="c3p0"):
        collect(summaries, measurements, acquisitions, cells, tmp_path / "m.tsv", tmp_path / "a.tsv")


def test_a_study_without_any_result_still_has_its_tables(tmp_path):
    path = run(tmp_path / "t", ([], [], {}, {}))
    (claim,) = rows_of(path["claims"])
    assert claim["verdict"] == "cannot tell"
    assert "condition=shorted" in claim["reason"]


def test_the_room_is_light_to_import():
    code = "import sys, ceiflow.statistics; print({'scipy', 'pandas', 'statsmodels'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
