"""Tables as lists of rows, and the words that stand for their columns in a figure or on a page."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from ceiflow.study.sheets import text_rows

Rows = list[dict[str, str]]
Table = str | Path | Iterable[Mapping]

ENDPOINT_NAMES = {
    "layer_thickness_nm": "layer thickness",
    "layer_equivalent_thickness_nm": "equivalent layer thickness",
    "layer_coverage": "covered fraction of the surface",
    "layer_longest_bare_nm": "longest bare stretch",
    "layer_conformality": "conformality (1 − CV)",
    "layer_roughness_nm": "layer roughness",
    "layer_amorphous_fraction": "amorphous fraction of the layer",
    "thickness_over_mfp": "thickness / mean free path",
    "oxygen_prepeak_ratio": "O K pre-peak ratio",
    "dose_e_per_A2": "dose",
    "dose_over_critical": "dose / critical dose",
    "reduced_skin_nm": "depth of the reduced skin",
}
# Light elements first, as they stand in a spectrum.
BY_NUMBER = "Li B C N O F Na Mg Al Si P S Ca Ti V Cr Mn Fe Co Ni Cu La"
# What a failed acquisition leaves in place of a table.
FAILED_COLUMNS = ["qc_status", "qc_reason"]
UNIT_NAMES = {"nm": "nm", "nm^-2": "nm⁻²", "e/A^2": "e Å⁻²", "1": ""}
METALS = {"mn": "Mn", "co": "Co", "ni": "Ni"}
METAL_NAMES = {
    "l3_l2_ratio": "L3/L2 ratio",
    "l3_l2_ratio_change": "L3/L2 ratio, surface minus bulk",
    "l3_shift_eV": "L3 shift, surface minus bulk",
    "valence_change": "valence, surface minus bulk",
    "l3_o_k_separation_eV": "distance of L3 to O K",
    "l3_o_k_separation_change_eV": "distance of L3 to O K, surface minus bulk",
}


def rows(table: Table) -> Rows:
    """Rows of a tab-separated file, of a data frame or of any iterable of mappings, all values as text.

    A file that is not there or is empty gives no rows: a figure then says that there is nothing to show.
    """
    if isinstance(table, (str, Path)):
        path = Path(table)
        if not path.is_file():
            return []
        found = text_rows(path)
        return [] if found and list(found[0]) == FAILED_COLUMNS else found
    if hasattr(table, "to_dict"):
        table = table.to_dict("records")
    return [{str(k): _text(v) for k, v in row.items()} for row in table]


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def number(text: object) -> float:
    """A finite number, or NaN."""
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def known(text: object) -> bool:
    """Whether a cell of a table holds a finite number."""
    return not math.isnan(number(text))


def true(text: object) -> bool:
    """Whether a cell of a table says yes."""
    return str(text).strip().lower() in {"true", "1", "yes"}


def read_json(path: str | Path) -> dict:
    """A JSON object, or an empty one where the file is not there."""
    path = Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def endpoint_name(endpoint: str) -> str:
    """An endpoint in words."""
    if endpoint in ENDPOINT_NAMES:
        return ENDPOINT_NAMES[endpoint]
    if endpoint.startswith("areal_density_"):
        return f"{endpoint.split('_')[2]} areal density"
    if endpoint.startswith("atomic_fraction_"):
        return f"{endpoint.split('_')[2]} atomic fraction"
    if endpoint.startswith("carbon_fraction_"):
        return f"carbon as {endpoint.split('_', 2)[2]}"
    for word in ("oxygen", "lithium"):
        if endpoint.startswith(f"{word}_fraction_"):
            return f"{word} as {endpoint.split('_', 2)[2].replace('_', ' ')}"
    if endpoint.startswith("interface_position_"):
        return f"position of the {endpoint.split('_')[2]} interface"
    metal, _, rest = endpoint.partition("_")
    if metal in METALS:
        return f"{METALS[metal]} " + METAL_NAMES.get(rest, rest.replace("_", " "))
    return endpoint.replace("_", " ")


def by_number(elements: Iterable[str]) -> list[str]:
    """Elements in the order of their atomic numbers; what is none comes last."""
    order = BY_NUMBER.split()
    return sorted(elements, key=lambda name: (order.index(name) if name in order else 99, name))


def unit_name(unit: str) -> str:
    """A unit as it is printed; empty for a pure number."""
    return UNIT_NAMES.get(unit, unit)


def axis_label(endpoint: str, unit: str) -> str:
    """Label of an axis: the quantity and, in brackets, its unit."""
    name, printed = endpoint_name(endpoint), unit_name(unit)
    name = name[:1].upper() + name[1:]
    return f"{name} ({printed})" if printed else name


def figures3(value: object) -> str:
    """A number at three significant figures, never in E notation below a million; "–" where there is none."""
    amount = number(value)
    if math.isnan(amount):
        return "–"
    if amount == 0:
        return "0"
    if abs(amount) >= 1e6 or abs(amount) < 1e-4:
        return f"{amount:.2e}".replace("-", "−")
    digits = max(0, 2 - math.floor(math.log10(abs(amount))))
    return f"{amount:.{digits}f}".replace("-", "−")


def percent(share: object) -> str:
    """A share of one as a percentage; "–" where there is none."""
    return "–" if not known(share) else f"{100 * number(share):.0f}\u00a0%"


def plain(value: object) -> str:
    """A number that somebody chose, as it was written."""
    return "–" if not known(value) else f"{number(value):g}".replace("-", "−")


def with_interval(value: object, low: object, high: object, unit: str = "") -> str:
    """An estimate with its interval, all at the decimals that the interval's width deserves, and the unit."""
    amounts = [number(item) for item in (value, low, high)]
    widths = [abs(a - b) for a, b in itertools.combinations(amounts, 2) if a != b and not math.isnan(a - b)]
    scale = max(widths, default=0.0)
    digits = max(0, 1 - math.floor(math.log10(scale))) if 1e-4 < scale < 1e6 else None

    def shown(amount: float) -> str:
        if math.isnan(amount) or digits is None:
            return figures3(amount)
        return f"{amount + 0.0:.{digits}f}".replace("-", "−")

    text = shown(amounts[0])
    if not all(math.isnan(amount) for amount in amounts[1:]):
        text += f" [{shown(amounts[1])}, {shown(amounts[2])}]"
    return f"{text} {unit_name(unit)}".rstrip()


