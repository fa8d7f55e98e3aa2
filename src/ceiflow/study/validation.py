"""A study held against its schemas and against itself: every fault at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ceiflow.errors import Fault, StudyError
from ceiflow.study.checker import check, nearest, perhaps
from ceiflow.study.claims import check_claims
from ceiflow.study.config import load_config, read_yaml, spell
from ceiflow.study.schemas import load_schema
from ceiflow.study.sheets import Sheet, read_sheet

CONFIG_FILE = "config/config.yaml"
_REFERENCE_PLACE = "a file, seen from the study folder, or one that `retrieve` makes"


@dataclass
class Study:
    """A validated study.

    Attributes
    ----------
    config : dict
        Configuration with all defaults.
    cells, acquisitions : list of dict
        Rows of the sheets in their order; numbers are numbers, None where a cell is empty; excluded rows
        are kept.
    folder : Path
        The study folder.
    notes : list of str
        What is odd but no fault.
    """

    config: dict[str, Any]
    cells: list[dict[str, Any]]
    acquisitions: list[dict[str, Any]]
    folder: Path
    notes: list[str] = field(default_factory=list)


def validate(
    raw_config: Mapping[str, Any] | None,
    folder: Path | str,
    config_file: str = CONFIG_FILE,
    *,
    stored: bool = False,
) -> Study:
    """The study that a configuration describes.

    Parameters
    ----------
    raw_config : mapping
        The configuration as written, without defaults.
    folder : Path
        Study folder, which the sheets are named from.
    config_file : str
        Name of the configuration in messages.
    stored : bool
        Whether all files but sheets and configuration lie in a storage, and none can be looked for here.

    Raises
    ------
    StudyError
        With every fault of the configuration and of both sheets. A raw file that is absent is none.
    """
    folder = Path(folder)
    if raw_config is not None and not isinstance(raw_config, Mapping):
        raise StudyError([Fault(config_file, "file", type(raw_config).__name__, "keys with values")])
    raw = dict(raw_config or {})
    root = load_schema("config")
    config = load_config(raw)
    faults = [Fault(config_file, spell(path), *words) for path, *words in check(config, root, root)]
    faults += [Fault(config_file, *words) for words in _config_faults(raw, config)]
    cells = _sheet(config, folder, "cells")
    acquisitions = _sheet(config, folder, "acquisitions")
    _check_cells(cells)
    _check_acquisitions(acquisitions, cells)
    faults += [Fault(config_file, *words) for words in check_claims(config.get("claims"), config, cells)]
    faults = [*faults, *cells.faults, *acquisitions.faults]
    if not faults and not stored:
        faults = [Fault(config_file, *words) for words in _absent_references(config, folder)]
    if faults:
        raise StudyError(dict.fromkeys(faults))
    return Study(config, cells.rows, acquisitions.rows, folder, list(_notes(cells, acquisitions)))


def load_study(folder: Path | str) -> Study:
    """Read config/config.yaml of a study folder and validate it; see `validate`."""
    return validate(read_yaml(Path(folder) / CONFIG_FILE, CONFIG_FILE), folder)


def absent_files(study: Study) -> Iterator[tuple[str, str, str]]:
    """Raw files of analysed rows that are not there and that no rule makes.

    Yields
    ------
    (acquisition_id, column, path)
    """
    if study.config["demo"]:
        return
    retrieved = {item["path"] for item in study.config["retrieve"]["files"]}
    for row in study.acquisitions:
        for column in ("path", "low_loss_path", "adf_path"):
            path = row[column]
            if path and not row["exclude"] and path not in retrieved and not (study.folder / path).exists():
                yield row["acquisition_id"], column, path


def _absent_references(config: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str, str]]:
    """Reference spectra that are not there and that no rule makes: they stand for no acquisition alone."""
    made = {item["path"] for key in ("files", "eels_db") for item in config["retrieve"][key]}
    for number, item in enumerate(config["fine_structure"]["references"], 1):
        path = item["path"]
        if path not in made and not (folder / path).exists():
            yield f"fine_structure.references[{number}].path", f"no such file {path!r}", _REFERENCE_PLACE


def _sheet(config: dict[str, Any], folder: Path, key: str) -> Sheet:
    name = config.get(key)
    if not isinstance(name, str) or not name.strip():
        return Sheet(str(name))
    return read_sheet(folder / name, name, load_schema(key))


def _config_faults(raw: dict[str, Any], config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What no schema can say; takes values of wrong types, which the schema has spoken of."""

    def get(*keys: str) -> Any:
        value: Any = config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def ordered(low: Any, high: Any) -> bool:
        numbers = [x for x in (low, high) if isinstance(x, (int, float)) and not isinstance(x, bool)]
        return len(numbers) < 2 or low < high

    if not ordered(get("eels", "fit", "start_eV"), get("eels", "fit", "stop_eV")):
        start, stop = get("eels", "fit", "start_eV"), get("eels", "fit", "stop_eV")
        yield "eels.fit", f"start_eV {start}, stop_eV {stop}", "start below stop"
    spacing = get("images", "spacing_range_nm")
    if isinstance(spacing, list) and len(spacing) == 2 and not ordered(*spacing):
        yield "images.spacing_range_nm", str(spacing), "the smaller spacing first"
    elements, particle = get("eels", "elements"), get("layer", "particle_elements")
    for key, names in (("particle_elements", particle), ("layer_elements", get("layer", "layer_elements"))):
        if (
            isinstance(elements, list)
            and isinstance(names, list)
            and not any(name in elements for name in names)
        ):
            yield f"layer.{key}", str(names), f"at least one of eels.elements {elements}"
    reference = (raw.get("layer") or {}).get("reference") if isinstance(raw.get("layer"), dict) else None
    if (
        isinstance(reference, dict)
        and 0 < len(reference) < 3
        and set(reference) != set(get("layer", "reference"))
    ):
        left = sorted(set(get("layer", "reference")) - set(reference))
        yield (
            "layer.reference",
            f"no {', '.join(left)}",
            "all of name, density_g_per_cm3, carbon_per_nm3, or none",
        )
    yield from _section_faults(get("eels"))
    yield from _retrieve_faults(get("retrieve", "files"), "files")
    yield from _retrieve_faults(get("retrieve", "eels_db"), "eels_db")


