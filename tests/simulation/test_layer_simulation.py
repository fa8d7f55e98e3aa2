"""Thickness, intervals and detection in simulated spectrum images with a known truth; a small seeded run."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.simulation


@pytest.fixture(scope="module")
def accuracy():
    path = Path(__file__).parents[2] / "benchmarks" / "layer" / "accuracy.py"
    spec = importlib.util.spec_from_file_location("layer_accuracy", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table(accuracy):
    return accuracy.run("maps", 1, 3, thicknesses=(0.0, 2.0, 10.0), doses=(750.0, 3500.0))


def test_bare_surfaces_are_not_called_covered(accuracy, table):
    bare = accuracy.merged(table, lambda t, *_: t == 0)
    assert "identified" not in bare.said
    assert np.mean(bare.false) <= 0.05


def test_layers_above_twice_the_limit_are_not_missed(accuracy, table):
    covered = accuracy.merged(table, lambda t, *_: t > 0)
    assert len(covered.missed) > 30
    assert np.mean(covered.missed) <= 0.05


def test_intervals_cover(accuracy, table):
    every = accuracy.merged(table, lambda *_: True)
    assert len(every.inside) > 60
    # A hundred segments that share blur and amplitude: .95 within what so few can show.
    assert np.mean(every.inside) >= 0.88
    assert np.mean(np.abs(every.mean_z) < 2) >= 0.8


def test_thickness_has_little_bias(accuracy, table):
    thick = accuracy.merged(table, lambda t, dose, *_: t == 10 and dose == 3500)
    assert abs(np.mean(thick.error)) < 0.3
    assert np.sqrt(np.mean(np.square(thick.fraction))) < 0.1
