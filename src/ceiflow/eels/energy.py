"""The energy axis of the core loss from the edges it shows: offset and dispersion, edge by edge checked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ceiflow.eels.axis_search import PRIOR_DISPERSION, locate
from ceiflow.eels.table import Edge, chosen_edges
from ceiflow.eels.window import usable_window

COARSE_CHANNEL_EV = 1.0
SIGNIFICANT = 25.0
# How far the metals' valence may move all white lines together. Reduced metals stand up to 1.9 eV lower; with
# more freedom than this an offset of the axis would be taken for that.
VALENCE_SE_EV = 0.4


@dataclass
class AxisCalibration:
    """What is wrong with an energy axis.

    true = file - offset - slope * (file - middle); `dispersion_factor` = 1 - slope multiplies the channel
    width. `covariance` is that of the offset at `origin_eV` and the slope. Each of `edges` is {edge,
    expected_eV, found_eV, residual_eV, se_eV, axis_se_eV}: found on the file's axis, residual after
    calibration, its error (chemistry included), the error of the calibrated axis there.
    """

    offset_eV: float
    offset_se_eV: float
    dispersion_factor: float
    dispersion_se: float
    middle_eV: float
    method: str
    edges: list[dict[str, float | str]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    origin_eV: float = 0.0
    covariance: np.ndarray | None = None

    def se_at(self, energy_eV: float) -> float:
        """Standard error of the calibrated energy at a place on the file's axis, in eV."""
        if self.covariance is None:
            return float(np.hypot(self.offset_se_eV, (energy_eV - self.middle_eV) * self.dispersion_se))
        arm = np.array([1.0, energy_eV - self.origin_eV])
        return float(np.sqrt(arm @ self.covariance @ arm))

    def apply(self, energy_eV: np.ndarray) -> np.ndarray:
        """The calibrated energies of a file's axis."""
        return energy_eV - self.offset_eV - (1 - self.dispersion_factor) * (energy_eV - self.middle_eV)


def _in_view(edges: list[Edge], energy: np.ndarray, slack: float) -> list[Edge]:
    return [e for e in edges if energy[0] - slack + 12 < e.features[0][0] < energy[-1] + slack - 12]


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
    offset, slope = locate(
        energy, counts, edges, prior_offset_eV, prior_se_eV, max_offset_eV, max_dispersion_error
    )
    centre = float(0.5 * (energy[0] + energy[-1]))
    prior = (prior_offset_eV, prior_se_eV)
    # First the edges that can be read in one way only; the others near where those put them, or, where there
    # are none, near where the prior does.
    sure = [edge for edge in edges if len(edge.references) == 1]
    peaks = find_peaks(energy, counts, sure, offset, slope, centre, 5.0)
    if peaks:
        line, found = assign_references(peaks, prior, centre, slope)
        offset, slope = line.offset, line.slope
    else:
        offset, slope = prior_offset_eV, 0.0
    # Where several references stand in a row, a wide search finds what is none of them.
    peaks = find_peaks(energy, counts, edges, offset, slope, centre, 2.2, 3.2 if peaks else 1.3)
    if not peaks:
        return None
    line, found = assign_references(peaks, prior, centre, slope)
    at_middle = line.offset + line.slope * (middle - centre)
    result = AxisCalibration(
        float(at_middle), 0.0, float(1 - line.slope), line.slope_se, middle, "edges",
        origin_eV=centre, covariance=line.covariance,
    )  # fmt: skip
    result.offset_se_eV = result.se_at(middle)
    for peak, expected, error in found:
        residual = float(result.apply(np.array(peak.position_eV)) - expected)
        result.edges.append(
            {
                "edge": peak.edge.name,
                "expected_eV": expected,
                "found_eV": round(peak.position_eV, 3),
                "residual_eV": round(residual, 3),
                "se_eV": round(error, 3),
                "axis_se_eV": round(result.se_at(peak.position_eV), 3),
            }
        )
    if not line.measured:
        result.flags.append("dispersion not measured: fewer than two edges far enough apart")
    return result


@dataclass(frozen=True)
class Peak:
    """A narrow peak at an edge: its place on the file's axis and its statistical error."""

    edge: Edge
    position_eV: float
    se_eV: float


