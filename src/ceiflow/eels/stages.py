"""Stages on files: calibrate, edges, quantify, measure_spectrum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ceiflow.eels.calibration import decide_axis
from ceiflow.eels.cross_sections import setting_of, write_edges
from ceiflow.eels.energy import AxisCalibration
from ceiflow.eels.k_factors import read_k_factors
from ceiflow.eels.source import Source, open_source, to_json
from ceiflow.eels.spikes import find_spikes, replace_spikes
from ceiflow.eels.zero_loss import (
    ZeroLoss,
    find_zero_loss,
    roll_channels,
    shift_likelihood,
    shift_map,
)
from ceiflow.errors import SignalError
from ceiflow.signals.store import Header, SignalFile, carry_header, create_h5, open_signal, read_header

FIT_SCHEMA = "ceiflow-fit-1"
NOT_SHARED = "the zero-loss jitter is not that of the core loss: core loss not aligned with it"
# Rows of pixels that are held at once while a file is copied, in spectra.
COPY_SPECTRA = 4096


def edges(signals: Sequence[Path], output: Path, config: Mapping[str, Any]) -> None:
    """Cross-sections for every microscope setting among `signals`.

    Parameters
    ----------
    signals : sequence of Path
        Canonical signal files; failed ones and images are passed over.
    output : Path
    config : mapping
    """
    settings = []
    for path in signals:
        header = read_header(path)
        if header.ok and header.modality in ("eels_si", "eels_spectrum"):
            settings.append(setting_of(header.metadata))
    options = config["eels"]
    write_edges(
        output,
        settings,
        list(options["elements"]),
        options.get("cross_sections", "hydrogenic"),
        options.get("gosh_file"),
        read_k_factors(options),
    )


def _refuse_low_loss(header: Header, start_eV: float) -> None:
    """No edge can be told from the zero loss in one range with it."""
    if start_eV <= 0:
        path = next((item["path"] for item in header.source if item["role"] == "core_loss"), "core loss")
        found = f"a range that starts at {start_eV:g} eV and holds the zero loss"
        expected = "a core-loss range; are path and low_loss_path exchanged?"
        raise SignalError(path, "energy axis", found, expected)


def calibrate(signal: Path, output: Path, config: Mapping[str, Any]) -> None:
    """Put both energy axes right, straighten zero-loss jitter by whole channels, take spikes out.

    Parameters
    ----------
    signal, output : Path
        Canonical file, and the calibrated one: the same layout with a root attribute `calibration`.
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
    flags: list[str] = []
    peak, shifts = _zero_loss(low, options, flags)
    same_grid = low is not None and low.shape[:2] == core.shape[:2]
    same_file = _same_recording(header) and same_grid
    core_shifts = _core_shifts(core, low, shifts, same_grid, flags)
    counts = _summed(core, core_shifts)
    axis = decide_axis(
        core.energy_eV, counts, list(options["elements"]), dict(options.get("energy") or {}), peak, same_file
    )
    axis.flags = flags + axis.flags
    with create_h5(output) as file:
        spikes = _copy(signal, file, "core_loss", core, core_shifts, spikes=True)
        _set_axis(file, "core_loss", axis.apply(core.energy_eV))
        if low is not None:
            _copy(signal, file, "low_loss", low, shifts, spikes=False)
            offset = peak.position_eV if peak is not None else 0.0
            _set_axis(file, "low_loss", low.energy_eV - offset)
        for role in ("adf", "image"):
            if role in header.roles:
                with h5py.File(signal, "r") as source:
                    source.copy(source[role], file, name=role)
        # How the axis was found is no warning; that something is missing or contradictory is.
        harmless = (NOT_SHARED, "dispersion not measured", "zero loss pooled")
        carry_header(signal, file, warnings=[flag for flag in axis.flags if not flag.startswith(harmless)])
        file.attrs["calibration"] = to_json(_summary(axis, peak, spikes))


