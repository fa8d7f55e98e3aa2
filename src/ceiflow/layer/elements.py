"""Which maps show the particle, which show the layer, and what a dense layer would give in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.contrast import LEAST_CONTRAST, own_variance, smooth_finite, split_level
from ceiflow.layer.profile import Species
from ceiflow.layer.reference import CARBON_BLACK_PER_NM3, OXIDE_METALS_PER_NM3, positive, ratios_of
from ceiflow.signals.store import Header

FloatArray = NDArray[np.float64]

#: What the reference amplitude hangs on (particle's density, relative cross-sections) is known to this.
REFERENCE_RELATIVE_SYS = 0.25
#: Pixels with less than this share of the bright ones' counts are vacuum: where no edge was fitted none is.
VACUUM_SHARE = 0.02
#: Variance of a pixel is at least this share of a bright pixel's. Where hardly anything was counted the fit's
#: own variance is nearly nothing, and faint tails of the probe would outweigh the edge they come from.
LEAST_VARIANCE_SHARE = 0.25
#: Counts this many standard deviations of a bright pixel beyond the range of nearly all pixels are no counts.
RUNAWAY_SIGMA = 5.0
#: Counts are not divided by a transmission that is noisier than this from pixel to pixel.
LARGEST_SHARE_NOISE = 0.05
#: Where carbon is to mark the particle, at most this share of all matter in view may hold hardly any...
LARGEST_SHARE_WITHOUT_CARBON = 0.3
#: ...that is less than this share of the particle's. Li2CO3 has 0.18 of the carbon of carbon black.
LITTLE_CARBON = 0.15


@dataclass(frozen=True)
class FitMaps:
    """The maps of one fitted spectrum image; every array is (rows, columns)."""

    header: Header
    counts: Mapping[str, FloatArray]
    counts_std: Mapping[str, FloatArray]
    areal: Mapping[str, FloatArray]
    areal_std: Mapping[str, FloatArray]
    fraction: Mapping[str, FloatArray]
    single: dict[str, FloatArray]
    identifiable: dict[str, str] = field(default_factory=dict)
    lod: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return next(iter((self.single or self.counts).values())).shape


class FileMaps(Mapping[str, FloatArray]):
    """The maps of one group of a file, each read whenever it is asked for.

    All maps of a large image at once would take more memory than all else.
    """

    def __init__(self, path: Path, group: str):
        import h5py

        self.path, self.group = path, group
        with h5py.File(path, "r") as file:
            self.names = list(file[group]) if group in file else []

    def __getitem__(self, name: str) -> FloatArray:
        import h5py

        if name not in self.names:
            raise KeyError(name)
        with h5py.File(self.path, "r") as file:
            return np.asarray(file[self.group][name][()], dtype=float)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_fit(path: Path) -> FitMaps:
    """Read fit.h5; maps of elements stay in the file until they are asked for."""
    import h5py

    from ceiflow.signals.store import read_header

    names = ("counts", "counts_std", "areal_density", "areal_density_std", "atomic_fraction")
    groups = [FileMaps(path, name) for name in names]
    with h5py.File(path, "r") as file:
        single = {
            name: np.asarray(file[name][()], dtype=float)
            for name in ("thickness_over_mfp", "reduced_chi2", "total_counts")
            if name in file
        }
        identifiable = json.loads(file.attrs.get("identifiable", "{}"))
    return FitMaps(read_header(path), *groups, single, identifiable, FileMaps(path, "areal_density_lod"))


def with_counts_of(maps: FitMaps, path: Path) -> FitMaps:
    """The same maps, with counts and densities of another fit; they stay in that file."""
    groups = (FileMaps(path, name) for name in ("counts", "counts_std", "areal_density"))
    return replace(maps, **dict(zip(("counts", "counts_std", "areal"), groups, strict=True)))


def for_geometry(maps: FitMaps) -> FitMaps:
    """The same maps as a profile wants them: vacuum holds nothing, and no pixel is known without error."""
    total = maps.single.get("total_counts")
    counts, counts_std = {}, {}
    transmitted = _transmitted(maps)
    misfit = np.sqrt(np.fmax(maps.single.get("reduced_chi2", np.ones(maps.shape)), 1.0))
    for name in maps.counts:
        values = maps.counts[name] / transmitted
        # A spectrum that its model misses is known no better than it is missed.
        deviation = maps.counts_std[name] / transmitted * misfit
        values = _believable(values, deviation)
        good = np.isfinite(values) & np.isfinite(deviation)
        least = LEAST_VARIANCE_SHARE * np.quantile(deviation[good] ** 2, 0.8) if good.any() else 0.0
        vacuum = np.zeros(values.shape, dtype=bool)
        if total is not None and np.isfinite(total).any():
            vacuum = ~good & (total < VACUUM_SHARE * np.nanquantile(total, 0.95))
        counts[name] = np.where(vacuum, 0.0, values)
        counts_std[name] = np.sqrt(np.where(vacuum, least, np.maximum(deviation**2, least)))
    return replace(maps, counts=counts, counts_std=counts_std)


def _believable(values: FloatArray, deviation: FloatArray) -> FloatArray:
    """The map without fits that ran away: an edge holds no more counts than the brightest pixels, by far.

    Where hardly an electron was counted, edges that share channels can grow against each other without any
    counts behind them, at an error that knows nothing of it. One such pixel would set every level of a map.
    """
    good = np.isfinite(values) & np.isfinite(deviation)
    if not good.any():
        return values
    low, high = np.quantile(values[good], [0.02, 0.98])
    room = max(high - low, 0.0) + RUNAWAY_SIGMA * float(np.quantile(deviation[good], 0.98))
    with np.errstate(invalid="ignore"):
        return np.where((values < low - room) | (values > high + room), np.nan, values)


def _transmitted(maps: FitMaps) -> FloatArray:
    """Share of the beam's current in each pixel that the spectrometer still sees, 1 on the median.

    Counts per atom fall with thickness, since electrons are scattered out of the aperture: a layer's counts
    are then not proportional to its depth, and its edges seem further out. Areal densities are, so their
    ratio is that share; where there are none, or only noisy ones, nothing is corrected.
    """
    ratios = []
    for name in sorted(set(maps.areal) & set(maps.counts)):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = positive(maps.counts[name] / maps.areal[name])
        if np.isfinite(ratio).sum() >= 0.5 * ratio.size:
            ratios.append(ratio / np.nanmedian(ratio))
    if not ratios:
        return np.ones(maps.shape)
    share = np.ones(maps.shape)
    known = np.any(np.isfinite(ratios), axis=0)
    share[known] = np.nanmedian(np.array(ratios)[:, known], axis=0)
    noise = float(np.sqrt(np.nanmedian(own_variance(np.where(known, share, np.nan)))))
    return np.clip(share, 0.5, 2.0) if noise < LARGEST_SHARE_NOISE else np.ones(maps.shape)


@dataclass(frozen=True)
class Choice:
    """The particle's map and the species of the profile.

    Parameters
    ----------
    values, variance : (rows, columns) arrays
        Map whose contour is the surface.
    level : float
        Half way between inside and outside.
    sigma_pixels : float
        Smoothing with which `values` is contoured.
    species : list of Species
        Flattened maps; the first is the particle's.
    what : str
        In words.
    reason : str
        Why there is nothing to measure; empty if there is.
    unmarked : str
        Why nothing that was quantified can show a layer; empty if something can. The surface is there
        all the same.
    no_carbon : str
        Why carbon is not among the species; empty if it is.
    outline : bool
        The contour goes round particle and layer together; the particle's own edge lies inside of it.
    """

    values: FloatArray
    variance: FloatArray
    level: float
    sigma_pixels: float
    species: list[Species]
    what: str
    reason: str = ""
    unmarked: str = ""
    no_carbon: str = ""
    outline: bool = False


def choose(maps: FitMaps, settings: dict) -> Choice:
    """The particle's map: its heavy elements, else carbon (carbon black), else thickness or total counts.

    Parameters
    ----------
    maps : FitMaps
    settings : dict
        The configuration's `layer`.
    """
    maps = for_geometry(maps)
    layer_elements = [name for name in settings["layer_elements"] if _usable(maps, name)]
    metals = [name for name in settings["particle_elements"] if _usable(maps, name)]
    found = _combined(maps, metals)
    if found is not None:
        values, variance, level, sigma, weights = found
        ratios = ratios_of(maps, weights, settings["reference"], OXIDE_METALS_PER_NM3)
        species = [_species("particle", values, variance, particle=True)]
        species += [_light(maps, name, ratios) for name in layer_elements]
        unmarked = _unmarked(maps, settings["layer_elements"], layer_elements, ratios)
        return Choice(
            values, variance, level, sigma, species, "+".join(weights), "", unmarked, missing_carbon(maps)
        )
    around = _outlined(maps, metals, layer_elements, settings)
    if around is not None:
        return around
    found = _combined(maps, ["C"]) if _usable(maps, "C") else None
    if found is not None and _without_carbon(maps, found) > LARGEST_SHARE_WITHOUT_CARBON:
        return _nothing(maps, f"matter without carbon is in view and no {_listed(maps, settings)}")
    rest = [
        name for name in dict.fromkeys([*layer_elements, "O", "F"]) if name != "C" and _usable(maps, name)
    ]
    if found is not None and rest:
        values, variance, level, sigma, weights = found
        ratios = ratios_of(maps, weights, settings["reference"], CARBON_BLACK_PER_NM3)
        species = [_species("C", values, variance, particle=True, layered=True)]
        species += [_light(maps, name, ratios) for name in rest]
        return Choice(values, variance, level, sigma, species, "C (no heavy element found)")
    for name in ("thickness_over_mfp", "total_counts"):
        values = maps.single.get(name)
        if values is None or not np.isfinite(values).any():
            continue
        variance = own_variance(values)
        split = split_level(values, variance)
        light = [name for name in dict.fromkeys([*layer_elements, "O", "F"]) if _usable(maps, name)]
        if split is not None and light:
            species = [_species(name, values, variance, particle=True, layered=True)]
            species += [_light(maps, item, {}) for item in light]
            return Choice(values, variance, *split, species, f"{name} (no particle element found)")
    return _nothing(maps, "no map of the particle's elements has an inside and an outside")


def _nothing(maps: FitMaps, why: str) -> Choice:
    empty = np.full(maps.shape, np.nan)
    return Choice(empty, empty, 0.0, 1.0, [], "nothing", f"no surface in view: {why}")


def _listed(maps: FitMaps, settings: dict) -> str:
    """The particle's elements, each with why it was not quantified."""
    names = settings["particle_elements"]
    return ", ".join(f"{name} ({why})" if (why := maps.identifiable.get(name)) else name for name in names)