def find_peaks(
    energy: np.ndarray,
    counts: np.ndarray,
    edges: list[Edge],
    offset: float,
    slope: float,
    centre: float,
    reach: float,
    ambiguous_reach: float = 0.0,
) -> list[Peak]:
    """The strongest narrow peak at every edge that has references, where it is significant.

    Parameters
    ----------
    energy, counts : (n,) array
    edges : list of Edge
    offset, slope, centre : float
        The calibration so far.
    reach : float
        How many eV a peak may stand from where that expects it.
    ambiguous_reach : float
        The same for edges with several references.
    """
    peaks = []
    for edge in edges:
        if not edge.references:
            continue
        expected = np.array([at for at, _ in edge.references])
        on_file = (expected + offset - slope * centre) / (1 - slope)
        margin = reach if len(edge.references) == 1 else ambiguous_reach
        low, high = on_file.min() - margin, on_file.max() + margin
        if low < energy[0] + 6 or high > energy[-1] - 8:
            continue
        peak = _strongest_peak(energy, counts, low, high)
        if peak is not None:
            peaks.append(Peak(edge, *peak))
    return peaks


def _strongest_peak(
    energy: np.ndarray, counts: np.ndarray, low: float, high: float
) -> tuple[float, float] | None:
    """Place and error of the narrow peak between `low` and `high` that a local fit gains most from.

    The local model is a parabola, a step below the peak (the edge itself) and a Gaussian of three widths.
    """
    from scipy.special import ndtr

    trials = np.arange(low, high + 1e-9, 0.1)
    best: tuple[float, float, float] | None = None
    costs = np.full(trials.size, np.inf)
    gains = np.zeros(trials.size)
    for k, at in enumerate(trials):
        inside = np.abs(energy - at) <= 7.0
        x, y = energy[inside] - at, counts[inside]
        root = 1 / np.sqrt(np.maximum(y.mean(), 1.0) * np.ones_like(y))
        smooth = [np.ones_like(x), x, x**2, ndtr(x / 1.5)]
        bare = np.stack(smooth, 1) * root[:, None]
        target = y * root
        without = _residual(bare, target)[0]
        for width in (0.7, 1.1, 1.6, 2.1):
            line = np.exp(-0.5 * (x / width) ** 2) * root
            cost, solution = _residual(np.concatenate([bare, line[:, None]], 1), target)
            scale = max(cost / max(x.size - 5, 1), 1.0)
            gain = (without - cost) / scale
            if solution[-1] > 0 and gain > gains[k]:
                gains[k], costs[k] = gain, scale
    k = int(np.argmax(gains))
    if gains[k] < SIGNIFICANT or k in (0, trials.size - 1):
        return None
    near = slice(max(k - 3, 0), k + 4)
    curve = np.polyfit(trials[near] - trials[k], gains[near], 2)
    if curve[0] >= 0:
        return None
    best = (trials[k] - curve[1] / (2 * curve[0]), 1 / np.sqrt(-curve[0]), gains[k])
    return float(best[0]), float(np.hypot(min(best[1], 2.0), 0.1))


