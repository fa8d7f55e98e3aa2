"""Where differential cross-sections come from: each source is a function of an edge and a setting.

Every source gives energies in eV on a grid of `GRID_STEP_EV` and nm^2 eV^-1 per atom, zero below the onset,
and zero everywhere for an edge that it does not have. White lines are part of none of them: they are
properties of the solid, and the fit has columns of its own for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ceiflow.eels.table import Edge

if TYPE_CHECKING:
    from ceiflow.eels.cross_sections import Setting

BARN_NM2 = 1e-10
GRID_STEP_EV = 0.5
GRID_STOP_EV = 2000.0
RYDBERG_EV = 13.605693
BOHR_NM = 0.0529177211
REST_ENERGY_EV = 510998.95
# Photoabsorption cross-section of unit oscillator strength per eV: 2 pi^2 alpha a0^2 (2 Ry), in barn eV.
BARN_EV_PER_OSCILLATOR = 109.76e6
# Names of the tables that a difference between sources is taken from.
SECOND_SOURCE = {"hydrogenic": "photoabsorption", "gosh": "photoabsorption", "photoabsorption": "hydrogenic"}
Curve = tuple[np.ndarray, np.ndarray]
Source = Callable[[Edge, "Setting"], Curve]


def source_of(name: str, gosh_file: str | Path | None = None) -> Source:
    """The source that the configuration calls `name`.

    Parameters
    ----------
    name : {"hydrogenic", "gosh", "photoabsorption"}
    gosh_file : path, optional
        File of generalised oscillator strengths; `gosh` needs it.
    """
    if name == "gosh":
        if not gosh_file:
            raise ValueError("cross-sections from a .gosh file need eels.gosh_file")
        return partial(gosh, path=Path(gosh_file))
    return {"hydrogenic": hydrogenic, "photoabsorption": photoabsorption}[name]


def energy_grid(edge: Edge) -> np.ndarray:
    """(n,) array: energies in eV that an edge is tabulated at, from just below its onset."""
    stop = max(GRID_STOP_EV, edge.onset_eV + 200.0)
    return np.arange(np.floor(edge.onset_eV) - 5.0, stop + GRID_STEP_EV / 2, GRID_STEP_EV)


def _collection(edge: Edge, setting: Setting) -> float:
    """Effective collection semi-angle in rad: what a parallel beam would need for the same intensity.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope (2011), program CONCOR2.
    """
    from exspy._misc.eels.effective_angle import effective_angle

    angle = effective_angle(
        setting.beam_energy_keV, edge.onset_eV, setting.convergence_mrad, setting.collection_mrad
    )
    return angle * 1e-3


def _evaluate(curve: Callable, nodes: np.ndarray, levels: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """A tabulated curve on the grid; beyond its last node by the power law of its last two."""
    values = curve(np.clip(energy, nodes[0], nodes[-1]))
    slope = np.log(levels[-1] / levels[-2]) / np.log(nodes[-1] / nodes[-2])
    values = np.where(energy > nodes[-1], values * (energy / nodes[-1]) ** slope, values)
    return np.where(energy >= nodes[0], values, 0.0)


def hydrogenic(edge: Edge, setting: Setting) -> Curve:
    """Hydrogenic differential cross-section of one edge.

    Parameters
    ----------
    edge : Edge
        K or L shell; the L shell comes as one curve of L3, L2 and L1.
    setting : Setting

    Returns
    -------
    (n,) array
        Energy loss in eV, from just below the onset up.
    (n,) array
        nm^2 eV^-1 per atom.

    Notes
    -----
    The curve is that of the SIGMAK3 and SIGMAL3 programs (Egerton, Electron Energy-Loss Spectroscopy in
    the Electron Microscope, 2011, appendix B) as eXSpy carries them. The third of the L intensity that
    starts at L2 is taken away below L2, where the programs put all at L3. There are K shells from Li on and
    L shells from K on, but for P, S and Cl.
    """
    from exspy._misc.eels.hydrogenic_gos import HydrogenicGOS

    energy = energy_grid(edge)
    try:
        oscillator = HydrogenicGOS(f"{edge.element}_{'K' if edge.shell == 'K' else 'L3'}")
    except (ValueError, KeyError):
        return energy, np.zeros_like(energy)
    curve = oscillator.integrateq(edge.onset_eV, _collection(edge, setting), setting.beam_energy_keV)
    nodes = oscillator.energy_axis + oscillator.energy_shift
    values = _evaluate(curve, nodes, oscillator.qint, energy)
    values = np.where(energy >= edge.onset_eV, values, 0.0)
    if edge.second_eV is not None:
        values = np.where(energy < edge.second_eV, values * 2.0 / 3.0, values)
    return energy, values * BARN_NM2


def _subshells(edge: Edge) -> list[tuple[str, float]]:
    """Subshells of an edge and where each starts, with L1 where X-ray tables put it above L3."""
    import xraylib

    if edge.shell == "K":
        return [("K", edge.onset_eV)]
    number = xraylib.SymbolToAtomicNumber(edge.element)
    third = edge.second_eV or edge.onset_eV
    apart = 1e3 * (
        xraylib.EdgeEnergy(number, xraylib.L1_SHELL) - xraylib.EdgeEnergy(number, xraylib.L3_SHELL)
    )
    return [("L3", edge.onset_eV), ("L2", third), ("L1", edge.onset_eV + apart)]


def gosh(edge: Edge, setting: Setting, path: Path) -> Curve:
    """Differential cross-section of one edge from a .gosh file of generalised oscillator strengths.

    Parameters
    ----------
    edge : Edge
        Its subshells are added up.
    setting : Setting
    path : Path
        File in the GOSH layout, such as those of Segger, Guzzinati and Kohl or of Zhang and others on
        Zenodo; it is only read.

    Returns
    -------
    (n,) array, (n,) array
        As `hydrogenic`.
    """
    from exspy._misc.eels.gosh_gos import GoshGOS

    class Tabulated(GoshGOS):
        """One subshell whose onset is ours, so that subshells which eXSpy's element table lacks work too."""

        start_eV = 0.0

        def read_elements(self) -> None:
            self.onset_energy = self.start_eV

    energy = energy_grid(edge)
    values = np.zeros_like(energy)
    angle = _collection(edge, setting)
    for name, onset in _subshells(edge):
        Tabulated.start_eV = onset
        try:
            table = Tabulated(f"{edge.element}_{name}", gos_file_path=str(path))
        except ValueError:
            # L1 is missing in some files, and adds little within 50 eV of L3.
            if name == "L1":
                continue
            return energy, np.zeros_like(energy)
        curve = table.integrateq(onset, angle, setting.beam_energy_keV)
        part = _evaluate(curve, table.energy_axis, table.qint, energy)
        values += np.where(energy >= onset, np.clip(part, 0, None), 0.0)
    return energy, values * BARN_NM2


