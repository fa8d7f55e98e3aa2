"""How much a layer gives in each map: from the profile where that tells, from dense matter where it does not.

The width of a profile tells a layer's thickness only where the layer is thicker than the blur. Below, nothing
but amplitude times thickness is in the data, and a free amplitude drifts to whatever the noise likes: the
thickness of thin layers is then biased upwards, since only large values pass for layers. Both are therefore
combined: the amplitude that the profile gives, with its error, and the one of dense matter, with the spread
of what layers are made of. A thick layer hangs on the first, a thin one on the second, and is then an
equivalent thickness at the density of the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import profile as _p
from ceiflow.layer.batch import THICKNESS, Fit, linear_columns
from ceiflow.layer.profile import Species

FloatArray = NDArray[np.float64]

#: Relative error of the blur between the particle's edge and the layer's.
BLUR_RELATIVE_SD = 0.08
#: Spread (of the logarithm) of what dense layers give: 17 carbon atoms per nm^3 in Li2CO3, 24 in alkyl
#: carbonates of 1.6 g/cm^3, 33 in polyethers of 1.2 g/cm^3; less where they are mixed with salts.
COMPOSITION_LOG_SD = 0.4
#: The particle's density and the relative cross-sections, by which that is turned into counts.
REFERENCE_RELATIVE_SD = 0.25
#: Below this many blurs a layer's likelihood is skew: thicker and fainter fits almost as well, and so does
#: thinner and denser at a wider blur.
THIN_BLURS = 4.0
#: The logarithm of the amplitude is then looked at in such steps, so far about the fit and dense matter.
LOG_STEP, LOG_REACH, FARTHEST_LOG = 0.2, 1.0, 3.0

#: A film behind the particle loses less than this share of its counts where the particle is.
LEAST_DROP = 0.5


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
    blur_nm : float
        That goes with these amplitudes.
    shared_covariance : (H, H) array
        Statistical covariance of blur and amplitudes, in the order of the fit that they come from.
    """

    values: FloatArray
    from_profile: float
    relative_sys: float
    blur_nm: float
    shared_covariance: FloatArray


@dataclass(frozen=True)
class Looked:
    """How well multiples of the fitted amplitudes describe the segments, blur and thickness at their best.

    Parameters
    ----------
    log_factor, chi2, blur_nm : (G,) arrays
        chi-square in units of the noise.
    """

    log_factor: FloatArray
    chi2: FloatArray
    blur_nm: FloatArray

    def spread(self) -> float:
        """Standard deviation of the logarithm of the amplitude, by the profile alone."""
        weight = np.exp(-0.5 * (self.chi2 - self.chi2.min()))
        mean = weight @ self.log_factor / weight.sum()
        step = self.log_factor[1] - self.log_factor[0]
        return float(np.sqrt(weight @ (self.log_factor - mean) ** 2 / weight.sum() + step**2 / 12))

    def with_prior(self, mean: float, sd: float, shape: float) -> tuple[float, float]:
        """Mean and standard deviation with what is known beforehand.

        Parameters
        ----------
        mean, sd : float
            Of the logarithm, by dense matter.
        shape : float
            The profile's systematic error.
        """
        cooled = (self.chi2 - self.chi2.min()) / (1 + (shape / self.spread()) ** 2)
        grid = np.linspace(self.log_factor[0], self.log_factor[-1], 261)
        likelihood = np.interp(grid, self.log_factor, cooled)
        weight = np.exp(-0.5 * likelihood - 0.5 * ((grid - mean) / sd) ** 2)
        # Amplitude goes against thickness, and the mean is to be that of the thickness.
        value = -np.log(weight @ np.exp(-grid) / weight.sum())
        return float(value), float(np.sqrt(weight @ (grid - value) ** 2 / weight.sum()))


def look(refit: Callable[[Fit], Fit], joint: Fit, matter: float, inflation: float) -> Looked:
    """Fits with the amplitudes held at multiples of what they were fitted to.

    Parameters
    ----------
    refit : callable
        Fits everything but the amplitudes, from a given start.
    joint : Fit
    matter : float
        Logarithm of the amplitudes of dense matter over the fitted ones.
    inflation : float
        Factor on standard deviations.
    """
    matter = float(np.clip(matter, -FARTHEST_LOG, FARTHEST_LOG))
    ends = min(matter, 0.0) - LOG_REACH, max(matter, 0.0) + LOG_REACH
    logs = LOG_STEP * np.arange(np.floor(ends[0] / LOG_STEP), np.ceil(ends[1] / LOG_STEP) + 1)
    chi2, blur = np.zeros(len(logs)), np.zeros(len(logs))
    for side in (np.flatnonzero(logs <= 0)[::-1], np.flatnonzero(logs > 0)):
        fitted, before = joint, 0.0
        for i in side:
            # Amount stays: a start with less amplitude is a thicker layer.
            factor = np.exp(logs[i] - before)
            local = fitted.local.copy()
            local[:, THICKNESS] /= factor
            fitted = refit(replace(fitted, local=local, amplitude=fitted.amplitude * factor))
            before, chi2[i], blur[i] = logs[i], fitted.chi2.sum() / inflation**2, fitted.blur
    return Looked(logs, chi2, blur)


def prior_sd() -> float:
    """Relative error of the amplitude of dense matter."""
    return float(np.hypot(COMPOSITION_LOG_SD, REFERENCE_RELATIVE_SD))


