"""Strata, pairs, proportions, censored means, ratios, the register, exploration and planning."""

import json
from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from test_statistics_claims import ABSENT, CONFORMAL, SETTINGS, TEN, Study

from ceiflow.statistics import bounds, designs
from ceiflow.statistics.censoring import censored_mean
from ceiflow.statistics.composition import with_log_ratios
from ceiflow.statistics.contrasts import benjamini_hochberg
from ceiflow.statistics.exploration import exploration_rows
from ceiflow.statistics.planning import detectable, needed_cells, plan_rows, power_of
from ceiflow.statistics.registration import register


def states(study, **by_cell):
    for row in study.cells:
        row.update(by_cell.get(row["cell_id"], {}))
    return study


def test_strata_give_the_least_squares_effect_and_the_exact_permutation():
    a, b = [9.0, 10.5, 13.2, 12.1], [1.0, 2.2, 4.5, 5.1, 3.9]
    strata = (([0, 1], [0, 1]), ([2, 3], [2, 3, 4]))
    level = np.array([0, 0, 1, 1, 0, 0, 1, 1, 1])
    arm = np.array([1] * 4 + [0] * 5)
    x = np.column_stack([np.ones(9), arm, level])
    beta = np.linalg.lstsq(x, np.array(a + b), rcond=None)[0]
    found = designs.stratified(a, b, strata, "two_sided", 0.05)
    assert found.estimate == pytest.approx(beta[1])
    p = designs.exchange_p(a, b, strata, False, "greater", 0, None)
    assert p == designs.smallest(strata, False, "greater") == pytest.approx(1 / (6 * 10))


def test_pairs_are_scipys_paired_t_and_sign_flips():
    a, b = [9.0, 10.5, 13.2, 12.1], [8.1, 9.9, 12.9, 10.0]
    strata = tuple(([i], [i]) for i in range(4))
    d = designs.pair_differences(a, b, strata)
    found = designs.paired(d, "greater", 0.05)
    assert found.p == pytest.approx(stats.ttest_rel(a, b, alternative="greater").pvalue)
    flips = [np.dot(s, d) >= d.sum() - 1e-12 for s in product((1, -1), repeat=4)]
    assert designs.exchange_p(a, b, strata, True, "greater", 0, None) == pytest.approx(np.mean(flips))
    assert designs.smallest(strata, True, "two_sided") == pytest.approx(2 / 16)


def test_a_factor_is_taken_out_and_a_confounded_one_named():
    study = Study()
    by_cell = {}
    for i in range(4):
        charged = 5.0 * (i % 2)
        study.add(f"s{i}", "shorted", [4.0 + charged + 0.1 * i]).add(f"n{i}", "normal", [1.0 + charged])
        by_cell |= {name: {"state": "charged" if i % 2 else "discharged"} for name in (f"s{i}", f"n{i}")}
    states(study, **by_cell)
    blind = study.judge({**CONFORMAL, "factors": []})
    seen = study.judge({**CONFORMAL, "factors": ["state"]})
    assert blind["verdict"] == "cannot tell"
    assert seen["verdict"] == "supported"
    assert seen["design"] == "within state"
    assert "compared within each state (charged, discharged)" in seen["reason"]
    states(study, **{f"n{i}": {"state": ""} for i in range(4)})
    confounded = study.judge({**CONFORMAL, "factors": ["state"]})
    assert "the difference may be that of state" in confounded["reason"]


def test_three_cells_an_arm_with_a_state_alike_are_compared_as_they_are():
    study = Study()
    for i, (thick, bare) in enumerate(((9.0, 0.5), (9.6, 0.4), (10.1, 0.6))):
        study.add(f"s{i}", "shorted", [thick]).add(f"n{i}", "normal", [bare])
    mixed = {f"{arm}{i}": {"state": "charged" if i else "discharged"} for arm in "sn" for i in range(3)}
    row = states(study, **mixed).judge({**CONFORMAL, "factors": ["state"]})
    assert row["design"] == "cells"
    assert row["verdict"] == "supported"
    assert "too few to take that out" in row["reason"]
    states(study, **(mixed | {"n1": {"state": "discharged"}}))
    assert study.judge({**CONFORMAL, "factors": ["state"]})["design"] == "within state"


