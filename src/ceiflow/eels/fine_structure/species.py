"""Species of every zone at C K, O K and Li K: summed, unmixed, turned into rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.fine_structure import lithium
from ceiflow.eels.fine_structure import rows as table
from ceiflow.eels.fine_structure.references import ONSET_EV, Reference, load_references
from ceiflow.eels.fine_structure.series import DoseState
from ceiflow.eels.fine_structure.unmixing import Spectrum, Unmixing, unmix
from ceiflow.eels.fine_structure.white_lines import LINES_EV, WhiteLines, white_lines
from ceiflow.eels.source import Source
from ceiflow.eels.zones import ZoneSums
from ceiflow.errors import SignalError
from ceiflow.study import seed_for
from ceiflow.study.measurements import Measurement

# Beyond this an axis is not taken as known at all.
LARGEST_PRIOR_EV = 1.5


@dataclass
class SpeciesJob:
    """What the species of one acquisition are read from; `content` is filled for fine_structure.json."""

    source: Source
    sums: Mapping[str, ZoneSums]
    zones: Sequence[str]
    folder: Path
    state: DoseState
    content: dict[str, Any]
    seed: int

    def references(self, edge: str, reason: str) -> tuple[list[Reference], str]:
        """The configuration's measured standards, and templates; none, and why, where one is unfit."""
        if reason:
            return [], reason
        try:
            entries = self.source.config["fine_structure"]["references"]
            return load_references(entries, self.folder, edge), ""
        except SignalError as error:
            return [], f"reference: {error}"

    def carbon(self) -> tuple[list[Measurement], dict[str, Unmixing], list[Reference]]:
        """Rows, results by zone, and the references of C K."""
        references, reason = self.references("C_K", reason_of(self.source, "C", "C_K"))
        before = self.state.carbonate_before(self.source.header.acquisition_id)
        rows, found = self._zones("carbon", "C_K", reason, references, before)
        return rows, found, references

    def oxygen(self) -> list[Measurement]:
        """Rows of O K."""
        references, reason = self.references("O_K", reason_of(self.source, "O", "O_K"))
        return self._zones("oxygen", "O_K", reason, references)[0]

    def lithium(self) -> list[Measurement]:
        """Rows of Li K, which the low loss holds, where no metal forbids it."""
        allowed = "Li_K" in self.source.config["fine_structure"]["edges"]
        reason = "" if allowed else "Li_K is not among fine_structure.edges"
        reason = reason or lithium.range_reason(self.source)
        references, reason = self.references("Li_K", reason)
        return self._zones("lithium", "Li_K", reason, references)[0]

    def _zones(
        self,
        of: str,
        edge: str,
        general: str,
        references: list[Reference],
        before: tuple[float, float] = (1.0, 0.0),
    ) -> tuple[list[Measurement], dict[str, Unmixing]]:
        name = self.source.header.acquisition_id
        without = "no low loss: plural scattering not corrected" if self.source.low is None else ""
        rows: list[Measurement] = []
        found: dict[str, Unmixing] = {}
        content = self.content.setdefault(of, {})
        for zone in self.zones:
            own = self.sums.get(zone)
            reason = general or ("" if own is not None and own.n else f"no pixel in zone {zone}")
            metals = ""
            if not reason and edge != "C_K":
                lines = [lines_of(self.source, own, metal, (self.seed, name, zone)) for metal in LINES_EV]
                metals = lithium.metal_reason(lines)
                reason = metals if edge == "Li_K" else ""
            if not reason:
                spectrum = self._spectrum(own, edge)
                # Beside a metal, its oxide's pre-peak stands where a peroxide's line would.
                used = [item for item in references if not (metals and item.species == "Li2O2")]
                names = ("templates",) if edge == "C_K" else ("templates", edge)
                found[zone] = unmix(spectrum, used, seed_for(self.seed, name, *names, zone), edge)
                reason = table.unmixing_reason(found[zone], spectrum, edge)
                content[zone] = table.unmixing_content(found[zone], used, reason)
                reason = reason or self.state.later_frame(name)
            pixels = own.n if own is not None else 0
            notes = table.join(self.state.note, without)
            rows += table.species_rows(zone, of, found.get(zone), reason, pixels, notes, before)
        return rows, found

    def _spectrum(self, own: ZoneSums, edge: str) -> Spectrum:
        if edge == "Li_K":
            return lithium.lithium_spectrum(self.source, own)
        return zone_spectrum(self.source, own, ONSET_EV[edge])


def reason_of(source: Source, element: str, edge: str) -> str:
    """Why an edge's fine structure cannot be looked at; empty where it can."""
    if edge not in source.config["fine_structure"]["edges"]:
        return f"{edge} is not among fine_structure.edges"
    if element in source.reasons:
        return source.reasons[element]
    if element not in source.elements:
        return f"{element} is not among the elements that were fitted"
    return ""


def axis_error(source: Source, at_eV: float) -> float:
    """How well the calibrated axis is known at an energy, in eV."""
    calibration = json.loads(source.header.attributes.get("calibration", "{}"))
    offset = calibration.get("residual_shift_se_eV", calibration.get("energy_offset_se_eV"))
    if offset is None:
        return LARGEST_PRIOR_EV
    energy = source.core.energy_eV
    placed = [item["found_eV"] for item in calibration.get("edges") or []]
    # An axis is known best where its edges stand; from there its dispersion's error adds.
    middle = float(np.mean(placed)) if placed else 0.5 * (energy[0] + energy[-1])
    far = abs(at_eV - middle)
    whole = float(np.hypot(offset, far * dispersion_error(source)))
    return float(np.clip(whole, 0.02, LARGEST_PRIOR_EV))


def dispersion_error(source: Source) -> float:
    """Relative error of the calibrated axis's scale; zero where the calibration states none."""
    calibration = json.loads(source.header.attributes.get("calibration", "{}"))
    return float(calibration.get("dispersion_se") or 0.0)


def zone_kernel(source: Source, sums: ZoneSums) -> tuple[np.ndarray, int] | None:
    """The low loss that a zone's atoms saw."""
    if sums.low_weighted is None:
        return None
    return ll.kernel(source.low.energy_eV, np.clip(sums.low_weighted, 0, None), source.core.energy_scale_eV)


def zone_spectrum(source: Source, sums: ZoneSums, at_eV: float) -> Spectrum:
    """A zone's sum on the channels that the fit trusts."""
    keep = source.channels
    return Spectrum(
        source.core.energy_eV[keep],
        sums.core[keep],
        zone_kernel(source, sums),
        source.noise.gain,
        source.noise.read_noise * float(np.sqrt(sums.n)),
        axis_error(source, at_eV),
    )


def lines_of(source: Source, sums: ZoneSums, element: str, names: Sequence[Any]) -> WhiteLines:
    """White lines of a zone's sum."""
    keep = source.channels
    return white_lines(
        source.core.energy_eV[keep],
        sums.core[keep],
        element,
        zone_kernel(source, sums),
        source.noise.gain,
        seed=seed_for(names[0], *(str(item) for item in names[1:]), "lines", element),
    )
