"""Where the edge lies within its Fresnel fringe: a phase and absorption edge at the known defocus, fitted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

_STEP_NM = 0.05
_LENGTH = 1024
_PHASES = np.concatenate([np.linspace(0.05, 1.0, 10), np.linspace(1.2, 3.6, 9), np.linspace(4.0, 7.0, 6)])
_ABSORPTIONS = np.array([0.0, 0.015, 0.04, 0.1, 0.25])
# Edges: half-widths of a symmetric step, and depths over which a round edge reaches its full thickness.
_SLOPES_NM = np.array([0.1, 0.3, 0.7, 1.5])
_ROUND_NM = np.array([2.0, 6.0])


# At many electrons the texture of a fringe's tails draws the first contour this far outside of a bare edge.
DEEP_NM = 1.4
# Fresnel lengths tried where the defocus is not known: up to 300 nm at 300 kV.
FRINGES_NM = (0.2, 0.3, 0.4, 0.5, 0.65, 0.8)


@dataclass(frozen=True)
class EdgeFit:
    """Distance of the true edge from the zero of the profile (nm, positive outwards), and how well it
    fits.
    """

    shift_nm: float
    explained: float
    phase: float


@lru_cache(maxsize=8)
def edge_profiles(fringe_nm: float, blur_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """Intensities across edges of many phases and absorptions behind one defocus, vacuum 1.

    The wave behind the edge is exp(i phase s - absorption s), s a step of finite slope, propagated over a
    defocus whose Fresnel length sqrt(wavelength x defocus) is `fringe_nm`, over- and underfocus both, and
    blurred.

    Returns
    -------
    (m,) array
        Positions in nm, positive in the vacuum.
    (k, m) array
        The profiles.
    """
    x = (np.arange(_LENGTH) - _LENGTH // 2) * _STEP_NM
    g = np.fft.fftfreq(_LENGTH, _STEP_NM)
    # A plateau between two edges keeps the transform periodic; only the one at 0 is looked at.
    other = x[0] * 0.75
    straight = 0.5 * (1 - np.tanh(x / _SLOPES_NM[:, None]))
    ball = np.sqrt(np.clip(-x / _ROUND_NM[:, None], 0, 1))
    step = np.concatenate([straight, ball]) * 0.5 * (1 + np.tanh((x - other) / 0.5))
    transmitted = np.exp(
        (1j * _PHASES[:, None, None, None] - _ABSORPTIONS[None, :, None, None]) * step[None, None, :, :]
    ).reshape(-1, _LENGTH)
    spectrum = np.fft.fft(transmitted, axis=1)
    blur = np.exp(-2 * (np.pi * blur_nm * g) ** 2)
    out = []
    for sign in (1, -1):
        wave = np.fft.ifft(spectrum * np.exp(-1j * sign * np.pi * fringe_nm**2 * g**2), axis=1)
        out.append(np.fft.ifft(np.fft.fft(np.abs(wave) ** 2, axis=1) * blur, axis=1).real)
    near = np.abs(x) < 8
    return x[near], np.concatenate(out)[:, near]


def fit_edge(
    position_nm: np.ndarray,
    profile: np.ndarray,
    error: np.ndarray,
    fringe_nm: float,
    blur_nm: float,
    reach_nm: float = 0.6,
):
    """Least squares over the edges of `edge_profiles` and their place.

    Parameters
    ----------
    position_nm, profile, error : (n,) arrays
        Mean intensity over vacuum against the distance from a first contour, with standard errors.
    fringe_nm : float
        sqrt(wavelength x defocus).
    blur_nm : float
        Scatter of the first contour about the true edge, and other blur.
    reach_nm : float
        Shifts up to this size are tried, or of 2.5 fringes.

    Returns
    -------
    EdgeFit
    """
    x, profiles = edge_profiles(round(fringe_nm, 3), round(blur_nm, 3))
    reach = max(reach_nm, 2.5 * fringe_nm)
    shifts = np.arange(-reach, reach + 0.01, 0.04)
    weight = 1 / (error**2 + 0.005**2)
    target = profile * np.sqrt(weight)
    best = (np.inf, 0.0, 0)
    for shift in shifts:
        at = position_nm - shift
        low = np.clip(np.searchsorted(x, at) - 1, 0, x.size - 2)
        part = (at - x[low]) / _STEP_NM
        model = profiles[:, low] * (1 - part) + profiles[:, low + 1] * part
        cost = np.sum((model * np.sqrt(weight) - target) ** 2, axis=1)
        k = int(np.argmin(cost))
        if cost[k] < best[0]:
            best = (float(cost[k]), float(shift), k)
    mean = np.sum(weight * profile) / weight.sum()
    total = float(np.sum(weight * (profile - mean) ** 2))
    phase = _PHASES[
        (best[2] % (profiles.shape[0] // 2)) // (_ABSORPTIONS.size * (_SLOPES_NM.size + _ROUND_NM.size))
    ]
    return EdgeFit(best[1], 1 - best[0] / max(total, 1e-30), float(phase))


def edge_shift(
    intensity: np.ndarray, distance_nm: np.ndarray, step_nm: float, fringe_nm: float, deep: bool = False
) -> EdgeFit | None:
    """How far a contour lies from the edge that made the fringe; None where the frame cannot say.

    Parameters
    ----------
    intensity, distance_nm : (n,) arrays
        Brightness over vacuum at samples near the contour, and their distance from it, negative inside.
    step_nm : float
        Width of a sample.
    fringe_nm : float
        Fresnel length sqrt(wavelength x defocus).
    deep : bool
        Look further inside: for a first contour that may lie well outside the edge.
    """
    inner, outer = -((2.7 if deep else 0.9) * fringe_nm + (DEEP_NM if deep else 0.7)), 2.5 * fringe_nm + 1.2
    near = (distance_nm > inner) & (distance_nm < outer)
    if near.sum() < 400:
        return None
    bins = np.arange(inner, outer + step_nm, max(step_nm, 0.1))
    distance, intensity = distance_nm[near], intensity[near]
    index = np.digitize(distance, bins) - 1
    count = np.bincount(index, minlength=bins.size).astype(float)
    total = np.bincount(index, intensity, minlength=bins.size)
    square = np.bincount(index, intensity**2, minlength=bins.size)
    good = count > 20
    mean = total[good] / count[good]
    where = np.bincount(index, distance, minlength=bins.size)[good] / count[good]
    error = np.sqrt(np.maximum(square[good] / count[good] - mean**2, 1e-8) / count[good] * 4)
    if good.sum() < 8:
        return None
    return fit_edge(where, mean, error, fringe_nm, 0.15, DEEP_NM if deep else 0.6)


def signed_distance(values: np.ndarray, level: float) -> np.ndarray:
    """Distance from the contour in samples, negative inside, good to a fraction of a sample near it."""
    inside = values > level
    if inside.all() or not inside.any():
        return np.full(values.shape, -1e6 if inside.any() else 1e6, np.float32)
    out = ndimage.distance_transform_edt(~inside)
    within = ndimage.distance_transform_edt(inside)
    rough = np.where(inside, 0.5 - within, out - 0.5)
    return ndimage.gaussian_filter(rough, 1.0, mode="nearest").astype(np.float32)


def moved(values: np.ndarray, distance: np.ndarray, shift: float) -> np.ndarray:
    """The field with its contour moved outwards by `shift` samples (inwards where negative).

    Parameters
    ----------
    values, distance : (r, c) arrays
        The field, and the distance from its contour (`signed_distance`).
    """
    slope = ndimage.gaussian_filter(distance, 2.0, mode="nearest")
    normal = np.stack(np.gradient(slope))
    normal /= np.maximum(np.hypot(*normal), 1e-3)
    # Only near the contour does it matter.
    near = np.nonzero(np.abs(distance) < 2 * abs(shift) + 20)
    at = np.stack([near[0] - shift * normal[0][near], near[1] - shift * normal[1][near]])
    out = values.copy()
    out[near] = ndimage.map_coordinates(values, at, order=1, mode="nearest")
    return out.astype(np.float32, copy=False)


def on_the_edge(
    intensity: np.ndarray,
    values: np.ndarray,
    level: float,
    step_nm: float,
    fringe_nm: float | None,
    valid: np.ndarray,
) -> tuple[np.ndarray, dict]:
    """The field with its contour moved to where the fitted Fresnel fringe has its edge: a coarse pass, two
    fine ones.

    Parameters
    ----------
    fringe_nm : float or None
        None: the length that explains the profile best; good for the place, no measure of the defocus.

    Returns
    -------
    (r, c) array, dict
        The field; `fringe_shift_nm` (None where no fringe explains the profile), `fringe_explained`,
        `fringe_nm`.
    """
    nothing = {"fringe_shift_nm": None, "fringe_explained": None, "fringe_nm": None}
    guessed = fringe_nm is None
    distance = signed_distance(values, level)
    reach = 2.7 * max(FRINGES_NM if guessed else [fringe_nm]) + 4.0
    near = valid & (np.abs(distance) * step_nm < reach)
    light, apart = intensity[near], distance[near] * step_nm
    if guessed:
        tried = [(edge_shift(light, apart, step_nm, f, True), f) for f in FRINGES_NM]
        tried = [(fit.explained, f) for fit, f in tried if fit is not None]
        if not tried:
            return values, nothing
        fringe_nm = max(tried)[1]
    enough = 0.85 if guessed else 0.4
    total, explained = 0.0, None
    for deep in (True, False, False):
        fit = edge_shift(light, apart - total, step_nm, fringe_nm, deep)
        if fit is None or fit.explained < (0.2 if deep else enough):
            break
        total, explained = total + fit.shift_nm, fit.explained
        if not deep and abs(fit.shift_nm) < 0.05:
            break
    if explained is None or (explained < enough):
        return values, nothing
    return moved(values, distance, total / step_nm), {
        "fringe_shift_nm": round(total, 3),
        "fringe_explained": round(explained, 3),
        "fringe_nm": round(float(fringe_nm), 3),
    }
