"""Numbers about the recording that a file states, with its placeholders taken out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# Where HyperSpy's vocabulary keeps what is looked for. SEM comes second: DM files of some
# microscopes are filed there.
_PLACES = {
    "beam_energy_keV": ("TEM.beam_energy", "SEM.beam_energy"),
    "convergence_mrad": ("TEM.convergence_angle",),
    "collection_mrad": ("TEM.Detector.EELS.collection_angle",),
    "exposure_s": (
        "TEM.Detector.EELS.dwell_time",
        "TEM.Detector.EELS.exposure",
        "TEM.dwell_time",
        "TEM.Camera.exposure",
        "SEM.dwell_time",
    ),
}
# Velox keeps SI units and gives no mapping for these.
_VELOX = {
    "beam_energy_keV": ("Optics.AccelerationVoltage", 1e-3),
    "convergence_mrad": ("Optics.BeamConvergence", 1e3),
    "exposure_s": ("Scan.DwellTime", 1.0),
}
_ROOT = "Acquisition_instrument"
# No electron microscope has more kilovolts than this: the number is in volts.
_LARGEST_KEV = 3000.0
_UNSET_COLLECTION_MRAD = 100.0


def file_metadata(signal: Mapping[str, Any], is_msa: bool = False) -> tuple[dict[str, float], list[str]]:
    """Metadata of one signal as RosettaSciIO gives it.

    Parameters
    ----------
    signal : mapping
        With `metadata`, `original_metadata` and, for some formats, `mapping` between the two.
    is_msa : bool
        Times of MSA files need their unit beside them.

    Returns
    -------
    values : dict of str to float
        beam_energy_keV, convergence_mrad, collection_mrad, exposure_s: those that the file states.
    notes : list of str
        What was taken for a placeholder or put into another unit.
    """
    metadata = plain(signal.get("metadata") or {})
    original = plain(signal.get("original_metadata") or {})
    mapped = _mapped(original, signal.get("mapping") or {})
    values: dict[str, float] = {}
    notes: list[str] = []
    for name, places in _PLACES.items():
        found = [_number(_get(metadata, f"{_ROOT}.{place}")) for place in places]
        found += [mapped.get(f"{_ROOT}.{place}") for place in places]
        if name in _VELOX:
            path, factor = _VELOX[name]
            number = _number(_get(original, path))
            found.append(None if number is None else number * factor)
        if stated := [number for number in found if number]:
            values[name] = stated[0]
    if is_msa and "exposure_s" in values:
        _use_unit_of_exposure(metadata, values, notes)
    return _without_placeholders(values, notes), notes


def title(signal: Mapping[str, Any]) -> str:
    """Title of a signal, empty where it has none."""
    return str(_get(plain(signal.get("metadata") or {}), "General.title") or "")


def signal_type(signal: Mapping[str, Any]) -> str:
    """Signal type in HyperSpy's words (EELS, EDS_TEM...), empty where the file does not say."""
    return str(_get(plain(signal.get("metadata") or {}), "Signal.signal_type") or "")


def plain(tree: Any) -> dict[str, Any]:
    """Any of the readers' tree types as a dictionary."""
    for method in ("as_dictionary", "to_dict"):
        if hasattr(tree, method):
            return getattr(tree, method)()
    return dict(tree)


def _without_placeholders(values: dict[str, float], notes: list[str]) -> dict[str, float]:
    values = {name: value for name, value in values.items() if value > 0}
    energy = values.get("beam_energy_keV")
    if energy is not None and energy > _LARGEST_KEV:
        values["beam_energy_keV"] = energy / 1e3
        notes.append(f"beam energy {energy:g} was read as eV: {energy / 1e3:g} keV")
    if values.get("collection_mrad") == _UNSET_COLLECTION_MRAD:
        if "convergence_mrad" in values:
            notes.append("collection 100 mrad kept, though Digital Micrograph writes it for 'not set'")
        else:
            del values["collection_mrad"]
            notes.append("collection 100 mrad beside convergence 0 was taken as 'not set'")
    return values


def _use_unit_of_exposure(metadata: Mapping[str, Any], values: dict[str, float], notes: list[str]) -> None:
    """Put the exposure of an MSA file into seconds, or drop it where the file gives no unit.

    The standard says ms, programs write s: without a unit beside it the number means nothing.
    """
    places = _PLACES["exposure_s"]
    unit = next((u for u in (_get(metadata, f"{_ROOT}.{place}_units") for place in places) if u), "")
    factor = {"ms": 1e-3, "s": 1.0}.get(str(unit).lower())
    exposure = values.pop("exposure_s")
    if factor is None:
        notes.append(f"exposure {exposure:g} has no unit in the file and was left out")
    else:
        values["exposure_s"] = exposure * factor


def _mapped(original: Mapping[str, Any], mapping: Mapping[str, tuple[str, Any]]) -> dict[str, float]:
    """What the reader would map from the original metadata into the places that are looked for.

    Keys are compared by their letters and digits: readers write them both ways, as the file has
    them ("Exposure (s)") and as attributes ("Exposure_s").
    """
    wanted = {f"{_ROOT}.{place}" for places in _PLACES.values() for place in places}
    entries = [(path, *target) for path, target in mapping.items() if target[0] in wanted]
    if not entries:
        return {}
    tree = _slugged(original)
    found = {}
    for path, target, function in entries:
        value = _get(tree, ".".join(_slug(part) for part in path.split(".")))
        if value is None or value == {}:
            continue
        number = _number(function(value) if function is not None else value)
        if number is not None:
            found[target] = number
    return found


def _slug(key: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "_", key).strip("_")


def _slugged(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {_slug(str(key)): _slugged(value) for key, value in tree.items()}


def _get(tree: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
