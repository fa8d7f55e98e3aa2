"""What is said of the dose beside fine structure: by a series, by a stated critical dose, or not at all."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ceiflow.eels.fine_structure import series as series_stage
from ceiflow.eels.fine_structure.dose import at_zero_dose, decay, middle_doses
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
    # The frame is a mean over its 200 e/A^2.
    assert gain == pytest.approx((200 / 750) / (1 - np.exp(-200 / 750)))
    assert error == pytest.approx(0.01)


def test_a_series_in_which_nothing_fades_bounds_the_share(tmp_path):
    state = dose_state(header(), series(tmp_path, None), config())
    assert state.row.status == "bounded"
    assert state.row.lod == pytest.approx(200 / 500)
    assert state.carbonate_before("f1") == (1.0, 0.0)


def test_growth_is_told_and_bounds_nothing(tmp_path):
    path = series(tmp_path, None)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["decays"].append(
        {"name": "C K mass", "critical": None, "low": None, "high": None, "rate": -2e-3, "rate_se": 1e-4}
    )
    path.write_text(json.dumps(content), encoding="utf-8")
    state = dose_state(header(), path, config())
    assert state.row.lod == pytest.approx(200 / 500)
    assert "C K mass grows by 0.2 +- 0.01 per 100 e/A^2" in state.row.note
    content["decays"] = content["decays"][1:]
    path.write_text(json.dumps(content), encoding="utf-8")
    state = dose_state(header(), path, config())
    assert state.row.lod == 0.0
    # Bonds break before mass is lost.
    assert state.note == "dose not controlled (mass alone was followed)"


def test_a_series_that_excludes_no_rate_bounds_nothing(tmp_path):
    path = series(tmp_path, None)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["decays"][0]["low"] = 0.0
    path.write_text(json.dumps(content), encoding="utf-8")
    state = dose_state(header(), path, config())
    assert state.row.status == "not_identifiable"
    assert state.note == "dose not controlled"


def test_a_stated_critical_dose_is_held_against_all_that_the_region_saw(tmp_path):
    path = tmp_path / "dose.json"
    content = {"frames": ["f1", "f2"], "decays": [], "dose_end_e_per_A2": [200.0, 400.0]}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert dose_state(header("f2"), path, config(1000.0)).row.value == pytest.approx(0.4)


DOSES = {"equal": [200.0] * 5, "unequal": [100.0, 300.0, 100.0, 600.0], "fast": [500.0] * 8}


@pytest.mark.parametrize("name", DOSES)
def test_decay_of_means_over_frames(name):
    each = np.array(DOSES[name])
    middle, end = middle_doses(each)
    critical = 800.0 if name != "fast" else 400.0
    means = 100 * critical * (np.exp((each - end) / critical) - np.exp(-end / critical)) / each
    rng = np.random.default_rng(3)
    held, first = 0, []
    for _ in range(40):
        found = decay("x", middle, means + rng.normal(0, 2, each.size), np.full(each.size, 2.0), each)
        held += found.low <= critical <= found.high
        first.append(at_zero_dose(means[0], middle[0], found.rate, found.rate_se, each[0])[0])
    assert held >= 35
    assert np.mean(first) == pytest.approx(100.0, abs=1.5)


def test_decay_that_is_no_exponential_has_a_wider_interval():
    middle, _ = middle_doses([200.0] * 6)
    errors = np.full(6, 0.5)
    plain = decay("x", middle, 100 * np.exp(-middle / 800), errors)
    levelled = decay("x", middle, 60 + 40 * np.exp(-middle / 150), errors)
    assert (1 / levelled.low - 1 / levelled.high) > 3 * (1 / plain.low - 1 / plain.high)


def test_interval_of_a_slow_decay_is_finer_than_any_grid():
    middle, _ = middle_doses([200.0] * 3)
    found = decay("x", middle, 1000 * np.exp(-middle / 1e6), np.full(3, 1e-3))
    assert found.critical == pytest.approx(1e6, rel=0.02)
    assert found.low < 1e6 < found.high


def test_nothing_at_all_excludes_no_rate():
    found = decay("x", np.array([100.0, 300.0, 500.0]), np.zeros(3), np.ones(3))
    assert (found.low, found.high) == (0.0, np.inf)


class FrameSource:
    """What `_incident` needs of an open acquisition."""

    def __init__(self, header, ratio=None):
        self.header, self.exposure_ratio = header, ratio


def test_frames_without_a_low_loss_are_scaled_by_their_dose():
    sources = [FrameSource(header("f1", 100.0)), FrameSource(header("f2", 300.0))]
    nothing = [SimpleNamespace(total=0.0)] * 2
    assert series_stage._incident(sources, nothing) == [100.0, 300.0]
    sources = [FrameSource(header("f1", 100.0), 10.0), FrameSource(header("f2", 300.0), 30.0)]
    assert series_stage._incident(sources, [SimpleNamespace(total=5.0)] * 2) == [50.0, 150.0]


def test_a_lost_and_an_excluded_frame_count_for_the_dose(tmp_path, monkeypatch):
    lost = Header("f2", "eels_spectrum", "failed", "no such file", header("f2", 300.0).metadata)
    headers = {f"f{i}": header(f"f{i}", 100.0) for i in (1, 4, 5)} | {"f2": lost}
    monkeypatch.setattr(series_stage, "read_header", lambda path: headers[path])
    monkeypatch.setattr("ceiflow.eels.source.open_source", lambda path, *_: FrameSource(headers[path]))
    monkeypatch.setattr(series_stage, "quantities", lambda *_: {"x": (np.array([3.0, 2.0, 1.0]), np.ones(3))})
    frames = [{"acquisition_id": name, "frame": int(name[1])} for name in ("f5", "f2", "f4", "f1")]
    excluded = {"acquisition_id": "f3", "frame": 3, "dose_e_per_A2": 50.0}
    output = tmp_path / "dose.json"
    series_stage.dose_series(["f5", "f1", "f4", "f2"], "edges", output, [*frames, excluded], config())
    content = json.loads(output.read_text(encoding="utf-8"))
    assert content["frames"] == ["f1", "f4", "f5"]
    assert content["lost"] == ["f2", "f3"]
    assert content["dose_middle_e_per_A2"] == [50.0, 500.0, 600.0]
    assert content["dose_end_e_per_A2"] == [100.0, 550.0, 650.0]
    headers["f2"].metadata["dose_e_per_A2"] = MISSING
    series_stage.dose_series(["f5", "f1", "f4", "f2"], "edges", output, [*frames, excluded], config())
    content = json.loads(output.read_text(encoding="utf-8"))
    assert content["decays"] == []
    assert content["reason"] == "the dose of a frame is unknown (f2): no critical dose"


def test_non_negative_solution():
    matrix = np.random.default_rng(0).normal(size=(20, 3))
    right = matrix.T @ (matrix @ np.array([1.0, 0.0, 2.0]) - 0.5 * matrix[:, 1])
    found, gain = non_negative(matrix.T @ matrix, right)
    assert (found >= 0).all()
    assert gain > 0
    slope = right - matrix.T @ matrix @ found
    assert slope[1] < 0
    assert slope[[0, 2]] == pytest.approx(0.0, abs=1e-6)
