"""Rows of heterogeneity.tsv: how much of the scatter lies at which level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ceiflow.statistics.components import Component, nested_components, pixel_component, with_shares
from ceiflow.statistics.nesting import Observation, group_by, observation, region_means
from ceiflow.statistics.tables import Row, text

HETEROGENEITY_COLUMNS = ["endpoint", "zone", "level", "variance", "ci_low", "ci_high", "share", "n", "note"]
LEVELS = ("cell", "particle", "region")
# What was done to a cell. Cells that differ here differ by design: that is no variance between like cells.
TREATMENT = (
    "condition",
    "electrode",
    "electrolyte",
    "v_min_V",
    "v_max_V",
    "cycles",
    "c_rate_per_h",
    "state",
    "short_duration_s",
    "recovery_cycles",
)


def heterogeneity_rows(
    measurements: Sequence[Row], cells: Sequence[Row], alpha: float, pixels: Sequence[Row] = ()
) -> list[Row]:
    """Variance by level for every endpoint and zone that has identified values to estimate one.

    Cells are compared within groups that were treated alike (`TREATMENT`). Bounded values have no place in a
    variance; they are left out, and counted in the note of the lowest level. `region`, `particle` and `cell`
    are variances between the means of such units, without the measurement errors; `pixel` is that of single
    positions within an acquisition, without them as well: the squared roughness for the thickness of the
    layer, the scatter of the map's pixels for what is mapped with errors, and absent elsewhere.

    Parameters
    ----------
    measurements, cells : sequences of dict
        Rows of measurements.tsv and of the sheet of cells.
    alpha : float
        Intervals have level 1 - alpha.
    pixels : sequence of dict
        Rows of `pixels.pixel_rows`.
    """
    condition = {str(row["cell_id"]): tuple(text(row.get(name)) for name in TREATMENT) for row in cells}
    usable = [row for row in measurements if row["status"] in ("identified", "bounded")]
    grouped = group_by(usable, lambda row: (str(row["endpoint"]), str(row["zone"])))
    mapped = group_by(pixels, lambda row: (str(row["endpoint"]), str(row["zone"])))
    rows = []
    for endpoint, zone in sorted(grouped):
        own = grouped[endpoint, zone]
        observations = [observation(row) for row in own if row["status"] == "identified"]
        if not observations:
            continue
        components = _nested(observations, condition, alpha)
        if endpoint == "layer_thickness_nm":
            pixel = _rough(grouped.get(("layer_roughness_nm", zone), []), observations, alpha)
        else:
            pixel = _mapped(mapped.get((endpoint, zone), []), observations, alpha)
        found = with_shares([*([pixel] if pixel else []), *reversed(components)])
        lost = len(own) - len(observations)
        rows += [_row(endpoint, zone, item, lost if not place else 0) for place, item in enumerate(found)]
    return rows


def _nested(
    observations: Sequence[Observation], condition: Mapping[str, tuple[str, ...]], alpha: float
) -> list[Component]:
    """Components of cell, particle and region for one endpoint in one zone."""
    regions = region_means(observations)
    keys = list(regions)
    labels = [
        [condition.get(key[0], ()) for key in keys],
        *([key[:depth] for key in keys] for depth in (1, 2, 3)),
    ]
    values = np.array([regions[key].low for key in keys])
    noise = np.array([regions[key].variance for key in keys])
    return nested_components(values, labels, LEVELS, noise, alpha)


def _rough(rows: Sequence[Row], means: Sequence[Observation], alpha: float) -> Component | None:
    """Variance of the thickness of single positions: squared roughness, measurement's spread taken off."""
    counts = {item.acquisition_id: item.n or 0 for item in means}
    found = [observation(row) for row in rows]
    rough = sorted((o for o in found if o.status == "identified"), key=lambda item: item.acquisition_id)
    smooth = len(found) - len(rough)
    note = "roughness along the surface" + (f", left out below their limit: {smooth}" if smooth else "")
    return pixel_component(
        [item.low**2 for item in rough],
        [item.n or counts.get(item.acquisition_id, 0) for item in rough],
        [item.cell_id for item in rough],
        note,
        alpha,
    )


def _mapped(pixels: Sequence[Row], observations: Sequence[Observation], alpha: float) -> Component | None:
    """Variance of the pixels of maps, their noise taken off, in acquisitions whose mean is identified."""
    cell = {item.acquisition_id: item.cell_id for item in observations}
    own = sorted(
        (row for row in pixels if row["acquisition_id"] in cell), key=lambda row: str(row["acquisition_id"])
    )
    return pixel_component(
        [float(row["variance"]) for row in own],
        [int(row["n"]) for row in own],
        [cell[str(row["acquisition_id"])] for row in own],
        "pixels of maps, without their noise",
        alpha,
    )


def _row(endpoint: str, zone: str, item: Component, lost: int) -> Row:
    left_out = f"left out below their limit: {lost}" if lost else ""
    return {
        "endpoint": endpoint,
        "zone": zone,
        "level": item.level,
        "variance": item.variance,
        "ci_low": item.low,
        "ci_high": item.high,
        "share": item.share,
        "n": item.n,
        "note": "; ".join(part for part in (item.note, left_out) if part),
    }
