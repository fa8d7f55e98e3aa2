"""From amplitudes of pixels (or bins) to areal densities, fractions and detection limits."""

from __future__ import annotations

import numpy as np

from ceiflow.eels.pixels import PixelFits
from ceiflow.eels.source import Source

# A quantity is seen where it stands above so many standard errors that it would have if there were none: one
# in a thousand false alarms on either side (Currie 1968, Analytical Chemistry 40, 586, gives 2 x 1.645).
DETECTION_SIGMA = 3.29


def quantities(source: Source, fits: PixelFits, where: slice | None = None) -> dict[str, np.ndarray]:
    """Maps of one number a pixel and element.

    Parameters
    ----------
    source : Source
    fits : PixelFits
    where : slice
        The pixels that are asked for, all of them by default: large images are gone through by blocks.

    Returns
    -------
    dict of str to (p, E) array
        counts, counts_std, areal_density, areal_density_std, areal_density_lod (nm^-2, statistical; the limit
        is `DETECTION_SIGMA` standard errors of a pixel that holds none of the element), atomic_fraction. NaN
        where it cannot be told: too thick, an element below nothing by more than its detection limit (then
        something is in the spectrum that the model lacks), no angles, no exposures.
    """
    where = slice(None) if where is None else where
    fits = fits.part(where)
    with np.errstate(divide="ignore", invalid="ignore"):
        electrons = np.full(len(fits.theta), np.nan)
        low_noise: np.ndarray | float = 0.0
        density = fits.theta / electrons[:, None]
        if not source.density_reason():
            total = source.low.total[where]
            electrons = np.where(total > 0, total, np.nan) * source.exposure_ratio
            density = fits.theta / electrons[:, None]
            low_noise = density**2 * (source.noise.gain / total)[:, None]
        density_std = np.sqrt((fits.theta_std / electrons[:, None]) ** 2 + low_noise)
        limit = DETECTION_SIGMA * fits.theta_zero_std / electrons[:, None]
        sums = fits.theta.sum(1, keepdims=True)
        fraction = np.where(sums > 0, fits.theta / sums, np.nan)
    thick = too_thick(source, fits)
    for values in (density, density_std, limit, fraction):
        values[thick] = np.nan
    fraction[contradicted(fits)] = np.nan
    if source.fraction_reason():
        fraction[:] = np.nan
    return {
        "counts": fits.counts,
        "counts_std": fits.counts_std,
        "areal_density": density,
        "areal_density_std": density_std,
        "areal_density_lod": limit,
        "atomic_fraction": fraction,
    }


def too_thick(source: Source, fits: PixelFits) -> np.ndarray:
    """(p,) bool array: pixels whose plural scattering cannot be corrected."""
    limit = source.config["eels"].get("max_thickness_over_mfp")
    if limit is None:
        return np.zeros(fits.thickness.size, bool)
    with np.errstate(invalid="ignore"):
        return fits.thickness > float(limit)


def contradicted(fits: PixelFits) -> np.ndarray:
    """(p,) bool array: pixels where some element is negative beyond noise and misfit.

    Fractions of the others would then add up to more than one.
    """
    misfit = np.sqrt(np.fmax(fits.chi2, 1.0))[:, None]
    with np.errstate(invalid="ignore"):
        return np.any(fits.theta < -DETECTION_SIGMA * misfit * fits.theta_std, axis=1)
