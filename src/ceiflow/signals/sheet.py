"""A first acquisitions.tsv from a folder of instrument files, and what a person has to add to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ceiflow.errors import SignalError
from ceiflow.signals.bounded import run_bounded
from ceiflow.signals.formats import folder_size, is_readable
from ceiflow.signals.layout import Picture, Spectra, as_picture, as_spectra
from ceiflow.signals.reader import RawSignal, read_file
from ceiflow.study.config import default_config

COLUMNS = (
    "acquisition_id",
    "cell_id",
    "particle_id",
    "region_id",
    "modality",
    "path",
    "signal",
    "low_loss_path",
    "low_loss_signal",
    "adf_path",
    "adf_signal",
)
_ADF = re.compile(r"adf|haadf|maadf|laadf|dark.?field|survey|stem", re.IGNORECASE)
# Pixels finer than this resolve lattice fringes of the layered oxides (0.47 nm) with room to spare.
_LATTICE_PIXEL_NM = 0.1
# "coreloss_spectrum" and "lowloss_spectrum" share more than this of their letters, strangers share less.
_SAME_NAME = 0.6
_WANTED = {
    "eels_si": ("beam_energy_keV", "convergence_mrad", "collection_mrad", "exposure_s"),
    "eels_spectrum": ("beam_energy_keV", "convergence_mrad", "collection_mrad", "exposure_s"),
    "hrtem": ("beam_energy_keV", "dose_e_per_A2", "defocus_nm"),
    "tem": ("beam_energy_keV", "dose_e_per_A2", "defocus_nm"),
    "adf": ("beam_energy_keV", "dose_e_per_A2"),
}


@dataclass
class _Item:
    """One usable signal of one file."""

    raw: RawSignal
    shape: Spectra | Picture
    several: bool

    @property
    def path(self) -> str:
        return self.raw.name

    @property
    def signal(self) -> str:
        return str(self.raw.index) if self.several else ""

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def is_spectra(self) -> bool:
        return isinstance(self.shape, Spectra)

    @property
    def is_low_loss(self) -> bool:
        ends = self.raw.energy_range_eV
        return self.is_spectra and ends is not None and ends[0] <= 0 <= ends[1]

    @property
    def modality(self) -> str:
        if self.is_spectra:
            return "eels_spectrum" if self.shape.grid == (1, 1) else "eels_si"
        if _ADF.search(self.raw.title) or _ADF.search(Path(self.path).stem):
            return "adf"
        size = self.shape.pixel_size_nm
        if "hrtem" in f"{self.raw.title} {Path(self.path).stem}".lower():
            return "hrtem"
        return "hrtem" if size is not None and size <= _LATTICE_PIXEL_NM else "tem"


def draft_sheet(raw_dir: str | Path) -> tuple[list[dict[str, str]], list[str]]:
    """Draft the rows of acquisitions.tsv from what the files below a folder say about themselves.

    A signal with an energy axis is a spectrum image or a spectrum, unless its range holds the zero loss
    and a core loss of the same grid lies in the same folder: then it is that one's low loss. An image
    is adf by its title or name, else hrtem or tem by its pixel size; the one survey image beside the
    only spectrum image of a folder becomes its adf. Guesses are for a person to check: cell, particle
    and region are left to fill in.

    Parameters
    ----------
    raw_dir : path
        Searched with all folders below it. Paths in the rows start with its own name, as they do when
        it lies in the study folder.

    Returns
    -------
    rows : list of dict
        One for each acquisition, keys `COLUMNS`, values as texts.
    notes : list of str
        What is missing or unusable, file by file.
    """
    raw_dir = Path(raw_dir)
    notes: list[str] = []
    items = [item for path in _instrument_files(raw_dir) for item in _items(path, raw_dir, notes)]
    partners = _low_losses(items, notes)
    surveys = _surveys(items)
    used = {id(item) for item in (*partners.values(), *surveys.values())}
    rows: list[dict[str, str]] = []
    for item in items:
        if id(item) in used:
            continue
        low, adf = partners.get(id(item)), surveys.get(id(item))
        row = dict.fromkeys(COLUMNS, "")
        row |= {
            "acquisition_id": _identifier(item, {row["acquisition_id"] for row in rows}),
            "modality": item.modality,
            "path": item.path,
            "signal": item.signal,
        }
        if low is not None:
            row |= {"low_loss_path": low.path, "low_loss_signal": low.signal}
        if adf is not None:
            row |= {"adf_path": adf.path, "adf_signal": adf.signal}
        rows.append(row)
        notes.extend(_missing(item, row["acquisition_id"], low))
    return rows, notes


def _instrument_files(raw_dir: Path) -> Iterable[Path]:
    for folder, folders, files in os.walk(raw_dir):
        # A .zspy is a folder, and what lies in it is no file of its own.
        packed = [name for name in folders if name.lower().endswith(".zspy")]
        folders[:] = sorted(name for name in folders if name not in packed and not name.startswith("."))
        yield from (
            Path(folder) / name
            for name in sorted([*files, *packed])
            if is_readable(Path(name)) and name[0] != "."
        )


def _items(path: Path, raw_dir: Path, notes: list[str]) -> list[_Item]:
    name = path.relative_to(raw_dir.parent).as_posix() if raw_dir.name else path.as_posix()
    try:
        # Read once in a process of its own: a broken header must not hang the whole folder.
        bounds = default_config()["reading"]
        memory_MB = bounds["memory_MB"] + 8 * folder_size(path) / 2**20
        run_bounded(lambda: len(read_file(path, name)), name, bounds["cpu_seconds"], memory_MB)
        signals = read_file(path, name)
    except SignalError as error:
        notes.append(f"left out: {error}")
        return []
    items = []
    for raw in signals:
        try:
            shape = as_spectra(raw) if raw.energy_index is not None else as_picture(raw)
        except SignalError as error:
            notes.append(f"left out: {error}")
            continue
        items.append(_Item(raw, shape, several=len(signals) > 1))
    return items


def _low_losses(items: list[_Item], notes: list[str]) -> dict[int, _Item]:
    """For each core loss its low loss: of the same folder and grid, the nearest name where several fit."""
    found: dict[int, _Item] = {}
    free = [item for item in items if item.is_low_loss]
    for core in (item for item in items if item.is_spectra and not item.is_low_loss):
        fitting = [low for low in free if low.folder == core.folder and low.shape.grid == core.shape.grid]
        if core.shape.grid == (
            1,
            1,
        ):  # any two single spectra share that grid: their names have to belong together
            fitting = [low for low in fitting if _belong(low.path, core.path)]
        if not fitting:
            continue
        best = max(fitting, key=lambda low: (low.path == core.path, _likeness(low.path, core.path)))
        if len(fitting) > 1:
            notes.append(f"{core.path}: {len(fitting)} low losses fit, {best.path} was taken by its name")
        found[id(core)] = best
        free.remove(best)
    return found


def _surveys(items: list[_Item]) -> dict[int, _Item]:
    """The adf image of a folder, where it is the only one beside the only spectrum image."""
    found: dict[int, _Item] = {}
    for folder in {item.folder for item in items}:
        here = [item for item in items if item.folder == folder]
        cores = [item for item in here if item.modality == "eels_si" and not item.is_low_loss]
        images = [item for item in here if item.modality == "adf"]
        if len(cores) == len(images) == 1:
            found[id(cores[0])] = images[0]
    return found


def _belong(first: str, second: str) -> bool:
    """Whether two files are one, or bear names that are mostly the same."""
    return first == second or _likeness(Path(first).stem, Path(second).stem) >= _SAME_NAME


def _likeness(first: str, second: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, first, second).ratio()


def _identifier(item: _Item, taken: set[str]) -> str:
    """A valid, unique id: the file's name, then with its folder, the signal's number, and a counter."""
    path = Path(item.path)
    stem = path.stem if not item.several else f"{path.stem}-{item.raw.index}"
    for text in (stem, f"{path.parent.name}-{stem}"):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:90] or "acquisition"
        if name not in taken:
            return name
    return next(f"{name}-{i}" for i in range(2, len(taken) + 3) if f"{name}-{i}" not in taken)


def _missing(item: _Item, identifier: str, low: _Item | None) -> list[str]:
    """Notes on one row: what the file does not say, and what was put right."""
    missing = [name for name in _WANTED[item.modality] if name not in item.raw.metadata]
    if item.shape.no_size:
        missing.insert(0, f"pixel_size_nm ({item.shape.no_size})")
    if item.is_spectra and item.shape.energy_scale_eV is None:
        missing.append("dispersion_eV, energy_offset_eV (the energy axis has no unit)")
    if low is not None and "exposure_s" not in low.raw.metadata:
        missing.append("low_loss_exposure_s")
    notes = [f"{identifier} ({item.path}): missing {', '.join(missing)}"] if missing else []
    if item.is_low_loss:
        notes.append(f"{identifier} ({item.path}): a low loss without a core loss of the same grid beside it")
    elif item.is_spectra and low is None:
        notes.append(f"{identifier} ({item.path}): no low loss of the same grid in its folder")
    return [*notes, *(f"{identifier} ({item.path}): {note}" for note in item.raw.notes)]
