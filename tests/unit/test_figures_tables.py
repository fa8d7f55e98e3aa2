"""Words, numbers and groups of figures and pages."""

import math

import pytest

from ceiflow.figures.tables import (
    conditions,
    endpoint_name,
    figures3,
    groups,
    number,
    plain,
    rows,
    with_interval,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "–"),
        ("0", "0"),
        ("9.5", "9.50"),
        ("1234.5", "1234"),
        ("-0.0123", "−0.0123"),
        ("3e-7", "3.00e−07"),
        ("nan", "–"),
    ],
)
def test_three_figures(value, text):
    assert figures3(value) == text


def test_interval_sets_the_decimals():
    assert with_interval("9.1234", "7.61", "10.71", "nm") == "9.1 [7.6, 10.7] nm"
    assert with_interval("0.0021", "-0.0101", "0.0142", "1") == "0.002 [−0.010, 0.014]"
    assert with_interval("", "", "", "nm") == "– nm"


def test_number_knows_no_infinity():
    assert math.isnan(number("inf"))
    assert number("2.5") == 2.5


def test_plain_numbers_stay_as_written():
    assert plain(2.0) == "2"
    assert plain("0.35") == "0.35"


def test_conditions_of_a_claim():
    assert conditions("condition=shorted;electrode=NMC532|LMR") == {
        "condition": {"shorted"},
        "electrode": {"NMC532", "LMR"},
    }


def test_groups_follow_the_sheet_within_a_condition():
    sheet = [
        {"cell_id": "s", "condition": "shorted", "electrode": "Z"},
        {"cell_id": "b", "condition": "normal", "electrode": "B", "state": "charged"},
        {"cell_id": "a", "condition": "normal", "electrode": "A"},
    ]
    cells = [{"cell_id": name} for name in "abs"]
    assert list(groups(cells, sheet)) == ["normal · B · charged", "normal · A", "shorted · Z"]


def test_cycling_windows_tell_groups_apart_only_where_they_differ():
    same = {"condition": "normal", "electrode": "NMC532", "v_min_V": "2.7", "v_max_V": "4.3"}
    cells = [
        {"cell_id": "a", **same},
        {"cell_id": "b", **same},
        {"cell_id": "c", **same, "electrode": "LMR", "v_max_V": "4.6"},
        {"cell_id": "d", **same, "electrode": "LMR", "v_max_V": "4.8"},
    ]
    assert list(groups(cells)) == ["normal · NMC532", "normal · LMR · 2.7–4.6 V", "normal · LMR · 2.7–4.8 V"]


def test_rows_of_a_failed_acquisition_are_none(tmp_path):
    path = tmp_path / "layer.tsv"
    path.write_text("qc_status\tqc_reason\nfailed\tall zero\n")
    assert rows(path) == []


def test_endpoints_in_words():
    assert endpoint_name("areal_density_Mn_per_nm2") == "Mn areal density"
    assert endpoint_name("mn_l3_l2_ratio") == "Mn L3/L2 ratio"
    assert endpoint_name("something_new") == "something new"