def _without_carbon(maps: FitMaps, found: tuple) -> float:
    """Share of all matter in view that holds hardly any carbon, so that carbon can be a layer's only.

    An oxide whose metals lie beyond the recorded range shows its layer as a strip of carbon with a contour
    of its own: taken for a particle of carbon, it would be found bare.
    """
    carbon, level, sigma = found[0], found[2], found[3]
    smooth = smooth_finite(carbon, sigma)
    for name in ("thickness_over_mfp", "total_counts"):
        values = maps.single.get(name)
        split = None if values is None else split_level(values, own_variance(values))
        if split is None:
            continue
        matter = smooth_finite(values, split[1]) > split[0]
        inside, outside = smooth[smooth > level], smooth[~matter & np.isfinite(smooth)]
        low = float(np.median(outside)) if outside.size else 0.0
        bare = smooth < low + LITTLE_CARBON * (float(np.median(inside)) - low)
        return float(np.mean(bare[matter])) if matter.any() else 0.0
    return 0.0


def _unmarked(maps: FitMaps, asked, usable, ratios) -> str:
    """Why no element can show a layer, in words; empty if one can.

    Carbon shows a layer by geometry alone. Any other element stands on the edges of the particle's own (F on
    the tail of Mn): it is believed only where its amount can be held against that of a dense layer.
    """
    if "C" in usable or any(name in ratios for name in usable):
        return ""
    parts = [
        maps.identifiable.get(name) or f"{name} was not quantified" for name in asked if name not in usable
    ]
    parts += [f"how much {name} a layer would give is not known" for name in usable]
    return "no element shows a layer: " + "; ".join(parts)


