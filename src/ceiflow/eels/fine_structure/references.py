"""Reference spectra behind one interface: measured standards of the user's, and shipped templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure.light_templates import LITHIUM, OXYGEN
from ceiflow.eels.fine_structure.templates import CARBON, GRID_STEP_EV, WINDOW_EV, Template
from ceiflow.errors import SignalError

ONSET_EV = {"Li_K": 55.0, "C_K": 284.0, "O_K": 527.0, "Mn_L": 640.0, "Co_L": 779.0, "Ni_L": 855.0}
MEASURED_ENERGY_SE_EV = 0.2


@dataclass(frozen=True)
class Reference:
    """One edge shape that spectra are unmixed into.

    Parameters
    ----------
    name, species, edge : str
    energy_eV, intensity : (n,) array
        Single scattering per eV, evenly spaced, unit integral over 50 eV from the edge's onset.
    energy_se_eV : float
    kind : {"template", "measured"}
    source : str
    template : Template or None
        Of a template: what it can be varied by.
    """

    name: str
    species: str
    edge: str
    energy_eV: np.ndarray
    intensity: np.ndarray
    energy_se_eV: float
    kind: str
    source: str
    template: Template | None = None

    def perturbed(self, rng: np.random.Generator) -> Reference:
        """The reference within its uncertainty: a template as a whole, a measurement in its energies."""
        if self.template is not None:
            return of_template(self.template.perturbed(rng))
        shift = self.energy_se_eV * rng.standard_normal()
        moved = np.interp(self.energy_eV - shift, self.energy_eV, self.intensity)
        return Reference(
            self.name,
            self.species,
            self.edge,
            self.energy_eV,
            moved,
            self.energy_se_eV,
            self.kind,
            self.source,
        )


def of_template(template: Template) -> Reference:
    """A template as a reference."""
    return Reference(
        template.name,
        template.species,
        template.edge,
        template.grid(),
        template.shape(),
        template.energy_se_eV,
        "template",
        template.source,
        template,
    )


def read_spectrum(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Energy and intensity of a reference: any instrument file, or text in two columns.

    Raises
    ------
    SignalError
        It cannot be read, holds no energy axis, or numbers that are none.
    """
    path = Path(path)
    energy, data = (_read_text if path.suffix.lower() in (".csv", ".tsv", ".txt") else _read_signal)(path)
    if not (np.isfinite(energy).all() and np.isfinite(data).all()):
        raise SignalError(str(path), "reference", "NaN or infinity", "numbers")
    return energy, data


def _read_signal(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from ceiflow.signals import read_signal
    from ceiflow.signals.layout import as_spectra

    spectra = as_spectra(read_signal(path, "core_loss"))
    if spectra.energy_scale_eV is None or spectra.energy_offset_eV is None:
        raise SignalError(str(path), "energy axis", "no unit", "eV, meV or keV")
    data = np.asarray(spectra.data[...], dtype=np.float64).reshape(-1, np.shape(spectra.data)[-1]).sum(0)
    energy = spectra.energy_offset_eV + spectra.energy_scale_eV * np.arange(data.size)
    return energy, data


def _read_text(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SignalError(str(path), "reference", str(error), "text in two columns") from error
    for line in text.splitlines():
        parts = line.replace(",", " ").replace(";", " ").split()
        try:
            rows.append((float(parts[0]), float(parts[1])))
        except (ValueError, IndexError):
            continue  # a header or a comment
    if len(rows) < 10:
        raise SignalError(
            str(path), "reference", f"{len(rows)} rows of numbers", "energy and intensity, 10 rows"
        )
    data = np.array(sorted(rows))
    energy = np.linspace(data[0, 0], data[-1, 0], len(data))
    return energy, np.interp(energy, data[:, 0], data[:, 1])


def edge_alone(energy: np.ndarray, counts: np.ndarray, onset: float, name: str) -> np.ndarray:
    """A K edge without its background, scaled to unit integral over 50 eV; a power law beyond its end.

    Raises
    ------
    SignalError
        Less than 8 eV below the onset or 25 eV above it.
    """
    # Below Li K, the second plasmon is no power law.
    before = (energy > onset - (40 if onset > 100 else 10)) & (energy < onset - 4)
    if before.sum() < 5 or onset - energy[0] < 8 or energy[-1] - onset < 25:
        found = f"{energy[0]:.0f} to {energy[-1]:.0f} eV"
        raise SignalError(name, "reference range", found, f"8 eV below and 25 eV above {onset:g} eV")
    log = np.log(np.maximum(counts[before], 1e-9))
    slope, level = np.polyfit(np.log(energy[before]), log, 1, w=np.sqrt(np.maximum(counts[before], 1e-9)))
    net = counts - np.exp(level + slope * np.log(energy))
    net[energy < onset - 4] = 0.0
    grid = np.arange(onset - 20.0, onset + 160.0, GRID_STEP_EV)
    values = np.interp(grid, energy, net, left=0.0)
    end = energy[-1]
    tail = net[energy > end - 8].mean()
    beyond = grid > end
    values[beyond] = tail * (grid[beyond] / (end - 4)) ** -4.0
    total = values[(grid >= onset) & (grid < onset + WINDOW_EV)].sum() * GRID_STEP_EV
    if not total > 0:
        raise SignalError(name, "reference", "no intensity above the background", "an edge")
    return values / total


def load_references(entries: Sequence[Mapping[str, Any]], folder: Path, edge: str = "C_K") -> list[Reference]:
    """References of one edge: measured standards first, and templates for species that have none.

    Parameters
    ----------
    entries : sequence of mapping
        The configuration's `fine_structure.references`: name, edge, path, energy_se_eV, note.
    folder : Path
        Of the study; paths are seen from there.
    edge : str
    """
    own = []
    for entry in entries:
        if entry["edge"] != edge:
            continue
        energy, counts = read_spectrum(Path(folder) / entry["path"])
        shape = edge_alone(energy, counts, ONSET_EV[edge], str(entry["path"]))
        grid = np.arange(ONSET_EV[edge] - 20.0, ONSET_EV[edge] + 160.0, GRID_STEP_EV)
        se = float(entry.get("energy_se_eV") or MEASURED_ENERGY_SE_EV)
        note = str(entry.get("note") or entry["path"])
        own.append(Reference(entry["name"], entry["name"], edge, grid, shape, se, "measured", note))
    known = {item.species for item in own}
    templates = (*CARBON, *OXYGEN, *LITHIUM)
    shipped = [of_template(item) for item in templates if item.edge == edge and item.species not in known]
    return own + shipped
