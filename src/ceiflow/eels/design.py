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
from ceiflow.eels.table import Edge

# An edge needs this much background below it and continuum above it to be told from the background.
ROOM_BELOW_EV = 12.0
ROOM_ABOVE_EV = 30.0
PARTIAL_WINDOW_EV = 50.0
# Error of the exponents that shape a hydrogenic cross-section, see `shape_bend`.
SHAPE_ERROR = {"K": 0.15, "L": 0.1}
# The first swing of the extended fine structure: neighbours at about 0.2 nm move a few per cent of the
# intensity about over 40 to 80 eV above the onset (2 k R from pi to 2 pi), which for O K is under Mn L.
EXTENDED_EV, EXTENDED_FREEDOM = 43.0, 0.05


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

    def cut(self, channels: slice) -> Design:
        """The same model on some of its channels."""
        near = tuple(lines[channels] for lines in self.near)
        return replace(
            self, energy_eV=self.energy_eV[channels], continuum=self.continuum[channels], near=near
        )


def elements_in_view(
    edges: Mapping[str, Edge], start_eV: float, stop_eV: float
) -> tuple[list[str], dict[str, str], list[str]]:
    """Which elements a window can answer for, why the others cannot be, and which of those it shows.

    The last are edges too close to an end to be told from the background: they stay in the model, where
    without them their counts would go elsewhere, and are not reported.

    Parameters
    ----------
    edges : mapping of str to Edge
    start_eV, stop_eV : float
        The window on a calibrated axis.
    """
    inside, reasons, shown = [], {}, []
    for element, edge in edges.items():
        first = min(edge.onset_eV, edge.features[0][0])
        name = edge.name.replace("_", " ")
        if first < start_eV:
            reasons[element] = (
                f"{name} ({edge.onset_eV:g} eV) lies below the range, which starts at {start_eV:.0f} eV"
            )
        elif first < start_eV + ROOM_BELOW_EV:
            reasons[element] = f"no background window below {name}: the range starts at {start_eV:.0f} eV"
            shown.append(element)
        elif edge.onset_eV > stop_eV:
            reasons[element] = (
                f"{name} ({edge.onset_eV:g} eV) lies above the range, which ends at {stop_eV:.0f} eV"
            )
        elif edge.onset_eV + ROOM_ABOVE_EV > stop_eV:
            reasons[element] = f"too few channels above {name}: the range ends at {stop_eV:.0f} eV"
            shown.append(element)
        else:
            inside.append(element)
    return inside, reasons, shown


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
        far = [(last + 9.0, 5.0, 1.0), (last + 21.0, 8.0, 0.3), (last + EXTENDED_EV, 14.0, EXTENDED_FREEDOM)]
        return [*lines, *(NearLine(at, sigma, freedom, True) for at, sigma, freedom in far)]
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


def _extended(energy_eV: np.ndarray, before: int, after: int) -> np.ndarray:
    """(before + n + after,) array: the axis carried on beyond both ends."""
    step = float(energy_eV[1] - energy_eV[0])
    return np.maximum(energy_eV[0] + step * np.arange(-before, energy_eV.size + after), 1.0)


def channel_counts(section: CrossSection, energy_eV: np.ndarray, before: int, after: int) -> np.ndarray:
    """Counts per channel of one atom nm^-2 and one electron, without plural scattering.

    Parameters
    ----------
    section : CrossSection
    energy_eV : (n,) array
        Equally spaced.
    before, after : int
        Channels more at either end.

    Returns
    -------
    (before + n + after,) array
    """
    step = float(energy_eV[1] - energy_eV[0])
    extended = _extended(energy_eV, before, after)
    # The mean over a channel, not the value at its middle: the jump may fall within it.
    shifts = (-0.4, -0.2, 0.0, 0.2, 0.4)
    return step * np.mean([section(extended + shift * step) for shift in shifts], axis=0)