def missing_carbon(maps: FitMaps) -> str:
    """Why carbon is not there, in words; empty if it is."""
    return "" if _usable(maps, "C") else maps.identifiable.get("C") or "C was not quantified"


def _usable(maps: FitMaps, name: str) -> bool:
    return (
        name in maps.counts and not maps.identifiable.get(name) and bool(np.isfinite(maps.counts[name]).any())
    )


def _species(name, values, variance, **more) -> Species:
    return Species(name, values.ravel(), variance.ravel(), **more)


def _light(maps, name, ratios) -> Species:
    reference, dense = ratios.get(name, (None, None))
    return _species(
        name, maps.counts[name], maps.counts_std[name] ** 2, reference_ratio=reference, dense_ratio=dense
    )


def _combined(maps, names):
    """Weighted sum of counts with the best contrast, and how to contour it; None without contrast."""
    summed = _weighted(maps, names)
    if summed is None:
        return None
    values, variance, weights = summed
    split = split_level(values, variance)
    return None if split is None else (values, variance, *split, weights)


def _weighted(maps, names):
    """Weighted sum of counts with the best contrast, its variance, and the weights."""
    weights = {}
    for name in names:
        values, variance = maps.counts[name], maps.counts_std[name] ** 2
        low, high = np.nanquantile(smooth_finite(values, 1.5), [0.05, 0.9])
        noise = float(np.nanmean(variance)) if np.isfinite(variance).any() else np.inf
        weights[name] = max(high - low, 0.0) / max(noise, 1e-30)
    total = sum(weights.values())
    if not total > 0:
        return None
    weights = {name: weight / total for name, weight in weights.items() if weight > 0.02 * total}
    values = sum(weight * maps.counts[name] for name, weight in weights.items())
    variance = sum(weight**2 * maps.counts_std[name] ** 2 for name, weight in weights.items())
    return values, variance, weights


