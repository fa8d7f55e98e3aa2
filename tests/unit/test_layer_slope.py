"""A rim is held against slopes of the particle: made images of a wedge, a rounded edge and a true layer."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ceiflow.layer import rim
from ceiflow.layer.kernels import basis
from ceiflow.study import load_config

PIXEL_NM, SIDE = 0.6, 220


def _seen(profile, seed=4, modality="adf"):
    """What is said of a straight particle whose mass thickness is `profile` of the depth below its edge."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((SIDE, SIDE)) * PIXEL_NM
    wave = 0.5 * np.sin(2 * np.pi * rows / 47 + 1.0) + 0.3 * np.sin(2 * np.pi * rows / 19)
    depth = 70.0 + wave - 0.1 * rows - columns
    mean = gaussian_filter(200.0 * profile(depth), 0.7 / PIXEL_NM) + 0.6
    header = SimpleNamespace(modality=modality, metadata={})
    return rim.measure(rng.poisson(mean).astype(np.float32), PIXEL_NM, header, load_config({}))


def _layer(depth, thickness=6.0, share=0.3):
    return np.where(depth > 0, 1.0, share * (depth > -thickness))


def _bevel(depth, width=9.0, share=0.35):
    """Rises evenly to a share of the particle's height, and from there steeply."""
    foot = np.clip((depth + width) / width, 0, 1)
    return share * foot + (1 - share) * np.clip(depth / 3, 0, 1)


def _rounded(depth, width=20.0):
    share = np.clip(depth / width, 0, 1)
    return np.sqrt(share * (2 - share))


def test_wedge_is_the_mean_of_layers_of_all_thicknesses():
    x = np.linspace(-8, 12, 81)[None, :]
    one = np.ones((1, 1))
    wedge = basis("wedge", x, 0.5 * one, 4.0 * one, 0.6, 0 * one)[3]
    slabs = [basis("planar", x, 0.5 * one, t * one, 0.6, one)[3] for t in np.arange(0.005, 4.0, 0.01)]
    assert np.allclose(wedge, np.mean(slabs, axis=0), atol=1e-4)


def test_layer_is_measured_and_clearly_no_wedge():
    seen = _seen(_layer)
    assert seen.trace is not None
    present = seen.trace.present
    assert present.mean() > 0.9
    assert seen.trace.thickness_nm[present].mean() == pytest.approx(6.0, abs=0.3)
    assert seen.entry["rim"]["for_layer"] > 2 * rim.CLEAR
    assert seen.entry["rim"]["brightness"] == pytest.approx(0.3, abs=0.05)


def test_bevelled_particle_is_not_called_a_layer():
    seen = _seen(_bevel)
    assert seen.trace is None
    assert "wedge that thins out to nothing" in seen.reason
    assert seen.entry["rim"]["for_layer"] < rim.CLEAR


def test_rounded_edge_is_not_called_a_layer():
    """Its outermost step is the steepest, which no faint layer's is."""
    seen = _seen(_rounded)
    assert seen.trace is None
    assert "rounded or leaning edge" in seen.reason
    # A wedge is not what it looks like.
    assert seen.entry["rim"]["for_layer"] > rim.CLEAR


def test_bright_rim_is_refused_in_dark_field_alone():
    found = rim.Rim(5.0, 7.0, for_layer=60.0, brightness=0.7, concave=True)
    assert "rounded or leaning edge" in rim.why_no_layer(found, rim.CLEAR, concave=True)
    assert rim.why_no_layer(found, rim.CLEAR, concave=False) == ""
