"""One fit to all spectra of a cell: against a fit of their sum, and where they must not be pooled."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ceiflow.eels.fine_structure.cells import pool_species
from ceiflow.eels.fine_structure.columns import ReferenceColumns
from ceiflow.eels.fine_structure.pooling import likelihood_of, pool
from ceiflow.eels.fine_structure.profile import with_systematic
from ceiflow.eels.fine_structure.references import load_references
from ceiflow.eels.fine_structure.rows import unmixing_content
from ceiflow.eels.fine_structure.unmixing import Spectrum, unmix
from ceiflow.statistics.claims import claim_rows

ENERGY = np.arange(250.0, 334.0, 0.5)
SHARES = {"sp2": 0.4, "aliphatic": 0.3, "carbonate": 0.3}
REFERENCES = load_references([], Path("."))
BLUR = np.exp(-0.5 * (np.arange(-4, 5, 0.5) / 0.34) ** 2)
KERNEL = BLUR / BLUR.sum(), 8


def zone(counts, seed, shares=SHARES, shift=0.0):
    """One spectrum of known shares as it stands in fine_structure.json."""
    rng = np.random.default_rng(seed)
    names = [item.species for item in REFERENCES]
    amounts = np.zeros(len(names))
    for name, share in shares.items():
        amounts[names.index(name)] = share * counts
    mean = ReferenceColumns(ENERGY, KERNEL, REFERENCES).columns(shift, 0.0) @ amounts
    mean += counts / 20 * (ENERGY / 284) ** -3.0
    spectrum = Spectrum(ENERGY, rng.poisson(mean).astype(float), KERNEL, shift_se_eV=0.2)
    return unmixing_content(unmix(spectrum, REFERENCES, 1), REFERENCES, "")


def carbonate(found):
    i = found.species.index("carbonate")
    return {name: getattr(found, name)[i] for name in ("fraction", "se_stat", "seen_sigma", "low", "high")}


def test_one_spectrum_says_what_its_own_fit_says():
    own = zone(20000, 0)
    found = carbonate(pool([likelihood_of(own)]))
    i = own["species"].index("carbonate")
    assert found["fraction"] == pytest.approx(own["fraction"][i], abs=0.04)
    assert [found["low"], found["high"]] == pytest.approx([own["low"][i], own["high"][i]], abs=0.02)


def test_four_weak_spectra_say_what_one_of_four_times_the_counts_says():
    shifts = (-0.2, 0.1, 0.0, 0.2)
    weak = [likelihood_of(zone(2500, i, shift=shift)) for i, shift in enumerate(shifts)]
    together, strong = carbonate(pool(weak)), carbonate(pool([likelihood_of(zone(10000, 9))]))
    alone = [carbonate(pool([item])) for item in weak]
    assert together["se_stat"] < 0.75 * np.mean([item["se_stat"] for item in alone])
    assert together["se_stat"] == pytest.approx(strong["se_stat"], rel=0.6)
    assert together["seen_sigma"] > max(item["seen_sigma"] for item in alone)
    assert abs(together["fraction"] - 0.3) < 3 * together["se_stat"]
    assert pool(weak).agreement > 0.01


def test_systematic_errors_do_not_shrink():
    weak = [likelihood_of(zone(2500, i)) for i in range(3)]
    single = np.mean([item.systematic["carbonate"] for item in weak])
    found = pool(weak)
    assert found.se_sys[found.species.index("carbonate")] == pytest.approx(single)


def test_different_species_are_not_pooled_and_later_frames_say_nothing(tmp_path):
    other = {"sp2": 0.9, "carbonate": 0.1}
    contents = {
        "a1": {"carbon": {"all": zone(20000, 1)}},
        "a2": {"carbon": {"all": zone(20000, 2)}},
        "b1": {"carbon": {"all": zone(40000, 3)}},
        "b2": {"carbon": {"all": zone(40000, 4, other)}},
        "c1": {"carbon": {"all": zone(20000, 5)}, "dose": {"frames": ["c1", "c2"]}},
        "c2": {"carbon": {"all": zone(20000, 6)}, "dose": {"frames": ["c1", "c2"]}},
        "d1": {"qc_status": "failed"},
    }
    paths, rows = [], []
    for name, content in contents.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(content))
        rows.append({"acquisition_id": name, "cell_id": name[0], "modality": "eels_spectrum"})
    pool_species(paths, rows, tmp_path / "pooled.tsv")
    with open(tmp_path / "pooled.tsv", encoding="utf-8") as file:
        found = {
            (row["cell_id"], row["modality"]): row
            for row in csv.DictReader(file, delimiter="\t")
            if row["endpoint"] == "carbon_fraction_carbonate"
        }
    assert set(found) == {(cell, modality) for cell in "ab" for modality in ("", "eels_spectrum")}
    assert found["a", ""]["status"] == "identified"
    assert float(found["a", ""]["value"]) == pytest.approx(0.3, abs=0.1)
    assert found["b", ""]["status"] == "not_identifiable"
    assert "differ in their shares" in found["b", ""]["note"]


def test_a_claim_takes_the_fit_of_a_cell_and_says_so():
    def measured(cell, number, value):
        status = "bounded" if value is None else "identified"
        return {
            "acquisition_id": f"{cell}{number}", "cell_id": cell, "particle_id": f"p{number}",
            "region_id": "r", "modality": "eels_spectrum", "zone": "all", "status": status,
            "endpoint": "carbon_fraction_carbonate", "value": value, "lod": 0.5, "se_stat": 0.1,
            "se_sys": 0.0, "n": 1, "note": "C K placed by its own lines to 0.10 eV (axis alone 1.00 eV)",
        }  # fmt: skip

    cells = [{"cell_id": f"{arm}{i}", "condition": arm} for arm in ("x", "y") for i in range(3)]
    rows = [measured(cell["cell_id"], n, None) for cell in cells for n in range(2)]
    claim = {
        "id": "c", "kind": "difference", "endpoint": "carbon_fraction_carbonate", "zone": "all",
        "test": {"condition": "x"}, "reference": {"condition": "y"}, "direction": "greater",
    }  # fmt: skip
    statistics = {"alpha": 0.05, "seed": 1, "resamples": 200, "intraclass_correlation": 0.1}
    averaged = claim_rows(rows, cells, [claim], statistics)[0]
    assert averaged["verdict"] == "cannot tell"
    pooled = [
        {
            "cell_id": cell["cell_id"], "zone": "all", "modality": "eels_spectrum",
            "endpoint": "carbon_fraction_carbonate", "status": "identified", "se_stat": 0.03, "se_sys": 0.0,
            "value": (0.4 if cell["condition"] == "x" else 0.1) + 0.01 * i, "lod": 0.1,
            "n_acquisitions": 2,
        }
        for i, cell in enumerate(cells)
    ]  # fmt: skip
    whole = claim_rows(rows, cells, [claim], statistics, pooled)[0]
    assert whole["verdict"] == "supported"
    assert whole["estimate"] == pytest.approx(0.27)
    assert "shares of 6 of 6 cells from one fit to all of a cell's spectra" in whole["reason"]
    assert "placed by its own lines in 12 of 12 acquisitions" in whole["reason"]


def test_intervals_hold_the_error_of_the_references():
    low, high = with_systematic(
        np.array([0.5, 0.0]), np.array([0.4, 0.0]), np.array([0.6, 0.1]), np.array([0.1, 0.0])
    )
    assert low == pytest.approx([0.5 - np.hypot(0.1, 0.196), 0.0])
    assert high == pytest.approx([0.5 + np.hypot(0.1, 0.196), 0.1])
