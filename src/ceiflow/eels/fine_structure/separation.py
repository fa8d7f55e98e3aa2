"""How far L3 stands above the O K maximum: a measure of valence that no offset of the energy axis touches.

L3 moves down where the metal is reduced, and the O K band of metal 4sp character moves little: their distance
shrinks. It is compared between zones, or with references on which it was measured in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceiflow.eels.fine_structure.prepeak import oxygen_edge
from ceiflow.eels.fine_structure.white_lines import DETECTION_SIGMA, WhiteLines, centroid

# The main maximum of O K in oxides; the pre-peak lies below.
MAIN_EV = (535.0, 546.0)
SMOOTH_EV, REACH_EV = 1.5, 2.5
REACHES_EV = (1.5, 2.0, 3.0, 3.5)


@dataclass(frozen=True)
class Separation:
    """L3 minus the O K maximum in eV; `dispersion_eV` is what the axis's scale adds to `systematic`."""

    value: float = np.nan
    se: float = np.nan
    systematic: float = np.nan
    dispersion_eV: float = 0.0
    reason: str = ""


def maximum(energy: np.ndarray, values: np.ndarray, reach_eV: float) -> float:
    """Centroid of what stands within `reach_eV` of the highest point between 535 and 546 eV.

    Parameters
    ----------
    energy, values : (n,) array
    reach_eV : float
    """
    step = energy[1] - energy[0]
    width = 2 * round(SMOOTH_EV / 2 / step) + 1
    smooth = np.convolve(values, np.ones(width) / width, mode="same")
    inside = np.flatnonzero((energy >= MAIN_EV[0]) & (energy <= MAIN_EV[1]))
    at = float(energy[inside[np.argmax(smooth[inside])]])
    return centroid(energy, smooth, at, reach_eV)


def separation(
    energy_eV: np.ndarray,
    counts: np.ndarray,
    kernel: tuple[np.ndarray, int] | None,
    lines: WhiteLines,
    gain: float = 1.0,
    dispersion_se: float = 0.0,
    seed: int = 0,
) -> Separation:
    """Distance of L3 from the maximum of O K in one spectrum.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        Dark level removed.
    kernel : ((k,) array, int) or None
        Low loss.
    lines : WhiteLines
        Of the same spectrum.
    gain : float
    dispersion_se : float
        Relative error of the axis's scale: it counts once for every electronvolt of the distance.
    seed : int
        Of the draws of counting noise.

    Returns
    -------
    Separation
        Its systematic error holds the choice of window and the dispersion.
    """
    if not lines.known:
        return Separation(reason=lines.reason)
    edge = oxygen_edge(energy_eV, counts, kernel, gain, 0.0, seed)
    if isinstance(edge, str):
        return Separation(reason=edge)
    energy, single = edge
    main = single[:, (energy >= MAIN_EV[0]) & (energy <= MAIN_EV[1])].sum(1)
    if not main[0] > DETECTION_SIGMA * main[1:].std(ddof=1):
        return Separation(reason="O K does not stand above its detection limit")
    at = maximum(energy, single[0], REACH_EV)
    drawn = [maximum(energy, row, REACH_EV) for row in single[1:]]
    other = [maximum(energy, single[0], reach) for reach in REACHES_EV]
    value = lines.position_eV - at
    dispersion = abs(value) * dispersion_se
    window = float(np.sqrt(np.mean((np.array(other) - at) ** 2)))
    error = float(np.hypot(np.std(drawn, ddof=1), lines.position_se_eV))
    return Separation(float(value), error, float(np.hypot(window, dispersion)), dispersion)
