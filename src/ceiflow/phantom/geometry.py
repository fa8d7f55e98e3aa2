"""Shape of a simulated particle and of what covers it: how many nm of each material the beam crosses.

Coordinates are nm in the plane of the image, x along columns and y along rows, with the origin in the middle
of the view and on the particle's surface there (`Scene.closed`: in the particle's centre).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

# Thinner than this counts as bare: a few molecules.
BARE_BELOW_NM = 1.0
_LEAST_SLOPE = 1e-3


@dataclass(frozen=True)
class Arc:
    """What varies along the surface: `position_nm` (n,) increasing, `thickness_nm` (n,), `relief_nm` (n,)."""

    position_nm: np.ndarray
    thickness_nm: np.ndarray
    relief_nm: np.ndarray

    def at(self, name: str, position_nm: np.ndarray) -> np.ndarray:
        """Value of `name` at other positions (linear between the samples)."""
        return np.interp(position_nm, self.position_nm, getattr(self, name))


@dataclass(frozen=True)
class Scene:
    """One particle in one view.

    Parameters
    ----------
    kind : "sphere" or "facet"
        A ball of `radius_nm`, cut to a slab of `depth_nm` along the beam; or a plane tilted by `tilt_rad`
        from the beam.
    arc : Arc
        Layer thickness and relief along the surface; position 0 is the surface in the middle of the view.
    angle_rad : float
        Direction of the outward normal there, from the columns' axis towards the rows'.
    skin_nm : float
        Depth of the reduced (rock-salt) surface; it belongs to the particle, not to the layer.
    closed : bool
        The view holds the whole particle (sphere only) and its centre is the origin.
    """

    kind: str
    arc: Arc
    radius_nm: float = math.inf
    depth_nm: float = 50.0
    tilt_rad: float = 0.0
    angle_rad: float = 0.0
    skin_nm: float = 0.0
    closed: bool = False


def smooth_noise(
    rng: np.random.Generator, count: int, step_nm: float, correlation_nm: float, periodic: bool = False
) -> np.ndarray:
    """Gaussian noise of unit variance whose autocorrelation is exp(-(s / correlation_nm)^2).

    Parameters
    ----------
    count, step_nm : int, float
        Samples and their distance.
    periodic : bool
        The last sample is the first one's neighbour.
    """
    sigma = correlation_nm / 2 / step_nm
    margin = 0 if periodic else math.ceil(4 * sigma)
    white = rng.standard_normal(count + 2 * margin)
    smooth = gaussian_filter1d(white, sigma, mode="wrap", truncate=4.0)[margin : margin + count]
    kernel = gaussian_filter1d(
        np.eye(1, 2 * math.ceil(4 * sigma) + 1, math.ceil(4 * sigma))[0], sigma, mode="constant"
    )
    return smooth / math.sqrt(np.sum(kernel**2))


def make_arc(
    rng: np.random.Generator,
    length_nm: float,
    thickness_nm: float = 0.0,
    sd_nm: float = 1.0,
    correlation_nm: float = 15.0,
    bare_fraction: float = 0.0,
    bare_correlation_nm: float = 12.0,
    relief_nm: float = 0.0,
    relief_correlation_nm: float = 25.0,
    patches: tuple[dict, ...] = (),
    periodic: bool = False,
    step_nm: float = 0.25,
) -> Arc:
    """Draw the layer along a surface.

    Parameters
    ----------
    length_nm : float
        Arc length; positions run from -length/2 to length/2.
    thickness_nm, sd_nm, correlation_nm : float
        Mean, standard deviation and correlation length (1/e) of the thickness where there is a layer; mean 0
        is none.
    bare_fraction : float
        Share of the arc without layer, in runs whose length is set by `bare_correlation_nm`.
    relief_nm, relief_correlation_nm : float
        Standard deviation and correlation length of the particle's own surface.
    patches : tuple of dict
        Islands on an else bare surface: position_nm, length_nm, thickness_nm.
    """
    count = max(round(length_nm / step_nm), 8)
    position = (np.arange(count) - (count - 1) / 2) * (length_nm / count)
    relief = relief_nm * smooth_noise(rng, count, step_nm, relief_correlation_nm, periodic)
    field = smooth_noise(rng, count, step_nm, correlation_nm, periodic)
    cover = smooth_noise(rng, count, step_nm, bare_correlation_nm, periodic)
    if thickness_nm > 0:
        covered = (
            (cover >= np.quantile(cover, bare_fraction)).astype(float)
            if bare_fraction > 0
            else np.ones(count)
        )
        # A layer does not end in a cliff.
        covered = gaussian_filter1d(covered, 1.0 / step_nm, mode="wrap" if periodic else "nearest")
        thickness = np.maximum(thickness_nm + sd_nm * field, 0.1 * thickness_nm) * covered
    else:
        thickness = np.zeros(count)
    for patch in patches:
        inside = np.abs(position - patch.get("position_nm", 0.0)) < patch["length_nm"] / 2
        island = gaussian_filter1d(inside * float(patch["thickness_nm"]), 1.0 / step_nm)
        thickness = np.maximum(thickness, island)
    return Arc(position, thickness, relief)


def _along_and_across(scene: Scene, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the outward normal at position 0, and along the surface there."""
    cosine, sine = math.cos(scene.angle_rad), math.sin(scene.angle_rad)
    return x * cosine + y * sine, y * cosine - x * sine


