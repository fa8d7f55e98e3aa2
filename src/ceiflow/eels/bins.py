"""Fits of pooled pixels with all that draws them again: counts, model columns, amplitudes, covariances.

What a page needs that shows the spectrum of any pixel or of any region: sums over a region of counts, models,
amplitudes and covariances are those of the region, so that shares are ratios of sums.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.batch import BatchFitter, Solution
from ceiflow.eels.pixels import PixelFits, fit_pixels
from ceiflow.eels.source import Source, fixed_batches, open_source
from ceiflow.eels.zones import DETECTION_SIGMA, _scale_errors, fit_source_zones
from ceiflow.signals.store import carry_header, create_h5, open_signal, read_header

# Columns of the background: its shape, the change of its exponent, and three further terms of that series.
BACKGROUND_TERMS = 5


@dataclass
class BinFits:
    """Fits of bins of side x side pixels, in C order of the bins.

    Parameters
    ----------
    shape : (rows, columns)
        Of the bins; those of the last row and column hold the pixels that are left.
    side, channel_factor : int
        Pixels along a bin's side; channels summed into one.
    energy_eV : (n,) array
        Middles of the summed channels.
    counts : (b, n) float64 array
        Dark level removed.
    elements : list of str
        Those that can be answered for.
    modelled : list of str
        Those and the edges that are in view but too close to an end; the order of the model's columns.
    group : (b,) int array
    basis : (g, 5 + 2 E, n) array
        Columns of each group: background terms, edges of unit theta, and what an edge may differ by.
    amplitudes : (b, 5 + 2 E) array
        Of those columns.
    theta : (b, e) array
        Atoms nm^-2 times incident electrons, of `elements`.
    covariance : (b, e, e) array
    floor : (b, e) array
        Error of `theta` that does not average out over pixels, because they share shapes of edges and of the
        background: what the fit of the bin's whole zone says beyond counting. Adds up linearly.
    zone : (b,) uint8 array
        Zone of all of a bin's pixels, else 0.
    zero_loss, total : (b,) array or None
        Low-loss counts.
    chi2, thickness : (b,) array
    source : Source
        Noise, reasons, exposures and axes of the bins.
    """

    shape: tuple[int, int]
    side: int
    channel_factor: int
    energy_eV: np.ndarray
    counts: np.ndarray
    elements: list[str]
    modelled: list[str]
    group: np.ndarray
    basis: np.ndarray
    amplitudes: np.ndarray
    theta: np.ndarray
    covariance: np.ndarray
    floor: np.ndarray
    zone: np.ndarray
    zero_loss: np.ndarray | None
    total: np.ndarray | None
    chi2: np.ndarray
    thickness: np.ndarray
    source: Source

    @property
    def scale_errors(self) -> np.ndarray:
        """(e,) array: relative systematic error of each element's cross-section."""
        return _scale_errors(self.source)


def fit_bins(
    calibrated: Path,
    edges: Path,
    config: Mapping[str, Any],
    zone: np.ndarray,
    side: int = 1,
    channel_factor: int = 1,
) -> BinFits:
    """Sum bins of pixels, fit each, and keep what draws it.

    Parameters
    ----------
    calibrated, edges : Path
        Files of `calibrate` and `edges`.
    config : mapping
        The merged configuration.
    zone : (rows, columns) uint8 array
        Zone of every pixel.
    side : int
        Pixels along a bin's side.
    channel_factor : int
        Channels that are summed into one for display; the fit is that of all channels.
    """
    zone = pool_zones(zone, side)
    if side == 1:
        return _fit(calibrated, edges, config, zone, 1, channel_factor)
    dark = float((config.get("detector") or {}).get("dark") or 0.0)
    shape = open_signal(calibrated, "core_loss").shape[:2]
    with tempfile.TemporaryDirectory(prefix="ceiflow-") as folder:
        pooled = Path(folder) / "pooled.h5"
        pool(calibrated, pooled, side, dark)
        found = _fit(pooled, edges, pooled_config(config, side), zone, side, channel_factor)
    if found.source.low is not None and found.source.low.shared:
        # One low loss for all pixels: a bin has had that of each of its pixels.
        pixels = bin_sizes(shape, side)
        found.zero_loss, found.total = found.zero_loss * pixels, found.total * pixels
    return found


