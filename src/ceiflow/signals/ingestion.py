"""One row of the acquisition sheet in, one canonical signal file out, whatever happens to the raw file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.errors import Fault, SignalError, printable
from ceiflow.signals import checks, store
from ceiflow.signals.bounded import run_bounded
from ceiflow.signals.formats import check_file, folder_size, guard, sha256, source_files
from ceiflow.signals.layout import Picture, Spectra, as_picture, as_spectra, cropped
from ceiflow.signals.reader import RawSignal, choose, read_file
from ceiflow.study.checker import out_of_range, range_words
from ceiflow.study.config import default_config
from ceiflow.study.measurements import SPECTRUM_MODALITIES
from ceiflow.study.metadata import METADATA, MISSING, Value, resolve, scanned_dose
from ceiflow.study.schemas import load_schema

# Sheet columns of the signal that plays each role.
_COLUMNS = {
    "core_loss": ("path", "signal"),
    "image": ("path", "signal"),
    "low_loss": ("low_loss_path", "low_loss_signal"),
    "adf": ("adf_path", "adf_signal"),
}
# A reader that is not lazy holds a file, its decompressed and its converted data at once.
_MEMORY_OF_FILE = 8
# Steps of the file's axes that no instrument makes.
_SMALLEST = {"pixel_size_nm": 1e-4, "dispersion_eV": 1e-4}
_AXIS = ("dispersion_eV", "energy_offset_eV")
CURRENT = "beam_current_pA"
# A stated dose and that of the scan may differ by earlier exposures; e/nm^2 for e/A^2 is a factor of 100.
_DOSES_DIFFER = 20.0
_SPECTRUM_ONLY = ("dispersion_eV", "energy_offset_eV", "low_loss_exposure_s")


@dataclass
class _Draft:
    """What is known so far; it goes into the header of a failed file too."""

    acquisition: Mapping[str, Any]
    config: Mapping[str, Any]
    folder: Path
    metadata: dict[str, Value] = field(default_factory=dict)
    source: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def spectra(self) -> bool:
        return self.acquisition["modality"] in SPECTRUM_MODALITIES

    @property
    def roles(self) -> list[str]:
        """Signals that the sheet names, the main one first."""
        partners = ("low_loss", "adf") if self.spectra else ("adf",)
        named = [role for role in partners if _cell(self, role)]
        return ["core_loss" if self.spectra else "image", *named]

    def header(self) -> store.Header:
        return store.Header(
            acquisition_id=str(self.acquisition["acquisition_id"]),
            modality=str(self.acquisition["modality"]),
            metadata=self.metadata,
            source=self.source,
            warnings=self.warnings,
        )

    def note(self, name: str, notes: tuple[str, ...]) -> None:
        for note in notes:
            if (text := printable(f"{name}: {note}")) not in self.warnings:
                self.warnings.append(text)


def ingest(
    acquisition: Mapping[str, Any], config: Mapping[str, Any], folder: str | Path, output: str | Path
) -> store.Header:
    """Read one acquisition and write its canonical file; a raw file that cannot be used becomes its status.

    Parameters
    ----------
    acquisition : mapping
        A row of acquisitions.tsv, typed; None or absent where the cell is empty.
    config : mapping
        `microscope` gives metadata that sheet and file lack; `strict` makes a bad file an error; `reading`
        bounds the time and the memory that the file may take.
    folder : path
        The study folder, which the sheet's paths are relative to.
    output : path
        The file to write.

    Returns
    -------
    Header
        As written: status ok, or failed with the reason.

    Raises
    ------
    SignalError
        With `strict` only. Faults of the program are raised always.
    """
    draft = _Draft(acquisition, config, Path(folder))
    try:
        _load(draft, Path(output))
    except SignalError as error:
        if config.get("strict"):
            raise
        store.write_failed(output, draft.header(), str(error))
    return store.read_header(output)


def load_acquisition(
    acquisition: Mapping[str, Any], config: Mapping[str, Any], folder: str | Path, output: str | Path
) -> store.Header:
    """As `ingest`, but a raw file that cannot be used raises its `SignalError` and nothing is written."""
    _load(_Draft(acquisition, config, Path(folder)), Path(output))
    return store.read_header(output)


def _load(draft: _Draft, output: Path) -> None:
    """Digests here; everything that looks into a file in a child process with bounds."""
    draft.metadata = _resolved(draft, {}, draft.spectra)
    _record_sources(draft, draft.roles)
    bounds = {**default_config()["reading"], **(draft.config.get("reading") or {})}
    size = sum(folder_size(draft.folder / name) for name in {source["path"] for source in draft.source})
    memory_MB = bounds["memory_MB"] + _MEMORY_OF_FILE * size / 2**20
    cpu_seconds = bounds["cpu_seconds"] + bounds["cpu_seconds_per_GB"] * size / 1e9
    try:
        result = run_bounded(
            lambda: _attempt(draft, output), _cell(draft, draft.roles[0]), cpu_seconds, memory_MB
        )
    finally:
        store.remove_parts(output)
    fault, draft.metadata, draft.source, draft.warnings = result
    if fault is not None:
        raise SignalError(fault.file, fault.field, fault.found, fault.expected)


def _attempt(draft: _Draft, output: Path) -> tuple[Fault | None, Any, Any, Any]:
    """Read and write; a fault of the file comes back beside what is known so far."""
    try:
        _transcribe(draft, output)
    except SignalError as error:
        return error.fault, draft.metadata, draft.source, draft.warnings
    return None, draft.metadata, draft.source, draft.warnings


def _transcribe(draft: _Draft, output: Path) -> None:
    spectra, roles = draft.spectra, draft.roles
    main_role = roles[0]
    main = _open(draft, main_role)
    signals: dict[str, Spectra | Picture] = {}
    if spectra:
        signals["core_loss"], file_values = _core_loss(draft, main)
        if "low_loss" in roles:
            partner = _open(draft, "low_loss")
            signals["low_loss"] = _low_loss(draft, main, partner, signals["core_loss"])
            file_values["low_loss_exposure_s"] = partner.metadata.get("exposure_s")
    else:
        signals["image"] = as_picture(main)
        file_values = {**main.metadata, "pixel_size_nm": signals["image"].pixel_size_nm}
    draft.note(main.name, signals[main_role].notes)
    draft.metadata = _resolved(draft, _plausible(draft, main.name, file_values), spectra)
    signals[main_role] = _on_sheet_axes(draft, signals[main_role])
    if "low_loss" in signals:
        signals["low_loss"] = replace(signals["low_loss"], pixel_size_nm=signals["core_loss"].pixel_size_nm)
    signals, dead = _checked(draft, signals)
    if "adf" in roles and (picture := _adf(draft)) is not None:
        signals["adf"] = picture
    with store.create_h5(output) as file:
        store.write_header(file, draft.header())
        for role in sorted(signals, key=store.ROLES.index):
            _write(file, role, signals[role], dead)
        store.write_dead(file, dead)


def _cell(draft: _Draft, role: str) -> str:
    return str(draft.acquisition.get(_COLUMNS[role][0]) or "")


def _record_sources(draft: _Draft, roles: Sequence[str]) -> None:
    """Note path and SHA-256 of every source, then refuse the first that is absent or not the sheet's."""
    faults = []
    for role in roles:
        name = _cell(draft, role)
        try:
            _record_source(draft, role, name)
        except SignalError as error:
            draft.source.append({"role": role, "path": name, "signal": "", "sha256": ""})
            faults += [error] if role != "adf" else []
    if faults:
        raise faults[0]
    name = _cell(draft, roles[0])
    expected = str(draft.acquisition.get("sha256") or "").strip().lower()
    if expected and draft.digests[name] != expected:
        raise SignalError(name, "sha256", draft.digests[name], expected)


