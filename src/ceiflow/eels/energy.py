"""The energy axis of the core loss from the edges it shows: offset and dispersion at once, edge by edge checked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ceiflow.eels.table import Edge, chosen_edges
from ceiflow.eels.window import usable_window

COARSE_CHANNEL_EV = 1.0
SIGNIFICANT = 30.0
PRIOR_DISPERSION = 0.004


@dataclass
class AxisCalibration:
    """What is wrong with an energy axis.

    true = file - offset - slope * (file - middle); `dispersion_factor` = 1 - slope multiplies the channel
    width. Each of `edges` is {edge, expected_eV, found_eV, residual_eV, se_eV}: found on the file's axis,
    residual after calibration.
    """

    offset_eV: float
    offset_se_eV: float
    dispersion_factor: float
    dispersion_se: float
    middle_eV: float
    method: str
    edges: list[dict[str, float | str]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def apply(self, energy_eV: np.ndarray) -> np.ndarray:
        """The calibrated energies of a file's axis."""
        return energy_eV - self.offset_eV - (1 - self.dispersion_factor) * (energy_eV - self.middle_eV)


class _Spectrum:
    """A summed spectrum on coarse channels with its background space taken out once."""

    def __init__(self, energy: np.ndarray, counts: np.ndarray, channel_eV: float):
        step = energy[1] - energy[0]
        bins = max(int(round(channel_eV / step)), 1)
        size = energy.size // bins * bins
        self.energy = energy[:size].reshape(-1, bins).mean(1)
        self.counts = counts[:size].reshape(-1, bins).sum(1)
        level = np.maximum(self.counts, np.median(self.counts) * 1e-3)
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
        space, triangle = np.linalg.qr(self.project(columns))
        scale = np.maximum(np.linalg.norm(triangle, axis=0), 1e-30)
        inside = space.T @ self.target
        residual = nnls(triangle / scale, inside, maxiter=2000)[1]
        return float(self.target @ self.target - inside @ inside + residual**2)


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


def _columns(edges: list[Edge], true_energy: np.ndarray, blur: float) -> np.ndarray:
    if not edges:
        return np.zeros((true_energy.size, 0))
    return np.concatenate([_templates(edge, true_energy, blur) for edge in edges], axis=1)


def _in_view(edges: list[Edge], energy: np.ndarray, slack: float) -> list[Edge]:
    return [e for e in edges if energy[0] - slack + 12 < e.features[0][0] < energy[-1] + slack - 12]