def _section_faults(eels: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(eels, dict):
        return
    if eels.get("cross_sections") == "gosh" and not eels.get("gosh_file"):
        yield "eels.gosh_file", "nothing, with cross_sections gosh", "the .gosh file"
    elements, factors, errors = (eels.get(key) for key in ("elements", "k_factors", "k_factor_errors"))
    for key, names, known in (("k_factors", factors, elements), ("k_factor_errors", errors, factors)):
        for name in names if isinstance(names, dict) and isinstance(known, (dict, list)) else ():
            if name not in known:
                where = "elements" if known is elements else "k_factors"
                yield f"eels.{key}.{name}", "nothing to go with it", f"{name} in eels.{where}"


def _retrieve_faults(files: Any, key: str) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for number, item in enumerate(files if isinstance(files, list) else [], 1):
        path = item.get("path") if isinstance(item, dict) else None
        if not isinstance(path, str) or not path:
            continue
        where = f"retrieve.{key}[{number}].path"
        # The workflow writes these, so they stay inside the study.
        if path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts or "\\" in path:
            yield where, repr(path), "a path inside the study folder, without `..`"
        if path in seen:
            yield where, f"{path!r} again", "every path once"
        seen.add(path)


def _check_cells(cells: Sheet) -> None:
    _check_unique(cells, "cell_id")
    if not cells.rows and not cells.faults:
        cells.fault(None, None, "no rows", "at least one cell")
    for row, line in zip(cells.rows, cells.lines, strict=True):
        low, high = row["v_min_V"], row["v_max_V"]
        if low is not None and high is not None and low >= high:
            cells.fault(line, "v_min_V", f"{low}, with v_max_V {high}", "v_min_V below v_max_V")


def _check_unique(sheet: Sheet, column: str) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for row, line in zip(sheet.rows, sheet.lines, strict=True):
        name = row[column]
        if name is None:
            continue
        # Results go to folders of these names, and not every file system tells A from a.
        first = seen.setdefault(name.lower(), (name, line))
        if first[1] != line:
            as_name = (
                "" if first[0] == name else f" (as {first[0]}; folders may not tell upper from lower case)"
            )
            sheet.fault(line, column, f"{name!r} again, first in row {first[1]}{as_name}", "every name once")


def _check_acquisitions(sheet: Sheet, cells: Sheet) -> None:
    if not sheet.rows and not sheet.faults:
        sheet.fault(None, None, "no rows", "at least one acquisition")
    _check_unique(sheet, "acquisition_id")
    known = {row["cell_id"] for row in cells.rows} - {None}
    for row, line in zip(sheet.rows, sheet.lines, strict=True):
        cell = row["cell_id"]
        # A cells sheet that could not be read has said so; no need to say it again in every row.
        if known and cell is not None and cell not in known:
            sheet.fault(
                line, "cell_id", repr(cell), f"a cell of {cells.name}: {nearest(cell, sorted(known))}"
            )
        for part in ("low_loss", "adf"):
            if row[f"{part}_signal"] is not None and row[f"{part}_path"] is None:
                sheet.fault(
                    line,
                    f"{part}_path",
                    f"nothing, with a {part}_signal",
                    "the file, also where it is `path`",
                )
        if row["low_loss_path"] and (row["low_loss_path"], row["low_loss_signal"]) == (
            row["path"],
            row["signal"],
        ):
            sheet.fault(
                line, "low_loss_path", "the core-loss signal itself", "another file, or a low_loss_signal"
            )
        if (row["exclude"] or "").lower() in ("no", "false", "0", "n"):
            sheet.fault(
                line,
                "exclude",
                repr(row["exclude"]),
                "a reason in words, or an empty cell to analyse the row",
            )


def _notes(cells: Sheet, acquisitions: Sheet) -> Iterator[str]:
    """What is odd and may still be meant."""
    for sheet in (cells, acquisitions):
        known = load_schema("cells" if sheet is cells else "acquisitions")["properties"]
        for column in sheet.extra:
            yield f"{sheet.name}: further column {column} is kept{perhaps(column, known)}"
    analysed = [(row, line) for row, line in zip(acquisitions.rows, acquisitions.lines, strict=True)]
    analysed = [(row, line) for row, line in analysed if not row["exclude"]]
    used = {row["cell_id"] for row, _ in analysed}
    for row, line in zip(cells.rows, cells.lines, strict=True):
        if row["cell_id"] not in used:
            yield f"{cells.name}: row {line}: no acquisition of {row['cell_id']} is analysed"
    seen: dict[tuple, int] = {}
    for row, line in analysed:
        key = (row["path"], row["signal"], row["modality"])
        if seen.setdefault(key, line) != line:
            yield f"{acquisitions.name}: row {line}: the same signal as row {seen[key]} would count twice"
