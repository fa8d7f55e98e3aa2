"""The layer along the surface of a spectrum image, from fitted maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.contrast import smooth_finite
from ceiflow.layer.distance import distance_and_position, free_length
from ceiflow.layer.edge import edge_below, fit_edge
from ceiflow.layer.elements import REFERENCE_RELATIVE_SYS, Choice
from ceiflow.layer.estimate import estimate
from ceiflow.layer.lines import line_axis, line_distance, trace_lines
from ceiflow.layer.mixed import mixed_segments, unresolved_std
from ceiflow.layer.null import detection_floor_nm
from ceiflow.layer.profile import BIN_PIXELS, Profile, Species
from ceiflow.layer.reference import DENSE_PER_NM3
from ceiflow.layer.segments import Segments, divide, split
from ceiflow.layer.summary import LIMIT_QUANTILE, Trace
from ceiflow.layer.surface import NARROW_PIXELS, Surface, trace_surface

FloatArray = NDArray[np.float64]

#: Segments grow, up to this many times, until a bare surface's detection limit is below the target.
LARGEST_SEGMENT = 5.0
#: Shortest segments where their length is left to the data: two pixels of arc share next to no counts, and
#: below some nm nothing is known to vary along a surface.
AUTO_PIXELS, AUTO_NM = 2.0, 4.0
#: Target of the detection limit: what an absence claim commonly asks, or three quarters of a pixel.
TARGET_NM, TARGET_PIXELS = 1.9, 0.75
#: A segment that holds several thicknesses is cut in two, twice at most, down to this share of
#: the usual length.
MIXED_SHARE = 0.25
#: Error of a thickness from the shapes of pixel and probe, which no Gaussian describes, in pixels.
SHAPE_PIXELS = 0.05
#: A kernel fits as well as another if its chi-square is less than this many times the other's.
MISFIT = 2.0
#: Beyond the layer so many pixels have to be in view, to know what lies outside of it.
ROOM_PIXELS = 2.0
#: Depth of the profile inside the particle: enough to know its level and slope.
INNER_NM, INNER_PIXELS = 12.0, 5.0
#: Share of the greatest depth that there is which the profile reaches to at most.
DEEPEST_SHARE = 0.8


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

    def surface_density(self) -> dict[str, dict[str, float]]:
        """Atoms of the layer per nm^2 of surface, mean over the arc, by element.

        Thickness times density: of a layer thinner than the blur that is what the data hold, whatever it
        is made of. The limit is that of the thickness, in atoms of the material taken for it.
        """
        profile = self.profile
        if profile is None or self.trace is None or profile.amplitude_source == "none":
            return {}
        known = self.trace.measured & np.isfinite(self.trace.lod_nm)
        if not known.any():
            return {}
        weight = self.trace.length_nm[known] / self.trace.length_nm[known].sum()
        own = profile.own_std_nm[known]
        limit = float(np.quantile(self.trace.lod_nm[known], LIMIT_QUANTILE))
        result = {}
        for name, filling in profile.filling.items():
            if filling > 0:
                density = filling * DENSE_PER_NM3[name]
                result[name] = {
                    "value": density * float(weight @ profile.thickness_nm[known]),
                    "se": density * float(np.sqrt(np.sum((weight * own) ** 2))),
                    "lod": density * limit,
                }
        return result


def find_layer(choice: Choice, pixel_nm: float, settings: dict) -> Found:
    """Surface, profile and thickness.

    Parameters
    ----------
    choice : Choice
        The particle's map and the species.
    pixel_nm : float
    settings : dict
        The configuration's `layer`. Images add `near_only` (distances in the band alone), `bin_pixels` (width
        of a distance bin), `before` (profile of an earlier look), `grow` (how many times longer segments may
        become), `refine` (False: no segment is cut) and `fringe_nm` (width of a Fresnel fringe).
    """
    needed = min(settings["max_thickness_nm"] / 2, 0.3 * max(choice.values.shape) * pixel_nm)
    # Where the view ends early, what there is of it is used, and its length is said.
    views = (needed, needed / 2, needed / 4, 0.5 * pixel_nm)
    # A line has one surface or two: there is no better place to prefer.
    views = views[-1:] if min(choice.values.shape) < NARROW_PIXELS else views
    for view in views:
        found = _seen(choice, pixel_nm, settings, view)
        if choice.reason or found.surface.length_nm > 0:
            break
    if choice.reason or found.surface.length_nm == 0:
        found.reason = choice.reason or _why_no_surface(found.surface)
        return found
    found = _measured(found, choice, pixel_nm, settings)
    profile = found.profile
    if profile.amplitude_source == "profile" and view == needed and profile.present.any():
        # A layer that is thinner than was allowed for needs less view: more of the surface can be analysed.
        thick = float(np.quantile(profile.thickness_nm[profile.present], 0.9))
        enough = thick + ROOM_PIXELS * pixel_nm + profile.blur_nm
        if enough < 0.95 * view:
            more = _seen(choice, pixel_nm, settings, enough)
            if more.surface.length_nm > 1.02 * found.surface.length_nm:
                found = _measured(more, choice, pixel_nm, settings)
    if not choice.unmarked and settings.get("refine", True):
        found = _refined(found, choice, pixel_nm, settings)
    profile = found.profile
    found.notes += profile.notes
    room = room_nm(found)
    short = float(room.min()) < needed
    if short and view < needed:
        found.notes.append(f"only {room.min():.3g} nm of vacuum in view")
    beyond = profile.present & (profile.thickness_nm > room - 0.5 * pixel_nm)
    if beyond.any():
        profile.present = profile.present & ~beyond
        profile.thickness_nm = np.where(beyond, np.nan, profile.thickness_nm)
        profile.lod_nm = np.where(beyond, np.nan, profile.lod_nm)
        what = (
            f"{room[beyond].max():.2g} nm of vacuum in view are too few to tell a layer from a slope"
            if view < needed
            else "the layer goes on beyond the view"
        )
        found.notes.append(f"{int(beyond.sum())} of {len(beyond)} segments: {what}")
    found.notes += _line_notes(found)
    more = unresolved_std(profile.thickness_nm, profile.own_std_nm, found.segments.stretch)
    profile.own_std_nm = np.hypot(profile.own_std_nm, more)
    profile.std_nm = np.hypot(profile.std_nm, more)
    found.trace = _trace(found, pixel_nm)
    if profile.amplitude_source == "none":
        parts = [profile.notes[-1], "" if choice.unmarked else choice.no_carbon]
        parts.append(f"only {room.min():.3g} nm of vacuum in view" if short else "")
        found.reason = "; ".join(dict.fromkeys(part for part in parts if part))
    elif not np.isfinite(profile.thickness_nm).any() and found.notes:
        found.reason = found.notes[-1]
    return found


def _plain(profile: Profile, limit: float) -> bool:
    """A layer well above the limit stands out: longer segments would only hide where it ends."""
    if profile.amplitude_source != "profile" or not profile.present.any():
        return False
    return float(np.median(profile.thickness_nm[profile.present])) > 2 * limit


def room_nm(found: Found) -> FloatArray:
    """Length in view outside the surface, the least within each segment."""
    free, of_point = free_length(found.surface), found.segments.of_point
    return np.array([np.min(free[of_point == k]) for k in range(len(found.segments))])


def _line_notes(found: Found) -> list[str]:
    """What a line scan leaves open about distances."""
    axis = line_axis(found.surface.inside.shape)
    if axis is None:
        return []
    used = found.surface.used
    at, number = found.surface.points[used, axis], found.surface.stretch[used]
    step = (
        max((np.ptp(at[number == k]) for k in np.unique(number)), default=0.0) * found.surface.pixel_size_nm
    )
    more = f", the surface {step:.2g} nm apart from line to line (inclined, or drifted)" if step else ""
    return [f"line scan: distances along the line{more}"]


def edge_std_nm(found: Found) -> float | None:
    """Standard error of the surface's position, median over segments; None without a fitted edge."""
    if found.profile is None or not len(found.profile.x_in_std_nm):
        return None
    return float(np.median(found.profile.x_in_std_nm))


