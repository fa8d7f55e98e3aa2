"""The model of a core-loss spectrum as columns: background, edges with plural scattering, near-edge lines.

What stands within some tens of eV of an onset (white lines, resonances: where the solid and not the atom
decides) has columns of its own, so that it cannot bend the continuum. How an areal density follows:

- K edges: the solid only moves intensity about near the onset. The density is that of all counts, continuum
  and lines, within 50 eV of the onset, over the partial cross-section of those 50 eV.
- L edges: white lines are transitions to bound states that the hydrogenic cross-section leaves out. The
  density is that of the continuum alone, with broad corrections of its shape, over the same 50 eV.

The counts of an element are those of all its columns in both cases.
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
PARTIAL_WINDOW_EV = 50.0
# Error of the exponents that shape a hydrogenic cross-section, see `shape_bend`.
SHAPE_ERROR = {"K": 0.15, "L": 0.1}


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
    edges : tuple of Edge
    near : tuple of (n, k) array
        Near-edge lines of each element, unit height before the convolution, and last what a change of the
        continuum's shape adds.
    near_atoms : tuple of (k,) array
        What a unit of each line adds to the element's areal density, in units of the continuum's amplitude.
    near_freedom : tuple of (k,) array
        How far each line's height may leave zero, in units of the edge's jump (one sigma).
    """

    energy_eV: np.ndarray
    centre_eV: float
    exponent: float
    curvature: float
    continuum: np.ndarray
    edges: tuple[Edge, ...]
    near: tuple[np.ndarray, ...]
    near_atoms: tuple[np.ndarray, ...]
    near_freedom: tuple[np.ndarray, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(edge.element for edge in self.edges)

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


@dataclass(frozen=True)
class NearLine:
    """A Gaussian of the near edge.

    `freedom` is the standard deviation of its height in units of the edge's jump; `counted` lines belong to
    the atoms' share of the cross-section.
    """

    energy_eV: float
    sigma_eV: float
    freedom: float
    counted: bool


def near_edge_lines(edge: Edge, others: Sequence[float] = ()) -> list[NearLine]:
    """The Gaussians that may stand at an edge: lines, then broad ones where the continuum is crude.

    Parameters
    ----------
    edge : Edge
    others : sequence of float
        Onsets of the other elements' edges: a broad correction that reaches one would be taken for it.
    """
    if edge.second_eV is None:
        if len(edge.features) < 3:
            # Weak edges on the tail of a strong one: little freedom, or the other's misfit becomes theirs.
            return [NearLine(at, width, 1.0, True) for at, width in edge.features]
        lines = [NearLine(at, width, 3.0, True) for at, width in edge.features]
        last = edge.features[-1][0]
        return [*lines, NearLine(last + 9.0, 5.0, 1.0, True), NearLine(last + 21.0, 8.0, 0.3, True)]
    (first, width), (second, wide) = edge.features
    white = [(first - 1.1, width), (first + 1.1, width), (second - 1.2, wide), (second + 1.2, wide)]
    # What stands between the lines mends their crude shapes: it is theirs, not the continuum's.
    between = NearLine(0.5 * (first + second), 3.0, 0.4, False)
    broad = [(second + 8.0, 5.0)]
    if not any(second < onset < second + 45.0 for onset in others):
        broad.append((second + 20.0, 8.0))
    return [
        *(NearLine(at, sigma, 6.0, False) for at, sigma in white),
        between,
        *(NearLine(at, sigma, 0.4, True) for at, sigma in broad),
    ]


def shape_bend(edge: Edge, energy_eV: np.ndarray) -> np.ndarray:
    """First-order change of a cross-section's shape by one unit of its uncertain exponent.

    K edges fall off as a power of E / onset; L edges carry a power of the excess over the onset, by which
    hydrogenic curves are bent towards better ones.
    """
    if edge.second_eV is None:
        return np.log(np.maximum(energy_eV / edge.onset_eV, 1.0))
    return np.log(np.clip(energy_eV - edge.onset_eV, 10.0, 400.0) / PARTIAL_WINDOW_EV)


def _atoms_of_bend(section: CrossSection) -> float:
    """What one unit of `shape_bend` adds to a partial cross-section, relative to it."""
    grid = np.arange(section.edge.onset_eV, section.edge.onset_eV + PARTIAL_WINDOW_EV, 0.05)
    values = section(grid)
    return float(np.sum(values * shape_bend(section.edge, grid)) / np.sum(values))


def _atoms_of_lines(section: CrossSection, lines: Sequence[NearLine], step: float) -> np.ndarray:
    """Share of a partial cross-section that each line of unit height per channel makes up."""
    edge = section.edge
    grid = np.arange(edge.onset_eV - 8.0, edge.onset_eV + PARTIAL_WINDOW_EV, 0.05)
    partial = np.sum(section(grid)) * 0.05
    areas = [
        np.sum(np.exp(-0.5 * ((grid - line.energy_eV) / line.sigma_eV) ** 2)) * 0.05 * line.counted
        for line in lines
    ]
    return np.array(areas) / (partial * step)


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
    onsets = {element: cross_sections[element].edge.onset_eV for element in elements}
    continuum, near, atoms, freedom = [], [], [], []
    for element in elements:
        section = cross_sections[element]
        # The mean over a channel, not the value at its middle: the jump may fall within it.
        values = np.mean([section(extended + shift * step) for shift in (-0.4, -0.2, 0.0, 0.2, 0.4)], axis=0)
        continuum.append(convolve(values * step, weights, zero)[inside])
        lines = near_edge_lines(section.edge, [onset for name, onset in onsets.items() if name != element])
        columns = [
            convolve(np.exp(-0.5 * ((extended - line.energy_eV) / line.sigma_eV) ** 2), weights, zero)[inside]
            for line in lines
        ]
        bend = shape_bend(section.edge, extended)
        columns.append(convolve(values * step * bend, weights, zero)[inside])
        near.append(np.stack(columns, axis=1))
        atoms.append(np.append(_atoms_of_lines(section, lines, step), _atoms_of_bend(section)))
        reach = np.abs(columns[-1]).max() / max(np.abs(continuum[-1]).max(), 1e-300)
        freedom.append(np.array([*(line.freedom for line in lines), SHAPE_ERROR[section.edge.shell] * reach]))
    centre = float(np.sqrt(energy_eV[0] * energy_eV[-1]))
    continua = np.stack(continuum, axis=1) if continuum else np.zeros((energy_eV.size, 0))
    edges = tuple(cross_sections[element].edge for element in elements)
    lines = tuple(near), tuple(atoms), tuple(freedom)
    return Design(energy_eV, centre, exponent, curvature, continua, edges, *lines)
