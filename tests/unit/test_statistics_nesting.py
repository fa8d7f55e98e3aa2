"""From acquisitions to cells: equal weights, both ends of a bound, honest status."""

import pytest

from ceiflow.statistics.nesting import observation, summarise


def measured(acquisition, particle, region, value=None, *, lod=None, se=0.1, note="", **more):
    status = "identified" if value is not None else "bounded" if lod is not None else "not_identifiable"
    return observation(
        {
            "acquisition_id": acquisition,
            "cell_id": "c",
            "particle_id": particle,
            "region_id": region,
            "status": status,
            "value": value,
            "se_stat": se if value is not None else None,
            "lod": lod,
            "note": note,
            **more,
        }
    )


def test_each_level_has_equal_weights_and_two_signals_of_a_region_are_one():
    rows = [
        measured("a", "p", "r", 10.0, modality="eels_si"),
        measured("b", "p", "r", 12.0, modality="hrtem"),
        measured("c", "p", "s", 15.0),
        measured("d", "q", "r", 20.0),
    ]
    cell = summarise("c", rows)
    assert cell.value == pytest.approx(((11 + 15) / 2 + 20) / 2)
    assert cell.se == pytest.approx(abs(20 - 13) / 2)
    assert cell.se_source == "particles"
    assert (cell.n_acquisitions, cell.n_regions, cell.n_particles, cell.n_bounded) == (4, 3, 2, 0)
    assert summarise("c", rows[::-1]) == cell


def test_error_of_one_particle_comes_from_regions_or_measurement():
    cell = summarise("c", [measured("a", "p", "r", 1.0, se=0.3), measured("b", "p", "r", 1.0, se=0.4)])
    assert cell.se == pytest.approx(0.25)
    assert cell.se_source == "measurement"
    cell = summarise("c", [measured("a", "p", "r", 1.0), measured("b", "p", "s", 3.0)])
    assert cell.se == pytest.approx(1)
    assert cell.se_source == "regions"


def test_systematic_error_does_not_shrink():
    cell = summarise("c", [measured(str(i), str(i), "r", 5.0 + i, se_sys=0.7) for i in range(4)])
    assert cell.se_sys == pytest.approx(0.7)


def test_bounded_cells_have_two_ends_and_no_value():
    cell = summarise("c", [measured("a", "p", "r", lod=1.0), measured("b", "q", "r", lod=2.0)])
    assert cell.status == "bounded"
    assert cell.value is None
    assert cell.se is None
    assert (cell.low, cell.high, cell.lod, cell.n_bounded) == (0, 1.5, 1.5, 2)


def test_mixed_cell_has_ends_and_no_value():
    seen = [measured(str(i), str(i), "r", 10.0 + i) for i in range(5)]
    cell = summarise("c", [*seen, measured("x", "x", "r", lod=1.0)])
    assert cell.status == "bounded"
    assert cell.value is None
    assert (cell.low, cell.high) == (pytest.approx(60 / 6), pytest.approx(61 / 6))
    flat = [measured(str(i), str(i), "r", 5.0) for i in range(3)]
    cell = summarise("c", [*flat, *(measured(f"x{i}", str(i), "r", lod=4.0) for i in range(3))])
    assert cell.status == "bounded"
    assert (cell.low, cell.high) == (2.5, 4.5)


def test_no_mean_above_seventy_per_cent_censored():
    rows = [measured("a", "a", "r", 50.0), *(measured(f"x{i}", f"x{i}", "r", lod=0.1) for i in range(4))]
    cell = summarise("c", rows)
    assert cell.status == "bounded"
    assert cell.n_bounded == 4


def test_what_cannot_say_does_not_count_and_gives_its_reason():
    silent = [measured(str(i), "p", "r", note="no defocus") for i in range(2)]
    cell = summarise("c", [*silent, measured("z", "p", "r", 3.0)])
    assert (cell.value, cell.n_acquisitions, cell.n_not_identifiable) == (3, 1, 2)
    cell = summarise("c", silent)
    assert cell.status == "not_identifiable"
    assert cell.note == "no defocus (2)"
    assert cell.value is cell.low is cell.lod is None
