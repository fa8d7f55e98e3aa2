"""Registered claims: what a claim needs beside its schema, and which cells it speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations
from typing import Any

from ceiflow.study.checker import nearest
from ceiflow.study.measurements import LAYER_ENDPOINTS, MODALITIES, SPECTRUM_MODALITIES, endpoints
from ceiflow.study.sheets import Sheet

_GROUPS = ("test", "reference", "group")


def matches(cell: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    """Whether a cell belongs to a group: every column has to match, numbers as numbers, the rest as text.

    A list of values holds alternatives.

    Parameters
    ----------
    cell : mapping
        A row of cells.tsv, typed or as text.
    group : mapping
        Columns and values, as in a claim.
    """
    return all(
        any(_same(cell.get(column), option) for option in alternatives(value))
        for column, value in group.items()
    )


def alternatives(value: Any) -> list[Any]:
    """The values that a group lets a column have."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _same(cell: Any, value: Any) -> bool:
    if cell is None or cell == "":
        return value is None or value == ""
    if str(cell) == str(value):
        return True
    try:
        return float(cell) == float(value)
    except (TypeError, ValueError):
        return False


def group_text(group: Mapping[str, Any]) -> str:
    """A group as the tables write it: `column=value` joined by `;`, alternatives by `|`."""
    return ";".join(f"{column}={'|'.join(map(str, alternatives(value)))}" for column, value in group.items())


def claim_endpoints(claim: Mapping[str, Any], elements: Iterable[str]) -> list[str]:
    """Endpoints that the modalities of a claim can give."""
    chosen = claim.get("modality") or MODALITIES
    chosen = [chosen] if isinstance(chosen, str) else chosen
    names = [
        name for modality in chosen if modality in MODALITIES for name in endpoints(modality, list(elements))
    ]
    ratios = []
    if set(chosen) & set(SPECTRUM_MODALITIES):
        ratios = [f"log_ratio_{a}_{b}" for a, b in permutations(dict.fromkeys(elements), 2)]
    return list(dict.fromkeys([*names, *ratios]))


def check_claims(claims: Any, config: Mapping[str, Any], cells: Sheet) -> Iterator[tuple[str, str, str]]:
    """Faults of claims that no schema sees.

    Values of wrong types are passed over: the schema has spoken of them.

    Yields
    ------
    (field, found, expected)
    """
    eels = config.get("eels")
    elements = eels.get("elements") if isinstance(eels, dict) else None
    elements = [item for item in elements if isinstance(item, str)] if isinstance(elements, list) else []
    first: dict[str, int] = {}
    for number, claim in enumerate(claims if isinstance(claims, list) else [], 1):
        if not isinstance(claim, dict):
            continue
        name = claim.get("id")
        where = f"claims[{number}]" + (f" ({name})" if isinstance(name, str) else "")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            yield f"{where}.id", f"{name!r} again, first in claims[{first[name]}]", "every claim once"
        yield from _check_endpoint(claim, elements, where)
        for key in _GROUPS:
            if isinstance(claim.get(key), dict):
                yield from _check_group(claim[key], cells, f"{where}.{key}")
        yield from _check_overlap(claim, cells, where)
        yield from _check_columns(claim, cells, where)
        if claim.get("kind") == "proportion" and isinstance(claim.get("endpoint"), str):
            yield from _check_fraction(claim["endpoint"], where)
        low, high = claim.get("low"), claim.get("high")
        if all(isinstance(x, (int, float)) for x in (low, high)) and low >= high:
            yield f"{where}.low", f"low {low}, high {high}", "low below high"


def _check_endpoint(claim: dict, elements: list[str], where: str) -> Iterator[tuple[str, str, str]]:
    endpoint, zone = claim.get("endpoint"), claim.get("zone")
    if not isinstance(endpoint, str) or not endpoint:
        return
    modality = claim.get("modality")
    names = modality if isinstance(modality, list) else [modality or ""]
    if not all(isinstance(name, str) for name in names):
        return
    known = claim_endpoints(claim, elements)
    if endpoint not in known:
        hint = nearest(endpoint, known)
        if endpoint in claim_endpoints({}, elements):
            hint = f"not one of modality {modality}"
        elif endpoint.startswith(("areal_density_", "atomic_fraction_", "log_ratio_")):
            hint += f" (eels.elements is {elements})"
        yield f"{where}.endpoint", repr(endpoint), f"an endpoint that is measured: {hint}"
    elif zone != "layer" and endpoint in (*LAYER_ENDPOINTS, "layer_amorphous_fraction"):
        yield f"{where}.zone", repr(zone), f"layer, which {endpoint} belongs to"


def _check_group(group: dict, cells: Sheet, where: str) -> Iterator[tuple[str, str, str]]:
    if not cells.columns:
        return
    unknown = [str(column) for column in group if column not in cells.columns]
    for column in unknown:
        known = nearest(column, cells.columns)
        yield f"{where}.{column}", "no such column", f"a column of {cells.name}: {known}"
    if unknown or not group or not cells.rows:
        return
    typos = False
    for column, value in group.items():
        present = sorted({str(row[column]) for row in cells.rows if row.get(column) is not None})
        for option in alternatives(value):
            if not any(matches(row, {column: option}) for row in cells.rows):
                yield f"{where}.{column}", f"{option!r}, which no cell has", nearest(str(option), present)
                typos = True
    if not typos and not any(matches(row, group) for row in cells.rows):
        yield where, f"{group_text(group)}, which no cell matches", f"a cell of {cells.name} with all of it"


def _check_overlap(claim: dict, cells: Sheet, where: str) -> Iterator[tuple[str, str, str]]:
    test, reference = claim.get("test"), claim.get("reference")
    if not (isinstance(test, dict) and isinstance(reference, dict) and test and reference):
        return
    both = [row["cell_id"] for row in cells.rows if matches(row, test) and matches(row, reference)]
    if both:
        listed = ", ".join(map(str, both[:5]))
        yield where, f"{listed} in `test` and in `reference`", "groups that share no cell"


def _check_columns(claim: dict, cells: Sheet, where: str) -> Iterator[tuple[str, str, str]]:
    """Columns that a difference is taken within."""
    for key in ("factors", "paired_by"):
        names = claim.get(key)
        for name in names if isinstance(names, list) else [names] if isinstance(names, str) else []:
            # `state` is the default, and a sheet may do without it.
            if isinstance(name, str) and cells.columns and name not in (*cells.columns, "state"):
                yield (
                    f"{where}.{key}",
                    repr(name),
                    f"a column of {cells.name}: {nearest(name, cells.columns)}",
                )


def _check_fraction(endpoint: str, where: str) -> Iterator[tuple[str, str, str]]:
    if not ("fraction" in endpoint or endpoint == "layer_coverage"):
        yield f"{where}.endpoint", repr(endpoint), "a fraction between 0 and 1, such as layer_coverage"
