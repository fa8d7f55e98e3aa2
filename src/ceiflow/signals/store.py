"""The canonical signal file: one HDF5 layout for every instrument format, written once and read by blocks.

Root attributes: schema, acquisition_id, modality, status, reason, and as JSON texts metadata, source and
warnings. One group for each recorded role, holding one dataset `data`. A file whose status is `failed`
has the attributes only.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ceiflow.signals.blocks import BLOCK_BYTES, iter_blocks
from ceiflow.study.metadata import Value, from_json, to_json

SCHEMA = "ceiflow-signal-1"
SPECTRUM_ROLES = ("core_loss", "low_loss")
ROLES = (*SPECTRUM_ROLES, "adf", "image")
_HEADER = ("schema", "acquisition_id", "modality", "status", "reason", "metadata", "source", "warnings")


@contextmanager
def create_h5(path: str | Path) -> Iterator[h5py.File]:
    """A new HDF5 file that appears under its name only when it is complete.

    The same calls give the same bytes: no times are tracked, and the format version is fixed. After an
    exception nothing is left behind, and an older file of that name is untouched.

    Parameters
    ----------
    path : path
        File to write; its folder is made if absent.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with h5py.File(part, "w", libver=("earliest", "v110")) as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(path: str | Path) -> None:
    """Take away what a process that was killed had begun to write for `path`."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Header:
    """What a signal file says about itself, without its data.

    Attributes
    ----------
    status : {"ok", "failed"}
    reason : str
        Why it failed, else empty.
    metadata : dict of str to Value
    source : list of dict
        role, path (as the sheet writes it), signal and sha256 of each source file.
    roles : tuple of str
        The signals present, of `ROLES`.
    attributes : dict
        Root attributes that later stages added (`calibration`, `identifiable`...), as stored.
    """

    acquisition_id: str
    modality: str
    status: str = "ok"
    reason: str = ""
    metadata: dict[str, Value] = field(default_factory=dict)
    source: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    roles: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def write_header(file: h5py.File, header: Header, schema: str = SCHEMA) -> None:
    """Write `header` as root attributes of an open file."""
    values = {
        "schema": schema,
        "acquisition_id": header.acquisition_id,
        "modality": header.modality,
        "status": header.status,
        "reason": header.reason,
        "metadata": to_json(header.metadata),
        "source": json.dumps(header.source, sort_keys=True),
        "warnings": json.dumps(header.warnings),
    }
    for name, value in {**values, **header.attributes}.items():
        file.attrs[name] = value


def read_header(path: str | Path) -> Header:
    """The header of a canonical file, or of any file that carries one on."""
    with h5py.File(path, "r") as file:
        attrs = dict(file.attrs)
        roles = tuple(role for role in ROLES if f"{role}/data" in file)
    return Header(
        acquisition_id=str(attrs["acquisition_id"]),
        modality=str(attrs["modality"]),
        status=str(attrs["status"]),
        reason=str(attrs["reason"]),
        metadata=from_json(attrs["metadata"]),
        source=json.loads(attrs["source"]),
        warnings=json.loads(attrs["warnings"]),
        roles=roles,
        attributes={name: value for name, value in sorted(attrs.items()) if name not in _HEADER},
    )


def carry_header(
    source: str | Path,
    file: h5py.File,
    schema: str | None = None,
    warnings: Sequence[str] = (),
    metadata: Mapping[str, Value] | None = None,
) -> None:
    """Hand metadata, sources, warnings and every other root attribute of `source` on to an open file.

    Parameters
    ----------
    source : path
        The file of the stage before.
    file : h5py.File
        Open for writing.
    schema : str, optional
        Schema of the new file; that of `source` by default.
    warnings : sequence of str
        Appended to those of `source`.
    metadata : mapping of str to Value, optional
        Values that the stage replaced or added.
    """
    with h5py.File(source, "r") as old:
        for name, value in sorted(old.attrs.items()):
            file.attrs[name] = value
    if schema is not None:
        file.attrs["schema"] = schema
    if warnings:
        file.attrs["warnings"] = json.dumps([*json.loads(file.attrs["warnings"]), *warnings])
    if metadata:
        file.attrs["metadata"] = to_json({**from_json(file.attrs["metadata"]), **metadata})


def write_failed(path: str | Path, header: Header, reason: str) -> None:
    """A file that holds no signal, only the reason why."""
    failed = Header(
        header.acquisition_id,
        header.modality,
        "failed",
        reason,
        header.metadata,
        header.source,
        header.warnings,
    )
    with create_h5(path) as file:
        write_header(file, failed)


def canonical_dtype(dtype: np.dtype) -> np.dtype:
    """The type that is stored: the file's own in native byte order, float32 for float64, uint8 for bool.

    float64 carries no information here: no detector counts to 24 bits, and half the file is saved.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype == np.float64 or dtype.itemsize > 8:
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if dtype == np.bool_ else dtype