def _seen(choice: Choice, pixel_nm: float, settings: dict, view_nm: float) -> Found:
    """Surface with at least `view_nm` in view outside it, distances, segments."""
    axis = line_axis(choice.values.shape)
    facing = settings["max_thickness_nm"]
    if axis is None:
        surface = trace_surface(
            smooth_finite(choice.values, choice.sigma_pixels),
            choice.level,
            pixel_nm,
            smooth_nm=max(2.0, choice.sigma_pixels) * pixel_nm,
            view_nm=view_nm,
            facing_nm=facing,
            min_diameter_nm=6 * pixel_nm,
        )
        near = settings.get("near_only", False)
        reach = (INNER_NM + INNER_PIXELS * pixel_nm) / DEEPEST_SHARE, facing + 5 * pixel_nm
        distance, position, index = distance_and_position(surface, reach_nm=reach if near else None)
    else:
        along = (0.0, choice.sigma_pixels) if axis == 1 else (choice.sigma_pixels, 0.0)
        smooth = smooth_finite(choice.values, along)
        surface = trace_lines(smooth, choice.level, pixel_nm, axis=axis, view_nm=view_nm, facing_nm=facing)
        distance, position, index = line_distance(surface, axis)
    length = least_segment_nm(settings, pixel_nm)
    segments = divide(surface, length)
    return Found(surface, segments, length, distance, position, index, segments.of_pixels(index))


