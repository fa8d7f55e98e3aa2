"""Metadata with their origin: sheet, file, configuration, or missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

METADATA = (
    "beam_energy_keV",
    "convergence_mrad",
    "collection_mrad",
    "pixel_size_nm",
    "dispersion_eV",
    "energy_offset_eV",
    "exposure_s",
    "low_loss_exposure_s",
    "dose_e_per_A2",
    "defocus_nm",
)


@dataclass(frozen=True)
class Value:
    """A number and where it came from.

    Parameters
    ----------
    value : float or None
        None where nobody said.
    origin : {"sheet", "file", "config", "missing"}
    """

    value: float | None
    origin: str

    @property
    def known(self) -> bool:
        return self.value is not None


MISSING = Value(None, "missing")


def resolve(sheet: float | None, file: float | None, config: float | None) -> Value:
    """The first of sheet, file and configuration that says anything.

    Placeholders must have been turned into None before.
    """
    for value, origin in ((sheet, "sheet"), (file, "file"), (config, "config")):
        if value is not None:
            return Value(float(value), origin)
    return MISSING


def to_json(metadata: Mapping[str, Value]) -> str:
    """Metadata as a JSON text with sorted keys."""
    plain = {name: {"value": item.value, "origin": item.origin} for name, item in metadata.items()}
    return json.dumps(plain, sort_keys=True)


def from_json(text: str) -> dict[str, Value]:
    """Metadata back from `to_json`."""
    return {name: Value(item["value"], item["origin"]) for name, item in json.loads(text).items()}