def write_signal(
    file: h5py.File,
    role: str,
    data: Any,
    *,
    energy_offset_eV: float | None = None,
    energy_scale_eV: float | None = None,
    pixel_size_nm: float | None = None,
    dead: np.ndarray | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> h5py.Dataset:
    """Copy one signal into an open file by blocks, so that memory is bounded whatever its size.

    Parameters
    ----------
    file : h5py.File
        Open for writing, see `create_h5`.
    role : {"core_loss", "low_loss", "adf", "image"}
    data : array, memory map or dask array
        (rows, columns, channels) for spectra, (rows, columns) for images.
    energy_offset_eV, energy_scale_eV : float
        Energy of channel 0 and width of a channel; spectra only.
    pixel_size_nm : float, optional
        Left out when it is not known.
    dead : (rows, columns) bool array, optional
        Pixels without a measurement, written as 0; `write_dead` says which they are.
    block_bytes : int
        Upper limit of one block in memory.
    """
    dimensions = 3 if role in SPECTRUM_ROLES else 2
    if role not in ROLES or len(data.shape) != dimensions:
        raise ValueError(f"{role}: {len(data.shape)} dimensions, expected {dimensions} and a role of {ROLES}")
    dataset = file.create_dataset(
        f"{role}/data", shape=data.shape, dtype=canonical_dtype(data.dtype), track_times=False
    )
    for region, block in iter_blocks(data, block_bytes):
        if dead is not None:
            block = np.where(dead[region[:2]][..., None], 0, block)
        dataset[region] = block.astype(dataset.dtype, copy=False)
    values = (
        ("energy_offset_eV", energy_offset_eV),
        ("energy_scale_eV", energy_scale_eV),
        ("pixel_size_nm", pixel_size_nm),
    )
    for name, value in values:
        if value is not None:
            dataset.attrs[name] = float(value)
    return dataset


def write_dead(file: h5py.File, dead: np.ndarray | None) -> None:
    """Say which pixels of an open file hold no measurement; nothing is written where all do.

    Parameters
    ----------
    file : h5py.File
    dead : (rows, columns) bool array or None
    """
    if dead is not None and np.any(dead):
        file.create_dataset("dead", data=np.asarray(dead, np.uint8), track_times=False)


def read_dead(path: str | Path) -> np.ndarray | None:
    """(rows, columns) bool array of pixels without a measurement (their counts are 0), or None."""
    with h5py.File(path, "r") as file:
        return file["dead"][()].astype(bool) if "dead" in file else None


@dataclass(frozen=True)
class SignalFile:
    """One signal of a canonical file; its data stay on the disk until asked for.

    Attributes
    ----------
    shape : tuple of int
        (rows, columns, channels) for spectra, (rows, columns) for images.
    energy_offset_eV, energy_scale_eV : float or None
        Energy at the centre of channel 0 and width of a channel; None for images.
    pixel_size_nm : float or None
        None where it is not known.
    """

    path: Path
    role: str
    shape: tuple[int, ...]
    dtype: np.dtype
    energy_offset_eV: float | None
    energy_scale_eV: float | None
    pixel_size_nm: float | None

    @property
    def energy_eV(self) -> np.ndarray:
        """Energy of the channel centres in eV, float64."""
        if self.energy_offset_eV is None or self.energy_scale_eV is None:
            raise ValueError(f"{self.role} of {self.path.name} has no energy axis")
        return self.energy_offset_eV + self.energy_scale_eV * np.arange(self.shape[-1])

    def read(self, rows: slice = slice(None)) -> np.ndarray:
        """The given rows as a float32 array with all axes."""
        with h5py.File(self.path, "r") as file:
            return _float32(file[f"{self.role}/data"][rows])

    def blocks(self, max_pixels: int = 4096, every_row: int = 1) -> Iterator[tuple[slice, np.ndarray]]:
        """All spectra in C order, at most `max_pixels` at a time.

        With `every_row` above 1, the spectra of every so many rows, none of them across rows.

        Yields
        ------
        pixels : slice
            Into the flattened (rows * columns) pixels.
        spectra : array, (n, channels) float32
        """
        if len(self.shape) != 3:
            raise ValueError(f"{self.role} holds no spectra")
        rows, columns = self.shape[:2]
        ends = [(0, rows * columns)]
        if every_row > 1:
            ends = [(row * columns, (row + 1) * columns) for row in range(0, rows, every_row)]
        with h5py.File(self.path, "r") as file:
            data = file[f"{self.role}/data"]
            for first, last in ends:
                for start in range(first, last, max_pixels):
                    stop = min(start + max_pixels, last)
                    yield slice(start, stop), _flat(data, start, stop)


def open_signal(path: str | Path, role: str = "core_loss") -> SignalFile:
    """Open one signal of a canonical (or calibrated) file.

    Raises
    ------
    KeyError
        If the file does not hold that signal; `read_header(path).roles` lists those it holds.
    """
    path = Path(path)
    with h5py.File(path, "r") as file:
        if f"{role}/data" not in file:
            raise KeyError(f"{path.name} holds no {role}")
        data = file[f"{role}/data"]
        numbers = {
            name: float(data.attrs[name]) if name in data.attrs else None
            for name in ("energy_offset_eV", "energy_scale_eV", "pixel_size_nm")
        }
        return SignalFile(path, role, data.shape, data.dtype, **numbers)


def _float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32, copy=False)


def _flat(data: h5py.Dataset, start: int, stop: int) -> np.ndarray:
    """Pixels start..stop of the flattened grid as float32: a part of a row, whole rows, a part of a row."""
    columns = data.shape[1]
    first, last = start // columns, (stop - 1) // columns
    if first == last:
        return _float32(data[first, start - first * columns : stop - first * columns])
    head = start // columns if start % columns == 0 else first + 1
    tail = last + 1 if stop % columns == 0 else last
    parts = []
    if head > first:
        parts.append(data[first, start - first * columns :])
    if tail > head:
        rows = data[head:tail]
        parts.append(rows.reshape(-1, rows.shape[-1]))
    if tail == last:
        parts.append(data[last, : stop - last * columns])
    if len(parts) == 1:
        return _float32(parts[0])
    # One copy that joins and converts.
    return np.concatenate(parts, dtype=np.float32, casting="unsafe")
