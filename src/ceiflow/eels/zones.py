"""Zones: spectra are summed, then fitted; values with errors, detection limits and status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.densities import DETECTION_SIGMA
from ceiflow.eels.design import Design, build_design
from ceiflow.eels.fit import CURVATURE_SIGMA, Noise, SpectrumFit, fit_spectrum
from ceiflow.eels.groups import NO_SPREAD
from ceiflow.eels.jitter import axis_variance, window_variance
from ceiflow.eels.mean_free_path import MeanFreePath, mean_free_path
from ceiflow.eels.plausible import IN_DOUBT, implausible
from ceiflow.eels.source import ONE_FOR_ALL, Source, open_source
from ceiflow.eels.table import chosen_edges
from ceiflow.eels.tails import moved_by_tails
from ceiflow.eels.zone_sums import ZoneSums, sum_zones

# Edges that stand further off than this would show in the residuals, so larger errors of the axis are not
# carried.
LARGEST_AXIS_EV = 1.0
Quantity = tuple[float, float, float, float]


@dataclass
class ZoneFit:
    """One zone's summed spectrum, its model and what follows from it.

    Parameters
    ----------
    energy_eV, counts, model, background, residual_sigma : (n,) array
    edges : dict of element to (n,) array
        Counts of the element's edge: continuum and near-edge lines.
    areal_density, atomic_fraction : dict of element to (value, se_stat, se_sys, lod)
        nm^-2 and 1; NaN where it cannot be told.
    thickness_over_mfp : (value, se_stat, se_sys)
    n : int
        Pixels.
    status, fraction_status : dict of element to (status, note)
        Of the areal density, and of the atomic fraction.
    reduced_chi2 : float
    notes : list of str
    thickness_note : str
        Over which pixels the mean was taken.
    vacuum_pixels : int
        How many of the pixels were left out of that mean.
    density_correlation : dict of element to dict of element to float
        Correlation of the statistical errors of the areal densities that are told.
    mean_free_path : MeanFreePath or None
        Of the particle; None where no density is given.
    """

    energy_eV: np.ndarray
    counts: np.ndarray
    model: np.ndarray
    background: np.ndarray
    edges: dict[str, np.ndarray]
    residual_sigma: np.ndarray
    areal_density: dict[str, Quantity]
    atomic_fraction: dict[str, Quantity]
    thickness_over_mfp: tuple[float, float, float]
    n: int
    status: dict[str, tuple[str, str]]
    fraction_status: dict[str, tuple[str, str]]
    reduced_chi2: float
    notes: list[str] = field(default_factory=list)
    thickness_note: str = ""
    mean_free_path: MeanFreePath | None = None
    density_correlation: dict[str, dict[str, float]] = field(default_factory=dict)
    vacuum_pixels: int = 0


def fit_zones(
    calibrated: Path, edges: Path, zone_masks: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, ZoneFit]:
    """Sum and fit the spectra of zones; zones without pixels or counts are left out.

    Parameters
    ----------
    calibrated, edges : Path
        Files of `calibrate` and `edges`.
    zone_masks : mapping of str to (rows, columns) bool array
    config : mapping
        The merged configuration.
    """
    return fit_source_zones(open_source(calibrated, edges, config), zone_masks)


def fit_source_zones(
    source: Source, zone_masks: Mapping[str, np.ndarray], windows: bool = True
) -> dict[str, ZoneFit]:
    """`fit_zones` on an acquisition that is already open.

    Without `windows` the fit window is not moved, and systematic errors lack what that shows.
    """
    live = source.live.reshape(source.core.shape[:2])
    sums = sum_zones(source, {name: np.asarray(mask, bool) & live for name, mask in zone_masks.items()})
    passes = int(source.config["eels"]["fit"].get("passes") or 4)
    usable = {name: item for name, item in sums.items() if item.n and item.core[source.channels].sum() > 0}
    fits = {name: _fit_zone(source, item, passes, windows) for name, item in usable.items()}
    if source.low is not None and source.low.shared:
        unknown = {
            "thickness_over_mfp": (np.nan,) * 3,
            "thickness_note": f"{ONE_FOR_ALL}: no zone's",
        }
        fits = {name: fit if name == "all" else replace(fit, **unknown) for name, fit in fits.items()}
    if implausible(fits, source.header.metadata):
        for fit in fits.values():
            fit.status = {
                element: (state, note if state == "not_identifiable" else f"{IN_DOUBT}; {note}")
                for element, (state, note) in fit.status.items()
            }
    return fits


def _fit_zone(source: Source, sums: ZoneSums, passes: int, windows: bool = True) -> ZoneFit:
    counts = sums.core[source.channels]
    noise = Noise(source.noise.gain, source.noise.read_noise * np.sqrt(sums.n), 0.0)
    step = float(source.energy_eV[1] - source.energy_eV[0])
    spread = NO_SPREAD
    if sums.low_weighted is not None:
        spread = ll.kernel(source.low.energy_eV, np.clip(sums.low_weighted, 0, None), step)

    def design_on(energy_eV: np.ndarray) -> Design:
        return build_design(energy_eV, source.sections, source.modelled, spread)

    design = design_on(source.energy_eV)
    fit = fit_spectrum(counts, design, noise, passes, CURVATURE_SIGMA)
    number = len(source.elements)
    window = np.zeros(number)
    if windows:
        window = window_variance(counts, design, noise, fit, number, passes)
        moves = axis_shifts(source)
        window += axis_variance(counts, design_on, source.energy_eV, moves, noise, fit, number, passes)
    sections = [source.sections[element] for element in source.modelled]
    tails = moved_by_tails(fit, source.energy_eV, sections, spread, _accuracy(source))[:number]
    return _zone_result(source, sums, fit.first(number), counts, noise, window, tails)


def axis_shifts(source: Source) -> list[np.ndarray]:
    """What one standard error of the axis does to each channel's energy, in two independent moves.

    Nothing where the file was not calibrated here. Offset and dispersion go together where edges placed the
    axis: it is known best where they stand.
    """
    calibration = json.loads(source.header.attributes.get("calibration", "{}"))
    offset = min(float(calibration.get("energy_offset_se_eV") or 0.0), LARGEST_AXIS_EV)
    if not offset:
        return []
    whole = source.core.energy_eV
    factor = np.diag([offset, float(calibration.get("dispersion_se") or 0.0)])
    origin = 0.5 * (whole[0] + whole[-1])
    if calibration.get("axis_covariance"):
        values, vectors = np.linalg.eigh(np.array(calibration["axis_covariance"], np.float64))
        factor = vectors * np.sqrt(np.clip(values, 0, None))
        # The origin is an energy of the file's axis, the spectrum is on the calibrated one.
        origin = float(calibration["axis_origin_eV"]) - float(calibration["energy_offset_eV"])
    arms = np.stack([np.ones(source.energy_eV.size), source.energy_eV - origin], axis=1)
    return [np.clip(arms @ move, -LARGEST_AXIS_EV, LARGEST_AXIS_EV) for move in factor.T]


def _accuracy(source: Source) -> Mapping[str, float]:
    """Relative error of a cross-section by its shell."""
    return source.config["eels"].get("systematic") or {"K": 0.07, "L": 0.15}


def _scale_errors(source: Source) -> np.ndarray:
    """Relative error of each element's cross-section.

    That of its k-factor; else that of its shell, or the standard deviation of the two sources where they
    differ by more: |ln ratio| / sqrt(2).
    """
    systematic = _accuracy(source)
    table = chosen_edges(source.elements)
    errors = []
    for element in source.elements:
        section = source.sections[element]
        ratio = section.second_ratio
        apart = abs(np.log(ratio)) / np.sqrt(2) if np.isfinite(ratio) and ratio > 0 else 0.0
        shell = max(float(systematic[table[element].shell]), float(apart))
        errors.append(shell if section.k_factor.error is None else section.k_factor.error)
    return np.array(errors)


def _name_sources(states: dict[str, tuple[str, str]], source: Source) -> dict[str, tuple[str, str]]:
    """Notes of what was measured, with the cross-section that the number rests on."""
    named = {}
    for element, (state, note) in states.items():
        origin = source.sections[element].origin() if state != "not_identifiable" else ""
        named[element] = (state, "; ".join(filter(None, (note, origin))))
    return named


def _zone_result(
    source: Source,
    sums: ZoneSums,
    fit: SpectrumFit,
    counts: np.ndarray,
    noise: Noise,
    window: np.ndarray,
    tails: np.ndarray,
) -> ZoneFit:
    elements = source.elements
    # Misfit adds to counting noise where residuals are correlated; it never makes an error smaller.
    # Shapes that are not the tables' are seen as misfit and unknown lines, and known as shifts by tails that
    # elements share: one thing by two measures, of which the larger holds.
    misfit = np.clip(np.diag(fit.robust) - np.diag(fit.covariance), 0, None)
    shared = tails @ tails.T
    extra = np.diag(np.clip(misfit - np.diag(shared), 0, None) + window) + shared
    thickness, thickness_se, thickness_sys = _zone_thickness(source, sums)
    density_reason, fraction_reason = source.density_reason(), source.fraction_reason()
    limit = source.config["eels"].get("max_thickness_over_mfp")
    if limit is not None and np.isfinite(thickness) and thickness > float(limit):
        reason = f"t/lambda {thickness:.2f} is above {float(limit):g}: plural scattering cannot be corrected"
        density_reason = density_reason or reason
        fraction_reason = fraction_reason or reason
    electrons = sums.total * (source.exposure_ratio or np.nan)
    scale = _scale_errors(source)
    densities, status = _densities(elements, fit, extra, scale, electrons, sums, source, density_reason)
    fractions, fraction_status = _fractions(elements, fit, extra, scale, fraction_reason, source)
    for element, reason in source.reasons.items():
        for quantity, states in ((densities, status), (fractions, fraction_status)):
            quantity[element] = (np.nan,) * 4
            states[element] = ("not_identifiable", reason)
    deviation = np.sqrt(np.maximum(noise.variance(np.maximum(fit.model, 0)), 1e-12))
    return ZoneFit(
        source.energy_eV,
        counts,
        fit.model,
        fit.background,
        {element: fit.edges[:, i] for i, element in enumerate(elements)},
        (counts - fit.model) / deviation,
        densities,
        fractions,
        (thickness, thickness_se, thickness_sys),
        sums.n,
        _name_sources(status, source),
        _name_sources(fraction_status, source),
        fit.reduced_chi2,
        list(source.notes),
        sums.thickness.note if sums.thickness is not None else "",
        mean_free_path(source.config["eels"], source.header.metadata),
        {} if density_reason else _correlation(elements, fit, source.noise.gain / max(sums.total, 1.0)),
        sums.thickness.left if sums.thickness is not None else 0,
    )


def _zone_thickness(source: Source, sums: ZoneSums) -> tuple[float, float, float]:
    if source.low is None or not sums.total > 0:
        return (np.nan,) * 3
    low = source.low
    if sums.thickness is None:
        return (np.nan,) * 3
    moved = [
        ll.thickness_over_mfp(
            *ll.zero_loss_and_total(low.energy_eV, sums.low, low.split_eV * factor), missing=low.missing
        )[0]
        for factor in (0.8, 1.2)
    ]
    # The tail beyond the range is a guess to about a third.
    inelastic = 1 - sums.zero_loss / sums.total
    systematic = np.hypot((moved[1] - moved[0]) / 2, low.missing * inelastic / 3)
    return sums.thickness.value, sums.thickness.error, float(systematic)


def _densities(
    elements: Sequence[str],
    fit: SpectrumFit,
    extra: np.ndarray,
    scale: np.ndarray,
    electrons: float,
    sums: ZoneSums,
    source: Source,
    reason: str,
) -> tuple[dict[str, Quantity], dict[str, tuple[str, str]]]:
    values, states = {}, {}
    for i, element in enumerate(elements):
        if reason:
            values[element], states[element] = (np.nan,) * 4, ("not_identifiable", reason)
            continue
        value = fit.theta[i] / electrons
        counting = fit.covariance[i, i] / electrons**2 + value**2 * source.noise.gain / max(sums.total, 1.0)
        offset = extra[i, i] / electrons**2
        # What there would be of noise without the element; no low-loss noise either, which scales with it.
        lod = DETECTION_SIGMA * np.sqrt(fit.zero_variance[i] / electrons**2 + offset)
        systematic = np.sqrt(offset + (scale[i] * value) ** 2)
        values[element] = (float(value), float(np.sqrt(counting)), float(systematic), float(lod))
        states[element] = _state(value, lod, fit.reduced_chi2)
    return values, states


def _correlation(elements: Sequence[str], fit: SpectrumFit, zero_loss: float) -> dict[str, dict[str, float]]:
    """Correlation of statistical errors: edges share channels, and all densities one zero loss.

    `zero_loss` is the relative variance of the low loss that every density is divided by.
    """
    covariance = fit.covariance + np.outer(fit.theta, fit.theta) * zero_loss
    errors = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = covariance / np.outer(errors, errors)
    return {
        a: {b: float(matrix[i, j]) for j, b in enumerate(elements) if j != i and np.isfinite(matrix[i, j])}
        for i, a in enumerate(elements)
    }


def _state(value: float, lod: float, reduced_chi2: float) -> tuple[str, str]:
    if not (np.isfinite(value) and np.isfinite(lod)):
        return "not_identifiable", "the fit has no finite error: too few counts"
    note = (
        "Poisson assumed"
        if 0.5 < reduced_chi2 < 2
        else f"reduced chi2 {reduced_chi2:.2g}: gain or shapes are off"
    )
    if value > lod:
        return "identified", note
    return "bounded", "below the detection limit"


def _contradiction(elements: Sequence[str], fit: SpectrumFit, extra: np.ndarray, scale: np.ndarray) -> str:
    """Why the densities cannot all be true: one is negative beyond all its errors. Empty where none is.

    Fractions of the others would then add up to more than one.
    """
    error = np.sqrt(np.diag(fit.covariance + extra) + (scale * fit.theta) ** 2)[: len(elements)]
    pulls = fit.theta / np.maximum(error, 1e-300)
    worst = int(np.argmin(pulls)) if len(elements) else 0
    if not len(elements) or pulls[worst] > -DETECTION_SIGMA:
        return ""
    return (
        f"{elements[worst]} comes out negative by {-pulls[worst]:.2g} errors: an edge that is "
        "not among the chosen elements, or a wrong energy axis"
    )


def _fractions(
    elements: Sequence[str],
    fit: SpectrumFit,
    extra: np.ndarray,
    scale: np.ndarray,
    reason: str,
    source: Source,
) -> tuple[dict[str, Quantity], dict[str, tuple[str, str]]]:
    """Shares of the elements in view; what is not in view is named, since it is not in the sum."""
    values: dict[str, Quantity] = {}
    states: dict[str, tuple[str, str]] = {}
    total = fit.theta.sum() if len(elements) else 0.0
    error = np.sqrt(max(fit.covariance.sum() + extra.sum(), 0.0)) if len(elements) else np.inf
    if not reason and len(elements) < 2:
        reason = "fewer than two of the chosen elements are in view"
    if not reason and not total > DETECTION_SIGMA * error:
        reason = "no element stands above its detection limit"
    reason = reason or _contradiction(elements, fit, extra, scale)
    absent = f"; not in the sum: {', '.join(sorted(source.reasons))}" if source.reasons else ""
    plural = "" if source.low is not None else "; no low loss: plural scattering not corrected"
    for i, element in enumerate(elements):
        if reason:
            values[element], states[element] = (np.nan,) * 4, ("not_identifiable", reason)
            continue
        share = fit.theta / total
        gradient = (np.eye(len(elements))[i] - share[i]) / total
        counting = float(gradient @ fit.covariance @ gradient)
        offset = float(gradient @ extra @ gradient)
        scales = float(np.sum((gradient * fit.theta * scale) ** 2))
        lod = DETECTION_SIGMA * np.sqrt(fit.zero_variance[i] + extra[i, i]) / total
        values[element] = (
            float(share[i]),
            float(np.sqrt(max(counting, 0))),
            float(np.sqrt(offset + scales)),
            float(lod),
        )
        state, note = _state(share[i], lod, fit.reduced_chi2)
        states[element] = (state, note + absent + plural)
    return values, states
