"""How far amplitudes hang on where the fit window begins and ends, and on the energy axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from ceiflow.eels.design import ROOM_ABOVE_EV, ROOM_BELOW_EV, Design
from ceiflow.eels.fit import Noise, SpectrumFit, fit_spectrum

# How far the ends may move, and into how many windows: 5 x 5 of which one is the window itself.
START_SPAN_EV, STOP_SPAN_EV = 12.0, 45.0
ENDS = 5


def shifted_windows(energy_eV: np.ndarray, design: Design, number: int) -> list[slice]:
    """Windows within the present one that keep enough room around each of the first `number` edges.

    There are 24 where the room allows. If only one end can move, it takes 24 places by itself.

    Parameters
    ----------
    energy_eV : (n,) array
    design : Design
    number : int
        How many of its elements are answered for; the others may be cut off.
    """
    edges = design.edges[:number]
    step = energy_eV[1] - energy_eV[0]
    first = min((min(edge.onset_eV, edge.features[0][0]) for edge in edges), default=energy_eV[-1])
    last = max((edge.onset_eV for edge in edges), default=energy_eV[0])
    below = min(START_SPAN_EV, first - ROOM_BELOW_EV - energy_eV[0])
    above = min(STOP_SPAN_EV, energy_eV[-1] - last - ROOM_ABOVE_EV)
    rooms = [max(int(np.floor(room / step)), 0) for room in (below, above)]
    ends = ENDS if min(rooms) >= ENDS - 1 else ENDS**2
    starts, stops = (np.unique(np.linspace(0, room, ends).astype(int)) for room in rooms)
    size = energy_eV.size
    windows = [slice(int(a), int(size - b)) for a, b in product(starts, stops) if a or b]
    return [window for window in windows if window.stop - window.start >= 50]


def window_variance(
    counts: np.ndarray, design: Design, noise: Noise, full: SpectrumFit, number: int, passes: int
) -> np.ndarray:
    """Variance of the amplitudes over fit windows beyond what counting noise makes.

    Parameters
    ----------
    counts : (n,) array
    design : Design
    noise : Noise
    full : SpectrumFit
        Of the whole window.
    number : int
        How many of the design's elements are answered for.
    passes : int

    Returns
    -------
    (number,) array
    """
    # Curvature and origin of the logarithm are those of the whole window: the same function of E.
    design = design.with_background(full.exponent, full.curvature)
    deviations, expected = [], []
    for window in shifted_windows(design.energy_eV, design, number):
        start = replace(full, model=full.model[window])
        trial = fit_spectrum(counts[window], design.cut(window), noise, passes, start=start)
        deviations.append(trial.theta[:number] - full.theta[:number])
        more = np.diag(trial.covariance)[:number] - np.diag(full.covariance)[:number]
        expected.append(np.maximum(more, 0.0))
    if not deviations:
        return np.zeros(number)
    return np.maximum(np.mean(np.square(deviations), axis=0) - np.mean(expected, axis=0), 0.0)


def axis_variance(
    counts: np.ndarray,
    design_on: Callable[[np.ndarray], Design],
    energy_eV: np.ndarray,
    shifts: Sequence[np.ndarray],
    noise: Noise,
    full: SpectrumFit,
    number: int,
    passes: int,
) -> np.ndarray:
    """Variance of the amplitudes by an energy axis that is known to a standard error only.

    Parameters
    ----------
    counts, energy_eV : (n,) array
    design_on : callable
        The model on an energy axis.
    shifts : sequence of (n,) array
        What one standard error of offset, of dispersion, ... does to each channel's energy, independently.
    noise : Noise
    full : SpectrumFit
        On the axis as it is.
    number : int
        How many of the design's elements are answered for.
    passes : int

    Returns
    -------
    (number,) array
    """
    variance = np.zeros(number)
    for shift in shifts:
        both = []
        for sign in (1, -1):
            design = design_on(energy_eV + sign * shift).with_background(full.exponent, full.curvature)
            both.append(fit_spectrum(counts, design, noise, passes, start=full).theta[:number])
        variance += np.mean(np.square(np.array(both) - full.theta[:number]), axis=0)
    return variance
