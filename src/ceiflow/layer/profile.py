"""The layer from profiles along the outward normal: thickness, its error, and what could have been seen.

Count maps are pooled in (segment of arc, distance) and compared with a model of sharp edges under one
blur: the particle's element steps down at the particle's edge, the layer's elements stand between that
edge and the layer's outer edge. The model goes through the counts, nothing is deconvolved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer.batch import Batch, Fit
from ceiflow.layer.scan import best_start
from ceiflow.layer.starts import linear_amplitude, search, start

FloatArray = NDArray[np.float64]

#: Width of a distance bin in pixels: adds a twentieth of a pixel to the blur, in quadrature.
BIN_PIXELS = 0.25
#: Least blur in pixels: a square pixel alone has this standard deviation, whatever its orientation.
LEAST_BLUR_PIXELS = 0.289
#: The layer's edges may be blurred by this much more or less than the particle's, relative.
BLUR_SLACK = 0.2
#: An amplitude is taken from the data only when it is better than this; else it is one number with thickness.
AMPLITUDE_RELATIVE_SD = 0.25
#: A "layer" that is less than this share of the dense reference material is haze, not a layer.
LEAST_FILLING = 0.1
#: The contour of all matter strays from its mean place by so many pixels: it is drawn in a smoothed map.
OUTLINE_PIXELS = 0.25


@dataclass(frozen=True)
class Species:
    """One map that goes into the profile.

    Parameters
    ----------
    name : str
        Element, or "particle" for the heavy elements together.
    values, variance : (n,) arrays
        Counts of each pixel and their variance; NaN or variance <= 0 where not measured.
    particle : bool
        Belongs to the particle: a step at its edge, with a slope inside.
    layered : bool, optional
        May stand in the layer; by default what is not of the particle.
    reference_ratio : float, optional
        Layer amplitude of the reference material, for the detection limit, relative to the particle step.
    dense_ratio : float, optional
        The same of the densest plausible material that holds this element: what a layer is compared with
        to be told from haze.
    """

    name: str
    values: FloatArray
    variance: FloatArray
    particle: bool = False
    layered: bool | None = None
    reference_ratio: float | None = None
    dense_ratio: float | None = None

    @property
    def in_layer(self) -> bool:
        return not self.particle if self.layered is None else self.layered


@dataclass
class Profile:
    """Layer along the surface.

    All arrays (K,) run over segments of arc.

    Parameters
    ----------
    kind : {"planar", "shell"}
        The kernel that AICc prefers.
    compared : dict of str to dict
        Both kernels on the mean profile: aicc, thickness_nm, thickness_se_nm, chi2_per_dof.
    x_in_nm, x_in_std_nm : arrays
        Edge of the particle relative to the contour.
    thickness_nm, std_nm : arrays
        Thickness (negative values are noise) and its standard deviation.
    own_std_nm, common_covariance_nm2 : (K,), (K, K) arrays
        The part from a segment's own counts, and the part that all segments have in common.
    null_std_nm : array
        Standard deviation of the thickness if there were no layer.
    lod_nm : array
        Detection limit; NaN where none can be given.
    present : bool array
    blur_nm : float
    amplitude, amplitude_std : dict of str to float
        Counts per pixel in the layer (planar) or per nm of path (shell), by species.
    amplitude_source : {"profile", "reference", "none"}
    segment_chi2 : array
        chi-square per degree of freedom of each segment.
    chi2_per_dof : float
    significance : float
        Standard deviations by which the mean profile speaks for a layer.
    shape_relative : float
        Systematic error of every thickness from the blur's shape, relative; not in `std_nm`.
    amplitude_weight : float
        What the profile itself says about the amplitude, against what dense matter would give; see
        `ceiflow.layer.amplitude`.
    filling : dict of str to float
        Amplitude relative to the densest plausible material that holds the element, where that is known.
    notes : list of str
    fitted : (Batch, Fit), optional
        What all of this was taken from.
    """

    kind: str
    compared: dict[str, dict[str, float]]
    x_in_nm: FloatArray
    x_in_std_nm: FloatArray
    thickness_nm: FloatArray
    std_nm: FloatArray
    own_std_nm: FloatArray
    common_covariance_nm2: FloatArray
    null_std_nm: FloatArray
    lod_nm: FloatArray
    present: NDArray[np.bool_]
    blur_nm: float
    amplitude: dict[str, float]
    amplitude_std: dict[str, float]
    amplitude_source: str
    segment_chi2: FloatArray
    chi2_per_dof: float
    significance: float
    shape_relative: float = 0.0
    amplitude_weight: float = 1.0
    filling: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fitted: tuple[Batch, Fit] | None = None


def pool(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    species: list[Species],
    n_segments: int,
    radius_nm: FloatArray,
    bin_nm: float,
    inner_nm: float,
    outer_nm: float,
) -> Batch:
    """Mean counts per pixel in bins of (segment, distance).

    Parameters
    ----------
    distance_nm, segment : (n,) arrays
        Of every pixel; segment -1 is left out.
    species, n_segments
    radius_nm : (n_segments,) array
    bin_nm, inner_nm, outer_nm : float
        Bin width, depth into the particle and reach outside.
    """
    n_bins = max(1, int(np.ceil((inner_nm + outer_nm) / bin_nm)))
    number = np.floor((distance_nm + inner_nm) / bin_nm)
    good = (segment >= 0) & np.isfinite(number) & (number >= 0) & (number < n_bins)
    cell = np.where(good, segment * n_bins + np.where(good, number, 0).astype(int), 0)
    size = n_segments * n_bins
    shape = (n_segments, n_bins)
    count = np.bincount(cell[good], minlength=size)
    total_x = np.bincount(cell[good], weights=distance_nm[good], minlength=size)
    centre = np.tile((np.arange(n_bins) + 0.5) * bin_nm - inner_nm, n_segments)
    x = np.where(count > 0, total_x / np.maximum(count, 1), centre).reshape(shape)
    values, weights = [], []
    for item in species:
        use = good & np.isfinite(item.values) & np.isfinite(item.variance) & (item.variance > 0)
        n = np.bincount(cell[use], minlength=size)
        # Sums of counts and of variances: weighting pixels by their own variance would favour low counts.
        total = np.bincount(cell[use], weights=item.values[use], minlength=size)
        variance = np.bincount(cell[use], weights=item.variance[use], minlength=size)
        values.append((total / np.maximum(n, 1)).reshape(shape))
        weights.append(np.where(n > 0, n**2 / np.where(variance > 0, variance, 1.0), 0.0).reshape(shape))
    particle, layered = (
        np.array([getattr(item, name) for item in species]) for name in ("particle", "in_layer")
    )
    return Batch(x, np.array(values), np.array(weights), particle, layered, radius_nm)


def amplitude_names(batch: Batch) -> tuple[str, ...]:
    """Names of the layer amplitudes of a batch."""
    return tuple(f"amplitude:{s}" for s in np.flatnonzero(batch.layered))


def fit_mean(
    kind: str,
    whole: Batch,
    pixel_nm: float,
    max_thickness_nm: float,
    blur_nm: float | None = None,
    outline: Fit | None = None,
) -> tuple[Fit, Fit, tuple[float, float]]:
    """Mean profile with and without a layer.

    Several starts: thickness and amplitude have more than one optimum when counts are few, and where the
    particle's own map has to show the layer, blur and thickness exchange as well.

    Parameters
    ----------
    kind, whole, pixel_nm, max_thickness_nm
    blur_nm : float, optional
        Of an earlier look: where the search begins.
    outline : Fit, optional
        Edge of all matter, where that is what the contour was drawn round: it gives the blur, and where the
        layer ends.

    Returns
    -------
    bare, covered : Fit
    blur_range : (low, high)
        What the particle's own edge allows the blur of the layer's to be.
    """
    names = amplitude_names(whole)
    zero = np.zeros(len(whole.particle))
    common = {"blur_range": blur_limits(pixel_nm)}
    edge, spread, blur = 0.0, 10 * pixel_nm, pixel_nm
    first = outline or particle_edge(kind, whole, pixel_nm, common["blur_range"])
    if first is not None:
        edge, spread, blur = float(first.x_in[0]), 1.5 * pixel_nm, first.blur
        # Pixel, probe and relief are the layer's as well; a layer of several thicknesses, or a thin one,
        # would else be taken for a blur, or a blur for a layer.
        slack = BLUR_SLACK * blur + 3.0 * first.shared_std("blur")
        low, high = common["blur_range"]
        common["blur_range"] = (
            float(np.clip(blur - slack, low, high)),
            float(np.clip(blur + slack, low, high)),
        )
    # A bare surface is where the particle's own map has it: a layer that the model lacks must not move it.
    tight = {"prior_x": (edge, 0.25 * pixel_nm)} if first is not None else {"prior_x": (edge, spread)}
    bare = _batch.fit(
        kind,
        whole,
        start(1, whole.particle, edge),
        blur,
        zero,
        shared=() if first is not None else ("blur",),
        free_thickness=False,
        **{**common, **tight},
    )
    common["prior_x"] = edge_prior(whole, edge, spread)
    trials = []
    if first is not None:
        guesses = np.unique(np.clip([pixel_nm, 2.5 * pixel_nm, 5.0, 10.0, 20.0], None, max_thickness_nm))
        begins = [(edge_start(whole, edge, guess), guess, blur) for guess in guesses]
    else:
        begins = search(kind, whole, edge, pixel_nm, max_thickness_nm, blur_nm)
    for x_in, thickness, blur in begins:
        local = start(1, whole.particle, x_in, thickness)
        amplitude = linear_amplitude(kind, whole, local, blur).mean(axis=1)
        trials.append(
            _batch.fit(
                kind, whole, local, blur, amplitude, shared=("blur", *names),
                thickness_range=(0.05 * pixel_nm, max_thickness_nm), **common,
            )
        )  # fmt: skip
    return bare, _best(trials), common["blur_range"]


def edge_prior(batch: Batch, edge_nm: float, spread_nm: float) -> tuple[float, float] | None:
    """What is known of the particle's edge beforehand; nothing where the contour is that of the layer."""
    return (edge_nm, spread_nm) if batch.outer is None else None