def pool_zones(zone: np.ndarray, side: int) -> np.ndarray:
    """Zone of every bin of side x side pixels, in C order: that of all its pixels, else 0."""
    least, most = (_per_bin(ends, zone, side) for ends in (np.minimum, np.maximum))
    return np.where(least == most, least, 0).astype(np.uint8).ravel()


def bin_sizes(shape: tuple[int, int], side: int) -> np.ndarray:
    """(bins,) array: pixels of every bin, in C order; the last of a row or column holds what is left."""
    return _per_bin(np.add, np.ones(shape), side).ravel()


def _per_bin(operation: np.ufunc, values: np.ndarray, side: int) -> np.ndarray:
    """A sum or an extreme of the pixels of each bin; of the first two axes, no pixel left out."""
    for axis in (0, 1):
        values = operation.reduceat(values, np.arange(0, values.shape[axis], side), axis=axis)
    return values


def pooled_config(config: Mapping[str, Any], side: int) -> dict[str, Any]:
    """The configuration with the detector as a sum of side x side pixels has it, the dark level taken off."""
    changed = copy.deepcopy(dict(config))
    detector = changed.setdefault("detector", {})
    # Bins of fewer pixels have less of it: there the errors are too large rather than too small.
    detector["read_noise"] = float(detector.get("read_noise") or 0.0) * side
    detector["dark"] = 0.0
    return changed