def _residual(columns: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    solution = np.linalg.lstsq(columns, target, rcond=None)[0]
    return float(np.sum((target - columns @ solution) ** 2)), solution


@dataclass(frozen=True)
class _Line:
    """Offset at the origin and slope, (2,), their covariance, how badly they fit, who says the slope."""

    values: np.ndarray
    covariance: np.ndarray
    cost: float
    measured: bool

    @property
    def offset(self) -> float:
        return float(self.values[0])

    @property
    def slope(self) -> float:
        return float(self.values[1])

    @property
    def slope_se(self) -> float:
        return float(np.sqrt(self.covariance[1, 1]))


def assign_references(
    peaks: list[Peak], prior: tuple[float, float], centre: float, slope: float
) -> tuple[_Line, list[tuple[Peak, float, float]]]:
    """Which reference each peak is, and the line through their shifts: the choice that agrees best.

    Parameters
    ----------
    peaks : list of Peak
    prior : (offset_eV, se_eV)
        What is known beforehand about the offset.
    centre, slope : float
        Origin of the line, and where its slope starts.
    """
    from itertools import product

    sure = sum(len(peak.edge.references) == 1 for peak in peaks)
    white = np.array([float(peak.edge.second_eV is not None) for peak in peaks])
    choices = list(product(*(peak.edge.references for peak in peaks)))
    lines = []
    for choice in choices:
        at = np.array([peak.position_eV for peak in peaks]) - centre
        shift = np.array(
            [peak.position_eV - expected for peak, (expected, _) in zip(peaks, choice, strict=True)]
        )
        error = np.array([np.hypot(peak.se_eV, se) for peak, (_, se) in zip(peaks, choice, strict=True)])
        lines.append(_robust_line(at, shift, error, white, sure, prior, slope))
    best = min(range(len(lines)), key=lambda index: round(lines[index].cost, 9))
    found = [
        (peak, expected, float(np.hypot(peak.se_eV, se)))
        for peak, (expected, se) in zip(peaks, choices[best], strict=True)
    ]
    return _mean_line(lines, lines[best].cost), found


def _mean_line(lines: list[_Line], least: float) -> _Line:
    """All readings of the peaks, each as likely as it fits: what they disagree on is part of the error."""
    weight = np.exp(-0.5 * np.array([line.cost - least for line in lines]))
    weight /= weight.sum()

    values = np.stack([line.values for line in lines])
    mean = weight @ values
    apart = values - mean
    covariance = np.tensordot(weight, np.stack([line.covariance for line in lines]), 1)
    covariance = covariance + apart.T @ (weight[:, None] * apart)
    return _Line(mean, covariance, least, any(line.measured for line in lines))


def _robust_line(
    at: np.ndarray,
    shift: np.ndarray,
    error: np.ndarray,
    white: np.ndarray,
    sure: int,
    prior: tuple[float, float],
    slope: float,
) -> _Line:
    """Offset and slope by Student weights; a slope only where edges are far apart.

    A third parameter moves all white lines (`white`) together, held by `VALENCE_SE_EV`.
    """
    measurable = np.ptp(at) > 60.0
    design = full = np.concatenate([np.stack([np.ones_like(at), at, white], 1), np.eye(3)])
    target = np.concatenate([shift, [prior[0], 0.0, 0.0]])
    sigma = np.concatenate([error, [prior[1], PRIOR_DISPERSION, VALENCE_SE_EV]])
    if not measurable:
        design = full * np.array([1.0, 0.0, 1.0])
    start = slope if measurable else 0.0
    # Edges scatter almost normally; what was believed beforehand is often right, else it may be far off. Only
    # edges with one possible reference overrule it: others could be read so as to confirm anything.
    loose = [1.0 if sure >= needed else 1e3 for needed in (1, 2)]
    freedom = np.concatenate([np.full(at.size, 8.0), loose, [1e3]])
    solution = np.array([np.median(shift - start * at), start, 0.0])
    for _ in range(40):
        residual = (target - design @ solution) / sigma
        weight = (freedom + 1) / (freedom + residual**2) / sigma**2
        matrix = design.T @ (weight[:, None] * design)
        if not measurable:
            matrix[1, 1] = 1.0
        solution = np.linalg.solve(matrix, design.T @ (weight * target))
    residual = (target - design @ solution) / sigma
    # Rows count for the error by what they are said to know, whatever weight a small residual gives them:
    # a Student t is narrower than a normal at its middle, by half for what was believed beforehand.
    sure_weight = np.minimum(weight, 1 / sigma**2)
    matrix = design.T @ (sure_weight[:, None] * design)
    if not measurable:
        matrix[1, 1] = 1.0
    covariance = np.linalg.inv(matrix)
    # References err together, not only at random: that they agree is no reason to trust them more.
    spread = max(float(np.mean(residual[: at.size] ** 2)), 1.0)
    covariance = covariance[:2, :2] * spread
    if not measurable:
        # The slope is the file's, with the error of one; the edges hold the axis where they stand.
        tilt = -np.linalg.solve(matrix, design[:-3].T @ (sure_weight[:-3] * at))[0]
        covariance[1], covariance[:, 1] = 0.0, 0.0
        covariance += PRIOR_DISPERSION**2 * np.outer([tilt, 1.0], [tilt, 1.0])
    cost = float(np.sum((freedom + 1) * np.log1p(residual**2 / freedom)))
    return _Line(solution[:2], covariance, cost, measurable)
