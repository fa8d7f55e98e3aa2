"""Composition without closure: logarithms of ratios of areal densities of elements fitted together.

Atomic fractions of one spectrum add up to 1, so that one element's rise is another's fall. The ratio of two
areal densities does not depend on what else was measured, and its logarithm is as good upside down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ceiflow.statistics.tables import Row, number
from ceiflow.study.measurements import read_correlation

LOG_RATIO = re.compile(r"log_ratio_([A-Z][a-z]?)_([A-Z][a-z]?)$")


def with_log_ratios(measurements: Sequence[Row], endpoints: Iterable[str]) -> list[Row]:
    """Measurements, and for every endpoint `log_ratio_{A}_{B}` a row where both densities have one.

    The value is the natural logarithm of A's over B's areal density. It is identified where both elements are
    identified, in the same acquisition and zone; a bound on either makes it not identifiable. Its statistical
    error follows from the relative errors of both and the correlation that their fit gave them, so that what
    both share (the zero loss, a common background) drops out. Cross-sections and windows are taken as known
    independently of each other. Rows without a correlation say so in their note.
    """
    rows = list(measurements)
    for endpoint in dict.fromkeys(endpoints):
        found = LOG_RATIO.match(endpoint)
        if found:
            rows += _ratios(measurements, endpoint, *found.groups())
    return rows


def _ratios(measurements: Sequence[Row], endpoint: str, top: str, bottom: str) -> list[Row]:
    names = [f"areal_density_{element}_per_nm2" for element in (top, bottom)]
    pairs: dict[tuple, dict[str, Row]] = {}
    for row in measurements:
        if row["endpoint"] in names:
            pairs.setdefault((row["acquisition_id"], row["zone"]), {})[str(row["endpoint"])] = row
    return [
        _ratio(endpoint, pair[names[0]], pair[names[1]]) for pair in pairs.values() if len(pair) == len(names)
    ]


def _ratio(endpoint: str, top: Row, bottom: Row) -> Row:
    kept = {**top, "endpoint": endpoint, "unit": "1", "lod": None, "correlation": ""}
    values = [number(row.get("value")) if row["status"] == "identified" else None for row in (top, bottom)]
    if any(value is None or value <= 0 for value in values):
        unknown = [
            str(row["endpoint"]).split("_")[2]
            for row, value in zip((top, bottom), values, strict=True)
            if value is None or value <= 0
        ]
        note = f"{' and '.join(unknown)} not identified together with the other element"
        return {
            **kept,
            "value": None,
            "se_stat": None,
            "se_sys": None,
            "status": "not_identifiable",
            "note": note,
        }
    relative = {
        name: [
            (number(row.get(name)) or 0.0) / value for row, value in zip((top, bottom), values, strict=True)
        ]
        for name in ("se_stat", "se_sys")
    }
    shared = read_correlation(top.get("correlation")).get(str(bottom["endpoint"]).split("_")[2])
    a, b = relative["se_stat"]
    return {
        **kept,
        "value": math.log(values[0] / values[1]),
        "se_stat": math.sqrt(max(0.0, a**2 + b**2 - 2 * (shared or 0.0) * a * b)),
        "se_sys": math.hypot(*relative["se_sys"]),
        "status": "identified",
        "note": "" if shared is not None else "errors of both elements taken as independent",
    }
