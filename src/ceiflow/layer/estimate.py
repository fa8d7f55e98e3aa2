"""From pooled profiles to the layer along the surface: which kernel, whose amplitude, what is covered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import profile as _p
from ceiflow.layer.amplitude import (
    THIN_BLURS,
    Amplitude,
    against_matter,
    densest,
    filled_view,
    filling,
    fillings,
    look,
    reference_amplitude,
    relative_error,
    settled,
)
from ceiflow.layer.batch import THICKNESS, X_IN, Batch, Fit
from ceiflow.layer.mixed import mean_thickness, mixed_segments
from ceiflow.layer.null import (
    detection_limits,
    inflation_of,
    limits_above,
    null_std,
    undecided,
    why_blind,
)
from ceiflow.layer.profile import Profile, Species
from ceiflow.layer.scan import mean_and_std
from ceiflow.layer.starts import half_width

FloatArray = NDArray[np.float64]

#: chi-square of the mean profile that a layer has to win before its amplitude is taken from the data.
LEAST_CHI2_GAIN = 20.0
#: What the grid of pixels and edges that no Gaussian blurs add to the error of each segment, in pixels.
SHAPE_PIXELS = 0.03
#: Segments that blur and amplitude are taken from, at most: they are the same for all, and a wide image has
#: hundreds.
MOST_JOINT = 60
#: The covered segments are settled when fewer than this share of them change.
SETTLED = 0.02
NO_AMPLITUDE = (
    "no layer material stands out, and the counts that a layer would give are not known: no detection limit"
)
#: A shell is tried up to this radius, in units of the fitted depth: beyond, a limb is a slab over that range.
LARGEST_RADIUS = 100.0


def estimate(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    species: list[Species],
    n_segments: int,
    radius_nm: FloatArray,
    pixel_nm: float,
    *,
    max_thickness_nm: float = 40.0,
    inner_nm: float = 15.0,
    detection_sigma: float = 3.29,
    bin_pixels: float = _p.BIN_PIXELS,
    before: Profile | None = None,
    matter: Species | None = None,
    fringe_nm: float = 0.0,
) -> Profile:
    """Layer thickness of every segment of arc.

    Parameters
    ----------
    distance_nm, segment : (n,) arrays
        Signed distance from the contour, and number of the segment, of every pixel; -1 is left out.
    species : list of Species
        At least one of the particle and one of the layer.
    n_segments : int
    radius_nm : (n_segments,) array
        Signed radius of curvature of the surface; inf is straight.
    pixel_nm : float
    max_thickness_nm, inner_nm : float
        Reach of the profile outside and inside of the contour.
    detection_sigma : float
        Detection limit in standard deviations of a bare surface's thickness.
    bin_pixels : float
        Width of a distance bin.
    before : Profile, optional
        Of an earlier look at the same surface: its kernel is kept, and its fit of the mean profile is where
        this one starts.
    matter : Species, optional
        The map that the contour was drawn in, where that goes round particle and layer together: the layer
        ends at its edge.
    fringe_nm : float
        An excess no wider than this in a mean profile may be a Fresnel fringe: no amplitude is taken from it.

    Returns
    -------
    Profile
    """
    limits_nm = (pixel_nm, detection_sigma, max_thickness_nm)
    with np.errstate(divide="ignore"):
        bend = float(np.mean(1.0 / np.asarray(radius_nm)))
    mean_radius = 1.0 / bend if bend > 0 else np.inf
    radii = np.full(n_segments, mean_radius if np.isfinite(mean_radius) else 1e6)
    reach = {
        "bin_nm": bin_pixels * pixel_nm,
        "inner_nm": inner_nm,
        "outer_nm": max_thickness_nm + 3 * pixel_nm,
    }
    batch = _p.pool(distance_nm, segment, species, n_segments, radii, **reach)
    whole = _p.pool(distance_nm, np.where(segment >= 0, 0, -1), species, 1, radii[:1], **reach)
    kinds = ["planar"]
    if mean_radius < LARGEST_RADIUS * inner_nm:
        kinds.append("shell")
    if not any(item.particle and not item.in_layer for item in species):
        # In one map alone an edge that falls over some nm looks like a layer.
        kinds.append("tilted")
    blur, half = None, None
    if before is not None:
        kinds, known = [before.kind], before.compared[before.kind]
        blur, half = known["blur_nm"], known.get("half_width_nm")
    if "tilted" in kinds:
        half = half or half_width(whole, pixel_nm, max_thickness_nm)
    shapes = {kind: (_shaped(kind, batch, half), _shaped(kind, whole, half)) for kind in kinds}
    around: dict[str, Fit] = {}
    if matter is not None:
        everything = _p.pool(distance_nm, np.where(segment >= 0, 0, -1), [matter], 1, radii[:1], **reach)
        for kind, (parts, one) in shapes.items():
            *shapes[kind], around[kind] = _p.outlined(kind, parts, one, everything, pixel_nm)
    means = {
        kind: _p.fit_mean(kind, one, pixel_nm, max_thickness_nm, blur, around.get(kind))
        for kind, (_, one) in shapes.items()
    }
    names = _p.amplitude_names(whole)
    criterion = {
        kind: min(_p.aicc(bare, 1), _p.aicc(covered, 1 + len(names)))
        for kind, (bare, covered, _) in means.items()
    }
    kind = min(criterion, key=criterion.__getitem__)
    batch, whole = shapes[kind]
    bare, covered, blurs = means[kind]
    scale = max(1.0, covered.chi2.sum() / max(covered.n_data.sum() - covered.local.size, 1.0))
    gain = float(bare.chi2.sum() - covered.chi2.sum()) / scale
    notes: list[str] = []
    limits = (-max_thickness_nm / 2, max_thickness_nm)
    result, source, taken = None, "none", None
    particle = covered if around else _p.particle_edge(kind, whole, pixel_nm, _p.blur_limits(pixel_nm))
    given = (particle, species, names, pixel_nm, limits, blurs, detection_sigma)
    if gain > LEAST_CHI2_GAIN and covered.thickness[0] <= fringe_nm:
        notes.append("the excess outside the surface is no wider than a Fresnel fringe")
    elif gain > LEAST_CHI2_GAIN:
        result, taken, why = _from_profile(kind, batch, covered, *given)
        source = "profile" if result is not None else source
        if result is None:
            notes.append(why)
    if result is None:
        amplitude = reference_amplitude(particle or bare, species)
        filled = filled_view(bare, species)
        if np.any(amplitude > 0) and not filled:
            source = "reference"
            result = _p.fit_segments(kind, batch, bare, amplitude, pixel_nm, limits)
            some = result.thickness > detection_limits(kind, batch, result, pixel_nm, detection_sigma)
            if some.any() and not some.all():
                # Short patches are lost in the mean of a long bare surface: their own mean is tried.
                part = _p.pool(
                    distance_nm, np.where(_of(some, segment), 0, -1), species, 1, whole.radius, **reach
                )
                part = replace(part, outer=whole.outer)
                first, second, _ = _p.fit_mean(kind, part, pixel_nm, max_thickness_nm, None, around.get(kind))
                more = float(first.chi2.sum() - second.chi2.sum()) > LEAST_CHI2_GAIN
                if more and second.thickness[0] > fringe_nm:
                    own, own_taken, _ = _from_profile(kind, batch, second, *given, some)
                    if own is not None:
                        result, source, taken, notes = own, "profile", own_taken, []
        else:
            amplitude = np.maximum(covered.amplitude, 0.0)
            result = _p.fit_segments(kind, batch, bare, amplitude, pixel_nm, limits)
            notes.append(filled or NO_AMPLITUDE)
    compared = {name: _summary(fits[1], criterion[name]) for name, fits in means.items()}
    if "tilted" in compared:
        compared["tilted"]["half_width_nm"] = half
    compared = compared if before is None else before.compared
    return _finish(kind, batch, result, (source, taken), species, limits_nm, compared, gain, notes)


def _shaped(kind: str, batch: Batch, half_nm: float | None) -> Batch:
    """The batch with what a kernel needs: a tilted facet's half width in place of the radius."""
    return replace(batch, radius=np.full(len(batch.x), half_nm)) if kind == "tilted" else batch


