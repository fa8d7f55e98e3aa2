"""Simulated studies with a known truth, on which the errors of the statistics are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ceiflow.statistics.tables import Row

SD = {"cell": 1.0, "particle": 1.5, "region": 1.0, "pixel": 1.0}
FLAT = dict.fromkeys(SD, 1e-3)
PARTICLES, REGIONS, PIXELS = 5, 3, 10


def nested_pixels(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    mean: float,
    sd: Mapping[str, float],
    heavy: bool = False,
) -> np.ndarray:
    """(..., cell, particle, region, pixel) values of nested effects; cells are Student's t (3) if `heavy`."""
    depth = len(shape) - 4
    sizes = [shape[: depth + 1 + i] + (1,) * (3 - i) for i in range(4)]
    effects = [rng.normal(size=size) for size in sizes]
    if heavy:
        effects[0] = rng.standard_t(3, size=sizes[0])
    return mean + sum(sd[name] * effect for name, effect in zip(SD, effects, strict=True))


def tables(
    arms: Mapping[str, np.ndarray],
    lod: float | None = None,
    keep: Callable[[int, int, int], bool] | None = None,
    roughness: bool = False,
) -> tuple[list[Row], list[Row]]:
    """Rows of measurements and of cells.

    Parameters
    ----------
    arms : mapping of condition to (cell, particle, region, pixel) array
    lod : float, optional
        Means below it are bounded by it.
    keep : callable, optional
        Whether the region of these indices (cell, particle, region) was recorded; all are without it.
    roughness : bool
        Whether the standard deviation of the pixels has a row of its own.
    """
    rows: list[Row] = []
    cells: list[Row] = []
    for condition, pixels in arms.items():
        means, errors = pixels.mean(-1), pixels.std(-1, ddof=1) / math.sqrt(pixels.shape[-1])
        for (c, p, r), value in np.ndenumerate(means):
            if keep is not None and not keep(c, p, r):
                continue
            bounded = lod is not None and value < lod
            row = {
                "acquisition_id": f"{condition}{c}-{p}-{r}",
                "cell_id": f"{condition}{c}",
                "particle_id": str(p),
                "region_id": str(r),
                "modality": "hrtem",
                "zone": "layer",
                "endpoint": "layer_thickness_nm",
                "status": "bounded" if bounded else "identified",
                "value": None if bounded else value,
                "se_stat": None if bounded else errors[c, p, r],
                "lod": lod,
            }
            rows.append(row)
            if roughness:
                spread = {"endpoint": "layer_roughness_nm", "value": pixels[c, p, r].std(ddof=1)}
                rows.append({**row, **spread, "status": "identified", "lod": None})
        cells += [{"cell_id": f"{condition}{c}", "condition": condition} for c in range(len(pixels))]
    return rows, cells
