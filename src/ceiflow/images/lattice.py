"""Lattice against none: the field whose contour is where the crystal's fringes end."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from ceiflow.images.demodulate import Demodulator
from ceiflow.images.field import (
    Field,
    average_where,
    block_factor,
    clean,
    field_factor,
    frame_is_far,
    pool,
    smooth,
)
from ceiflow.images.spots import Spot, find_spots, flattened
from ceiflow.units import electron_wavelength_nm

# Gaussian windows, one standard deviation in fringes: narrow for the place, wide for the verdict.
POSITION_FRINGES = 1.5
DETECTION_FRINGES = 3.0
MINIMUM_WINDOW_NM = 0.4
FALSE_DISCOVERY = 0.05
HALF = 0.5
# Directions in which fringes of turbostratic carbon are looked for.
DIRECTIONS = 12
CONTROLS = 8
# Depth behind the edge, in windows, where the plateau of the amplitude is taken.
RIM = (1.2, 4.0)


def lattice_field(
    image: np.ndarray,
    pixel_size_nm: float,
    spacing_range_nm: tuple[float, float] = (0.18, 0.75),
    matter: Field | None = None,
    defocus_nm: float | None = None,
    beam_energy_keV: float | None = None,
) -> Field:
    """The crystal's fringe amplitude over its plateau near the edge.

    The lattice's frequencies are found in the image itself (`spots.find_spots`). At each the image is
    demodulated with a Gaussian window; the noise power there is that of control directions at the same |g|,
    taken locally, so that a change of texture is no lattice. Where the summed excess in a wide window passes
    a false-discovery threshold is crystal. In a narrow window the amplitude at a straight edge is half of
    that inside: the field is the amplitude over its plateau just inside the edge, its level 1/2.

    Parameters
    ----------
    image : (rows, columns) array
        Intensities.
    pixel_size_nm : float
        Width of a pixel, in nm.
    spacing_range_nm : (float, float)
        Spacings looked for.
    matter : Field or None
        From `matter_field` of the same image: lattice counts only where there is matter.

    defocus_nm, beam_energy_keV : float or None
        Where both are known, the outward displacement of fringes by wavelength x defocus / spacing is taken
        back (without spherical aberration; the detection limit still carries the whole displacement).

    Returns
    -------
    Field
        `notes`: `lattice` (bool), `spots` (list of dicts: spacing_nm, angle_deg, significance, tiles,
        foreign: a small crystal outside the particle, no part of the field),
        `turbostratic` (bool), `smallest_spacing_nm`, `largest_spacing_nm` (of the spots used), `window_nm`
        (full width of the position window), `reason`. `maps["crystal"]`: bool, the detected crystal (main
        body); `maps["positive"]`: bool, everything lattice-positive, islands in the layer too.

    Raises
    ------
    ValueError
        For an array that is no image, or a pixel size that is not positive.
    """
    if not (pixel_size_nm and math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"a positive pixel size is needed; found {pixel_size_nm!r}")
    cleaned, notes = clean(image)
    low = max(spacing_range_nm[0], 2.3 * pixel_size_nm)
    out_bin = field_factor(image.shape, pixel_size_nm)
    if matter is not None:
        out_bin = matter.bin
    if low >= spacing_range_nm[1]:
        shape = (image.shape[0] // out_bin, image.shape[1] // out_bin)
        return _none(shape, out_bin, pixel_size_nm, notes, "pixels too wide for these spacings")
    factor = _dividing(out_bin, block_factor(pixel_size_nm, low / 2.6))
    rows, columns = (n // out_bin * out_bin for n in image.shape)
    pooled = pool(cleaned[:rows, :columns], factor)
    step = factor * pixel_size_nm
    flat = flattened(pooled, max(1.5, 0.6 * spacing_range_nm[1] / step))
    within = _interior(matter, flat.shape, out_bin // factor)
    spots, found = find_spots(flat * within, step, (low, spacing_range_nm[1]))
    notes |= found
    shape = (rows // out_bin, columns // out_bin)
    if not spots and not found["turbostratic"]:
        return _none(shape, out_bin, pixel_size_nm, notes, "no lattice fringes found")
    inside = np.ones(shape, bool)
    if matter is not None and matter.notes.get("vacuum"):
        inside = matter.values > 0.3
    spread = 0.0
    if defocus_nm and beam_energy_keV:
        spread = electron_wavelength_nm(beam_energy_keV) * abs(defocus_nm)
    return _field(flat, step, out_bin // factor, spots, found, inside, notes, out_bin, spread)


def _interior(matter: Field | None, shape: tuple[int, int], factor: int) -> np.ndarray:
    """Weight on the image's own grid: 1 inside the matter, softly 0 from 0.3 nm inside its edge outwards.

    The Fresnel fringe of the outer edge is left out of the search for lattice spots.
    """
    if matter is None or not matter.notes.get("matter") or not matter.notes.get("vacuum", True):
        return np.ones(shape, np.float32)
    body = ndimage.binary_fill_holes(matter.values > matter.level)
    depth = ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1] * matter.step_nm
    weight = np.clip((depth - 0.3) / 1.0, 0, 1)
    weight = (0.5 - 0.5 * np.cos(np.pi * weight)).astype(np.float32)
    return np.repeat(np.repeat(weight, factor, axis=0), factor, axis=1)[: shape[0], : shape[1]]


def _none(shape, out_bin, pixel_size_nm, notes, reason) -> Field:
    empty = np.zeros(shape, bool)
    notes = {"turbostratic": False, **notes, "lattice": False, "spots": [], "reason": reason}
    return Field(
        np.zeros(shape, np.float32), out_bin * pixel_size_nm, HALF, 0.0, float("nan"), notes, out_bin,
        frame_is_far(shape, 0), {"crystal": empty, "positive": empty.copy()},
    )  # fmt: skip


def _dividing(whole: int, most: int) -> int:
    """The largest divisor of `whole` that is not above `most`."""
    return max(d for d in range(1, max(1, min(whole, most)) + 1) if whole % d == 0)


def _bands(spots: list[Spot], found: dict) -> list[dict]:
    """What is demodulated: each spot by itself; turbostratic carbon as one band of many directions."""
    bands = [
        {
            "frequency": s.frequency,
            "directions": [math.atan2(s.g_row, s.g_column)],
            "sigma": max(POSITION_FRINGES * s.spacing_nm, MINIMUM_WINDOW_NM),
        }
        for s in spots
    ]
    if found["turbostratic"]:
        spacing = found["turbostratic_spacing_nm"]
        directions = [math.pi * k / DIRECTIONS for k in range(DIRECTIONS)]
        bands.append(
            {"frequency": 1 / spacing, "directions": directions, "sigma": POSITION_FRINGES * spacing}
        )
    return bands


def _field(flat, step, factor, spots, found, inside, notes, out_bin, spread) -> Field:
    """Demodulate, test, and normalise."""
    demodulator = Demodulator(flat, step, factor)
    coarse = step * factor
    bands = _bands(spots, found)
    sigma = max(band["sigma"] for band in bands)
    trials = sum(len(band["directions"]) for band in bands)
    terms, hits, ratio = [], [], np.zeros(demodulator.shape, np.float32)
    for band in bands:
        signal, wide, noise = _energies(demodulator, band, spots, sigma, coarse)
        # Every spot in units of its own strongest amplitude: each passes a quarter (of energy) at the edge.
        strong = np.percentile((wide - noise)[inside], 99) if inside.any() else 1.0
        excess = signal - noise * (DETECTION_FRINGES / POSITION_FRINGES) ** 2
        displaced = spread * band["frequency"]
        excess = _taken_back(excess, band, displaced, sigma, coarse)
        # Strong spots count, and of these the ones that are displaced least.
        blur = 1 + (displaced / sigma) ** 2
        scale = max(float(strong), 0.0) / max(float(np.median(noise)), 1e-12) ** 2 / blur**4
        terms.append((excess * scale).astype(np.float32))
        one = wide / np.maximum(noise, 1e-20)
        hits.append(_positive(one, inside, coarse, sigma, trials))
        ratio = np.maximum(ratio, one)
    foreign = _foreign(hits, sigma * DETECTION_FRINGES / POSITION_FRINGES, coarse)
    positive = _positive(ratio, inside, coarse, sigma, trials)
    own = [hit for hit, other in zip(hits, foreign, strict=True) if not other]
    crystal = _main_body(positive & np.logical_or.reduce(own), coarse)
    energy = np.sum([term for term, other in zip(terms, foreign, strict=True) if not other], axis=0)
    used = _used(terms, foreign, crystal, bands)
    notes |= {
        "lattice": bool(crystal.any()),
        "spots": [s.as_note() | {"foreign": f} for s, f in zip(spots, foreign, strict=False)],
        "smallest_spacing_nm": round(min(used), 4),
        "largest_spacing_nm": round(max(used), 4),
        "window_nm": round(2.355 * sigma, 3),
        "reason": "" if crystal.any() else "fringes nowhere above the false-discovery threshold",
    }
    values, null = _over_plateau(energy, crystal, sigma / coarse, found["turbostratic"])
    margin = min(math.ceil(2 * sigma / coarse), min(values.shape) // 4)
    # The window is cut by the frame: what lies at its rim is a copy of the nearest whole one.
    values = np.pad(values[margin:-margin, margin:-margin], margin, mode="edge")
    maps, far = {"crystal": crystal, "positive": positive}, frame_is_far(values.shape, margin)
    return Field(values, coarse, HALF, sigma, null, notes, out_bin, far, maps)


def _foreign(hits: list[np.ndarray], reach_nm: float, coarse: float) -> list[bool]:
    """Which bands are small crystals by themselves: in the layer, not of the particle.

    A part counts as one if it covers less than 60 nm^2 and a tenth of all lattice, after its window's reach
    is taken off, and less than half of that lies within what larger bands cover.
    """
    cores = [_depth(hit) * coarse > 2 * reach_nm for hit in hits]
    areas = [float(core.sum()) * coarse**2 for core in cores]
    whole = float(np.logical_or.reduce(cores).sum()) * coarse**2
    large = [area >= 60.0 or area >= 0.3 * whole for area in areas]
    if not any(large):
        return [False] * len(hits)
    body = np.logical_or.reduce([hit for hit, is_large in zip(hits, large, strict=True) if is_large])
    return [
        not is_large and float((core & body).sum()) < 0.5 * max(float(core.sum()), 1.0)
        for core, is_large in zip(cores, large, strict=True)
    ]


def _used(
    terms: list[np.ndarray], foreign: list[bool], crystal: np.ndarray, bands: list[dict]
) -> list[float]:
    """Spacings that give at least a tenth of the energy the edge is drawn from."""
    share = [
        0.0 if other else max(float(term[crystal].mean()) if crystal.any() else 1.0, 0.0)
        for term, other in zip(terms, foreign, strict=True)
    ]
    total = max(sum(share), 1e-30)
    used = [1 / band["frequency"] for band, part in zip(bands, share, strict=True) if part >= 0.1 * total]
    return used or [1 / band["frequency"] for band in bands]


def _taken_back(
    excess: np.ndarray, band: dict, displaced_nm: float, sigma: float, coarse: float
) -> np.ndarray:
    """Fringe energy with the displacement of both sidebands undone.

    Out of focus the two beams of a fringe leave the crystal by `displaced_nm` along g and against it. The
    smaller of the energies at a distance to both sides has its half-amplitude contour where the crystal ends.
    """
    if displaced_nm < 0.05 or len(band["directions"]) > 1:
        return excess
    phase = math.pi * displaced_nm * band["frequency"]
    shift = outward_shift(displaced_nm / sigma, phase) * sigma / coarse
    angle = band["directions"][0]
    step = shift * math.sin(angle), shift * math.cos(angle)
    one = ndimage.shift(excess, step, order=1, mode="nearest")
    two = ndimage.shift(excess, (-step[0], -step[1]), order=1, mode="nearest")
    return np.minimum(one, two)


def outward_shift(displacement: float, phase: float) -> float:
    """Shift of the half amplitude, in windows, for two sidebands displaced by -+ `displacement` windows.

    Parameters
    ----------
    displacement : float
        Displacement over the window's standard deviation.
    phase : float
        Phase of either sideband against the central beam by the defocus, in radians: where they overlap the
        fringes of a phase object have the amplitude 2 sin(phase), where one is alone 1.
    """
    x = np.arange(-8 - displacement, 8 + displacement, 0.02)
    one, two = ndtr(displacement - x), ndtr(-displacement - x)
    amplitude = np.abs(np.exp(1j * phase) * one - np.exp(-1j * phase) * two)
    edge = displacement
    for _ in range(8):
        rim = (x > edge - RIM[1]) & (x < edge - RIM[0])
        above = np.flatnonzero(amplitude > HALF * amplitude[rim].mean())
        edge = float(x[above[-1]]) if above.size else 0.0
    return float(np.clip(edge, 0, displacement + 1.5))


def _energies(demodulator, band, spots, sigma, coarse):
    """Energy in the position window, in the detection window, and the noise energy of the latter, all
    local.
    """
    wider = sigma * DETECTION_FRINGES / POSITION_FRINGES
    thin = max(1, int(wider / (2.5 * coarse)))
    narrow, wide = None, None
    for angle in band["directions"]:
        g = band["frequency"] * math.sin(angle), band["frequency"] * math.cos(angle)
        one = np.abs(demodulator.amplitude(*g, sigma)) ** 2
        two = np.abs(demodulator.amplitude(*g, wider, thin)) ** 2
        narrow = one if narrow is None else np.maximum(narrow, one)
        wide = two if wide is None else np.maximum(wide, two)
    noise = _noise(demodulator, band, spots, wider, coarse * thin, thin)
    return narrow.astype(np.float32), demodulator.spread(wide), demodulator.spread(noise)


def _noise(demodulator, band, spots, sigma, step, thin) -> np.ndarray:
    """Noise energy about |g| from directions where no spot is: the lower half of them, local mean."""
    taken = [(s.g_row, s.g_column) for s in spots]
    energies = []
    reach = 2.5 / (2 * math.pi * sigma)
    several = len(band["directions"]) > 1
    for k in range(2 * CONTROLS):
        angle = band["directions"][0] + math.pi * (k + 0.5) / (2 * CONTROLS)
        # Beside a ring of turbostratic carbon noise is measured off its frequency.
        frequency = band["frequency"] * (1.35 if several and k % 2 else 0.7 if several else 1.0)
        g = frequency * math.sin(angle), frequency * math.cos(angle)
        if any(min(math.hypot(g[0] - a, g[1] - b), math.hypot(g[0] + a, g[1] + b)) < reach for a, b in taken):
            continue
        energies.append(np.abs(demodulator.amplitude(*g, sigma, thin)) ** 2)
    if not energies:
        # Every direction is a lattice's: the least of a ring half as far out again.
        for k in range(CONTROLS):
            angle = math.pi * (k + 0.5) / CONTROLS
            g = 1.4 * band["frequency"] * math.sin(angle), 1.4 * band["frequency"] * math.cos(angle)
            energies.append(np.abs(demodulator.amplitude(*g, sigma, thin)) ** 2)
    # The mean of exponential values from their median: one control on a streak does not count.
    local = np.median(energies, axis=0) / math.log(2)
    return smooth(local.astype(np.float32), 1.5 * sigma / step) + 1e-12


def _positive(ratio, inside, coarse, sigma, trials) -> np.ndarray:
    """Where lattice passes the false-discovery threshold (Benjamini-Hochberg over independent windows)."""
    chance = np.clip(-np.expm1(trials * np.log1p(-np.exp(-np.clip(ratio, 1e-6, 500)))), 1e-200, 1)
    chance = np.where(inside, chance, 1.0)
    stride = max(1, int(2 * sigma / coarse))
    sample = np.sort(chance[::stride, ::stride].ravel())
    line = FALSE_DISCOVERY * np.arange(1, sample.size + 1) / sample.size
    passing = np.flatnonzero(sample <= line)
    if passing.size == 0:
        return np.zeros(ratio.shape, bool)
    return chance <= min(line[passing[-1]], 0.01)


def _main_body(positive: np.ndarray, coarse: float) -> np.ndarray:
    """The crystal itself: parts of at least 12 nm^2 and a twentieth of the largest; holes closed."""
    labels, count = ndimage.label(positive)
    if count == 0:
        return positive
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    keep = (areas * coarse**2 >= 12.0) & (areas >= 0.05 * areas.max())
    keep[0] = False
    return ndimage.binary_fill_holes(keep[labels])


def _over_plateau(energy, crystal, sigma, patchy) -> tuple[np.ndarray, float]:
    """Amplitude over its local plateau just inside the edge; and its scatter where nothing is."""
    if not crystal.any():
        return np.zeros(energy.shape, np.float32), float("nan")
    amplitude = np.sqrt(np.clip(energy, 0, None))
    # Detection reaches beyond the edge by the wide window: start well inside.
    body = ndimage.binary_erosion(crystal, iterations=max(1, int(2 * sigma)), border_value=1)
    body = body if body.any() else crystal
    reach = ndimage.binary_dilation(crystal, iterations=max(1, int(sigma)))
    values = amplitude
    for _ in range(4):
        depth = _depth(body)
        rim = (depth > RIM[0] * sigma) & (depth < RIM[1] * sigma)
        if not rim.any():
            rim = body
        typical = float(np.median(amplitude[rim]))
        plateau = average_where(amplitude, rim, 5 * sigma, typical)
        values = amplitude / np.maximum(plateau, 0.2 * typical + 1e-20)
        body = ndimage.binary_fill_holes(_connected((values > HALF) & reach, crystal, sigma))
        if patchy:
            # Stacks of carbon layers end and turn inside the particle: only its outline is an edge.
            body = _closed(body, int(5 * sigma))
    # Detection reaches at most five windows beyond the edge: what lies deeper than that is crystal in any
    # case.
    body = ndimage.binary_fill_holes(body | (_depth(crystal) > 6 * sigma))
    depth = _depth(body)
    values = np.where(depth > (0.8 if patchy else 2.5) * sigma, np.maximum(values, 0.9), values)
    outside = ndimage.distance_transform_edt(~body)
    far = outside > 4 * sigma
    null = float(np.std(values[far])) if far.sum() > 50 else float("nan")
    values = np.where(outside > 2.5 * sigma, np.minimum(values, 0.3), values)
    return values.astype(np.float32), null


def _closed(body: np.ndarray, radius: int) -> np.ndarray:
    """Gaps narrower than twice `radius` closed, and holes; the frame is no edge."""
    wide = np.pad(body, radius, mode="edge")
    grown = ndimage.distance_transform_edt(~wide) <= radius
    back = ndimage.distance_transform_edt(np.pad(grown, 1, mode="edge"))[1:-1, 1:-1] > radius
    return ndimage.binary_fill_holes((back | wide)[radius:-radius, radius:-radius])


def _depth(body: np.ndarray) -> np.ndarray:
    """Distance to the outside in samples; the frame is no outside."""
    return ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1]


def _connected(mask: np.ndarray, crystal: np.ndarray, sigma: float) -> np.ndarray:
    """Parts of a mask that hold some of the crystal and are wider than the window."""
    opened = ndimage.binary_opening(mask, iterations=max(1, int(sigma / 2)))
    labels, count = ndimage.label(opened)
    if count == 0:
        return mask & crystal
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return (areas >= 0.05 * areas.max())[labels] & (labels > 0)
