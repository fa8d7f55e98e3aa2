"""Which channels of a core-loss spectrum can be trusted: the ends of a detector often cannot."""

from __future__ import annotations

import numpy as np

ROLL_OFF_LIMIT_EV = 60.0
SLOPE_SPAN_EV = 10.0


def usable_window(energy_eV: np.ndarray, spectrum: np.ndarray) -> tuple[float, float]:
    """First and last energy of a summed spectrum between dead channels and past a roll-off at its start.

    A roll-off is a run from the very first channel on whose logarithmic slope is well above that of what
    follows: no power law starts by rising.

    Parameters
    ----------
    energy_eV, spectrum : (n,) array
    """
    spectrum = np.asarray(spectrum, np.float64)
    first, last = _alive(spectrum)
    if last - first < 40:
        return float(energy_eV[0]), float(energy_eV[-1])
    energy, counts = energy_eV[first : last + 1], spectrum[first : last + 1]
    return float(max(energy[0], _roll_off_end(energy, counts))), float(energy[-1])


def _alive(spectrum: np.ndarray) -> tuple[int, int]:
    """Channels between dead ends: below a tenth of the level ten to thirty channels further in."""
    first, last = 0, spectrum.size - 1
    for _ in range(spectrum.size // 4):
        ahead = np.median(spectrum[first + 10 : first + 30]) if first + 30 < spectrum.size else np.inf
        if spectrum[first] > 0.1 * ahead:
            break
        first += 1
    for _ in range(spectrum.size // 4):
        behind = np.median(spectrum[last - 29 : last - 9]) if last > 30 else np.inf
        if spectrum[last] > 0.1 * behind and spectrum[last] > 0:
            break
        last -= 1
    return first, last


def _roll_off_end(energy: np.ndarray, counts: np.ndarray) -> float:
    step = energy[1] - energy[0]
    span = max(round(SLOPE_SPAN_EV / step), 4)
    reach = min(round(3 * ROLL_OFF_LIMIT_EV / step), energy.size)
    if reach < 3 * span:
        return float(energy[0])
    x, y = np.log(np.abs(energy[:reach]) + 1e-9), np.log(np.maximum(counts[:reach], 1e-9))
    starts = np.arange(0, reach - span, max(span // 4, 1))
    slopes = np.array([np.polyfit(x[i : i + span], y[i : i + span], 1)[0] for i in starts])
    noise = np.median(np.abs(np.diff(slopes)))
    usual = np.median(slopes)
    steep = slopes > usual + max(0.8, 4 * noise)
    run = int(np.argmin(steep)) if not steep.all() else 0
    # One such stretch may be chance or an edge at the very start; a roll-off rises outright.
    if run < 2 or slopes[0] < 0 or starts[run] * step > ROLL_OFF_LIMIT_EV:
        return float(energy[0])
    return float(energy[starts[run]] + SLOPE_SPAN_EV / 2)
