"""What stands behind the layer as well as beside it: a film of carbon that carries the particle, or ice.

The excess over the level outside is the layer's. The profile has a level outside of its own, so thickness
and presence need nothing but counts that add up, which one design for all pixels gives; sums over the
pixels of a zone hold the film, and are corrected here where it is as thick behind them as beside.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.eels.zones import DETECTION_SIGMA, Quantity, ZoneFit

FloatArray = NDArray[np.float64]

#: Name of the sum over the view beside the layer; it is no zone of the measurements.
BESIDE = "beside"
#: Pixels nearer to the layer's outer edge than this many blurs hold its tail.
CLEAR_BLURS = 3.0
#: Fewer pixels beside the layer than this say nothing about a film.
LEAST_PIXELS = 20
#: A film gives at least this share of the counts that bright pixels hold, so many standard errors above none.
LEAST_SHARE, SURE_SIGMA = 0.1, 5.0


def beside(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    outer_nm: FloatArray,
    blur_nm: float,
    pixel_nm: float,
    reach_nm: float,
    measured: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Pixels clear of the layer, and no further away than `reach_nm`.

    Parameters
    ----------
    distance_nm, segment : (rows, columns) arrays
        Distance from the particle's edge, nearest segment (-1 is left out).
    outer_nm : (n,) array
        Distance of the layer's outer edge from the particle's, by segment; inf where it is not known.
    blur_nm, pixel_nm, reach_nm : float
    measured : (rows, columns) bool array

    Returns
    -------
    (rows, columns) bool array
        All false where too few pixels would be left.
    """
    clear = np.nan_to_num(outer_nm) + CLEAR_BLURS * blur_nm + pixel_nm
    with np.errstate(invalid="ignore"):
        mask = measured & (segment >= 0) & (distance_nm < reach_nm)
        mask &= distance_nm > (clear[np.maximum(segment, 0)] if len(clear) else np.inf)
    return mask if np.count_nonzero(mask) >= LEAST_PIXELS else np.zeros_like(mask)


def stands_beside(values: FloatArray, std: FloatArray, around: NDArray[np.bool_]) -> bool:
    """Whether an element is beside the layer, in counts that matter.

    Parameters
    ----------
    values, std : (rows, columns) arrays
        Counts and their standard deviation.
    around : (rows, columns) bool array
        As `beside` gives it.
    """
    good = around & np.isfinite(values) & np.isfinite(std)
    if np.count_nonzero(good) < LEAST_PIXELS:
        return False
    level = float(values[good].mean())
    error = float(np.sqrt(np.sum(std[good] ** 2)) / np.count_nonzero(good))
    return level > SURE_SIGMA * error and level > LEAST_SHARE * float(np.nanquantile(values, 0.95))


def excess(layer: ZoneFit, around: ZoneFit) -> tuple[ZoneFit, dict[str, float]]:
    """The layer's sums without what stands beside it as well.

    Parameters
    ----------
    layer, around : ZoneFit
        Of the layer's pixels and of those beside it.

    Returns
    -------
    ZoneFit
        Areal densities as excess over the level beside the layer, and atomic fractions from them where a
        film stands there; all else as it was.
    dict of str to float
        Areal density of the elements that do stand beside the layer.
    """
    film = {
        name: around.areal_density[name][0]
        for name, (state, _) in around.status.items()
        if state == "identified" and layer.status.get(name, ("", ""))[0] != "not_identifiable"
    }
    # Tails of the probe are everywhere; what is less than the layer's own error is not worth an error more.
    film = {name: value for name, value in film.items() if value > layer.areal_density[name][1]}
    if not film:
        return layer, {}
    densities, status = dict(layer.areal_density), dict(layer.status)
    for name in film:
        densities[name] = _difference(layer.areal_density[name], around.areal_density[name])
        value, _, _, limit = densities[name]
        note = f"excess over {film[name]:.3g} nm^-2 beside the layer"
        _, before = layer.status[name]
        status[name] = (
            ("identified", "; ".join(filter(None, (before, note))))
            if value > limit
            else ("bounded", f"below the detection limit; {note}")
        )
    fractions, states = _fractions(layer, densities)
    changed = replace(
        layer,
        areal_density=densities,
        status=status,
        atomic_fraction=fractions,
        fraction_status=states,
        density_correlation=_correlation(layer, around, film, densities),
    )
    return changed, film