def least_segment_nm(settings: dict, pixel_nm: float) -> float:
    """Shortest arc that is measured as one: as set, or (auto) what pixels and usual bare runs are worth."""
    asked = settings["segment_nm"]
    return max(AUTO_PIXELS * pixel_nm, AUTO_NM) if asked == "auto" else float(asked)


def _measured(found: Found, choice: Choice, pixel_nm: float, settings: dict) -> Found:
    """Profile and thickness; segments grow until the limit is worth having."""
    least, surface = least_segment_nm(settings, pixel_nm), found.surface
    length = least
    while True:
        found = _divided(divide(surface, length), found, length)
        found.profile = _profile(found, choice, pixel_nm, settings)
        known = found.profile.amplitude_source != "none"
        if not known:
            break
        limit = float(np.nanquantile(settings["detection_sigma"] * found.profile.null_std_nm, LIMIT_QUANTILE))
        # Between segments without any limit the quantile is not a number.
        limit = np.inf if np.isnan(limit) else limit
        target = max(TARGET_NM, TARGET_PIXELS * pixel_nm)
        longest = min(settings.get("grow", LARGEST_SEGMENT) * least, surface.length_nm)
        if limit <= target or length >= 0.99 * longest or _plain(found.profile, limit):
            break
        length = min(length * float(np.clip((limit / target) ** 2, 1.2, LARGEST_SEGMENT)), longest)
    if length > 1.01 * least:
        found.notes.append(f"segments enlarged from {least:g} to {length:.3g} nm: few counts")
    if known and target < limit < np.inf:
        found.notes.append(f"few counts: detection limit {limit:.2g} nm")
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
        bad = mixed_segments(profile.segment_chi2)
        least = max(pixel_nm, MIXED_SHARE * least_segment_nm(settings, pixel_nm))
        finer = split(found.surface, found.segments, bad, least)
        if len(finer) == len(found.segments):
            break
        found = _divided(finer, found, found.segment_nm)
        found.profile = _profile(found, choice, pixel_nm, settings)
    return found


def _profile(found: Found, choice: Choice, pixel_nm: float, settings: dict) -> Profile:
    deepest = float(-np.nanmin(np.where(found.segment_map >= 0, found.distance_nm, np.nan), initial=0.0))
    inner = min(max(INNER_NM, INNER_PIXELS * pixel_nm), max(DEEPEST_SHARE * deepest, 3 * pixel_nm))
    distance, segment = found.distance_nm.ravel(), found.segment_map.ravel()
    matter = None
    if choice.outline:
        # The contour goes round the layer as well: the profile has to reach below the particle's own edge.
        longest = settings["max_thickness_nm"]
        below = edge_below(distance, segment, choice.species, pixel_nm, min(longest, 0.8 * deepest), longest)
        inner = max(inner, min(inner + max(below, 0.0), deepest))
        matter = Species("matter", choice.values.ravel(), choice.variance.ravel(), particle=True)
    if choice.unmarked:
        outer = settings["max_thickness_nm"]
        return fit_edge(
            distance, segment, choice.species[0], len(found.segments), pixel_nm, inner, outer, choice.unmarked
        )
    return estimate(
        distance,
        segment,
        choice.species,
        len(found.segments),
        found.segments.radius_nm,
        pixel_nm,
        max_thickness_nm=settings["max_thickness_nm"],
        inner_nm=inner,
        detection_sigma=settings["detection_sigma"],
        bin_pixels=settings.get("bin_pixels", BIN_PIXELS),
        before=settings.get("before"),
        matter=matter,
        fringe_nm=settings.get("fringe_nm", 0.0),
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
        sys_nm=_systematic_nm(profile, pixel_nm),
        shape_relative=profile.shape_relative,
        partly_covered=True,
        sys_relative=REFERENCE_RELATIVE_SYS if by_reference and not profile.shape_relative else 0.0,
        closed=bool(found.surface.used.all() and found.surface.n_stretches == 1),
        note="thickness at the density of the reference composition" if by_reference else "",
    )


def _systematic_nm(profile: Profile, pixel_nm: float) -> float:
    """Systematic error of a mean thickness: what lies between the kernels, and the shape of pixel and probe.

    A facet is no slab and a particle no sphere: the truth lies somewhere between the two kernels, evenly, so
    far as is known. Edges that are not blurred by a Gaussian move by some hundredths of a pixel.
    """
    # A kernel whose layer is thinner than its own blur did not find it, and says nothing of its thickness;
    # nor does one that fits far worse than the other.
    fits = MISFIT * profile.compared.get(profile.kind, {}).get("chi2_per_dof", np.inf)
    both = [
        item["thickness_nm"]
        for item in profile.compared.values()
        if item["thickness_nm"] > item["blur_nm"] and item["chi2_per_dof"] <= max(fits, MISFIT)
    ]
    between = np.ptp(both) / np.sqrt(12) if len(both) > 1 and profile.present.any() else 0.0
    return float(np.hypot(between, SHAPE_PIXELS * pixel_nm))
