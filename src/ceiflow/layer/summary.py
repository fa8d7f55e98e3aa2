"""From the thickness along the surface to the endpoints of an acquisition, each with its error and limit."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.chance import chance_explains, rows_by_chance
from ceiflow.study.measurements import (
    LAYER_ENDPOINTS,
    Measurement,
    bounded,
    format_number,
    not_identifiable,
)

FloatArray = NDArray[np.float64]

LAYER_COLUMNS = (
    "position_nm", "row", "column", "thickness_nm", "thickness_std_nm", "lod_nm", "present",
    "outer_row", "outer_column", "inner_row", "inner_column", "stretch",
)  # fmt: skip
#: A spread needs this many points.
LEAST_POINTS = 4
#: A segment below this share of the usual thickness may be covered in part.
PARTLY_COVERED = 0.6
#: Bare segments that make a run, with room for their unequal lengths: one alone may be chance of the grid.
LEAST_RUN = 1.8
#: Share of the surface on which the quoted limit of an acquisition is kept.
LIMIT_QUANTILE = 0.9


@dataclass(frozen=True)
class Trace:
    """The layer along the analysed surface, one entry per segment of arc.

    Parameters
    ----------
    position_nm, length_nm : (n,) arrays
        Middle and length of each segment.
    stretch : (n,) int array
        Number of the connected stretch.
    thickness_nm, std_nm, lod_nm : (n,) arrays
        NaN where not known.
    present : (n,) bool array
    point, outer, inner : (n, 2) arrays
        Row and column, in pixels, of the point that the table names, and of the layer's two edges.
    common_covariance_nm2 : (n, n) array, optional
        Part of the covariance that the segments have in common (included in `std_nm`).
    noise_correlation_nm : float
        Length over which the measurement errors of neighbours go together; 0 for segments that share no data.
    floor_nm : float
        Thickness below which no mean is called different from zero.
    sys_relative, sys_nm : float
        Known systematic error, relative to the thickness and in nm.
    shape_relative : float
        Systematic error relative to the thickness that each single thickness has as well: the table's
        standard deviation holds it.
    false_share : float
        Share of a bare surface's segments that may be called covered: no more than that is no layer.
    partly_covered : bool
        Segments are about as long as bare runs: one may be covered in part.
    closed : bool
        The only stretch is a whole contour.
    note : str
        Goes into every row.
    """

    position_nm: FloatArray
    length_nm: FloatArray
    stretch: NDArray[np.intp]
    thickness_nm: FloatArray
    std_nm: FloatArray
    lod_nm: FloatArray
    present: NDArray[np.bool_]
    point: FloatArray
    outer: FloatArray
    inner: FloatArray
    common_covariance_nm2: FloatArray | None = None
    noise_correlation_nm: float = 0.0
    floor_nm: float = 0.0
    sys_relative: float = 0.0
    sys_nm: float = 0.0
    shape_relative: float = 0.0
    false_share: float = 0.0
    partly_covered: bool = False
    closed: bool = False
    note: str = ""
    extra: dict = field(default_factory=dict)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Segments with a thickness."""
        return np.isfinite(self.thickness_nm)

    def covariance(self) -> FloatArray:
        """(n, n) covariance of the measurement errors."""
        common = self.common_covariance_nm2
        common = np.zeros((len(self.std_nm),) * 2) if common is None else common
        own = np.sqrt(np.maximum(self.std_nm**2 - np.diag(common), 0.0))
        if self.noise_correlation_nm > 0:
            apart = np.abs(self.position_nm[:, None] - self.position_nm[None, :])
            together = np.exp(-((apart / self.noise_correlation_nm) ** 2))
            together[self.stretch[:, None] != self.stretch[None, :]] = 0.0
        else:
            together = np.eye(len(own))
        return own[:, None] * own[None, :] * together + common


