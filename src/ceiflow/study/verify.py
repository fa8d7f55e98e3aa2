"""A finished run held against another: the same bytes, or the same numbers within the last digits.

The first tier compares digests of every canonical file. Where they differ and the other run's files are
at hand, the second compares what tables and maps hold, since another processor or library of linear
algebra orders its sums otherwise.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ceiflow.errors import CeiflowError
from ceiflow.study.digests import file_sha256
from ceiflow.study.manifest import MANIFEST

# Tables print six digits and more; fits stop when their step is below a thousandth of an error.
TABLE_RELATIVE, TABLE_ABSOLUTE = 1e-4, 1e-9
# Of the largest finite value of a map.
MAP_RELATIVE = 1e-4
# What the second tier leaves out, and why.
IGNORED = {
    ".svg": "drawn from the tables and maps that are compared",
    ".png": "drawn from the tables and maps that are compared",
    ".html": "written from the tables and maps that are compared",
    ".hspy": "a copy of the calibrated signal and of maps.h5",
}


@dataclass
class Comparison:
    """What two runs have in common.

    Attributes
    ----------
    same : list of str
        Files with equal digests.
    equivalent : list of str
        Files whose digests differ, and whose values do not.
    ignored : list of str
        Files that differ and that the second tier leaves out.
    different : dict of str to str
        Every other file, and the first thing that differs.
    """

    same: list[str] = field(default_factory=list)
    equivalent: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`same`, `equivalent` or `different`."""
        if self.different:
            return "different"
        return "equivalent" if self.equivalent or self.ignored else "same"


def read_manifest(path: Path) -> dict[str, str]:
    """File name to digest.

    Raises
    ------
    CeiflowError
        If the file is absent or is no manifest.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = [line.split("  ", 1) for line in lines]
        return {name: digest for digest, name in pairs}
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CeiflowError(f"{path} is no manifest: {error}") from error


def compare(results: Path, other: Path) -> Comparison:
    """Hold the results of a run against a manifest or against another run's results.

    Parameters
    ----------
    results : Path
        Folder with MANIFEST.sha256; every file in it is read again.
    other : Path
        A manifest, or a folder that holds one; values are compared where the files lie beside it. Of a
        run that was recorded with its tables alone, these stand for what they sum up.
    """
    manifest = other / MANIFEST if other.is_dir() else other
    found, expected = read_manifest(results / MANIFEST), read_manifest(manifest)
    comparison = Comparison()
    for name in sorted({*found, *expected}):
        path, twin = results / name, manifest.parent / name
        if name not in expected:
            comparison.different[name] = "only in this run"
        elif name not in found:
            comparison.different[name] = "missing in this run"
        elif not path.is_file():
            comparison.different[name] = "in the manifest, and not there"
        elif file_sha256(path) != found[name]:
            comparison.different[name] = "changed since the run"
        elif found[name] == expected[name]:
            comparison.same.append(name)
        elif path.suffix in IGNORED or (not twin.is_file() and _is_summed_up(name, manifest)):
            comparison.ignored.append(name)
        elif not twin.is_file():
            comparison.different[name] = "another digest, and no file to compare values with"
        elif difference := next(differences(path, twin), ""):
            comparison.different[name] = difference
        else:
            comparison.equivalent.append(name)
    return comparison


def _is_summed_up(name: str, manifest: Path) -> bool:
    """Whether a file that was not recorded is one that the recorded tables sum up: maps, traces, spectra."""
    inner = Path(name).parts[0] in ("eels", "images", "dose", "figures") or name == "study/edges.h5"
    return inner and (manifest.parent / "tables" / "measurements.tsv").is_file()


def differences(path: Path, twin: Path) -> Iterator[str]:
    """What two tables or maps differ in beyond the last digits."""
    if path.suffix == ".tsv":
        yield from _table_differences(path, twin)
    elif path.suffix == ".h5":
        yield from _map_differences(path, twin)
    elif path.suffix == ".json":
        yield from _json_differences(path, twin)
    elif path.read_bytes() != twin.read_bytes():
        yield "other text"


def _table_differences(path: Path, twin: Path) -> Iterator[str]:
    rows, others = _rows(path), _rows(twin)
    if len(rows) != len(others):
        yield f"{len(rows)} rows, {len(others)} in the other run"
        return
    for line, (row, other) in enumerate(zip(rows, others, strict=True), 1):
        if len(row) != len(other):
            yield f"row {line}: {len(row)} cells, {len(other)} in the other run"
        for column, (cell, twin_cell) in enumerate(zip(row, other, strict=False)):
            if not _alike(cell, twin_cell):
                yield f"row {line}, column {rows[0][column]}: {cell}, {twin_cell} in the other run"


def _rows(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle, delimiter="\t"))


def _alike(cell: str, other: str) -> bool:
    if cell == other:
        return True
    try:
        return _close(float(cell), float(other))
    except ValueError:
        # A sentence with numbers in it: the same words, and numbers as close.
        words, others = cell.split(), other.split()
        return len(words) == len(others) > 1 and all(map(_alike, words, others))


def _close(value: float, other: float) -> bool:
    if math.isnan(value) or math.isnan(other):
        return math.isnan(value) and math.isnan(other)
    return math.isclose(value, other, rel_tol=TABLE_RELATIVE, abs_tol=TABLE_ABSOLUTE)


def _json_differences(path: Path, twin: Path) -> Iterator[str]:
    import json

    def walk(value: object, other: object, place: str) -> Iterator[str]:
        numbers = (int, float)
        if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
            for key in value:
                yield from walk(value[key], other[key], f"{place}.{key}")
        elif isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
            for index, pair in enumerate(zip(value, other, strict=True)):
                yield from walk(*pair, f"{place}[{index}]")
        elif isinstance(value, numbers) and isinstance(other, numbers):
            if not _close(float(value), float(other)):
                yield f"{place}: {value}, {other} in the other run"
        elif value != other and not (
            isinstance(value, str) and isinstance(other, str) and _alike(value, other)
        ):
            yield f"{place}: {value}, {other} in the other run"

    texts = (file.read_text(encoding="utf-8") for file in (path, twin))
    yield from walk(*(json.loads(text) for text in texts), "")


def _map_differences(path: Path, twin: Path) -> Iterator[str]:
    import h5py
    import numpy as np

    with h5py.File(path, "r") as file, h5py.File(twin, "r") as other:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            if name not in other or other[name].shape != file[name].shape:
                yield f"{name}: of another shape, or not in the other run"
                continue
            values, twins = file[name][()], other[name][()]
            if values.dtype.kind not in "fiu":
                if not np.array_equal(values, twins):
                    yield f"{name}: other values"
                continue
            values, twins = np.asarray(values, float), np.asarray(twins, float)
            scale = np.nanmax(np.abs(twins), initial=0.0)
            if not np.allclose(values, twins, rtol=0, atol=MAP_RELATIVE * scale, equal_nan=True):
                yield f"{name}: largest difference {np.nanmax(np.abs(values - twins)):g} of {scale:g}"
