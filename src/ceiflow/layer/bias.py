"""What bare particles say of the gap: its bias at like settings, and how sure that is.

The gap of a bare particle is not quite zero. Multislice images of slabs with known edges
(`benchmarks/layer/multislice.py`, set `calibration`) show where that comes from: the matter edge is within
0.05 nm of the outermost atoms, of crystal and of amorphous carbon alike, and the lattice's edge is off by
what the table below says, under a coating as on a bare facet. Pristine images of a study may have more of
it: what they share with the simulated ones is the lens's and is taken off of every gap. Of the rest nobody
knows whether it is the lattice's, and stays under a layer, or the bare surface's (roughness, a damaged
skin), and does not: any share from none to all of it is as likely, so half of it is taken off, with the
standard deviation of that uniform distribution. Presence is judged against the bare particles themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ceiflow.images.limits import detection_limit

#: Images calibrate another one if their defocus differs by less than this, or by this share of it.
LIKE_DEFOCUS_NM, LIKE_DEFOCUS_SHARE = 30.0, 0.3
#: Their smallest spacings agree to this share.
LIKE_SPACING = 0.3
#: Bare facets in multislice images: defocus; mean gap; its standard deviation between slabs; difference of
#: the mean gap's error under coatings of 2 to 10 nm from that of bare facets. All in nm, 300 kV, doses of
#: 400 and 2000 e/A^2 (between which the gap differs by 0.03 nm). From `multislice.py table`.
SIMULATED_NM = np.array(
    [
        [40.0, -0.13, 0.11, 0.07],
        [80.0, 0.03, 0.13, 0.08],
        [150.0, -0.19, 0.10, 0.07],
        [300.0, -0.68, 0.47, -0.21],
    ]
)
#: Share of the displacement of fringes that its correction leaves: root mean square of the gaps above over
#: the displacements there. Share of the Fresnel length: 0.05 nm at 0.4 nm.
DISPLACED_SHARE, FRESNEL_SHARE = 0.2, 0.12
#: Slabs behind every line of it: bare ones, and with a coating.
SIMULATED_BARE = 6
#: Depth of the thinnest of these slabs, whose fringes were found to the edge: a tilted facet hides no more.
LEAST_DEPTH_NM = 4.0
#: Amorphous carbon 4 to 8 nm deep was found from these doses on (e/A^2); between the two values of defocus
#: the logarithm is interpolated. Phase contrast of coarse texture grows with the defocus.
LEAST_DOSE = ((40.0, 400.0), (80.0, 100.0))


@dataclass(frozen=True)
class Bias:
    """Gap of bare particles at the settings of an image, in nm.

    Parameters
    ----------
    offset_nm, offset_sd_nm : float
        What is taken off, and its standard error.
    left_nm : float
        Mean gap of bare particles after that.
    scatter_nm : float
        Standard deviation of an image's mean about it.
    segment_nm : float
        Standard deviation of segments within an image.
    transfer_nm : float
        What the bias under a layer may differ by from that of a bare particle.
    n : int
        Pristine images behind it; 0: it is that of simulated images.
    """

    offset_nm: float
    offset_sd_nm: float
    left_nm: float
    scatter_nm: float
    segment_nm: float
    transfer_nm: float
    n: int

    @property
    def bare_nm(self) -> float:
        """Standard deviation of the gaps of bare segments, between images and within them."""
        return float(np.hypot(self.scatter_nm, self.segment_nm))

    @property
    def n_behind(self) -> int:
        """Images, measured or simulated, that the offset is the mean of."""
        return self.n or SIMULATED_BARE


def calibrate(
    entries: list[dict],
    defocus_nm: float | None,
    spacing_nm: float,
    patchy: bool,
) -> Bias:
    """Bias from pristine images at like defocus, spacing and kind of crystal, else from simulated ones.

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

    Notes
    -----
    The scatter between images is pooled from those at hand and the simulated ones, each with its degrees of
    freedom: two or three pristine images alone would know nothing of it.
    """
    mean, spread, transfer = simulated(defocus_nm)
    alike = [
        entry
        for entry in entries
        if defocus_nm is not None
        and _like_defocus(entry["defocus_nm"], defocus_nm)
        and abs(np.log(entry["spacing_nm"] / spacing_nm)) < LIKE_SPACING
        and entry["patchy"] == patchy
    ]
    n = len(alike)
    if n == 0:
        return Bias(mean, spread / np.sqrt(SIMULATED_BARE), 0.0, spread, 0.0, transfer, 0)
    gaps = np.array([entry["gap_nm"] for entry in alike])
    squares = float(np.sum((gaps - gaps.mean()) ** 2)) + (SIMULATED_BARE - 1) * spread**2
    scatter = float(np.sqrt(squares / (SIMULATED_BARE - 1 + n - 1)))
    segment = float(np.sqrt(np.mean([entry["sd_nm"] ** 2 for entry in alike])))
    rest = float(gaps.mean()) - mean
    return Bias(
        offset_nm=mean + rest / 2,
        offset_sd_nm=float(scatter / np.sqrt(n)),
        left_nm=rest / 2,
        scatter_nm=scatter,
        segment_nm=segment,
        transfer_nm=float(np.hypot(transfer, rest / np.sqrt(12))),
        n=n,
    )


def simulated(defocus_nm: float | None) -> tuple[float, float, float]:
    """Mean gap of bare facets, its scatter, and the part that may not hold under a coating.

    Linear in the defocus between simulated values; beyond them the last one grows with the defocus, as the
    displacement of fringes does. Without a defocus the scatter over all of them is all that is known.
    """
    nodes, bias, spread, transfer = SIMULATED_NM.T
    if defocus_nm is None:
        return 0.0, float(np.sqrt(np.mean(bias**2 + spread**2))), float(np.abs(transfer).max())
    distance = abs(defocus_nm)
    beyond = max(1.0, distance / nodes[-1])
    parts = (np.interp(distance, nodes, column) * beyond for column in (bias, spread, np.abs(transfer)))
    return tuple(float(part) for part in parts)


def least_dose(defocus_nm: float) -> float:
    """Dose in e/A^2 from which amorphous carbon shows in simulated images at this defocus."""
    defoci, doses = np.array(LEAST_DOSE).T
    return round(float(np.exp(np.interp(abs(defocus_nm), defoci, np.log(doses)))), 3)


def limit_of(
    bias: Bias,
    defocus_nm: float | None,
    beam_energy_keV: float | None,
    spacing_nm: float,
    window_nm: float,
    tilt_mrad: float,
    hull_nm: float,
    dose_e_per_A2: float | None,
) -> dict:
    """Detection limit of an image: `images.detection_limit` with the scatter of bare particles.

    Their mean gap, where the correction leaves some of it, is added: `bare_mean_nm`.

    Parameters
    ----------
    hull_nm : float
        How far the outline of patches may be from the surface; adds to the scatter.
    dose_e_per_A2 : float or None
        Below `least_dose` absence is not claimable.
    """
    limit = detection_limit(
        defocus_nm,
        beam_energy_keV,
        spacing_nm,
        window_nm,
        tilt_mrad,
        LEAST_DEPTH_NM,
        pristine_sd_nm=float(np.hypot(bias.bare_nm, hull_nm)),
        n_pristine=bias.n_behind,
    )
    limit["bare_mean_nm"] = max(bias.left_nm, 0.0)
    if limit["total_nm"] is not None:
        limit["total_nm"] += limit["bare_mean_nm"]
    if not limit["reason"] and dose_e_per_A2 is not None and dose_e_per_A2 < least_dose(defocus_nm):
        least = least_dose(defocus_nm)
        limit["total_nm"] = None
        limit["reason"] = (
            f"{dose_e_per_A2:.3g} e/A^2 are too few at this defocus for amorphous carbon to show "
            f"(from {least:.3g} on): absence is not claimable"
        )
    return limit


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
        From `limit_of`: `fresnel_nm`, `delocalisation_nm`.
    hull_nm : float
        How far the outline of patches may be from the surface.

    Returns
    -------
    dict
        `bias` (standard error of what is taken off), `image_scatter`, `transfer`, `fresnel`,
        `delocalisation`, `hull`.
    """
    return {
        "bias": bias.offset_sd_nm,
        "image_scatter": bias.scatter_nm,
        "transfer": bias.transfer_nm,
        "fresnel": FRESNEL_SHARE * (limit["fresnel_nm"] or 0.0),
        "delocalisation": DISPLACED_SHARE * (limit["delocalisation_nm"] or 0.0),
        "hull": hull_nm,
    }
