"""Which spatial frequencies of an image are a lattice: spots in power spectra that noise cannot make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

# Chance that an image without any lattice shows one spot.
FALSE_SPOT = 0.01
# Tiles looked at in one image: more add time and no knowledge.
MOST_TILES = 1500
# Width of the smaller tiles: a crystal of two nm fills their middle.
SMALL_TILE_NM = 3.2
# Turbostratic carbon: its 002 layers.
TURBOSTRATIC_NM = (0.32, 0.405)


@dataclass(frozen=True)
class Spot:
    """One Friedel pair: frequency in nm^-1 along rows and columns, strongest power over its background."""

    g_row: float
    g_column: float
    significance: float
    tiles: int = 1

    @property
    def frequency(self) -> float:
        return float(np.hypot(self.g_row, self.g_column))

    @property
    def spacing_nm(self) -> float:
        return 1 / self.frequency

    @property
    def angle_deg(self) -> float:
        """Direction of the plane normal, from the column axis towards the row axis, 0 to 180."""
        return float(np.degrees(np.arctan2(self.g_row, self.g_column)) % 180)

    def as_note(self) -> dict:
        return {
            "spacing_nm": round(self.spacing_nm, 4),
            "angle_deg": round(self.angle_deg, 1),
            "significance": round(self.significance, 1),
            "tiles": self.tiles,
        }


def flattened(image: np.ndarray, sigma: float) -> np.ndarray:
    """The image over its local mean, minus one: illumination and thickness gone; strong edges softened."""
    from ceiflow.images.field import smooth

    local = smooth(image, sigma)
    floor = max(0.02 * float(np.mean(np.abs(image))), 1e-12)
    return np.clip((image - local) / np.maximum(local, floor), -3, 3).astype(np.float32)


def tile_spots(
    flat: np.ndarray, step_nm: float, spacing_range_nm: tuple[float, float], tile_nm: float
) -> list[tuple[int, int, Spot]]:
    """Spots in overlapping tiles: (row, column of the tile's centre in samples, spot).

    In every tile the power of noise or of an amorphous film is exponentially distributed about a radial mean.
    The mean is taken from medians of annuli, so that spots do not raise it, and is smoothed over frequency;
    power above `ln(N / FALSE_SPOT)` times it, N the number of independent frequencies in all tiles, is a
    spot.
    """
    size = int(min(max(32, 2 * round(tile_nm / step_nm / 2)), min(flat.shape) // 2 * 2))
    window = (np.hanning(size + 2)[1:-1, None] * np.hanning(size + 2)[None, 1:-1]).astype(np.float32)
    g_row = fft.fftfreq(size, step_nm)[:, None]
    g_column = fft.rfftfreq(size, step_nm)[None, :]
    g = np.hypot(g_row, g_column)
    low, high = 1 / spacing_range_nm[1], 1 / spacing_range_nm[0]
    band = (g >= low) & (g <= min(high, 0.46 / step_nm))
    if band.sum() < 8:
        return []
    tiles = _tiles(flat, size)
    if not tiles:
        return []
    # The Hann window makes neighbouring frequencies one: about every second along an axis is independent.
    limit = np.log(len(tiles) * band.sum() / 2 / FALSE_SPOT)
    annulus = np.digitize(g, np.arange(0, g.max() + 1, max(1.5 / (size * step_nm), 0.12)))
    members = [np.flatnonzero(annulus.ravel() == k) for k in range(int(annulus.max()) + 1)]
    found = []
    batch = max(1, 2_000_000 // (size * size))
    for start in range(0, len(tiles), batch):
        places = tiles[start : start + batch]
        stack = np.stack([flat[r : r + size, c : c + size] for r, c in places])
        stack = (stack - stack.mean(axis=(1, 2), keepdims=True)) * window
        power = np.abs(fft.rfft2(stack, axes=(1, 2), workers=1)) ** 2
        ratio = power / _radial_mean(power, annulus, members)
        peaks = (ratio > limit) & band & (ratio >= ndimage.maximum_filter(ratio, (1, 3, 3), mode="wrap"))
        for k, i, j in zip(*np.nonzero(peaks), strict=True):
            if j == 0 and g_row[i, 0] < 0:
                continue  # the other half of a pair
            y, x = _refined(power[k], i, j)
            if not _stands_alone(power[k], y, x):
                continue
            r, c = places[k]
            spot = Spot(y / (size * step_nm), x / (size * step_nm), float(ratio[k, i, j]))
            found.append((r + size // 2, c + size // 2, spot))
    return found


def _tiles(flat: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Upper left corners of tiles that overlap by half and are not blank, thinned evenly to `MOST_TILES`."""
    places = [(r, c) for r in _starts(flat.shape[0], size) for c in _starts(flat.shape[1], size)]
    quarter = size // 4
    places = [
        (r, c)
        for r, c in places
        if np.any(flat[r + quarter : r + size : quarter, c + quarter : c + size : quarter])
    ]
    if len(places) > MOST_TILES:
        places = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, MOST_TILES).astype(int))]
    return places


