"""The model of a core-loss spectrum as columns: background, edges spread by plural scattering, near-edge lines.

An element's areal density comes from its edge continuum, which is what cross-sections describe. What stands
within some tens of eV of the onset (white lines, resonances, where solid state and not the atom decides) has
columns of its own, so that it cannot bend the continuum. Its counts, in turn, are those of all its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ceiflow.eels.cross_sections import CrossSection
from ceiflow.eels.low_loss import convolve
from ceiflow.eels.table import Edge

# An edge needs this much background below it and continuum above it to be told from the background.
ROOM_BELOW_EV = 12.0
ROOM_ABOVE_EV = 30.0


@dataclass(frozen=True)
class Design:
    """Columns of the model on the channels of the fit.

    Parameters
    ----------
    energy_eV : (n,) array
    centre_eV : float
        Where the background's logarithm has its origin.
    exponent, curvature : float
        r0, and c of the background shape (E/centre)^-r0 exp(-c ln^2(E/centre)).
    continuum : (n, E) array
        Counts per channel for one atom nm^-2 and one incident electron's worth of low loss.
    elements : tuple of str
    near : tuple of (n, k) array
        Near-edge lines of each element, unit height before the convolution.
    """

    energy_eV: np.ndarray
    centre_eV: float
    exponent: float
    curvature: float
    continuum: np.ndarray
    elements: tuple[str, ...]
    near: tuple[np.ndarray, ...]

    @property
    def log_energy(self) -> np.ndarray:
        return np.log(self.energy_eV / self.centre_eV)

    @property
    def background(self) -> np.ndarray:
        """(n,) array: the background's shape, 1 at the centre."""
        log = self.log_energy
        return np.exp(-self.exponent * log - self.curvature * log**2)

    def with_background(self, exponent: float, curvature: float) -> Design:
        return replace(self, exponent=exponent, curvature=curvature)


def elements_in_view(
    edges: Mapping[str, Edge], start_eV: float, stop_eV: float
) -> tuple[list[str], dict[str, str]]:
    """Which elements a window can answer for, and why the others cannot be.

    Parameters
    ----------
    edges : mapping of str to Edge
    start_eV, stop_eV : float
        The window on a calibrated axis.
    """
    inside, reasons = [], {}
    for element, edge in edges.items():
        first = min(edge.onset_eV, edge.features[0][0])
        name = edge.name.replace("_", " ")
        if first < start_eV:
            reasons[element] = (
                f"{name} ({edge.onset_eV:g} eV) lies below the range, which starts at {start_eV:.0f} eV"
            )
        elif first < start_eV + ROOM_BELOW_EV:
            reasons[element] = f"no background window below {name}: the range starts at {start_eV:.0f} eV"
        elif edge.onset_eV > stop_eV:
            reasons[element] = (
                f"{name} ({edge.onset_eV:g} eV) lies above the range, which ends at {stop_eV:.0f} eV"
            )
        elif edge.onset_eV + ROOM_ABOVE_EV > stop_eV:
            reasons[element] = f"too few channels above {name}: the range ends at {stop_eV:.0f} eV"
        else:
            inside.append(element)
    return inside, reasons


def near_edge_lines(edge: Edge) -> list[tuple[float, float]]:
    """Energy and width of the Gaussians that may stand at an edge."""
    if edge.second_eV is None:
        last = edge.features[-1][0]
        return [*edge.features, (last + 10.0, 6.0)] if edge.element != "F" else list(edge.features)
    (first, width), (second, wide) = edge.features
    return [(first - 1.1, width), (first + 1.1, width), (second, wide), (second + 7.0, 4.0)]


def build_design(
    energy_eV: np.ndarray,
    cross_sections: Mapping[str, CrossSection],
    elements: Sequence[str],
    kernel: tuple[np.ndarray, int],
    exponent: float = 3.0,
    curvature: float = 0.0,
) -> Design:
    """Columns of the model for one low loss.

    Parameters
    ----------
    energy_eV : (n,) array
        Calibrated, equally spaced.
    cross_sections : mapping of str to CrossSection
    elements : sequence of str
        Those in view.
    kernel : ((k,) array, int)
        Low loss of unit area and the index of its zero; ([1], 0) without plural scattering.
    exponent, curvature : float
        Shape of the background.
    """
    weights, zero = kernel
    step = float(energy_eV[1] - energy_eV[0])
    before, after = weights.size, zero + 1
    extended = energy_eV[0] + step * np.arange(-before, energy_eV.size + after)
    extended = np.maximum(extended, 1.0)
    inside = slice(before, before + energy_eV.size)
    continuum, near = [], []
    for element in elements:
        section = cross_sections[element]
        # The mean over a channel, not the value at its middle: the jump may fall within it.
        values = np.mean([section(extended + shift * step) for shift in (-0.4, -0.2, 0.0, 0.2, 0.4)], axis=0)
        continuum.append(convolve(values * step, weights, zero)[inside])
        lines = [
            convolve(np.exp(-0.5 * ((extended - at) / width) ** 2), weights, zero)[inside]
            for at, width in near_edge_lines(section.edge)
        ]
        near.append(np.stack(lines, axis=1))
    centre = float(np.sqrt(energy_eV[0] * energy_eV[-1]))
    columns = np.stack(continuum, axis=1) if continuum else np.zeros((energy_eV.size, 0))
    return Design(energy_eV, centre, exponent, curvature, columns, tuple(elements), tuple(near))
