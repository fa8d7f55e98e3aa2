"""The panels of the study that ceiflow was made for, in its order, found in the sheets of any like it.

Normal cycling: one panel (1a, 1b, ...) for each electrode and cycling window. After a brief external short:
an overview (2a), the layer at high resolution (2b), carbon black (2c), maps (2d), the carbon K edge (2e).
Each has criteria in the form of claims, which say when it is reached and when refuted. They are judged like
registered claims and stand beside these, not in their place.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ceiflow.study.claims import matches
from ceiflow.study.measurements import SPECTRUM_MODALITIES

# What "no coating" is held against where no registered claim says so: nm, and the share of what was seen.
MARGIN_NM, MAX_PREVALENCE = 2.0, 0.1
# "About 10 nm" leaves out values below 5 and above 15 nm; "conformal" is nine tenths of the surface; "mainly
# amorphous" leaves less than a fifth of the layer to lattice fringes.
ABOUT_TEN_NM, CONFORMAL, AMORPHOUS = (5.0, 15.0), (0.9, 1.0), (0.8, 1.0)
# Nor does a conformal layer leave a bare stretch longer than twice its own thickness, which is about 10 nm.
LONGEST_BARE_NM = (0.0, 20.0)
# Shares among the elements in view (Li is not): carbon is a quarter of Li2CO3 and more of any organic; a
# layer with less than a third of the particle's manganese is poor in it (a tenth of NMC532, more of LMR).
CARBON_RICH, MANGANESE_POOR = (0.15, 1.0), (0.0, 0.03)
# Charged and discharged cells are no replicates of each other, as in registered claims.
FACTORS = ["state"]


@dataclass
class Panel:
    """One panel.

    Parameters
    ----------
    name : str
        "1a", "2d".
    title, question : str
    cells : list of str
    compared : list of str
        Cells that it is compared with.
    modalities : tuple of str
        Of the acquisitions that it shows.
    claims : list of dict
        Its criteria; their ids begin with `panel_{name}_`.
    """

    name: str
    title: str
    question: str
    cells: list[str]
    modalities: tuple[str, ...]
    claims: list[dict[str, Any]] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)


def panels(
    cells: Iterable[Mapping[str, Any]],
    acquisitions: Iterable[Mapping[str, Any]],
    claims: Iterable[Mapping[str, Any]] = (),
) -> list[Panel]:
    """The panels that a study has cells for.

    Parameters
    ----------
    cells, acquisitions : rows of the sheets
        Typed or as text.
    claims : registered claims
        The margin of an absence claim on a panel's cells is that panel's; so are zone and modality of a claim
        on carbonate.
    """
    # Nothing hangs on the order of the sheets.
    cells, claims = sorted(cells, key=lambda cell: str(cell["cell_id"])), list(claims)
    modalities: dict[str, set[str]] = {}
    for row in acquisitions:
        if not row.get("exclude"):
            modalities.setdefault(str(row["cell_id"]), set()).add(str(row["modality"]))
    normal = _windows([cell for cell in cells if cell.get("condition") == "normal" and not _carbon(cell)])
    found = [
        _bare(f"1{letter}", title, own, claims)
        for letter, (title, own) in zip(string.ascii_lowercase, normal.items(), strict=False)
    ]
    shorted = [cell for cell in cells if cell.get("condition") == "shorted"]
    return found + (_shorted(shorted, cells, modalities, claims) if shorted else [])


def criteria(found: Iterable[Panel]) -> list[dict[str, Any]]:
    """The claims of all panels, in their order."""
    return [claim for panel in found for claim in panel.claims]


def _carbon(cell: Mapping[str, Any]) -> bool:
    return "carbon" in str(cell.get("electrode") or "").lower()


def _windows(cells: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Cells by electrode and cycling window, the mildest window first."""
    found: dict[tuple, list[Mapping[str, Any]]] = {}
    for cell in cells:
        low, high = (cell.get(name) for name in ("v_min_V", "v_max_V"))
        known = low not in (None, "") and high not in (None, "")
        window = f", {float(low):g}–{float(high):g} V" if known else ""
        place = (float(high), -float(low)) if known else (float("inf"), 0.0)
        name = f"{cell.get('electrode') or 'electrode unknown'}{window}"
        found.setdefault((*place, name), []).append(cell)
    return {key[-1]: found[key] for key in sorted(found)}


def _group(cells: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"cell_id": [str(cell["cell_id"]) for cell in cells]}


def _names(cells: list[Mapping[str, Any]]) -> list[str]:
    return [str(cell["cell_id"]) for cell in cells]


