"""Dose of an acquisition, and what a series of frames of its region tells about damage."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.densities import DETECTION_SIGMA
from ceiflow.eels.fine_structure.dose import (
    CONTROLLED,
    FEWEST_FRAMES,
    NOT_CONTROLLED,
    at_zero_dose,
    decay,
    middle_doses,
)
from ceiflow.eels.fine_structure.references import Reference
from ceiflow.eels.fine_structure.rows import detection_limit, join
from ceiflow.errors import SignalError
from ceiflow.signals.store import Header, read_header
from ceiflow.study.measurements import Measurement, bounded, not_identifiable

CARBONATE = "carbonate line"


@dataclass
class DoseState:
    """Whether dose is controlled: the `dose_over_critical` row and the note beside every fine structure."""

    row: Measurement
    note: str
    content: dict[str, Any] = field(default_factory=dict)

    def later_frame(self, acquisition: str) -> str:
        """Why a frame's species are not reported again; empty for the first, and without a series."""
        frames = self.content.get("frames") or [acquisition]
        if acquisition == frames[0]:
            return ""
        return f"a later frame of a dose series: {frames[0]} stands for the region"

    def carbonate_before(self, acquisition: str) -> tuple[float, float]:
        """By how much more carbonate there was before the first electron, and the relative error of that."""
        found = next((d for d in self.content.get("decays", []) if d["name"] == CARBONATE), None)
        if found is None or found["critical"] is None or acquisition not in self.content["frames"]:
            return 1.0, 0.0
        at = self.content["frames"].index(acquisition)
        middle, end = (self.content[f"dose_{name}_e_per_A2"][at] for name in ("middle", "end"))
        return at_zero_dose(1.0, middle, found["rate"], found["rate_se"], 2 * (end - middle))


def dose_state(header: Header, series: Path | None, config: Mapping[str, Any]) -> DoseState:
    """Dose over critical dose, from the series of the region, else from a critical dose that is stated.

    Parameters
    ----------
    header : Header
    series : Path or None
        What `dose_series` wrote for the region.
    config : mapping
    """
    name = "dose_over_critical"
    dose = header.metadata.get("dose_e_per_A2")
    content = json.loads(Path(series).read_text(encoding="utf-8")) if series is not None else {}
    if content.get("decays"):
        return _from_series(header.acquisition_id, content)
    stated = config["fine_structure"].get("critical_dose_e_per_A2")
    if dose is None or not dose.known:
        return DoseState(
            not_identifiable("all", name, "dose unknown"), f"{NOT_CONTROLLED} (dose unknown)", content
        )
    if stated is None:
        reason = content.get("reason") or "no critical dose: a frame series is needed"
        return DoseState(not_identifiable("all", name, reason), NOT_CONTROLLED, content)
    seen = dict(zip(content.get("frames", []), content.get("dose_end_e_per_A2", []), strict=False))
    share = float(seen.get(header.acquisition_id, dose.value)) / float(stated)
    row = Measurement("all", name, share, 0.0, n=1, note="critical dose as stated in the configuration")
    return DoseState(row, _note(share), content)


def _note(share: float) -> str:
    if share <= CONTROLLED:
        return f"dose {share:.2g} of the critical dose"
    return f"{NOT_CONTROLLED}: {share:.2g} of the critical dose"


def _from_series(acquisition: str, content: dict[str, Any]) -> DoseState:
    name = "dose_over_critical"
    end = content["dose_end_e_per_A2"][content["frames"].index(acquisition)]
    fading = [item for item in content["decays"] if item["critical"] is not None]
    frames = len(content["frames"])
    if fading:
        fastest = min(fading, key=lambda item: item["critical"])
        share = end / fastest["critical"]
        error = end * fastest["rate_se"]
        note = (
            f"{fastest['name']} fades with {fastest['critical']:.3g} e/A^2 "
            f"({fastest['low']:.3g} to {fastest['high']:.3g}), {frames} frames"
        )
        row = Measurement("all", name, share, error, n=frames, note=join(note, _grown(content)))
        most = f" (at most {end / fastest['low']:.2g})" if fastest["low"] else ""
        return DoseState(row, _mass_alone(content) or _note(share) + most, content)
    # What grows beyond its error has no lower end.
    slowest = min((item["low"] for item in content["decays"] if item["low"] is not None), default=np.inf)
    if not slowest > 0:
        row = not_identifiable("all", name, f"{frames} frames are too noisy for a critical dose")
        return DoseState(row, NOT_CONTROLLED, content)
    limit = end / slowest
    row = bounded("all", name, limit, frames, join("nothing fades along the series", _grown(content)))
    return DoseState(row, _mass_alone(content) or _note(limit), content)