def _search(spectrum: _Spectrum, edges: list[Edge], offsets: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    middle = 0.5 * (spectrum.energy[0] + spectrum.energy[-1])
    cost = np.empty((offsets.size, slopes.size))
    for i, offset in enumerate(offsets):
        for j, slope in enumerate(slopes):
            true = spectrum.energy - offset - slope * (spectrum.energy - middle)
            cost[i, j] = spectrum.misfit(_columns(edges, true, 0.6))
    return cost


def _prior_cost(value: np.ndarray | float, centre: float, width: float) -> np.ndarray | float:
    """Minus twice the logarithm of a Student t of three degrees: a pull that lets go when overruled."""
    return 4.0 * np.log1p(((value - centre) / width) ** 2 / 3.0)


def calibrate_axis(
    energy_eV: np.ndarray,
    counts: np.ndarray,
    elements: list[str],
    prior_offset_eV: float = 0.0,
    prior_se_eV: float = 3.0,
    max_offset_eV: float = 25.0,
    max_dispersion_error: float = 0.05,
) -> AxisCalibration | None:
    """Offset and dispersion of a core-loss axis from all edges of a summed spectrum.

    A grid of offsets and dispersions is searched with non-negative fits of all edges together, then every
    significant edge is placed by itself, and a robust line through their shifts is the calibration. What
    chemistry does to a reference position enters as its error.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        The file's axis, and the sum of all spectra.
    elements : list of str
    prior_offset_eV, prior_se_eV : float
        What the zero loss (or the file) says about the offset; overruled where edges disagree clearly.
    max_offset_eV, max_dispersion_error : float
        Range of the search.

    Returns
    -------
    AxisCalibration or None
        None where no edge is significant.
    """
    middle = float(0.5 * (energy_eV[0] + energy_eV[-1]))
    start, stop = usable_window(energy_eV, counts)
    inside = (energy_eV >= start) & (energy_eV <= stop)
    energy, counts = energy_eV[inside], np.asarray(counts, np.float64)[inside]
    edges = _in_view(list(chosen_edges(elements).values()), energy, max_offset_eV)
    if not edges or energy.size < 50:
        return None
    fine = _Spectrum(energy, counts, 0.3)
    offset, slope, scale = _locate(
        energy, counts, edges, prior_offset_eV, prior_se_eV, max_offset_eV, max_dispersion_error
    )
    centre = 0.5 * (energy[0] + energy[-1])
    found: list[tuple[Edge, float, float]] = []
    for _ in range(2):
        found = _place_edges(fine, edges, offset, slope, centre)
        if not found:
            return None
        offset, slope, offset_se, slope_se = _robust_line(found, prior_offset_eV, prior_se_eV, centre, slope)
    at_middle = offset + slope * (middle - centre)
    middle_se = float(np.hypot(offset_se, slope_se * (middle - centre)))
    result = AxisCalibration(float(at_middle), middle_se, float(1 - slope), float(slope_se), middle, "edges")
    for edge, shift, error in found:
        position = edge.features[0][0] + shift
        residual = float(result.apply(np.array(position)) - edge.features[0][0])
        result.edges.append(
            {
                "edge": edge.name,
                "expected_eV": edge.features[0][0],
                "found_eV": round(position, 3),
                "residual_eV": round(residual, 3),
                "se_eV": round(error, 3),
            }
        )
    if slope_se == 0:
        result.flags.append("dispersion not measured: fewer than two edges far enough apart")
    return result


def _locate(
    energy: np.ndarray,
    counts: np.ndarray,
    edges: list[Edge],
    prior: float,
    prior_se: float,
    max_offset: float,
    max_error: float,
) -> tuple[float, float, float]:
    """The best cell of the grid, then of a finer one around it: offset at mid range, slope, misfit scale."""
    coarse = _Spectrum(energy, counts, COARSE_CHANNEL_EV)
    offsets = np.arange(-max_offset, max_offset + 0.5, 1.0)
    several = len(edges) > 1
    slopes = np.arange(-max_error, max_error + 1e-6, 0.005) if several else np.zeros(1)
    offset = slope = 0.0
    scale = 1.0
    for step in (1.0, 0.5):
        if step < 1.0:
            offsets = offset + np.arange(-2.0, 2.1, 0.5)
            slopes = slope + np.arange(-0.006, 0.0061, 0.002) if several else np.zeros(1)
        cost = _search(coarse, edges, offsets, slopes)
        scale = max(cost.min() / max(coarse.energy.size - 20, 1), 1.0)
        total = cost / scale + _prior_cost(offsets, prior, prior_se)[:, None]
        total = total + _prior_cost(slopes, 0.0, PRIOR_DISPERSION)[None, :]
        i, j = np.unravel_index(int(np.argmin(total)), total.shape)
        offset, slope = float(offsets[i]), float(slopes[j])
    return offset, slope, scale


def _place_edges(
    spectrum: _Spectrum, edges: list[Edge], offset: float, slope: float, centre: float
) -> list[tuple[Edge, float, float]]:
    """Shift of each significant edge on the file's axis, and its error with that of the reference."""
    true = spectrum.energy - offset - slope * (spectrum.energy - centre)
    in_range = [e for e in edges if true[0] + 8 < e.features[0][0] < true[-1] - 8]
    columns = {edge.name: _templates(edge, true, 0.3) for edge in in_range}
    everything = np.concatenate(list(columns.values()), axis=1) if columns else np.zeros((true.size, 0))
    reference = spectrum.misfit(everything)
    scale = max(reference / max(true.size - everything.shape[1] - 4, 1), 1.0)
    trials = np.arange(-4.0, 4.01, 0.25)
    placed = []
    for edge in in_range:
        others = [value for name, value in columns.items() if name != edge.name]
        rest = np.concatenate(others, axis=1) if others else np.zeros((true.size, 0))
        if (spectrum.misfit(rest) - reference) / scale < SIGNIFICANT:
            continue
        cost = np.array(
            [
                spectrum.misfit(np.concatenate([rest, _templates(edge, true - trial, 0.3)], axis=1))
                for trial in trials
            ]
        )
        chance = np.exp(-0.5 * (cost - cost.min()) / scale)
        chance /= chance.sum()
        extra = float(chance @ trials)
        spread = float(np.sqrt(chance @ (trials - extra) ** 2 + 0.05**2))
        expected = edge.features[0][0]
        # true energy t stands at file energy f: t = f - offset - slope (f - centre)
        position = (expected + extra + offset - slope * centre) / (1 - slope)
        placed.append((edge, float(position - expected), float(np.hypot(spread, edge.reference_se_eV))))
    return placed


def _robust_line(
    found: list[tuple[Edge, float, float]], prior: float, prior_se: float, centre: float, slope: float
) -> tuple[float, float, float, float]:
    """Offset at `centre` and slope of the shifts, by Student weights; slope only where edges are far apart."""
    at = np.array([edge.features[0][0] + shift for edge, shift, _ in found]) - centre
    shift = np.array([item[1] for item in found])
    error = np.array([item[2] for item in found])
    measurable = np.ptp(at) > 60.0
    rows = [np.stack([np.ones_like(at), at], 1), [[1.0, 0.0]], [[0.0, 1.0]]]
    design = np.concatenate(rows)
    target = np.concatenate([shift, [prior, 0.0]])
    sigma = np.concatenate([error, [prior_se, PRIOR_DISPERSION]])
    if not measurable:
        design[:, 1] = 0.0
    # The prior on the dispersion holds for an axis that was never far off; a slope well outside is data.
    solution = np.array([np.median(shift - slope * at), slope if measurable else 0.0])
    covariance = np.zeros((2, 2))
    for _ in range(30):
        residual = (target - design @ solution) / sigma
        weight = 4.0 / (3.0 + residual**2) / sigma**2
        matrix = design.T @ (weight[:, None] * design)
        if not measurable:
            matrix[1, 1] = 1.0
        solution = np.linalg.solve(matrix, design.T @ (weight * target))
        covariance = np.linalg.inv(matrix)
    spread = max(float(np.mean((residual[:-2] ** 2) * 4.0 / (3.0 + residual[:-2] ** 2))), 0.5)
    errors = np.sqrt(np.diag(covariance) * spread)
    return float(solution[0]), float(solution[1]), float(errors[0]), float(errors[1]) if measurable else 0.0
