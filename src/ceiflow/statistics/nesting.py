"""Acquisition -> region -> particle -> cell: equal weights at each level, and both ends of a bound.

Signal and image of one region are one region: acquisitions of the same region are averaged first, whatever
their modality, so that neither a second detector nor a dose series counts as more surface seen.

An acquisition that is only bounded is an interval from 0 to its detection limit. Averages are taken at both
ends; the limit is never put in the place of a value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ceiflow.statistics.tables import Row, number

T = TypeVar("T")


@dataclass(frozen=True)
class Observation:
    """One acquisition's say on one endpoint in one zone.

    `low` and `high` are the ends of what is known: equal for an identified value, 0 and the detection
    limit for a bounded one, None where the data cannot say.
    """

    acquisition_id: str
    cell_id: str
    particle_id: str
    region_id: str
    modality: str
    status: str
    low: float | None
    high: float | None
    se: float = 0.0
    se_sys: float = 0.0
    lod: float | None = None
    n: float | None = None
    note: str = ""

    @property
    def usable(self) -> bool:
        return self.low is not None


@dataclass(frozen=True)
class Mean:
    """An average at some level: both ends, measurement variance, systematic error, detection limit."""

    low: float
    high: float
    variance: float
    se_sys: float
    lod: float | None


@dataclass(frozen=True)
class Cell:
    """What one cell says on one endpoint in one zone; the unit of inference.

    `value` is None unless the ends agree within the standard error (see `summarise`); `low` and `high` are
    the ends with every bounded acquisition at 0 and at its detection limit.
    """

    cell_id: str
    status: str
    value: float | None
    low: float | None
    high: float | None
    se: float | None
    se_source: str
    se_sys: float | None
    lod: float | None
    n_acquisitions: int
    n_regions: int
    n_particles: int
    n_bounded: int
    n_not_identifiable: int
    note: str


def observation(row: Row) -> Observation:
    """An observation from a row of measurements.tsv; without the number its status needs it says nothing."""
    status, note = str(row["status"]), str(row.get("note") or "")
    value, lod = number(row.get("value")), number(row.get("lod"))
    known = {"identified": value, "bounded": lod}.get(status)
    if status in ("identified", "bounded") and known is None:
        status, note = "not_identifiable", f"{status} without a finite number"
    low = high = known
    if status == "bounded":
        low = 0.0
    return Observation(
        acquisition_id=str(row["acquisition_id"]),
        cell_id=str(row["cell_id"]),
        particle_id=str(row.get("particle_id") or ""),
        region_id=str(row.get("region_id") or "") or f"of acquisition {row['acquisition_id']}",
        modality=str(row.get("modality") or ""),
        status=status,
        low=low,
        high=high,
        se=number(row.get("se_stat")) or 0.0,
        se_sys=number(row.get("se_sys")) or 0.0,
        lod=lod,
        n=number(row.get("n")),
        note=note,
    )


def group_by(items: Iterable[T], key: Callable[[T], object]) -> dict[Any, list[T]]:
    """Items by key, keys in the order of first appearance."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def average(parts: Sequence[Mean]) -> Mean:
    """Equal-weight mean of the level below.

    Statistical errors are independent and shrink; systematic ones are shared (one cross-section, one
    calibration) and do not.
    """
    count = len(parts)
    limits = [part.lod for part in parts if part.lod is not None]
    return Mean(
        low=math.fsum(part.low for part in parts) / count,
        high=math.fsum(part.high for part in parts) / count,
        variance=math.fsum(part.variance for part in parts) / count**2,
        se_sys=math.fsum(part.se_sys for part in parts) / count,
        lod=math.fsum(limits) / len(limits) if limits else None,
    )


def region_means(observations: Iterable[Observation]) -> dict[tuple[str, str, str], Mean]:
    """Mean of each region, keyed by (cell, particle, region); observations that cannot say are left out."""
    usable = sorted((o for o in observations if o.usable), key=lambda o: o.acquisition_id)
    groups = group_by(usable, lambda o: (o.cell_id, o.particle_id, o.region_id))
    return {
        key: average([Mean(o.low, o.high, o.se**2, o.se_sys, o.lod) for o in groups[key]])
        for key in sorted(groups)
    }


def particle_means(regions: Mapping[tuple[str, str, str], Mean]) -> dict[tuple[str, str], Mean]:
    """Mean of each particle, keyed by (cell, particle)."""
    groups = group_by(regions, lambda key: key[:2])
    return {key: average([regions[region] for region in members]) for key, members in groups.items()}


def cell_means(regions: Mapping[tuple[str, str, str], Mean]) -> dict[str, Mean]:
    """Mean of each cell, keyed by cell."""
    particles = particle_means(regions)
    groups = group_by(particles, lambda key: key[0])
    return {key: average([particles[particle] for particle in members]) for key, members in groups.items()}


def summarise(cell_id: str, observations: Sequence[Observation]) -> Cell:
    """One cell from its acquisitions.

    The standard error comes from the scatter of the highest level that is replicated within the cell
    (particles, else regions), else from the propagated measurement errors; `se_source` says which. Where
    some acquisitions are bounded, scatter is taken at the end where it is larger.

    Status: `identified` where no acquisition is bounded. Otherwise `bounded`: no value, since a detection
    limit is none, and only the ends that the mean has with those acquisitions at zero and at their limits.
    """
    usable = [o for o in observations if o.usable]
    n_bounded = sum(o.status == "bounded" for o in usable)
    note = common_notes(o.note for o in observations if not o.usable)
    if not usable:
        count = len(observations)
        return Cell(
            cell_id, "not_identifiable", None, None, None, None, "", None, None, 0, 0, 0, 0, count, note
        )
    regions = region_means(usable)
    particles = particle_means(regions)
    mean = average(list(particles.values()))
    se, source = _standard_error(mean, list(particles.values()), list(regions.values()))
    known = n_bounded == 0
    return Cell(
        cell_id=cell_id,
        status="identified" if known else "bounded",
        value=mean.low if known else None,
        low=mean.low,
        high=mean.high,
        se=se if known else None,
        se_source=source if known else "",
        se_sys=mean.se_sys,
        lod=mean.lod,
        n_acquisitions=len(usable),
        n_regions=len(regions),
        n_particles=len(particles),
        n_bounded=n_bounded,
        n_not_identifiable=len(observations) - len(usable),
        note=note,
    )


def _standard_error(mean: Mean, particles: Sequence[Mean], regions: Sequence[Mean]) -> tuple[float, str]:
    """Standard error of a cell's mean and the level that it comes from."""
    for parts, source in ((particles, "particles"), (regions, "regions")):
        if len(parts) >= 2:
            return max(scatter([p.low for p in parts]), scatter([p.high for p in parts])), source
    return math.sqrt(mean.variance), "measurement"


def scatter(values: Sequence[float]) -> float:
    """Standard error of a mean from the scatter of at least two values."""
    count = len(values)
    centre = math.fsum(values) / count
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (count - 1) / count)


def common_notes(notes: Iterable[str], most: int = 3) -> str:
    """The commonest reasons, with the number of acquisitions that gave each."""
    counts = Counter(note for note in notes if note)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{note} ({count})" for note, count in ranked[:most])
