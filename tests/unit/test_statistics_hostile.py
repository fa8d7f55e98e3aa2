"""What a hostile reviewer would feed in: a right verdict, or `cannot tell` with what is missing."""

import numpy as np
import pytest
from test_statistics_claims import ABSENT, CONFORMAL, TEN, Study

STATE = {"factors": ["state"]}
COVERED = {**TEN, "id": "p", "kind": "proportion", "endpoint": "layer_coverage", "low": 0.5, "high": 1.0}


def arms(shorted, normal, **more):
    study = Study()
    for name, cells in (("shorted", shorted), ("normal", normal)):
        for i, values in enumerate(cells):
            study.add(f"{name[0]}{i}", name, np.atleast_1d(values).tolist(), **more)
    return study


def test_nobody_measured_it():
    study = arms([10, 11], [1, 2])
    for claim in (CONFORMAL, ABSENT, TEN, COVERED):
        row = study.judge({**claim, "endpoint": "mn_valence"})
        assert row["verdict"] == "cannot tell"
        assert "measurements of this endpoint" in row["reason"]
        row = Study().judge(claim)
        assert "none was measured" in row["reason"]


@pytest.mark.parametrize("spoil", ["nan", "inf", "", None])
def test_numbers_that_are_none_say_nothing(spoil):
    study = arms([10, 11, 12], [-1, -1.1, -1.2])
    for row in study.rows:
        row["value" if row["status"] == "identified" else "lod"] = spoil
    for claim in (CONFORMAL, ABSENT, TEN):
        row = study.judge(claim)
        assert row["verdict"] == "cannot tell"
        assert "without a finite number" in row["reason"]
    study = arms([10, 11, 12], [-1, -1.1, -1.2])
    study.rows[0]["value"] = spoil
    row = study.judge(TEN)
    assert row["n_cells_test"] == 2
    assert "1 cell with condition=shorted cannot say" in row["reason"]


def test_cells_that_agree_to_the_last_digit_keep_their_measurement_errors():
    row = arms([10, 10, 10], [1, 1, 1]).judge(TEN)
    # Three values of standard error 0.1.
    assert row["ci_high"] - 10 == pytest.approx(1.959964 * 0.1 / np.sqrt(3))
    assert arms([15, 15, 15], [1, 1]).judge(TEN)["verdict"] == "cannot tell"
    bare = arms([10], [0.0, 0.0, 0.0]).judge(ABSENT)
    assert bare["verdict"] == "supported"
    assert bare["ci_high"] == pytest.approx(1.644854 * 0.1 / np.sqrt(3))
    assert 0 < bare["p_value"] < 1e-10
    silent = arms([10, 10], [1, 1], se_stat=0)
    for claim in (TEN, ABSENT):
        row = silent.judge(claim)
        assert row["verdict"] == "cannot tell"
        assert "values that scatter" in row["reason"]


def test_two_cells_without_scatter_reach_no_small_p():
    row = arms([10, 10], [1, 1]).judge(CONFORMAL)
    assert row["p_value"] == pytest.approx(1 / 6)
    assert row["verdict"] == "cannot tell"


def test_absence_of_a_fraction_leaves_room_above_nil():
    study = arms([1.0], [0.0, 0.0, 0.0], endpoint="layer_coverage")
    row = study.judge({**ABSENT, "endpoint": "layer_coverage", "margin": 0.05})
    assert row["verdict"] == "cannot tell"
    assert row["ci_high"] > 0.05
    assert row["p_value"] is None


def test_margin_below_the_limit_and_limits_that_are_mixed():
    study = arms([10], [-1.0, -3.0, 1.2])
    row = study.judge(ABSENT)
    assert row["verdict"] == "cannot tell"
    assert "a smaller detection limit (now up to 3, margin 2)" in row["reason"]
    assert study.judge({**ABSENT, "margin": 1e-9})["verdict"] == "cannot tell"


def test_signs_that_depend_on_what_lies_below():
    study = arms([-4, 3, 1], [-1, 2, -5])
    for direction in ("greater", "less", "two_sided"):
        row = study.judge({**CONFORMAL, "direction": direction})
        assert row["verdict"] == "cannot tell"
        assert "the sign of the difference" in row["reason"]


def test_a_difference_that_is_one_of_states_says_so():
    study = arms([10, 11, 12], [1, 2, 1.5])
    for row in study.cells:
        row["state"] = "charged" if row["condition"] == "shorted" else "discharged"
    row = study.judge({**CONFORMAL, **STATE})
    assert "the difference may be that of state" in row["reason"]


def test_a_difference_of_closed_fractions_says_so():
    study = arms([0.5, 0.6, 0.55], [0.1, 0.2, 0.15], endpoint="atomic_fraction_C")
    assert "add up to 1" in study.judge({**CONFORMAL, "endpoint": "atomic_fraction_C"})["reason"]
    assert "add up to 1" not in arms([10, 11], [1, 2]).judge(CONFORMAL)["reason"]


def test_many_particles_of_one_cell_are_one_cell():
    alike = arms([[10] * 3, 6, 12], [1, 1.4, 2.2])
    crowded = arms([[10] * 40, 6, 12], [1, 1.4, 2.2])
    a, b = alike.judge(CONFORMAL), crowded.judge(CONFORMAL)
    assert a["p_value"] == pytest.approx(b["p_value"])
    twice = arms([[10] * 3, 6, 12], [1, 1.4, 2.2])
    twice.rows += [dict(row) for row in twice.rows]
    assert twice.judge(CONFORMAL)["p_value"] == pytest.approx(a["p_value"])


def test_any_study_ends_in_a_verdict():
    """Random studies with every defect at once."""
    rng = np.random.default_rng(20261122)
    claims = [
        {**claim, **more}
        for claim in (CONFORMAL, {**CONFORMAL, "id": "b", "direction": "two_sided"}, ABSENT, TEN, COVERED)
        for more in ({}, STATE)
    ]
    claims.append({**CONFORMAL, "id": "paired", "paired_by": ["batch"]})
    verdicts = set()
    for _ in range(40):
        study = Study()
        scale = 10.0 ** rng.integers(-3, 4)
        for condition in ("shorted", "normal"):
            for i in range(rng.integers(0, 5)):
                values = scale * rng.choice(
                    [-2.0, -1.0, 0.0, 1.0, rng.normal(3, 2), np.nan], rng.integers(1, 5)
                )
                known = [None if np.isnan(value) else value for value in values]
                for endpoint in ("layer_thickness_nm", "layer_coverage"):
                    own = [min(v, 1.0) if v and endpoint == "layer_coverage" else v for v in known]
                    study.add(f"{condition}{i}", condition, own, endpoint=endpoint)
                study.cells[-1] |= {
                    "state": str(rng.choice(["", "charged", "discharged"])),
                    "batch": str(rng.choice(["", "B1", "B2"])),
                }
        for claim in claims:
            row = study.judge(claim)
            verdicts.add((claim["kind"], row["verdict"]))
            assert row["verdict"] in ("supported", "refuted", "cannot tell")
            numbers = [row.get(name) for name in ("ci_low", "estimate", "ci_high")]
            if None not in numbers:
                assert np.isfinite(numbers).all()
                assert numbers[0] <= numbers[1] + 1e-9 * scale
                assert numbers[1] <= numbers[2] + 1e-9 * scale
            for name in ("p_value", "p_adjusted", "p_permutation", "mixed_p", "prevalence_high"):
                assert row.get(name) is None or 0 <= row[name] <= 1
    assert {kind for kind, verdict in verdicts if verdict == "cannot tell"} == {
        "difference", "absence", "interval", "proportion",
    }  # fmt: skip
