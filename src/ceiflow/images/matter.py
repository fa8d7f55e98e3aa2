"""Matter against vacuum: the field whose contour is the outer edge of whatever stands in the frame."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ceiflow.images.crystal import depth, nearest
from ceiflow.images.field import (
    Field,
    average_where,
    clean,
    field_factor,
    frame_is_far,
    on_grid,
    pool,
    smooth,
)
from ceiflow.images.fresnel import on_the_edge
from ceiflow.images.vacuum import Background, find_background, texture
from ceiflow.units import electron_wavelength_nm

# Excess of the texture over counting noise from which the ground of the frame is a film and not vacuum.
SUPPORT_EXCESS = 1.6
# A straight edge blurred by a Gaussian has its half height at the edge: the level of the normalised field.
HALF = 0.5
# Noise of the field in vacuum from which on more is averaged.
QUIET = 0.07
# Dark field: what is dimmer than this share of the bright part is taken for glare.
FAINTEST = 0.05


def matter_field(
    image: np.ndarray,
    pixel_size_nm: float,
    modality: str = "hrtem",
    defocus_nm: float | None = None,
    beam_energy_keV: float | None = None,
) -> Field:
    """Particle, layer and support against vacuum, from brightness and texture.

    Two features are measured against the vacuum of the same frame: the local mean, and the energy of the
    texture between about 0.25 and 1 nm above counting noise. Each is divided by its own plateau just inside
    the edge, so that both are 0 outside and 1 inside and pass 1/2 at the edge whatever the contrast; they
    are then averaged, each place by the signal to noise of both. A Fresnel fringe is odd about an edge to
    first order, so it leaves the half height in place as long as it is not wider than the averaging window,
    which follows the defocus.

    Parameters
    ----------
    image : (rows, columns) array
        Intensities; any real dtype.
    pixel_size_nm : float
        Width of a pixel, in nm.
    modality : {"hrtem", "tem", "adf"}
        Bright field (vacuum bright) or dark field (vacuum dark).
    defocus_nm, beam_energy_keV : float or None
        Where known they set the width of the window.

    Returns
    -------
    Field
        `values` 0 in vacuum, about 1 in matter, `level` 0.5. `notes`: `vacuum` (False: no vacuum in the
        frame, the contour is no outer edge), `matter`, `support` (True: a film lies behind the particle, the
        edge is that of the second level and absence of a layer cannot be claimed), `reason`,
        `texture_excess`, `weights`. `maps["vacuum"]` and `maps["matter"]`: bool masks.

    Raises
    ------
    ValueError
        For an array that is no image, an unknown modality or a pixel size that is not positive.
    """
    if modality not in ("hrtem", "tem", "adf"):
        raise ValueError(f"unknown modality {modality!r}: hrtem, tem or adf is expected")
    if not (pixel_size_nm and math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"a positive pixel size is needed; found {pixel_size_nm!r}")
    cleaned, notes = clean(image)
    fine, coarser = field_factor(image.shape, pixel_size_nm)
    factor = fine * coarser
    detail = pool(cleaned, fine)
    detail = detail[: detail.shape[0] // coarser * coarser, : detail.shape[1] // coarser * coarser]
    pooled, step = pool(detail, coarser), factor * pixel_size_nm
    dark = modality == "adf"
    widths = _widths(fine * pixel_size_nm, coarser, dark, defocus_nm, beam_energy_keV)
    energy = texture(detail, widths["fine"], widths["coarse"], coarser)
    ground = find_background(detail, pooled, energy, dark, widths)
    support = bool(ground.found and not dark and ground.excess > SUPPORT_EXCESS)
    notes |= {
        "vacuum": bool(ground.found and not support),
        "support": support,
        "texture_excess": None if math.isnan(ground.excess) else round(float(ground.excess), 3),
        "reason": ground.reason,
        "modality": modality,
    }
    if support:
        notes["reason"] = (
            "a film behind the particle: the edge is a change of texture, absence is not claimable"
        )
    values, matter, width, null, more = _normalised(pooled, energy, ground, widths, dark)
    for _ in range(4):
        if not (ground.found and more["matter"] and null > QUIET):
            break
        # Few counts: a wider average, so that noise draws no contours of its own.
        widths = widths | {name: 1.4 * widths[name] for name in ("mean", "texture")}
        values, matter, width, null, more = _normalised(pooled, energy, ground, widths, dark)
    notes |= more
    if support and not _is_second_level(pooled, energy, matter, widths):
        ground.found = False
        notes |= {"support": False}
    if not ground.found:
        notes |= {"vacuum": False, "reason": ground.reason or "no vacuum in the frame"}
    margin = math.ceil(2 * max(widths["texture"], widths["mean"]))
    if ground.found and notes["matter"]:
        values = _tidy(values, matter, 3 * max(widths["texture"], widths["mean"]))
        fringe = _fringe(defocus_nm, beam_energy_keV)
        if not dark and fringe != 0.0:
            far = frame_is_far(values.shape, margin)
            over = pooled / np.maximum(ground.level, 1e-12)
            values, more = on_the_edge(over, values, HALF, step, fringe, far)
            notes |= more
        matter = values > HALF
    return Field(
        values=values,
        step_nm=step,
        level=HALF,
        width_nm=width * step,
        null_sigma=null,
        notes=notes,
        bin=factor,
        valid=frame_is_far(values.shape, margin),
        maps={"vacuum": ground.mask, "matter": matter},
    )


def _is_second_level(
    image: np.ndarray, energy: np.ndarray, matter: np.ndarray, widths: dict[str, float]
) -> bool:
    """Whether matter stands out from a textured ground as one thing: in brightness, or twofold in texture."""
    if not 0.003 < matter.mean() < 0.997:
        return False
    energy = smooth(energy, widths["window"])
    ratio = np.median(energy[matter]) / max(float(np.median(energy[~matter])), 1e-30)
    bright = np.median(image[matter]) / max(float(np.median(image[~matter])), 1e-30)
    if ratio < 2.0 and abs(bright - 1) < 0.05:
        return False
    labels, count = ndimage.label(matter)
    areas = np.bincount(labels.ravel())[1:]
    # Patches all over the frame are the ground's own variation.
    return bool(count > 0 and areas.max() > 0.5 * areas.sum() and areas.max() > 0.02 * matter.size)


def _tidy(values: np.ndarray, matter: np.ndarray, reach: float) -> np.ndarray:
    """Deep inside matter 1 at least, far outside 0 at most: what happens there is no outer edge."""
    body = ndimage.binary_fill_holes(
        ndimage.binary_closing(matter, iterations=max(1, int(reach / 3)), border_value=0) | matter
    )
    outside = ndimage.distance_transform_edt(~body)
    values = np.where(depth(body) > reach / 2, np.maximum(values, 1), values)
    return np.where(outside > reach, np.minimum(values, 0), values).astype(np.float32)


def _fringe(defocus_nm: float | None, beam_energy_keV: float | None) -> float | None:
    """Fresnel length in nm; None where the defocus or the energy is not known."""
    if defocus_nm is None or not beam_energy_keV:
        return None
    return math.sqrt(electron_wavelength_nm(beam_energy_keV) * abs(defocus_nm))


def _widths(
    fine_nm: float, factor: int, dark: bool, defocus_nm: float | None, beam_energy_keV: float | None
) -> dict[str, float]:
    """Gaussian widths: the texture's band in fine samples; its window, the mean's and that of the search in
    samples of the field, which are `factor` times wider.
    """
    fringe = 0.0 if dark else _fringe(defocus_nm, beam_energy_keV) or 0.0
    return {
        "fine": max(0.6, 0.09 / fine_nm),
        "coarse": max(2.0, 0.40 / fine_nm),
        "texture": max(2.5, max(0.40, 0.6 * fringe) / fine_nm) / factor,
        "mean": max(1.0, max(0.3, 0.45 * fringe) / fine_nm) / factor,
        "window": max(3.5, 0.8 / fine_nm) / factor,
        "factor": factor,
        "step_nm": fine_nm,
    }


def _normalised(
    image: np.ndarray, energy: np.ndarray, ground: Background, widths: dict[str, float], dark: bool
) -> tuple[np.ndarray, np.ndarray, float, float, dict]:
    """The field, the matter mask, its blur (samples), its noise in vacuum, and notes."""
    level = np.maximum(ground.level, 1e-12) if not dark else ground.level
    brightness = (image - level) if dark else (1 - image / level)
    mean = smooth(brightness, widths["mean"])
    features = {"mean": (mean, widths["mean"])}
    if not dark:
        relative = energy / level**2
        narrow = smooth(relative, widths["texture"])
        # Counting noise is as large as the brightness; what vacuum has of it is the unit.
        wide = np.clip(smooth(image / level, widths["window"]), 0.05, None)
        unit = np.median((narrow / wide)[ground.mask]) if ground.found else np.percentile(narrow / wide, 1)
        features["texture"] = (narrow / np.maximum(unit * wide, 1e-30) - 1, widths["texture"])
    if ground.reason == "no contrast":
        nothing = np.zeros(image.shape, np.float32)
        return nothing, nothing > 0, widths["mean"], float("nan"), {"matter": False}
    if not ground.found:
        values = features["texture" if not dark else "mean"][0]
        scale = max(float(np.median(values)), 1e-12)
        matter = np.ones(image.shape, bool)
        return (values / scale).astype(np.float32), matter, widths["mean"], float("nan"), {"matter": True}
    noise = {name: _deviation(f[ground.mask]) for name, (f, _) in features.items()}
    matter = _detected(image, energy, brightness, ground, widths, dark)
    if matter.mean() < 0.003:
        flat = features["mean"][0] / max(8 * noise["mean"], 1e-12)
        return flat.astype(np.float32), matter, widths["mean"], 0.125, {"matter": False}
    values, weights = _combined(features, noise, matter)
    core = ndimage.binary_erosion(matter, iterations=max(1, int(widths["window"])), border_value=1)
    matter = core | (values > HALF)
    for _ in range(2):
        values, weights = _combined(features, noise, ndimage.binary_fill_holes(matter))
        matter = core | (values > HALF)
    share = weights["mean"]
    width = float(np.sqrt(share * widths["mean"] ** 2 + (1 - share) * widths.get("texture", 0.0) ** 2))
    null = _deviation(values[ground.mask])
    return (
        values,
        matter,
        width,
        null,
        {"matter": True, "weights": {k: round(v, 3) for k, v in weights.items()}},
    )


def _deviation(values: np.ndarray) -> float:
    """Robust standard deviation, never zero."""
    centre = np.median(values)
    return max(1.4826 * float(np.median(np.abs(values - centre))), 1e-9)


def _detected(
    image: np.ndarray,
    energy: np.ndarray,
    brightness: np.ndarray,
    ground: Background,
    widths: dict[str, float],
    dark: bool,
) -> np.ndarray:
    """Everything that differs from the ground in brightness or texture, tidy: no specks, no pinholes."""
    wide = smooth(brightness, widths["window"])
    # Illumination is followed to a few per cent only.
    hit = np.abs(wide - np.median(wide[ground.mask])) > np.maximum(5 * _deviation(wide[ground.mask]), 0.025)
    if dark:
        hit = wide > 5 * _deviation(wide[ground.mask])
    else:
        level = np.maximum(ground.level, 1e-12)
        wide = np.clip(smooth(image / level, widths["window"]), 0.05, None)
        logs = np.log(np.maximum(smooth(energy / level**2, widths["window"]), 1e-30) / wide)
        hit |= logs > np.median(logs[ground.mask]) + 5 * _deviation(logs[ground.mask])
    turns = max(1, int(widths["window"] / 2))
    hit = ndimage.binary_opening(np.pad(hit, turns + 1, mode="edge"), iterations=turns)[
        turns + 1 : -turns - 1, turns + 1 : -turns - 1
    ]
    labels, count = ndimage.label(hit)
    if count == 0:
        return hit
    areas = np.bincount(labels.ravel())
    keep = areas >= 0.002 * image.size
    keep[0] = False
    # The search window reaches beyond the edge by about its own width.
    found = keep[labels]
    inner = ndimage.binary_erosion(found, iterations=max(1, int(0.8 * widths["window"])), border_value=1)
    return inner if inner.any() else found


def _combined(
    features: dict[str, tuple[np.ndarray, float]], noise: dict[str, float], matter: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Features over their plateaus, averaged by signal to noise."""
    # Plateaus change slowly: they are averaged on a grid about a window wide.
    thin = max(1, int(min(sigma for _, sigma in features.values())))
    shape = tuple(max(8, n // thin) for n in matter.shape)
    body = nearest(matter, shape)
    inner = depth(body) * (matter.shape[0] / shape[0])
    above = np.zeros(matter.shape, np.float32)
    below = np.full(matter.shape, 1e-12, np.float32)
    power = {}
    for name, (whole, sigma) in features.items():
        feature, narrow = on_grid(whole, shape), sigma / thin
        rim = (inner > 1.5 * sigma) & (inner < 4.0 * sigma)
        if not rim.any():
            rim = body if body.any() else np.ones(shape, bool)
        typical = float(np.median(feature[rim]))
        plateau = average_where(feature, rim, max(8.0, 6 * sigma) / thin, typical)
        # A strong Fresnel fringe lifts the rim above what follows, a strong crystal behind a thin layer what
        # follows above the rim: the smaller of both is the matter at the edge.
        deeper = (inner >= 4.0 * sigma) & (inner < 9.0 * sigma)
        if deeper.any():
            further = average_where(feature, deeper, max(12.0 / thin, 8 * narrow), np.inf)
            plateau = np.minimum(plateau, further)
        # Afterglow and glare beside a bright particle are no matter.
        least = FAINTEST * float(np.percentile(feature[body], 90)) if len(features) == 1 else 0.0
        plateau = np.clip(plateau, max(least, 0.0), None)
        inside = _deviation((feature - plateau)[rim])
        weight = 1 / (noise[name] ** 2 + 0.5 * inside**2)
        power[name] = float(weight * np.mean(plateau[rim] ** 2))
        plateau = on_grid(plateau, matter.shape)
        above += weight * plateau * whole
        below += weight * plateau * plateau
    total = sum(power.values()) or 1.0
    return above / below, {name: value / total for name, value in power.items()}
