"""Species of a cell by one fit to all of its spectra, for claims: rows of tables/pooled.tsv."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.fine_structure.pooling import DIFFER, Likelihood, Pooled, likelihood_of, pool
from ceiflow.eels.fine_structure.rows import DETECTION_SIGMA, LARGEST_LIMIT, SPECIES_OF

COLUMNS = [
    "cell_id",
    "zone",
    "modality",
    "endpoint",
    "value",
    "unit",
    "se_stat",
    "se_sys",
    "ci_low",
    "ci_high",
    "lod",
    "status",
    "n_acquisitions",
    "agreement_p",
    "note",
]


def pool_species(contents: Sequence[Path], acquisitions: Sequence[Mapping[str, str]], output: Path) -> None:
    """Fit the spectra of every cell together, zone by zone, and write the shares.

    Parameters
    ----------
    contents : sequence of Path
        fine_structure.json of acquisitions, in the order of `acquisitions`.
    acquisitions : sequence of mapping
        `acquisition_id`, `cell_id` and `modality` of each.
    output : Path
        tables/pooled.tsv; an empty `modality` is all of them.
    """
    from ceiflow.study.measurements import format_number, unit

    kept: dict[tuple[str, str, str], dict[str, list[Likelihood]]] = {}
    for path, row in zip(contents, acquisitions, strict=True):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        for of, zone, found in likelihoods(content, row["acquisition_id"]):
            kept.setdefault((row["cell_id"], zone, of), {}).setdefault(row["modality"], []).append(found)
    lines = ["\t".join(COLUMNS)]
    for cell, zone, of in sorted(kept):
        for modality, spectra in groups(kept[cell, zone, of]):
            for item in pooled_rows(of, spectra):
                item |= {"cell_id": cell, "zone": zone, "modality": modality, "unit": unit(item["endpoint"])}
                texts = (
                    format_number(item[name]) if isinstance(item.get(name), int | float) else item.get(name)
                    for name in COLUMNS
                )
                lines.append("\t".join(text or "" for text in texts))
    Path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")


def likelihoods(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, str, Likelihood]]:
    """Element, zone and likelihood of what one acquisition may say of its region.

    A later frame of a dose series says nothing: the first one stands for the region.
    """
    frames = (content.get("dose") or {}).get("frames") or [name]
    if name != frames[0]:
        return
    for of in SPECIES_OF:
        for zone, found in (content.get(of) or {}).items():
            if not found["reason"]:
                yield of, zone, likelihood_of(found)


def groups(by_modality: Mapping[str, list[Likelihood]]) -> list[tuple[str, list[Likelihood]]]:
    """What is pooled: two spectra and more, of all modalities (named by nothing) and of each by itself."""
    every = [item for name in sorted(by_modality) for item in by_modality[name]]
    chosen = [("", every), *sorted(by_modality.items())]
    return [(name, items) for name, items in chosen if len(items) > 1]


def pooled_rows(of: str, spectra: Sequence[Likelihood]) -> list[dict[str, Any]]:
    """A row for every species of one element in one cell and zone; none where references differ."""
    if len({item.names for item in spectra}) > 1:
        return []
    found = pool(spectra)
    agree = found.agreement >= DIFFER
    rows = []
    for i, name in enumerate(found.species):
        row = _row(found, i) if agree else {"status": "not_identifiable", "note": _apart(found)}
        row |= {"n_acquisitions": found.spectra, "agreement_p": found.agreement}
        rows.append({"endpoint": f"{of}_fraction_{name}", **row})
    return rows


def _apart(found: Pooled) -> str:
    return f"{found.spectra} spectra differ in their shares (p {found.agreement:.2g}): averaged instead"


def _row(found: Pooled, index: int) -> dict[str, Any]:
    """One share: identified by the likelihood ratio, else bounded, as in a single spectrum."""
    value, seen, systematic = (getattr(found, n)[index] for n in ("fraction", "seen_sigma", "se_sys"))
    numbers = {"ci_low": float(found.low[index]), "ci_high": float(found.high[index])}
    if value > 0 and seen > 0:
        lod = DETECTION_SIGMA * float(np.hypot(value / seen, systematic))
        if value > lod:
            errors = {"se_stat": float(found.se_stat[index]), "se_sys": float(systematic)}
            return {"value": float(value), "lod": lod, "status": "identified", **errors, **numbers}
    if found.limit[index] < LARGEST_LIMIT:
        return {"lod": float(found.limit[index]), "status": "bounded", **numbers}
    return {"status": "not_identifiable", "note": f"{value:.2f} with its errors excludes nothing"}