class EdgeColumns:
    """Columns of all edges before plural scattering, once for all low losses of one energy axis.

    Parameters
    ----------
    energy_eV : (n,) array
        Calibrated, equally spaced.
    cross_sections : mapping of str to CrossSection
    elements : sequence of str
        Those in view.
    before, after : int
        Channels that a kernel may move intensity up and down by.
    """

    def __init__(
        self,
        energy_eV: np.ndarray,
        cross_sections: Mapping[str, CrossSection],
        elements: Sequence[str],
        before: int,
        after: int,
    ):
        self.energy_eV = energy_eV
        self.inside = slice(before, before + energy_eV.size)
        sections = [cross_sections[element] for element in elements]
        self.edges = tuple(section.edge for section in sections)
        step = float(energy_eV[1] - energy_eV[0])
        extended = _extended(energy_eV, before, after)
        columns: list[np.ndarray] = []
        self.widths, self.atoms, self.line_freedom = [], [], []
        for section in sections:
            edge = section.edge
            values = channel_counts(section, energy_eV, before, after)
            lines = near_edge_lines(edge, [other.onset_eV for other in self.edges if other is not edge])
            columns.append(values)
            columns += [np.exp(-0.5 * ((extended - line.energy_eV) / line.sigma_eV) ** 2) for line in lines]
            columns.append(values * shape_bend(edge, extended))
            self.widths.append(len(lines) + 2)
            self.atoms.append(np.append(_atoms_of_lines(section, lines, step), _atoms_of_bend(section)))
            self.line_freedom.append([line.freedom for line in lines])
        self.columns = np.stack(columns) if columns else np.zeros((0, extended.size))
        self._transform: tuple[int, np.ndarray] | None = None

    def design(self, kernel: tuple[np.ndarray, int], exponent: float = 3.0, curvature: float = 0.0) -> Design:
        """The columns spread by one low loss.

        Parameters
        ----------
        kernel : ((k,) array, int)
            Low loss of unit area and the index of its zero; ([1], 0) without plural scattering.
        exponent, curvature : float
            Shape of the background.
        """
        spread = self._spread(*kernel)[:, self.inside]
        continuum, near, freedom = [], [], []
        for part, edge, lines in zip(
            np.split(spread, np.cumsum(self.widths)[:-1]) if self.widths else [],
            self.edges,
            self.line_freedom,
            strict=True,
        ):
            continuum.append(part[0])
            near.append(part[1:].T)
            reach = np.abs(part[-1]).max() / max(np.abs(part[0]).max(), 1e-300)
            freedom.append(np.array([*lines, SHAPE_ERROR[edge.shell] * reach]))
        energy = self.energy_eV
        continua = np.stack(continuum, axis=1) if continuum else np.zeros((energy.size, 0))
        centre = float(np.sqrt(energy[0] * energy[-1]))
        lines = tuple(near), tuple(self.atoms), tuple(freedom)
        return Design(energy, centre, exponent, curvature, continua, self.edges, *lines)

    def _spread(self, weights: np.ndarray, zero: int) -> np.ndarray:
        """All columns convolved with one kernel; their transforms are kept for the next."""
        length = self.columns.shape[1]
        if weights.size == 1 or not self.columns.size:
            return self.columns
        size = 1 << (length + weights.size - 2).bit_length()
        if self._transform is None or self._transform[0] != size:
            self._transform = size, np.fft.rfft(self.columns, size)
        product = self._transform[1] * np.fft.rfft(weights, size)
        return np.fft.irfft(product, size)[:, zero : zero + length]


def build_design(
    energy_eV: np.ndarray,
    cross_sections: Mapping[str, CrossSection],
    elements: Sequence[str],
    kernel: tuple[np.ndarray, int],
    exponent: float = 3.0,
    curvature: float = 0.0,
) -> Design:
    """Columns of the model for one low loss: `EdgeColumns.design` for a single use."""
    weights, zero = kernel
    columns = EdgeColumns(energy_eV, cross_sections, elements, weights.size, zero + 1)
    return columns.design(kernel, exponent, curvature)
