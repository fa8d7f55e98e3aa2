"""Verdicts on small studies with a known answer."""

import numpy as np
import pytest
from scipy import stats

from ceiflow.statistics.claims import CLAIM_COLUMNS, claim_rows

SETTINGS = {"alpha": 0.05, "seed": 532, "resamples": 2000, "intraclass_correlation": 0.1}
CONFORMAL = {
    "id": "conformal",
    "kind": "difference",
    "endpoint": "layer_thickness_nm",
    "test": {"condition": "shorted"},
    "reference": {"condition": "normal"},
    "direction": "greater",
}
ABSENT = {
    "id": "bare",
    "kind": "absence",
    "endpoint": "layer_thickness_nm",
    "group": {"condition": "normal"},
    "margin": 2.0,
}
TEN = {
    "id": "ten",
    "kind": "interval",
    "endpoint": "layer_thickness_nm",
    "group": {"condition": "shorted"},
    "low": 5,
    "high": 15,
}


class Study:
    """Rows of measurements and cells; each cell is given as a list of values, limits as negative numbers."""

    def __init__(self):
        self.rows, self.cells = [], []

    def add(
        self,
        cell,
        condition,
        values,
        *,
        endpoint="layer_thickness_nm",
        zone="layer",
        modality="hrtem",
        **more,
    ):
        if cell not in [row["cell_id"] for row in self.cells]:
            self.cells.append({"cell_id": cell, "condition": condition, "v_max_V": "4.30"})
        for i, value in enumerate(values):
            status = "not_identifiable" if value is None else "bounded" if value < 0 else "identified"
            row = {
                "acquisition_id": f"{cell}-{modality}-{i}",
                "cell_id": cell,
                "particle_id": f"p{i}",
                "region_id": "r",
                "modality": modality,
                "zone": zone,
                "endpoint": endpoint,
                "status": status,
                "value": value if status == "identified" else "",
                "se_stat": 0.1 if status == "identified" else "",
                "lod": -value if status == "bounded" else "1.0" if status == "identified" else "",
                "note": "defocus is not known" if value is None else "",
            }
            self.rows.append({**row, **more})
        return self

    def judge(self, *claims, **settings):
        rows = claim_rows(self.rows, self.cells, claims, {**SETTINGS, **settings})
        for row in rows:
            assert row["reason"]
            assert set(row) <= set(CLAIM_COLUMNS)
            if row["verdict"] == "cannot tell":
                assert row["reason"].startswith("missing: ")
        return rows if len(rows) > 1 else rows[0]


@pytest.fixture
def study():
    found = Study()
    for i, mean in enumerate((9.0, 10.0, 11.0)):
        found.add(f"s{i}", "shorted", [mean - 0.5, mean + 0.5])
        found.add(f"n{i}", "normal", [-1.2, -1.4])
    return found


def test_shorted_against_bare_is_supported_at_the_worse_end(study):
    row = study.judge(CONFORMAL)
    expected = stats.ttest_1samp([7.7, 8.7, 9.7], 0, alternative="greater").pvalue
    assert row["verdict"] == "supported"
    assert row["estimate"] == pytest.approx(8.7)
    assert row["p_value"] == row["p_adjusted"] == pytest.approx(expected)
    assert row["p_min"] == row["p_permutation"] == pytest.approx(0.05)
    assert row["p_value"] < row["p_min"]
    assert row["p_basis"] == "t"
    assert (row["n_cells_test"], row["n_cells_reference"], row["n_acquisitions"], row["n_bounded"]) == (
        3,
        3,
        12,
        6,
    )
    assert row["lod"] == pytest.approx(1.3)
    assert (row["test"], row["reference"]) == ("condition=shorted", "condition=normal")
    assert row["ci_low"] > 0


def test_the_opposite_direction_is_refuted_and_two_sided_rests_on_welch(study):
    less, both = study.judge(
        {**CONFORMAL, "direction": "less"}, {**CONFORMAL, "id": "b", "direction": "two_sided"}
    )
    assert less["verdict"] == "refuted"
    assert both["verdict"] == "supported"
    assert both["p_min"] == pytest.approx(0.1)
    assert "cannot fall below 0.1" in both["reason"]