def _bare(name: str, title: str, cells: list, claims: list) -> Panel:
    held = [
        claim
        for claim in claims
        if claim.get("kind") == "absence"
        and claim.get("endpoint") == "layer_thickness_nm"
        and all(matches(cell, claim.get("group") or {}) for cell in cells)
    ]
    first = held[0] if held else {}
    claim = {
        "id": f"panel_{name}_bare",
        "kind": "absence",
        "endpoint": "layer_thickness_nm",
        "zone": "layer",
        "group": _group(cells),
        "margin": float(first.get("margin") or MARGIN_NM),
        "max_prevalence": float(first.get("max_prevalence") or MAX_PREVALENCE),
        "factors": FACTORS,
    }
    question = "Is there no intimate coating under normal cycling?"
    return Panel(name, f"Normal cycling, {title}", question, _names(cells), ("hrtem", "tem"), [claim])


def _shorted(shorted: list, cells: list, modalities: dict[str, set[str]], claims: list) -> list[Panel]:
    oxide = [cell for cell in shorted if not _carbon(cell)]
    carbon = [cell for cell in shorted if _carbon(cell)]
    pristine = [cell for cell in cells if cell.get("condition") == "pristine" and not _carbon(cell)]
    bare = [cell for cell in cells if _carbon(cell) and cell not in carbon]

    def having(*kinds: str) -> list:
        return [cell for cell in oxide if modalities.get(str(cell["cell_id"]), set()) & set(kinds)]

    def within(name: str, endpoint: str, own: list, bounds: tuple[float, float], **more: Any) -> dict:
        low, high = bounds
        claim = {"id": name, "kind": "interval", "endpoint": endpoint, "zone": "layer", "low": low}
        return claim | {"high": high, "group": _group(own), "factors": FACTORS, **more}

    found = []
    if own := having("tem"):
        criteria = [
            within("panel_2a_covered", "layer_coverage", own, CONFORMAL, modality=["tem"]),
            within("panel_2a_bare", "layer_longest_bare_nm", own, LONGEST_BARE_NM, modality=["tem"]),
        ]
        question = "Does a conformal layer cover the surface?"
        found.append(Panel("2a", "After a short, overview", question, _names(own), ("tem",), criteria))
    if own := having("hrtem"):
        criteria = [
            within("panel_2b_thick", "layer_thickness_nm", own, ABOUT_TEN_NM, modality=["hrtem"]),
            within("panel_2b_amorphous", "layer_amorphous_fraction", own, AMORPHOUS, modality=["hrtem"]),
        ]
        question = "Is the layer about 10 nm thick and mainly amorphous?"
        title = "After a short, high resolution"
        found.append(Panel("2b", title, question, _names(own), ("hrtem",), criteria))
    if carbon:
        claim = {
            "id": "panel_2c_coated",
            "kind": "difference",
            "endpoint": "layer_thickness_nm",
            "zone": "layer",
            "test": _group(carbon),
            "reference": _group(bare or carbon),
            "direction": "greater",
            "factors": FACTORS,
        }
        question = "Is carbon black coated as well?"
        own = [claim] if bare else []
        kinds = ("hrtem", "tem")
        found.append(
            Panel("2c", "After a short, carbon black", question, _names(carbon), kinds, own, _names(bare))
        )
    if own := having("eels_si"):
        criteria = [
            within("panel_2d_carbon", "atomic_fraction_C", own, CARBON_RICH, modality=["eels_si"]),
            within("panel_2d_manganese", "atomic_fraction_Mn", own, MANGANESE_POOR, modality=["eels_si"]),
        ]
        question = "Is the layer rich in carbon and poor in manganese?"
        found.append(
            Panel("2d", "After a short, element maps", question, _names(own), ("eels_si", "adf"), criteria)
        )
    if own := having(*SPECTRUM_MODALITIES):
        registered = [
            claim
            for claim in claims
            if claim.get("kind") == "difference" and claim.get("endpoint") == "carbon_fraction_carbonate"
        ]
        first = registered[0] if registered else {}
        claim = {
            "id": "panel_2e_carbonate",
            "kind": "difference",
            "endpoint": "carbon_fraction_carbonate",
            "zone": first.get("zone") or "layer",
            "test": _group(own),
            "reference": _group(pristine or own),
            "direction": "greater",
            "factors": FACTORS,
            "modality": first.get("modality") or list(SPECTRUM_MODALITIES),
        }
        question = "Does the carbon K edge show carbonate that the pristine electrode has not?"
        criteria = [claim] if pristine else []
        compared = _names(pristine)
        title = "After a short, carbon K edge"
        found.append(Panel("2e", title, question, _names(own), SPECTRUM_MODALITIES, criteria, compared))
    return found
