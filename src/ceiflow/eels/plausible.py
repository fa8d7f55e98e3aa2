"""Whether areal densities and t/lambda of the same pixels can be those of a solid.

Both go with the thickness, so their ratio tells a mass density without knowing it: mass per area is density
times thickness, and the mean free path follows from the density as well. A wrong exposure of the core loss or
of the low loss scales all areal densities and nothing else; so does a wrong gain of one of two detectors.
Nothing is said where densities or t/lambda are not told, and no number is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ceiflow.eels.mean_free_path import NUMBERS, iakoubovskii_nm

if TYPE_CHECKING:
    from ceiflow.eels.zones import ZoneFit

# g cm^-3 of what electrodes, their layers and ice are made of (CRC Handbook of Chemistry and Physics): with
# metals of the third period and later from LiFePO4 (3.6) to NiO (6.7), without from polyethylene and ice
# (0.92) to corundum (4.0).
HEAVY_G_PER_CM3 = (3.6, 6.7)
LIGHT_G_PER_CM3 = (0.92, 4.0)
# What the errors of the number allow. Cross-sections and mean free paths are known to 15 to 30 %, which is a
# factor below 2; downwards hydrogen and lithium come in, which no fit sees: 27 % of the mass of LiF.
LARGEST, SMALLEST = 2.0, 0.3
# 1e-21 g nm^-2 of one dalton per nm^2, so that it is g cm^-3 times nm.
DALTON = 1.66053907e-3
# Scandium is the first metal that the range of oxides is for.
FIRST_METAL, METAL_SHARE = 21, 0.25
#: What rows of areal densities say then.
IN_DOUBT = "exposure or gain in doubt, see qc_reason"
UNSEEN = ("Li",)
LEAST_THICKNESS, SIGMA = 0.05, 3.29


def implied_density(mass: float, thickness_over_mfp: float, setting: tuple[float, float, float]) -> float:
    """Mass density of a solid of so much mass per area and so many mean free paths.

    Parameters
    ----------
    mass : float
        Mass per area in g cm^-3 nm.
    thickness_over_mfp : float
    setting : (float, float, float)
        Beam energy in keV, semi-angles of convergence and collection in mrad.

    Returns
    -------
    float
        g cm^-3.

    Notes
    -----
    Solves rho * lambda(rho) = mass / (t/lambda) with the mean free path of Iakoubovskii et al. 2008; the left
    side grows with the density, about as its power 0.7.
    """
    low, high = 1e-4, 1e4
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        if middle * iakoubovskii_nm(middle, *setting) > mass / thickness_over_mfp:
            high = middle
        else:
            low = middle
    return float(np.sqrt(low * high))


def implausible(fits: Mapping[str, ZoneFit], metadata: Mapping[str, Any]) -> str:
    """Why areal densities cannot be right; empty where they can, or where nothing can be said.

    Parameters
    ----------
    fits : mapping of zone to ZoneFit
        The particle is asked, else the layer, else the whole, whichever has a t/lambda first.
    metadata : mapping of str to ceiflow.study.metadata.Value
    """
    names = ("beam_energy_keV", "convergence_mrad", "collection_mrad")
    items = [metadata.get(name) for name in names]
    zone = next((name for name in ("particle", "layer", "all") if name in fits and _told(fits[name])), None)
    if zone is None or any(item is None or item.value is None for item in items):
        return ""
    fit, setting = fits[zone], tuple(float(item.value) for item in items)
    least, most, metals, complete = _masses(fit)
    bounds = HEAVY_G_PER_CM3 if metals > METAL_SHARE * least > 0 else LIGHT_G_PER_CM3
    # Vacuum has no part in t/lambda of a whole image, and in areal densities it has.
    matter = fit.thickness_over_mfp[0] * (1.0 - fit.vacuum_pixels / fit.n)
    found = implied_density(least, matter, setting) if least > 0 else 0.0
    if found <= LARGEST * bounds[1]:
        found = implied_density(most, matter, setting)
        if not complete or found >= SMALLEST * bounds[0]:
            return ""
    elements = "" if found > bounds[1] else ", or most of it is of elements that are not chosen"
    return (
        f"areal densities and t/lambda of zone {zone} would be those of {found:.2g} g/cm^3, where its "
        f"elements make solids of {bounds[0]:g} to {bounds[1]:g}: exposure_s or low_loss_exposure_s is "
        f"wrong, or a gain{elements}"
    )


def _told(fit: ZoneFit) -> bool:
    """Whether a zone has matter by its t/lambda, and densities of it."""
    thickness, *errors = fit.thickness_over_mfp
    seen = thickness > max(LEAST_THICKNESS, SIGMA * float(np.hypot(*errors)))
    return bool(seen) and any(state != "not_identifiable" for state, _ in fit.status.values())


def _masses(fit: ZoneFit) -> tuple[float, float, float, bool]:
    """Mass per area at least and at most, what of it is metals, and whether every element was in view."""
    import xraylib

    least, most, metals, complete = 0.0, 0.0, 0.0, True
    for element, (value, statistical, _, lod) in fit.areal_density.items():
        state = fit.status[element][0]
        if state == "not_identifiable":
            complete &= element in UNSEEN
            continue
        weight = xraylib.AtomicWeight(NUMBERS[element]) * DALTON
        error = SIGMA * statistical
        if state == "bounded":
            most += weight * max(lod, value + error)
            continue
        least += weight * max(value - error, 0.0)
        most += weight * (value + error)
        metals += weight * value * (NUMBERS[element] >= FIRST_METAL)
    return least, most, metals, complete
