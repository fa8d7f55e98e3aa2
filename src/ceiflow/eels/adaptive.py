"""Adaptive bins: neighbours are pooled until a wanted ratio is known well enough, their spectra fitted anew.

Single pixels at a few counts a channel cannot answer for a ratio of elements; their summed spectra can. The
image is cut into rectangles, as small as the Cramer-Rao bound on the wanted ratio allows.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.densities import quantities
from ceiflow.eels.groups import group_pixels
from ceiflow.eels.pixels import PixelFits, fit_groups
from ceiflow.eels.source import LowLoss, Source, fixed_batches, sums_by_label
from ceiflow.eels.zone_sums import VACUUM_SIGMA, VACUUM_THICKNESS

# Without a low loss, pixels below this share of the mean counts are vacuum.
VACUUM_SHARE = 0.02


@dataclass
class Bins:
    """Bins of one image and what was found in them.

    Parameters
    ----------
    label : (p,) int32 array
        Bin of every pixel, -1 for vacuum.
    values : dict of str to (b, E) array
        As `ceiflow.eels.densities.quantities`, areal densities being means over the pixels of a bin.
    wanted : str
        The ratio or element that was pooled for.
    target : float
    reached : (b,) array
        Relative standard error of it in each bin, by the fit of the pooled spectra.
    """

    label: np.ndarray
    values: dict[str, np.ndarray]
    wanted: str
    target: float
    reached: np.ndarray

    def summary(self) -> dict[str, Any]:
        """What an attribute of the file says of them."""
        finite = self.reached[np.isfinite(self.reached)]
        return {
            "wanted": self.wanted,
            "target": self.target,
            "number": int(self.reached.size),
            "met": int(np.sum(finite <= 1.1 * self.target)),
            "median_relative_error": round(float(np.median(finite)), 4) if finite.size else None,
        }


class PooledSpectra:
    """Spectra in memory with what the fit asks of a file: shape, axis, blocks."""

    def __init__(self, data: np.ndarray, energy_eV: np.ndarray):
        self.data, self.energy_eV = data, energy_eV
        self.shape = (1, *data.shape)

    def blocks(self, pixels: int) -> Iterator[tuple[slice, np.ndarray]]:
        for first in range(0, len(self.data), pixels):
            yield slice(first, min(first + pixels, len(self.data))), self.data[first : first + pixels]


def wanted_pair(source: Source) -> tuple[tuple[int, int | None] | None, str]:
    """Which elements the bins are pooled for: places in `source.elements`, and the name of it.

    `eels.bins.wanted` is a ratio such as C/O, or one element. Where one of them is not in view, the
    first two elements that are stand for it.
    """
    names = str((source.config["eels"].get("bins") or {}).get("wanted", "")).split("/")
    if not all(name in source.elements for name in names):
        names = source.elements[:2]
    if not names:
        return None, ""
    places = [source.elements.index(name) for name in names]
    return (places[0], places[1] if len(places) > 1 else None), "/".join(names)


def fit_bins(source: Source, fits: PixelFits) -> Bins | None:
    """Pool and fit; None where bins are switched off, or nothing is in view.

    Parameters
    ----------
    source : Source
    fits : PixelFits
        Of every pixel: its errors are what bins are made by.
    """
    options = source.config["eels"].get("bins") or {}
    pair, name = wanted_pair(source) if options.get("enabled") else (None, "")
    if pair is None or source.pixels < 2:
        return None
    target = float(options["relative_error"])
    label = cut_bins(
        _moments(fits, pair),
        source.core.shape[:2],
        matter(source, fits),
        target,
        int(options["largest_number"]),
    )
    if label.max() < 0:
        return None
    pooled, sizes = pool(source, label)
    found = fit_groups(pooled, group_pixels(pooled, sizes), sizes, pair)
    values = quantities(pooled, found)
    for kind in ("counts", "counts_std"):
        values[kind] = values[kind] / sizes[:, None]
    return Bins(label.astype(np.int32), values, name, target, _relative_error(_moments(found, pair).T))


def matter(source: Source, fits: PixelFits) -> np.ndarray:
    """(p,) bool array: pixels that are no vacuum, by the low loss if there is one for each."""
    low = source.low
    if low is None or low.shared:
        return fits.total > VACUUM_SHARE * np.nanmean(fits.total)
    with np.errstate(invalid="ignore"):
        return low.thickness > np.maximum(VACUUM_THICKNESS, VACUUM_SIGMA * low.thickness_se)


def _moments(fits: PixelFits, pair: tuple[int, int | None]) -> np.ndarray:
    """(p, 5) array: both amplitudes, both variances, the covariance; additive over pixels."""
    first, second = pair
    one = [fits.theta[:, first], fits.theta_std[:, first] ** 2]
    if second is None:
        nothing = np.zeros(len(fits.theta))
        return np.stack([one[0], nothing, one[1], nothing, nothing], axis=1)
    other = [fits.theta[:, second], fits.theta_std[:, second] ** 2]
    return np.stack([one[0], other[0], one[1], other[1], fits.pair_covariance], axis=1)


def _relative_error(sums: np.ndarray) -> np.ndarray:
    """Relative standard error of a / b (of a where there is no b) from the five sums along the first axis."""
    a, b, variance_a, variance_b, covariance = sums
    single = (b == 0) & (variance_b == 0)
    safe_a, safe_b = np.where(a > 0, a, np.nan), np.where(b > 0, b, np.nan)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = variance_a / safe_a**2
        ratio = ratio + np.where(single, 0.0, variance_b / safe_b**2 - 2 * covariance / (safe_a * safe_b))
    return np.where(np.isfinite(ratio), np.sqrt(np.clip(ratio, 0, None)), np.inf)


def cut_bins(
    moments: np.ndarray, shape: tuple[int, int], usable: np.ndarray, target: float, largest_number: int
) -> np.ndarray:
    """Rectangles of an image, cut in two as long as both parts know the ratio to `target`.

    Parameters
    ----------
    moments : (p, 5) array
        Additive: a, b, their variances and covariance.
    shape : (rows, columns)
    usable : (p,) bool array
    target : float
        Relative standard error.
    largest_number : int
        Cutting stops at so many; the best known parts are cut first.

    Returns
    -------
    (p,) int array
        Labels from the top left on, -1 where not usable.
    """
    usable = usable & np.all(np.isfinite(moments), axis=1)
    table = np.zeros((shape[0] + 1, shape[1] + 1, moments.shape[1]))
    table[1:, 1:][usable.reshape(shape)] = moments[usable]
    # In place: of a large image these are the largest arrays there are.
    for axis in (0, 1):
        np.cumsum(table, axis=axis, out=table)
    whole = (0, shape[0], 0, shape[1])
    heap, done = [(_error_of(table, whole), whole)], []
    while heap:
        box = heapq.heappop(heap)[1]
        parts = _cut(table, box, target) if len(heap) + len(done) + 2 <= largest_number else None
        if parts is None:
            done.append(box)
        else:
            for part in parts:
                heapq.heappush(heap, (_error_of(table, part), part))
    label = np.full(shape, -1, np.int64)
    number = 0
    for top, bottom, left, right in sorted(done, key=lambda box: (box[0], box[2])):
        inside = usable.reshape(shape)[top:bottom, left:right]
        if inside.any():
            label[top:bottom, left:right][inside] = number
            number += 1
    return label.ravel()


Box = tuple[int, int, int, int]


def _error_of(table: np.ndarray, box: Box) -> float:
    top, bottom, left, right = box
    sums = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    a, b, variance_a, variance_b, covariance = sums.tolist()
    # The same as `_relative_error`, for the one number that is asked for thousands of times.
    if not a > 0:
        return math.inf
    ratio = variance_a / a**2
    if b or variance_b:
        if not b > 0:
            return math.inf
        ratio += variance_b / b**2 - 2 * covariance / (a * b)
    return math.sqrt(max(ratio, 0.0))


def _cut(table: np.ndarray, box: Box, target: float) -> tuple[Box, Box] | None:
    """The two parts that are known most alike, along the longer side if that meets the target; or None."""
    top, bottom, left, right = box
    down = (table[top : bottom + 1, right] - table[top : bottom + 1, left]).T
    across = (table[bottom, left : right + 1] - table[top, left : right + 1]).T
    choices = [(bottom - top, down, 0), (right - left, across, 1)]
    for length, edge, axis in sorted(choices, key=lambda item: -item[0]):
        if length < 2:
            continue
        sums = edge - edge[:, :1]
        before = sums[:, 1:-1]
        worst = _relative_error(np.stack([before, sums[:, -1:] - before], axis=1)).max(0)
        at = int(np.argmin(worst))
        if worst[at] <= target:
            place = (top if axis == 0 else left) + at + 1
            if axis == 0:
                return (top, place, left, right), (place, bottom, left, right)
            return (top, bottom, left, place), (top, bottom, place, right)
    return None


def pool(source: Source, label: np.ndarray) -> tuple[Source, np.ndarray]:
    """The bins as an acquisition of its own: summed spectra in memory, dark level removed.

    Parameters
    ----------
    source : Source
    label : (p,) int array

    Returns
    -------
    Source
        One row of as many "pixels" as there are bins.
    (b,) array
        Pixels in each.
    """
    number = int(label.max()) + 1
    sizes = np.bincount(label[label >= 0], minlength=number).astype(float)
    block = int(source.config["eels"]["fit"].get("block_pixels") or 1024)
    core = _sums(source.core, label, number, source.channels, block)
    core -= np.float32(source.noise.dark) * sizes[:, None]
    low = source.low
    if low is not None:
        low = _pool_low_loss(low, label, number, sizes, block, source.noise.gain)
    return replace(
        source,
        core=PooledSpectra(core.astype(np.float32), source.energy_eV),
        channels=slice(0, source.energy_eV.size),
        mean=core.mean(0),
        low=low,
        noise=replace(source.noise, dark=0.0),
        live=np.ones(number, bool),
    ), sizes


def _sums(signal: Any, label: np.ndarray, number: int, channels: slice, block: int) -> np.ndarray:
    """(b, n) array: spectra summed by label."""
    first = channels.start or 0
    size = (channels.stop if channels.stop is not None else signal.shape[2]) - first
    result = np.zeros((number, size))
    for where, batch in fixed_batches(signal, block):
        found, sums = sums_by_label(batch, label[where])
        result[found[found >= 0]] += sums[found >= 0, channels]
    return result


def _pool_low_loss(
    low: LowLoss, label: np.ndarray, number: int, sizes: np.ndarray, block: int, gain: float
) -> LowLoss:
    inside = label >= 0
    zero, total = (
        np.bincount(label[inside], values[inside], number) for values in (low.zero_loss, low.total)
    )
    value, error = ll.thickness_over_mfp(zero, total, gain, low.missing)
    changed = {"zero_loss": zero, "total": total, "thickness": value, "thickness_se": error}
    if low.shared:
        return replace(low, **changed)
    spectra = _sums(low.signal, label, number, slice(None), block) - low.dark * sizes[:, None]
    return replace(low, signal=PooledSpectra(spectra.astype(np.float32), low.energy_eV), dark=0.0, **changed)