def _stands_alone(power: np.ndarray, row: float, column: float) -> bool:
    """Whether the power falls to a third both towards and away from the origin.

    A Fresnel fringe or any other edge is a streak through the origin along the edge's normal; a lattice is a
    spot.
    """
    length = np.hypot(row, column)
    here = _nearby(power, row, column)
    # Closer than 2.2 samples is the spot itself, as the tile's window blurs it.
    offset = max(0.25 * length, 2.2)
    inner = [1 - offset / length, 1 - 1.3 * offset / length]
    outer = [1 + offset / length, 1 + 1.3 * offset / length]
    return all(_nearby(power, row * f, column * f) * 3 < here for f in inner + outer if f * length > 1.0)


def _nearby(power: np.ndarray, row: float, column: float) -> float:
    """Largest power within one sample of a frequency (in samples of the half spectrum)."""
    i, j = round(row), round(column)
    rows, columns = power.shape
    if j + 1 >= columns or abs(i) + 1 >= rows // 2:
        return 0.0
    return float(max(power[(i + a) % rows, abs(j + b)] for a in (-1, 0, 1) for b in (-1, 0, 1)))


def _without_shadows(
    groups: list[tuple[Spot, list[tuple[int, int]]]],
) -> list[tuple[Spot, list[tuple[int, int]]]]:
    """Groups without harmonics of a stronger spot and without the streak that an edge draws through it."""
    kept: list[tuple[Spot, list[tuple[int, int]]]] = []
    for spot, places in groups:
        g = np.array([spot.g_row, spot.g_column])
        shadow = False
        for other, _ in kept:
            h = np.array([other.g_row, other.g_column])
            distance = min(np.hypot(*(g - h)), np.hypot(*(g + h)))
            shadow |= bool(distance < 1.0 and spot.significance < 0.35 * other.significance)
            order = np.round(spot.frequency / other.frequency)
            if order >= 2 and spot.significance < other.significance:
                away = min(np.hypot(*(g - order * h)), np.hypot(*(g + order * h)))
                shadow |= bool(away < 0.05 * spot.frequency)
        if not shadow:
            kept.append((spot, places))
    return kept


def _starts(length: int, size: int) -> list[int]:
    """Starts of tiles that overlap by half and cover the whole length."""
    count = max(1, int(np.ceil((length - size) / (size / 2))) + 1) if length > size else 1
    return sorted({round(x) for x in np.linspace(0, length - size, count)})


