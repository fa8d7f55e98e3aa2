"""Back to HyperSpy: the calibrated core loss and the maps of an acquisition in one .hspy file.

The file is written in HyperSpy's layout by h5py alone, since importing HyperSpy and eXSpy would take longer
than all else here, and without the time that HyperSpy notes of a file, so that two runs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ceiflow.signals.store import Header, create_h5, read_header

# Of the layout below, as RosettaSciIO counts them.
FORMAT_VERSION = "3.3"
CORE_LOSS = "core_loss"
QUANTITIES = {
    "areal_density": "Areal density (nm^-2)",
    "areal_density_std": "Standard error of the areal density (nm^-2)",
    "areal_density_lod": "Detection limit of the areal density (nm^-2)",
    "atomic_fraction": "Atomic fraction",
    "counts": "Counts",
    "counts_std": "Standard error of the counts",
    "carbon_fraction": "Fraction of the carbon",
    "thickness_over_mfp": "Thickness over mean free path",
    "reduced_chi2": "Reduced chi-square",
    "total_counts": "Counts",
    "bin": "Adaptive bin (-1 in vacuum)",
    "zone": "Zone (0 outside, 1 layer, 2 particle, 255 excluded)",
    "distance_nm": "Distance from the surface (nm), negative inside",
}
# Level 1 is a third faster than the usual level 4 on counts, and no larger.
COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "track_times": False}
BLOCK_BYTES = 32 * 2**20


def export_hyperspy(calibrated: Path, maps: Path, output: Path) -> None:
    """Write core loss and maps as HyperSpy signals; `hyperspy.api.load` gives them as a list.

    Parameters
    ----------
    calibrated : Path
        File of `calibrate`.
    maps : Path
        maps.h5 of the same acquisition.
    output : Path
        .hspy file. The first signal is the core loss, an `EELSSpectrum` titled "core_loss"; then each map as
        a `Signal2D` titled as in maps.h5 with "_" for "/", such as "areal_density_C".
    """
    header = read_header(calibrated)
    with h5py.File(calibrated, "r") as source, h5py.File(maps, "r") as drawn, create_h5(output) as file:
        file.attrs["file_format"] = "HyperSpy"
        file.attrs["file_format_version"] = FORMAT_VERSION
        # HyperSpy lists signals in the order of this group.
        signals = file.create_group("Experiments", track_order=True)
        _write_core_loss(signals, source["core_loss/data"], header)
        size = _size(drawn.attrs.get("pixel_size_nm"))
        for name, data in _maps(drawn):
            group = _start(
                signals,
                name.replace("/", "_"),
                header,
                "",
                QUANTITIES.get(name.removeprefix("binned/").split("/")[0], ""),
            )
            _space_axes(group, data.shape, size, navigate=False)
            group.create_dataset("data", data=data[()], chunks=data.shape, **COMPRESSION)


def _maps(file: h5py.Group, folder: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    for name in sorted(file):
        item = file[name]
        if isinstance(item, h5py.Dataset):
            yield folder + name, item
        else:
            yield from _maps(item, f"{folder}{name}/")


def _size(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _write_core_loss(signals: h5py.Group, data: h5py.Dataset, header: Header) -> None:
    group = _start(signals, CORE_LOSS, header, "EELS", "Electrons (Counts)")
    rows, columns, channels = data.shape
    _space_axes(group, (rows, columns), _size(data.attrs.get("pixel_size_nm")), navigate=True)
    offset, scale = float(data.attrs["energy_offset_eV"]), float(data.attrs["energy_scale_eV"])
    _axis(group, 2, "Energy loss", channels, scale, offset, "eV", navigate=False, binned=True)
    step = max(BLOCK_BYTES // (columns * channels * data.dtype.itemsize), 1)
    target = group.create_dataset(
        "data", shape=data.shape, dtype=data.dtype, chunks=_chunk(data.shape, data.dtype), **COMPRESSION
    )
    for first in range(0, rows, step):
        target[first : first + step] = data[first : first + step]


def _chunk(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    """Whole spectra, a megabyte of neighbours at most."""
    columns = max(min(shape[1], 2**20 // (shape[2] * dtype.itemsize)), 1)
    return (1, columns, shape[2])


def _start(signals: h5py.Group, title: str, header: Header, kind: str, quantity: str) -> h5py.Group:
    """A signal with everything but its axes and data."""
    group = signals.create_group(title)
    package = "exspy" if kind == "EELS" else "hyperspy"
    group.attrs["package"], group.attrs["package_version"] = package, version(package)
    for name in ("learning_results", "original_metadata"):
        group.create_group(name)
    group.create_group("attributes").attrs.update({"_lazy": False, "ragged": False})
    _write(group.create_group("metadata"), _metadata(title, header, kind, quantity))
    return group


def _metadata(title: str, header: Header, kind: str, quantity: str) -> dict[str, Any]:
    """HyperSpy's names for what is known; a missing value has no entry."""
    known = {name: item.value for name, item in header.metadata.items() if item.value is not None}
    detector = {"collection_angle": known.get("collection_mrad"), "exposure": known.get("exposure_s")}
    microscope = {
        "beam_energy": known.get("beam_energy_keV"),
        "convergence_angle": known.get("convergence_mrad"),
        "Detector": {"EELS": {key: value for key, value in detector.items() if value is not None}},
    }
    return {
        "General": {"title": title},
        "Signal": {"signal_type": kind, "quantity": quantity},
        "Acquisition_instrument": {
            "TEM": {key: value for key, value in microscope.items() if value is not None}
        },
        "ceiflow": {
            "acquisition_id": header.acquisition_id,
            "calibration": str(header.attributes.get("calibration", "")),
            "metadata_origin": {name: item.origin for name, item in sorted(header.metadata.items())},
        },
    }


def _write(group: h5py.Group, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if isinstance(value, Mapping):
            _write(group.create_group(name), value)
        else:
            group.attrs[name] = value


def _space_axes(group: h5py.Group, shape: tuple[int, ...], size: float | None, navigate: bool) -> None:
    units = "px" if size is None else "nm"
    for number, name in enumerate(("y", "x")):
        _axis(group, number, name, shape[number], size or 1.0, 0.0, units, navigate)


def _axis(
    group: h5py.Group,
    number: int,
    name: str,
    size: int,
    scale: float,
    offset: float,
    units: str,
    navigate: bool,
    binned: bool = False,
) -> None:
    axis = group.create_group(f"axis-{number}")
    axis.attrs.update(
        {
            "_type": "UniformDataAxis",
            "name": name,
            "units": units,
            "navigate": navigate,
            "is_binned": binned,
            "size": size,
            "scale": scale,
            "offset": offset,
        }
    )
