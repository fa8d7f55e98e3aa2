"""Images without lattice (tem, adf): the layer as a rim between vacuum and particle in the brightness."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from ceiflow.layer.chance import chance_explains
from ceiflow.layer.contrast import own_variance, smooth_finite, split_level
from ceiflow.layer.elements import Choice
from ceiflow.layer.image import Seen, _known, without_limit
from ceiflow.layer.profile import BIN_PIXELS, Profile, Species
from ceiflow.layer.slope import Rim, compare, why_no_layer
from ceiflow.layer.summary import Trace
from ceiflow.layer.trace import Found, find_layer
from ceiflow.study.measurements import not_identifiable
from ceiflow.units import electron_wavelength_nm

#: Pixels of the profile: fine against any rim, coarse against noise and Fresnel fringes of small defocus.
PROFILE_PIXEL_NM, LARGEST_SIDE, SMALLEST_SIDE = 0.5, 640, 128
#: Contrast of a nm of Li2CO3 relative to a nm of layered oxide: mass thickness in bright field (2.11 to
#: 4.7 g/cm^3); in dark field density times the mean atomic number to the power 0.7, about 0.25.
REFERENCE_RATIO = {"tem": 0.45, "adf": 0.25, "hrtem": 0.45}
FEWEST_COUNTS = 1e-3
#: Segments of the first look, in those of the second; and how far the second one looks, in the thickest
#: layer.
LONG_SEGMENTS, REACH = 6.0, 1.5
#: Width of the second look's distance bins, in blurs (one standard deviation).
BINS_PER_BLUR = 0.4
#: A long contour is cut into this many segments at most.
MOST_SEGMENTS = 160
#: Share of the Fresnel length by which fringes may shift the rim's edges, which are fitted without them: root
#: mean square of six simulated facets (5 and 10 nm, 800 nm defocus) that no table of docs/images.md holds.
FRESNEL_SHARE = 0.45
#: Standard deviations from which on a mean profile speaks for a layer, against nothing and against a wedge.
CLEAR = 5.0
#: Images in which a layer is less than half as bright as the particle; in bright field it is about half.
FAINT = ("adf",)
#: Detection limit of a bright-field image at least, in Fresnel lengths.
HIDDEN = 2.0
#: Share of a bare surface's segments that fringes and noise may lift above their limits: what the simulated
#: images of docs/images.md are held to.
FALSE_SHARE = 0.05
#: Levels that the contour may be drawn at, in shares of the particle's step (first, last, number), and the
#: width of the histogram that they are held against.
LEVELS, LEVEL_WIDTH = (0.5, 0.8, 16), 0.05
#: Half the height is left only where it is this many times as common a brightness as the rarest one.
PLATEAU = 1.5


def measure(image, pixel_nm: float, header, config: dict) -> Seen:
    """The rim's thickness along the contour.

    Parameters
    ----------
    image : (rows, columns) array
    pixel_nm : float
    header : Header
    config : dict
    """
    settings = {**config["layer"], **{"max_thickness_nm": config["images"]["max_thickness_nm"]}}
    reason = "no lattice in this kind of image"
    amorphous = not_identifiable("layer", "layer_amorphous_fraction", reason)
    # In a narrow view the profile's pixels are narrower.
    wanted = min(PROFILE_PIXEL_NM, min(image.shape) * pixel_nm / SMALLEST_SIDE)
    factor = int(max(1, np.ceil(wanted / pixel_nm), np.ceil(max(image.shape) / LARGEST_SIDE)))
    values = _contrast(_pooled(image, factor), header.modality == "adf")
    step = pixel_nm * factor
    variance = own_variance(values)
    split = split_level(values, variance)
    if split is None:
        return Seen(None, "no edge of the particle against vacuum in view", amorphous)
    ratio = REFERENCE_RATIO[header.modality]
    species = Species(
        "contrast", values.ravel(), variance.ravel(), particle=True, layered=True,
        reference_ratio=ratio, dense_ratio=ratio,
    )  # fmt: skip
    level, sigma = split
    level = between_plateaus(smooth_finite(values, sigma), level, settings["max_thickness_nm"] / step)
    choice = Choice(values, variance, level, sigma, [species], "brightness")
    settings["fringe_nm"] = _fringe_nm(header) or 0.0
    found = _found(choice, step, settings)
    seen = Seen(None, found.reason, amorphous, float(found.segments.length_nm.sum()), notes=list(found.notes))
    seen.entry = {"pixel_nm": step, "segment_nm": found.segment_nm}
    if found.trace is None:
        return seen
    edges = {name: (getattr(found.trace, name) + 0.5) * factor - 0.5 for name in ("outer", "inner")}
    trace = _bare(found.trace)
    limited = _limited(trace, seen, header)
    seen.trace = replace(trace, **edges, point=edges["outer"], false_share=FALSE_SHARE, **limited)
    profile = found.profile
    rim = None
    if _stand_out(seen.trace):
        rim = _rim(found, seen.trace.present, step, settings)
        why = _doubt(profile, rim, header.modality)
        if why:
            seen.trace, seen.reason = None, why
    seen.entry |= {
        "kernel": profile.kind,
        "compared": profile.compared,
        "blur_nm": profile.blur_nm,
        "amplitude_source": profile.amplitude_source,
        "chi2_per_dof": profile.chi2_per_dof,
        "significance": profile.significance,
    }
    if rim is not None:
        seen.entry["rim"] = asdict(rim)
    return seen


def _rim(found: Found, present, step: float, settings: dict) -> Rim | None:
    batch, fitted = found.profile.fitted
    return compare(batch, fitted, present, step, settings["max_thickness_nm"])


def _doubt(profile: Profile, rim: Rim | None, modality: str) -> str:
    """Why what stands out is not called a layer; empty where it is."""
    if profile.significance < CLEAR:
        # Chosen segments make a layer of any structure: the mean of all has to show it as well.
        return (
            "single segments stand out, but the mean profile is no better with a layer than without "
            f"({profile.significance:.1f} standard deviations, {CLEAR:g} are asked)"
        )
    return "" if rim is None else why_no_layer(rim, CLEAR, modality in FAINT)


def between_plateaus(smooth, half: float, reach_pixels: float) -> float:
    """Level of the contour: half the particle's height, unless a rim stands just there.

    A rim of about half the particle's contrast has the level of half height as its own brightness: the
    contour then follows noise and fringes, here along the rim's inner edge and there along its outer one.
    The rarest brightness near the surface lies on a flank.

    Parameters
    ----------
    smooth : (rows, columns) array
        Contrast, smoothed as it will be contoured.
    half : float
        Level half way between inside and outside.
    reach_pixels : float
        How far from the contour of half height a rim may reach.

    Returns
    -------
    float
    """
    from scipy.ndimage import distance_transform_edt

    inside = smooth > half
    outside = float(np.median(smooth[~inside]))
    step = 2 * (half - outside)
    near = (distance_transform_edt(inside) <= reach_pixels) & inside
    near |= (distance_transform_edt(~inside) <= reach_pixels) & ~inside
    share = (smooth[near] - outside) / step
    levels = np.linspace(*LEVELS)
    ordered = np.sort(share[np.isfinite(share)])
    common = np.searchsorted(ordered, levels + LEVEL_WIDTH) - np.searchsorted(ordered, levels - LEVEL_WIDTH)
    usual = float(np.interp(0.5, levels, common))
    if usual <= PLATEAU * max(float(common.min()), 1.0):
        return half
    return outside + step * float(levels[int(np.argmin(common))])


def _found(choice: Choice, step: float, settings: dict):
    """The layer, its profile cut to where a first look, in long segments, has it."""
    settings = {**settings, "near_only": True}
    length = LONG_SEGMENTS * settings["segment_nm"]
    first = find_layer(choice, step, {**settings, "segment_nm": length, "grow": 1.0, "refine": False})
    if first.profile is None:
        return first
    trace, profile = first.trace, first.profile
    # Bins follow the blur: finer ones hold the same counts and cost as much again.
    settings["bin_pixels"] = float(np.clip(BINS_PER_BLUR * profile.blur_nm / step, BIN_PIXELS, 1.0))
    if trace is None or profile.amplitude_source == "none":
        return find_layer(choice, step, settings)
    settings["before"] = profile
    if not trace.present.any() or profile.amplitude_source != "profile":
        return find_layer(
            choice, step, {**settings, "max_thickness_nm": _hidden(trace, profile, step, settings)}
        )
    thickest = float(np.nanmax(trace.thickness_nm[trace.present]))
    reach = min(settings["max_thickness_nm"], REACH * thickest + 4 * profile.blur_nm + 4 * step)
    shortest = max(settings["segment_nm"], first.surface.length_nm / MOST_SEGMENTS)
    second = find_layer(choice, step, {**settings, "segment_nm": shortest, "max_thickness_nm": reach})
    # Short segments may be too noisy for what long ones show.
    return second if second.trace is not None and second.trace.present.any() else first


def _hidden(trace: Trace, profile: Profile, step: float, settings: dict) -> float:
    """Thickness in nm that a short segment may have where no long one shows a layer.

    In the mean over a long segment it has to stay below that one's limit.
    """
    limits = trace.lod_nm[np.isfinite(trace.lod_nm)]
    if not len(limits):
        return settings["max_thickness_nm"]
    reach = LONG_SEGMENTS * float(limits.max()) + 4 * profile.blur_nm + 4 * step
    return min(settings["max_thickness_nm"], reach)


def _bare(trace: Trace) -> Trace:
    """Errors of stretches below the limit: the brightness of a thin rim is that of a shifted edge.

    The linearised error is infinite there; what is known is that the thickness is below the limit, which is
    two standard deviations at most.
    """
    with np.errstate(invalid="ignore"):
        thin = ~trace.present & (trace.std_nm > trace.lod_nm / 2)
    factor = np.where(thin, trace.lod_nm / 2 / np.where(thin, trace.std_nm, 1.0), 1.0)
    common = trace.common_covariance_nm2
    if common is not None:
        common = common * factor[:, None] * factor[None, :]
    return replace(trace, std_nm=trace.std_nm * factor, common_covariance_nm2=common)


def _pooled(image, factor):
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return blocks.mean(axis=(1, 3), dtype=np.float64)


def _contrast(image, dark: bool):
    """What is proportional to mass thickness: brightness in dark field, minus its logarithm in bright."""
    if dark:
        return image
    vacuum = float(np.quantile(image, 0.95))
    return -np.log(np.maximum(image / vacuum if vacuum > 0 else image, FEWEST_COUNTS))


def _stand_out(trace: Trace) -> bool:
    """Whether more segments show a layer than a bare surface has by mistake."""
    measured = np.isfinite(trace.thickness_nm)
    n = int(np.count_nonzero(trace.present & measured))
    return n > 0 and not chance_explains(n, int(measured.sum()), FALSE_SHARE)


def _limited(trace: Trace, seen: Seen, header) -> dict:
    """Limits and presence of a bright-field image: Fresnel fringes are rims as well."""
    if header.modality == "adf":
        return {}
    fringe = _fringe_nm(header)
    if fringe is None:
        what = "defocus" if _known(header, "defocus_nm") is None else "beam energy"
        seen.reason = f"{what} unknown: absence is not claimable"
        return without_limit({"thickness_nm": trace.thickness_nm, "std_nm": trace.std_nm}, 5.0)
    # A fringe that was taken for a layer is about as wide as it, and a layer so thin is hidden in a fringe.
    limit = np.maximum(trace.lod_nm, HIDDEN * fringe)
    return {
        "lod_nm": limit,
        "present": trace.present & (trace.thickness_nm > limit),
        "sys_nm": float(np.hypot(trace.sys_nm, FRESNEL_SHARE * fringe)),
    }


def _fringe_nm(header) -> float | None:
    """The Fresnel length; None where it is not known, 0 in dark field."""
    if header.modality == "adf":
        return 0.0
    defocus, energy = _known(header, "defocus_nm"), _known(header, "beam_energy_keV")
    if defocus is None or energy is None:
        return None
    return float(np.sqrt(electron_wavelength_nm(energy) * abs(defocus)))
