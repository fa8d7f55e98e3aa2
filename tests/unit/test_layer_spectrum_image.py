"""From fitted maps to files: a synthetic fit, the spectra's own fit replaced by a stand-in."""

import csv
import json
import shutil

import numpy as np
import pytest
from layer_maps import count_maps

from ceiflow.eels.fine_structure.measure import FineStructure
from ceiflow.eels.fine_structure.rows import unanswered
from ceiflow.layer.elements import choose, read_fit
from ceiflow.layer.reference import parse_formula
from ceiflow.layer.spectrum_image import measure_spectrum_image
from ceiflow.signals.store import Header, create_h5, write_header
from ceiflow.study import load_config
from ceiflow.study.measurements import Measurement, endpoints, not_identifiable
from ceiflow.study.metadata import METADATA, MISSING, Value

KNOWN = {"pixel_size_nm": Value(1.0, "file"), "dose_e_per_A2": Value(750.0, "sheet")}


def write_fit(path, maps, known=KNOWN, elements=("Mn", "C")):
    """fit.h5 of Mn and C counts at 2 counts per (atom per nm^2) for Mn and 6 for C."""
    header = Header("a1", "eels_si", metadata={name: known.get(name, MISSING) for name in METADATA})
    per_atom = {"Mn": 2.0, "C": 6.0}
    shape = maps["metal"][0].shape
    with create_h5(path) as file:
        write_header(file, header, "ceiflow-fit-1")
        file.attrs["identifiable"] = json.dumps({"F": "F K stands on the Mn L tail"})
        for name, key in (("Mn", "metal"), ("C", "carbon")):
            if name not in elements:
                continue
            counts, variance, _ = maps[key]
            file[f"counts/{name}"] = counts.astype(np.float32)
            file[f"counts_std/{name}"] = np.sqrt(variance).astype(np.float32)
            file[f"areal_density/{name}"] = (counts / per_atom[name]).astype(np.float32)
            file[f"areal_density_std/{name}"] = (np.sqrt(variance) / per_atom[name]).astype(np.float32)
            file[f"atomic_fraction/{name}"] = np.full(shape, 0.5, np.float32)
        for name in ("thickness_over_mfp", "reduced_chi2", "total_counts"):
            file[name] = np.ones(shape, np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Measure a synthetic fit; gives rows of measurements by endpoint, layer.tsv, summary, maps."""
    from ceiflow import eels

    seen = {}

    def fit_zones(calibrated, edges, masks, config):
        seen.update(masks)
        return {name: None for name in masks}

    def zone_measurements(fits, header, elements):
        done = {"dose_e_per_A2", *(name for name in endpoints("hrtem"))}
        rows = [
            not_identifiable("all", name, "stand-in")
            for name in endpoints("eels_si", elements)
            if name not in done
        ]
        return [*rows, Measurement("all", "thickness_over_mfp", 0.4, 0.01)]

    monkeypatch.setattr(eels, "fit_zones", fit_zones, raising=False)
    monkeypatch.setattr(eels, "zone_measurements", zone_measurements, raising=False)
    monkeypatch.setattr(
        eels,
        "measure_fine_structure",
        lambda *args, **more: FineStructure(unanswered("eels_si", "stand-in")),
        raising=False,
    )
    monkeypatch.setattr(eels, "write_spectra", lambda path, fits: path.write_text(""), raising=False)

    def same_design(calibrated, edges, output, config):
        # Carbon stands everywhere in these maps, which were made of one linear model.
        shutil.copyfile(calibrated, output)

    monkeypatch.setattr(eels, "same_design", same_design, raising=False)
    monkeypatch.setattr(eels, "implausible", lambda fits, metadata: "", raising=False)
    monkeypatch.setattr(eels, "origins", lambda edges, metadata, elements: {}, raising=False)

    def measure(maps, name="out", known=KNOWN, elements=("Mn", "C")):
        folder = tmp_path / name
        folder.mkdir()
        fit = tmp_path / f"{name}.h5"
        write_fit(fit, maps, known, elements)
        names = {"maps": "maps.h5", "layer": "layer.tsv", "spectra": "spectra.tsv"}
        names |= {"measurements": "measurements.tsv", "summary": "summary.json"}
        names |= {"fine_structure": "fine_structure.json"}
        outputs = {key: folder / value for key, value in names.items()}
        seen.clear()
        measure_spectrum_image(fit, fit, fit, outputs, load_config({}))
        read = {}
        for key in ("measurements", "layer"):
            with open(outputs[key], encoding="utf-8", newline="") as handle:
                read[key] = list(csv.DictReader(handle, delimiter="\t"))
        rows = {row["endpoint"]: row for row in read["measurements"]}
        return rows, read["layer"], json.loads(outputs["summary"].read_text()), outputs, dict(seen)

    return measure


def carbon_per_nm_of_path():
    """Li2CO3 on the oxide, at the counts per atom of `write_fit`: 17.2 atoms/nm^3 x 6 to 29.3 x 2."""
    return 20.0 * 17.2 * 6 / (29.3 * 2)


def test_conformal_layer(run):
    maps, _, _ = count_maps(
        np.random.default_rng(1), thickness=8.0, shape=(50, 70), carbon=carbon_per_nm_of_path()
    )
    rows, layer, summary, outputs, masks = run(maps)
    thickness = rows["layer_thickness_nm"]
    assert thickness["status"] == "identified"
    assert float(thickness["value"]) == pytest.approx(8.0, abs=0.15)
    assert float(rows["layer_coverage"]["value"]) == 1.0
    assert rows["layer_longest_bare_nm"]["status"] == "bounded"
    assert float(rows["layer_conformality"]["value"]) > 0.9
    assert rows["dose_e_per_A2"]["value"] == "750"
    assert summary["qc_status"] == "ok"
    assert summary["lod_thickness_nm"] < 1.5
    assert {row["present"] for row in layer} == {"true"}
    assert set(masks) == {"layer", "particle", "surface", "all", "beside"}
    import h5py

    with h5py.File(outputs["maps"]) as file:
        zone, distance = file["zone"][()], file["distance_nm"][()]
        assert file.attrs["pixel_size_nm"] == 1.0
        assert file["areal_density/Mn"].dtype == np.float32
        # No species could be told here: its map is there all the same, and empty.
        for species in ("sp2", "aliphatic", "ether", "carboxyl", "carbonate"):
            assert np.isnan(file[f"carbon_fraction/{species}"][()]).all()
    assert set(np.unique(zone)) <= {0, 1, 2, 255}
    assert np.array_equal(zone == 1, masks["layer"])
    assert abs(np.sum(zone == 1) / summary["analysed_length_nm"] - 8.0) < 0.6
    assert np.nanmax(distance[zone == 2]) < 0


def test_bare_surface_is_bounded_and_not_covered(run):
    maps, _, _ = count_maps(
        np.random.default_rng(2), thickness=0.0, shape=(50, 70), carbon=carbon_per_nm_of_path()
    )
    rows, _, summary, _, masks = run(maps)
    assert rows["layer_thickness_nm"]["status"] == "bounded"
    assert float(rows["layer_thickness_nm"]["lod"]) < 1.5
    assert float(rows["layer_coverage"]["value"]) == 0.0
    assert float(rows["layer_coverage"]["se_stat"]) > 0
    assert rows["layer_equivalent_thickness_nm"]["status"] == "bounded"
    assert rows["layer_conformality"]["status"] == "not_identifiable"
    assert float(rows["layer_longest_bare_nm"]["value"]) == pytest.approx(
        summary["analysed_length_nm"], rel=0.01
    )
    assert masks["layer"].any()
    assert "reference" in rows["layer_coverage"]["note"]


def test_without_pixel_size_nothing_is_in_nm(run):
    maps, _, _ = count_maps(np.random.default_rng(3), thickness=8.0)
    rows, layer, summary, outputs, _ = run(maps, known={})
    for name in endpoints("hrtem"):
        if name.startswith("layer_") and name != "layer_amorphous_fraction":
            assert rows[name]["status"] == "not_identifiable"
            assert "pixel size" in rows[name]["note"]
    assert layer == []
    assert summary["qc_status"] == "warning"
    import h5py

    with h5py.File(outputs["maps"]) as file:
        assert np.isnan(file["distance_nm"][()]).all()
        assert np.isnan(file.attrs["pixel_size_nm"])


def test_no_surface_in_view(run):
    maps, _, _ = count_maps(np.random.default_rng(4), thickness=8.0, offset=500.0)
    rows, layer, summary, _, masks = run(maps)
    assert rows["layer_thickness_nm"]["status"] == "not_identifiable"
    assert "no surface" in summary["qc_reason"]
    assert layer == []
    assert "all" in masks


def test_same_input_same_bytes(run):
    maps, _, _ = count_maps(np.random.default_rng(5), thickness=4.0)
    *_, first, _ = run(maps, "one")
    *_, second, _ = run(maps, "two")
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


def test_reference_ratio_follows_from_densities_and_counts_per_atom(tmp_path):
    maps, _, _ = count_maps(np.random.default_rng(6), thickness=8.0)
    write_fit(tmp_path / "fit.h5", maps)
    choice = choose(read_fit(tmp_path / "fit.h5"), load_config({})["layer"])
    assert [item.name for item in choice.species] == ["particle", "C"]
    assert choice.species[1].reference_ratio == pytest.approx(17.2 * 6 / (29.3 * 2), rel=1e-3)


@pytest.mark.parametrize(
    ("text", "atoms"),
    [("Li2CO3", {"Li": 2, "C": 1, "O": 3}), ("LiF", {"Li": 1, "F": 1}), ("organic", {}), ("", {})],
)
def test_formula(text, atoms):
    assert parse_formula(text) == atoms
