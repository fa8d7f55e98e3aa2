"""Every picture, drawn from the tables and maps that rules made; nothing here computes a result.

The functions take paths or rows of tables and return a `matplotlib.figure.Figure` whose label is a
text that states its content (`description`). `save` writes it byte-identically. Names are resolved
at first use, so that importing this package does not import matplotlib.
"""

from __future__ import annotations

import importlib

from ceiflow.figures.names import ACQUISITION_FIGURES, STUDY_FIGURES

_HOMES = {
    "claims_forest": "claims",
    "composition_plot": "estimation",
    "description": "style",
    "draw_acquisition": "folders",
    "draw_study": "folders",
    "element_maps": "maps",
    "energy_calibration": "spectra",
    "estimation_plot": "estimation",
    "heterogeneity_bars": "bars",
    "layer_overlay_eels": "overlay",
    "layer_overlay_image": "overlay",
    "layer_trace": "overlay",
    "normal_profile": "maps",
    "planning_curves": "planning",
    "prevalence_bars": "bars",
    "save": "style",
    "zone_spectra": "spectra",
}

__all__ = ["ACQUISITION_FIGURES", "STUDY_FIGURES", *sorted(_HOMES)]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