def write_layer(path: Path, trace: Trace | None) -> None:
    """Write layer.tsv; a header alone where there is no surface."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(LAYER_COLUMNS)
        for i in range(0 if trace is None else len(trace.position_nm)):
            numbers = [
                trace.position_nm[i],
                *trace.point[i],
                trace.thickness_nm[i],
                np.hypot(trace.std_nm[i], trace.shape_relative * trace.thickness_nm[i]),
                trace.lod_nm[i],
            ]
            edges = [*trace.outer[i], *trace.inner[i]]
            writer.writerow(
                [
                    *(format_number(float(x)) for x in numbers),
                    "true" if trace.present[i] else "false",
                    *(format_number(float(x)) for x in edges),
                    int(trace.stretch[i]),
                ]
            )


def thickness_limit(trace: Trace) -> float | None:
    """The detection limit kept on nearly all of the surface; None if there is none."""
    limits = trace.lod_nm[trace.measured]
    if not len(limits) or not np.isfinite(limits).all():
        return None
    return float(np.quantile(limits, LIMIT_QUANTILE))


def layer_rows(trace: Trace | None, reason: str, seed: int, resamples: int) -> list[Measurement]:
    """The six layer endpoints.

    `layer_thickness_nm` is the mean over the covered part of the surface that was analysed, and its `se_stat`
    is the error of measuring that: how far the mean over other surface of the same particle lies is no part
    of it (that is what regions, particles and cells are for; the thickness along the arc tells how far the
    mean of a stretch strays). `se_sys` holds what more counts would not mend: see `_systematic` and
    `_coverage_shift`.

    Parameters
    ----------
    trace : Trace or None
        None where there is no surface.
    reason : str
        Why nothing can be said, where nothing can.
    seed : int
        Of the bootstrap along the arc.
    resamples : int

    Returns
    -------
    list of Measurement
        In the order of `LAYER_ENDPOINTS`, zone "layer".
    """
    limit = None if trace is None else thickness_limit(trace)
    seen = trace is not None and (limit is not None or bool(trace.present.any()))
    if not seen or not trace.measured.any():
        why = reason or "no detection limit can be given"
        return [not_identifiable("layer", endpoint, why) for endpoint in LAYER_ENDPOINTS]
    keep = trace.measured
    t, length = trace.thickness_nm[keep], trace.length_nm[keep]
    present, covariance = trace.present[keep], trace.covariance()[np.ix_(keep, keep)]
    block = block_length(t, trace.position_nm[keep], length)
    draws = block_draws(len(t), block, np.random.default_rng(seed), resamples)
    rows = [
        _mean_covered(trace, t, length, present, covariance, limit, draws),
        _mean_everywhere(trace, t, length, covariance),
        _coverage(present, length, block, draws),
        _longest_bare(present, length, trace.stretch[keep], trace.closed, draws),
        *_spread(trace, t, length, present, covariance, draws),
    ]
    if chance_explains(int(present.sum()), len(t), trace.false_share):
        rows = rows_by_chance(rows, trace.false_share, t[present], len(t), limit)
    if limit is None:
        # A thick layer is seen without a limit; that there is none anywhere cannot be.
        why = reason or "no detection limit can be given"
        rows = [
            not_identifiable("layer", row.endpoint, why) if row.endpoint in _NEED_A_LIMIT else row
            for row in rows
        ]
    for row in rows:
        row.note = "; ".join(item for item in (row.note, trace.note) if item)
    return rows


_NEED_A_LIMIT = ("layer_equivalent_thickness_nm", "layer_coverage", "layer_longest_bare_nm")


def _systematic(trace: Trace, value: float, extra_nm: float = 0.0) -> float | None:
    """Known systematic error of a mean thickness; None where none is known."""
    relative = float(np.hypot(trace.sys_relative, trace.shape_relative))
    size = float(np.hypot(relative * value, np.hypot(trace.sys_nm, extra_nm)))
    return size if size > 0 else None


def _coverage_shift(t, length) -> float:
    """What the mean of the covered part hangs on where a segment is covered in part.

    A thin segment is a thin layer all over, or a thick one on some of its length: the means of these two
    readings differ. The middle between them is taken, and half the difference is the error.
    """
    usual = float(np.median(t))
    if usual <= 0:
        return 0.0
    share = np.where(t < PARTLY_COVERED * usual, np.clip(t / usual, 0.0, 1.0), 1.0)
    return 0.5 * (float(length @ t / (length @ share)) - float(length @ t / length.sum()))


def _weighted_mean(t, length, covariance):
    weight = length / length.sum()
    return float(weight @ t), float(np.sqrt(max(weight @ covariance @ weight, 0.0)))


def _along_arc(t, length, present, draws) -> str:
    """How far the mean of another stretch of the same surface would lie, by blocks along the arc."""
    weight = (length * present)[draws]
    total = weight.sum(axis=1)
    means = np.sum(weight * t[draws], axis=1)[total > 0] / total[total > 0]
    if present.sum() < LEAST_POINTS or len(means) < 2:
        return ""
    return f"another arc of this length would differ by {means.std(ddof=1):.2g} nm (block bootstrap)"


def _mean_covered(trace, t, length, present, covariance, limit, draws):
    n = int(present.sum())
    if n == 0:
        return bounded(
            "layer", "layer_thickness_nm", limit, n=len(t), note="nothing above the detection limit"
        )
    value, error = _weighted_mean(t[present], length[present], covariance[np.ix_(present, present)])
    extra = _coverage_shift(t[present], length[present]) if trace.partly_covered else 0.0
    value += extra
    if limit is not None and value < limit:
        # Some segments have a smaller limit than the surface as a whole.
        said = f"{n} of {len(t)} segments above their own limits, at {value:.2g} nm in the mean"
        return bounded("layer", "layer_thickness_nm", limit, n=len(t), note=said)
    systematic = _systematic(trace, value, extra)
    note = _along_arc(t, length, present, draws)
    return Measurement("layer", "layer_thickness_nm", value, error, systematic, limit, "identified", n, note)


def _mean_everywhere(trace, t, length, covariance):
    value, error = _weighted_mean(t, length, covariance)
    limit = max(3.29 * error, trace.floor_nm)
    if value < limit:
        return bounded(
            "layer",
            "layer_equivalent_thickness_nm",
            limit,
            n=len(t),
            note=f"mean {value:.2g} nm is not resolved",
        )
    return Measurement(
        "layer",
        "layer_equivalent_thickness_nm",
        value,
        error,
        _systematic(trace, value),
        limit,
        "identified",
        len(t),
    )


def _coverage(present, length, block, draws):
    covered = float(np.sum(length * present) / length.sum())
    resampled = np.sum((length * present)[draws], axis=1) / np.sum(length[draws], axis=1)
    independent = max(1.0, len(length) / block)
    # All or nothing has no spread to resample: then the share that so many independent pieces can miss.
    shrunk = (covered * independent + 0.5) / (independent + 1)
    least = np.sqrt(shrunk * (1 - shrunk) / (independent + 1)) if covered in (0.0, 1.0) else 0.0
    error = max(float(resampled.std(ddof=1)), float(least))
    return Measurement(
        "layer",
        "layer_coverage",
        covered,
        error,
        None,
        1 - 0.05 ** (1 / independent),
        "identified",
        len(length),
    )


def longest_run(bare: NDArray[np.bool_], length: FloatArray, stretch: NDArray, closed: bool = False) -> float:
    """Length of the longest run of `bare` segments within a stretch."""
    longest = run = 0.0
    turns = 2 if closed else 1
    previous = None
    for _ in range(turns):
        for is_bare, step, number in zip(bare, length, stretch, strict=True):
            run = (run if number == previous or previous is None else 0.0) + step if is_bare else 0.0
            previous = number
            longest = max(longest, run)
    return min(longest, float(length.sum()))


def _longest_bare(present, length, stretch, closed, draws):
    name, segment = "layer_longest_bare_nm", float(np.median(length))
    # A gap that is sure to hold a whole segment, wherever it begins.
    limit = 2.0 * segment
    if present.all():
        return bounded("layer", name, limit, len(length), "no bare segment; shorter gaps need not show")
    value = longest_run(~present, length, stretch, closed)
    runs = [longest_run(~present[d], length[d], np.zeros(len(d))) for d in draws[:200]]
    # Either end of a run lies anywhere within a segment.
    error = float(np.hypot(np.std(runs, ddof=1), segment / np.sqrt(6)))
    if value < LEAST_RUN * segment:
        note = f"a bare run of {value:.3g} nm: gaps shorter than two segments need not show, nor in full"
        return bounded("layer", name, value + limit, len(length), note)
    return Measurement("layer", name, value, error, None, min(limit, value), "identified", len(length))


def _spread(trace, t, length, present, covariance, draws):
    """Conformality and roughness: the spread of the thickness with the measurement's own spread taken off."""
    names = ("layer_conformality", "layer_roughness_nm")
    n = int(present.sum())
    if n < LEAST_POINTS:
        why = "nothing is covered" if n == 0 else f"{n} covered segments are too few for a spread"
        return [not_identifiable("layer", name, why) for name in names]
    inside, cov = t[present], covariance[np.ix_(present, present)]
    noise = _noise_variance(cov)
    total = float(inside.var(ddof=1))
    excess = total - noise
    # Neighbours that go together make fewer points.
    pieces = max(
        2.0, n / block_length(inside, trace.position_nm[trace.measured][present], length[present]) * 2
    )
    pieces = min(pieces, float(n))
    variance_error = total * np.sqrt(2.0 / (pieces - 1))
    noise_error = noise * np.sqrt(2.0 / (n - 1))
    mean = float(inside.mean())
    real = float(np.sqrt(max(excess, 0.0)))
    limit = float(np.sqrt(3.29 * noise_error))
    spread_error = float(variance_error / (2 * max(real, limit / 2, 1e-6)))
    conformality = Measurement(
        "layer", "layer_conformality", 1 - real / mean, spread_error / mean, None, None, "identified", n,
        "" if real > limit else "spread of the thickness not resolved",
    )  # fmt: skip
    if real <= limit:
        return [
            conformality,
            bounded("layer", "layer_roughness_nm", limit, n, "no more than the measurement's spread"),
        ]
    rough = Measurement("layer", "layer_roughness_nm", real, spread_error, None, limit, "identified", n)
    return [conformality, rough]


