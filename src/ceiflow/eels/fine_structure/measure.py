"""Fine structure of one acquisition: zones summed, edges read, rows and maps made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure import rows as table
from ceiflow.eels.fine_structure.line_rows import change_rows, line_rows
from ceiflow.eels.fine_structure.prepeak import oxygen_prepeak
from ceiflow.eels.fine_structure.references import ONSET_EV
from ceiflow.eels.fine_structure.separation import Separation, separation
from ceiflow.eels.fine_structure.series import DoseState, dose_state
from ceiflow.eels.fine_structure.species import (
    SpeciesJob,
    axis_error,
    dispersion_error,
    lines_of,
    reason_of,
    zone_kernel,
    zone_spectrum,
)
from ceiflow.eels.fine_structure.unmixing import Unmixing
from ceiflow.eels.fine_structure.valence import (
    Calibration,
    calibration_content,
    load_calibration,
    valence_of,
)
from ceiflow.eels.fine_structure.white_lines import WhiteLines
from ceiflow.eels.source import Source, open_source
from ceiflow.eels.zones import ZoneSums, sum_zones
from ceiflow.study import seed_for
from ceiflow.study.measurements import Measurement

C_ONSET_EV, O_ONSET_EV = ONSET_EV["C_K"], ONSET_EV["O_K"]
METAL_EDGES = {"Mn": "Mn_L", "Co": "Co_L", "Ni": "Ni_L"}
# So many shells are looked at below the surface.
SHELLS = 8
CARBON_ZONES, PARTICLE_ZONES = ("layer", "all"), ("particle", "surface")


@dataclass
class FineStructure:
    """What one acquisition gave.

    Parameters
    ----------
    rows : list of Measurement
    maps : dict of str to (rows, columns) array
        `carbon_fraction/{species}` and `carbon_fraction_std/{species}`; `l3_l2_ratio/{El}`,
        `l3_position_eV/{El}` and `valence/{El}`, each with its `_std`.
    content : dict
        For fine_structure.json: spectra, fractions, lines and dose as figures need them.
    """

    rows: list[Measurement]
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)


def measure_fine_structure(
    calibrated: Path,
    edges: Path,
    masks: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    dose: Path | None = None,
    folder: Path = Path("."),
    distance_nm: np.ndarray | None = None,
) -> FineStructure:
    """Species, valence, pre-peak and dose of every zone.

    Parameters
    ----------
    calibrated, edges : Path
        Files of `calibrate` and `edges`.
    masks : mapping of zone to (rows, columns) bool array
    config : mapping
        The merged configuration.
    dose : Path, optional
        What `dose_series` left for the region.
    folder : Path
        Of the study: paths of references are seen from there.
    distance_nm : (rows, columns) array, optional
        From the particle's surface, negative inside: for the profile of valence.
    """
    source = open_source(calibrated, edges, config)
    single = source.header.modality != "eels_si"
    carbon_zones, particle_zones = (("all",), ("all",)) if single else (CARBON_ZONES, PARTICLE_ZONES)
    sums = sum_zones(source, masks) if masks else {}
    state = dose_state(source.header, dose, config)
    result = FineStructure([])
    name = source.header.acquisition_id
    seed = int(config["statistics"]["seed"])

    content: dict[str, Any] = {"acquisition_id": name, "dose": state.content, "lines": {}}
    job = SpeciesJob(source, sums, carbon_zones, folder, state, content, seed)
    carbon_rows, found, references = job.carbon()
    result.rows += [*carbon_rows, *job.oxygen(), *job.lithium()]
    if found and not single and not any(item["reason"] for item in content["carbon"].values()):
        result.maps = _maps(source, sums, found, references)
    metals, maps = _metal_rows(
        source, sums, particle_zones, config, folder, state, content, (seed, name), {} if single else masks
    )
    result.rows += metals
    result.maps = result.maps | maps
    result.rows += _prepeak_rows(source, sums, particle_zones, state, (seed, name))
    if distance_nm is not None:
        profile = valence_profile(source, distance_nm, config, (seed, name), folder)
        content["profile"] = profile
        result.rows += table.skin_rows(profile, state.note)
    result.rows.append(state.row)
    result.content = content
    return result


def _maps(
    source: Source, sums: Mapping[str, ZoneSums], found: Mapping[str, Unmixing], references: list
) -> dict[str, np.ndarray]:
    """Species by neighbourhoods, with the shift and blur of the zone that holds the carbon."""
    from ceiflow.eels.fine_structure.species_maps import STRIP_COUNTS, neighbourhood, species_maps
    from ceiflow.eels.fine_structure.unmixing import Problem

    zone = "layer" if "layer" in found else "all"
    best = found[zone]
    problem = Problem(zone_spectrum(source, sums[zone], C_ONSET_EV), C_ONSET_EV)
    problem.solve(references)
    first = int(np.argmin(np.abs(source.core.energy_eV - problem.spectrum.energy_eV[0])))
    last = first + problem.spectrum.energy_eV.size
    se = float(np.min(best.se_stat))
    side = neighbourhood(best.total / sums[zone].n, se, best.total)
    rows, columns = source.core.shape[:2]
    # Rows of a large image are taken some at a time, with what their neighbourhoods reach into.
    step, reach = max(STRIP_COUNTS // (columns * (last - first)), side), side // 2
    maps: dict[str, np.ndarray] = {}
    for begin in range(0, rows, step):
        above, end = max(begin - reach, 0), min(begin + step, rows)
        strip = source.core.read(rows=slice(above, min(end + reach, rows)))[..., first:last]
        found_here = species_maps(strip - source.noise.dark, problem, best, references, side)
        for kind, items in zip(("carbon_fraction", "carbon_fraction_std"), found_here, strict=True):
            for name, item in items.items():
                drawn = maps.setdefault(f"{kind}/{name}", np.empty((rows, columns), np.float32))
                drawn[begin:end] = item[begin - above : end - above]
    return maps


def _metal_rows(
    source: Source,
    sums: Mapping[str, ZoneSums],
    zones: Sequence[str],
    config: Mapping[str, Any],
    folder: Path,
    state: DoseState,
    content: dict[str, Any],
    names: tuple[int, str],
    masks: Mapping[str, np.ndarray],
) -> tuple[list[Measurement], dict[str, np.ndarray]]:
    """Rows of all metals and zones, and maps where there are `masks` to draw them in."""
    rows: list[Measurement] = []
    maps: dict[str, np.ndarray] = {}
    for element, edge in METAL_EDGES.items():
        reason = reason_of(source, element, edge)
        standards = (
            load_calibration(config["fine_structure"]["references"], folder, element) if not reason else []
        )
        found: dict[str, WhiteLines] = {}
        for zone in zones:
            own = sums.get(zone)
            why = reason or ("" if own is not None and own.n else f"no pixel in zone {zone}")
            found[zone] = (
                WhiteLines(element, reason=why) if why else lines_of(source, own, element, (*names, zone))
            )
            pixels = own.n if own is not None else 0
            rows += line_rows(zone, found[zone], standards, pixels, state.note)
        if len(zones) == 2:
            rows += change_rows(found[zones[1]], found[zones[0]], standards, state.note)
        apart = {
            zone: _separation(source, sums.get(zone), item, (*names, zone)) for zone, item in found.items()
        }
        if "particle" in masks and found["particle"].known:
            maps |= _line_maps(source, masks, sums["particle"], found["particle"], standards, names)
        pixels = {zone: sums[zone].n for zone in zones if zone in sums}
        rows += table.separation_rows(apart, element.lower(), pixels, state.note)
        content["lines"][element] = {zone: table.lines_content(item) for zone, item in found.items()}
        content["lines"][element] |= calibration_content(standards)
    return rows, maps


def _line_maps(
    source: Source,
    masks: Mapping[str, np.ndarray],
    own: ZoneSums,
    lines: WhiteLines,
    standards: Calibration,
    names: tuple[int, str],
) -> dict[str, np.ndarray]:
    """L3/L2, position of L3 and valence of one metal by bins."""
    from ceiflow.eels.fine_structure.valence_maps import line_bins

    counts = own.core[source.channels]
    found = line_bins(source, masks, zone_kernel(source, own), counts, lines, standards, names)
    return found.maps(lines.element) if found is not None else {}


def _separation(source: Source, sums: ZoneSums | None, lines: WhiteLines, names: Sequence[Any]) -> Separation:
    reason = lines.reason or reason_of(source, "O", "O_K")
    if reason or sums is None:
        return Separation(reason=reason)
    keep = source.channels
    return separation(
        source.core.energy_eV[keep],
        sums.core[keep],
        zone_kernel(source, sums),
        lines,
        source.noise.gain,
        dispersion_error(source),
        seed_for(names[0], *(str(item) for item in names[1:]), "separation"),
    )


def _prepeak_rows(
    source: Source,
    sums: Mapping[str, ZoneSums],
    zones: Sequence[str],
    state: DoseState,
    names: tuple[int, str],
) -> list[Measurement]:
    rows = []
    reason = reason_of(source, "O", "O_K")
    keep = source.channels
    for zone in zones:
        own = sums.get(zone)
        why = reason or ("" if own is not None and own.n else f"no pixel in zone {zone}")
        found = None
        if not why:
            found = oxygen_prepeak(
                source.core.energy_eV[keep],
                own.core[keep],
                zone_kernel(source, own),
                source.noise.gain,
                0.0,
                axis_error(source, O_ONSET_EV),
                seed_for(names[0], names[1], "prepeak", zone),
            )
            why = found.reason
        rows.append(table.prepeak_row(zone, found, why, own.n if own is not None else 0, state.note))
    return rows


def valence_profile(
    source: Source,
    distance_nm: np.ndarray,
    config: Mapping[str, Any],
    names: tuple[int, str],
    folder: Path = Path("."),
) -> list[dict[str, Any]]:
    """Mn L3/L2, the position of L3 and the valence in shells below the surface, from outside in.

    Shells are of one pixel's width, eight of them; of twice or four times that where all those are reduced,
    and the last quarter of the way inwards is left to the bulk.
    """
    pixel = source.core.pixel_size_nm
    if pixel is None or "Mn" not in source.elements or not np.isfinite(distance_nm).any():
        return []
    inside = float(-np.nanmin(distance_nm))
    standards = load_calibration(config["fine_structure"]["references"], folder, "Mn")
    profile: list[dict[str, Any]] = []
    for width in (pixel, 2 * pixel, 4 * pixel):
        deepest = inside if width == pixel else 0.75 * inside // width * width
        masks = shells(distance_nm, width, min(deepest, SHELLS * width))
        if len(masks) >= 3:
            profile = _shell_lines(source, distance_nm, masks, standards, names)
        if not table.all_reduced(profile):
            break
    return profile


def shells(distance_nm: np.ndarray, width_nm: float, deepest_nm: float) -> dict[str, np.ndarray]:
    """Masks of shells below the surface by their number, and of the `bulk` below them; none that is empty."""
    borders = np.arange(0.0, deepest_nm + 1e-9, width_nm)
    with np.errstate(invalid="ignore"):
        masks = {
            str(i): (distance_nm < -low) & (distance_nm >= -high)
            for i, (low, high) in enumerate(pairwise(borders))
        }
        masks["bulk"] = distance_nm < -deepest_nm
    return {key: mask for key, mask in masks.items() if mask.any()}


def _shell_lines(
    source: Source,
    distance_nm: np.ndarray,
    masks: Mapping[str, np.ndarray],
    standards: Calibration,
    names: tuple[int, str],
) -> list[dict[str, Any]]:
    profile = []
    for key, own in sum_zones(source, masks).items():
        found = lines_of(source, own, "Mn", (*names, "shell", key))
        at = float(-np.nanmean(distance_nm[masks[key]]))
        shell = {"depth_nm": at, "n": own.n, "bulk": key == "bulk", **table.lines_content(found)}
        if found.known and standards:
            valence = valence_of(found.ratio, found.ratio_se, found.ratio_sys, standards)
            numbers = {"valence": valence.value, "valence_se": valence.se, "valence_sys": valence.systematic}
            shell |= {key: table.short(number) for key, number in numbers.items()}
        profile.append(shell)
    return profile


def write_content(path: Path, content: Mapping[str, Any]) -> None:
    """Write fine_structure.json."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")
