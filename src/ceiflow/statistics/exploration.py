"""Every endpoint between every two conditions: not registered, so labelled and corrected as exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from ceiflow.statistics.contrasts import benjamini_hochberg
from ceiflow.statistics.difference import difference
from ceiflow.statistics.nesting import group_by
from ceiflow.statistics.selection import Group, select
from ceiflow.statistics.tables import Row, text
from ceiflow.study import seed_for
from ceiflow.study.claims import group_text
from ceiflow.study.measurements import unit

EXPLORATION_COLUMNS = [
    "endpoint",
    "zone",
    "test",
    "reference",
    "estimate",
    "unit",
    "ci_low",
    "ci_high",
    "p_value",
    "q_value",
    "n_tests",
    "n_cells_test",
    "n_cells_reference",
    "n_bounded",
    "hedges_g",
    "design",
    "registered",
    "label",
]
LABEL = "exploration: not registered beforehand, q-value after Benjamini and Hochberg over all rows"
# How a specimen was recorded is no property of it.
RECORDING = ("dose_e_per_A2", "dose_over_critical", "thickness_over_mfp")
ORDER = {"pristine": 0, "normal": 1, "shorted": 2}


def exploration_rows(
    measurements: Sequence[Row],
    cells: Sequence[Row],
    claims: Sequence[Mapping[str, object]],
    statistics: Mapping[str, object],
) -> list[Row]:
    """Two-sided differences of all endpoints and zones between conditions of one electrode.

    Only where both groups have two cells that say something. `registered` names the claim that asks for the
    same difference: its own verdict, corrected by Holm, is the one that counts.

    Parameters
    ----------
    measurements, cells : sequences of dict
        Rows of measurements.tsv and of the sheet of cells.
    claims : sequence of mappings
        The configuration's `claims`.
    statistics : mapping
        The configuration's `statistics`.
    """
    alpha, resamples = float(statistics["alpha"]), int(statistics["resamples"])
    asked = {
        (str(c["endpoint"]), group_text(c.get("test") or {}), group_text(c.get("reference") or {})): str(
            c["id"]
        )
        for c in claims
        if c["kind"] == "difference"
    }
    grouped = group_by(
        (row for row in measurements if row["endpoint"] not in RECORDING),
        lambda row: (str(row["endpoint"]), str(row["zone"])),
    )
    found: list[Row] = []
    for endpoint, zone in sorted(grouped):
        own = grouped[endpoint, zone]
        seed = seed_for(int(statistics["seed"]), "exploration", endpoint, zone)
        for test, reference in _contrasts(cells):
            arms = [select(own, cells, endpoint, zone, selection, None) for selection in (test, reference)]
            if min(len(arm.cells) for arm in arms) >= 2:
                row = _row(endpoint, zone, arms, alpha, resamples, seed)
                row["registered"] = asked.get((endpoint, group_text(test), group_text(reference)))
                found.append(row)
    tested = [row for row in found if row["p_value"] is not None]
    adjusted = benjamini_hochberg([row["p_value"] for row in tested])
    return [
        {**row, "q_value": q, "n_tests": len(tested), "label": LABEL}
        for row, q in zip(tested, adjusted, strict=True)
    ]


def _contrasts(cells: Sequence[Row]) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Pairs of groups of one electrode: the later condition against the earlier one."""
    groups = {(text(row.get("condition")), text(row.get("electrode"))) for row in cells}
    order = sorted(groups, key=lambda group: (ORDER.get(group[0], 3), *group))
    return [
        tuple(
            {"condition": condition, **({"electrode": electrode} if electrode else {})}
            for condition, electrode in (later, earlier)
        )
        for earlier, later in combinations(order, 2)
        if earlier[1] == later[1] and earlier[0] and later[0]
    ]


def _row(endpoint: str, zone: str, arms: Sequence[Group], alpha: float, resamples: int, seed: int) -> Row:
    finding = difference(*arms, "two_sided", alpha, resamples, seed, ("state",))
    names = ("estimate", "ci_low", "ci_high", "hedges_g", "design")
    return {
        "endpoint": endpoint,
        "zone": zone,
        "test": arms[0].name,
        "reference": arms[1].name,
        "unit": unit(endpoint),
        **{name: finding.numbers.get(name) for name in names},
        "p_value": finding.p,
        "n_cells_test": len(arms[0].cells),
        "n_cells_reference": len(arms[1].cells),
        "n_bounded": sum(arm.n_bounded for arm in arms),
    }