def photoabsorption(edge: Edge, setting: Setting) -> Curve:
    """Differential cross-section of one edge from tabulated photoabsorption, in the dipole approximation.

    Parameters
    ----------
    edge : Edge
        Its subshells are added up.
    setting : Setting

    Returns
    -------
    (n,) array, (n,) array
        As `hydrogenic`.

    Notes
    -----
    The optical oscillator strength per eV, sigma_photo / (109.8 Mb eV), stands for the generalised one at
    every momentum transfer from the smallest possible to the collection angle, or to the Bethe ridge where
    that is nearer. Near the ridge this is too much: angles of several tens of mrad are not for this source.
    Photoabsorption cross-sections of subshells are those of Kissel's tables as xraylib carries them.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope (2011), section 3.2 (Bethe theory).
    Schoonjans et al. (2011), Spectrochimica Acta B 66, 776 (xraylib).
    """
    energy = energy_grid(edge)
    barn = np.sum([_photo_barn(edge, name, onset, energy) for name, onset in _subshells(edge)], axis=0)
    oscillator = barn / BARN_EV_PER_OSCILLATOR
    return energy, oscillator * _dipole_nm2(energy, edge, setting)


def _photo_barn(edge: Edge, name: str, onset_eV: float, energy_eV: np.ndarray) -> np.ndarray:
    """(n,) array: photoabsorption of one subshell in barn, with all its electrons."""
    import xraylib

    number = xraylib.SymbolToAtomicNumber(edge.element)
    shell = getattr(xraylib, f"{name}_SHELL")
    electrons = xraylib.ElectronConfig(number, shell)
    # The table starts at its own binding energy, which may lie a little above our onset.
    first = xraylib.EdgeEnergy(number, shell) * 1e3 * (1 + 1e-6)
    part = [
        xraylib.CSb_Photo_Partial(number, shell, max(loss, first) * 1e-3) if loss >= onset_eV else 0.0
        for loss in energy_eV
    ]
    return electrons * np.array(part)


def deepest_share(edge: Edge, energy_eV: np.ndarray) -> np.ndarray:
    """Share of the L shell's intensity that is L1, by photoabsorption; zero everywhere for a K shell.

    Parameters
    ----------
    edge : Edge
    energy_eV : (n,) array
    """
    if edge.shell == "K":
        return np.zeros_like(energy_eV)
    parts = {name: _photo_barn(edge, name, onset, energy_eV) for name, onset in _subshells(edge)}
    whole = np.sum(list(parts.values()), axis=0)
    return parts["L1"] / np.where(whole > 0, whole, 1.0)


def _dipole_nm2(energy_eV: np.ndarray, edge: Edge, setting: Setting) -> np.ndarray:
    """nm^2 per oscillator strength: 4 pi a0^2 Ry^2 / (E T) ln(q_max^2 / q_min^2), relativistic kinematics."""
    beam = setting.beam_energy_keV * 1e3
    gamma = 1 + beam / REST_ENERGY_EV
    kinetic = REST_ENERGY_EV * (1 - gamma**-2) / 2
    loss = np.maximum(energy_eV, 1.0)
    smallest = loss**2 / (4 * RYDBERG_EV * kinetic) + loss**3 / (8 * gamma**3 * RYDBERG_EV * kinetic**2)
    momentum = gamma**2 * kinetic / RYDBERG_EV
    after = momentum - loss / RYDBERG_EV * (gamma - loss / (2 * REST_ENERGY_EV))
    angle = _collection(edge, setting)
    largest = smallest + 4 * np.sqrt(momentum * after) * np.sin(angle / 2) ** 2
    largest = np.minimum(largest, np.maximum(loss / RYDBERG_EV, smallest))
    factor = 4 * np.pi * BOHR_NM**2 * RYDBERG_EV**2 / (loss * kinetic)
    return factor * np.log(largest / smallest)
