"""Any instrument file in, one canonical HDF5 file out; nothing heavy is imported until a file is read."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Header": "store",
    "SignalFile": "store",
    "canonical_dtype": "store",
    "carry_header": "store",
    "create_h5": "store",
    "iter_blocks": "blocks",
    "open_signal": "store",
    "read_header": "store",
    "write_failed": "store",
    "write_header": "store",
    "write_signal": "store",
    "Axis": "reader",
    "RawSignal": "reader",
    "list_signals": "reader",
    "read_file": "reader",
    "read_signal": "reader",
    "ingest": "ingestion",
    "load_acquisition": "ingestion",
    "draft_sheet": "sheet",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
