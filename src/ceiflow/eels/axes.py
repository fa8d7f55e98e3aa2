"""Stage `calibrate`: energy axes, alignment of single pixels, spikes, and what the detector's noise is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ceiflow.eels.calibration import decide_axis, fine_structure_reason, residual_shift
from ceiflow.eels.detector import NoiseEstimate, estimate_noise
from ceiflow.eels.drift import Alignment, align
from ceiflow.eels.energy import AxisCalibration
from ceiflow.eels.source import to_json
from ceiflow.eels.spikes import find_spikes, replace_spikes
from ceiflow.eels.transfer import Transfer, decide_transfer, measure_transfer
from ceiflow.eels.zero_loss import ZeroLoss, look_for_zero_loss, roll_channels, shift_likelihood
from ceiflow.errors import SignalError
from ceiflow.signals.store import (
    Header,
    SignalFile,
    carry_header,
    create_h5,
    open_signal,
    read_dead,
    read_header,
    write_dead,
)

# Rows of pixels that are held at once while a file is copied, in spectra.
COPY_SPECTRA = 4096
# How an axis was found is no warning; that something is missing or contradictory is.
HARMLESS = ("dispersion not measured", "core loss moves", "low loss stands on")
# Errors larger than this (channels) mean that pixels lean on the drift rather than on their own counts.
POOLED_CHANNELS = 0.5


@dataclass
class _ZeroLosses:
    """What the low loss says: its peak after alignment, each pixel's shift in eV, or why there is none."""

    peak: ZeroLoss | None = None
    alignment: Alignment | None = None
    step_eV: float = 1.0
    reason: str = ""
    flags: list[str] = field(default_factory=list)

    @property
    def channels(self) -> np.ndarray | None:
        """Whole channels that each pixel of the low loss is moved down by; None where nothing moves."""
        if self.alignment is None:
            return None
        channels = np.rint(self.alignment.shift).astype(np.int64)
        return channels if np.any(channels) else None


def calibrate(signal: Path, output: Path, config: Mapping[str, Any]) -> None:
    """Put both energy axes right, straighten zero-loss jitter by whole channels, take spikes out.

    Parameters
    ----------
    signal, output : Path
        Canonical file, and the calibrated one: the same layout with a root attribute `calibration`, and with
        `zero_loss/shift_eV` and `zero_loss/shift_se_eV`, (rows, columns), where pixels were aligned.
    config : mapping

    Raises
    ------
    SignalError
        The core loss starts at the zero loss or below: it is a low loss.
    """
    header = read_header(signal)
    options = config["eels"]
    core = open_signal(signal, "core_loss")
    _refuse_low_loss(header, core.energy_offset_eV)
    low = open_signal(signal, "low_loss") if "low_loss" in header.roles else None
    dead = read_dead(signal)
    zero = _zero_losses(low, options, dead)
    same_grid = low is not None and low.shape[:2] == core.shape[:2]
    same_file = _same_recording(header) and same_grid
    transfer, core_shifts, blur_eV = _follow(core, zero, same_grid, same_file, dead)
    counts = _summed(core, core_shifts)
    energy_options = dict(options.get("energy") or {})
    axis = decide_axis(
        core.energy_eV, counts, list(options["elements"]), energy_options, zero.peak, same_file
    )
    noise = estimate_noise(core, config.get("detector") or {}, dead)
    axis.flags = zero.flags + _flags(transfer, noise, config) + axis.flags
    with create_h5(output) as file:
        spikes = _copy(signal, file, "core_loss", core, core_shifts, spikes=True)
        _set_axis(file, "core_loss", axis.apply(core.energy_eV))
        if low is not None:
            _copy(signal, file, "low_loss", low, zero.channels, spikes=False)
            offset = zero.peak.position_eV if zero.peak is not None else 0.0
            _set_axis(file, "low_loss", low.energy_eV - offset)
        for role in ("adf", "image"):
            if role in header.roles:
                with h5py.File(signal, "r") as source:
                    source.copy(source[role], file, name=role)
        write_dead(file, dead)
        if zero.alignment is not None:
            for name, values in (("shift", zero.alignment.shift), ("shift_se", zero.alignment.se)):
                data = (values * zero.step_eV).reshape(low.shape[:2]).astype(np.float32)
                file.create_dataset(f"zero_loss/{name}_eV", data=data, track_times=False)
        carry_header(signal, file, warnings=[flag for flag in axis.flags if not flag.startswith(HARMLESS)])
        record = _summary(axis, zero.peak, spikes)
        record |= _energies(axis, blur_eV)
        record["zero_loss"] = _zero_loss_record(zero, header, None if low is None else low.shape)
        record["transfer"] = {
            "factor": _rounded(transfer.factor),
            "se": _rounded(transfer.se),
            "applied": transfer.applied,
            "reason": transfer.reason,
        }
        record["detector"] = noise.record()
        record["dead_pixels"] = 0 if dead is None else int(dead.sum())
        file.attrs["calibration"] = to_json(record)


