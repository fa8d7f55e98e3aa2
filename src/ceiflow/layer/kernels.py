"""What a sharp edge looks like along the outward normal, once projected and blurred.

`u` is the distance from the edge, positive outside; every function falls from its inner value to zero
over the blur `w` (one standard deviation of a Gaussian). Arrays broadcast.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Range of the table of blurred powers, in blurs; beyond it their series is exact to six digits.
_LOW, _HIGH = -6.0, 30.0


@lru_cache(maxsize=1)
def _blurred_powers():
    """Spline of E[(z + n)_+^p] for p = 1/2 and 3/2 (last axis) and a standard normal n."""
    from scipy.interpolate import CubicSpline

    z = np.linspace(_LOW, _HIGH, 721)
    # With v^2 for z + n the integrand is smooth, and an equidistant sum is exact for practical purposes.
    v = (np.arange(6000) + 0.5) * (np.sqrt(_HIGH + 7.0) / 6000)
    density = np.exp(-0.5 * (v**2 - z[:, None]) ** 2) * (2 * v * (v[1] - v[0]) / np.sqrt(2 * np.pi))
    return CubicSpline(z, np.stack([density @ v, density @ v**3], axis=1))


def _powers(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    both = _blurred_powers()(np.clip(z, _LOW, _HIGH))
    below = z < _LOW
    first, second = (np.where(below, 0.0, both[..., p]) for p in (0, 1))
    beyond = z >= _HIGH
    if beyond.any():
        far = z[beyond]
        root = np.sqrt(far)
        first[beyond] = root * (1 - 0.125 / far**2)
        second[beyond] = root * far * (1 + 0.375 / far**2)
    return first, second


def step(u: FloatArray, w: FloatArray) -> FloatArray:
    """Blurred step: 1 inside, 0 outside. The projection of a slab seen edge-on."""
    from scipy.special import ndtr

    return ndtr(-u / w)


def ramp(u: FloatArray, w: FloatArray) -> FloatArray:
    """Blurred depth below the edge, in the unit of `u`: what a wedge adds to a slab."""
    return _ramp(u, w, step(u, w))


def _ramp(u: FloatArray, w: FloatArray, below: FloatArray) -> FloatArray:
    """The ramp whose `step` is known already: most shapes need both."""
    z = -u / w
    return w * (z * below + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def sloping(u: FloatArray, w: FloatArray, half: FloatArray) -> FloatArray:
    """Step that falls linearly from `u` = -half to half, blurred: the mean of sharp steps in between."""
    return (ramp(u - half, w) - ramp(u + half, w)) / (2 * half)


def chord(u: FloatArray, w: FloatArray, radius: FloatArray) -> FloatArray:
    """Blurred length of the beam's path through a sphere, in the unit of `u`.

    Parameters
    ----------
    u : array
        Distance from the limb, negative inside.
    w : array or float
        Blur.
    radius : array or float
        Of the sphere.
    """
    return _chord(u, w, radius, ramp(u, w))


def _chord(u: FloatArray, w: FloatArray, radius: FloatArray, depth: FloatArray) -> FloatArray:
    """The chord whose `ramp` is known already."""
    half, three_halves = _powers(-u / w)
    half, three_halves = np.sqrt(w) * half, w * np.sqrt(w) * three_halves
    # 2 sqrt(a (2R - a)): the root at the limb is blurred exactly, the slow factor by its first two terms.
    mean = np.minimum(depth, radius)
    slow = np.sqrt(2.0 * radius - mean)
    return 2.0 * (slow * half - (three_halves - mean * half) / (2.0 * slow))


def basis(
    kind: str, x: FloatArray, x_in: FloatArray, thickness: FloatArray, w: FloatArray, radius: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The shapes that a profile is a sum of.

    Parameters
    ----------
    kind : {"planar", "shell", "tilted", "wedge"}
        A slab on a slab, a spherical shell on a sphere, or a slab on a facet that is not quite edge-on: its
        projection falls linearly over twice `radius`. A wedge is no layer: in place of the slab something
        that thins out evenly, from the particle's edge to nothing at the outer end.
    x : array
        Distance from the contour.
    x_in, thickness, w, radius : arrays that broadcast with `x`
        Position of the particle's edge, layer thickness (any sign; length of a wedge), blur, radius of the
        particle (half the width of a tilted facet's projection; 0 for a wedge).

    Returns
    -------
    particle, depth, inner, layer : arrays
        Particle material, a linear addition to it, a constant inside, and the layer's material. For a
        slab `layer` is 1 within the layer; for a shell it is the path length through the layer.
    """
    u = x - x_in
    if kind == "tilted":
        inner = sloping(u, w, radius)
        return inner, ramp(u, w), inner, outside(kind, u - thickness, w, radius) - inner
    inner = step(u, w)
    depth = _ramp(u, w, inner)
    particle = _chord(u, w, radius, depth) if kind == "shell" else inner
    return particle, depth, inner, outside(kind, u - thickness, w, radius + thickness) - particle


def outside(kind: str, u: FloatArray, w: FloatArray, radius: FloatArray) -> FloatArray:
    """What particle and layer together look like: `u` from the layer's outer edge, `radius` of that edge.

    Parameters
    ----------
    kind : {"planar", "shell", "tilted", "wedge"}
    u, w, radius : arrays
        As for `basis`; a tilted facet's `radius` is that of the facet itself, a wedge's is its length.
    """
    if kind == "tilted":
        return sloping(u, w, radius)
    if kind == "wedge":
        half = np.maximum(radius, 1e-3) / 2
        return sloping(u + half, w, half)
    return step(u, w) if kind == "planar" else chord(u, w, np.maximum(radius, 1e-3))