def _zero_loss(
    low: SignalFile | None, options: Mapping[str, Any], flags: list[str]
) -> tuple[ZeroLoss | None, np.ndarray | None]:
    """The zero loss after alignment, and by how many channels each pixel stands too high."""
    if low is None:
        return None, None
    limit = float((options.get("energy") or {}).get("max_offset_eV", 25.0))
    energy = low.energy_eV
    total = _summed(low, None)
    peak = find_zero_loss(energy, total, limit)
    if peak is None:
        flags.append("the low loss holds no zero loss: its axis is kept, and nothing is aligned")
        return None, None
    if low.shape[0] * low.shape[1] == 1:
        return peak, None
    for _ in range(2):
        parts = [shift_likelihood(energy, block, total, peak) for _, block in low.blocks(COPY_SPECTRA)]
        likelihood = np.concatenate([part[1] for part in parts])
        position, _, side = shift_map(parts[0][0], likelihood, low.shape[:2])
        shifts = np.rint(position).astype(np.int64).ravel()
        total = _summed(low, shifts)
        peak = find_zero_loss(energy, total, limit) or peak
    if side > 1:
        flags.append(f"zero loss pooled over {side} x {side} pixels: few counts")
    return peak, shifts if np.any(shifts) else None


def _same_recording(header: Header) -> bool:
    paths = {item["role"]: item.get("path") for item in header.source}
    return paths.get("core_loss") is not None and paths.get("core_loss") == paths.get("low_loss")


def _core_shifts(
    core: SignalFile, low: SignalFile | None, shifts: np.ndarray | None, same_grid: bool, flags: list[str]
) -> np.ndarray | None:
    """Whole-channel shifts for the core loss: the zero loss's jitter, if it makes the edges sharper.

    Where both were recorded at once they move together; where they were not, moving one by the jitter of
    the other would only blur it. The spectra themselves say which.
    """
    if shifts is None or not same_grid:
        return None
    scaled = np.rint(shifts * (low.energy_scale_eV / core.energy_scale_eV)).astype(np.int64)
    if not np.any(scaled):
        return None
    still, moved = (_sharpness(_summed(core, choice), core) for choice in (None, scaled))
    if moved < still:
        flags.append(NOT_SHARED)
        return None
    return scaled