def _mass_alone(content: Mapping[str, Any]) -> str:
    """Bonds break before mass is lost: a series that followed no line says nothing of the fine structure."""
    if any(item["name"] == CARBONATE for item in content["decays"]):
        return ""
    return f"{NOT_CONTROLLED} (mass alone was followed)"


def _grown(content: Mapping[str, Any]) -> str:
    """What grows beyond its error along a series, such as contamination."""
    grown = [item for item in content["decays"] if item["critical"] is None and item["low"] is None]
    return ", ".join(
        f"{item['name']} grows by {-100 * item['rate']:.2g} +- {100 * item['rate_se']:.1g} per 100 e/A^2"
        for item in grown
    )


def dose_series(
    calibrated: Sequence[Path],
    edges: Path,
    output: Path,
    frames: Sequence[Mapping[str, Any]],
    config: Mapping,
    folder: Path = Path("."),
) -> None:
    """Fit decay and growth along the frames of one region and write them as JSON.

    Parameters
    ----------
    calibrated : sequence of Path
        Calibrated files, in any order; failed ones among them are lost frames.
    edges, output : Path
    frames : sequence of mapping
        `acquisition_id` and `frame` of each, and `dose_e_per_A2` of those that have no file among
        `calibrated` (excluded ones): the specimen saw them too.
    config : mapping
    folder : Path
        Of the study: paths of references are seen from there.
    """
    ordered = sorted(frames, key=lambda item: (float(item["frame"]), str(item["acquisition_id"])))
    files = {read_header(path).acquisition_id: path for path in calibrated}
    sources, doses = {}, {}
    for item in ordered:
        name = item["acquisition_id"]
        # The specimen saw the electrons of a frame that is excluded or cannot be read all the same.
        doses[name] = item.get("dose_e_per_A2")
        if name in files:
            dose = read_header(files[name]).metadata.get("dose_e_per_A2")
            doses[name] = dose.value if dose is not None else None
            sources |= _opened(name, files[name], edges, config)
    names = list(sources)
    content: dict[str, Any] = {"frames": names, "decays": [], "series": {}}
    lost = [name for name in doses if name not in sources]
    unknown = [name for name, dose in doses.items() if dose is None]
    if lost:
        content["lost"] = lost
    if not unknown:
        every = np.array(list(doses.values()), np.float64)
        kept = [name in sources for name in doses]
        middle, end = (values[kept] for values in middle_doses(every))
        content |= {"dose_middle_e_per_A2": middle.tolist(), "dose_end_e_per_A2": end.tolist()}
    if len(sources) < FEWEST_FRAMES:
        content["reason"] = f"a series of {len(sources)} frames is too short for a critical dose"
    elif unknown:
        content["reason"] = f"the dose of a frame is unknown ({', '.join(unknown)}): no critical dose"
    else:
        series = quantities(list(sources.values()), folder)
        found = [
            decay(name, middle, values, errors, every[kept]) for name, (values, errors) in series.items()
        ]
        content["decays"] = [_plain(asdict(item)) for item in found if item is not None]
        content["series"] = {
            name: {"values": values.tolist(), "errors": errors.tolist()}
            for name, (values, errors) in series.items()
        }
        if not content["decays"]:
            content["reason"] = "no quantity could be followed along the series"
    Path(output).write_text(json.dumps(_rounded(content), sort_keys=True, indent=1) + "\n", encoding="utf-8")