def pool(calibrated: Path, output: Path, side: int, dark: float = 0.0) -> None:
    """Write a calibrated file whose pixels are sums of side x side pixels, fewer at the ends.

    A low loss on another grid than the core loss is kept as it is.

    Parameters
    ----------
    calibrated, output : Path
    side : int
        Pixels along a bin's side.
    dark : float
        Counts a pixel and channel that are no signal, and are taken off.
    """
    roles = [role for role in ("core_loss", "low_loss") if role in read_header(calibrated).roles]
    grid = open_signal(calibrated, "core_loss").shape[:2]
    with create_h5(output) as file:
        for role in roles:
            signal = open_signal(calibrated, role)
            step = side if signal.shape[:2] == grid else 1
            rows, columns = (-(-size // step) for size in signal.shape[:2])
            data = file.create_dataset(f"{role}/data", (rows, columns, signal.shape[2]), "f4")
            starts = np.arange(0, signal.shape[1], step)
            for row in range(rows):
                # One row of bins at a time: in double precision more would be too much of a large image.
                block = signal.read(rows=slice(row * step, min((row + 1) * step, signal.shape[0])))
                summed = np.zeros(block.shape[1:])
                for line in block:
                    summed += line.astype(np.float64) - dark
                data[row] = np.add.reduceat(summed, starts, axis=0)
            if signal.pixel_size_nm is not None:
                data.attrs["pixel_size_nm"] = signal.pixel_size_nm * step
            data.attrs["energy_offset_eV"] = signal.energy_offset_eV
            data.attrs["energy_scale_eV"] = signal.energy_scale_eV
        carry_header(calibrated, file)


def _fit(
    calibrated: Path, edges: Path, config: Mapping[str, Any], zone: np.ndarray, side: int, factor: int
) -> BinFits:
    source = open_source(calibrated, edges, config)
    number, modelled = len(source.elements), len(source.modelled)
    width = BACKGROUND_TERMS + 2 * modelled
    amplitudes = np.zeros((source.pixels, width))
    covariance = np.zeros((source.pixels, number, number))
    fitters: dict[BatchFitter, int] = {}

    def keep(rows: np.ndarray, fitter: BatchFitter, found: Solution) -> None:
        size = rows.size
        fitters[fitter] = int(rows[0])
        amplitudes[rows] = _amplitudes(fitter, found.z[:size], modelled)
        turned = fitter.group.element_atoms[:number] @ found.unwhiten
        covariance[rows] = np.einsum("ai,ijp,bj->pab", turned, found.inverse[:, :, :size], turned)

    fits = fit_pixels(source, keep)
    size = source.energy_eV.size // factor * factor
    basis = np.zeros((int(fits.group.max()) + 1, width, size // factor))
    for fitter, row in fitters.items():
        basis[fits.group[row]] = _basis(fitter, modelled)[:, :size].reshape(width, -1, factor).sum(2)
    return BinFits(
        shape=source.core.shape[:2],
        side=side,
        channel_factor=factor,
        energy_eV=source.energy_eV[:size].reshape(-1, factor).mean(1),
        counts=_counts(source, factor, size),
        elements=source.elements,
        modelled=source.modelled,
        group=fits.group,
        basis=basis,
        amplitudes=amplitudes,
        theta=fits.theta,
        covariance=covariance,
        floor=_floor(source, zone, fits.theta, covariance),
        zone=zone,
        zero_loss=None if source.low is None else source.low.zero_loss,
        total=None if source.low is None else source.low.total,
        chi2=fits.chi2,
        thickness=_thickness(source, fits),
        source=source,
    )


def _floor(source: Source, zone: np.ndarray, theta: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Error of each bin's `theta` that its zone shares, from the fit of the zone's summed spectrum."""
    shape = source.core.shape[:2]
    masks = {str(label): (zone == label).reshape(shape) for label in np.unique(zone)}
    floor = np.zeros(theta.shape)
    for label, fit in fit_source_zones(source, masks).items():
        inside = zone == int(label)
        for i, element in enumerate(source.elements):
            limit, scale = fit.areal_density[element][3], np.nan
            if np.isfinite(limit):
                scale = source.low.total[inside].sum() * source.exposure_ratio
            else:
                limit, scale = fit.atomic_fraction[element][3], theta[inside].sum()
            if np.isfinite(limit * scale):
                counting = covariance[inside, i, i].sum()
                extra = (limit * scale / DETECTION_SIGMA) ** 2 - counting
                floor[inside, i] = np.sqrt(max(extra, 0.0)) / inside.sum()
    return floor


def _thickness(source: Source, fits: PixelFits) -> np.ndarray:
    return fits.thickness if source.low is not None else np.full(source.pixels, np.nan)


def _amplitudes(fitter: BatchFitter, z: np.ndarray, modelled: int) -> np.ndarray:
    """Amplitudes of `_basis` from whitened ones."""
    bends = fitter._amplitudes(z)[:, z.shape[1] :]
    plain = z @ fitter.unwhiten.T
    owners = fitter.group.owners
    result = np.zeros((z.shape[0], BACKGROUND_TERMS + 2 * modelled))
    result[:, :2], result[:, 2:BACKGROUND_TERMS] = plain[:, :2], bends
    result[:, BACKGROUND_TERMS : BACKGROUND_TERMS + modelled] = plain[:, 2 : 2 + modelled]
    result[:, BACKGROUND_TERMS + modelled + owners] = plain[:, 2 + modelled :]
    return result


def _basis(fitter: BatchFitter, modelled: int) -> np.ndarray:
    """Columns of a group: background terms, edges, freedom of the edges (zero where there is none)."""
    group = fitter.group
    size = group.background.size
    result = np.zeros((BACKGROUND_TERMS + 2 * modelled, size))
    result[:2] = group.columns[:, :2].T
    result[2:BACKGROUND_TERMS] = fitter.expansion[fitter.size :]
    result[BACKGROUND_TERMS : BACKGROUND_TERMS + modelled] = group.shapes.T
    result[BACKGROUND_TERMS + modelled + group.owners] = group.freedom.T
    return result


def _counts(source: Source, factor: int, size: int) -> np.ndarray:
    block = int(source.config["eels"]["fit"].get("block_pixels") or 1024)
    counts = np.zeros((source.pixels, size // factor))
    for where, batch in fixed_batches(source.core, block):
        spectra = batch[:, source.channels][:, :size].astype(np.float64) - source.noise.dark
        counts[where] = spectra.reshape(spectra.shape[0], -1, factor).sum(2)
    return counts
