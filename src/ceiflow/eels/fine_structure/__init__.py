"""Fine structure: species from the shape of K edges, valence from white lines, and the dose beside both."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "measure_fine_structure": "measure",
    "dose_series": "series",
    "Reference": "references",
    "carbon_templates": "templates",
    "load_references": "references",
    "Spectrum": "unmixing",
    "unmix": "unmixing",
    "white_lines": "white_lines",
    "decay": "dose",
    "pool": "pooling",
    "pool_species": "cells",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"ceiflow.eels.fine_structure.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'ceiflow.eels.fine_structure' has no attribute {name!r}")
