"""Stages on files: edges, quantify, measure_spectrum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ceiflow.eels.calibration import axis_values
from ceiflow.eels.cross_sections import Setting, setting_of, write_edges
from ceiflow.eels.k_factors import read_k_factors
from ceiflow.eels.plausible import implausible
from ceiflow.eels.source import Source, open_source, to_json
from ceiflow.progress import Progress
from ceiflow.signals.store import Header, carry_header, create_h5, read_header

if TYPE_CHECKING:
    from ceiflow.eels.pixels import PixelFits

FIT_SCHEMA = "ceiflow-fit-1"
# Of so many pixels all quantities are in memory at once.
BLOCK_PIXELS = 2**18


def edges(signals: Sequence[Path], output: Path, config: Mapping[str, Any]) -> None:
    """Cross-sections for every microscope setting among `signals`.

    Parameters
    ----------
    signals : sequence of Path
        Canonical signal files; failed ones and images are passed over.
    output : Path
    config : mapping
    """
    _tabulate(_settings_of(signals), output, config)


def list_settings(signals: Sequence[Path], output: Path) -> None:
    """The microscope settings among `signals`, each once, as JSON.

    Parameters
    ----------
    signals : sequence of Path
        Canonical signal files; failed ones and images are passed over.
    output : Path
        Takes the fields of `Setting`.
    """
    rows = sorted({json.dumps(asdict(setting), sort_keys=True) for setting in _settings_of(signals)})
    output.write_text("[" + ",\n".join(rows) + "]\n", encoding="utf-8")


def edges_of_settings(settings: Path, output: Path, config: Mapping[str, Any]) -> None:
    """Cross-sections for every setting of a list that `list_settings` wrote.

    Parameters
    ----------
    settings, output : Path
    config : mapping
    """
    rows = json.loads(settings.read_text(encoding="utf-8"))
    found = [Setting(**{**row, "missing": tuple(row["missing"])}) for row in rows]
    _tabulate(found, output, config)


def _settings_of(signals: Sequence[Path]) -> list[Setting]:
    headers = [read_header(path) for path in signals]
    spectra = [item for item in headers if item.ok and item.modality in ("eels_si", "eels_spectrum")]
    return [setting_of(header.metadata) for header in spectra]


def _tabulate(settings: Sequence[Setting], output: Path, config: Mapping[str, Any]) -> None:
    options = config["eels"]
    write_edges(
        output,
        settings,
        list(options["elements"]),
        options.get("cross_sections", "hydrogenic"),
        options.get("gosh_file"),
        read_k_factors(options),
    )


def quantify(calibrated: Path, edges: Path, output: Path, config: Mapping[str, Any]) -> None:
    """Fit every pixel and write its maps.

    Parameters
    ----------
    calibrated, edges, output : Path
    config : mapping
    """
    from ceiflow.eels.adaptive import wanted_pair
    from ceiflow.eels.densities import too_thick
    from ceiflow.eels.pixels import fit_pixels

    source = open_source(calibrated, edges, config)
    progress = Progress(source.pixels, "pixels fitted")
    fits = fit_pixels(source, lambda rows, *_: progress.advance(len(rows)), wanted_pair(source)[0])
    shape = source.core.shape[:2]
    with create_h5(output) as file:
        _write_quantities(file, source, fits)
        # Bins are made by the amplitudes and their errors alone.
        fits.counts = fits.counts_std = fits.theta_zero_std = np.empty((0, 0))
        # The thickness of one low loss is no pixel's.
        one_for_all = source.low is not None and source.low.shared and source.pixels > 1
        thickness = np.full(source.pixels, np.nan) if one_for_all else fits.thickness
        _write_map(file, "thickness_over_mfp", thickness.reshape(shape))
        _write_map(file, "reduced_chi2", fits.chi2.reshape(shape))
        _write_map(file, "total_counts", fits.total.reshape(shape))
        _write_map(file, "group", fits.group.reshape(shape))
        _write_bins(file, source, fits)
        carry_header(calibrated, file, schema=FIT_SCHEMA, warnings=source.notes)
        _write_fit_attributes(file, source, int(too_thick(source, fits).sum()))


def same_design(calibrated: Path, edges: Path, output: Path, config: Mapping[str, Any]) -> None:
    """Maps of one and the same linear model for all pixels, for comparisons from pixel to pixel.

    Groups learn the near edge of their own material, so the counts of an atom change from group to group: two
    carbons side by side, and pixels that hold both, make a staircase of what should be a sum. With one design
    counts add up, at the price of one mean plural scattering for all.

    Parameters
    ----------
    calibrated, edges, output : Path
        The output has the maps of elements that `quantify` writes, and nothing else.
    config : mapping
    """
    from ceiflow.eels.pixels import fit_groups

    source = open_source(calibrated, edges, config)
    fits = fit_groups(source, np.zeros(source.pixels, np.int64), np.ones(source.pixels))
    with create_h5(output) as file:
        _write_quantities(file, source, fits)


def _write_quantities(file: h5py.File, source: Source, fits: PixelFits) -> None:
    """What every pixel holds of every element, by blocks of whole rows; NaN where nothing was recorded."""
    from ceiflow.eels.densities import quantities

    shape = source.core.shape[:2]
    for values in (
        fits.theta,
        fits.theta_std,
        fits.theta_zero_std,
        fits.counts,
        fits.counts_std,
        fits.chi2,
        fits.total,
    ):
        values[~source.live] = np.nan
    step = max(BLOCK_PIXELS // shape[1], 1) * shape[1]
    for first in range(0, source.pixels, step):
        where = slice(first, min(first + step, source.pixels))
        _write_elements(file, "", source, quantities(source, fits, where), shape, where)


def _write_elements(
    file: h5py.File,
    folder: str,
    source: Source,
    maps: Mapping[str, np.ndarray],
    shape: tuple[int, int],
    where: slice,
) -> None:
    """Some pixels, whole rows, of the maps of every chosen element; those that are not in view are NaN."""
    rows = slice(where.start // shape[1], where.stop // shape[1])
    for element in source.config["eels"]["elements"]:
        for name, values in maps.items():
            data = np.full(where.stop - where.start, np.nan, np.float32)
            if element in source.elements:
                data = values[:, source.elements.index(element)].astype(np.float32)
            path = f"{folder}{name}/{element}"
            if path not in file:
                file.create_dataset(path, shape, np.float32, track_times=False)
            file[path][rows] = data.reshape(-1, shape[1])


def _write_bins(file: h5py.File, source: Source, fits: PixelFits) -> None:
    """Adaptive bins: their labels, and what is in them on the pixels of each."""
    from ceiflow.eels.adaptive import fit_bins

    bins = fit_bins(source, fits)
    if bins is None:
        return
    shape = source.core.shape[:2]
    file.create_dataset("bin", data=bins.label.reshape(shape), track_times=False)
    file.attrs["bins"] = to_json(bins.summary())
    inside = bins.label >= 0
    # One after the other: whole maps of everything at once would be the peak of memory.
    for name, values in bins.values.items():
        spread = np.full((source.pixels, values.shape[1]), np.nan, np.float32)
        spread[inside] = values[bins.label[inside]]
        _write_elements(file, "binned/", source, {name: spread}, shape, slice(0, source.pixels))


def _write_map(file: h5py.File, name: str, values: np.ndarray) -> None:
    file.create_dataset(name, data=values.astype(np.float32), track_times=False)


def _write_fit_attributes(file: h5py.File, source: Source, too_thick: int) -> None:
    elements = source.config["eels"]["elements"]
    file.attrs["identifiable"] = to_json({element: source.reasons.get(element, "") for element in elements})
    file.attrs["density_identifiable"] = source.density_reason()
    file.attrs["fraction_identifiable"] = source.fraction_reason()
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
    config: Mapping[str, Any],
    dose: Path | None = None,
    folder: Path = Path("."),
) -> None:
    """Measure a single spectrum (or line) as one zone `all`.

    Parameters
    ----------
    calibrated, edges : Path
    outputs : mapping of {"spectra", "measurements", "summary", "fine_structure"} to Path
        Those that are given are written.
    config : mapping
    dose : Path, optional
        What `dose_series` left for the region.
    folder : Path
        Of the study: paths of references are seen from there.
    """
    from ceiflow.eels.fine_structure.measure import measure_fine_structure, write_content
    from ceiflow.eels.tables import write_spectra, zone_measurements
    from ceiflow.eels.zones import fit_source_zones
    from ceiflow.study import measurements as vocabulary

    source = open_source(calibrated, edges, config)
    fits = fit_source_zones(source, {"all": np.ones(source.core.shape[:2], bool)})
    elements = list(config["eels"]["elements"])
    rows = zone_measurements(fits, source.header, elements)
    rows += spectrum_rows(source.header)
    masks = {"all": np.ones(source.core.shape[:2], bool)}
    fine = measure_fine_structure(calibrated, edges, masks, config, dose, folder)
    rows += fine.rows
    if "spectra" in outputs:
        write_spectra(outputs["spectra"], fits)
    if "measurements" in outputs:
        vocabulary.write_rows(outputs["measurements"], rows)
    if "fine_structure" in outputs:
        write_content(outputs["fine_structure"], fine.content)
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
    thickness, error, systematic = fits["all"].thickness_over_mfp if "all" in fits else (np.nan,) * 3
    dose = header.metadata.get("dose_e_per_A2")
    doubt = implausible(fits, header.metadata)
    notes = [*header.warnings, *source.notes, *([doubt] if doubt else [])]
    return {
        **axis_values(calibration),
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