def edge_start(batch: Batch, edge_nm: float, thickness_nm: float) -> float:
    """Where a fit of the particle's edge begins under a layer of some thickness."""
    return edge_nm if batch.outer is None else batch.outer[0] - thickness_nm


def outlined(
    kind: str, batch: Batch, whole: Batch, matter: Batch, pixel_nm: float
) -> tuple[Batch, Batch, Fit]:
    """Batches that know where the layer ends: at the edge of all matter, which its own profile gives.

    Parameters
    ----------
    kind : str
    batch, whole : Batch
        Segments, and all of them together.
    matter : Batch
        The map that the contour was drawn in, all segments together.
    pixel_nm : float

    Returns
    -------
    batch, whole : Batch
    edge : Fit
    """
    edge = particle_edge(kind, matter, pixel_nm, blur_limits(pixel_nm))
    outer = (float(edge.x_in[0]), OUTLINE_PIXELS * pixel_nm)
    return replace(batch, outer=outer), replace(whole, outer=outer), edge


def blur_limits(pixel_nm: float) -> tuple[float, float]:
    """Blur that a fit may find."""
    return LEAST_BLUR_PIXELS * pixel_nm, 6 * pixel_nm + 3.0


def particle_edge(kind: str, whole: Batch, pixel_nm: float, blur_range: tuple[float, float]) -> Fit | None:
    """The particle's own edge in the mean profile; None where its map may hold the layer as well.

    Without a layer in the model, the layer's elements would draw the common edge out to the layer's.
    """
    pure = whole.particle & ~whole.layered
    if not pure.any():
        return None
    alone = replace(whole, weight=whole.weight * pure[:, None, None], outer=None)
    zero = np.zeros(len(whole.particle))
    fits = [
        _batch.fit(
            kind, alone, start(1, whole.particle), guess * pixel_nm, zero, shared=("blur",),
            free_thickness=False, prior_x=(0.0, 10 * pixel_nm), blur_range=blur_range,
        )
        for guess in (0.6, 1.5)
    ]  # fmt: skip
    return _best(fits)


