"""Where fits of a profile begin: blur, edge and thickness from a grid, everything else linear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer.algebra import solve
from ceiflow.layer.batch import THICKNESS, X_IN, Batch

FloatArray = NDArray[np.float64]

#: Blurs in pixels that a search tries, and how many of the best are followed.
SEARCHED_BLURS, MOST_STARTS = (0.4, 0.8, 1.6, 3.2), 2
#: Half widths of a slope in pixels that are tried (first, last, number), at this blur in pixels.
HALF_WIDTHS, SLOPE_BLUR = (0.7, 12.0, 9), 0.7
#: Between the neighbours of the best one so many are tried, so many times: a ramp that is wrong by a tenth is
#: a misfit larger than any thin layer.
FINER, STAGES = 5, 2
#: Thicknesses and edge positions of the grid.
THICKNESSES, EDGES = 12, 11


def start(
    n_segments: int, particle: NDArray[np.bool_], x_in: float = 0.0, thickness: float = 0.0
) -> FloatArray:
    """Local parameters to start from; linear coefficients are solved for by the fit."""
    size = 2 + int(np.where(particle, 3, 2).sum())
    local = np.zeros((n_segments, size))
    local[:, 0], local[:, 1] = x_in, thickness
    return local


def linear_amplitude(kind, batch, local, blur):
    """Best layer amplitudes (S, K) at given edges: one linear fit per species."""
    amplitude = np.zeros((len(batch.particle), len(batch.x)))
    columns, layer = _batch._columns(kind, batch, local[:, 0], local[:, 1], blur)
    for s in np.flatnonzero(batch.layered):
        design = np.concatenate([columns[s], layer[..., None]], axis=-1)
        weighted = design * batch.weight[s][..., None]
        normal = np.einsum("kbm,kbn->kmn", weighted, design)
        amplitude[s] = solve(normal, np.einsum("kbm,kb->km", weighted, batch.y[s]))[:, -1]
    return amplitude


def grid(whole: Batch, edge: float, pixel_nm: float, max_thickness_nm: float) -> tuple[Batch, FloatArray]:
    """A batch of the same profile many times, and local parameters over edges and thicknesses."""
    thickness = np.geomspace(pixel_nm, max(max_thickness_nm, 1.1 * pixel_nm), THICKNESSES)
    x_in = edge + np.linspace(-1.0, 1.0, EDGES)[:, None] * np.maximum(thickness, 3 * pixel_nm)
    local = start(x_in.size, whole.particle)
    local[:, X_IN], local[:, THICKNESS] = x_in.ravel(), np.broadcast_to(thickness, x_in.shape).ravel()
    return whole.select(np.zeros(len(local), dtype=int)), local


def search(
    kind: str,
    whole: Batch,
    edge: float,
    pixel_nm: float,
    max_thickness_nm: float,
    blur_nm: float | None = None,
) -> list[tuple[float, float, float]]:
    """Edge, thickness and blur to start from: the best of a grid for each blur, the best blurs first.

    Parameters
    ----------
    kind, whole, pixel_nm, max_thickness_nm
    edge : float
        Contour's place on the distance axis.
    blur_nm : float, optional
        The only blur to try.
    """
    return [begin for _, begin in _ranked(kind, whole, edge, pixel_nm, max_thickness_nm, blur_nm)]


def _ranked(kind, whole, edge, pixel_nm, max_thickness_nm, blur_nm=None):
    many, local = grid(whole, edge, pixel_nm, max_thickness_nm)
    found = []
    for blur in pixel_nm * np.array(SEARCHED_BLURS) if blur_nm is None else [blur_nm]:
        amplitude = linear_amplitude(kind, many, local, blur)
        chi2 = _batch.chi2_of(kind, many, local, blur, amplitude)
        chi2[~np.all(amplitude[whole.layered] > 0, axis=0)] = np.inf
        best = int(np.argmin(chi2))
        begin = float(local[best, X_IN]), float(local[best, THICKNESS]), float(blur)
        found.append((float(chi2[best]), begin))
    return sorted(found)[:MOST_STARTS]


def half_width(whole: Batch, pixel_nm: float, max_thickness_nm: float) -> float:
    """Half the width over which a tilted facet's projection falls: the best of a grid, then of finer ones."""
    blur = SLOPE_BLUR * pixel_nm

    def misfit(half: float) -> float:
        shaped = replace(whole, radius=np.full(1, half))
        return _ranked("tilted", shaped, 0.0, pixel_nm, max_thickness_nm, blur)[0][0]

    trials = pixel_nm * np.geomspace(*HALF_WIDTHS)
    chi2 = [misfit(half) for half in trials]
    for _ in range(STAGES):
        best = int(np.argmin(chi2))
        ends = trials[max(best - 1, 0)], trials[min(best + 1, len(trials) - 1)]
        trials = np.geomspace(*ends, FINER + 2)
        chi2 = [misfit(half) for half in trials]
    return float(trials[int(np.argmin(chi2))])
