"""How much a layer gives in each map: from the profile where that tells, from dense matter where it does not.

The width of a profile tells a layer's thickness only where the layer is thicker than the blur. Below, nothing
but amplitude times thickness is in the data, and a free amplitude drifts to whatever the noise likes: the
thickness of thin layers is then biased upwards, since only large values pass for layers. Both are therefore
combined: the amplitude that the profile gives, with its error, and the one of dense matter, with the spread
of what layers are made of. A thick layer hangs on the first, a thin one on the second, and is then an
equivalent thickness at the density of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import profile as _p
from ceiflow.layer.batch import Fit
from ceiflow.layer.profile import Species

FloatArray = NDArray[np.float64]

#: Relative error of the blur between the particle's edge and the layer's.
BLUR_RELATIVE_SD = 0.08
#: Spread (of the logarithm) of what dense layers give: 17 carbon atoms per nm^3 in Li2CO3, 24 in alkyl
#: carbonates of 1.6 g/cm^3, 33 in polyethers of 1.2 g/cm^3; less where they are mixed with salts.
COMPOSITION_LOG_SD = 0.4
#: The particle's density and the relative cross-sections, by which that is turned into counts.
REFERENCE_RELATIVE_SD = 0.25


@dataclass(frozen=True)
class Amplitude:
    """The amplitudes that a thickness is taken with.

    Parameters
    ----------
    values : (S,) array
        Counts per pixel in the layer, by species.
    from_profile : float
        Weight of the profile against dense matter, between 0 and 1.
    relative_sys : float
        Relative error of all thicknesses that more counts would not mend.
    """

    values: FloatArray
    from_profile: float
    relative_sys: float


def prior_sd() -> float:
    """Relative error of the amplitude of dense matter."""
    return float(np.hypot(COMPOSITION_LOG_SD, REFERENCE_RELATIVE_SD))


def shape_error(blur_nm: float, thickness_nm: float) -> float:
    """Relative error of a thickness, and of the amplitude, from a blur that is no Gaussian of one width.

    The width of a thin layer is what its profile is wider than the blur: t^2 / 12 + w^2. Where w is wrong by
    some percent, the thickness is wrong by 12 w^2 / t as often, and the amplitude the other way.
    """
    return float(12 * BLUR_RELATIVE_SD * (blur_nm / max(thickness_nm, 1e-3)) ** 2)


def combined(joint: Fit, particle: Fit, species: list[Species], thickness_nm: float) -> Amplitude | None:
    """Amplitudes from the profile and from dense matter, each with the weight that its error gives it.

    Parameters
    ----------
    joint : Fit
        Of the covered segments, blur and amplitudes free.
    particle : Fit
        The particle's own edge: its step is what dense matter is compared with.
    species : list of Species
    thickness_nm : float
        Of the layer, as far as it is known.

    Returns
    -------
    Amplitude or None
        None where what dense matter would give is not known.
    """
    step = _p.particle_step(particle, species)
    used = [s for s, item in enumerate(species) if item.in_layer and item.dense_ratio and step > 0]
    dense = {s: species[s].dense_ratio * step for s in used}
    expected = sum((species[s].reference_ratio or 0.0) * step / dense[s] for s in used)
    if expected <= 0:
        return None
    names = [f"amplitude:{s}" for s in used]
    gradient = np.array(
        [1 / dense[used[names.index(name)]] if name in names else 0.0 for name in joint.shared_names]
    )
    filling = sum(joint.amplitude[s] / dense[s] for s in used)
    if filling <= 0:
        return None
    counting = float(np.sqrt(max(gradient @ joint.shared_covariance @ gradient, 0.0))) / filling
    shape = shape_error(joint.blur, thickness_nm)
    of_profile, of_matter = counting**2 + shape**2, prior_sd() ** 2
    weight = of_matter / (of_profile + of_matter)
    factor = (expected / filling) ** (1 - weight)
    systematic = np.hypot(weight * shape, (1 - weight) * prior_sd())
    return Amplitude(joint.amplitude * factor, float(weight), float(systematic))


def reference_amplitude(fitted: Fit, species: list[Species]) -> FloatArray:
    """Amplitudes of the reference layer on this particle; 0 for species without a reference."""
    step_height = _p.particle_step(fitted, species)
    return np.array([max(step_height, 0.0) * (item.reference_ratio or 0.0) for item in species])


def filling(fitted: Fit, species: list[Species]) -> float:
    """Amplitudes relative to dense material, summed over species; NaN without any such ratio."""
    parts = fillings(fitted, species)
    return float(sum(parts.values())) if parts else float("nan")


def fillings(fitted: Fit, species: list[Species]) -> dict[str, float]:
    """Amplitude relative to dense material, by species; those without such a ratio are left out."""
    step_height = _p.particle_step(fitted, species)
    return {
        item.name: float(fitted.amplitude[s] / (item.dense_ratio * step_height))
        for s, item in enumerate(species)
        if item.dense_ratio and item.in_layer and step_height > 0
    }