def _record_source(draft: _Draft, role: str, name: str) -> None:
    path = draft.folder / name
    check_file(path, name, _COLUMNS[role][0])
    for item in source_files(path):
        text = name if item == path else Path(name).with_suffix(item.suffix).as_posix()
        if text not in draft.digests:
            with guard(name, path):
                draft.digests[text] = sha256(item)
        draft.source.append({"role": role, "path": text, "signal": "", "sha256": draft.digests[text]})


def _open(draft: _Draft, role: str) -> RawSignal:
    name, (column, number) = _cell(draft, role), _COLUMNS[role]
    check_file(draft.folder / name, name, column)
    signal = choose(read_file(draft.folder / name, name), role, draft.acquisition.get(number))
    for source in draft.source:
        if source["role"] == role:
            source["signal"] = str(signal.index)
    return signal


def _core_loss(draft: _Draft, raw: RawSignal) -> tuple[Spectra, dict[str, float | None]]:
    spectra = as_spectra(raw)
    if draft.acquisition["modality"] == "eels_spectrum" and spectra.grid != (1, 1):
        rows, columns = spectra.grid
        raise SignalError(raw.name, "modality", f"{rows} x {columns} spectra", "one spectrum, or eels_si")
    values = {
        **raw.metadata,
        "pixel_size_nm": spectra.pixel_size_nm,
        "dispersion_eV": spectra.energy_scale_eV,
        "energy_offset_eV": spectra.energy_offset_eV,
    }
    return spectra, values