def _noise_variance(covariance: FloatArray) -> float:
    """Expected sample variance of pure measurement errors of this covariance."""
    n = len(covariance)
    return float((np.trace(covariance) - covariance.sum() / n) / (n - 1))


def block_length(t: FloatArray, position_nm: FloatArray, length_nm: FloatArray) -> int:
    """Segments in a block of about three correlation lengths of the thickness.

    The correlation length is where the autocorrelation along the arc falls below 1/e, interpolated.
    """
    n = len(t)
    if n < 4 or np.ptp(t) == 0:
        return 1
    centred = t - t.mean()
    variance = float(centred @ centred) / n
    previous = 1.0
    for lag in range(1, n // 2):
        now = float(centred[lag:] @ centred[:-lag]) / (n - lag) / variance
        if now < np.exp(-1):
            correlation = lag - 1 + (previous - np.exp(-1)) / (previous - now)
            return int(np.clip(round(3 * correlation), 1, max(1, n // 3)))
        previous = now
    return max(1, n // 3)


def block_draws(n: int, block: int, rng: np.random.Generator, resamples: int) -> NDArray[np.intp]:
    """(resamples, n) indices of a circular moving-block bootstrap."""
    count = int(np.ceil(n / block))
    begin = rng.integers(0, n, size=(resamples, count))
    return ((begin[:, :, None] + np.arange(block)) % n).reshape(resamples, -1)[:, :n]