def _opened(name: str, path: Path, edges: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A frame by its name; nothing where it failed, which its own row in the tables says."""
    from ceiflow.eels.source import open_source

    if not read_header(path).ok:
        return {}
    try:
        return {name: open_source(path, edges, config)}
    except SignalError:
        return {}


def quantities(sources: Sequence[Any], folder: Path = Path(".")) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What is followed: the carbonate line at 290.3 eV, and the mass of C and F, each with its error.

    Every frame is summed as a whole.
    """
    from ceiflow.eels.fine_structure.references import load_references
    from ceiflow.eels.fine_structure.species import reason_of
    from ceiflow.eels.zones import fit_source_zones

    masks = [{"all": np.ones(item.core.shape[:2], bool)} for item in sources]
    result = {}
    fits = [
        fit_source_zones(item, mask, windows=False)["all"] for item, mask in zip(sources, masks, strict=True)
    ]
    for element in ("C", "F"):
        if any(element not in item.elements for item in sources):
            continue
        values = np.array([fit.areal_density[element][0] for fit in fits])
        errors = np.array([fit.areal_density[element][1] for fit in fits])
        if np.isfinite(values).all() and np.all(values.max() > DETECTION_SIGMA * errors):
            result[f"{element} K mass"] = values, errors
    references = []
    if not any(reason_of(item, "C", "C_K") for item in sources):
        # An unfit reference is named in the rows of every frame.
        with contextlib.suppress(SignalError):
            references = load_references(sources[0].config["fine_structure"]["references"], folder)
    if references:
        values, errors, seen = _carbonate(sources, masks, references)
        # A line that no frame shows, errors of references included, cannot be seen to fade.
        if seen:
            result[CARBONATE] = values, errors
    return result


def _carbonate(
    sources: Sequence[Any], masks: Sequence[Mapping[str, np.ndarray]], references: Sequence[Reference]
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Amount of carbonate references in each frame per incident electron, relative to the first; its errors.

    Last, whether any frame shows it. Each frame has its own shift and blur: axes wander between frames.
    """
    from ceiflow.eels.fine_structure.columns import ReferenceColumns
    from ceiflow.eels.fine_structure.references import ONSET_EV
    from ceiflow.eels.fine_structure.species import zone_spectrum
    from ceiflow.eels.fine_structure.unmixing import Problem, unmix
    from ceiflow.eels.zones import sum_zones

    chosen = np.array([item.species == "carbonate" for item in references])
    values, errors, seen = [], [], False
    sums_of = [sum_zones(source, mask)["all"] for source, mask in zip(sources, masks, strict=True)]
    for source, sums, incident in zip(sources, sums_of, _incident(sources, sums_of), strict=True):
        spectrum = zone_spectrum(source, sums, ONSET_EV["C_K"])
        found = unmix(spectrum, references, 0)
        at = found.species.index("carbonate")
        seen = seen or bool(found.fraction[at] > detection_limit(found, at))
        problem = Problem(spectrum, ONSET_EV["C_K"])
        problem.solve(references)
        columns = ReferenceColumns(problem.spectrum.energy_eV, problem.kernel, references)
        node = problem.node(columns, found.shift_eV, found.blur_eV, problem.prepare())
        active = (node.amounts > 0) | chosen
        spread = np.linalg.pinv(node.gram[np.ix_(active, active)], hermitian=True)
        inside = chosen[active].astype(float)
        values.append(node.amounts[chosen].sum() / incident)
        errors.append(np.sqrt(inside @ spread @ inside * max(found.reduced_chi2, 1.0)) / incident)
    scale = values[0] if values[0] > 0 else 1.0
    return np.array(values) / scale, np.array(errors) / scale, seen


def _incident(sources: Sequence[Any], sums: Sequence[Any]) -> list[float]:
    """Electrons of each frame's core loss, on one scale: by its low loss, else by its dose."""
    if all(item.total > 0 for item in sums):
        ratios = [source.exposure_ratio for source in sources]
        scale = ratios if all(ratios) else [1.0] * len(ratios)
        return [item.total * ratio for item, ratio in zip(sums, scale, strict=True)]
    return [float(source.header.metadata["dose_e_per_A2"].value) for source in sources]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinity have no place in JSON."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value
