"""Endpoints from a thickness along the arc."""

import numpy as np
import pytest
from scipy.stats import binom

from ceiflow.layer.chance import chance_explains
from ceiflow.layer.summary import (
    Trace,
    block_draws,
    block_length,
    layer_rows,
    longest_run,
    thickness_limit,
    write_layer,
)
from ceiflow.study.measurements import LAYER_ENDPOINTS


def trace(thickness, std=0.3, lod=1.0, **more):
    thickness = np.asarray(thickness, dtype=float)
    n = len(thickness)
    points = np.zeros((n, 2))
    values = {
        "position_nm": (np.arange(n) + 0.5) * 6.0,
        "length_nm": np.full(n, 6.0),
        "stretch": np.zeros(n, dtype=int),
        "thickness_nm": thickness,
        "std_nm": np.full(n, std),
        "lod_nm": np.full(n, lod),
        "present": thickness > lod,
        "point": points,
        "outer": points,
        "inner": points,
    }
    return Trace(**{**values, **more})


def rows_of(item, reason="", resamples=500):
    rows = layer_rows(item, reason, 1, resamples)
    assert [row.endpoint for row in rows] == list(LAYER_ENDPOINTS)
    return {row.endpoint: row for row in rows}


def test_half_covered():
    rows = rows_of(trace([10.0, 10.5, 9.5, 10.0, 0.1, -0.1, 0.0, 0.2]))
    assert rows["layer_thickness_nm"].value == pytest.approx(10.0)
    assert rows["layer_thickness_nm"].se_stat == pytest.approx(0.15)
    assert rows["layer_thickness_nm"].n == 4
    assert rows["layer_coverage"].value == 0.5
    assert 0.1 < rows["layer_coverage"].se_stat < 0.5
    assert rows["layer_equivalent_thickness_nm"].value == pytest.approx(5.025)
    assert rows["layer_longest_bare_nm"].value == 24.0


def test_spread_is_real_spread_only():
    rng = np.random.default_rng(2)
    true = 10 + rng.normal(0, 1.5, 400)
    seen = true + rng.normal(0, 1.0, 400)
    rows = rows_of(trace(seen, std=1.0))
    assert rows["layer_roughness_nm"].value == pytest.approx(1.5, abs=0.2)
    assert rows["layer_conformality"].value == pytest.approx(0.85, abs=0.02)
    flat = rows_of(trace(10 + rng.normal(0, 1.0, 100), std=1.0))
    assert flat["layer_roughness_nm"].status == "bounded"
    assert flat["layer_conformality"].value > 0.93


def test_common_errors_do_not_average_out():
    n = 50
    common = np.full((n, n), 0.2**2)
    rows = rows_of(trace(np.full(n, 10.0), std=np.hypot(0.3, 0.2), common_covariance_nm2=common))
    assert rows["layer_thickness_nm"].se_stat == pytest.approx(np.hypot(0.2, 0.3 / np.sqrt(n)), rel=1e-6)


def test_correlated_errors_average_more_slowly():
    free = rows_of(trace(np.full(40, 10.0)))["layer_thickness_nm"].se_stat
    bound = rows_of(trace(np.full(40, 10.0), noise_correlation_nm=12.0))["layer_thickness_nm"].se_stat
    assert bound > 1.5 * free


def test_nothing_covered():
    rows = rows_of(trace(np.zeros(10), floor_nm=0.5))
    assert rows["layer_thickness_nm"].status == "bounded"
    assert rows["layer_thickness_nm"].lod == 1.0
    assert rows["layer_equivalent_thickness_nm"].status == "bounded"
    assert rows["layer_equivalent_thickness_nm"].lod == 0.5
    assert rows["layer_coverage"].value == 0.0
    assert rows["layer_coverage"].se_stat > 0
    assert rows["layer_longest_bare_nm"].value == 60.0
    assert rows["layer_roughness_nm"].status == "not_identifiable"


def test_everything_covered_bounds_the_bare_run():
    rows = rows_of(trace(np.full(10, 8.0)))
    assert rows["layer_longest_bare_nm"].status == "bounded"
    assert rows["layer_longest_bare_nm"].lod == 12.0
    assert rows["layer_coverage"].value == 1.0
    assert 0 < rows["layer_coverage"].se_stat < 0.3


@pytest.mark.parametrize("item", [None, trace(np.full(5, np.nan)), trace(np.ones(5), lod=np.nan)])
def test_without_a_limit_nothing_is_said(item):
    rows = rows_of(item, "defocus unknown")
    assert {row.status for row in rows.values()} == {"not_identifiable"}
    assert rows["layer_coverage"].note == "defocus unknown"


@pytest.mark.parametrize("gap", [3.0, 5.0, 7.0, 9.0, 11.0, 12.5, 16.0, 25.0])
def test_gaps_anywhere_on_the_grid_keep_below_their_limit(gap):
    """A gap begins anywhere within a segment: a limit holds, and no run is told below its own."""
    rng = np.random.default_rng(7)
    edges = 6.0 * np.arange(21)
    broken = 0
    for start in rng.uniform(30, 60, 200):
        covered = (
            1 - np.clip(np.minimum(edges[1:], start + gap) - np.maximum(edges[:-1], start), 0, None) / 6.0
        )
        seen = 10 * covered + rng.normal(0, 0.3, 20)
        row = rows_of(trace(seen), resamples=60)["layer_longest_bare_nm"]
        if row.status == "identified":
            assert row.value >= row.lod
            assert abs(row.value - gap) < 3 * row.se_stat + 6.0
        else:
            broken += row.lod < gap
    assert broken <= 0.05 * 200 + 2 * np.sqrt(0.05 * 0.95 * 200)