def test_batches_make_pairs():
    study = Study()
    batch = {}
    for i, level in enumerate((0.0, 5.0, 10.0)):
        study.add(f"s{i}", "shorted", [level + 2.0 + 0.1 * i]).add(f"n{i}", "normal", [level + 1.0])
        batch |= {f"s{i}": {"batch": f"B{i}"}, f"n{i}": {"batch": f"B{i}"}}
    study.add("s9", "shorted", [3.0])
    states(study, **batch)
    row = study.judge({**CONFORMAL, "paired_by": ["batch"]})
    assert row["estimate"] == pytest.approx(1.1)
    assert row["p_value"] == pytest.approx(
        stats.ttest_1samp([1.0, 1.1, 1.2], 0, alternative="greater").pvalue
    )
    assert row["p_min"] == pytest.approx(1 / 8)
    assert "without a partner, and not counted: 1" in row["reason"]
    assert study.judge(CONFORMAL)["p_value"] > 0.2


def test_the_mixed_model_stands_beside():
    rng = np.random.default_rng(4)
    study = Study()
    for i in range(4):
        study.add(f"s{i}", "shorted", list(rng.normal(6, 1, 3))).add(
            f"n{i}", "normal", list(rng.normal(2, 1, 3))
        )
    row = study.judge({**CONFORMAL, "direction": "two_sided"})
    assert row["mixed_estimate"] == pytest.approx(row["estimate"], rel=0.05)
    assert row["mixed_low"] < row["mixed_estimate"] < row["mixed_high"]
    assert "Kenward-Roger" in row["reason"]


def test_beta_binomial_bound():
    assert bounds.upper_beta_binomial(0, [10, 10], 0.0, 0.05) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert bounds.upper_beta_binomial(0, [10, 10, 10], 1.0, 0.05) == pytest.approx(1 - 0.05 ** (1 / 3))
    loose, tight = (bounds.upper_beta_binomial(1, [9, 9, 8], rho, 0.05) for rho in (0.4, 0.05))
    assert loose > tight > bounds.upper_proportion(1, 26, 0.05)
    # At the bound, so few positives have a probability of 5 %.
    mean, spread = loose, 0.6 / 0.4
    rng = np.random.default_rng(1)
    own = rng.beta(mean * spread, (1 - mean) * spread, (40_000, 3))
    assert np.mean(rng.binomial([9, 9, 8], own).sum(axis=1) <= 1) == pytest.approx(0.05, abs=0.005)


def test_nothing_censored_is_students_interval_and_no_limit_is_substituted():
    x = np.array([2.0, 3.1, 2.4, 4.0])
    found = censored_mean(x, x, 0.05)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(x.mean(), abs=1e-4)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-3)
    half = censored_mean([2.0, 3.1, 2.4, 0.0], [2.0, 3.1, 2.4, 1.5], 0.05)
    assert np.mean([2.0, 3.1, 2.4, 0.0]) < half.mean < np.mean([2.0, 3.1, 2.4, 1.5])
    assert censored_mean([0.0, 0.0, 1.0], [1.5, 1.5, 1.0], 0.05) is None


def test_above_seventy_percent_censored_there_is_no_mean():
    study = Study()
    for i in range(3):
        study.add(f"s{i}", "shorted", [-1.0, -1.0, -1.0, 3.0 + i]).add(f"n{i}", "normal", [4.0 + i, -1.0])
    row = study.judge({**TEN, "low": 0.5})
    assert row["censored_fraction"] == pytest.approx(0.75)
    assert row.get("censored_mean") is None
    assert "an upper bound, and no mean" in row["reason"]
    row = study.judge({**TEN, "low": 0.5, "group": {"condition": "normal"}})
    assert 2.0 < row["censored_mean"] < 3.5
    assert row["censored_low"] < row["censored_mean"] < row["censored_high"]


