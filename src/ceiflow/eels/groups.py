"""Groups of pixels that share one design: of like thickness and like material.

What a group shares is its mean low loss and the near edges that its summed spectrum shows. Both change with
the material as well as with t/lambda, so pixels are sorted by both: by the log-ratio of the low loss, and by
the share of the counts that each edge makes up, a few moments of the core loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ceiflow.eels.cross_sections import CrossSection
from ceiflow.eels.design import build_design
from ceiflow.eels.fit import Noise
from ceiflow.eels.low_loss import kernel
from ceiflow.eels.source import Source, fixed_batches, sums_by_label

# Differences that are worth a group of their own: of t/lambda, and of an edge's share of the counts.
THICKNESS_SCALE, SHARE_SCALE = 0.03, 0.02
# Fewer pixels than this teach a group nothing.
SMALLEST_GROUP = 32
SWEEPS = 8
# No low loss, no plural scattering: a kernel that leaves spectra as they are.
NO_SPREAD = (np.ones(1), 0)
CHUNK = 8192
# So many points show how they fall into groups.
SAMPLE = 16384


def share_moments(
    energy_eV: np.ndarray,
    mean: np.ndarray,
    noise: Noise,
    sections: Mapping[str, CrossSection],
    elements: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Weights whose product with a spectrum gives the counts under each edge, in one linear step.

    Parameters
    ----------
    energy_eV, mean : (n,) array
        Axis of the fit, and the mean spectrum there, whose noise is the weight.
    noise : Noise
    sections : mapping of str to CrossSection
    elements : sequence of str

    Returns
    -------
    (n, E) array
        Moments: background and the other edges give 0. No plural scattering, no near edges: good enough to
        tell materials apart, which is all they are for.
    (E,) array
        Variance of each of a spectrum that is the mean one.
    """
    design = build_design(energy_eV, sections, elements, (np.ones(1), 0))
    columns = np.concatenate(
        [design.background[:, None] * design.log_energy[:, None] ** np.arange(3), design.continuum], axis=1
    )
    columns = columns / np.abs(columns).sum(0)
    variance = np.maximum(noise.variance(np.maximum(mean, 1e-3 * max(mean.mean(), 1e-12))), 1e-12)
    weighted = columns / variance[:, None]
    inverse = np.linalg.pinv(columns.T @ weighted, hermitian=True)
    # Columns are of unit sum, so that amplitudes are counts.
    return (weighted @ inverse)[:, 3:], np.diag(inverse)[3:]