def _refuse_low_loss(header: Header, start_eV: float) -> None:
    """No edge can be told from the zero loss in one range with it."""
    if start_eV <= 0:
        path = next((item["path"] for item in header.source if item["role"] == "core_loss"), "core loss")
        found = f"a range that starts at {start_eV:g} eV and holds the zero loss"
        expected = "a core-loss range; are path and low_loss_path exchanged?"
        raise SignalError(path, "energy axis", found, expected)


def _zero_losses(low: SignalFile | None, options: Mapping[str, Any], dead: np.ndarray | None) -> _ZeroLosses:
    """The zero loss after alignment, and by how much each pixel stands too high."""
    if low is None:
        return _ZeroLosses(reason="no low loss")
    limit = float((options.get("energy") or {}).get("max_offset_eV", 25.0))
    energy = low.energy_eV
    total = _summed(low, None)
    peak, reason = look_for_zero_loss(energy, total, limit)
    if peak is None:
        text = f"the low loss holds no zero loss ({reason}): its axis is kept, and nothing is aligned"
        return _ZeroLosses(reason=reason, flags=[text])
    found = _ZeroLosses(peak, step_eV=float(energy[1] - energy[0]))
    pixels = low.shape[0] * low.shape[1]
    if peak.pedestal > 0.02 * total.max():
        found.flags.append(f"low loss stands on {peak.pedestal / pixels:.3g} counts a channel: taken off")
    if pixels == 1:
        return found
    live = None if dead is None or dead.shape != low.shape[:2] else ~dead.ravel()
    for _ in range(2):
        parts = [shift_likelihood(energy, block, total, peak) for _, block in low.blocks(COPY_SPECTRA)]
        likelihood = np.concatenate([part[1] for part in parts])
        found.alignment = align(parts[0][0], likelihood, live)
        total = _summed(low, found.channels)
        peak = look_for_zero_loss(energy, total, limit)[0] or peak
    found.peak = peak
    return found


def _same_recording(header: Header) -> bool:
    paths = {item["role"]: item.get("path") for item in header.source}
    return paths.get("core_loss") is not None and paths.get("core_loss") == paths.get("low_loss")


def _follow(
    core: SignalFile, zero: _ZeroLosses, same_grid: bool, same_file: bool, dead: np.ndarray | None
) -> tuple[Transfer, np.ndarray | None, float]:
    """Whether the core loss moves with the zero loss; its whole-channel shifts; what stays (eV, 1 sigma)."""
    if zero.alignment is None or not same_grid:
        reason = zero.reason or "the low loss is one spectrum" if not same_grid else "a single spectrum"
        return Transfer(None, None, False, reason), None, 0.0
    shift = zero.alignment.shift * zero.step_eV / core.energy_scale_eV
    channels = np.rint(shift).astype(np.int64)
    live = None if dead is None else ~dead.ravel()
    moves = bool(np.any(channels))
    measured = measure_transfer(core, shift, live) if moves else None
    transfer = decide_transfer(measured, same_file, moves)
    left = shift - channels if transfer.applied else shift
    spread = np.std(left if live is None else left[live])
    if not transfer.applied and measured is not None and measured[0] + measured[1] < 0.5:
        # What does not move with the zero loss is not blurred by it.
        spread = 0.0
    return transfer, channels if transfer.applied else None, float(spread * core.energy_scale_eV)


def _flags(transfer: Transfer, noise: NoiseEstimate, config: Mapping[str, Any]) -> list[str]:
    flags = [transfer.reason] if transfer.reason.startswith("core loss moves") else []
    if noise.contradicts():
        flags.append(
            f"spectra scatter {noise.variance_ratio:.3g} +- {noise.variance_ratio_se:.2g} times as much "
            f"(variance) as the detector's description says: errors rest on what they show, {noise.label()}"
        )
    return flags


def _summed(signal: SignalFile, shifts: np.ndarray | None) -> np.ndarray:
    total = np.zeros(signal.shape[2])
    for where, block in signal.blocks(COPY_SPECTRA):
        if shifts is not None:
            block = roll_channels(block, shifts[where])
        total += block.sum(0, dtype=np.float64)
    return total