def test_a_one_sided_claim_names_its_limit_where_the_interval_includes_zero():
    """Supported beside an interval that holds 0: what the p-value rests on is the one-sided limit."""
    study, arms = Study(), {"shorted": [6.0, 9.0, 16.0, 7.0], "normal": [2.0, 3.0, 4.5]}
    for condition, values in arms.items():
        for i, value in enumerate(values):
            study.add(f"{condition}{i}", condition, [value])
    row = study.judge(CONFORMAL)
    limit = stats.ttest_ind(*arms.values(), equal_var=False, alternative="greater").confidence_interval().low
    assert row["ci_low"] < 0 < limit
    assert row["verdict"] == "supported"
    assert f"(one-sided, greater: lower 95 % limit {limit:.3g})" in row["reason"]


def test_without_bounds_it_is_welch_on_cell_means():
    study, rng = Study(), np.random.default_rng(2)
    means = {"shorted": [], "normal": []}
    for i in range(7):
        condition = "shorted" if i < 3 else "normal"
        values = rng.uniform(2, 6, 2 + i % 3)
        means[condition].append(values.mean())
        study.add(f"c{i}", condition, values)
    row = study.judge({**CONFORMAL, "direction": "two_sided"})
    expected = stats.ttest_ind(*means.values(), equal_var=False)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert row["verdict"] == "cannot tell"
    assert "about" in row["reason"]


def test_one_cell_an_arm_is_described_and_the_missing_cell_named():
    study = Study().add("s", "shorted", [9, 11]).add("n0", "normal", [-1]).add("n1", "normal", [-1])
    row = study.judge(CONFORMAL)
    assert row["verdict"] == "cannot tell"
    assert row["reason"].startswith("missing: at least 1 more cell with condition=shorted")
    assert row.get("p_value") is row.get("p_min") is row.get("ci_low") is None
    assert row["estimate"] == pytest.approx(9)


def test_the_sign_below_the_detection_limit_is_not_told():
    study = Study()
    for i in range(4):
        study.add(f"s{i}", "shorted", [1.0 + i / 100]).add(f"n{i}", "normal", [-1.5])
    for direction in ("greater", "two_sided", "less"):
        row = study.judge({**CONFORMAL, "direction": direction})
        assert row["verdict"] == "cannot tell"
        assert "smaller detection limit" in row["reason"]
    nothing = Study()
    for i in range(3):
        nothing.add(f"s{i}", "shorted", [-1.0]).add(f"n{i}", "normal", [-1.5])
    row = nothing.judge(CONFORMAL)
    assert row["verdict"] == "cannot tell"
    assert "no cell of either group has a value" in row["reason"]


def test_no_scatter_leaves_the_permutation():
    study = Study()
    for i in range(4):
        study.add(f"s{i}", "shorted", [1.0], endpoint="layer_coverage")
        study.add(f"n{i}", "normal", [0.0], endpoint="layer_coverage")
    row = study.judge({**CONFORMAL, "endpoint": "layer_coverage"})
    assert row["verdict"] == "supported"
    assert row["p_value"] == row["p_min"] == pytest.approx(1 / 70)
    assert row["p_basis"] == "permutation"


def test_holm_over_claims_that_have_a_p(study):
    weak = Study()
    for i, (a, b) in enumerate([(3.0, 1.0), (4.5, 2.2), (3.9, 1.5)]):
        weak.add(f"s{i}", "shorted", [a]).add(f"n{i}", "normal", [b])
    alone = weak.judge(CONFORMAL)
    assert alone["verdict"] == "supported"
    many = weak.judge(*({**CONFORMAL, "id": f"c{i}"} for i in range(6)), TEN)
    assert many[0]["p_adjusted"] == pytest.approx(6 * alone["p_value"])
    assert many[0]["verdict"] == "cannot tell"
    assert "among 6 claims" in many[0]["reason"]
    assert many[-1]["p_adjusted"] is None
    assert weak.judge({**CONFORMAL, "alpha": 0.001})["verdict"] == "cannot tell"


def test_absence_needs_margin_and_prevalence(study):
    row = study.judge(ABSENT)
    assert row["verdict"] == "supported"
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (pytest.approx(1.3), 0, pytest.approx(1.3))
    assert row["prevalence"] == 0
    assert row["test"] == row["group"] == "condition=normal"
    # six regions, two in each cell: design effect 1.1
    assert row["prevalence_high"] == pytest.approx(1 - 0.05 ** (1.1 / 6))
    assert "63.2 % of cells" in row["reason"]
    row = study.judge({**ABSENT, "max_prevalence": 0.1})
    assert row["verdict"] == "cannot tell"
    assert "more acquisitions" in row["reason"]
    many = Study()
    for cell in range(6):
        many.add(f"n{cell}", "normal", [-1.2] * 9)
    assert many.judge({**ABSENT, "max_prevalence": 0.1})["verdict"] == "supported"


