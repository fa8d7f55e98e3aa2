"""Variance of single pixels within a zone of a spectrum image, without the noise of the pixels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ceiflow.statistics.tables import Row

ZONES = {"layer": 1, "particle": 2}
LEAST_PIXELS = 10


def pixel_variance(values: np.ndarray, errors: np.ndarray) -> float | None:
    """Sample variance of pixels less the mean of their squared standard errors.

    Without bias where the errors are known, and so below 0 now and then where pixels hardly differ.

    Parameters
    ----------
    values, errors : (n,) arrays

    Returns
    -------
    float or None
        In squared units of the values; None for fewer than ten pixels.
    """
    return float(values.var(ddof=1) - np.mean(errors**2)) if values.size >= LEAST_PIXELS else None


def pixel_rows(maps: Iterable[str | Path]) -> list[Row]:
    """Pixel variances of the areal densities of all acquisitions and zones.

    Parameters
    ----------
    maps : paths
        maps.h5 of spectrum images; one that failed holds no maps, and gives no row.

    Returns
    -------
    list of dict
        `acquisition_id`, `endpoint`, `zone`, `variance` (may be negative) and `n` (pixels).
    """
    import h5py

    rows: list[Row] = []
    for path in maps:
        with h5py.File(path) as file:
            if "zone" not in file:
                continue
            acquisition, zones = str(file.attrs["acquisition_id"]), file["zone"][()]
            # Only densities: fractions cannot fall below 0, and scatter less there than their errors say.
            for element in file.get("areal_density", {}):
                values = file[f"areal_density/{element}"][()].astype(float)
                errors = file[f"areal_density_std/{element}"][()].astype(float)
                rows += _rows(acquisition, element, zones, values, errors)
    return rows


def _rows(
    acquisition: str, element: str, zones: np.ndarray, values: np.ndarray, errors: np.ndarray
) -> list[Row]:
    """Rows of one element in all zones that have enough pixels."""
    known = np.isfinite(values) & np.isfinite(errors)
    base = {"acquisition_id": acquisition, "endpoint": f"areal_density_{element}_per_nm2"}
    own = {zone: known & (zones == number) for zone, number in ZONES.items()}
    found = {zone: pixel_variance(values[mask], errors[mask]) for zone, mask in own.items()}
    return [
        {**base, "zone": zone, "variance": variance, "n": int(own[zone].sum())}
        for zone, variance in found.items()
        if variance is not None
    ]
