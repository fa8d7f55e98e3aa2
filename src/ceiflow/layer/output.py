"""Files that a measured acquisition leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.signals.store import Header
from ceiflow.study.measurements import SUMMARY_COLUMNS, Measurement, endpoints, not_identifiable


def dose_row(header: Header) -> Measurement:
    """Dose as the sheet, the file or the configuration states it."""
    dose = header.metadata.get("dose_e_per_A2")
    if dose is None or not dose.known:
        return not_identifiable("all", "dose_e_per_A2", "dose not stated")
    where = {"sheet": "the sheet", "file": "the file", "config": "the configuration"}
    stated = (
        f"as stated in {where[dose.origin]}" if dose.origin in where else "beam current x dwell / pixel area"
    )
    return Measurement("all", "dose_e_per_A2", dose.value, 0.0, note=stated)


def complete(rows: Sequence[Measurement], modality: str, elements: Sequence[str] = ()) -> list[Measurement]:
    """The rows, once it is certain that no endpoint of the modality is missing."""
    missing = set(endpoints(modality, elements)) - {row.endpoint for row in rows}
    assert not missing, f"no row for {sorted(missing)}"
    return list(rows)


def write_summary(
    path: Path, header: Header, values: dict[str, Any], reasons: Sequence[str], **more: Any
) -> None:
    """Write summary.json: the acquisition's row of the results, and what a page tells besides.

    Parameters
    ----------
    path : Path
    header : Header
        Gives metadata, sources and warnings.
    values : dict
        Of `SUMMARY_COLUMNS`; absent ones are null.
    reasons : sequence of str
        Why the acquisition is to be looked at; none means ok.
    more
        Further entries.
    """
    reasons = list(dict.fromkeys([*header.warnings, *reasons]))
    content = {
        **{key: _plain(values.get(key)) for key in SUMMARY_COLUMNS},
        "acquisition_id": header.acquisition_id,
        "modality": header.modality,
        "qc_status": "warning" if reasons else "ok",
        "qc_reason": "; ".join(reasons),
        "metadata": {
            name: {"value": item.value, "origin": item.origin} for name, item in header.metadata.items()
        },
        "sources": header.source,
        **{name: _plain(value) for name, value in more.items()},
    }
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """JSON without NaN, numbers at seven digits so that the last bit of a sum does not show."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (np.integer, int)) or value is None or isinstance(value, str):
        return value if not isinstance(value, np.integer) else int(value)
    number = float(value)
    return float(f"{number:.7g}") if math.isfinite(number) else None
