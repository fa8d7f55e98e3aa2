"""The demo's design, its sheets, and what comes of simulating it."""

import ast
import copy
import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ceiflow.phantom.design import (
    acquisition_rows,
    cell_rows,
    design_files,
    files_of,
    settings,
    write_sheets,
)
from ceiflow.phantom.scenes import mean_thickness, scene_of
from ceiflow.phantom.study import TRUTH_COLUMNS, simulate


@pytest.fixture(scope="module")
def design(request):
    root = Path(request.config.rootpath)
    return yaml.safe_load((root / "config/demo/design.yaml").read_text(encoding="utf-8"))


def sheet(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def small(design):
    """The demo with small signals: a few acquisitions of every modality in milliseconds."""
    design = copy.deepcopy(design)
    design["eels_si"] |= {"rows": 6, "columns": 9, "channels": 300, "low_channels": 200}
    design["eels_spectrum"] |= {"channels": 300, "low_channels": 200}
    for modality in ("hrtem", "tem", "adf"):
        design[modality] |= {"rows": 96, "columns": 128}
    for region in design["regions"].values():
        region.pop("relief_nm", None)
    return design


CHOSEN = [
    "shorted-1-p1r1-si",
    "shorted-1-p1r1-hr",
    "shorted-1-p1r1-spot",
    "shorted-1-p4r1-adf",
    "cb-coated-p1r1-hr",
]


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_sheets_are_the_designs(root, design):
    assert sheet(root / "config/cells.tsv") == cell_rows(design)
    assert sheet(root / "config/acquisitions.tsv") == acquisition_rows(design)


def test_sheets_name_every_file_of_the_design(root, design):
    rows = sheet(root / "config/acquisitions.tsv")
    named = {row[column] for row in rows for column in ("path", "low_loss_path", "adf_path") if row[column]}
    assert sorted(named) == design_files(design)
    assert len({row["acquisition_id"] for row in rows}) == len(rows)
    assert {row["cell_id"] for row in rows} == {row["cell_id"] for row in sheet(root / "config/cells.tsv")}


def test_sheets_can_be_written_again(tmp_path, root, design):
    write_sheets(design, tmp_path)
    for name in ("cells.tsv", "acquisitions.tsv"):
        assert (tmp_path / name).read_bytes() == (root / "config" / name).read_bytes()


def test_design_has_every_arm_format_and_modality(design):
    conditions = [cell["condition"] for cell in design["cells"] if cell["electrode"] == "NMC532"]
    assert {name: conditions.count(name) for name in set(conditions)} == {
        "pristine": 3,
        "normal": 6,
        "shorted": 4,
    }
    suffixes = {path.rsplit(".", 1)[1] for path in design_files(design)}
    assert suffixes == {"dm3", "dm4", "hspy", "msa", "tif"}
    modalities = {acquisition["modality"] for acquisition in design["acquisitions"]}
    assert modalities == {"eels_si", "eels_spectrum", "hrtem", "tem", "adf"}
    assert design_files(design, ["cb-bare-p1r1-hr"]) == ["raw/demo/cb-bare-p1r1-hr.dm4"]


def test_design_is_a_light_import():
    code = "import sys, ceiflow.phantom.design; print({'numpy', 'scipy', 'h5py'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_phantom_shares_nothing_with_the_estimators(root):
    for path in (root / "src/ceiflow/phantom").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                room = name.split(".")[1] if name.startswith("ceiflow.") else ""
                assert room in ("", "study", "signals"), f"{path.name} imports {name}"


def test_one_region_is_one_particle_for_every_signal(design):
    by_id = {acquisition["acquisition_id"]: acquisition for acquisition in design["acquisitions"]}
    map_, image = (scene_of(design, by_id[f"shorted-1-p1r1-{kind}"], 532) for kind in ("si", "hr"))
    np.testing.assert_array_equal(map_.arc.thickness_nm, image.arc.thickness_nm)
    assert (map_.angle_rad, map_.depth_nm, map_.kind) == (image.angle_rad, image.depth_nm, image.kind)
    other = scene_of(design, by_id["shorted-1-p1r2-hr"], 532)
    assert other.angle_rad != image.angle_rad


def test_thickness_varies_by_level_as_the_design_says(design):
    rows = [
        mean_thickness(design, {"cell_id": "shorted-1", "particle_id": "p1", "region_id": "r1"}, seed)
        for seed in range(400)
    ]
    levels = ("cell", "particle", "region")
    cell, particle, region = (np.array([row[f"{level}_nm"] for row in rows]) for level in levels)
    assert cell.mean() == pytest.approx(10, abs=0.2)
    assert cell.std() == pytest.approx(1.0, rel=0.15)
    assert (particle - cell).std() == pytest.approx(1.5, rel=0.15)
    assert (region - particle).std() == pytest.approx(1.0, rel=0.15)
    bare = mean_thickness(design, {"cell_id": "pristine-1", "particle_id": "p1", "region_id": "r1"}, 1)
    assert bare["region_nm"] == 0


def test_simulation_repeats_whatever_runs_beside_it(tmp_path, design):
    pytest.importorskip("nionswift_plugin")
    design = small(design)
    rows = simulate(design, tmp_path / "one", 532, CHOSEN)
    simulate(design, tmp_path / "two", 532, [*reversed(CHOSEN), "no-such-acquisition"], processes=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    simulate(design, tmp_path / "alone", 532, CHOSEN[:1])
    alone = digests(tmp_path / "alone")
    del alone["truth/demo/truth.tsv"]
    assert alone.items() <= digests(tmp_path / "one").items()
    simulate(design, tmp_path / "seed", 533, CHOSEN[:1])
    core = "raw/demo/shorted-1-p1r1-si_core.dm3"
    assert digests(tmp_path / "seed")[core] != alone[core]
    assert [row["acquisition_id"] for row in rows] == [
        a["acquisition_id"] for a in design["acquisitions"] if a["acquisition_id"] in CHOSEN
    ]


def test_simulation_leaves_the_files_and_the_truth_it_promises(tmp_path, design):
    pytest.importorskip("nionswift_plugin")
    design = small(design)
    simulate(design, tmp_path, 7, CHOSEN)
    made = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "raw").rglob("*") if path.is_file())
    assert made == design_files(design, CHOSEN)
    truth = {row["acquisition_id"]: row for row in sheet(tmp_path / "truth/demo/truth.tsv")}
    assert set(truth) == set(CHOSEN)
    assert list(truth[CHOSEN[0]]) == list(TRUTH_COLUMNS)
    map_ = truth["shorted-1-p1r1-si"]
    assert 5 < float(map_["thickness_nm"]) < 16
    assert -4 <= float(map_["energy_offset_eV"]) <= 4
    assert float(map_["carbon_carbonate"]) == pytest.approx(0.449, abs=0.01)
    assert truth["shorted-1-p1r1-spot"]["thickness_nm"] == ""