def paths(scene: Scene, x_nm: np.ndarray, y_nm: np.ndarray) -> dict[str, np.ndarray]:
    """Length of the beam's way through each material.

    Parameters
    ----------
    x_nm, y_nm : arrays that broadcast
        Points in the image plane.

    Returns
    -------
    dict of str to array
        "oxide" (without the skin), "skin", "layer" in nm; "height": distance from the surface in nm, negative
        inside (along the radius or the facet's normal, at mid depth); "position": arc position in nm.
    """
    u, v = _along_and_across(scene, x_nm, y_nm)
    if scene.kind == "facet":
        thickness, relief = scene.arc.at("thickness_nm", v), scene.arc.at("relief_nm", v)
        slope, cosine = max(math.tan(scene.tilt_rad), _LEAST_SLOPE), math.cos(scene.tilt_rad)

        def chord(shift: np.ndarray | float) -> np.ndarray:
            return np.clip(scene.depth_nm / 2 - (u - relief - shift / cosine) / slope, 0, scene.depth_nm)

        height, position = (u - relief) * cosine, v
    else:
        offset = 0.0 if scene.closed else scene.radius_nm
        radial = np.hypot(u + offset, v)
        position = np.arctan2(v, u + offset) * scene.radius_nm
        thickness, relief = scene.arc.at("thickness_nm", position), scene.arc.at("relief_nm", position)
        surface = scene.radius_nm + relief

        def chord(shift: np.ndarray | float) -> np.ndarray:
            squared = np.maximum((surface + shift) ** 2 - radial**2, 0)
            return np.minimum(2 * np.sqrt(squared), scene.depth_nm)

        height = radial - surface
    whole, inner = chord(0.0), chord(-scene.skin_nm)
    return {
        "oxide": inner,
        "skin": whole - inner,
        "layer": chord(thickness) - whole,
        "height": height,
        "position": position,
    }


