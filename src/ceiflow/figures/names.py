"""Which figures a study and an acquisition have: file names that rules may promise before anything ran."""

from __future__ import annotations

STUDY_FIGURES = (
    "claims",
    "layer_thickness",
    "layer_coverage",
    "prevalence",
    "composition",
    "heterogeneity",
    "planning",
)
_SPECTRUM_IMAGE = (
    "maps",
    "layer",
    "trace",
    "spectra",
    "profile",
    "fine_structure",
    "species",
    "valence_map",
    "valence",
    "calibration",
)
_IMAGE = ("layer", "trace")
ACQUISITION_FIGURES = {
    "eels_si": _SPECTRUM_IMAGE,
    "eels_spectrum": ("spectra", "fine_structure", "dose", "calibration"),
    "hrtem": _IMAGE,
    "tem": _IMAGE,
    "adf": _IMAGE,
}
