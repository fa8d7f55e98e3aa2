"""From a design to the particle in one view: everything not written in the design is drawn, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .geometry import Scene, make_arc
from .materials import MATERIALS, Material, mix
from .streams import stream


def draw(value: Any, seed: int, *names: object) -> float:
    """A number of the design: itself, or evenly from [low, high] for the item that `names` name."""
    if isinstance(value, (list, tuple)):
        low, high = value
        return float(stream(seed, *names).uniform(low, high))
    return float(value)


def cell_of(design: Mapping[str, Any], acquisition: Mapping[str, Any]) -> dict[str, Any]:
    """The cell that an acquisition belongs to."""
    return next(cell for cell in design["cells"] if cell["cell_id"] == acquisition["cell_id"])


def mean_thickness(design: Mapping[str, Any], acquisition: Mapping[str, Any], seed: int) -> dict[str, float]:
    """True mean thickness of the layer by level: cell_nm, particle_nm, region_nm (0 where nothing is).

    The same region gives the same numbers, whatever signal is recorded there.
    """
    coating = design["coatings"][cell_of(design, acquisition)["coating"]]
    mean, names, result = float(coating["thickness_nm"]), [], {}
    for level in ("cell", "particle", "region"):
        names.append(acquisition[f"{level}_id"])
        if coating["thickness_nm"] > 0:
            mean += coating.get(f"{level}_sd_nm", 0.0) * stream(seed, "thickness", *names).standard_normal()
            mean = max(mean, 0.2 * coating["thickness_nm"])
        result[f"{level}_nm"] = mean
    return result


def materials_of(design: Mapping[str, Any], acquisition: Mapping[str, Any]) -> dict[str, Material]:
    """What "oxide", "skin" and "layer" stand for; a bare cell's patches are of polyether."""
    cell = cell_of(design, acquisition)
    particle, coating = design["particles"][cell["particle"]], design["coatings"][cell["coating"]]
    return {
        "oxide": MATERIALS[particle["oxide"]],
        "skin": MATERIALS["rocksalt" if particle["crystal"] == "layered" else particle["oxide"]],
        "layer": mix(coating.get("composition", {"polyether": 1.0})),
    }


def scene_of(design: Mapping[str, Any], acquisition: Mapping[str, Any], seed: int) -> Scene:
    """The particle in an acquisition's region.

    Parameters
    ----------
    design : mapping
        See config/demo/design.yaml.
    acquisition : mapping
        One of its acquisitions.
    seed : int
        Seed of the study.

    Returns
    -------
    Scene
        The same for every acquisition of one region.
    """
    cell = cell_of(design, acquisition)
    names = (acquisition["cell_id"], acquisition["particle_id"], acquisition["region_id"])
    own = (design.get("regions") or {}).get("/".join(names), {})
    shape = {**design["particles"][cell["particle"]], **own}
    coating = design["coatings"][cell["coating"]]
    closed = bool(shape.get("closed", False))

    def number(value: Any, what: str) -> float:
        return draw(value, seed, what, *names)

    kind = shape.get("kind")
    if kind is None:
        facet = not closed and stream(seed, "kind", *names).uniform() < shape["facets"]
        kind = "facet" if facet else "sphere"
    radius = number(shape["radius_nm"], "radius")
    mean = mean_thickness(design, acquisition, seed)["region_nm"]
    arc = make_arc(
        stream(seed, "arc", *names),
        2 * math.pi * radius if closed else min(600.0, 2 * math.pi * radius),
        thickness_nm=mean if coating["thickness_nm"] > 0 else 0.0,
        sd_nm=coating.get("along_sd_nm", 0.0),
        correlation_nm=coating.get("correlation_nm", 15.0),
        bare_fraction=number(coating.get("bare_fraction", 0.0), "bare"),
        relief_nm=shape["relief_nm"],
        relief_correlation_nm=shape.get("relief_correlation_nm", 25.0),
        patches=tuple(own.get("patches", ())),
        periodic=closed,
    )
    return Scene(
        kind=kind,
        arc=arc,
        radius_nm=radius,
        depth_nm=number(shape["depth_nm"], "depth"),
        tilt_rad=abs(stream(seed, "tilt", *names).normal(0, 1)) * shape["tilt_mrad"] * 1e-3,
        angle_rad=stream(seed, "angle", *names).uniform(0, 2 * math.pi),
        skin_nm=number(shape["skin_nm"], "skin"),
        closed=closed,
    )