def _copy(
    path: Path, file: h5py.File, role: str, signal: SignalFile, shifts: np.ndarray | None, spikes: bool
) -> int:
    """Copy a signal by rows, aligned and without spikes; returns how many channels were replaced."""
    rows, columns, size = signal.shape
    target = file.create_dataset(f"{role}/data", shape=signal.shape, dtype=signal.dtype, track_times=False)
    if signal.pixel_size_nm is not None:
        target.attrs["pixel_size_nm"] = signal.pixel_size_nm
    step = max(COPY_SPECTRA // columns, 1)
    replaced = 0
    with h5py.File(path, "r") as source:
        data = source[f"{role}/data"]
        for first in range(0, rows, step):
            last = min(first + step, rows)
            # One row more on either side, so that every pixel sees its neighbours.
            low, high = max(first - 1, 0), min(last + 1, rows)
            block = data[low:high]
            if spikes:
                spots = find_spikes(block)
                block = replace_spikes(block, spots)
                inside = (spots[:, 0] >= first - low) & (spots[:, 0] < last - low)
                replaced += int(np.sum(inside))
            block = block[first - low : last - low]
            if shifts is not None:
                flat = roll_channels(block.reshape(-1, size), shifts[first * columns : last * columns])
                block = flat.reshape(block.shape)
            target[first:last] = block
    return replaced


def _set_axis(file: h5py.File, role: str, energy: np.ndarray) -> None:
    data = file[f"{role}/data"]
    data.attrs["energy_offset_eV"] = float(energy[0])
    data.attrs["energy_scale_eV"] = float((energy[-1] - energy[0]) / max(energy.size - 1, 1))


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def _summary(axis: AxisCalibration, peak: ZeroLoss | None, spikes: int) -> dict[str, Any]:
    return {
        "energy_offset_eV": round(axis.offset_eV, 4),
        "energy_offset_se_eV": round(axis.offset_se_eV, 4),
        "low_loss_offset_eV": None if peak is None else round(peak.position_eV, 4),
        "zero_loss_fwhm_eV": None if peak is None else round(peak.fwhm_eV, 4),
        "dispersion_factor": round(axis.dispersion_factor, 6),
        "dispersion_se": round(axis.dispersion_se, 6),
        "method": axis.method,
        "edges": axis.edges,
        "spikes": spikes,
        "flags": axis.flags,
    }


def _energies(axis: AxisCalibration, blur_eV: float) -> dict[str, Any]:
    """What is left of shifts, and whether fine structure can stand it."""
    value, error = residual_shift(axis)
    covariance = None
    if axis.covariance is not None:
        covariance = [[float(f"{item:.6g}") for item in row] for row in axis.covariance]
    reason = fine_structure_reason(axis, blur_eV)
    return {
        "residual_shift_eV": _rounded(value),
        "residual_shift_se_eV": _rounded(error),
        "pixel_shift_left_eV": _rounded(blur_eV),
        "axis_origin_eV": _rounded(axis.origin_eV) if covariance else None,
        "axis_covariance": covariance,
        "fine_structure_ready": not reason,
        "fine_structure_reason": reason,
    }


def _zero_loss_record(zero: _ZeroLosses, header: Header, shape: tuple[int, ...] | None) -> dict[str, Any]:
    """The zero loss for a page and for checks; energies in eV."""
    record: dict[str, Any] = {"reason": zero.reason}
    if zero.peak is not None:
        record["pedestal_counts"] = _rounded(zero.peak.pedestal / (shape[0] * shape[1]))
    if zero.alignment is None:
        return record
    found, step = zero.alignment, zero.step_eV
    median = float(np.median(found.se))
    record |= {
        "jitter_eV": _rounded(found.jitter * step),
        "jitter_se_eV": _rounded(found.jitter_se * step),
        "drift_range_eV": _rounded(float(np.ptp(found.drift)) * step),
        "drift_eV_per_row": _rounded(found.rate * step * shape[1]),
        "drift_se_eV_per_row": _rounded(found.rate_se * step * shape[1]),
        "shift_se_eV": _rounded(median * step),
        "pooled": bool(median > POOLED_CHANNELS),
    }
    times = [header.metadata.get(name) for name in ("exposure_s", "low_loss_exposure_s")]
    seconds = sum(float(item.value) for item in times if item is not None and item.value)
    if times[0] is not None and times[0].value:
        # Of the time that is exposed; what passes between pixels is not written down.
        record["drift_eV_per_min"] = _rounded(found.rate * step * 60 / seconds)
        record["drift_se_eV_per_min"] = _rounded(found.rate_se * step * 60 / seconds)
    return record
