"""High-resolution images: outer edge from the matter field, inner edge from the lattice field."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from ceiflow.layer.bias import Bias, calibrate, limit_of, systematic_terms
from ceiflow.layer.gap import Gap, by_segment, edge_noise_nm, outer_distances
from ceiflow.layer.image import Seen, _known, without_limit
from ceiflow.layer.segments import Segments, divide
from ceiflow.layer.summary import Trace
from ceiflow.layer.surface import Surface, stretches, trace_surface
from ceiflow.study.measurements import Measurement, not_identifiable

AMORPHOUS = "layer_amorphous_fraction"
#: Without a defocus a gap counts as a layer from here: more than the displacement of fringes at most
#: defoci.
SURE_NM = 5.0
#: A crystal whose fringes fill less than this share of their convex hull is one that shows them in patches.
LEAST_SOLIDITY = 0.7
#: Smoothing of the hull of carbon black's patches, and how far the hull is from the surface (one sigma).
HULL_BLUR_NM, HULL_SYS_NM = 0.5, 0.6
#: The hull bridges a gap between particles where there is no matter so far inside of it.
BRIDGE_NM = 1.0
#: What lies between crystals closer than this belongs to both.
FACING_NM = 5.0
#: Samples of vacuum from which its noise tells the dose.
LEAST_VACUUM = 200
#: Contour points a sample of the layer's map is compared with stand this many apart.
POINTS_APART = 4


def measure(image, pixel_nm: float, header, config: dict, bare: list[dict]) -> Seen:
    """The gap along the contour of an image with lattice fringes.

    Parameters
    ----------
    image : (rows, columns) array
    pixel_nm : float
    header : Header
    config : dict
    bare : list of dict
        Gaps of pristine images (`bias.read`).
    """
    from ceiflow import images

    settings = config["images"]
    defocus, energy = _known(header, "defocus_nm"), _known(header, "beam_energy_keV")
    matter = images.matter_field(image, pixel_nm, header.modality, defocus, energy)
    entry = {"matter": dict(matter.notes)}
    if not matter.notes.get("matter") or not (matter.notes.get("vacuum") or matter.notes.get("support")):
        reason = matter.notes.get("reason") or "no edge of the particle against vacuum in view"
        return _nothing(reason, entry)
    lattice = images.lattice_field(
        image, pixel_nm, tuple(settings["spacing_range_nm"]), matter, defocus, energy
    )
    entry["lattice"] = dict(lattice.notes)
    if not lattice.notes.get("lattice"):
        return _nothing(f"no lattice: {lattice.notes.get('reason') or 'no fringes found'}", entry)
    patchy = _is_patchy(lattice)
    surface = _surface(lattice, settings, patchy)
    if patchy:
        surface = _on_matter(surface, matter)
    segments = divide(surface, settings["segment_nm"])
    if not len(segments):
        return _nothing("no surface with room for a layer in view", entry, lattice)
    depths = outer_distances(
        surface, matter.values, matter.level, matter.width_nm, matter.valid, settings["max_thickness_nm"]
    )
    noise = np.hypot(
        edge_noise_nm(lattice.null_sigma, lattice.width_nm), edge_noise_nm(matter.null_sigma, matter.width_nm)
    )
    width = max(lattice.width_nm, matter.width_nm)
    entry |= _reconstructed(lattice, settings)
    gap = by_segment(depths, segments, float(noise), width, surface.step_nm)
    entry |= {"patchy": patchy, "n_segments": len(segments)} | _gap_entry(gap, segments)
    bias = calibrate(bare, defocus, lattice.notes["smallest_spacing_nm"], patchy)
    limit = limit_of(
        bias,
        defocus,
        energy,
        lattice.notes["smallest_spacing_nm"],
        lattice.notes["window_nm"],
        settings["tilt_mrad"],
        HULL_SYS_NM if patchy else 0.0,
        _dose(image, matter, pixel_nm, header),
    )
    entry |= {"detection_limit": limit, "bias": asdict(bias)}
    seen = _seen(gap, surface, segments, matter, lattice, limit, bias, entry, patchy)
    if seen.trace is not None:
        mask = _layer_mask(seen.trace, surface, segments, gap)
        seen.amorphous = _amorphous(image, lattice, mask, pixel_nm, settings, entry)
    return seen


def _dose(image, matter, pixel_nm: float, header) -> float | None:
    """Dose in e/A^2: as stated, else from the counting noise of the vacuum, whatever the gain."""
    stated = _known(header, "dose_e_per_A2")
    if stated is not None:
        return stated
    vacuum = matter.maps.get("vacuum")
    if vacuum is None or np.count_nonzero(vacuum) < LEAST_VACUUM:
        return None
    rows, columns = np.nonzero(vacuum)
    # The upper left pixel of every sample, and its neighbour in the same sample, or the next one.
    one, two = (image[rows * matter.bin, columns * matter.bin + k * (matter.bin > 1)] for k in (0, 1))
    if matter.bin == 1:
        two = image[rows, np.minimum(columns + 1, image.shape[1] - 1)]
    deviation = 1.4826 * float(np.median(np.abs(one - two))) / np.sqrt(2)
    mean = float(np.mean(one))
    if not (mean > 0 and deviation > 0):
        return None
    return (mean / deviation) ** 2 / (100 * pixel_nm**2)


def _nothing(reason: str, entry: dict, lattice=None) -> Seen:
    values = None if lattice is None else np.asarray(lattice.values)
    return Seen(None, reason, not_identifiable("layer", AMORPHOUS, reason), lattice=values, entry=entry)


def _surface(lattice, settings, patchy: bool) -> Surface:
    """Contour of the crystal, or of its patches together."""
    values, level = lattice.values, lattice.level
    if patchy:
        patches = (values > level) & lattice.maps.get("crystal", True)
        values, level = _outline(patches, lattice.step_nm), 0.5
    # Near the frame the field knows part of its window only.
    margin = 1.0 if lattice.valid is None else max(1.0, float(np.argmax(lattice.valid.any(axis=1))))
    return trace_surface(
        values,
        level,
        lattice.step_nm,
        smooth_nm=max(lattice.width_nm, 2 * lattice.step_nm),
        curvature_nm=6.0,
        margin_pixels=margin,
        facing_nm=FACING_NM,
        min_diameter_nm=4.0,
    )


def _reconstructed(lattice, settings) -> dict:
    """Depth at which the wide fringes end below the close-packed ones."""
    if "wide" not in lattice.maps:
        return {}
    wide = _surface(replace(lattice, values=lattice.maps["wide"]), settings, False)
    deep = outer_distances(wide, lattice.values, lattice.level, lattice.width_nm, lattice.valid, 12.0)
    good = deep[np.isfinite(deep)]
    return {"reconstructed_depth_nm": float(np.median(good)) if len(good) else None}


def _is_patchy(lattice) -> bool:
    """Whether the fringes come and go, as those of turbostratic carbon do with the bending of its layers.

    Their surface is the convex hull of all patches where it stands on matter.
    """
    from skimage.morphology import convex_hull_image

    if lattice.notes.get("turbostratic"):
        return True
    patches = (lattice.values > lattice.level) & lattice.maps.get("crystal", True)
    return bool(patches.any()) and patches.sum() < LEAST_SOLIDITY * convex_hull_image(patches).sum()


def _outline(patches, step_nm: float):
    """Convex hull of the patches, blurred so that it has a sub-pixel contour."""
    from scipy.ndimage import gaussian_filter
    from skimage.morphology import convex_hull_image

    if not patches.any():
        return patches.astype(float)
    width = max(HULL_BLUR_NM / step_nm, 1.0)
    return gaussian_filter(convex_hull_image(patches).astype(float), width, mode="nearest")


def _on_matter(surface: Surface, matter) -> Surface:
    """Without the points of the hull that stand in vacuum, where it bridges a gap between particles."""
    from scipy.ndimage import map_coordinates

    within = (surface.points - surface.normals * (BRIDGE_NM / surface.pixel_size_nm)).T
    filled = map_coordinates(matter.values, within, order=1, mode="nearest") > matter.level
    bridging = surface.used & ~filled
    lost = {**surface.lost_nm, "vacuum": float(bridging.sum() * surface.step_nm)}
    return replace(surface, stretch=stretches(surface.used & filled, surface.contour), lost_nm=lost)


def _seen(gap: Gap, surface, segments, matter, lattice, limit, bias, entry, patchy) -> Seen:
    thickness = gap.gap_nm - bias.offset_nm
    measured = np.isfinite(thickness)
    notes, warnings = [], []
    lost = float(segments.length_nm[~measured].sum())
    if lost > 0:
        notes.append(f"{lost:.3g} nm of crystal edge without vacuum within reach: left out")
    notes += [
        f"{value:.3g} nm of contour left out ({name})" for name, value in surface.lost_nm.items() if value > 0
    ]
    depth = entry.get("reconstructed_depth_nm")
    if depth is not None and depth > 0.5:
        notes.append(
            f"wide fringes end {depth:.2g} nm below the crystal's edge: a reconstructed surface, no layer"
        )
    if patchy:
        notes.append(
            "fringes in patches: the particle's surface is their convex hull, where that is on matter"
        )
    terms = systematic_terms(bias, limit, HULL_SYS_NM if patchy else 0.0)
    entry["systematic_nm"] = terms
    notes.append(_said(bias, terms))
    if not measured.any():
        seen = _nothing("no vacuum beside the crystal in view", entry, lattice)
        seen.notes = notes
        return seen
    values = {"thickness_nm": thickness, "std_nm": gap.std_nm}
    reason = limit["reason"] or (matter.notes.get("reason", "") if matter.notes.get("support") else "")
    if limit["total_nm"] is None or matter.notes.get("support"):
        values = without_limit(values, max(SURE_NM, lattice.notes["window_nm"]))
        warnings.append(reason)
    else:
        values["lod_nm"] = np.where(measured, np.maximum(limit["total_nm"], 3.29 * gap.std_nm), np.nan)
        values["present"] = measured & (
            np.nan_to_num(thickness) > np.nan_to_num(values["lod_nm"], nan=np.inf)
        )
    reach = np.where(measured, gap.gap_nm, 0.0) / surface.pixel_size_nm
    outer = matter.to_pixels(segments.point + segments.normal * reach[:, None])
    trace = Trace(
        position_nm=segments.position_nm,
        length_nm=segments.length_nm,
        stretch=segments.stretch,
        point=outer,
        outer=outer,
        inner=lattice.to_pixels(segments.point),
        noise_correlation_nm=gap.noise_correlation_nm,
        floor_nm=limit["total_nm"] or 0.0,
        sys_nm=float(np.hypot.reduce(list(terms.values()))),
        closed=bool(surface.used.all() and surface.n_stretches == 1),
        **values,
    )
    nothing = not_identifiable("layer", AMORPHOUS, "nothing is covered")
    length = float(segments.length_nm[measured].sum())
    return Seen(trace, reason, nothing, length, np.asarray(lattice.values), notes, entry, warnings)


def _said(bias: Bias, terms: dict) -> str:
    """The correction and the systematic error in words."""
    by = f"{bias.n} pristine image(s) at like settings" if bias.n else "simulated images at this defocus"
    first = f"bias of the gap by {by} subtracted: {bias.offset_nm:.2g} +- {bias.offset_sd_nm:.2g} nm"
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.2g}" for name, value in terms.items() if value > 0)
    return f"{first}; systematic error in nm: {parts}"


def _gap_entry(gap: Gap, segments: Segments) -> dict:
    """Gap before any correction: what a pristine image gives on to others."""
    good = np.isfinite(gap.gap_nm)
    if not good.any():
        return {"gap_mean_nm": None, "gap_sd_nm": None, "n_gap": 0}
    values = gap.gap_nm[good]
    return {
        "gap_mean_nm": float(np.average(values, weights=segments.length_nm[good])),
        "gap_median_nm": float(np.median(values)),
        "gap_sd_nm": float(values.std(ddof=1)) if len(values) > 1 else float(gap.std_nm[good][0]),
        "n_gap": int(good.sum()),
    }


def _layer_mask(trace: Trace, surface: Surface, segments: Segments, gap: Gap):
    """Samples of the field between the crystal's surface and the outer edge, where there is a layer."""
    from scipy.spatial import cKDTree

    reach = np.where(trace.present, np.nan_to_num(gap.gap_nm), 0.0)
    mask = np.zeros(surface.inside.shape, dtype=bool)
    if not trace.present.any():
        return mask
    # One point is added beyond the end for what lies further away than the thickest place.
    segment = np.append(segments.of_point[::POINTS_APART], -1)
    outside = np.argwhere(~surface.inside)
    tree = cKDTree(surface.points[::POINTS_APART])
    away, index = tree.query(outside, distance_upper_bound=reach.max() / surface.pixel_size_nm)
    place = segment[index]
    within = (place >= 0) & (away * surface.pixel_size_nm < reach[np.maximum(place, 0)])
    mask[tuple(outside[within].T)] = True
    return mask


def _amorphous(image, lattice, mask, pixel_nm, settings, entry) -> Measurement:
    """Share of the layer's area without lattice, away from the particle by the detection window."""
    from ceiflow.images import amorphous_fraction

    if not mask.any():
        return not_identifiable("layer", AMORPHOUS, "nothing is covered")
    if lattice.valid is not None:
        mask = mask & lattice.valid
    found = amorphous_fraction(image, lattice, mask, pixel_nm, tuple(settings["spacing_range_nm"]))
    if found["amorphous_fraction"] is None:
        return not_identifiable("layer", AMORPHOUS, found["reason"])
    entry["crystals_in_layer"] = found["crystals"]
    n, share, error = found["n_windows"], found["amorphous_fraction"], found["se"]
    return Measurement("layer", AMORPHOUS, share, error, None, 1 / n, "identified", n)