def _of(which: NDArray[np.bool_], segment: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Pixels of the segments that are chosen."""
    return (segment >= 0) & which[np.maximum(segment, 0)]


def _from_profile(
    kind, batch, mean, particle, species, names, pixel_nm, limits, blurs, detection_sigma, covered=None
) -> tuple[Fit | None, Amplitude | None, str]:
    """Joint fit, the layer's amplitude taken from the covered segments; None and a reason if that fails."""
    fitted = _p.fit_segments(kind, batch, mean, mean.amplitude, pixel_nm, limits)
    covered = np.ones(len(batch.x), dtype=bool) if covered is None else covered
    for _ in range(5):
        chosen = _some_of(covered)
        part = batch.select(np.flatnonzero(chosen))
        begin = _subset(fitted, chosen)
        joint = _p.fit_jointly(kind, part, begin, names, pixel_nm, limits, blurs)
        looked, held = None, None if particle is None else against_matter(joint, particle, species)
        # Of a thin layer the fit may well have taken the least blur for the most thickness.
        likely = max(joint.blur, float(np.mean(blurs)))
        if held is not None and float(np.mean(joint.thickness)) < THIN_BLURS * likely:
            looked = look(
                lambda fit, part=part: _p.fit_jointly(kind, part, fit, (), pixel_nm, limits, blurs),
                joint,
                held[1],
                inflation_of(joint),
            )
        taken = None if particle is None else settled(joint, particle, species, looked)
        if taken is None and not _p.amplitude_quality(joint) < _p.AMPLITUDE_RELATIVE_SD:
            why = "the layer is thinner than the resolution: thickness and density cannot be told apart"
            return None, None, why
        amplitude = joint.amplitude if taken is None else taken.values
        fill = filling(replace(joint, amplitude=amplitude), species)
        if fill < _p.LEAST_FILLING:
            why = f"the excess outside the surface has {100 * fill:.2g} % of the reference's density: haze"
            return None, None, why
        if fill > densest(species):
            return (
                None,
                None,
                "the excess outside the surface is denser than the particle: a fringe, no layer",
            )
        blur = joint.blur if taken is None else taken.blur_nm
        everywhere = _p.fit_segments(kind, batch, replace(joint, blur=blur), amplitude, pixel_nm, limits)
        everywhere.shared_names = joint.shared_names
        everywhere.shared_covariance = joint.shared_covariance if taken is None else taken.shared_covariance
        limit = detection_limits(kind, batch, everywhere, pixel_nm, detection_sigma)
        now = everywhere.thickness > limit
        if not now.any():
            return None, None, "no segment's excess is above the detection limit"
        fitted, same = everywhere, bool(np.mean(now != covered) < SETTLED)
        covered = now
        if same:
            break
    fitted.sensitivity = _sensitivity(kind, batch, fitted)
    return fitted, taken, ""


def _some_of(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The covered segments, thinned evenly where there are more than the shared parameters need."""
    where = np.flatnonzero(covered)
    chosen = np.zeros(len(covered), dtype=bool)
    chosen[where[np.unique(np.linspace(0, len(where) - 1, MOST_JOINT).astype(int))]] = True
    return chosen if len(where) > MOST_JOINT else covered


def _subset(fitted: Fit, keep: NDArray[np.bool_]) -> Fit:
    return replace(
        fitted,
        local=fitted.local[keep],
        chi2=fitted.chi2[keep],
        n_data=fitted.n_data[keep],
        covariance=fitted.covariance[keep],
        sensitivity=fitted.sensitivity[keep],
    )


def _sensitivity(kind, batch: Batch, fitted: Fit) -> FloatArray:
    """How every segment's parameters follow the shared ones."""
    from ceiflow.layer.batch import fit

    return fit(
        kind, batch, fitted.local, fitted.blur, fitted.amplitude, shared=fitted.shared_names, iterations=0
    ).sensitivity


def _finish(kind, batch, fitted, origin, species, limits_nm, compared, gain, notes):
    pixel_nm, detection_sigma, max_thickness_nm = limits_nm
    source, taken = origin
    inflation = inflation_of(fitted)
    null = inflation * null_std(kind, batch, fitted)
    known = source != "none"
    lod = limits_above(null, fitted, pixel_nm, detection_sigma) if known else np.full(len(batch.x), np.nan)
    own = np.hypot(inflation * fitted.own_std(), SHAPE_PIXELS * pixel_nm)
    if batch.outer is not None and known:
        span = (-max_thickness_nm / 2, max_thickness_nm)
        scanned = mean_and_std(kind, batch, fitted.blur, fitted.amplitude, span, inflation)
        fitted.local[:, THICKNESS], own = scanned[0], np.hypot(scanned[1], SHAPE_PIXELS * pixel_nm)
        fitted.local[:, X_IN] = batch.outer[0] - scanned[0]
    n_shared = len(fitted.shared_names)
    common = np.zeros((len(own), len(own)))
    if n_shared and fitted.sensitivity.shape[2] == n_shared:
        common = inflation**2 * fitted.common_covariance()
    std = np.sqrt(own**2 + np.diag(common))
    if not np.any(batch.layered & ~batch.particle):
        # In the particle's own map a thin layer is a shifted edge: nothing but the limit is known of it.
        thin = fitted.thickness < lod
        std = np.where(thin, np.minimum(std, lod / 2), std)
        own = np.where(thin, np.minimum(own, lod / 2), own)
    segment_chi2 = fitted.chi2 / np.maximum(fitted.n_data - fitted.local.shape[1], 1.0)
    if source == "profile":
        prior = _p.edge_prior(batch, float(fitted.x_in.mean()), 2 * pixel_nm)
        limits = (0.0, max_thickness_nm)
        mixed = mixed_segments(segment_chi2)
        fitted.local[:, THICKNESS], of_mean = mean_thickness(kind, batch, fitted, mixed, limits, prior)
        own = np.where(mixed, np.hypot(inflation * of_mean, SHAPE_PIXELS * pixel_nm), own)
        std = np.sqrt(own**2 + np.diag(common))
    with np.errstate(invalid="ignore"):
        # Neither a limit beyond what is looked for nor a value that may as well be zero says anything.
        blind = ~(lod < max_thickness_nm) | ((fitted.thickness > lod) & (fitted.thickness < 1.645 * std))
        doubt = undecided(kind, batch, fitted, np.where(blind, np.nan, lod), 2 * pixel_nm, max_thickness_nm)
        out = blind | doubt
        lod, thickness = np.where(out, np.nan, lod), np.where(out, np.nan, fitted.thickness)
        present = ~out & (thickness > lod)
    if known and blind.any():
        counted = limits_above(null / inflation, fitted, pixel_nm, detection_sigma)[blind] < max_thickness_nm
        notes.append(
            f"{int(blind.sum())} of {len(blind)} segments say nothing: {why_blind(counted, inflation)}"
        )
    if known and doubt.any():
        notes.append(
            f"{int(doubt.sum())} of {len(doubt)} segments left out: bare and covered fit nearly alike"
        )
    light = [s for s, item in enumerate(species) if item.in_layer]
    dof = max(fitted.n_data.sum() - fitted.local.size, 1.0)
    return Profile(
        kind=kind,
        compared=compared,
        x_in_nm=fitted.x_in,
        x_in_std_nm=inflation * fitted.own_std(0),
        thickness_nm=thickness,
        std_nm=std,
        own_std_nm=own,
        common_covariance_nm2=common,
        null_std_nm=null,
        lod_nm=lod,
        present=present,
        blur_nm=fitted.blur,
        amplitude={species[s].name: float(fitted.amplitude[s]) for s in light},
        amplitude_std={species[s].name: fitted.shared_std(f"amplitude:{s}") for s in light},
        amplitude_source="reference" if taken is not None and taken.from_profile < 0.5 else source,
        amplitude_weight=1.0 if taken is None else taken.from_profile,
        filling=fillings(fitted, species) if known else {},
        segment_chi2=segment_chi2,
        chi2_per_dof=float(fitted.chi2.sum() / dof),
        significance=float(np.sqrt(max(gain, 0.0))),
        shape_relative=relative_error(fitted, source, taken, bool(np.any(batch.particle & ~batch.layered))),
        notes=notes,
        fitted=(batch, fitted),
    )


def _summary(fitted: Fit, criterion: float) -> dict[str, float]:
    dof = max(fitted.n_data.sum() - fitted.local.size - len(fitted.shared_names), 1.0)
    return {
        "aicc": float(criterion),
        "thickness_nm": float(fitted.thickness[0]),
        "thickness_se_nm": float(fitted.std()[0]),
        "chi2_per_dof": float(fitted.chi2.sum() / dof),
        "blur_nm": float(fitted.blur),
    }
