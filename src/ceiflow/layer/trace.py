"""The layer along the surface of a spectrum image, from fitted maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.elements import REFERENCE_RELATIVE_SYS, Choice, _smooth
from ceiflow.layer.estimate import estimate
from ceiflow.layer.profile import Profile, detection_floor_nm
from ceiflow.layer.segments import Segments, divide, split
from ceiflow.layer.summary import LIMIT_QUANTILE, Trace
from ceiflow.layer.surface import Surface, distance_and_position, trace_surface

FloatArray = NDArray[np.float64]

#: Segments grow, up to this many times, until a bare surface's detection limit is below the target.
LARGEST_SEGMENT = 5.0
#: Target of the detection limit: what an absence claim commonly asks, or three quarters of a pixel.
TARGET_NM, TARGET_PIXELS = 1.9, 0.75
#: A segment whose chi-square is this many times the usual one holds several thicknesses: it is cut in two,
#: twice at most, down to this share of the usual length.
MIXED_CHI2, MIXED_SHARE = 2.0, 0.25
#: Depth of the profile inside the particle: enough to know its level and slope.
INNER_NM, INNER_PIXELS = 12.0, 5.0


@dataclass
class Found:
    """What was found along the surface of one spectrum image.

    Parameters
    ----------
    surface : Surface
    segments : Segments
    segment_nm : float
        Length of segments that was used.
    distance_nm : (rows, columns) array
        From the contour.
    position_nm : (rows, columns) array
    index : (rows, columns) int array
        Nearest contour point of each pixel.
    segment_map : (rows, columns) int array
    profile : Profile or None
    trace : Trace or None
    reason : str
        Why there is no trace.
    notes : list of str
    """

    surface: Surface
    segments: Segments
    segment_nm: float
    distance_nm: FloatArray
    position_nm: FloatArray
    index: NDArray[np.intp]
    segment_map: NDArray[np.intp]
    profile: Profile | None = None
    trace: Trace | None = None
    reason: str = ""
    notes: list[str] = field(default_factory=list)


def find_layer(choice: Choice, pixel_nm: float, settings: dict) -> Found:
    """Surface, profile and thickness.

    Parameters
    ----------
    choice : Choice
        The particle's map and the species.
    pixel_nm : float
    settings : dict
        The configuration's `layer`.
    """
    smooth = _smooth(choice.values, choice.sigma_pixels)
    view = min(settings["max_thickness_nm"] / 2, 0.3 * max(smooth.shape) * pixel_nm)
    surface = trace_surface(
        smooth,
        choice.level,
        pixel_nm,
        smooth_nm=max(2.0, choice.sigma_pixels) * pixel_nm,
        view_nm=view,
        facing_nm=settings["max_thickness_nm"],
        min_diameter_nm=6 * pixel_nm,
    )
    distance, position, index = distance_and_position(surface)
    segments = divide(surface, settings["segment_nm"])
    found = Found(
        surface, segments, settings["segment_nm"], distance, position, index, segments.of_pixels(index)
    )
    if choice.reason or surface.length_nm == 0:
        found.reason = choice.reason or _why_no_surface(surface)
        return found
    length = settings["segment_nm"]
    while True:
        found = _divided(divide(surface, length), found, length)
        found.profile = _profile(found, choice, pixel_nm, settings)
        limit = float(np.nanquantile(settings["detection_sigma"] * found.profile.null_std_nm, LIMIT_QUANTILE))
        target = max(TARGET_NM, TARGET_PIXELS * pixel_nm)
        longest = min(LARGEST_SEGMENT * settings["segment_nm"], surface.length_nm)
        known = found.profile.amplitude_source != "none"
        if not (known and limit > target) or length >= 0.99 * longest:
            break
        length = min(length * float(np.clip((limit / target) ** 2, 1.2, 4.0)), longest)
    if length > 1.01 * settings["segment_nm"]:
        found.notes.append(
            f"segments enlarged from {settings['segment_nm']:g} to {length:.3g} nm: few counts"
        )
    if known and limit > target:
        found.notes.append(f"few counts: detection limit {limit:.2g} nm")
    found = _refined(found, choice, pixel_nm, settings)
    found.notes += found.profile.notes
    found.trace = _trace(found, pixel_nm)
    if found.profile.amplitude_source == "none":
        found.reason = found.profile.notes[-1]
    return found


def _why_no_surface(surface: Surface) -> str:
    lost = {name: value for name, value in surface.lost_nm.items() if value > 0}
    if not lost:
        return "no surface in view"
    parts = ", ".join(f"{value:.3g} nm {_LOST[name]}" for name, value in sorted(lost.items()))
    return f"no surface with room for a layer in view ({parts})"


_LOST = {"frame": "too near to the frame", "facing": "facing another particle"}


def _divided(segments: Segments, before: Found, length: float) -> Found:
    index = before.index
    return Found(
        before.surface, segments, float(length), before.distance_nm, before.position_nm, index,
        segments.of_pixels(index), notes=list(before.notes),
    )  # fmt: skip


def _refined(found: Found, choice: Choice, pixel_nm: float, settings: dict) -> Found:
    """Segments that one thickness does not describe are cut: they hold the end of a bare run, or a step."""
    for _ in range(2):
        profile = found.profile
        if profile.amplitude_source != "profile":
            break
        usual = float(np.median(profile.segment_chi2))
        bad = (profile.segment_chi2 > MIXED_CHI2 * usual) & (profile.segment_chi2 > usual + MIXED_CHI2 / 4)
        finer = split(found.surface, found.segments, bad, max(pixel_nm, MIXED_SHARE * settings["segment_nm"]))
        if len(finer) == len(found.segments):
            break
        found = _divided(finer, found, found.segment_nm)
        found.profile = _profile(found, choice, pixel_nm, settings)
    return found


def _profile(found: Found, choice: Choice, pixel_nm: float, settings: dict) -> Profile:
    deepest = float(-np.nanmin(np.where(found.segment_map >= 0, found.distance_nm, np.nan), initial=0.0))
    inner = max(INNER_NM, INNER_PIXELS * pixel_nm)
    return estimate(
        found.distance_nm.ravel(),
        found.segment_map.ravel(),
        choice.species,
        len(found.segments),
        found.segments.radius_nm,
        pixel_nm,
        max_thickness_nm=settings["max_thickness_nm"],
        inner_nm=min(inner, max(0.8 * deepest, 3 * pixel_nm)),
        detection_sigma=settings["detection_sigma"],
    )


def _trace(found: Found, pixel_nm: float) -> Trace:
    profile, segments = found.profile, found.segments
    inner = segments.point + segments.normal * (profile.x_in_nm / pixel_nm)[:, None]
    thick = np.where(profile.present, profile.thickness_nm, 0.0)
    by_reference = profile.amplitude_source == "reference"
    return Trace(
        position_nm=segments.position_nm,
        length_nm=segments.length_nm,
        stretch=segments.stretch,
        thickness_nm=profile.thickness_nm,
        std_nm=np.where(np.isfinite(profile.thickness_nm), profile.std_nm, np.nan),
        lod_nm=profile.lod_nm,
        present=profile.present,
        point=inner,
        outer=inner + segments.normal * (thick / pixel_nm)[:, None],
        inner=inner,
        common_covariance_nm2=profile.common_covariance_nm2,
        floor_nm=detection_floor_nm(pixel_nm, profile.blur_nm),
        sys_relative=REFERENCE_RELATIVE_SYS if by_reference else 0.0,
        closed=bool(found.surface.used.all() and found.surface.n_stretches == 1),
        note="thickness at the density of the reference composition" if by_reference else "",
    )