def _best(fits: Iterable[Fit]) -> Fit:
    return min(fits, key=lambda item: item.chi2.sum())


def aicc(fitted: Fit, n_shared: int) -> float:
    """Akaike's criterion for a Gaussian likelihood of known variance, corrected for few data."""
    k = fitted.local.size + n_shared
    n = float(fitted.n_data.sum())
    return float(fitted.chi2.sum() + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1.0))


def fit_segments(
    kind: str, batch: Batch, mean: Fit, amplitude: FloatArray, pixel_nm: float, limits: tuple[float, float]
) -> Fit:
    """Edges of every segment at given blur and amplitudes, the better of a start with and without layer."""
    n = len(batch.x)
    limits = _thickness_range(batch, limits, pixel_nm)
    edge = float(mean.x_in.mean())
    common = {"prior_x": edge_prior(batch, edge, 2 * pixel_nm), "thickness_range": limits}
    if batch.outer is not None:
        begin = best_start(kind, batch, mean.blur, amplitude, limits)
        return _batch.fit(kind, batch, begin, mean.blur, amplitude, **common)
    fits = [
        _batch.fit(kind, batch, start(n, batch.particle, edge, guess), mean.blur, amplitude, **common)
        for guess in (0.0, max(float(np.median(mean.thickness)), pixel_nm))
    ]
    first, second = fits
    better = second.chi2 < first.chi2
    first.local = np.where(better[:, None], second.local, first.local)
    first.covariance = np.where(better[:, None, None], second.covariance, first.covariance)
    first.chi2 = np.where(better, second.chi2, first.chi2)
    return first


