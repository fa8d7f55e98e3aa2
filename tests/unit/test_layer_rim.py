"""The rim in images: slope of a tilted facet, distances in the band alone, when a spot names a crystal."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import erfc

from ceiflow.images.amorphous import naming_bar
from ceiflow.layer import rim
from ceiflow.layer.batch import Batch, fit
from ceiflow.layer.distance import distance_and_position
from ceiflow.layer.estimate import estimate
from ceiflow.layer.kernels import basis
from ceiflow.layer.null import undecided
from ceiflow.layer.profile import Species
from ceiflow.layer.starts import start
from ceiflow.layer.surface import trace_surface
from ceiflow.phantom.geometry import Scene, make_arc, surface_in_view
from ceiflow.phantom.images import overview
from ceiflow.phantom.materials import MATERIALS
from ceiflow.phantom.optics import Lens
from ceiflow.study import load_config

#: Ends between which a view is drawn, in the order of drawing.
VIEW = {"radius_nm": (80, 300), "tilt_rad": (0, 0.015), "angle_rad": (-0.5, 0.5)}


def test_tilted_facet_is_the_mean_of_edges_at_all_depths():
    x = np.linspace(-8, 12, 81)[None, :]
    one = np.ones((1, 1))
    inner, _, _, layer = basis("tilted", x, 0.5 * one, 3.0 * one, 0.6, 2.0 * one)
    sharp = [
        basis("planar", x, (0.5 + s) * one, 3.0 * one, 0.6, one) for s in np.linspace(-1.995, 1.995, 400)
    ]
    assert np.allclose(inner, np.mean([item[0] for item in sharp], axis=0), atol=1e-4)
    assert np.allclose(layer, np.mean([item[3] for item in sharp], axis=0), atol=1e-4)
    # What stands in the layer does not hang on the tilt.
    assert float(layer.sum() * (x[0, 1] - x[0, 0])) == pytest.approx(3.0, abs=1e-3)


def test_distances_in_reach_are_the_same_and_others_are_left_out():
    rows, columns = np.indices((120, 140))
    values = 30.0 - np.hypot(rows - 60, columns - 60)
    surface = trace_surface(values, 0.0, 0.5)
    whole, position, index = distance_and_position(surface)
    near, near_position, near_index = distance_and_position(surface, reach_nm=(4.0, 8.0))
    band = (whole > -4.0) & (whole < 8.0)
    assert np.array_equal(near[band], whole[band])
    assert np.array_equal(near_position[band], position[band])
    assert np.array_equal(near_index[band], index[band])
    far = (whole < -8.0) | (whole > 12.0)
    assert far.any()
    assert np.isnan(near[far]).all()
    assert (near_index[far] == -1).all()


def test_bar_for_a_name_is_above_that_of_a_known_background_and_grows_with_the_area():
    known = np.log(200 * np.pi / 2 * (5.5**2 - 1.3**2) / 0.01)
    bars = [naming_bar(area, 1.3, 5.5) for area in (10.0, 200.0, 2000.0)]
    assert bars[1] > known
    assert bars == sorted(bars)


def _rim_of(share, thickness_pixels, seed=5):
    """A straight particle (1), a rim of `share` of its brightness with fringes at its outer edge, vacuum."""
    rng = np.random.default_rng(seed)
    columns = np.indices((220, 220))[1]
    relief = 12 * gaussian_filter(rng.standard_normal(220), 8, mode="wrap")[:, None]
    outer = 80 + thickness_pixels + (relief if thickness_pixels else 0.0) + np.zeros((220, 1))
    particle, matter = columns < 80, columns < outer
    clean = gaussian_filter(np.where(particle, 1.0, np.where(matter, share, 0.0)), 0.8)
    past = (columns - outer) / 2.0
    fringes = -0.1 * np.sin(2 * past) * np.exp(-(past**2)) if thickness_pixels else 0.0
    return clean + fringes + 0.03 * rng.standard_normal(clean.shape), outer.ravel() - 80


def test_contour_keeps_off_a_rim_of_half_the_brightness():
    smooth = gaussian_filter(_rim_of(0.5, 20)[0], 0.7)
    level = rim.between_plateaus(smooth, 0.5, 40)
    assert 0.6 < level < 0.9
    # Half the height passes through all of the rim, the level does not.
    band = smooth[:, 84:96]
    assert (band > 0.5).mean() > 0.2
    assert (band > level).mean() < 0.002


def test_contour_of_a_bare_edge_stays_at_half_height():
    smooth = gaussian_filter(_rim_of(0.5, 0)[0], 0.7)
    assert rim.between_plateaus(smooth, 0.5, 40) == 0.5


def _overview(rng, arc, side, **scene):
    """What the rim says of a simulated overview, and the layer that is in its view."""
    scene = Scene(arc=arc, depth_nm=300.0, **scene)
    materials = {"oxide": MATERIALS["NMC532"], "skin": MATERIALS["rocksalt"], "layer": MATERIALS["Li2CO3"]}
    lens = Lens(defocus_nm=800.0, dose_e_per_A2=20.0)
    image = overview(scene, materials, lens, rng, (side, side), 0.78).counts.astype(float)
    known = {"defocus_nm": 800.0, "beam_energy_keV": 300.0}
    metadata = {name: SimpleNamespace(known=True, value=value) for name, value in known.items()}
    seen = rim.measure(image, 0.78, SimpleNamespace(modality="tem", metadata=metadata), load_config({}))
    return seen, surface_in_view(scene, (side, side), 0.78)["thickness_nm"]


def test_overview_of_a_thick_layer_is_measured_and_not_called_bare():
    rng = np.random.default_rng([200, 100, 20, 1, 0])
    arc = make_arc(rng, 2000.0, thickness_nm=10.0, sd_nm=1.0, bare_fraction=0.0, relief_nm=0.5)
    seen, truth = _overview(rng, arc, 256, kind="facet", radius_nm=89.3, tilt_rad=0.0081, angle_rad=-0.4914)
    present = seen.trace.present
    assert present.mean() > 0.95
    wrong = float(seen.trace.thickness_nm[present].mean() - truth.mean())
    assert abs(wrong) < 2 * seen.trace.sys_nm


def test_fringes_of_a_bare_sphere_are_no_layer():
    """Segments that stand out, their own mean fitted, looked like one: 48 of 70."""
    rng = np.random.default_rng([601, 0, 20, 0, 0])
    arc = make_arc(rng, 2000.0, thickness_nm=0.0, sd_nm=0.0, bare_fraction=0.0, relief_nm=0.5)
    view = {name: float(rng.uniform(*ends)) for name, ends in VIEW.items()}
    seen, _ = _overview(rng, arc, 384, kind="sphere", **view)
    assert seen.trace is None
    assert "mean profile is no better with a layer than without" in seen.reason


def _fringed(height, width_nm, share=0.45, layer_nm=0.0, seed=7):
    """Pixels of a straight edge at 0.5 nm pixels, in 12 segments, with one fringe outside of it."""
    rng = np.random.default_rng(seed)
    distance, segment = (
        item.ravel() for item in np.meshgrid(np.arange(-15, 25, 0.11), np.repeat(np.arange(12), 8))
    )
    clean = np.where(distance < 0, 1.0, np.where(distance < layer_nm, share, 0.0))
    clean = clean + np.where((distance >= layer_nm) & (distance < layer_nm + width_nm), height, 0.0)
    values = clean + 0.1 * rng.standard_normal(len(clean))
    variance = np.full(len(values), 0.01)
    species = Species(
        "contrast", values, variance, particle=True, layered=True, reference_ratio=0.45, dense_ratio=0.45
    )
    return estimate(
        distance, segment, [species], 12, np.full(12, np.inf), 0.5, max_thickness_nm=20.0, inner_nm=10.0
    )


def test_what_outshines_the_particle_is_a_fringe_and_no_layer():
    fringe = _fringed(height=1.6, width_nm=0.9)
    assert not fringe.present.any()
    assert any("fringe" in note for note in fringe.notes)
    layer = _fringed(height=0.0, width_nm=0.0, layer_nm=5.0)
    assert layer.present.all()
    assert np.allclose(layer.thickness_nm, 5.0, atol=0.5)


def _segments(noise, seed=3):
    """Twelve bare segments in one map that holds particle and layer, at a blur of 1 nm, fitted."""
    rng = np.random.default_rng(seed)
    x = np.tile(np.arange(-12, 20, 0.5), (12, 1))
    y = 0.5 * erfc(x / np.sqrt(2)) + noise * rng.standard_normal(x.shape)
    yes = np.array([True])
    batch = Batch(x, y[None], np.full((1, *x.shape), noise**-2), yes, yes, np.full(12, 1e6))
    common = {"prior_x": (0.0, 1.0), "thickness_range": (-0.5, 20.0)}
    return batch, fit("planar", batch, start(12, yes), 1.0, np.array([0.45]), **common)


def test_segment_that_fits_bare_and_covered_alike_is_left_out():
    limit = np.full(12, 1.0)
    batch, fitted = _segments(noise=0.01)
    limits = np.maximum(limit, 1.5 * fitted.thickness)
    assert not undecided("planar", batch, fitted, limits, 1.0, 20.0).any()
    # With forty times the noise nothing speaks against a layer of twice the same limit.
    batch, fitted = _segments(noise=0.4)
    below = fitted.thickness <= limit
    assert below.any()
    assert undecided("planar", batch, fitted, limit, 1.0, 20.0)[below].all()
    assert not undecided("planar", batch, fitted, limit, 1.0, 20.0)[~below].any()
    assert not undecided("planar", batch, fitted, np.full(12, np.nan), 1.0, 20.0).any()