def _outlined(maps: FitMaps, metals: list[str], light: list[str], settings: dict) -> Choice | None:
    """Contour of all matter, where the heavy elements are there but too faint for a contour of their own.

    Their edge is then found in the profiles along the normals of that contour, over all of its length.
    """
    summed = _weighted(maps, metals)
    if summed is None or "C" not in light:
        return None
    own, spread, weights = summed
    for name in ("thickness_over_mfp", "total_counts"):
        values = maps.single.get(name)
        if values is None or not np.isfinite(values).any():
            continue
        variance = own_variance(values)
        split = split_level(values, variance)
        if split is None:
            continue
        smooth = smooth_finite(values, split[1])
        means = []
        for part in (smooth > split[0], smooth <= split[0]):
            part = part & np.isfinite(own) & np.isfinite(spread)
            n = max(np.count_nonzero(part), 1)
            means.append((float(own[part].sum() / n), float(spread[part].sum() / n**2)))
        (inside, error), (outside, more) = means
        if inside - outside < LEAST_CONTRAST * np.sqrt(error + more):
            return None
        ratios = ratios_of(maps, weights, settings["reference"], OXIDE_METALS_PER_NM3)
        species = [_species("particle", own, spread, particle=True)]
        species += [_light(maps, item, ratios) for item in light]
        what = f"{name} (outline; {'+'.join(weights)} too faint for a contour)"
        return Choice(values, variance, *split, species, what, outline=True)
    return None