def shape_error(blur_nm: float, thickness_nm: float) -> float:
    """Relative error of a thickness, and of the amplitude, from a blur that is no Gaussian of one width.

    The width of a thin layer is what its profile is wider than the blur: t^2 / 12 + w^2. Where w is wrong by
    some percent, the thickness is wrong by 12 w^2 / t as often, and the amplitude the other way.
    """
    return float(12 * BLUR_RELATIVE_SD * (blur_nm / max(thickness_nm, 1e-3)) ** 2)


def against_matter(
    joint: Fit, particle: Fit, species: list[Species]
) -> tuple[float, float, dict[int, float]] | None:
    """How the fitted amplitudes compare with dense matter; None where what that would give is not known.

    Returns
    -------
    filling : float
        Amplitudes relative to the densest matter, summed over species.
    matter : float
        Logarithm of the reference's amplitudes over the fitted ones.
    dense : dict of int to float
        Amplitude of the densest matter by species.
    """
    step = _p.particle_step(particle, species)
    used = [s for s, item in enumerate(species) if item.in_layer and item.dense_ratio and step > 0]
    dense = {s: species[s].dense_ratio * step for s in used}
    expected = sum((species[s].reference_ratio or 0.0) * step / dense[s] for s in used)
    filling = sum(joint.amplitude[s] / dense[s] for s in used)
    if expected <= 0 or filling <= 0:
        return None
    return float(filling), float(np.log(expected / filling)), dense


def combined(
    joint: Fit, particle: Fit, species: list[Species], thickness_nm: float, looked: Looked | None = None
) -> Amplitude | None:
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
    looked : Looked, optional
        The profile's likelihood, where it is no Gaussian.

    Returns
    -------
    Amplitude or None
        None where what dense matter would give is not known.
    """
    held = against_matter(joint, particle, species)
    if held is None:
        return None
    filling, matter, dense = held
    used = list(dense)
    names = [f"amplitude:{s}" for s in used]
    gradient = np.array(
        [1 / dense[used[names.index(name)]] if name in names else 0.0 for name in joint.shared_names]
    )
    counting = float(np.sqrt(max(gradient @ joint.shared_covariance @ gradient, 0.0))) / filling
    shape = shape_error(joint.blur, thickness_nm)
    prior = prior_sd()
    if looked is None:
        weight = prior**2 / (counting**2 + shape**2 + prior**2)
        log_factor, blur, left, slope = (1 - weight) * matter, joint.blur, None, 0.0
    else:
        log_factor, left = looked.with_prior(matter, prior, shape)
        weight = float(np.clip(1 - (left / prior) ** 2, 0.0, 1.0))
        blur = float(np.interp(log_factor, looked.log_factor, looked.blur_nm))
        slope = float(np.interp(log_factor, looked.log_factor, np.gradient(looked.blur_nm, LOG_STEP)))
    systematic = float(np.hypot(weight * shape, (1 - weight) * prior))
    values = joint.amplitude * np.exp(log_factor)
    if left is None:
        share = np.array([1.0 if name == "blur" else weight for name in joint.shared_names])
        covariance = joint.shared_covariance * share[:, None] * share[None, :]
    else:
        # Blur and amplitudes go together along the line of best fits.
        along = [slope if name == "blur" else values[int(name.split(":")[1])] for name in joint.shared_names]
        covariance = max(left**2 - systematic**2, 0.0) * np.outer(along, along)
    return Amplitude(values, float(weight), systematic, blur, covariance)


def settled(
    joint: Fit, particle: Fit, species: list[Species], looked: Looked | None = None
) -> Amplitude | None:
    """Amplitudes, once thickness and their weights agree: a thinner layer leaves more to dense matter."""
    seen = float(np.mean(np.maximum(joint.thickness, 0.0)))
    thickness, taken = seen, None
    for _ in range(20):
        taken = combined(joint, particle, species, thickness, looked)
        if taken is None:
            return None
        factor = float(np.sum(taken.values) / np.sum(joint.amplitude))
        thickness = 0.5 * (thickness + seen / max(factor, 1e-3))
    return taken


def relative_error(fitted: Fit, source: str, taken: Amplitude | None, both: bool) -> float:
    """Relative error of all thicknesses that more counts would not mend."""
    if taken is not None:
        return taken.relative_sys
    if source == "reference" and both:
        return prior_sd()
    covered = fitted.thickness[fitted.thickness > fitted.blur / 2]
    if source != "profile" or not len(covered):
        return 0.0
    return min(shape_error(fitted.blur, float(np.mean(covered))), 0.5)


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


def densest(species: list[Species]) -> float:
    """Filling beyond which an excess is a Fresnel fringe: in one map alone, that of the particle itself."""
    both = [item.dense_ratio for item in species if item.particle and item.in_layer and item.dense_ratio]
    return 1.0 / min(both) if both else np.inf


def filled_view(bare: Fit, species: list[Species]) -> str:
    """Why there may be a layer thicker than what is in view; empty if there is none.

    A film behind the particle is there inside as well as outside. What stands outside alone, up to the end
    of the view, is a layer whose outer edge is not seen, or something beside the particle.
    """
    step = _p.particle_step(bare, species)
    columns = linear_columns(np.array([item.particle for item in species]))
    for item, where in zip(species, columns, strict=True):
        if item.particle or not item.dense_ratio or step <= 0:
            continue
        outside, change = bare.local[0, where]
        error = float(np.sqrt(bare.covariance[0, where.start + 1, where.start + 1]))
        enough = outside > _p.LEAST_FILLING * item.dense_ratio * step
        if enough and change < -LEAST_DROP * outside and change < -5 * error:
            return (
                f"{item.name} stands outside the surface up to the end of the view: a layer thicker than "
                "what is in view, or a film beside the particle"
            )
    return ""
