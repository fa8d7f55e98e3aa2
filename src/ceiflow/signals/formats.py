"""Which reader opens which file, and the guard that turns a reader's failure into a `SignalError`."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ceiflow.errors import SignalError

# Extension -> module of RosettaSciIO. HDF5 with a common extension is told apart by its content.
READERS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".hspy": "hspy",
    ".zspy": "zspy",
    ".nxs": "nexus",
    ".nx5": "nexus",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".msa": "msa",
    ".emsa": "msa",
    ".mrc": "mrc",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".rpl": "ripple",
    ".ser": "tia",
    ".emi": "tia",
}
# Formats that keep the array as it is, uncompressed.
PLAIN = (".dm3", ".dm4", ".mrc", ".rpl", ".ser")
# Readers that hold one spectrum and know no lazy reading.
_EAGER = {"msa"}
_CHUNK = "32MiB"
_LFS = b"version https://git-lfs"
# What is no fault of the file must not become a failed acquisition. Opening a file lazily takes
# little memory, unless its header is broken.
_PROGRAM_FAULTS = (MemoryError, ImportError, SignalError)
_PROGRAM_FAULTS_OF_OPENING = (ImportError, SignalError)
# Weights of linear RGB in luminance, ITU-R BT.709.
_LUMINANCE = {"R": 0.2126, "G": 0.7152, "B": 0.0722}


@contextmanager
def guard(name: str, path: Path, raised: tuple[type[Exception], ...] = _PROGRAM_FAULTS) -> Iterator[None]:
    """Turn whatever a reader library raises on a broken file into a `SignalError` about `name`.

    Only the `raised` exceptions go through.
    """
    try:
        yield
    except raised:
        raise
    except Exception as error:
        # Readers quote the path they were given; only the name in the sheet may reach an output.
        text = str(error).replace(str(path), name).strip().splitlines()
        found = f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
        raise SignalError(name, "content", f"unreadable ({found})", f"a whole {path.suffix} file") from error


def source_files(path: Path) -> list[Path]:
    """The file itself and those that a reader opens beside it."""
    beside = {".rpl": [".raw"]}.get(path.suffix.lower(), [])
    return [path, *(path.with_suffix(suffix) for suffix in beside if path.with_suffix(suffix).is_file())]


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex.

    A folder (.zspy) has that of the listing `{sha256}  {relative path}` of its files in sorted order.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for item in sorted(item for item in path.rglob("*") if item.is_file()):
            digest.update(f"{sha256(item)}  {item.relative_to(path).as_posix()}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as handle:
        while chunk := handle.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def folder_size(path: Path) -> int:
    """Bytes of a file, or of everything below a folder (.zspy); 0 for what is not there."""
    items = path.rglob("*") if path.is_dir() else [path]
    return sum(item.stat().st_size for item in items if item.is_file())


def is_readable(path: Path) -> bool:
    """Whether there is a reader for the extension."""
    return path.suffix.lower() in READERS


def check_file(path: Path, name: str, column: str = "path") -> None:
    """Refuse a file that is absent, empty or of an unknown format, before any reader sees it.

    `column` of the sheet is where its name stands.
    """
    if not path.exists():
        raise SignalError(name, column, "no such file", "a file below the study folder")
    if not is_readable(path):
        known = " ".join(sorted(READERS))
        raise SignalError(name, "format", path.suffix or "no extension", f"one of {known}")
    if path.is_dir() and path.suffix.lower() != ".zspy":
        raise SignalError(name, column, "a folder", "a file")
    if not path.is_dir() and not path.is_file():
        # A pipe or a device: whoever opens it waits.
        raise SignalError(name, column, "something that is no file", "a file")
    if path.is_file():
        if path.stat().st_size == 0:
            raise SignalError(name, "size", "0 bytes", "a whole file")
        with open(path, "rb") as handle:
            if handle.read(len(_LFS)) == _LFS:
                raise SignalError(name, "content", "a Git LFS pointer", "the file it points at")


def read_dictionaries(path: Path, name: str) -> list[dict[str, Any]]:
    """Every signal of a file as RosettaSciIO gives it, data unread where the format allows.

    Raises
    ------
    SignalError
        If the file is absent, empty, of an unknown format, or the reader fails on it.
    """
    check_file(path, name)
    with guard(name, path):
        module = _module(path)
    reader = importlib.import_module(f"rsciio.{module}")
    import dask

    eager = module in _EAGER
    raised = _PROGRAM_FAULTS if eager else _PROGRAM_FAULTS_OF_OPENING
    with dask.config.set({"array.chunk-size": _CHUNK}), guard(name, path, raised):
        if module == "emd":
            return _read_emd(reader, path)
        # Its lazy reader would open the file for writing, and raw files are never written.
        options = {"mode": "r"} if module == "zspy" else {}
        return list(reader.file_reader(str(path), lazy=not eager, **options))


def _module(path: Path) -> str:
    """The reader of a file: by extension, then by content."""
    module = READERS[path.suffix.lower()]
    if module != "hdf5":
        return module
    with h5py.File(path, "r") as file:
        if "Experiments" in file:
            return "hspy"
        if "version_major" in file.attrs or "Version" in file:
            return "emd"
    return "nexus"


def _read_emd(reader: Any, path: Path) -> list[dict[str, Any]]:
    """Both kinds of EMD; of a Velox file all but the X-rays, where the package for their stream is absent."""
    from rsciio.emd._api import is_EMD_Velox

    if not is_EMD_Velox(str(path)):
        return list(reader.file_reader(str(path), lazy=True))
    from rsciio.emd._emd_velox import FeiEMDReader

    # Images are read later: the file stays open as long as their arrays live. The lazy reader
    # knows images in chunks only, as Velox itself writes them.
    file = h5py.File(path, "r")
    images = file["Data/Image"].values() if "Data/Image" in file else []
    velox = FeiEMDReader(lazy=all(group["Data"].chunks for group in images))
    try:
        velox.read_file(file)
    except ModuleNotFoundError:
        # Raised between the images and the spectrum images, of which only X-rays need the package.
        if "EelsSpectrumImage" in velox.d_grp:
            velox._read_eels_spectrum_images()
    return list(velox.dictionaries)


class LazyArray:
    """An array of a raw file that is read region by region, in native byte order, under the guard.

    Colour becomes luminance (float32).

    Parameters
    ----------
    array : numpy array, memory map or dask array
    name : str
        The file as the sheet writes it.
    path : Path
    """

    def __init__(self, array: Any, name: str, path: Path):
        self._array, self._name, self._path = array, name, path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(length) for length in self._array.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def itemsize(self) -> int:
        """Bytes of one value in the file."""
        return int(self._array.dtype.itemsize)

    @property
    def is_colour(self) -> bool:
        return self._array.dtype.names is not None and set(_LUMINANCE) <= set(self._array.dtype.names)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32) if self.is_colour else np.dtype(self._array.dtype)

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...] | None:
        return getattr(self._array, "chunks", None)

    def map(self, function: Any) -> LazyArray:
        """The same array in another order of axes; `function` must not read."""
        return LazyArray(function(self._array), self._name, self._path)

    def __getitem__(self, region: Any) -> np.ndarray:
        with guard(self._name, self._path):
            block = self._array[region]
            block = np.asarray(block.compute(scheduler="synchronous") if hasattr(block, "compute") else block)
        if self.is_colour:
            parts = [np.float32(weight) * block[channel] for channel, weight in _LUMINANCE.items()]
            return np.sum(parts, axis=0, dtype=np.float32)
        return block.astype(block.dtype.newbyteorder("="), copy=False)