def pooled(
    values: np.ndarray, total: np.ndarray, deviation: float, shape: tuple[int, int], scale: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Ratios of sums over so many neighbours (seven a side at most) that noise falls below half of `scale`.

    Parameters
    ----------
    values : (p, k) array
    total : (p,) array
    deviation : float
        Noise of the ratio in a typical pixel.
    shape : (rows, columns)
        (1, 1) for spectra without neighbours.
    scale : float

    Returns
    -------
    (p, k) array, (p,) array, int
        Ratios; the summed total in units of a typical pixel's; pixels a side.
    """
    side = next((s for s in (1, 3, 5, 7) if deviation / s < 0.5 * scale or s >= max(shape)), 7)

    def smooth(array: np.ndarray) -> np.ndarray:
        return array if side == 1 else box_mean(array.reshape(shape), side).ravel()

    whole = smooth(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([smooth(column) / whole for column in values.T], axis=1)
    return np.where(np.isfinite(ratios), ratios, 0.0), whole / max(total.mean(), 1e-300), side


def box_mean(image: np.ndarray, side: int) -> np.ndarray:
    """Mean over a square of an odd number of pixels around each, the last row and column repeated outside."""
    for axis in (0, 1):
        reach, size = side // 2, image.shape[axis]
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        parts = [np.take(padded, range(first, first + size), axis) for first in range(side)]
        image = np.add.reduce(parts) / side
    return image


def split_groups(
    features: np.ndarray, noise: np.ndarray, groups: int, smallest: int = SMALLEST_GROUP
) -> np.ndarray:
    """Sort points into compact groups: the widest is halved again and again, then means are settled.

    Nothing random: a group is cut at its mean across its widest direction, so the same points give the same
    groups. How wide a group is, is what its points scatter beyond their noise; one that is narrower than half
    the scale of the features is not cut.

    Parameters
    ----------
    features : (p, d) array
        In units of a difference that matters.
    noise : (p, d) array
        Their variance by counting.
    groups : int
        At most so many.
    smallest : int
        A group has no fewer points when it is cut.

    Returns
    -------
    (p,) int array
        Labels 0..k-1.
    """
    whole = len(features) <= SAMPLE
    # Evenly spread points show the groups; a stride that divides the length of a row would show one column.
    chosen = np.arange(len(features)) if whole else (np.arange(SAMPLE) * len(features)) // SAMPLE
    few = _split(features[chosen], noise[chosen], groups, smallest)
    return np.unique(_nearest(features, _centres(features[chosen], few)), return_inverse=True)[1]


def _split(features: np.ndarray, noise: np.ndarray, groups: int, smallest: int) -> np.ndarray:
    """Labels before the last assignment."""
    labels = np.zeros(len(features), np.int64)
    widths = {0: _width(features, noise, smallest)}
    while len(widths) < groups:
        widest = max(widths, key=lambda label: widths[label][0])
        score, axis, centre = widths[widest]
        if not score > 0:
            break
        inside = np.flatnonzero(labels == widest)
        above = inside[(features[inside] - centre) @ axis > 0]
        if min(above.size, inside.size - above.size) < smallest:
            widths[widest] = (0.0, axis, centre)
            continue
        new = len(widths)
        labels[above] = new
        for label in (widest, new):
            part = labels == label
            widths[label] = _width(features[part], noise[part], smallest)
    return _settle(features, labels)


def _width(points: np.ndarray, noise: np.ndarray, smallest: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Excess sum of squares along the widest direction, 0 if it does not matter; that direction; the mean."""
    centre = points.mean(0)
    scatter = (points - centre).T @ (points - centre) / len(points)
    expected = noise.mean(0)
    values, vectors = np.linalg.eigh(scatter - np.diag(expected))
    # The largest of several directions scatters upwards, by so much for noise alone.
    chance = 3 * expected.max() * np.sqrt(2 * points.shape[1] / len(points))
    matters = values[-1] > 0.25 + chance and len(points) >= 2 * smallest
    return (float(values[-1]) * len(points) if matters else 0.0), vectors[:, -1], centre


def _settle(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A few sweeps of k-means from these groups."""
    for _ in range(SWEEPS):
        moved = _nearest(features, _centres(features, labels))
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels


def _centres(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(k, d) array: means of the groups that are not empty."""
    counts = np.bincount(labels)
    sums = np.stack([np.bincount(labels, column) for column in features.T], axis=1)
    return sums[counts > 0] / counts[counts > 0, None]


def _nearest(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(p,) int array: the nearest centre of each point."""
    # |f - c|^2 without the term that all centres share.
    half = 0.5 * np.sum(centres**2, axis=1)
    parts = [
        np.argmax(features[first : first + CHUNK] @ centres.T - half, axis=1)
        for first in range(0, len(features), CHUNK)
    ]
    return np.concatenate(parts).astype(np.int64)


def in_order(labels: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The same groups, numbered by their mean of `key`."""
    number = int(labels.max()) + 1
    means = np.bincount(labels, key, number) / np.bincount(labels, minlength=number)
    place = np.empty(number, np.int64)
    place[np.argsort(means, kind="stable")] = np.arange(number)
    return place[labels]


def group_pixels(source: Source, sizes: np.ndarray | None = None) -> np.ndarray:
    """Label of every pixel of an acquisition, in the order of mean t/lambda.

    Parameters
    ----------
    source : Source
    sizes : (p,) array, optional
        Pixels that each spectrum is the sum of: then it is pooled with no neighbour, and read noise, which
        adds up, makes groups too.

    Returns
    -------
    (p,) int array
    """
    options, low = source.config["eels"]["fit"], source.low
    shape, smallest = (source.core.shape[:2], SMALLEST_GROUP) if sizes is None else ((1, 1), 1)
    features, noise = [], []
    key = np.zeros(source.pixels)
    if low is not None and not low.shared:
        error = float(np.nanmedian(low.thickness_se)) if np.isfinite(low.thickness_se).any() else np.inf
        share, _, side = pooled(low.zero_loss[:, None], low.total, error, shape, THICKNESS_SCALE)
        known = share[:, 0] > 0
        if known.any():
            key = -np.log(np.where(known, share[:, 0], np.median(share[known])))
            features.append(key[:, None] / THICKNESS_SCALE)
            noise.append(np.nan_to_num(low.thickness_se[:, None] / side / THICKNESS_SCALE) ** 2)
    mean = source.mean
    moments, variance = share_moments(source.energy_eV, mean, source.noise, source.sections, source.modelled)
    if moments.shape[1] and mean.sum() > 0:
        counts, total = _moments_of_pixels(source, moments)
        deviation = np.sqrt(variance) / mean.sum()
        shares, level, side = pooled(counts, total, float(deviation.max()), shape, SHARE_SCALE)
        # Hardly lit pixels tell nothing of their material.
        lit = level > 0.02
        features.append(np.where(lit[:, None], np.clip(shares, -1, 1), 0.0) / SHARE_SCALE)
        level = np.where(lit, level, np.inf)
        noise.append((deviation / side / SHARE_SCALE) ** 2 / level[:, None])
    if sizes is not None and source.noise.read_noise:
        features.append(np.log2(sizes)[:, None])
        noise.append(np.zeros((source.pixels, 1)))
    if not features:
        return np.zeros(source.pixels, np.int64)
    groups = int(options.get("groups") or 16)
    points, scatter = np.concatenate(features, axis=1), np.concatenate(noise, axis=1)
    return in_order(split_groups(points, scatter, groups, smallest), key)


def _moments_of_pixels(source: Source, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p, E) and (p,) arrays: edge counts of every pixel by `share_moments`, and its counts."""
    counts, total = np.empty((source.pixels, moments.shape[1])), np.empty(source.pixels)
    weights = np.concatenate([moments, np.ones((moments.shape[0], 1))], axis=1).astype(np.float32)
    pedestal = source.noise.dark * weights.sum(0, dtype=np.float64)
    block = int(source.config["eels"]["fit"].get("block_pixels") or 1024)
    for where, batch in fixed_batches(source.core, block):
        sums = batch[:, source.channels] @ weights - pedestal
        counts[where], total[where] = sums[:, :-1], sums[:, -1]
    return counts, total


def sum_groups(source: Source, group: np.ndarray) -> np.ndarray:
    """(groups, n) array: summed core loss of each group on the channels of the fit, dark level removed."""
    number = int(group.max()) + 1
    sums = np.zeros((number, source.core.shape[2]))
    block = int(source.config["eels"]["fit"].get("block_pixels") or 1024)
    for where, batch in fixed_batches(source.core, block):
        found, part = sums_by_label(batch, group[where])
        sums[found] += part
    sums -= source.noise.dark * np.bincount(group[source.live], minlength=number)[:, None]
    return sums[:, source.channels]


def group_kernels(source: Source, group: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Mean low loss of each group as a convolution kernel."""
    number = int(group.max()) + 1
    if source.low is None:
        return [NO_SPREAD] * number
    low = source.low
    step = float(source.energy_eV[1] - source.energy_eV[0])
    block = int(source.config["eels"]["fit"].get("block_pixels") or 1024)
    labels = np.zeros(low.signal.shape[0] * low.signal.shape[1], np.int64) if low.shared else group
    sums = np.zeros((int(labels.max()) + 1, low.energy_eV.size))
    for where, batch in fixed_batches(low.signal, block):
        found, part = sums_by_label(batch, labels[where])
        sums[found] += part
    sums -= low.dark * np.bincount(labels, minlength=len(sums))[:, None]
    kernels = [kernel(low.energy_eV, np.clip(total, 0, None), step) for total in sums]
    return kernels * number if low.shared else kernels