def _radial_mean(power: np.ndarray, annulus: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Mean power of noise at each frequency of (n, rows, columns) spectra, from the medians of annuli."""
    flat = power.reshape(len(power), -1)
    radial = np.full((len(power), len(members)), np.nan)
    for k, where in enumerate(members):
        if where.size:
            radial[:, k] = np.median(flat[:, where], axis=1) / np.log(2)
    known = np.array([where.size > 0 for where in members])
    index = np.arange(len(members))
    logs = np.log(np.maximum(radial[:, known], 1e-20))
    filled = np.stack([np.interp(index, index[known], row) for row in logs])
    return np.exp(ndimage.gaussian_filter1d(filled, 1.0, axis=1, mode="nearest"))[:, annulus]


def _refined(power: np.ndarray, i: int, j: int) -> tuple[float, float]:
    """Position of a peak to a fraction of a sample: parabolas through the logarithm of its neighbours."""
    rows, columns = power.shape
    value = np.log(power + 1e-30)

    def top(a, b, c):
        curve = a - 2 * b + c
        return 0.0 if curve >= 0 else float(np.clip(0.5 * (a - c) / curve, -0.5, 0.5))

    y = top(value[i - 1, j], value[i, j], value[(i + 1) % rows, j])
    left = value[i, j - 1] if j > 0 else value[-i % rows, min(1, columns - 1)]
    right = value[i, j + 1] if j + 1 < columns else value[i, j - 1]
    x = top(left, value[i, j], right)
    signed = i if i <= rows // 2 else i - rows
    return signed + y, j + x


def grouped(found: list[tuple[int, int, Spot]], tolerance: float) -> list[tuple[Spot, list[tuple[int, int]]]]:
    """Spots of many tiles as groups of one frequency (within `tolerance` nm^-1), strongest first, with their
    places.
    """
    rest = sorted(found, key=lambda f: (-f[2].significance, f[0], f[1]))
    groups: list[tuple[Spot, list[tuple[int, int]]]] = []
    centres = np.empty((0, 2))
    for r, c, spot in rest:
        g = np.array([spot.g_row, spot.g_column])
        if len(groups):
            # A pair stands at g and -g alike.
            distance = np.minimum(np.hypot(*(centres - g).T), np.hypot(*(centres + g).T))
            nearest = int(np.argmin(distance))
            if distance[nearest] < tolerance:
                groups[nearest][1].append((r, c))
                continue
        groups.append((spot, [(r, c)]))
        centres = np.vstack([centres, g])
    return [(Spot(s.g_row, s.g_column, s.significance, len(places)), places) for s, places in groups]


def find_spots(
    flat: np.ndarray, step_nm: float, spacing_range_nm: tuple[float, float], most: int = 8
) -> tuple[list[Spot], dict]:
    """The lattice's frequencies, from tiles of two sizes, and notes on what else was seen.

    Returns
    -------
    list of Spot
        Strongest first, at most `most`; harmonics and twins of one frequency merged.
    dict
        `turbostratic` (bool), `turbostratic_spacing_nm`, `n_tiles_with_spots`.
    """
    frame_nm = min(flat.shape) * step_nm
    large = min(max(8.0, 12 * spacing_range_nm[1]), frame_nm)
    small = min(SMALL_TILE_NM, frame_nm)
    found = tile_spots(flat, step_nm, spacing_range_nm, large)
    groups = grouped(found, 1.5 / large)
    fine = tile_spots(flat, step_nm, spacing_range_nm, small) if small < 0.7 * large else []
    notes = _turbostratic(fine, found)
    fine_groups = grouped(fine, 1.0 / small)
    known = np.array([[s.g_row, s.g_column] for s, _ in groups]).reshape(-1, 2)
    for spot, places in fine_groups:
        g = np.array([spot.g_row, spot.g_column])
        far = (
            not len(known)
            or min(np.hypot(*(known - g).T).min(), np.hypot(*(known + g).T).min()) > 1.0 / small
        )
        if far and not (notes["turbostratic"] and _is_turbostratic(spot)):
            groups.append((spot, places))
    if notes["turbostratic"]:
        # The ring itself and its second order.
        groups = [(s, p) for s, p in groups if not _is_turbostratic(s, 1) and not _is_turbostratic(s, 2)]
    groups.sort(key=lambda item: -item[0].significance)
    groups = _without_shadows(groups)
    groups.sort(key=lambda item: -item[0].significance * np.sqrt(item[0].tiles))
    notes["n_tiles_with_spots"] = len({(r, c) for _, places in groups for r, c in places})
    return [spot for spot, _ in groups[:most]], notes


def _is_turbostratic(spot: Spot, order: int = 1) -> bool:
    return TURBOSTRATIC_NM[0] <= order * spot.spacing_nm <= TURBOSTRATIC_NM[1]


def _turbostratic(fine: list[tuple[int, int, Spot]], coarse: list[tuple[int, int, Spot]]) -> dict:
    """Whether spots at the 002 spacing point everywhere: fringes that curve, as carbon black has."""
    spots = [s for _, _, s in fine if _is_turbostratic(s)]
    others = [s for _, _, s in fine if not _is_turbostratic(s)]
    if len(spots) < 6 or len(spots) < len(others):
        return {"turbostratic": False, "turbostratic_spacing_nm": None}
    turned = np.exp(2j * np.radians([s.angle_deg for s in spots]))
    spread = 1 - abs(turned.mean())
    spacing = float(np.median([s.spacing_nm for s in spots]))
    return {"turbostratic": bool(spread > 0.3), "turbostratic_spacing_nm": round(spacing, 4)}
