"""What is said of the dose beside fine structure: by a series, by a stated critical dose, or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ceiflow.eels.fine_structure.least_squares import non_negative
from ceiflow.eels.fine_structure.series import dose_state
from ceiflow.signals.store import Header
from ceiflow.study.metadata import METADATA, MISSING, Value


def header(name="f1", dose=200.0):
    known = {} if dose is None else {"dose_e_per_A2": Value(dose, "sheet")}
    return Header(name, "eels_spectrum", metadata={key: known.get(key, MISSING) for key in METADATA})


def config(critical=None):
    return {"fine_structure": {"critical_dose_e_per_A2": critical, "references": []}}


def series(tmp_path, critical):
    decay = {"name": "carbonate line", "critical": critical, "low": 500.0}
    decay |= {"rate": 1 / 750, "rate_se": 1e-4, "high": None if critical is None else 1500.0}
    content = {"frames": ["f1", "f2"], "decays": [decay]}
    content |= {"dose_middle_e_per_A2": [100.0, 300.0], "dose_end_e_per_A2": [200.0, 400.0]}
    path = tmp_path / "dose.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_nobody_says_a_critical_dose():
    state = dose_state(header(), None, config())
    assert state.row.status == "not_identifiable"
    assert state.note == "dose not controlled"
    assert "unknown" in dose_state(header(dose=None), None, config(750.0)).note


@pytest.mark.parametrize(("critical", "controlled"), [(1000.0, True), (300.0, False)])
def test_a_stated_critical_dose(critical, controlled):
    state = dose_state(header(), None, config(critical))
    assert state.row.value == pytest.approx(200.0 / critical)
    assert ("not controlled" in state.note) != controlled


def test_a_series_goes_first_and_its_first_frame_stands_for_the_region(tmp_path):
    path = series(tmp_path, 750.0)
    state = dose_state(header(), path, config(1e6))
    assert state.row.value == pytest.approx(200 / 750)
    assert "at most 0.4" in state.note
    assert state.later_frame("f1") == ""
    assert "f1 stands for the region" in dose_state(header("f2"), path, config()).later_frame("f2")
    gain, error = state.carbonate_before("f1")
    assert gain == pytest.approx(np.exp(100 / 750))
    assert error == pytest.approx(0.01)


def test_a_series_in_which_nothing_fades_bounds_the_share(tmp_path):
    state = dose_state(header(), series(tmp_path, None), config())
    assert state.row.status == "bounded"
    assert state.row.lod == pytest.approx(200 / 500)
    assert state.carbonate_before("f1") == (1.0, 0.0)


def test_non_negative_solution():
    matrix = np.random.default_rng(0).normal(size=(20, 3))
    right = matrix.T @ (matrix @ np.array([1.0, 0.0, 2.0]) - 0.5 * matrix[:, 1])
    found, gain = non_negative(matrix.T @ matrix, right)
    assert (found >= 0).all()
    assert gain > 0
    slope = right - matrix.T @ matrix @ found
    assert slope[1] < 0
    assert slope[[0, 2]] == pytest.approx(0.0, abs=1e-6)
