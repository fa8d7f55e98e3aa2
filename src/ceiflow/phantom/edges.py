"""Inner-shell losses of the phantom: shapes near the edges, tails, and how many there are.

Shapes are sums of steps and lines drawn from published spectra by eye; strengths are partial cross-sections
over the first 50 eV at 300 kV, 10/20 mrad, which nature is allowed to miss by a few per cent (`nature`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .materials import Material
from .streams import stream

# nm^2 within 50 eV of the onset; all L edges are L3 and L2 together.
PARTIAL_NM2 = {"C": 3.44e-7, "O": 9.22e-8, "F": 5.27e-8, "Mn": 1.95e-7, "Co": 1.07e-7, "Ni": 7.4e-8}
_WINDOW_EV = 50.0
_SPREAD = {"C": 0.07, "O": 0.07, "F": 0.07, "Mn": 0.15, "Co": 0.15, "Ni": 0.15}

# By element and kind: the step's (onset, width), and lines of (centre, FWHM, height relative to the step).
_Template = tuple[tuple[float, float], tuple[tuple[float, float, float], ...]]
_TEMPLATES: dict[str, dict[str, _Template]] = {
    "C": {
        "sp2": ((290.5, 1.0), ((285.4, 1.5, 0.75), (292.3, 3.0, 0.55), (298.5, 12.0, 0.45))),
        "aliphatic": ((289.5, 1.0), ((287.7, 1.6, 0.70), (293.2, 5.0, 0.75), (301.0, 10.0, 0.3))),
        "ether": ((291.0, 1.2), ((289.2, 1.8, 0.95), (296.5, 8.0, 0.65))),
        "carboxyl": ((292.5, 1.2), ((288.6, 1.2, 1.40), (297.5, 7.0, 0.60), (303.5, 8.0, 0.2))),
        "carbonate": ((294.5, 1.5), ((290.3, 1.0, 2.30), (298.2, 4.5, 0.60), (301.6, 5.0, 0.65))),
    },
    "O": {
        "oxide": (
            (535.5, 1.5),
            ((529.6, 2.4, 0.75), (540.8, 6.5, 0.90), (545.5, 7.0, 0.3), (562.0, 14.0, 0.15)),
        ),
        "rocksalt": ((535.0, 1.5), ((532.3, 2.0, 0.12), (538.4, 4.5, 1.10), (557.0, 12.0, 0.25))),
        "carbonate": ((537.0, 1.5), ((533.9, 1.4, 0.85), (540.5, 5.0, 0.80), (546.0, 7.0, 0.45))),
        "ether": ((536.5, 1.5), ((538.6, 4.5, 0.70), (544.0, 8.0, 0.30))),
    },
    "F": {"fluoride": ((690.5, 1.5), ((692.2, 3.0, 0.85), (701.5, 6.0, 0.60)))},
}
_TAIL = {"C": 4.3, "O": 4.1, "F": 4.0}
# By state and metal: L3 line, splitting, width, strength (share of the 50 eV integral), L3/L2 of the areas.
_WHITE_LINES = {
    "layered": {
        "Mn": (642.8, 11.0, 2.9, 0.36, 2.1),
        "Co": (780.4, 14.9, 2.4, 0.30, 2.7),
        "Ni": (854.6, 17.4, 2.3, 0.22, 3.0),
    },
    "rocksalt": {
        "Mn": (640.6, 10.7, 2.3, 0.40, 4.2),
        "Co": (778.9, 15.1, 2.3, 0.34, 3.6),
        "Ni": (853.2, 17.3, 2.1, 0.24, 3.0),
    },
}


def nature(seed: int) -> dict[str, float]:
    """True over tabulated cross-section by element: a factor near 1, one per study."""
    return {
        el: float(np.exp(spread * stream(seed, "cross-section", el).standard_normal()))
        for el, spread in _SPREAD.items()
    }


def angular_factor(beam_energy_keV: float, collection_mrad: float, onset_eV: float) -> float:
    """Partial cross-section over that at 300 kV, 20 mrad: dipole formula, ln(1 + (beta/theta_E)^2) / v^2."""

    def dipole(energy_keV: float, beta_mrad: float) -> float:
        gamma = 1 + energy_keV / 511.0
        speed_squared = 1 - gamma**-2
        theta_mrad = onset_eV / (gamma * speed_squared * 511.0)
        return math.log1p((beta_mrad / theta_mrad) ** 2) / speed_squared

    return dipole(beam_energy_keV, collection_mrad) / dipole(300.0, 20.0)


def _line(energy: np.ndarray, centre: float, fwhm: float) -> np.ndarray:
    """Unit-height line: a Gaussian with slower flanks, but no tail that runs over the spectrum."""
    core = np.exp(-4 * math.log(2) * ((energy - centre) / fwhm) ** 2)
    return 0.8 * core + 0.2 * np.exp(-4 * math.log(2) * ((energy - centre) / (2.2 * fwhm)) ** 2)


def _step(energy: np.ndarray, onset: float, width: float, tail: float) -> np.ndarray:
    """Smooth step at `onset` that decays as a power, with a weak, damped ripple (extended fine structure)."""
    with np.errstate(over="ignore"):
        rise = 1 / (1 + np.exp(-np.clip((energy - onset) / (width / 2), -60, 60)))
    excess = np.maximum(energy - onset, 0)
    ripple = 1 + 0.05 * np.sin(2 * 0.19 * np.sqrt(excess * 26.2)) * np.exp(-excess / 90) * (excess > 12)
    return rise * (np.maximum(energy, 1.0) / onset) ** -tail * ripple


def _normalised(energy: np.ndarray, shape: np.ndarray, onset: float) -> np.ndarray:
    """Scaled to unit integral over 50 eV from `onset`; energies are evenly spaced."""
    inside = (energy >= onset) & (energy < onset + _WINDOW_EV)
    return shape / (shape[inside].sum() * (energy[1] - energy[0]))


_FINE = np.arange(250.0, 1400.0, 0.1)
_NOMINAL = {"C": 284.0, "O": 529.0, "F": 686.0, "Mn": 638.0, "Co": 776.0, "Ni": 851.0}


def _k_template(element: str, kind: str) -> np.ndarray:
    step, lines = _TEMPLATES[element][kind]
    shape = _step(_FINE, *step, _TAIL[element])
    for centre, fwhm, height in lines:
        shape = shape + height * _line(_FINE, centre, fwhm)
    return _normalised(_FINE, shape, _NOMINAL[element])


def _l_template(element: str, kind: str) -> np.ndarray:
    l3, splitting, width, strength, ratio = _WHITE_LINES[kind][element]
    steps = 2 / 3 * _step(_FINE, l3 + 1.0, 2.5, 3.4) + 1 / 3 * _step(_FINE, l3 + splitting + 1.0, 2.5, 3.4)
    lines = _line(_FINE, l3, width) + _line(_FINE, l3 + splitting, 1.15 * width) / (1.15 * ratio)
    onset = _NOMINAL[element]
    return (1 - strength) * _normalised(_FINE, steps, onset) + strength * _normalised(_FINE, lines, onset)


def white_line_ratio(metal: str, element: str) -> float:
    """Area of the L3 line over that of the L2 line."""
    return _WHITE_LINES[metal][element][4]


def edge_spectra(
    material: Material,
    energy_eV: np.ndarray,
    factors: Mapping[str, float],
    beam_energy_keV: float,
    collection_mrad: float,
) -> dict[str, np.ndarray]:
    """Single-scattering probability nm^-1 eV^-1 under each edge of a material.

    Parameters
    ----------
    energy_eV : (n,) array
        True energies.
    factors : mapping of str to float
        Nature's own cross-sections relative to the tabulated (`nature`).

    Returns
    -------
    dict of str to (n,) array
        By element; zero below the edge.
    """
    result = {}
    for element, density in material.atoms.items():
        if element in ("C", "O"):
            shares = material.carbon if element == "C" else material.oxygen
            shape = sum(share * _k_template(element, kind) for kind, share in shares.items())
        elif element == "F":
            shape = _k_template("F", "fluoride")
        elif element in PARTIAL_NM2:
            shape = _l_template(element, material.metal)
        else:
            continue
        strength = density * PARTIAL_NM2[element] * factors.get(element, 1.0)
        strength *= angular_factor(beam_energy_keV, collection_mrad, _NOMINAL[element])
        result[element] = strength * np.interp(energy_eV, _FINE, shape, left=0.0, right=0.0)
    return result
