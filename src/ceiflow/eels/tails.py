"""What uncertain shapes of other edges, and of the background, do to an element.

An edge that starts lower runs on under all later ones. Where its tail is not what the tables say, the
difference goes to whatever element is free there, and no count of electrons tells the two apart. Two ways in
which a tail can be wrong are carried, each with one standard deviation:

- the whole curve, by the difference of the two sources at equal partial cross-section, over sqrt(2) as both
  may be wrong, less what the model's own bend of a curve makes of it;
- the strength of L1, a step in the tail some 50 to 150 eV above L3. Cross-sections of subshells are stated to
  the accuracy of the shell each, so the ratio of two is known to sqrt(2) of it.

The background is one more: the model lets it fall as a power of E with some curvature, while what falls so is
single scattering, and plural scattering lifts its beginning more than its end. By how much depends on the
background below the recorded range, which nobody has measured; all of what the power law would give is one
standard deviation.

The model has broader freedoms of its own for each curve (see `ceiflow.eels.design`): only what these cannot
take up moves an amplitude. An element's own curve is left out, its error is that of its cross-section.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ceiflow.eels.cross_sections import CrossSection
from ceiflow.eels.design import SHAPE_ERROR, channel_counts, shape_bend
from ceiflow.eels.fit import SpectrumFit

# Over so much of a tail the next edges begin.
TAIL_EV = 300.0
# Nearer to the plasmons (four times 25 eV) no background falls as a power of E.
BACKGROUND_FROM_EV = 100.0


def shape_errors(section: CrossSection, accuracy: float) -> list[CrossSection]:
    """Curves to be added for one standard deviation of each way in which the shape may be wrong.

    Parameters
    ----------
    section : CrossSection
    accuracy : float
        Relative standard deviation of a subshell's cross-section.
    """
    curves = []
    if section.second_nm2_per_eV is not None:
        curves.append(_beyond_bend(section))
    if section.deepest_nm2_per_eV is not None:
        curves.append(section.deepest_nm2_per_eV * accuracy * np.sqrt(2))
    return [replace(section, values_nm2_per_eV=curve) for curve in curves if np.any(curve)]


def _beyond_bend(section: CrossSection) -> np.ndarray:
    """What of the difference of the sources no bend of the curve makes, over sqrt(2).

    The bend is a column of every fit, with a prior and its share of the fit's own errors: it is not to be
    counted twice. What exceeds that prior stays.
    """
    values, energy = section.values_nm2_per_eV, section.energy_eV
    difference = (section.second_nm2_per_eV - values) / np.sqrt(2)
    bend = values * shape_bend(section.edge, energy)
    near = (energy > section.edge.onset_eV) & (energy < section.edge.onset_eV + TAIL_EV)
    size = SHAPE_ERROR[section.edge.shell]
    power = max(float(bend[near] @ bend[near]), 1e-300)
    return difference - bend * float(np.clip(difference[near] @ bend[near] / power, -size, size))


def moved_by_tails(
    fit: SpectrumFit,
    energy_eV: np.ndarray,
    sections: Sequence[CrossSection],
    kernel: tuple[np.ndarray, int],
    systematic: Mapping[str, float],
) -> np.ndarray:
    """How far uncertain tails of others and the background move each amplitude of a fit, to first order.

    Parameters
    ----------
    fit : SpectrumFit
    energy_eV : (n,) array
    sections : sequence of E CrossSection
        In the order of the fit's amplitudes.
    kernel : ((k,) array, int)
        Low loss of unit area and the index of its zero.
    systematic : mapping of str to float
        Accuracy of a shell's cross-section.

    Returns
    -------
    (E, m) array
        One standard deviation of each of m independent errors of shape, in the unit of `fit.theta`.
    """
    weights, zero = kernel
    inside = slice(weights.size, weights.size + energy_eV.size)
    moved = []
    for i, section in enumerate(sections):
        for error in shape_errors(section, float(systematic[section.edge.shell])):
            counts = channel_counts(error, energy_eV, weights.size, zero + 1)
            seen = np.convolve(counts, weights)[zero : zero + counts.size][inside]
            shift = fit.response @ (seen * max(float(fit.theta[i]), 0.0))
            shift[i] = 0.0
            moved.append(shift)
    moved.append(fit.response @ plural_background(fit, energy_eV, kernel))
    return np.stack(moved, axis=1)


def plural_background(fit: SpectrumFit, energy_eV: np.ndarray, kernel: tuple[np.ndarray, int]) -> np.ndarray:
    """What plural scattering changes of a background that falls as the fitted power of E.

    Parameters
    ----------
    fit : SpectrumFit
    energy_eV : (n,) array
        Equally spaced.
    kernel : ((k,) array, int)

    Returns
    -------
    (n,) array
        Counts; zero without plural scattering.
    """
    weights, zero = kernel
    step = float(energy_eV[1] - energy_eV[0])
    below = int(np.clip((energy_eV[0] - BACKGROUND_FROM_EV) // step, 0, weights.size))
    energy = energy_eV[0] + step * np.arange(-below, energy_eV.size + zero)
    centre = np.sqrt(energy_eV[0] * energy_eV[-1])
    single = fit.amplitude * (energy / centre) ** -fit.exponent
    spread = np.convolve(single, weights)[zero : zero + single.size]
    inside = slice(below, below + energy_eV.size)
    return spread[inside] - single[inside]