def pixel_centres(shape: tuple[int, int], pixel_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """x (1, columns) and y (rows, 1) of the pixels' centres in nm, origin in the middle of the view."""
    rows, columns = shape
    return (
        ((np.arange(columns) - (columns - 1) / 2) * pixel_nm)[None, :],
        ((np.arange(rows) - (rows - 1) / 2) * pixel_nm)[:, None],
    )


def pixel_paths(
    scene: Scene,
    shape: tuple[int, int],
    pixel_nm: float,
    oversample: int = 5,
    probe_fwhm_nm: float = 0.0,
    tail_share: float = 0.0,
    tail_fwhm_nm: float = 10.0,
) -> dict[str, np.ndarray]:
    """Mean way through each material over every pixel of a scan, with the probe's width.

    Parameters
    ----------
    shape : (rows, columns)
    oversample : int
        Samples a pixel in each direction.
    probe_fwhm_nm, tail_share, tail_fwhm_nm : float
        The probe: a Gaussian, and a wider one that holds `tail_share` of the current.

    Returns
    -------
    dict of str to (rows, columns) float64 array
        "oxide", "skin", "layer" as in `paths`; "height" and "position" at the pixel's centre, without blur.
    """
    widest = max(probe_fwhm_nm, tail_fwhm_nm if tail_share else 0.0)
    margin = math.ceil(1.5 * widest / pixel_nm) if widest else 0
    rows, columns = (side + 2 * margin for side in shape)
    fine = paths(scene, *pixel_centres((rows * oversample, columns * oversample), pixel_nm / oversample))
    inner = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    step = pixel_nm / oversample

    def collect(field: np.ndarray) -> np.ndarray:
        blurred = gaussian_filter(field, probe_fwhm_nm / 2.3548 / step) if probe_fwhm_nm else field
        if tail_share:
            tail = gaussian_filter(field, tail_fwhm_nm / 2.3548 / step)
            blurred = (1 - tail_share) * blurred + tail_share * tail
        return blurred.reshape(rows, oversample, columns, oversample).mean((1, 3))[inner]

    result = {name: collect(fine[name]) for name in ("oxide", "skin", "layer")}
    centre = paths(scene, *pixel_centres(shape, pixel_nm))
    return {**result, "height": centre["height"], "position": centre["position"]}


def surface_in_view(scene: Scene, shape: tuple[int, int], pixel_nm: float) -> dict[str, np.ndarray]:
    """The part of the surface that lies in a view.

    Returns
    -------
    dict of str to (n,) array
        position_nm, thickness_nm, row, column (pixels; the surface at mid depth).
    """
    s = scene.arc.position_nm
    if scene.kind == "facet":
        u, v = scene.arc.relief_nm, s
    else:
        offset = 0.0 if scene.closed else scene.radius_nm
        radius = scene.radius_nm + scene.arc.relief_nm
        u, v = radius * np.cos(s / scene.radius_nm) - offset, radius * np.sin(s / scene.radius_nm)
    cosine, sine = math.cos(scene.angle_rad), math.sin(scene.angle_rad)
    column = (u * cosine - v * sine) / pixel_nm + (shape[1] - 1) / 2
    row = (u * sine + v * cosine) / pixel_nm + (shape[0] - 1) / 2
    inside = (row >= -0.5) & (row <= shape[0] - 0.5) & (column >= -0.5) & (column <= shape[1] - 0.5)
    if scene.kind == "sphere":
        inside &= np.abs(s) <= math.pi * scene.radius_nm
    fields = {"position_nm": s, "thickness_nm": scene.arc.thickness_nm, "row": row, "column": column}
    return {name: values[inside] for name, values in fields.items()}


def layer_truth(surface: dict[str, np.ndarray], closed: bool = False) -> dict[str, float]:
    """The endpoints of a layer, from the surface that `surface_in_view` gives.

    Returns
    -------
    dict
        thickness_nm (mean over the covered part; NaN where nothing is), coverage, equivalent_thickness_nm,
        longest_bare_nm, roughness_nm (SD over the covered part), arc_length_nm.
    """
    thickness, position = surface["thickness_nm"], surface["position_nm"]
    step = float(np.median(np.diff(position))) if position.size > 1 else 0.0
    covered = thickness >= BARE_BELOW_NM
    longest = run = 0
    for bare in np.tile(~covered, 2 if closed else 1):
        run = run + 1 if bare else 0
        longest = max(longest, run)
    return {
        "thickness_nm": float(thickness[covered].mean()) if covered.any() else math.nan,
        "coverage": float(covered.mean()) if covered.size else math.nan,
        "equivalent_thickness_nm": float(thickness.mean()) if covered.size else math.nan,
        "longest_bare_nm": min(longest, covered.size) * step,
        "roughness_nm": float(thickness[covered].std()) if covered.any() else math.nan,
        "arc_length_nm": covered.size * step,
    }
