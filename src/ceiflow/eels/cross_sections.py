"""Differential cross-sections of ionisation edges, once a study, behind one interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ceiflow.eels.table import EDGES, Edge, chosen_edges

BARN_NM2 = 1e-10
GRID_STEP_EV = 0.5
GRID_STOP_EV = 2000.0
# A middle-of-the-road microscope, for the shape of an edge alone where the real settings are not known.
NOMINAL = (200.0, 10.0, 20.0)
_NAMES = ("beam_energy_keV", "convergence_mrad", "collection_mrad")


@dataclass(frozen=True)
class Setting:
    """A microscope setting that cross-sections depend on.

    `known` is False where an angle or the beam energy is missing: then shapes may be used, areas may not.
    """

    beam_energy_keV: float
    convergence_mrad: float
    collection_mrad: float
    known: bool = True
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        numbers = "_".join(
            f"{value:g}" for value in (self.beam_energy_keV, self.convergence_mrad, self.collection_mrad)
        )
        return numbers if self.known else f"shape_{numbers}"


def setting_of(metadata: Mapping[str, object]) -> Setting:
    """The setting that an acquisition's metadata describe; nominal numbers fill what is missing.

    Parameters
    ----------
    metadata : mapping of str to ceiflow.study.metadata.Value
    """
    values, missing = [], []
    for name, nominal in zip(_NAMES, NOMINAL, strict=True):
        item = metadata.get(name)
        value = None if item is None else item.value
        if value is None or (name != "convergence_mrad" and value <= 0):
            missing.append(name)
            value = nominal
        values.append(float(value))
    return Setting(*values, known=not missing, missing=tuple(missing))


def hydrogenic(edge: Edge, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Hydrogenic differential cross-section of one edge.

    Parameters
    ----------
    edge : Edge
        K or L shell; the L shell comes as one curve of L3, L2 and L1.
    setting : Setting

    Returns
    -------
    (n,) array
        Energy loss in eV, from the onset's grid point up.
    (n,) array
        nm^2 eV^-1 per atom; zero below the onset, and everywhere for an edge that the source does not have.

    Notes
    -----
    The curve is that of the SIGMAK3 and SIGMAL3 programs (Egerton, Electron Energy-Loss Spectroscopy in
    the Electron Microscope, 2011, appendix B) as eXSpy carries them. White lines are no part of it. The
    third of the L intensity that starts at L2 is taken away below L2, where the programs put all at L3.
    """
    from exspy._misc.eels.effective_angle import effective_angle
    from exspy._misc.eels.hydrogenic_gos import HydrogenicGOS

    stop = max(GRID_STOP_EV, edge.onset_eV + 200.0)
    energy = np.arange(np.floor(edge.onset_eV) - 5.0, stop + GRID_STEP_EV / 2, GRID_STEP_EV)
    try:
        oscillator = HydrogenicGOS(f"{edge.element}_{'K' if edge.shell == 'K' else 'L3'}")
    except ValueError:
        return energy, np.zeros_like(energy)
    angle = effective_angle(
        setting.beam_energy_keV, edge.onset_eV, setting.convergence_mrad, setting.collection_mrad
    )
    curve = oscillator.integrateq(edge.onset_eV, angle * 1e-3, setting.beam_energy_keV)
    nodes = oscillator.energy_axis + oscillator.energy_shift
    values = curve(np.clip(energy, nodes[0], nodes[-1]))
    slope = np.log(oscillator.qint[-1] / oscillator.qint[-2]) / np.log(nodes[-1] / nodes[-2])
    values = np.where(energy > nodes[-1], values * (energy / nodes[-1]) ** slope, values)
    values = np.where(energy >= edge.onset_eV, values, 0.0)
    if edge.second_eV is not None:
        values = np.where(energy < edge.second_eV, values * 2.0 / 3.0, values)
    return energy, values * BARN_NM2


# Sources of cross-sections by the name the configuration uses; each is a function of (edge, setting).
SOURCES = {"hydrogenic": hydrogenic}


def write_edges(
    output: Path, settings: Iterable[Setting], elements: list[str], source: str = "hydrogenic"
) -> None:
    """Compute and store the cross-sections of `elements` for every setting that occurs.

    Parameters
    ----------
    output : Path
        HDF5 file: one group per setting, one data set per element.
    settings : iterable of Setting
    elements : list of str
    source : str
        A name in `SOURCES`.
    """
    from ceiflow.signals.store import create_h5

    unique = {setting.key: setting for setting in settings}
    with create_h5(output) as file:
        file.attrs["schema"] = "ceiflow-edges-1"
        file.attrs["source"] = source
        for key in sorted(unique):
            setting = unique[key]
            group = file.create_group(key)
            for name in _NAMES:
                group.attrs[name] = getattr(setting, name)
            group.attrs["shape_only"] = not setting.known
            group.attrs["missing"] = " ".join(setting.missing)
            for edge in chosen_edges(elements).values():
                energy, values = SOURCES[source](edge, setting)
                data = group.create_dataset(
                    edge.element,
                    data=values.astype(np.float32),
                    compression="gzip",
                    shuffle=True,
                    track_times=False,
                )
                data.attrs["energy_offset_eV"] = energy[0]
                data.attrs["energy_scale_eV"] = GRID_STEP_EV
                data.attrs["edge"] = edge.name
                data.attrs["onset_eV"] = edge.onset_eV
                data.attrs["unit"] = "nm^2/eV"


@dataclass(frozen=True)
class CrossSection:
    """A tabulated curve, evaluated by interpolation."""

    edge: Edge
    energy_eV: np.ndarray
    values_nm2_per_eV: np.ndarray

    def __call__(self, energy_eV: np.ndarray) -> np.ndarray:
        """nm^2 eV^-1 at the energies asked for; zero below the onset."""
        return np.interp(energy_eV, self.energy_eV, self.values_nm2_per_eV, left=0.0)


def read_edges(path: Path, setting: Setting, elements: list[str]) -> dict[str, CrossSection]:
    """Cross-sections of one setting out of `write_edges`'s file."""
    result = {}
    with h5py.File(path, "r") as file:
        group = file[setting.key]
        for element in elements:
            data = group[element]
            values = data[()].astype(np.float64)
            energy = data.attrs["energy_offset_eV"] + data.attrs["energy_scale_eV"] * np.arange(values.size)
            result[element] = CrossSection(EDGES[element], energy, values)
    return result
