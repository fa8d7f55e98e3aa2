"""Errors of the fit on spectra of the phantom that nothing was tuned on: what is stated is what scatters."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "quantification"
DRAWS = 40


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    sys.path.insert(0, str(BENCHMARK))
    try:
        validation = pytest.importorskip("validation")
    finally:
        sys.path.remove(str(BENCHMARK))
    found = []
    for index in (1, 3, 4):
        found += validation.judge(validation.SCENES[index], DRAWS, tmp_path_factory.mktemp("scene"))
    return found


@pytest.mark.simulation
def test_intervals_cover(results):
    zones = np.array([item.coverage for item in results])
    pixels = np.array([item.pixel_coverage for item in results])
    assert 0.93 <= zones.mean() <= 0.97
    assert 0.93 <= pixels.mean() <= 0.97
    # 40 draws: three standard errors of a coverage below 95 %, and a pixel zone has four times as many.
    assert zones.min() >= 0.84
    assert pixels.min() >= 0.87


@pytest.mark.simulation
def test_errors_are_the_scatter(results):
    scatter = np.array([item.spread for item in results])
    assert np.sqrt(np.mean(scatter**2)) == pytest.approx(1.0, abs=0.08)
    assert scatter.max() < 1.5


@pytest.mark.simulation
def test_truth_lies_within_both_errors(results):
    off = np.array([(item.value - item.truth) / item.error for item in results])
    assert np.sqrt(np.mean(off**2)) < 1.6
    assert np.abs(off).max() < 4.0
    assert np.mean([item.holds_truth for item in results]) > 0.93


@pytest.mark.simulation
def test_a_thick_layer_keeps_its_fluorine_and_has_no_manganese(results):
    layer = {r.element: r for r in results if r.scene == "thick" and r.zone == "layer"}
    assert layer["F"].value == pytest.approx(layer["F"].truth, rel=0.12)
    assert abs(layer["Mn"].value) < 3 * layer["Mn"].error
    assert abs(layer["Mn"].value) < 0.05 * layer["F"].truth
