"""A first look for the energy axis: a grid of offsets and dispersions, all edges fitted at each."""

from __future__ import annotations

import numpy as np

from ceiflow.eels.table import Edge

COARSE_CHANNEL_EV = 1.2
# Relative error of a file's dispersion before edges measure it, and after where no pair of edges can.
PRIOR_DISPERSION = 0.004


class _Spectrum:
    """A summed spectrum on coarse channels with its background space taken out once."""

    def __init__(self, energy: np.ndarray, counts: np.ndarray, channel_eV: float):
        step = energy[1] - energy[0]
        bins = max(round(channel_eV / step), 1)
        size = energy.size // bins * bins
        self.energy = energy[:size].reshape(-1, bins).mean(1)
        self.counts = counts[:size].reshape(-1, bins).sum(1)
        # The level around a channel, never its own count alone, and never less than one.
        width = min(9, self.counts.size)
        padded = np.pad(self.counts, (width // 2, width - 1 - width // 2), mode="edge")
        level = np.maximum(np.convolve(padded, np.ones(width) / width, mode="valid"), 1.0)
        # A model error of one per cent beside counting noise: otherwise a sum of many pixels would trust
        # crude edge shapes beyond all measure.
        self.weight = 1 / np.sqrt(level + (0.01 * level) ** 2)
        log = np.log(self.energy / self.energy.mean())
        slope = np.polyfit(log, np.log(level), 1)[0]
        power = (self.energy / self.energy.mean()) ** slope
        background = power[:, None] * log[:, None] ** np.arange(4)
        self.basis = np.linalg.qr(background * self.weight[:, None])[0]
        target = self.counts * self.weight
        self.target = target - self.basis @ (self.basis.T @ target)

    def project(self, columns: np.ndarray) -> np.ndarray:
        weighted = columns * self.weight[:, None]
        return weighted - self.basis @ (self.basis.T @ weighted)

    def misfit(self, columns: np.ndarray) -> float:
        """Chi-square of the best non-negative sum of `columns` above a free background."""
        from scipy.optimize import nnls

        if columns.shape[1] == 0:
            return float(self.target @ self.target)
        both = np.concatenate([self.project(columns), self.target[:, None]], axis=1)
        triangle = np.linalg.qr(both, mode="r")
        scale = np.maximum(np.linalg.norm(triangle[:, :-1], axis=0), 1e-30)
        return float(nnls(triangle[:, :-1] / scale, triangle[:, -1], maxiter=2000)[1] ** 2)


class _Templates:
    """Shapes of all edges, tabulated once on the true axis and interpolated for every trial axis."""

    STEP = 0.2

    def __init__(self, edges: list[Edge], low: float, high: float, blur: float):
        self.low = low
        grid = np.arange(low, high + self.STEP, self.STEP)
        self.table = np.concatenate([_templates(edge, grid, blur) for edge in edges], axis=1)

    def __call__(self, true_energy: np.ndarray) -> np.ndarray:
        place = np.clip((true_energy - self.low) / self.STEP, 0, len(self.table) - 1.001)
        index = place.astype(np.int64)
        part = (place - index)[:, None]
        return self.table[index] * (1 - part) + self.table[index + 1] * part


def _templates(edge: Edge, energy: np.ndarray, blur: float) -> np.ndarray:
    """Shapes an edge may be made of, at energies on the true axis: (n, k)."""
    from scipy.special import ndtr

    start = edge.features[0][0] if edge.second_eV is not None else edge.features[0][0] + 3.0
    decay = np.maximum(energy, 1.0) / edge.onset_eV
    columns = [ndtr((energy - start) / (3.0 if edge.shell == "K" else 2.0)) * decay**-3.0]
    lines = [np.exp(-0.5 * ((energy - at) / np.hypot(width, blur)) ** 2) for at, width in edge.features]
    if edge.second_eV is not None:
        lines = [lines[0] + 0.45 * lines[1]]
    return np.stack([*columns, *lines], axis=1)


def _search(spectrum: _Spectrum, edges: list[Edge], offsets: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    middle = 0.5 * (spectrum.energy[0] + spectrum.energy[-1])
    reach = np.abs(offsets).max() + np.abs(slopes).max() * np.ptp(spectrum.energy) + 1.0
    shapes = _Templates(edges, spectrum.energy[0] - reach, spectrum.energy[-1] + reach, 0.6)
    cost = np.empty((offsets.size, slopes.size))
    for i, offset in enumerate(offsets):
        for j, slope in enumerate(slopes):
            true = spectrum.energy - offset - slope * (spectrum.energy - middle)
            cost[i, j] = spectrum.misfit(shapes(true))
    return cost


def _prior_cost(value: np.ndarray | float, centre: float, width: float) -> np.ndarray | float:
    """Minus twice the logarithm of a Student t of three degrees: a pull that lets go when overruled."""
    return 4.0 * np.log1p(((value - centre) / width) ** 2 / 3.0)


def locate(
    energy: np.ndarray,
    counts: np.ndarray,
    edges: list[Edge],
    prior: float,
    prior_se: float,
    max_offset: float,
    max_error: float,
) -> tuple[float, float]:
    """The best cell of the grid, then of a finer one around it: offset at mid range, slope."""
    coarse = _Spectrum(energy, counts, COARSE_CHANNEL_EV)
    offsets = 1.4 * np.arange(-np.ceil(max_offset / 1.4), np.ceil(max_offset / 1.4) + 1)
    several = len(edges) > 1
    steps = np.ceil(max_error / 0.0065)
    slopes = 0.0065 * np.arange(-steps, steps + 1) if several else np.zeros(1)
    offset = slope = 0.0
    scale = 1.0
    for finer in (False, True):
        if finer:
            offsets = offset + np.arange(-1.5, 1.6, 0.5)
            slopes = slope + np.arange(-0.006, 0.0061, 0.002) if several else np.zeros(1)
        cost = _search(coarse, edges, offsets, slopes)
        scale = max(cost.min() / max(coarse.energy.size - 20, 1), 1.0)
        total = cost / scale + _prior_cost(offsets, prior, prior_se)[:, None]
        total = total + _prior_cost(slopes, 0.0, PRIOR_DISPERSION)[None, :]
        i, j = np.unravel_index(int(np.argmin(total)), total.shape)
        offset, slope = float(offsets[i]), float(slopes[j])
    return offset, slope
