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


def heterogeneity_rows(measurements: Sequence[Row], cells: Sequence[Row], alpha: float) -> list[Row]:
    """Variance by level for every endpoint and zone that has identified values to estimate one.

    Cells are compared within groups that were treated alike (`TREATMENT`). Bounded values have no place in a
    variance and are left out. `region`, `particle` and `cell` are variances between the means of such units,
    without the measurement errors; `pixel` is that of single positions within an acquisition: the squared
    roughness for the thickness of the layer, and n times the squared standard error elsewhere.
    """
    condition = {str(row["cell_id"]): tuple(text(row.get(name)) for name in TREATMENT) for row in cells}
    identified = [row for row in measurements if row["status"] == "identified"]
    grouped = group_by(identified, lambda row: (str(row["endpoint"]), str(row["zone"])))
    rows = []
    for endpoint, zone in sorted(grouped):
        observations = [observation(row) for row in grouped[endpoint, zone]]
        components = _nested(observations, condition, alpha)
        roughness = grouped.get(("layer_roughness_nm", zone), []) if endpoint == "layer_thickness_nm" else []
        pixel = _pixels(observations, [observation(row) for row in roughness], alpha)
        found = with_shares([*([pixel] if pixel else []), *reversed(components)])
        rows += [_row(endpoint, zone, item) for item in found]
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


def _pixels(
    observations: Sequence[Observation], roughness: Sequence[Observation], alpha: float
) -> Component | None:
    """Variance of single positions within acquisitions."""
    counts = {item.acquisition_id: item.n or 0 for item in observations}
    if roughness:
        rough = sorted(roughness, key=lambda item: item.acquisition_id)
        positions = [item.n or counts.get(item.acquisition_id, 0) for item in rough]
        return pixel_component(
            [item.low**2 for item in rough], positions, "roughness along the surface", alpha
        )
    known = sorted(
        (item for item in observations if item.n and item.se > 0), key=lambda item: item.acquisition_id
    )
    variances = [item.n * item.se**2 for item in known]
    return pixel_component(variances, [item.n for item in known], "n times squared standard error", alpha)


def _row(endpoint: str, zone: str, item: Component) -> Row:
    return {
        "endpoint": endpoint,
        "zone": zone,
        "level": item.level,
        "variance": item.variance,
        "ci_low": item.low,
        "ci_high": item.high,
        "share": item.share,
        "n": item.n,
        "note": item.note,
    }