def test_absence_asks_for_the_number_of_acquisitions_that_is_enough():
    study = Study()
    for cell in range(4):
        study.add(f"n{cell}", "normal", [-1.2] * 8)
    row = study.judge({**ABSENT, "max_prevalence": 0.1})
    more = int(row["reason"].split("missing: ")[1].split(" more acquisitions")[0])
    enough = Study()
    for cell in range(4):
        enough.add(f"n{cell}", "normal", [-1.2] * (8 + -(-more // 4)))
    assert enough.judge({**ABSENT, "max_prevalence": 0.1})["verdict"] == "supported"


def test_absence_below_the_detection_limit_cannot_be_told(study):
    row = study.judge({**ABSENT, "margin": 1.0})
    assert row["verdict"] == "cannot tell"
    assert "a smaller detection limit (now up to 1.3, margin 1)" in row["reason"]
    assert row["prevalence"] is None


def test_absence_is_refuted_by_a_thick_or_a_frequent_layer(study):
    row = study.judge({**ABSENT, "group": {"condition": "shorted"}})
    assert row["verdict"] == "refuted"
    assert row["p_value"] > 0.95
    patchy = Study()
    for cell in range(4):
        patchy.add(f"n{cell}", "normal", [3.0, 3.2, -1.0, -1.0, -1.0, 2.8])
    row = patchy.judge({**ABSENT, "max_prevalence": 0.1})
    assert row["verdict"] == "refuted"
    assert row["prevalence"] == pytest.approx(0.5)
    assert row["reason"].startswith("prevalence at least 2")  # what decides stands first


def test_a_dose_series_is_one_region_and_unclear_regions_are_not_bare():
    study = Study()
    for cell in range(3):
        study.add(f"n{cell}", "normal", [-1.0, -1.0, -4.0])
        for row in study.rows[-3:-1]:
            row["particle_id"] = "same"
    row = study.judge({**ABSENT, "margin": 3.0})
    assert row["prevalence_high"] == pytest.approx(1 - 0.05 ** (1 / 3))
    assert "3 regions with detection limits above the margin" in row["reason"]


def test_interval_inside_outside_and_between(study):
    assert study.judge(TEN)["verdict"] == "supported"
    assert study.judge({**TEN, "low": 14, "high": 20})["verdict"] == "refuted"
    row = study.judge({**TEN, "low": 9.5, "high": 15})
    assert row["verdict"] == "cannot tell"
    assert "more cells with condition=shorted" in row["reason"]
    bare = study.judge({**TEN, "group": {"condition": "normal"}})
    assert bare["verdict"] == "refuted"
    assert study.judge({**TEN, "group": {"condition": "normal"}, "low": 1})["verdict"] == "cannot tell"


def test_a_systematic_error_widens_intervals_but_not_differences():
    plain, shared = Study(), Study()
    for i, mean in enumerate((9.0, 10.0, 11.0)):
        for study, sys in ((plain, ""), (shared, "1.5")):
            study.add(f"s{i}", "shorted", [mean], se_sys=sys).add(f"n{i}", "normal", [mean / 5], se_sys=sys)
    assert plain.judge(TEN)["verdict"] == "supported"
    assert shared.judge({**TEN, "low": 7, "high": 13})["verdict"] == "cannot tell"
    half = 4.302653 / np.sqrt(3)
    assert shared.judge(TEN)["ci_high"] == pytest.approx(10 + np.hypot(half, 1.959964 * 1.5))
    assert plain.judge(CONFORMAL)["p_value"] == shared.judge(CONFORMAL)["p_value"]


def test_modality_and_any_column_select(study):
    for i in range(3):
        study.add(f"s{i}", "shorted", [20.0 + i], modality="eels_si")
    one = study.judge(
        {**TEN, "modality": "eels_si", "group": {"condition": ["shorted", "x"], "v_max_V": 4.3}}
    )
    assert one["estimate"] == pytest.approx(21)
    assert one["group"] == "condition=shorted|x;v_max_V=4.3"
    assert one["modality"] == "eels_si"
    assert study.judge({**TEN, "modality": ["eels_si", "hrtem"]})["estimate"] != pytest.approx(21)


def test_nothing_identified_collects_the_reasons():
    study = Study()
    for i in range(3):
        study.add(f"n{i}", "normal", [None, None]).add(f"s{i}", "shorted", [5.0])
    row = study.judge(ABSENT)
    assert row["verdict"] == "cannot tell"
    assert "defocus is not known (6)" in row["reason"]
    assert row.get("estimate") is None
    assert "defocus is not known" in study.judge(CONFORMAL)["reason"]
    other = study.judge({**TEN, "endpoint": "layer_coverage"})
    assert "measurements of this endpoint in zone layer" in other["reason"]


def test_a_valence_out_of_the_literature_is_said_to_be_one():
    study = Study()
    origin = "by shipped templates out of the literature, not by measured standards: L3/L2 2.90 leaves 2 to 4"
    for i in range(3):
        study.add(f"s{i}", "shorted", [3.8 + i / 100], endpoint="mn_valence", zone="surface", note=origin)
        study.add(f"n{i}", "normal", [2.6 + i / 100], endpoint="mn_valence", zone="surface")
    row = study.judge({**CONFORMAL, "endpoint": "mn_valence", "zone": "surface"})
    assert "by shipped templates, not by measured standards, in 3 of 6 acquisitions" in row["reason"]


def test_fine_structure_carries_its_dose():
    study = Study()
    for i in range(3):
        for condition, value in (("shorted", 0.5), ("normal", 0.1)):
            cell = f"{condition}{i}"
            study.add(cell, condition, [value + i / 100], endpoint="carbon_fraction_carbonate")
            if i:
                study.add(cell, condition, [0.1 * i * 2], endpoint="dose_over_critical", zone="all")
    row = study.judge({**CONFORMAL, "endpoint": "carbon_fraction_carbonate"})
    assert row["verdict"] == "supported"
    assert "dose not controlled in 2 of 6" in row["reason"]
    assert "dose above 0.3 of the critical dose in 2 of 6" in row["reason"]


def test_shuffled_rows_and_registered_wording(study):
    before = study.judge(CONFORMAL)
    study.rows.reverse()
    study.cells.reverse()
    assert study.judge(CONFORMAL) == before
    assert study.judge({**CONFORMAL, "direction": "less"})["digest"] != before["digest"]


def test_intervals_end_where_the_endpoint_does():
    study = Study()
    for i, value in enumerate((0.95, 1.0, 1.0)):
        study.add(f"s{i}", "shorted", [value], endpoint="layer_coverage")
    claim = {**TEN, "endpoint": "layer_coverage", "low": 0.8, "high": 1.0}
    row = study.judge(claim)
    assert 0 < row["ci_low"] < 0.95 < row["ci_high"] <= 1
    assert row["verdict"] == "cannot tell"
    assert study.judge({**claim, "kind": "proportion"})["ci_low"] == row["ci_low"]
    needed = int(row["reason"].split("you need about ")[1].split(" ")[0])
    enough = Study()
    for i in range(needed):
        enough.add(f"s{i}", "shorted", [(0.95, 1.0, 1.0)[i % 3]], endpoint="layer_coverage")
    assert enough.judge(claim)["verdict"] == "supported"


def test_cells_that_are_all_covered_leave_room_below():
    study = Study()
    for i in range(4):
        study.add(f"s{i}", "shorted", [1.0], endpoint="layer_coverage")
    row = study.judge({**TEN, "kind": "proportion", "endpoint": "layer_coverage", "low": 0.5, "high": 1.0})
    assert row["ci_high"] == 1
    assert 0.5 < row["ci_low"] < 1


def test_pooled_states_and_cells_without_measurements_are_named(study):
    for row, state in zip(study.cells, ["charged", "discharged"] * 3, strict=True):
        row["state"] = state
    study.cells.append({"cell_id": "s9", "condition": "shorted"})
    reason = study.judge(TEN)["reason"]
    assert "1 cell with condition=shorted without a measurement" in reason
    assert "differ in state" not in reason
    study.cells[0]["state"] = "discharged"
    assert "differ in state: charged, discharged" in study.judge(TEN)["reason"]


def test_the_finer_modality_is_named_where_another_blurs_the_limit(study):
    for i in range(3):
        study.add(f"n{i}", "normal", [-6.0], modality="tem")
    row = study.judge(ABSENT)
    assert row["verdict"] == "cannot tell"
    assert "hrtem alone would be fine enough" in row["reason"]
    assert study.judge({**ABSENT, "modality": "hrtem"})["verdict"] == "supported"
