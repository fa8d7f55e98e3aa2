"""The gap in multislice images with a known layer, which share no code and no physics with the estimator."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ceiflow.layer.image import measure_image
from ceiflow.layer.summary import LAYER_COLUMNS
from ceiflow.phantom.multislice import CARBON_CORE_NM, CARBON_PER_NM3, Slab, atoms
from ceiflow.signals.store import Header, create_h5, write_header
from ceiflow.study import load_config
from ceiflow.study.metadata import METADATA, MISSING, Value

FILE = Path(__file__).parents[1] / "fixtures" / "multislice.npz"
PIXEL_NM = 0.07
with np.load(FILE) as _held:
    NAMES = list(_held)


def measured(folder, image, **settings):
    known = {"pixel_size_nm": PIXEL_NM, "beam_energy_keV": 300.0, **settings}
    values = {name: Value(known[name], "sheet") if name in known else MISSING for name in METADATA}
    with create_h5(folder / "signal.h5") as file:
        write_header(file, Header("slab", "hrtem", metadata=values))
        file["image/data"] = image
    outputs = {name: folder / name for name in ("layer", "overlay", "measurements", "summary")}
    measure_image(folder / "signal.h5", outputs, load_config({}))
    table = np.genfromtxt(outputs["layer"], delimiter="\t", skip_header=1, dtype=str, ndmin=2)
    columns = {
        name: np.array([float(x) if x else np.nan for x in table[:, LAYER_COLUMNS.index(name)]])
        for name in ("thickness_nm", "lod_nm", "inner_column")
    }
    columns["present"] = table[:, LAYER_COLUMNS.index("present")] == "true"
    with open(outputs["measurements"], encoding="utf-8", newline="") as handle:
        rows = {row["endpoint"]: row for row in csv.DictReader(handle, delimiter="\t")}
    return columns, rows


@pytest.mark.parametrize("name", NAMES)
def test_layer_of_known_thickness(tmp_path, name):
    _, truth, defocus, dose, edge = name.split("|")
    truth, edge = float(truth), float(edge)
    with np.load(FILE) as held:
        image = held[name]
    columns, _ = measured(tmp_path, image, defocus_nm=float(defocus), dose_e_per_A2=float(dose))
    good = np.isfinite(columns["thickness_nm"])
    assert good.sum() >= 3
    limit = float(np.median(columns["lod_nm"][good]))
    # The scatter of the bias at this defocus is what the limit is made of.
    error = columns["thickness_nm"][good] - truth
    assert abs(np.median(error)) < max(0.4, 0.4 * limit)
    if truth == 0:
        assert not columns["present"].any()
    elif truth > 2 * limit:
        assert columns["present"][good].all()
    off = (np.median(columns["inner_column"][good]) - edge) * PIXEL_NM
    assert abs(off) < max(0.4, 0.4 * limit)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("10nm")])
def test_a_coating_of_random_atoms_is_amorphous(tmp_path, name):
    _, _, defocus, dose, _ = name.split("|")
    with np.load(FILE) as held:
        image = held[name]
    _, rows = measured(tmp_path, image, defocus_nm=float(defocus), dose_e_per_A2=float(dose))
    share = rows["layer_amorphous_fraction"]
    if float(defocus) == 300:
        # The fringes leave the crystal by 3 nm: what is left of so short a facet is no ten windows.
        assert share["status"] == "not_identifiable"
        assert "fringes" in share["note"]
        return
    assert share["status"] == "identified"
    assert float(share["value"]) > 0.9


def test_no_absence_without_a_defocus(tmp_path):
    with np.load(FILE) as held:
        image = held[NAMES[0]]
    columns, rows = measured(tmp_path, image, dose_e_per_A2=400.0)
    assert not columns["present"].any()
    assert not np.isfinite(columns["lod_nm"]).any()
    assert rows["layer_coverage"]["status"] == "not_identifiable"


def test_fixtures_are_small():
    assert sum(path.stat().st_size for path in FILE.parent.iterdir()) < 1_000_000


def test_atoms_of_a_slab():
    slab = Slab(coating_nm=1.0, turn_deg=20.0, depth_nm=2.0, length_nm=4.0, crystal_nm=3.0, seed=1)
    numbers, places = atoms(slab)
    carbon = places[numbers == 6]
    assert len(carbon) == pytest.approx(CARBON_PER_NM3 * 1.0 * 4.0 * 2.0, rel=0.01)
    assert carbon[:, 0].max() == pytest.approx(slab.edge_nm + 1.0, abs=0.05)
    assert places[numbers == 28][:, 0].max() < slab.edge_nm + 0.05
    distances = np.linalg.norm(carbon[:, None] - carbon[None], axis=2)[np.triu_indices(len(carbon), 1)]
    assert distances.min() > 0.6 * CARBON_CORE_NM
    # LiNiO2: one nickel to two oxygen, 10^3 / 102 formula units per nm^3 of the layered cell.
    assert np.sum(numbers == 8) == pytest.approx(2 * np.sum(numbers == 28), rel=0.08)
