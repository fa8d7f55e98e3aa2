"""Physical constants and unit conversions."""

from __future__ import annotations

import math

# CODATA 2018, rounded to the digits that matter here.
ELECTRON_REST_ENERGY_KEV = 510.99895
HC_KEV_NM = 1.23984198
AVOGADRO = 6.02214076e23
ELEMENTARY_CHARGE_C = 1.602176634e-19

_NANOMETRES = {"pm": 1e-3, "å": 0.1, "a": 0.1, "angstrom": 0.1, "nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3,
               "micron": 1e3, "mm": 1e6, "m": 1e9}  # fmt: skip
_ELECTRONVOLTS = {"mev": 1e-3, "ev": 1.0, "kev": 1e3}


def to_nanometres(unit: str) -> float | None:
    """Nanometres in one `unit`; None for a unit that is no length."""
    return _NANOMETRES.get(unit.strip().lower())


def to_electronvolts(unit: str) -> float | None:
    """Electronvolts in one `unit` (meV, eV or keV, by letters alone); None for a unit that is no energy."""
    return _ELECTRONVOLTS.get(unit.strip().lower())


def electron_wavelength_nm(beam_energy_keV: float) -> float:
    """Relativistic de Broglie wavelength of the beam electrons, in nm."""
    return HC_KEV_NM / math.sqrt(beam_energy_keV * (beam_energy_keV + 2 * ELECTRON_REST_ENERGY_KEV))