def test_ratios_of_elements_need_both():
    def row(element, value, status="identified"):
        return {
            "acquisition_id": "a", "zone": "layer", "endpoint": f"areal_density_{element}_per_nm2",
            "value": value, "se_stat": 0.1 * value if value else None, "se_sys": 0.0, "status": status,
        }  # fmt: skip

    both = with_log_ratios([row("C", 20.0), row("O", 10.0)], ["log_ratio_C_O", "layer_thickness_nm"])
    assert len(both) == 3
    assert both[-1]["value"] == pytest.approx(np.log(2))
    assert both[-1]["se_stat"] == pytest.approx(np.hypot(0.1, 0.1))
    flipped = with_log_ratios([row("C", 20.0), row("O", 10.0)], ["log_ratio_O_C"])[-1]
    assert flipped["value"] == pytest.approx(-both[-1]["value"])
    lacking = with_log_ratios([row("C", 20.0), row("O", None, "bounded")], ["log_ratio_C_O"])[-1]
    assert lacking["status"] == "not_identifiable"
    assert lacking["note"].startswith("O not identified")


def test_ratios_carry_what_the_errors_share():
    def row(element, value, correlation):
        return {
            "acquisition_id": "a", "zone": "layer", "endpoint": f"areal_density_{element}_per_nm2",
            "value": value, "se_stat": 0.1 * value, "se_sys": 0.07 * value, "status": "identified",
            "correlation": correlation,
        }  # fmt: skip

    rows = [row("C", 20.0, "F=0.1000;O=-0.5000"), row("O", 10.0, "C=-0.5000"), row("F", 5.0, "")]
    found = {item["endpoint"]: item for item in with_log_ratios(rows, ["log_ratio_C_O", "log_ratio_F_C"])[3:]}
    # The variance of a difference of two logarithms: 0.01 + 0.01 + 2 * 0.5 * 0.01.
    assert found["log_ratio_C_O"]["se_stat"] == pytest.approx(np.sqrt(0.03))
    assert found["log_ratio_C_O"]["se_sys"] == pytest.approx(np.hypot(0.07, 0.07))
    assert found["log_ratio_C_O"]["note"] == ""
    assert "independent" in found["log_ratio_F_C"]["note"]


def test_benjamini_hochberg_is_statsmodels():
    p = [0.01, 0.04, None, 0.03, 0.2, 0.0004]
    expected = multipletests([v for v in p if v is not None], method="fdr_bh")[1]
    found = benjamini_hochberg(p)
    assert [v for v in found if v is not None] == pytest.approx(list(expected))
    assert found[2] is None


def test_the_register_keeps_the_first_run(tmp_path):
    path, again = tmp_path / "registration.json", tmp_path / "again.json"
    assert register(path, [CONFORMAL, TEN]) == {"conformal": "unchanged", "ten": "unchanged"}
    first = path.read_bytes()
    register(again, [CONFORMAL, TEN])
    assert again.read_bytes() == first
    assert register(path, [CONFORMAL, TEN])["ten"] == "unchanged"
    assert path.read_bytes() == first
    assert register(path, [{**TEN, "low": 1}, ABSENT]) == {"ten": "changed", "bare": "added"}
    content = json.loads(path.read_text())
    assert content["changed_since_first_run"]
    assert (content["added"], content["changed"], content["dropped"]) == (["bare"], ["ten"], ["conformal"])
    register(path, [CONFORMAL, TEN])
    content = json.loads(path.read_text())
    assert not content["changed_since_first_run"]
    assert len(content["versions"]) == 3  # that it was changed in between stays to be seen


def test_exploration_is_labelled_and_names_the_registered():
    study, rng = Study(), np.random.default_rng(3)
    for i in range(3):
        for endpoint in ("layer_thickness_nm", "layer_coverage", "layer_roughness_nm"):
            study.add(f"s{i}", "shorted", [float(rng.uniform(1, 2))], endpoint=endpoint)
            study.add(f"n{i}", "normal", [float(rng.uniform(0, 1))], endpoint=endpoint)
    rows = exploration_rows(study.rows, study.cells, [CONFORMAL], SETTINGS)
    assert [row["endpoint"] for row in rows if row["registered"]] == ["layer_thickness_nm"]
    assert all("exploration" in row["label"] and row["n_tests"] == 3 for row in rows)
    assert all(row["q_value"] >= row["p_value"] for row in rows)
    assert all(row["test"] == "condition=shorted" for row in rows)