def _low_loss(draft: _Draft, main: RawSignal, raw: RawSignal, core: Spectra) -> Spectra:
    """The low loss on the grid of the core loss, or a single spectrum."""
    if _cell(draft, "low_loss") == _cell(draft, "core_loss") and raw.index == main.index:
        found = f"the core-loss signal itself, {raw.label}"
        raise SignalError(raw.name, "low_loss_signal", found, "another signal of the file")
    low = as_spectra(raw)
    draft.note(raw.name, low.notes)
    if low.energy_scale_eV is None:
        raise SignalError(raw.name, "energy axis", "no unit", "eV, meV or keV")
    axis = {"dispersion_eV": low.energy_scale_eV, "energy_offset_eV": low.energy_offset_eV}
    _plausible(replace(draft, acquisition={}), raw.name, axis)
    if low.grid == core.grid or low.grid == (1, 1):
        return low
    if 1 in core.grid and low.grid == core.grid[::-1]:
        return replace(low, data=low.data.map(lambda array: array.transpose(1, 0, 2)))
    found, expected = (f"{rows} x {columns}" for rows, columns in (low.grid, core.grid))
    expected += " pixels as the core loss, or a single spectrum"
    raise SignalError(raw.name, "low_loss_path", f"{found} pixels", expected)


def _resolved(draft: _Draft, file: Mapping[str, float | None], spectra: bool) -> dict[str, Value]:
    config = draft.config.get("microscope") or {}
    found = {
        name: resolve(draft.acquisition.get(name), file.get(name), config.get(name))
        if spectra or name not in _SPECTRUM_ONLY
        else MISSING
        for name in METADATA
    }
    # Only of a scan is it known which area a pixel's electrons went to.
    if draft.acquisition.get("modality") == "eels_si":
        current = resolve(draft.acquisition.get(CURRENT), None, config.get(CURRENT))
        scanned, stated = scanned_dose(current.value, found), found["dose_e_per_A2"]
        if not stated.known:
            found["dose_e_per_A2"] = scanned
        elif file and scanned.value and not 1 / _DOSES_DIFFER < stated.value / scanned.value < _DOSES_DIFFER:
            draft.note(
                str(draft.acquisition["path"]),
                (
                    f"dose_e_per_A2 {stated.value:.3g} ({stated.origin}), but current x dwell / pixel area "
                    f"is {scanned.value:.3g} e/A^2: is it in e/nm^2?",
                ),
            )
    return found


