"""From a results folder to pages: run a notebook, clean it, render it as one offline HTML file.

Names are resolved at first use: `ceiflow.report.closing` is read by every start of the workflow, and
papermill and nbconvert are not light.
"""

from __future__ import annotations

import importlib

_HOMES = {"execute": "notebooks", "normalise": "notebooks", "render": "pages"}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
