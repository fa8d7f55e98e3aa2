"""Sums over the pixels of zones, and the thickness of a zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.source import LowLoss, Source, fixed_batches

# Pixels thinner than this, or not above their noise by so many errors, are vacuum for the mean thickness of a
# whole image; and an average of logarithms needs so many zero-loss electrons a pixel.
VACUUM_THICKNESS, VACUUM_SIGMA, LEAST_ZERO_LOSS = 0.05, 3.29, 20.0


@dataclass(frozen=True)
class MeanThickness:
    """t/lambda of a zone, its statistical error, how it came about, and the pixels left out of it."""

    value: float
    error: float
    note: str = ""
    left: int = 0


@dataclass
class ZoneSums:
    """Sums over the pixels of one zone.

    Parameters
    ----------
    core : (n,) array
        Core loss over the whole recorded range, dark level removed.
    low : (k,) array or None
    low_weighted : (k,) array or None
        Low loss weighted by the core-loss signal per incident electron: what the zone's atoms saw.
    zero_loss, total : float
        Low-loss counts.
    n : int
    thickness : MeanThickness or None
    """

    core: np.ndarray
    low: np.ndarray | None
    low_weighted: np.ndarray | None
    zero_loss: float
    total: float
    n: int
    thickness: MeanThickness | None = None


def sum_zones(source: Source, masks: Mapping[str, np.ndarray]) -> dict[str, ZoneSums]:
    """Sum core and low loss over zones in one pass each.

    Parameters
    ----------
    source : Source
    masks : mapping of str to (rows, columns) bool array
    """
    names = list(masks)
    flat = np.stack([np.asarray(masks[name], bool).ravel() for name in names]).astype(np.float64)
    core = np.zeros((len(names), source.core.shape[2]))
    signal = np.zeros(source.pixels)
    block = int(source.config["eels"]["fit"].get("block_pixels") or 1024)
    for where, batch in fixed_batches(source.core, block):
        spectra = batch.astype(np.float64) - source.noise.dark
        core += flat[:, where] @ spectra
        signal[where] = spectra[:, source.channels].sum(1)
    low = source.low
    sums, weighted = None, None
    if low is not None:
        sums, weighted = (np.zeros((len(names), low.energy_eV.size)) for _ in range(2))
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(low.total > 0, np.clip(signal, 0, None) / low.total, 0.0)
        for where, batch in fixed_batches(low.signal, block):
            spectra = batch.astype(np.float64) - low.dark
            if low.shared:
                sums += flat.sum(1)[:, None] * spectra.sum(0) / (low.signal.shape[0] * low.signal.shape[1])
                weighted = sums
                continue
            sums += flat[:, where] @ spectra
            weighted += (flat[:, where] * weight[where]) @ spectra
    result = {}
    for i, name in enumerate(names):
        totals = (0.0, 0.0) if low is None else (float(flat[i] @ low.zero_loss), float(flat[i] @ low.total))
        result[name] = ZoneSums(
            core[i],
            None if sums is None else sums[i],
            None if weighted is None else weighted[i],
            *totals,
            int(flat[i].sum()),
            None if low is None else mean_thickness(low, flat[i] > 0, name == "all", source.noise.gain),
        )
    return result


def mean_thickness(low: LowLoss, inside: np.ndarray, leave_vacuum: bool, gain: float) -> MeanThickness | None:
    """t/lambda of a zone: the mean over its pixels, so that it is that of its mass.

    The log-ratio of summed spectra is less wherever thickness varies, since thin pixels have most of the zero
    loss. It stands where one spectrum serves all pixels, or counts are too few for a logarithm of each.

    Parameters
    ----------
    low : LowLoss
    inside : (p,) bool array
    leave_vacuum : bool
        Pixels below `VACUUM_THICKNESS`, or not above their noise, are no part of the mean.
    gain : float
        Counts per electron.

    Returns
    -------
    MeanThickness or None
        None without counts.
    """
    chosen = inside & np.isfinite(low.thickness)
    if leave_vacuum:
        matter = chosen & (low.thickness > np.maximum(VACUUM_THICKNESS, VACUUM_SIGMA * low.thickness_se))
        chosen = matter if matter.any() else chosen
    zero, total = float(low.zero_loss[chosen].sum()), float(low.total[chosen].sum())
    if not zero > 0:
        return None
    number = int(chosen.sum())
    left = int(inside.sum()) - number
    note = f"mean over {number} pixels" + (f", {left} of vacuum left out" if left else "")
    if low.shared or np.median(low.zero_loss[chosen]) < LEAST_ZERO_LOSS * gain:
        value, error = ll.thickness_over_mfp(zero, total, gain, low.missing)
        return MeanThickness(float(value), float(error), "of the summed spectrum" if number > 1 else "", left)
    # The logarithm of a few counts is low by half its relative variance, to first order.
    with np.errstate(divide="ignore"):
        bias = 0.5 * gain * (1 / low.zero_loss[chosen] - 1 / low.total[chosen])
    value = float(np.mean(low.thickness[chosen] - np.where(np.isfinite(bias), bias, 0.0)))
    error = float(np.sqrt(np.sum(low.thickness_se[chosen] ** 2)) / number)
    return MeanThickness(value, error, note if number > 1 else "", left)