def test_planned_power_is_that_of_simulated_tests():
    rng = np.random.default_rng(8)
    sd, n, distance = 1.5, 4, 3.0
    t = stats.ttest_ind(rng.normal(distance, sd, (4000, n)), rng.normal(0, sd, (4000, n)), axis=1)
    expected = np.mean((t.pvalue <= 0.05) & (t.statistic > 0))
    assert power_of(distance, sd, n, 2, 0.025) == pytest.approx(expected, abs=0.03)
    assert power_of(detectable(sd, n, 2, 0.025), sd, n, 2, 0.025) == pytest.approx(0.8)


def test_planning_says_how_many_cells():
    study, rng = Study(), np.random.default_rng(9)
    for i in range(3):
        study.add(f"s{i}", "shorted", list(rng.normal(4 + rng.normal(), 1, 3)))
        study.add(f"n{i}", "normal", list(rng.normal(2 + rng.normal(), 1, 3)))
    rows = plan_rows(study.rows, study.cells, [CONFORMAL, ABSENT], [study.judge(CONFORMAL)], SETTINGS)
    cells = needed_cells(rows)["conformal"]
    assert cells is None or 2 <= cells <= 12
    own = [row for row in rows if row["claim_id"] == "conformal"]
    assert len({(row["particles"], row["regions"]) for row in own}) == 4
    assert own[0]["detectable"] > own[1]["detectable"]


def test_an_arm_without_scatter_leaves_the_cell_means_to_decide():
    study = Study()
    shorted = {
        "s1": [(0.4267, 0.0563), (0.4337, 0.0942)],
        "s2": [(0.3641, 0.0682), (0.4864, 0.0912), (0.3676, 0.0579)],
        "s3": [(0.3876, 0.0754), (0.4332, 0.073)],
        "s4": [(0.5241, 0.0828)],
    }
    for cell, values in shorted.items():
        for i, (value, error) in enumerate(values):
            more = {"se_stat": error, "particle_id": f"p{i}", "acquisition_id": f"{cell}-{i}"}
            study.add(cell, "shorted", [value], endpoint="mn_valence", **more)
    for cell in ("n1", "n2", "n3"):
        study.add(cell, "normal", [-0.07], endpoint="mn_valence")
    row = study.judge({**CONFORMAL, "endpoint": "mn_valence"})
    assert row["verdict"] == "supported"
    assert "mixed_p" not in row
    assert "one arm has no scatter" in row["reason"]


def test_planning_of_a_fraction_rests_on_its_score_interval():
    study = Study()
    for i, value in enumerate((0.93, 0.97, 0.99, 0.98)):
        study.add(f"s{i}", "shorted", [value, value - 0.01], endpoint="layer_coverage")
    claim = {**TEN, "endpoint": "layer_coverage", "low": 0.8, "high": 1.0}
    judged = study.judge(claim)
    rows = plan_rows(study.rows, study.cells, [claim], [judged], SETTINGS)
    need = needed_cells(rows)["ten"]
    assert judged["verdict"] == "cannot tell"
    # Not before the limits can lie within the bounds at all.
    assert need >= bounds.cells_for_proportion([0.925, 0.965, 0.985, 0.975], (0.8, 1.0), 0.025, 0.1)
    mean = (0.925 + 0.965 + 0.985 + 0.975) / 4
    low, high = bounds.score_limits(mean, 0.1, need, 0.025)
    assert 0.8 <= low < high <= 1


def test_the_note_on_dose_reaches_the_reason():
    study = Study()
    note = "dose not controlled: 900 e/A^2 of 750"
    for i in range(3):
        study.add(f"s{i}", "shorted", [0.5 + i / 100], endpoint="mn_valence", note=f"window 5 eV; {note}")
        study.add(f"n{i}", "normal", [0.1 + i / 100], endpoint="mn_valence")
    reason = study.judge({**CONFORMAL, "endpoint": "mn_valence"})["reason"]
    assert f"{note} (3 of 6 acquisitions)" in reason
    assert "dose not controlled in 3 of 6 acquisitions" in reason


def test_one_cell_is_written_as_one():
    study = Study()
    for i, value in enumerate((1.4, 1.5, 1.9)):
        study.add(f"n{i}", "normal", [value])
    reason = study.judge({**ABSENT, "margin": 2.0, "max_prevalence": 1.0})["reason"]
    assert "1 more cells" not in reason
    assert "more cell" in reason