def _plausible(draft: _Draft, name: str, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """What the file says, held against the same ranges as the sheet; an axis of spectra has to keep them."""
    columns = load_schema("acquisitions")["properties"]
    kept = dict(values)
    for key, value in values.items():
        if value is None or (
            math.isfinite(value)
            and not out_of_range(value, columns[key])
            and value >= _SMALLEST.get(key, -math.inf)
        ):
            continue
        if key in _AXIS and draft.acquisition.get(key) is None:
            raise SignalError(name, "energy axis", f"{key} {value:g}", range_words(columns[key]))
        kept[key] = None
        draft.note(name, (f"{key} {value:g} makes no sense and was taken for not stated",))
    return kept


def _on_sheet_axes(draft: _Draft, signal: Spectra | Picture) -> Spectra | Picture:
    """Axes with the resolved metadata: what the sheet overrides, what only the configuration knows."""
    name = str(draft.acquisition["path"])
    pixel_size = draft.metadata["pixel_size_nm"]
    if signal.oblong and pixel_size.origin != "sheet":
        raise SignalError(name, "pixel size", signal.oblong, "square pixels, or pixel_size_nm in the sheet")
    if signal.no_size and not pixel_size.known:
        draft.note(name, (f"pixel size is missing: {signal.no_size}",))
    signal = replace(signal, pixel_size_nm=_positive(name, "pixel_size_nm", pixel_size))
    if isinstance(signal, Picture):
        return signal
    scale = _positive(name, "dispersion_eV", draft.metadata["dispersion_eV"])
    offset = draft.metadata["energy_offset_eV"].value
    if scale is None or offset is None:
        expected = "eV, meV or keV, or dispersion_eV and energy_offset_eV in the sheet"
        raise SignalError(name, "energy axis", "no unit", expected)
    return replace(signal, energy_scale_eV=scale, energy_offset_eV=offset)


def _positive(name: str, column: str, value: Value) -> float | None:
    if value.value is not None and not value.value > 0:
        raise SignalError(name, column, value.value, "a positive number")
    return value.value


def _checked(draft: _Draft, signals: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
    """Refuse data that make no sense; cut the same margin off core and low loss; which pixels are dead."""
    margins, dead, single = checks.NO_MARGINS, None, []
    for role, signal in signals.items():
        name, field = _cell(draft, role), f"{role} data"
        if not isinstance(signal, Spectra):
            found = checks.check_values(signal.data, name, field)
        else:
            found, bad = checks.check_pixels(signal.data, name, field)
            if bad.any():
                dead = bad if dead is None else dead | bad
        if signal.data.shape[:2] == (1, 1):
            single.append(role)
        margins = checks.widest(margins, found)
    name = _cell(draft, next(iter(signals)))
    if margins != checks.NO_MARGINS:
        top, bottom, left, right = margins
        text = f"rows {top} + {bottom} and columns {left} + {right} at the margin are not finite"
        draft.note(name, (f"{text} and were cut off",))
        signals = {role: s if role in single else cropped(s, margins) for role, s in signals.items()}
        if dead is not None:
            dead = dead[top : dead.shape[0] - bottom, left : dead.shape[1] - right]
    if dead is not None and dead.any():
        draft.note(name, (f"{int(dead.sum())} of {dead.size} pixels hold NaN or infinity and are left out",))
    return signals, dead


def _adf(draft: _Draft) -> Picture | None:
    """The image beside the spectra; without it the acquisition stands, with a warning."""
    try:
        picture = as_picture(_open(draft, "adf"))
        name = _cell(draft, "adf")
        margins = checks.check_values(picture.data, name, "adf data")
    except SignalError as error:
        draft.warnings.append(f"adf left out: {error}")
        return None
    draft.note(name, picture.notes)
    if picture.no_size:
        draft.note(name, (f"pixel size is missing: {picture.no_size}",))
    return cropped(picture, margins)


def _write(file: Any, role: str, signal: Spectra | Picture, dead: np.ndarray | None) -> None:
    energies = {}
    if isinstance(signal, Spectra):
        energies = {"energy_offset_eV": signal.energy_offset_eV, "energy_scale_eV": signal.energy_scale_eV}
        if dead is not None and signal.data.shape[:2] == dead.shape:
            energies["dead"] = dead
    store.write_signal(file, role, signal.data, pixel_size_nm=signal.pixel_size_nm, **energies)