def _sharpness(counts: np.ndarray, core: SignalFile) -> float:
    width = max(round(1.0 / core.energy_scale_eV), 1)
    smooth = np.convolve(counts, np.ones(width) / width, mode="valid")
    inner = smooth[smooth.size // 20 : -max(smooth.size // 20, 1)]
    return float(np.sum(np.diff(inner) ** 2 / np.maximum(inner[1:], 1.0)))


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


def quantify(calibrated: Path, edges: Path, output: Path, config: Mapping[str, Any]) -> None:
    """Fit every pixel and write its maps.

    Parameters
    ----------
    calibrated, edges, output : Path
    config : mapping
    """
    from ceiflow.eels.pixels import fit_pixels

    source = open_source(calibrated, edges, config)
    fits = fit_pixels(source)
    shape = source.core.shape[:2]
    limit = config["eels"].get("max_thickness_over_mfp")
    density_reason, fraction_reason = source.density_reason(), source.fraction_reason()
    thick = fits.thickness > float(limit) if limit is not None else np.zeros(source.pixels, bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        electrons = np.full(source.pixels, np.nan)
        if not density_reason:
            electrons = np.where(source.low.total > 0, source.low.total, np.nan) * source.exposure_ratio
        density = fits.theta / electrons[:, None]
        low_noise = (
            density**2 * (source.noise.gain / source.low.total)[:, None] if source.low is not None else 0.0
        )
        density_std = np.sqrt((fits.theta_std / electrons[:, None]) ** 2 + low_noise)
        sums = fits.theta.sum(1, keepdims=True)
        fraction = np.where(sums > 0, fits.theta / sums, np.nan)
    density[thick] = density_std[thick] = fraction[thick] = np.nan
    if fraction_reason:
        fraction[:] = np.nan
    maps = {
        "counts": fits.counts,
        "counts_std": fits.counts_std,
        "areal_density": density,
        "areal_density_std": density_std,
        "atomic_fraction": fraction,
    }
    with create_h5(output) as file:
        for element in config["eels"]["elements"]:
            for name, values in maps.items():
                empty = np.full(shape, np.nan, np.float32)
                inside = element in source.elements
                data = values[:, source.elements.index(element)].reshape(shape) if inside else empty
                _write_map(file, f"{name}/{element}", data)
        _write_map(file, "thickness_over_mfp", fits.thickness.reshape(shape))
        _write_map(file, "reduced_chi2", fits.chi2.reshape(shape))
        _write_map(file, "total_counts", fits.total.reshape(shape))
        _write_map(file, "group", fits.group.reshape(shape))
        carry_header(calibrated, file, schema=FIT_SCHEMA, warnings=source.notes)
        _write_fit_attributes(file, source, density_reason, fraction_reason, int(thick.sum()))


def _write_map(file: h5py.File, name: str, values: np.ndarray) -> None:
    file.create_dataset(name, data=values.astype(np.float32), track_times=False)


def _write_fit_attributes(
    file: h5py.File, source: Source, density_reason: str, fraction_reason: str, too_thick: int
) -> None:
    elements = source.config["eels"]["elements"]
    file.attrs["identifiable"] = to_json({element: source.reasons.get(element, "") for element in elements})
    file.attrs["density_identifiable"] = density_reason
    file.attrs["fraction_identifiable"] = fraction_reason
    file.attrs["n_channels"] = source.energy_eV.size
    window = [round(float(source.energy_eV[0]), 4), round(float(source.energy_eV[-1]), 4)]
    file.attrs["window"] = json.dumps(window)
    file.attrs["too_thick_pixels"] = too_thick
    if source.core.pixel_size_nm is not None:
        file.attrs["pixel_size_nm"] = source.core.pixel_size_nm


def measure_spectrum(
    calibrated: Path,
    edges: Path,
    outputs: Mapping[str, Path],
    acquisition: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Measure a single spectrum (or line) as one zone `all`.

    Parameters
    ----------
    calibrated, edges : Path
    outputs : mapping of {"spectra", "measurements", "summary"} to Path
        Those that are given are written.
    acquisition : mapping
        Its row of the sheet.
    config : mapping
    """
    from ceiflow.eels.tables import write_spectra, zone_measurements
    from ceiflow.eels.zones import fit_source_zones
    from ceiflow.study import measurements as vocabulary

    source = open_source(calibrated, edges, config)
    fits = fit_source_zones(source, {"all": np.ones(source.core.shape[:2], bool)})
    elements = list(config["eels"]["elements"])
    rows = zone_measurements(fits, source.header, elements)
    rows += spectrum_rows(source.header)
    if "spectra" in outputs:
        write_spectra(outputs["spectra"], fits)
    if "measurements" in outputs:
        vocabulary.write_rows(outputs["measurements"], rows)
    if "summary" in outputs:
        summary = spectrum_summary(source, fits)
        Path(outputs["summary"]).write_text(
            json.dumps(summary, sort_keys=True, indent=1) + "\n", encoding="utf-8"
        )


def spectrum_rows(header: Header) -> list:
    """The layer's endpoints and the dose, for a signal that has no geometry."""
    from ceiflow.study import measurements as vocabulary

    rows = [
        vocabulary.not_identifiable("layer", name, "a single spectrum has no geometry")
        for name in vocabulary.LAYER_ENDPOINTS
    ]
    dose = header.metadata.get("dose_e_per_A2")
    if dose is None or dose.value is None:
        return [*rows, vocabulary.not_identifiable("all", "dose_e_per_A2", "dose unknown")]
    note = f"from {dose.origin}"
    return [*rows, vocabulary.Measurement("all", "dose_e_per_A2", dose.value, 0.0, n=1, note=note)]


def spectrum_summary(source: Source, fits: Mapping[str, Any]) -> dict[str, Any]:
    """Values of one acquisition for tables/acquisitions.tsv."""
    header = source.header
    calibration = json.loads(header.attributes.get("calibration", "{}"))
    names = ("energy_offset_eV", "energy_offset_se_eV", "low_loss_offset_eV", "dispersion_factor")
    thickness, error, systematic = fits["all"].thickness_over_mfp if "all" in fits else (np.nan,) * 3
    dose = header.metadata.get("dose_e_per_A2")
    notes = [*header.warnings, *source.notes]
    return {
        **{name: calibration.get(name) for name in names},
        "thickness_over_mfp": float(thickness) if np.isfinite(thickness) else None,
        "thickness_over_mfp_se": float(np.hypot(error, systematic)) if np.isfinite(thickness) else None,
        "dose_e_per_A2": None if dose is None else dose.value,
        "analysed_length_nm": None,
        "lod_thickness_nm": None,
        "n_pixels": source.pixels,
        "qc_status": "warning" if notes else "ok",
        "qc_reason": "; ".join(notes),
        "notes": notes,
        "metadata": {
            name: {"value": v.value, "origin": v.origin} for name, v in sorted(header.metadata.items())
        },
        "sources": header.source,
        "calibration": calibration,
        "cross_sections": {name: section.summary() for name, section in sorted(source.sections.items())},
    }
