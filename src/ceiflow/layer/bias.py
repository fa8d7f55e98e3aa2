"""What bare particles say of the gap: its bias at like settings, and how sure that is.

The gap of a bare particle is not quite zero: the two edges are drawn in fields of different windows, and
their Fresnel and delocalisation corrections leave a rest. Pristine images of like settings measure it. Few of
them know little: the mean is drawn towards zero by the width that the rest has without any calibration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Images calibrate another one if their defocus differs by less than this, or by this share of it.
LIKE_DEFOCUS_NM, LIKE_DEFOCUS_SHARE = 30.0, 0.3
#: Their smallest spacings agree to this share.
LIKE_SPACING = 0.3
#: Standard deviation of the gap of bare particles about zero without any calibration, in nm: a mean part,
#: which pristine images can take away, and a scatter from image to image, which they can only measure.
BIAS_NM, SCATTER_NM = 0.35, 0.25
#: The scatter is known beforehand as well as from this many degrees of freedom.
PRIOR_FREEDOM = 3.0
#: An image this many deviations from the median of all counts as if it stood there.
FAR = 2.5
#: Under a layer the outer edge is the layer's own, not the crystal's: so much of the bare particles' bias is
#: taken off, and as much as is left on stands in the error.
TRANSFERRED = 0.5
#: Share of the Fresnel length and of the displacement of fringes that their corrections may leave.
FRESNEL_SHARE, DISPLACED_SHARE = 0.25, 0.2


@dataclass(frozen=True)
class Bias:
    """Gap of bare particles at the settings of an image, in nm.

    Parameters
    ----------
    offset_nm, offset_sd_nm : float
        What is taken off, and how sure that is.
    kept_nm : float
        Part of the mean that may be the crystal's outer edge alone, and is not taken off.
    scatter_nm : float
        Standard deviation of an image's mean about it.
    segment_nm : float
        Standard deviation of segments within an image.
    n : int
        Pristine images behind it.
    """

    offset_nm: float
    offset_sd_nm: float
    kept_nm: float
    scatter_nm: float
    segment_nm: float
    n: int

    @property
    def bare_nm(self) -> float:
        """Spread of the gaps of bare segments after the correction. It holds what few images do not know."""
        terms = (self.offset_sd_nm, self.kept_nm, self.scatter_nm, self.segment_nm)
        return float(np.hypot.reduce(terms))


def calibrate(
    entries: list[dict],
    defocus_nm: float | None,
    spacing_nm: float,
    patchy: bool,
) -> Bias:
    """Bias from pristine images at like defocus, spacing and kind of crystal.

    Parameters
    ----------
    entries : list of dict
        From `read`.
    defocus_nm : float or None
        Of the image to be corrected; without it none is alike.
    spacing_nm : float
        Smallest lattice spacing used.
    patchy : bool
        Whether its fringes come in patches (turbostratic carbon).

    Returns
    -------
    Bias
        With n = 0 where no image is alike: nothing is known but the prior.
    """
    alike = [
        entry
        for entry in entries
        if defocus_nm is not None
        and _like_defocus(entry["defocus_nm"], defocus_nm)
        and abs(np.log(entry["spacing_nm"] / spacing_nm)) < LIKE_SPACING
        and entry["patchy"] == patchy
    ]
    gaps = np.array([entry["gap_nm"] for entry in alike])
    n = len(gaps)
    if n == 0:
        return Bias(0.0, BIAS_NM, 0.0, SCATTER_NM, 0.0, 0)
    middle = float(np.median(gaps))
    usual = max(1.4826 * float(np.median(np.abs(gaps - middle))), SCATTER_NM)
    gaps = np.clip(gaps, middle - FAR * usual, middle + FAR * usual)
    squares = float(np.sum((gaps - gaps.mean()) ** 2)) + PRIOR_FREEDOM * SCATTER_NM**2
    scatter = float(np.sqrt(squares / (PRIOR_FREEDOM + n - 1)))
    weight = n / scatter**2
    sure = weight + 1 / BIAS_NM**2
    segment = float(np.sqrt(np.median([entry["sd_nm"] ** 2 for entry in alike])))
    mean = weight * float(gaps.mean()) / sure
    return Bias(
        offset_nm=TRANSFERRED * mean,
        offset_sd_nm=float(1 / np.sqrt(sure)),
        kept_nm=(1 - TRANSFERRED) * abs(mean),
        scatter_nm=scatter,
        segment_nm=segment,
        n=n,
    )


def _like_defocus(one: float, other: float) -> bool:
    allowed = max(LIKE_DEFOCUS_NM, LIKE_DEFOCUS_SHARE * abs(other))
    return abs(abs(one) - abs(other)) <= allowed


def read(summaries: list[Path]) -> list[dict]:
    """What summaries of pristine images say of their gap; those without one or without defocus left out."""
    entries = []
    for path in summaries:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        layer = content.get("layer") or {}
        defocus = (content.get("metadata") or {}).get("defocus_nm", {}).get("value")
        spacing = (layer.get("lattice") or {}).get("smallest_spacing_nm")
        if defocus is None or spacing is None or layer.get("gap_median_nm") is None:
            continue
        entries.append(
            {
                "defocus_nm": float(defocus),
                "spacing_nm": float(spacing),
                "patchy": bool(layer.get("patchy")),
                "gap_nm": float(layer["gap_median_nm"]),
                "sd_nm": float(layer["gap_sd_nm"]),
            }
        )
    return entries


def systematic_terms(bias: Bias, limit: dict, hull_nm: float = 0.0) -> dict[str, float]:
    """What may be wrong with the mean gap of one image, one standard deviation each, in nm.

    Parameters
    ----------
    bias : Bias
    limit : dict
        From `images.detection_limit`: `fresnel_nm`, `delocalisation_nm`.
    hull_nm : float
        How far the convex hull of patches may be from the surface.

    Returns
    -------
    dict
        `pristine_mean`, `image_scatter`, `fresnel`, `delocalisation`, `hull`.
    """
    return {
        "pristine_mean": float(np.hypot(bias.offset_sd_nm, bias.kept_nm)),
        "image_scatter": bias.scatter_nm,
        "fresnel": FRESNEL_SHARE * (limit["fresnel_nm"] or 0.0),
        "delocalisation": DISPLACED_SHARE * (limit["delocalisation_nm"] or 0.0),
        "hull": hull_nm,
    }
