"""The O K pre-peak of layered oxides, which fades where the surface is reduced to rock salt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceiflow.eels.fine_structure.plural import single_scattering
from ceiflow.eels.fine_structure.white_lines import DETECTION_SIGMA, DRAWS, window_sum

# Transitions to hybridised metal 3d states stand here; the O 2p - metal 4sp band takes over above.
PREPEAK_EV = (526.5, 532.0)
MAIN_EV = (526.5, 556.5)
BACKGROUND_EV = (-36.0, -8.0)
NOMINAL_EV = 529.5


@dataclass
class PrePeak:
    """Share of the first 30 eV of O K that lies in the pre-peak's window; `limit` where none is seen."""

    ratio: float = np.nan
    se: float = np.nan
    systematic: float = np.nan
    limit: float = np.nan
    reason: str = ""


def oxygen_edge(
    energy_eV: np.ndarray,
    counts: np.ndarray,
    kernel: tuple[np.ndarray, int] | None,
    gain: float,
    shift_eV: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray] | str:
    """Energies and single scattering of O K without its background: as counted, then with noise drawn anew.

    Returns
    -------
    (n,) array and (1 + DRAWS, n) array, or str
        The reason where O K is not within the range.
    """
    keep = (energy_eV >= NOMINAL_EV - 45) & (energy_eV <= MAIN_EV[1] + 4)
    energy = energy_eV[keep] - shift_eV
    if energy.size < 20 or energy[0] > NOMINAL_EV - 20 or energy[-1] < MAIN_EV[1]:
        return "O K with 20 eV below it lies outside the range"
    y = counts[keep].astype(np.float64)
    noise = np.random.default_rng(seed).standard_normal((DRAWS, y.size))
    drawn = np.concatenate([y[None], y + noise * np.sqrt(gain * np.maximum(y, 1.0))])
    before = (energy >= NOMINAL_EV + BACKGROUND_EV[0]) & (energy <= NOMINAL_EV + BACKGROUND_EV[1])
    log = np.log(energy / energy[before].mean())
    mean = np.maximum(drawn[:, before].mean(1, keepdims=True), 1e-9)
    slope = ((drawn[:, before] / mean - 1) @ log[before]) / (log[before] @ log[before])
    net = drawn - mean * np.exp(slope[:, None] * log)
    return energy, single_scattering(net, kernel, float(energy[1] - energy[0]))


def oxygen_prepeak(
    energy_eV: np.ndarray,
    counts: np.ndarray,
    kernel: tuple[np.ndarray, int] | None,
    gain: float = 1.0,
    shift_eV: float = 0.0,
    shift_se_eV: float = 0.3,
    seed: int = 0,
) -> PrePeak:
    """Counts from 526.5 to 532 eV over those from 526.5 to 556.5 eV, single scattering.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        Dark level removed.
    kernel : ((k,) array, int) or None
    gain : float
    shift_eV, shift_se_eV : float
        By how much the axis stands too high at O K, and how well that is known: it moves the windows, and
        what comes of it is the systematic error.
    seed : int
        Of the draws of counting noise.
    """
    edge = oxygen_edge(energy_eV, counts, kernel, gain, shift_eV, seed)
    if isinstance(edge, str):
        return PrePeak(reason=edge)
    energy, single = edge

    def parts(move: float) -> tuple[np.ndarray, np.ndarray]:
        first = window_sum(energy - move, single, *PREPEAK_EV)
        return first, window_sum(energy - move, single, *MAIN_EV)

    first, main = parts(0.0)
    if not main[0] > DETECTION_SIGMA * main[1:].std(ddof=1):
        return PrePeak(reason="O K does not stand above its detection limit")
    ratio = first / main
    moved = [parts(move) for move in (-shift_se_eV, shift_se_eV)]
    systematic = float(abs(moved[1][0][0] / moved[1][1][0] - moved[0][0][0] / moved[0][1][0]) / 2)
    error = float(np.std(ratio[1:], ddof=1))
    limit = DETECTION_SIGMA * float(np.hypot(error, systematic))
    return PrePeak(float(ratio[0]), error, systematic, limit)
