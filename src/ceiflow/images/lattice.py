"""Lattice against none: the field whose contour is where the crystal's fringes end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from ceiflow.images.crystal import HALF, RIM, foreign, main_body, nearest, over_plateau, positive
from ceiflow.images.demodulate import Demodulator
from ceiflow.images.field import (
    Field,
    block_factor,
    clean,
    field_factor,
    frame_is_far,
    on_grid,
    pool,
    smooth,
)
from ceiflow.images.spots import Spot, find_spots, flattened
from ceiflow.units import electron_wavelength_nm

# Gaussian windows, one standard deviation in fringes: narrow for the place, wide for the verdict.
POSITION_FRINGES = 1.5
DETECTION_FRINGES = 3.0
MINIMUM_WINDOW_NM = 0.4
# Directions in which fringes of turbostratic carbon are looked for.
DIRECTIONS = 12
CONTROLS = 8
# Fringes closer than this go on through a surface that is reconstructed to rock salt (its widest: 0.241 nm).
CLOSE_PACKED_NM = 0.3
# They draw an edge of their own if they are seen in at least this share of the crystal.
LEAST_SHARE_OF_WHOLE = 0.8


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
        (full width of the position window), `displaced_nm` (of the finest of them, by the defocus), `reason`.
        `maps["crystal"]`: bool, the detected crystal (main body); `maps["positive"]`: bool, everything
        lattice-positive, islands in the layer too (of turbostratic carbon only what stands out of its own
        ring). Where the
        close-packed fringes have an edge of their own (`close_packed`) the field is the larger of both, and
        `maps["wide"]` the one of all fringes together.

    Raises
    ------
    ValueError
        For an array that is no image, or a pixel size that is not positive.
    """
    if not (pixel_size_nm and math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"a positive pixel size is needed; found {pixel_size_nm!r}")
    cleaned, notes = clean(image)
    low = max(spacing_range_nm[0], 2.3 * pixel_size_nm)
    out_bin = math.prod(field_factor(image.shape, pixel_size_nm))
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


@dataclass(frozen=True)
class _Edge:
    """What a set of bands draws: the field, its noise, and on the coarse grid where lattice is."""

    values: np.ndarray
    null: float
    crystal: np.ndarray
    positive: np.ndarray
    foreign: list[bool]
    used: list[float]
    sigma: float

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.values > HALF))


