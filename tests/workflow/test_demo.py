"""The demo study from scratch, held against its truth."""

from __future__ import annotations

import pytest
from running import contract_faults, read_table

pytestmark = pytest.mark.workflow
# What the simulated cells are like.
VERDICTS = {
    "conformal_cei": {"supported"},
    "about_ten_nm": {"supported"},
    "no_intimate_coating_nmc": {"supported"},
    "no_intimate_coating_lmr": {"supported", "cannot tell"},
    "covers_the_surface": {"supported", "cannot tell"},
    "more_carbonate": {"supported"},
}


def test_contract(demo):
    assert contract_faults(demo).endswith("0 fault(s)")


def test_verdicts_agree_with_the_truth(demo):
    claims = {row["claim_id"]: row for row in read_table(demo / "results" / "tables" / "claims.tsv")}
    assert set(claims) == set(VERDICTS)
    for name, allowed in VERDICTS.items():
        assert claims[name]["verdict"] in allowed, claims[name]


def test_nothing_failed(demo):
    table = read_table(demo / "results" / "tables" / "acquisitions.tsv")
    assert [row["acquisition_id"] for row in table if row["qc_status"] in ("failed", "excluded")] == []


def test_thickness_of_every_coated_acquisition(demo):
    """Within three of its own errors and a nanometre of the truth, for nine in ten."""
    truth = {row["acquisition_id"]: row for row in read_table(demo / "truth" / "demo" / "truth.tsv")}
    measured = [
        row
        for row in read_table(demo / "results" / "tables" / "measurements.tsv")
        if row["endpoint"] == "layer_thickness_nm" and row["status"] == "identified"
    ]
    coated = [row for row in measured if float(truth[row["acquisition_id"]]["thickness_nm"] or 0) > 3]
    assert len(coated) >= 12
    good = [
        abs(float(row["value"]) - float(truth[row["acquisition_id"]]["thickness_nm"]))
        < 1 + 3 * float(row["se_stat"])
        for row in coated
    ]
    assert sum(good) >= 0.9 * len(good)


def test_bare_surface_is_not_called_coated(demo):
    truth = {row["acquisition_id"]: row for row in read_table(demo / "truth" / "demo" / "truth.tsv")}
    rows = [
        row
        for row in read_table(demo / "results" / "tables" / "measurements.tsv")
        if row["endpoint"] == "layer_thickness_nm"
        and float(truth[row["acquisition_id"]]["coverage"] or 0) == 0
    ]
    assert len(rows) >= 20
    false = [row["acquisition_id"] for row in rows if row["status"] == "identified"]
    assert len(false) <= 0.05 * len(rows) + 1, false
