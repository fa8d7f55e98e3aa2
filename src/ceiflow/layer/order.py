"""In which order elements end along the outward normal: which one reaches furthest, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer import profile as _p
from ceiflow.layer.batch import THICKNESS, X_IN, Fit
from ceiflow.layer.profile import Profile, Species
from ceiflow.layer.starts import linear_amplitude, start
from ceiflow.study.measurements import Measurement, not_identifiable

FloatArray = NDArray[np.float64]

#: An element is placed if its amount in the layer is this many standard deviations.
LEAST_SIGMA = 5.0
#: Two edges are told apart if they are this many standard errors of their difference apart.
APART_SIGMA = 3.0
#: What the fine structure says of the particle below the layer.
SKIN = "reduced_skin_nm"
#: Segments thinner than this share of the usual thickness are covered in part, and have no edge of their own.
COVERED_SHARE = 0.6


@dataclass(frozen=True)
class Interface:
    """Where one element begins and ends, from the edge of the particle's heavy elements, outwards.

    Parameters
    ----------
    inner_nm, inner_std_nm : float
        NaN for an element that the particle holds as well: it has no inner edge of its own.
    outer_nm, outer_std_nm : float
    significance : float
        Standard deviations of its amount in the layer.
    """

    inner_nm: float
    inner_std_nm: float
    outer_nm: float
    outer_std_nm: float
    significance: float


def interfaces(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    profile: Profile,
    particle: Species,
    species: list[Species],
    radius_nm: float,
    pixel_nm: float,
    inner_nm: float,
    max_thickness_nm: float,
) -> dict[str, Interface]:
    """Edges of every element that stands in the layer, each from its own map alone.

    Segments that are covered in full are pooled; their distances count from the fitted edge of the heavy
    elements.

    Parameters
    ----------
    distance_nm, segment : (n,) arrays
        Of every pixel, from the contour; -1 is left out.
    profile : Profile
        Gives the particle's edge by segment, the kernel and the blur.
    particle : Species
        The heavy elements' map. In the joint profile an element that stands off the particle pulls at the
        common edge; from its own map that edge is taken once more, for all segments together.
    species : list of Species
        Those with `particle` set (oxygen) stand in the particle as well, and end in the layer's outer edge.
    radius_nm, pixel_nm, inner_nm, max_thickness_nm : float

    Returns
    -------
    dict of str to Interface
        Without the elements of which too little stands in the layer.
    """
    covered = profile.present & np.isfinite(profile.x_in_nm)
    if not covered.any():
        return {}
    covered &= profile.thickness_nm >= COVERED_SHARE * np.median(profile.thickness_nm[covered])
    use = (segment >= 0) & covered[np.maximum(segment, 0)]
    moved = distance_nm - np.where(use, profile.x_in_nm[np.maximum(segment, 0)], 0.0)
    thickness = float(np.nanmean(profile.thickness_nm[covered]))
    radius = np.array([radius_nm if np.isfinite(radius_nm) and radius_nm > 0 else 1e6])
    # The thickness differs along the arc: an edge in the pooled profile is as blurred as that, too.
    spread = float(np.nanstd(profile.thickness_nm[covered]))
    reach = (_p.BIN_PIXELS * pixel_nm, inner_nm, max_thickness_nm + 3 * pixel_nm)
    bare = Species(particle.name, particle.values, particle.variance, particle=True, layered=False)
    whole = _p.pool(moved, np.where(use, 0, -1), [bare], 1, radius, *reach)
    edge = _p.particle_edge(profile.kind, whole, pixel_nm, _p.blur_limits(pixel_nm))
    zero = (float(edge.x_in[0]), float(edge.std(X_IN)[0]))
    moved = moved - zero[0]
    found = {}
    for item in species:
        one = Species(item.name, item.values, item.variance, particle=item.particle, layered=True)
        batch = _p.pool(moved, np.where(use, 0, -1), [one], 1, radius, *reach)
        fitted = _fitted(profile, batch, item.particle, thickness, spread, pixel_nm, max_thickness_nm)
        if fitted is not None:
            found[item.name] = _described(fitted, item.particle, zero[1])
    return {name: item for name, item in found.items() if item is not None}


def _fitted(profile, batch, heavy, thickness, spread, pixel_nm, longest) -> Fit | None:
    if not np.any(batch.weight > 0):
        return None
    # An element of the particle has its inner edge where the heavy ones have theirs.
    prior = (0.0, 0.02 * pixel_nm if heavy else max(thickness, 3 * pixel_nm))
    widest = float(np.hypot(profile.blur_nm, spread)) + 0.5 * pixel_nm
    fits = []
    for begin, length in ((0.0, thickness), (0.0, thickness / 2), (thickness / 2, thickness / 2)):
        if heavy and begin:
            continue
        local = start(1, batch.particle, begin, max(length, 0.5 * pixel_nm))
        amplitude = linear_amplitude(profile.kind, batch, local, profile.blur_nm).mean(axis=1)
        fits.append(
            _batch.fit(
                profile.kind, batch, local, profile.blur_nm, amplitude, shared=("blur", "amplitude:0"),
                prior_x=prior, blur_range=(profile.blur_nm, widest),
                thickness_range=(0.05 * pixel_nm, longest),
            )
        )  # fmt: skip
    return min(fits, key=lambda item: item.chi2.sum())


def _described(fitted: Fit, heavy: bool, zero: float) -> Interface | None:
    amplitude, error = float(fitted.amplitude[0]), fitted.shared_std("amplitude:0")
    t, t_std = float(fitted.thickness[0]), float(fitted.std(THICKNESS)[0])
    # Amount and thickness go against each other: their product is what is there.
    together = float(fitted.sensitivity[0, THICKNESS] @ fitted.shared_covariance[:, -1])
    variance = (t * error) ** 2 + (amplitude * t_std) ** 2 + 2 * amplitude * t * together
    significance = amplitude * t / np.sqrt(max(variance, 1e-300)) if amplitude > 0 else 0.0
    if not significance > LEAST_SIGMA:
        return None
    scale = np.sqrt(max(1.0, fitted.chi2.sum() / max(fitted.n_data.sum() - 7, 1.0)))
    local = fitted.covariance[0] + fitted.sensitivity[0] @ fitted.shared_covariance @ fitted.sensitivity[0].T
    pair = local[np.ix_([X_IN, THICKNESS], [X_IN, THICKNESS])] * scale**2
    inner, outer = float(fitted.x_in[0]), float(fitted.x_in[0]) + t
    return Interface(
        inner_nm=float("nan") if heavy else inner,
        inner_std_nm=float("nan") if heavy else float(np.hypot(np.sqrt(pair[0, 0]), zero)),
        outer_nm=outer,
        outer_std_nm=float(np.hypot(np.sqrt(max(pair.sum(), 0.0)), zero)),
        significance=float(significance),
    )


def order(found: dict[str, Interface], rows: list[Measurement] = ()) -> list[list[str]]:
    """What follows what, outermost first; elements whose outer edges cannot be told apart stand together.

    Parameters
    ----------
    found : dict of str to Interface
    rows : list of Measurement
        Of the fine structure: where they hold a reduced skin of the particle, it comes last, inside the edge
        that distances count from.
    """
    names = sorted(found, key=lambda name: -found[name].outer_nm)
    groups: list[list[str]] = []
    for name in names:
        first = found[groups[-1][0]] if groups else None
        own = found[name]
        if first is not None and first.outer_nm - own.outer_nm <= APART_SIGMA * np.hypot(
            first.outer_std_nm, own.outer_std_nm
        ):
            groups[-1].append(name)
        else:
            groups.append([name])
    if any(row.endpoint == SKIN and row.status == "identified" for row in rows):
        groups.append([SKIN.removesuffix("_nm")])
    return groups


def interface_rows(
    found: dict[str, Interface], elements: list[str], particle: str, reason: str
) -> list[Measurement]:
    """`interface_position_{El}_nm`: outer edge of every element, from the edge of the particle's.

    Parameters
    ----------
    found : dict of str to Interface
    elements : list of str
        Those that the configuration quantifies.
    particle : str
        Which elements the surface was drawn in.
    reason : str
        Why nothing was placed; empty if something was looked for.
    """
    rows = []
    for name in elements:
        endpoint, item = f"interface_position_{name}_nm", found.get(name)
        if item is not None:
            begins = (
                f"; begins at {item.inner_nm:.2g} +- {item.inner_std_nm:.1g} nm"
                if np.isfinite(item.inner_nm)
                else ""
            )
            note = f"outer edge, from the edge of {particle}{begins}"
            rows.append(Measurement("layer", endpoint, item.outer_nm, item.outer_std_nm, note=note))
        elif name in particle.split("+"):
            rows.append(not_identifiable("layer", endpoint, "its edge is where distances count from"))
        else:
            why = reason or f"too little {name} in the layer for an edge of its own"
            rows.append(not_identifiable("layer", endpoint, why))
    return rows