def test_a_bare_segment_shorter_than_the_others_is_a_limit():
    lengths = np.full(12, 6.0)
    lengths[5] = 3.0
    thickness = np.full(12, 10.0)
    thickness[5] = 0.0
    row = rows_of(trace(thickness, length_nm=lengths))["layer_longest_bare_nm"]
    assert (row.status, row.value) == ("bounded", None)
    assert row.lod >= 12.0
    assert "3 nm" in row.note


def test_longest_run_ends_with_its_stretch_and_wraps_when_closed():
    bare = np.array([1, 1, 0, 1, 1, 1], dtype=bool)
    length = np.ones(6)
    assert longest_run(bare, length, np.zeros(6)) == 3
    assert longest_run(bare, length, np.array([0, 0, 0, 0, 1, 1])) == 2
    assert longest_run(bare, length, np.zeros(6), closed=True) == 5
    assert longest_run(np.ones(6, bool), length, np.zeros(6), closed=True) == 6


def test_blocks_follow_the_correlation():
    rng = np.random.default_rng(5)
    white = rng.normal(size=400)
    slow = np.convolve(rng.normal(size=500), np.ones(20) / 20, mode="valid")[:400]
    at, length = np.arange(400) * 6.0, np.full(400, 6.0)
    assert block_length(white, at, length) <= 4
    assert 20 < block_length(slow, at, length) < 80
    draws = block_draws(10, 3, np.random.default_rng(1), 50)
    assert draws.shape == (50, 10)
    assert np.all((np.diff(draws[:, :3]) % 10) == 1)


def test_coverage_interval_holds_under_correlation():
    """A moving-block bootstrap of a two-state arc: 95 % intervals, most of the time."""
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(40):
        slow = np.convolve(rng.normal(size=140), np.ones(5) / np.sqrt(5), mode="valid")[:120]
        row = rows_of(trace(np.where(slow > -0.5, 8.0, 0.0)))["layer_coverage"]
        hits += abs(row.value - 0.6915) < 1.96 * row.se_stat
    assert hits >= 33


def test_rows_repeat_with_their_seed():
    item = trace([10.0, 9.0, 0.0, 11.0, 0.0, 8.0])
    assert layer_rows(item, "", 4, 200) == layer_rows(item, "", 4, 200)


def test_table(tmp_path):
    write_layer(tmp_path / "layer.tsv", trace([1.5, np.nan]))
    lines = (tmp_path / "layer.tsv").read_text().splitlines()
    assert lines[0].startswith("position_nm\trow\tcolumn\tthickness_nm\tthickness_std_nm\tlod_nm\tpresent")
    assert lines[1].split("\t")[3:7] == ["1.5", "0.3", "1", "true"]
    assert lines[2].split("\t")[3] == ""
    assert thickness_limit(trace([1.5, np.nan])) == 1.0


def test_a_thick_layer_without_a_limit_has_a_thickness_and_no_coverage():
    item = trace(np.full(8, 12.0), lod=np.nan, present=np.ones(8, dtype=bool))
    rows = rows_of(item, "defocus unknown: absence is not claimable")
    assert rows["layer_thickness_nm"].value == pytest.approx(12.0)
    assert rows["layer_coverage"].status == "not_identifiable"
    assert "defocus" in rows["layer_equivalent_thickness_nm"].note


def test_no_more_segments_than_bare_surfaces_show_are_no_layer():
    bare = np.r_[np.zeros(55), [1.4, 1.6, 1.5]]
    rows = rows_of(trace(bare, false_share=0.05))
    assert rows["layer_thickness_nm"].status == "bounded"
    assert rows["layer_thickness_nm"].lod == 1.0
    assert "3 of 58 segments" in rows["layer_thickness_nm"].note
    assert rows["layer_equivalent_thickness_nm"].status == "bounded"
    assert rows["layer_coverage"].status == "bounded"
    # As many as three in 58 come up at this share in one of twenty acquisitions.
    assert binom.cdf(3, 58, rows["layer_coverage"].lod) == pytest.approx(0.05, abs=1e-6)
    assert rows["layer_roughness_nm"].status == "not_identifiable"
    # Without a share of false ones every segment stands for itself; more than chance allows are a layer.
    assert rows_of(trace(bare))["layer_thickness_nm"].status == "identified"
    patchy = np.r_[np.zeros(48), np.full(10, 1.5)]
    assert rows_of(trace(patchy, false_share=0.05))["layer_thickness_nm"].status == "identified"


def test_chance_is_ruled_out_at_five_per_cent():
    for of in (8, 20, 58, 200):
        least = next(n for n in range(1, of) if not chance_explains(n, of, 0.05))
        assert binom.sf(least - 1, of, 0.05) <= 0.05 < binom.sf(least - 2, of, 0.05)
    assert not chance_explains(0, 58, 0.05)
    assert not chance_explains(1, 1, 0.05)


def test_few_chance_segments_without_any_limit_say_nothing():
    item = trace(np.r_[np.zeros(57), 6.0], false_share=0.05, lod=np.nan, present=np.arange(58) == 57)
    rows = rows_of(item, "defocus unknown")
    assert {row.status for row in rows.values()} == {"not_identifiable"}