def _field(flat, step, factor, spots, found, inside, notes, out_bin, spread) -> Field:
    """Demodulate, test, and normalise; the outermost of two edges where the close-packed fringes go on."""
    demodulator = Demodulator(flat, step, factor)
    coarse = step * factor
    bands = _bands(spots, found)
    whole = _edge(demodulator, bands, spots, inside, coarse, spread, found["turbostratic"])
    values, used, maps = whole.values, whole.used, {}
    close = _close_packed(bands, whole, found)
    if close:
        edge = _edge(demodulator, close, spots, inside, coarse, spread, False)
        if edge.area > LEAST_SHARE_OF_WHOLE * whole.area:
            values = np.maximum(values, edge.values)
            used, maps = sorted({*used, *edge.used}), {"wide": whole.values}
    notes |= {
        "lattice": bool(whole.crystal.any()),
        "spots": [s.as_note() | {"foreign": f} for s, f in zip(spots, whole.foreign, strict=False)],
        "smallest_spacing_nm": round(min(used), 4),
        "largest_spacing_nm": round(max(used), 4),
        "window_nm": round(2.355 * whole.sigma, 3),
        "displaced_nm": round(spread / min(used), 3),
        "close_packed": bool(maps),
        "reason": "" if whole.crystal.any() else "fringes nowhere above the false-discovery threshold",
    }
    margin = min(math.ceil(2 * whole.sigma / coarse), min(values.shape) // 4)
    maps |= {name: nearest(getattr(whole, name), values.shape) for name in ("crystal", "positive")}
    if "wide" in maps:
        maps["wide"] = _copied_rim(maps["wide"], margin)
    far = frame_is_far(values.shape, margin)
    return Field(
        _copied_rim(values, margin), coarse, HALF, whole.sigma, whole.null, notes, out_bin, far, maps
    )


def _copied_rim(values: np.ndarray, margin: int) -> np.ndarray:
    """The window is cut by the frame: what lies at its rim is a copy of the nearest whole one."""
    return np.pad(values[margin:-margin, margin:-margin], margin, mode="edge")


def _close_packed(bands: list[dict], whole: _Edge, found: dict) -> list[dict]:
    """The particle's close-packed fringes, where wider ones stand beside them.

    The outermost nanometres of a cycled oxide are often reconstructed to rock salt: the basal fringes
    (0.47 nm) end below them and the close-packed ones go on to the surface. What is crystalline is no layer.
    Either kind may fade before the surface (in a thin edge, or tilted off its zone), so the outermost counts.
    """
    own = [band for band, other in zip(bands, whole.foreign, strict=True) if not other]
    close = [band for band in own if band["frequency"] > 1 / CLOSE_PACKED_NM]
    if found["turbostratic"] or not whole.crystal.any() or len(close) == len(own):
        return []
    return close


def _edge(demodulator, bands, spots, inside, coarse, spread, turbostratic) -> _Edge:
    """Field of the energy of some bands over its plateau; detection is done on a grid of about a window."""
    sigma = max(band["sigma"] for band in bands)
    wider = sigma * DETECTION_FRINGES / POSITION_FRINGES
    thin = max(1, int(wider / (2.5 * coarse)))
    trials = sum(len(band["directions"]) for band in bands)
    terms, hits, ratio, strict = [], [], 0.0, 0.0
    for band in bands:
        displaced = spread * band["frequency"]
        shifts = _taken_back(band, displaced, sigma)
        signal, wide, noise, even = _energies(demodulator, band, spots, (sigma, wider), coarse, thin, shifts)
        step = coarse * demodulator.shape[0] / wide.shape[0]
        within = nearest(inside, wide.shape)
        # Every spot in units of its own strongest amplitude: each passes a quarter (of energy) at the edge.
        strong = np.percentile((wide - noise)[within], 99) if within.any() else 1.0
        excess = signal - demodulator.spread(noise) * (DETECTION_FRINGES / POSITION_FRINGES) ** 2
        # Strong spots count, and of these the ones that are displaced least.
        blur = 1 + (displaced / sigma) ** 2
        scale = max(float(strong), 0.0) / max(float(np.median(noise)), 1e-12) ** 2 / blur**4
        terms.append((excess * scale).astype(np.float32))
        one = wide / np.maximum(noise, 1e-20)
        hits.append(positive(one, within, 2 * sigma / step, trials))
        ratio = np.maximum(ratio, one)
        strict = np.maximum(strict, one if even is None else np.minimum(one, wide / np.maximum(even, 1e-20)))
    others = foreign(hits, wider, step)
    found = positive(ratio, within, 2 * sigma / step, trials)
    own = [hit for hit, other in zip(hits, others, strict=True) if not other]
    crystal = main_body(found & np.logical_or.reduce(own), step)
    energy = np.sum([term for term, other in zip(terms, others, strict=True) if not other], axis=0)
    used = _used(terms, others, nearest(crystal, energy.shape), bands)
    values, null = over_plateau(energy, crystal, sigma / step, turbostratic)
    if turbostratic:
        # Beside the ring amorphous matter has another contrast than on it: what is alike in all directions of
        # the ring is no fringe.
        found = positive(strict, within, 2 * sigma / step, trials)
    return _Edge(values, null, crystal, found, others, used, sigma)


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


def _taken_back(band: dict, displaced_nm: float, sigma: float) -> list[tuple[float, float]]:
    """Shifts (row, column) in nm that undo the displacement of both sidebands; none where there is none.

    Out of focus the two beams of a fringe leave the crystal by `displaced_nm` along g and against it. The
    smaller of the energies at a distance to both sides has its half-amplitude contour where the crystal ends.
    """
    if displaced_nm < 0.05 or len(band["directions"]) > 1:
        return [(0.0, 0.0)]
    phase = math.pi * displaced_nm * band["frequency"]
    shift = outward_shift(displaced_nm / sigma, phase) * sigma
    angle = band["directions"][0]
    row, column = shift * math.sin(angle), shift * math.cos(angle)
    return [(row, column), (-row, -column)]


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


def _energies(demodulator, band, spots, windows, coarse, thin, shifts):
    """Energy in the position window, the smallest of all `shifts`; on the coarse grid, in the detection
    window, of signal and noise; and of a band of many directions what is alike in all of them.
    """
    every, broad = [], []
    sigma, wider = windows
    for angle in band["directions"]:
        g = band["frequency"] * math.sin(angle), band["frequency"] * math.cos(angle)
        one = _energy(demodulator.amplitude(*g, sigma, 1, shifts[0]))
        if len(shifts) > 1:
            one = np.minimum(one, _energy(demodulator.amplitude(*g, sigma, 1, shifts[1])))
        broad.append(_energy(demodulator.amplitude(*g, wider, thin)))
        every.append(one)
    narrow, wide, even = every[0], np.max(broad, axis=0), None
    if len(every) > 1:
        # What is alike in all directions is amorphous: its largest of so many is taken off.
        largest = np.sum(1 / np.arange(1, len(every) + 1)) / math.log(2)
        narrow = np.maximum(np.max(every, axis=0) - largest * np.median(every, axis=0), 0)
        # The mean of exponential values from their median, as for the noise.
        even = smooth(np.median(broad, axis=0) / math.log(2), 1.5 * wider / (coarse * thin)) + 1e-12
    # Noise is averaged over more than the window: half as many samples along an axis say the same.
    noise = _noise(demodulator, band, spots, wider, 2 * coarse * thin, 2 * thin)
    return narrow, wide, on_grid(noise, wide.shape), even


def _energy(amplitude: np.ndarray) -> np.ndarray:
    return (amplitude.real**2 + amplitude.imag**2).astype(np.float32)


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
        energies.append(_energy(demodulator.amplitude(*g, sigma, thin)))
    if not energies:
        # Every direction is a lattice's: the least of a ring half as far out again.
        for k in range(CONTROLS):
            angle = math.pi * (k + 0.5) / CONTROLS
            g = 1.4 * band["frequency"] * math.sin(angle), 1.4 * band["frequency"] * math.cos(angle)
            energies.append(_energy(demodulator.amplitude(*g, sigma, thin)))
    # The mean of exponential values from their median: one control on a streak does not count.
    local = np.median(energies, axis=0) / math.log(2)
    return smooth(local.astype(np.float32), 1.5 * sigma / step) + 1e-12