def without_film(zone: ZoneFit, around: ZoneFit, film: dict[str, float]) -> ZoneFit:
    """Sums of another zone without the film, where it goes on behind it.

    A film of holes may end at the particle. Where less of an element is found than the film alone would give,
    it does, nothing is taken off, and the note says so.

    Parameters
    ----------
    zone, around : ZoneFit
        Of the zone's pixels and of those beside the layer.
    film : dict of str to float
        What `excess` found beside the layer.
    """
    short = [
        name
        for name, level in film.items()
        if zone.areal_density[name][0]
        < level
        - DETECTION_SIGMA * np.hypot(zone.areal_density[name][1], around.areal_density[name][1])
        - zone.areal_density[name][2]
    ]
    if not film:
        return zone
    if short:
        note = f"less than the {'+'.join(short)} that stands beside the layer: no film taken off"
        status = {
            name: (state, "; ".join(filter(None, (why, note))) if name in film else why)
            for name, (state, why) in zone.status.items()
        }
        return replace(zone, status=status)
    return excess(zone, around)[0]


def _difference(own: Quantity, other: Quantity) -> Quantity:
    """Own minus other: counting errors add, that of the cross-section goes with the value."""
    value = own[0] - other[0]
    scale = own[2] / own[0] if own[0] > 0 else 0.0
    # That film and fit behind the layer are as beside it is known to the systematic error of the film.
    systematic = float(np.hypot(scale * value, other[2]))
    counting = float(np.hypot(own[1], other[1]))
    return value, counting, systematic, float(np.hypot(own[3], DETECTION_SIGMA * other[1]))


def _correlation(
    layer: ZoneFit, around: ZoneFit, film: dict[str, float], densities: dict[str, Quantity]
) -> dict[str, dict[str, float]]:
    """Correlation of the errors of an excess: covariances of both places add up where both were taken."""

    def covariance(zone: ZoneFit, a: str, b: str) -> float:
        return (
            zone.density_correlation.get(a, {}).get(b, 0.0)
            * zone.areal_density[a][1]
            * zone.areal_density[b][1]
        )

    found: dict[str, dict[str, float]] = {}
    for a, row in layer.density_correlation.items():
        for b in row:
            joint = covariance(layer, a, b)
            joint += covariance(around, a, b) if a in film and b in film else 0.0
            found.setdefault(a, {})[b] = joint / (densities[a][1] * densities[b][1])
    return found


def _fractions(layer: ZoneFit, densities: dict[str, Quantity]):
    """Shares of the excess; errors of the elements taken as independent."""
    names = [
        name
        for name, (state, _) in layer.fraction_status.items()
        if state != "not_identifiable" and np.isfinite(densities.get(name, (np.nan,))[0])
    ]
    value = np.array([densities[name][0] for name in names])
    total = value.sum() if len(names) else 0.0
    if len(names) < 2 or total <= 0:
        return layer.atomic_fraction, layer.fraction_status
    fractions, states = dict(layer.atomic_fraction), dict(layer.fraction_status)
    gradient = (np.eye(len(names)) - value / total) / total
    errors = [
        np.sqrt(np.sum((gradient.T * [densities[name][which] for name in names]) ** 2, axis=1))
        for which in (1, 2)
    ]
    for i, name in enumerate(names):
        limit = densities[name][3] / total
        share = float(value[i] / total)
        fractions[name] = (share, float(errors[0][i]), float(errors[1][i]), float(limit))
        note = layer.fraction_status[name][1] + "; of the excess over what stands beside the layer"
        states[name] = ("identified" if share > limit else "bounded", note)
    return fractions, states
