"""Where an image shows nothing: the empty part of the frame that everything else is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

from ceiflow.images.crystal import nearest
from ceiflow.images.field import pool, smooth


@dataclass
class Background:
    """The part of the frame outside every particle.

    `mask` says where; `level` is its brightness, followed smoothly over the whole frame; `excess` how far its
    texture stands above counting noise (1: none, `nan`: not tested); `found` False where the frame has no
    such part.
    """

    mask: np.ndarray
    level: np.ndarray
    found: bool
    excess: float
    reason: str = ""


def texture(image: np.ndarray, fine: float, coarse: float, factor: int = 1) -> np.ndarray:
    """Squared band between Gaussians of `fine` and `coarse` samples; block means over `factor` of them."""
    band = smooth(image, fine) - smooth(image, coarse)
    return pool(band * band, factor)


@lru_cache(maxsize=16)
def noise_spread(fine: float, coarse: float, window: float, factor: int) -> float:
    """Standard deviation of ln(texture energy) of white noise: what pure counting looks like."""
    noise = np.random.default_rng(0).standard_normal((256 * factor, 256 * factor)).astype(np.float32)
    energy = smooth(texture(noise, fine, coarse, factor), window)
    return float(np.std(np.log(energy)[16:-16, 16:-16]))


def modes(values: np.ndarray, width: float, share: float) -> list[float]:
    """Positions of the peaks of a histogram smoothed by `width` that hold at least `share` of the values."""
    low, high = np.percentile(values, [0.05, 99.95])
    step = max(width / 3, (high - low) / 4000, 1e-9)
    edges = np.arange(low - 4 * width, high + 4 * width + step, step)
    if edges.size < 3:
        return [float(np.median(values))]
    counts, _ = np.histogram(values, edges)
    density = ndimage.gaussian_filter1d(counts.astype(float), width / step, mode="constant")
    centres = (edges[1:] + edges[:-1]) / 2
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])) + 1
    around = [np.mean(np.abs(values - centres[i]) < 2.5 * width) for i in peaks]
    return [float(centres[i]) for i, part in zip(peaks, around, strict=True) if part >= share]


def followed(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Quadratic surface through the image where the mask is true: illumination changes slowly."""
    rows, columns = image.shape
    y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None, :]
    terms = [np.ones((rows, columns)), y + 0 * x, x + 0 * y, y * y + 0 * x, y * x, x * x + 0 * y]
    at = np.flatnonzero(mask)
    at = at[:: max(1, at.size // 20000)]
    if at.size < 50:
        return np.full(image.shape, np.mean(image[mask]) if mask.any() else np.mean(image), np.float32)
    design = np.stack([np.broadcast_to(t, image.shape).ravel()[at] for t in terms], axis=1)
    data = image.ravel()[at].astype(float)
    # A little ridge, more on the curvature: no steep extrapolation from a small corner of vacuum.
    ridge = np.diag(np.array([0.0, 2e-4, 2e-4, 3e-3, 3e-3, 3e-3]) * at.size)
    weight = np.ones(at.size)
    for _ in range(4):
        normal = (design * weight[:, None]).T @ design + ridge
        solution = np.linalg.solve(normal, (design * weight[:, None]).T @ data)
        rest = data - design @ solution
        scale = 3 * max(1.4826 * float(np.median(np.abs(rest))), 0.02 * abs(float(np.median(data)))) + 1e-12
        weight = 1 / (1 + (rest / scale) ** 2)
    surface = sum(c * np.broadcast_to(t, image.shape) for c, t in zip(solution, terms, strict=True))
    inside = image[mask]
    return np.clip(surface, 0.5 * inside.mean(), 1.5 * inside.mean()).astype(np.float32)


def find_background(detail: np.ndarray, image: np.ndarray, energy: np.ndarray, dark: bool, widths: dict):
    """The empty part of the frame: counting noise and no texture, brightest of those (or darkest, for dark
    field).

    Parameters
    ----------
    detail : (k r, k c) float32 array
        Pooled image in samples fine enough for the texture.
    image : (r, c) float32 array
        The same in samples of the field.
    energy : (r, c) array
        From `texture`.
    dark : bool
        True for dark-field images.
    widths : dict
        `fine`, `coarse`: the texture's band in samples of `detail`; `window`: of the search in samples of
        `image`; `factor`: the ratio of both; `step_nm`: width of a sample of `detail`.

    Returns
    -------
    Background
    """
    window = widths["window"]
    mean, energy = smooth(image, window), smooth(energy, window)
    offset = 1e-3 * float(np.mean(np.abs(mean))) + 1e-12
    # Counting noise grows with brightness: only energy above that is texture.
    fano = energy / np.maximum(mean, offset) if not dark and float(mean.min()) >= 0 else energy
    positive = fano[fano > 0]
    if positive.size < 100 or np.ptp(image) <= 1e-5 * float(np.abs(image).max()):
        return Background(
            np.zeros(image.shape, bool), np.full(image.shape, mean.mean()), False, np.nan, "no contrast"
        )
    logs = np.log(np.maximum(fano, np.percentile(positive, 0.01)))
    spread = noise_spread(widths["fine"], widths["coarse"], window, widths["factor"])
    inner = logs[2:-2, 2:-2]
    lowest = modes(inner, spread, 0.01)
    if not lowest:
        lowest = [float(np.percentile(inner, 2))]
    quiet = logs < lowest[0] + 3 * spread
    if dark:
        quiet = mean < _dark_threshold(mean, window)
    else:
        quiet &= ~_steps(mean, logs < lowest[0] + 3 * spread, window)
    mask = _largest_parts(quiet, max(2, int(window)), image.size)
    if not mask.any():
        return Background(mask, np.full(image.shape, mean.mean()), False, np.nan, "no quiet area")
    mask = _of_one_brightness(mean, mask, dark, window)
    level = followed(mean, mask)
    excess = film_test(detail, nearest(mask, detail.shape), widths["step_nm"])
    rest = ~ndimage.binary_dilation(mask, iterations=2 * max(2, int(window)))
    if rest.mean() < 0.003:
        return Background(mask, level, True, excess, "nothing but background")
    return Background(mask, level, True, excess)


def _steps(mean: np.ndarray, quiet: np.ndarray, window: float) -> np.ndarray:
    """Where the brightness changes within a window by far more than it does elsewhere: the edge of a smooth
    thing.
    """
    slope = np.hypot(*np.gradient(mean)) * window
    usual = np.median(slope[quiet]) if quiet.any() else np.median(slope)
    return slope > 6 * max(float(usual), 1e-12)


def _dark_threshold(mean: np.ndarray, window: float) -> float:
    """A brightness just above the darkest population of a dark-field image."""
    low = np.percentile(mean, 0.5)
    high = np.percentile(mean, 99)
    noise = 1.4826 * float(np.median(np.abs(mean - smooth(mean, 2 * window))))
    width = max((high - low) / 150, noise, 1e-9)
    peaks = modes(mean, width, 0.01)
    centre = peaks[0] if peaks else low
    below = mean[mean <= centre]
    spread = 1.4826 * np.median(centre - below) if below.size > 50 else width
    return centre + max(4 * spread, 1e-9)


def _largest_parts(mask: np.ndarray, radius: int, size: int) -> np.ndarray:
    """Connected parts that stand an erosion and cover at least 0.3 % of the frame each."""
    core = ndimage.binary_erosion(mask, iterations=radius, border_value=1)
    labels, count = ndimage.label(core)
    if count == 0:
        return np.zeros(mask.shape, bool)
    areas = np.bincount(labels.ravel())
    keep = areas >= 0.003 * size
    keep[0] = False
    return keep[labels]


def _of_one_brightness(mean: np.ndarray, mask: np.ndarray, dark: bool, window: float) -> np.ndarray:
    """Of several quiet parts those that may be vacuum.

    The brightest (dark field: darkest) is. A part beside it, across a step, is something smooth and thin;
    one that lies elsewhere may be up to 20 % dimmer, as illumination is uneven.
    """
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    index = np.arange(1, count + 1)
    parts = [mean[labels == i] for i in index]
    level = np.array([np.median(part[:: max(1, part.size // 50000)]) for part in parts])
    spread = np.array([np.std(part) for part in parts])
    best = int(np.argmin(level) if dark else np.argmax(level))
    away = ndimage.distance_transform_edt(labels != index[best])
    distance = ndimage.minimum(away, labels, index)
    tolerance = np.where(distance > 12 * window, 0.2, 0.02) * abs(level[best]) + 4 * spread[best]
    return np.isin(labels, index[np.abs(level - level[best]) <= tolerance])


def film_test(image: np.ndarray, mask: np.ndarray, step_nm: float) -> float:
    """How much the texture of the ground stands above counting noise: about 1 in vacuum, larger over a film.

    The larger of two signs. (a) Power between 0.9 and 2.5 nm^-1 over what the finest detail extrapolates to:
    noise falls off nearly exponentially with frequency behind a scintillator. (b) The largest rise of the
    power with frequency: noise only falls, the transfer of a phase object starts at zero.
    NaN where the area is too small, or the samples too wide (> 0.3 nm).
    """
    size, spectra = 0, []
    mask = ndimage.binary_closing(np.pad(mask, 8, mode="edge"), iterations=6)[8:-8, 8:-8]
    for size in (64, 48, 32):
        spectra = _spectra(image, mask, size)
        if len(spectra) >= 4:
            break
    if not spectra or step_nm > 0.3:
        return float("nan")
    power = np.mean(spectra, axis=0)
    g = np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size)[None, :]) / step_nm
    nyquist = 0.5 / step_nm
    bins = np.linspace(0.05, 1, 17) * nyquist
    index = np.digitize(g, bins)
    counts = np.array([np.sum(index == i) for i in range(1, bins.size)])
    radial = np.array([power[index == i].mean() if n else np.nan for i, n in enumerate(counts, 1)])
    centre = (bins[1:] + bins[:-1]) / 2
    good = np.isfinite(radial) & (radial > 0)
    radial, centre, counts = radial[good], centre[good], counts[good]
    error = 1 / np.sqrt(np.maximum(counts * len(spectra) / 6, 1))
    return max(_rise(radial, error), _above_noise(radial, centre, nyquist) if step_nm < 0.13 else 0.0)


def _spectra(image: np.ndarray, mask: np.ndarray, size: int) -> list[np.ndarray]:
    """Power spectra of tiles that lie in the mask, of the contrast against their mean plane."""
    window = np.hanning(size + 2)[1:-1, None] * np.hanning(size + 2)[None, 1:-1]
    out = []
    for r in range(0, image.shape[0] - size + 1, size // 2):
        for c in range(0, image.shape[1] - size + 1, size // 2):
            if mask[r : r + size, c : c + size].mean() > 0.97 and len(out) < 400:
                tile = image[r : r + size, c : c + size] / image[r : r + size, c : c + size].mean() - 1
                tile = tile - ndimage.gaussian_filter(tile, size / 5, mode="nearest")
                out.append(np.abs(fft.fft2((tile - tile.mean()) * window, workers=1)) ** 2)
    return out


def _rise(radial: np.ndarray, error: np.ndarray) -> float:
    """Largest significant ratio of the power at one frequency to that at a lower one (the lowest three left
    out).
    """
    lowest, best = 2, 1.0
    for k in range(3, radial.size):
        if radial[k - 1] < radial[lowest]:
            lowest = k - 1
        ratio = radial[k] / radial[lowest]
        best = max(best, ratio - 4 * ratio * np.hypot(error[k], error[lowest]))
    # A rise of a fifth is a film already: put on the scale of the other sign.
    return float(1 + 3 * (best - 1))


def _above_noise(radial: np.ndarray, centre: np.ndarray, nyquist: float) -> float:
    """Power of the band over a straight line through the logarithm of the upper part of the spectrum."""
    high = (centre > 0.6 * nyquist) & (centre < 0.97 * nyquist)
    band = (centre > 0.9) & (centre < min(2.5, 0.6 * nyquist))
    if not band.any() or high.sum() < 3:
        return 0.0
    slope = min(np.polyfit(centre[high], np.log(radial[high]), 1)[0], 0.0)
    intercept = np.mean(np.log(radial[high]) - slope * centre[high])
    return float(np.mean(radial[band] / np.exp(intercept + slope * centre[band])))