def conditions(text: str) -> dict[str, set[str]]:
    """The cells a claim names: `column=value;column=value`, several values joined by `|` or `,`."""
    found: dict[str, set[str]] = {}
    for part in filter(None, (text or "").split(";")):
        column, _, value = part.partition("=")
        values = value.replace("|", ",").split(",")
        found[column.strip()] = {item.strip() for item in values}
    return found


def group_words(text: str) -> str:
    """The same in words, for a reader: the values alone."""
    return " · ".join(part.partition("=")[2].strip() for part in (text or "").split(";") if part)


def group_of(cell: Mapping[str, str], columns: Iterable[str] = ("condition", "electrode", "state")) -> str:
    """The name of the group a cell is shown in: its condition, electrode and, where known, state."""
    named = (cell[column].replace("_", " ") for column in columns if cell.get(column))
    return " · ".join(named) or "no condition"


def condition_rank(condition: str) -> tuple[int, str]:
    """Order of conditions in figures: pristine, normal, shorted, then any other by name."""
    order = {"pristine": 0, "normal": 1, "shorted": 2}
    return order.get(condition.lower(), 3), condition


def groups(cells: Rows, sheet: Rows = ()) -> dict[str, list[str]]:
    """Cells by group, in the order of figures.

    Parameters
    ----------
    cells : rows with `cell_id`, `condition`, `electrode`
        Any table that names cells; several rows of a cell count once.
    sheet : rows, optional
        The cells sheet, for `state` and other columns that the results do not carry.
    """
    extra = {row.get("cell_id"): row for row in sheet}
    named: dict[str, dict] = {}
    for cell in cells:
        if cell.get("cell_id"):
            named.setdefault(
                cell["cell_id"], {**extra.get(cell["cell_id"], {}), **{k: v for k, v in cell.items() if v}}
            )
    # Within a condition in the order in which the author wrote the sheet.
    place = {name: index for index, name in enumerate(extra or named)}
    order = sorted(
        named.items(), key=lambda item: (condition_rank(item[1].get("condition", "")), place.get(item[0], 0))
    )
    return _by_window(order)


def _by_window(order: list[tuple[str, dict]]) -> dict[str, list[str]]:
    """Cells by group; those of one group that were cycled in different windows are told apart by it."""
    windows: dict[str, set[str]] = {}
    for _, cell in order:
        windows.setdefault(group_of(cell), set()).add(_window(cell))
    found: dict[str, list[str]] = {}
    for cell_id, cell in order:
        name, window = group_of(cell), _window(cell)
        if window and len(windows[name]) > 1:
            name = f"{name} · {window}"
        found.setdefault(name, []).append(cell_id)
    return found


def _window(cell: Mapping[str, str]) -> str:
    low, high = cell.get("v_min_V"), cell.get("v_max_V")
    return f"{plain(low)}–{plain(high)} V" if known(low) and known(high) else ""