def test_truth_maps_hold_the_areal_densities(tmp_path, design):
    pytest.importorskip("nionswift_plugin")
    import h5py

    design = small(design)
    simulate(design, tmp_path, 7, CHOSEN[:1])
    with h5py.File(tmp_path / "truth/demo/shorted-1-p1r1-si.h5") as maps:
        assert maps["areal_density/C"].shape == (6, 9)
        length = {name: maps[f"length_nm/{name}"][:] for name in ("oxide", "skin", "layer", "carbon")}
        mn = 8.79 * length["oxide"] + 15.0 * length["skin"]
        np.testing.assert_allclose(maps["areal_density/Mn"][:], mn, rtol=1e-4, atol=1e-3)


def test_hyperspy_acquisition_is_one_file_with_two_signals(design):
    acquisition = next(a for a in design["acquisitions"] if a["acquisition_id"] == "normal-charged-3-p1r1-si")
    paths = files_of(design, acquisition)
    assert paths["path"] == paths["low_loss_path"]
    row = next(r for r in acquisition_rows(design) if r["acquisition_id"] == "normal-charged-3-p1r1-si")
    assert (row["signal"], row["low_loss_signal"]) == ("core loss", "low loss")
    assert settings(design, acquisition)["beam_energy_keV"] == 300
