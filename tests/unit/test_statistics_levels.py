"""Charged and discharged cells in claims on one group: levels of a factor, and no replicates."""

import numpy as np
import pytest
from scipy import stats
from test_statistics_claims import ABSENT, TEN, Study

from ceiflow.cli import _plan_lines
from ceiflow.statistics import bounds
from ceiflow.statistics.planning import needed_cells, plan_rows

STATE = {"factors": ["state"]}
SETTINGS = {"alpha": 0.05, "seed": 532, "resamples": 2000, "intraclass_correlation": 0.1}


def two_states(values, condition="shorted", **more):
    """One cell a value; `values` by state."""
    study = Study()
    for state, own in values.items():
        for i, value in enumerate(own):
            study.add(f"{condition}-{state}-{i}", condition, [value], **more)
            study.cells[-1]["state"] = state
    return study


def test_moments_of_levels_are_those_of_an_additive_model():
    values, levels = np.array([9.0, 10.0, 11.5, 4.0, 5.0]), [0, 0, 0, 1, 1]
    # The same by least squares: two means, and their average as a contrast.
    x = np.eye(2)[levels]
    beta, residual, *_ = np.linalg.lstsq(x, values, rcond=None)
    contrast = np.array([0.5, 0.5])
    se = np.sqrt(residual[0] / 3 * contrast @ np.linalg.inv(x.T @ x) @ contrast)
    found = bounds.moments(values, levels)
    assert (found.mean, found.se, found.df) == (pytest.approx(contrast @ beta), pytest.approx(se), 3)
    low, high = contrast @ beta + np.array([-1, 1]) * stats.t.ppf(0.975, 3) * se
    limits = bounds.mean_limits(values, 0.025, levels=levels)
    assert (limits.low, limits.high) == (pytest.approx(low), pytest.approx(high))
    with pytest.raises(ValueError):
        bounds.moments([1.0, 2.0], [0, 1])


def test_what_differs_between_states_is_no_scatter():
    study = two_states({"charged": [8.0, 8.2, 8.4], "discharged": [11.6, 11.8, 12.0]})
    alike, apart = study.judge(TEN, {**TEN, "id": "b", **STATE})
    assert alike["design"] == "cells"
    assert apart["design"] == "within state"
    assert "differ in state" in alike["reason"]
    assert "mean over each state, with the scatter within (charged 3, discharged 3 cells)" in apart["reason"]
    assert apart["estimate"] == alike["estimate"] == pytest.approx(10.0)
    assert apart["ci_high"] - apart["ci_low"] < 0.3 * (alike["ci_high"] - alike["ci_low"])


def test_states_weigh_alike_however_many_cells_each_has():
    row = two_states({"charged": [7.5, 8.5], "discharged": [11.0, 12.0, 13.0]}).judge({**TEN, **STATE})
    assert row["estimate"] == pytest.approx(10.0)


def test_a_mean_that_no_state_has_supports_nothing():
    study = two_states({"charged": [3.0, 3.1, 3.2], "discharged": [16.8, 16.9, 17.0]})
    row = study.judge({**TEN, **STATE})
    assert row["verdict"] == "cannot tell"
    assert row["ci_low"] > 5
    assert row["ci_high"] < 15
    assert "agree between levels" in row["reason"].split(";")[0]
    assert "charged 3.1, discharged 16.9" in row["reason"]


def test_one_cell_of_each_state_adds_states_to_the_scatter():
    row = two_states({"charged": [9.0], "discharged": [11.0]}).judge({**TEN, **STATE})
    assert row["design"] == "cells"
    assert "too few to take that out" in row["reason"]
    assert row["ci_high"] - row["estimate"] == pytest.approx(stats.t.ppf(0.975, 1))


def test_three_cells_of_two_states_are_not_left_with_one_degree_of_freedom():
    cells = {"charged": [9.0], "discharged": [10.0, 11.0]}
    row = two_states(cells).judge({**TEN, **STATE})
    assert row["design"] == "cells"
    assert "too few to take that out" in row["reason"]
    assert row["ci_high"] - row["estimate"] == pytest.approx(stats.t.ppf(0.975, 2) / 3**0.5)


def test_cells_without_a_state_are_a_level_of_their_own():
    study = two_states({"charged": [9.0, 9.2], "": [10.8, 11.0]})
    assert "none 2, charged 2 cells" in study.judge({**TEN, **STATE})["reason"]
    blank = two_states({"": [9.0, 10.0, 11.0]})
    assert blank.judge({**TEN, **STATE})["design"] == "cells"


def test_absence_within_states():
    study = two_states({"charged": [1.0, 1.1, 1.2], "discharged": [1.6, 1.7, 1.8]}, "normal")
    alike, apart = study.judge(ABSENT, {**ABSENT, "id": "b", **STATE})
    assert apart["verdict"] == "supported"
    assert apart["ci_high"] < alike["ci_high"]
    assert "charged 3 of 3, discharged 3 of 3" in apart["reason"]
    patchy = two_states({"charged": [0.2, 0.3, 0.25], "discharged": [2.1, 2.2, 2.15]}, "normal")
    row = patchy.judge({**ABSENT, **STATE})
    assert row["verdict"] == "cannot tell"
    assert "below the margin in every level (now discharged 2.15)" in row["reason"]


def test_a_proportion_within_states():
    covered = {"charged": [0.90, 0.91, 0.92], "discharged": [0.97, 0.98, 0.99]}
    study = two_states(covered, endpoint="layer_coverage")
    claim = {**TEN, "kind": "proportion", "endpoint": "layer_coverage", "low": 0.6, "high": 1.0, **STATE}
    row = study.judge(claim)
    assert row["design"] == "within state"
    assert row["estimate"] == pytest.approx(0.945)
    assert 0.6 < row["ci_low"] < 0.945 < row["ci_high"] < 1


def test_planning_takes_states_out_too():
    study = two_states({"charged": [8.0, 8.4, 8.8], "discharged": [12.0, 12.4, 12.8]})
    claims = [TEN, {**TEN, "id": "b", **STATE}]
    rows = plan_rows(study.rows, study.cells, claims, study.judge(*claims), SETTINGS)
    spread = {row["claim_id"]: row["se_cell"] for row in rows}
    assert spread["b"] < 0.5 * spread["ten"]
    assert min(row["cells"] for row in rows if row["claim_id"] == "b") == 3


def test_a_plan_without_a_distance_is_a_line_and_not_an_error():
    study = two_states({"charged": [0.97, 0.95], "discharged": [0.94, 0.99]}, endpoint="layer_coverage")
    claim = {**TEN, "endpoint": "layer_coverage", "low": 0.8, "high": 1.0, **STATE}
    rows = plan_rows(study.rows, study.cells, [claim], [study.judge(claim)], SETTINGS)
    few = [row for row in rows if row["detectable"] is None]
    assert {row["cells"] for row in few} == {3, 4}
    assert all("no distance" in row["note"] for row in few)
    lines = _plan_lines(rows, needed_cells(rows), 12)
    assert "3: none, 4: none, 5: 0." in lines[1]
