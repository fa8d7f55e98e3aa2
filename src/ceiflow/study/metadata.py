"""Metadata with their origin: sheet, file, configuration, or missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ceiflow.units import ELEMENTARY_CHARGE_C

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
    origin : {"sheet", "file", "config", "computed", "missing"}
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


def scanned_dose(current_pA: float | None, metadata: Mapping[str, Value]) -> Value:
    """Dose of a scan where nobody states it: beam current times dwell over the area of a pixel.

    The mean over the scanned area, whatever the probe's size; core loss and low loss both expose a pixel.

    Parameters
    ----------
    current_pA : float or None
    metadata : mapping of str to Value
        Exposures of a pixel in seconds, `pixel_size_nm`.

    Returns
    -------
    Value
        In electrons per square angstrom; missing where current, exposure or pixel size is.
    """
    exposure, pixel = metadata["exposure_s"], metadata["pixel_size_nm"]
    if current_pA is None or not exposure.known or not pixel.known or not pixel.value > 0:
        return MISSING
    seconds = exposure.value + (metadata["low_loss_exposure_s"].value or 0.0)
    electrons = current_pA * 1e-12 * seconds / ELEMENTARY_CHARGE_C
    return Value(electrons / (10 * pixel.value) ** 2, "computed")


def to_json(metadata: Mapping[str, Value]) -> str:
    """Metadata as a JSON text with sorted keys."""
    plain = {name: {"value": item.value, "origin": item.origin} for name, item in metadata.items()}
    return json.dumps(plain, sort_keys=True)


def from_json(text: str) -> dict[str, Value]:
    """Metadata back from `to_json`."""
    return {name: Value(item["value"], item["origin"]) for name, item in json.loads(text).items()}
