"""How thin a layer an image can still deny: the terms of its detection limit."""

from __future__ import annotations

import math

from ceiflow.units import electron_wavelength_nm

# One-sided 5 % errors of both kinds: 2 x 1.645.
DETECTION_SIGMA = 3.29
UNKNOWN_DEFOCUS = "defocus unknown: absence is not claimable"


def detection_limit(
    defocus_nm: float | None,
    beam_energy_keV: float | None,
    spacing_nm: float,
    window_nm: float,
    tilt_mrad: float = 0.0,
    minimum_depth_nm: float = 0.0,
    pristine_sd_nm: float | None = None,
    n_pristine: int | None = None,
) -> dict:
    """Thinnest layer that an image of these settings can tell from none.

    The largest of the terms is the limit; the scatter of pristine gaps, where known, enters as
    3.29 standard deviations, and the limit grows by sqrt(1 + 1/n) for the bias measured on n of them.

    Parameters
    ----------
    defocus_nm : float or None
        Distance from focus; its sign does not matter.
    beam_energy_keV : float or None
        Beam energy, for the wavelength.
    spacing_nm : float
        The lattice spacing whose fringes end at the particle's edge; the smallest one that was used.
    window_nm : float
        Full width of the window in which the lattice amplitude was measured; half of it is a term.
    tilt_mrad : float
        Facet tilt against the beam that is allowed for.
    minimum_depth_nm : float
        Depth of crystal below which its fringes are not seen: a tilted facet recedes by depth x tan(tilt).
    pristine_sd_nm : float or None
        Standard deviation of the gap over pristine acquisitions at like defocus.
    n_pristine : int or None
        How many of them there were.

    Returns
    -------
    dict
        `fresnel_nm`, `delocalisation_nm`, `window_nm`, `tilt_nm`, `pristine_nm` (None where not known),
        `factor`, `total_nm` (None where absence cannot be claimed), `reason` ("" or why).
    """
    known = defocus_nm is not None and math.isfinite(defocus_nm)
    energy = beam_energy_keV is not None and math.isfinite(beam_energy_keV) and beam_energy_keV > 0
    terms: dict = {"fresnel_nm": None, "delocalisation_nm": None}
    if known and energy:
        wavelength = electron_wavelength_nm(beam_energy_keV)
        terms["fresnel_nm"] = math.sqrt(wavelength * abs(defocus_nm))
        terms["delocalisation_nm"] = wavelength * abs(defocus_nm) / spacing_nm
    terms["window_nm"] = window_nm / 2
    terms["tilt_nm"] = minimum_depth_nm * math.tan(tilt_mrad * 1e-3)
    terms["pristine_nm"] = DETECTION_SIGMA * pristine_sd_nm if pristine_sd_nm is not None else None
    factor = math.sqrt(1 + 1 / n_pristine) if n_pristine else 1.0
    reason = ""
    if not known:
        reason = UNKNOWN_DEFOCUS
    elif not energy:
        reason = "beam energy unknown: absence is not claimable"
    total = None if reason else factor * max(value for value in terms.values() if value is not None)
    return {**terms, "factor": factor, "total_nm": total, "reason": reason}
