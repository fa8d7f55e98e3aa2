"""Energy-loss spectra: cross-sections, energy calibration, low loss, the model and its fit.

The stages work on files; everything below them works on arrays. Names are looked up when first used, since a
job that only writes tables needs no optimiser.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "calibrate": "axes",
    "edges": "stages",
    "edges_of_settings": "stages",
    "list_settings": "stages",
    "origins": "cross_sections",
    "export_hyperspy": "export",
    "quantify": "stages",
    "same_design": "stages",
    "measure_spectrum": "stages",
    "fit_zones": "zones",
    "ZoneFit": "zones",
    "implausible": "plausible",
    "zone_measurements": "tables",
    "write_spectra": "tables",
    "measure_fine_structure": "fine_structure.measure",
    "write_content": "fine_structure.measure",
    "dose_series": "fine_structure.series",
    "pool_species": "fine_structure.cells",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"ceiflow.eels.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'ceiflow.eels' has no attribute {name!r}")