def _thickness_range(batch: Batch, limits: tuple[float, float], pixel_nm: float) -> tuple[float, float]:
    """In the particle's own map a negative layer is a positive one with its edges exchanged."""
    alone = not np.any(batch.layered & ~batch.particle)
    return (max(limits[0], -pixel_nm), limits[1]) if alone else limits


def fit_jointly(
    kind: str,
    batch: Batch,
    segments: Fit,
    names: tuple[str, ...],
    pixel_nm: float,
    limits: tuple[float, float],
    blur_range: tuple[float, float],
) -> Fit:
    """Segments together, with one blur and one amplitude per species for all of them."""
    return _batch.fit(
        kind, batch, segments.local, segments.blur, segments.amplitude, shared=("blur", *names),
        prior_x=edge_prior(batch, float(segments.x_in.mean()), 2 * pixel_nm),
        thickness_range=_thickness_range(batch, limits, pixel_nm),
        blur_range=blur_range,
    )  # fmt: skip


def amplitude_quality(fitted: Fit) -> float:
    """Relative standard deviation of the best-known amplitude; inf if none is positive."""
    best = np.inf
    for name in fitted.shared_names:
        if name != "blur":
            value = fitted.amplitude[int(name.split(":")[1])]
            if value > 0:
                best = min(best, fitted.shared_std(name) / value)
    return float(best)


def particle_step(fitted: Fit, species: list[Species]) -> float:
    """Coefficient of the particle's own material, first particle species, median over segments."""
    at = next(s for s, item in enumerate(species) if item.particle)
    where = _batch.linear_columns(np.array([item.particle for item in species]))[at]
    return float(np.median(fitted.local[:, where.start + 1]))
