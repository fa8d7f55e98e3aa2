"""Does the model hold what the data show? Structure in the residual names a species that has no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ceiflow.eels.fine_structure.references import of_template
from ceiflow.eels.fine_structure.templates import Line, Template

if TYPE_CHECKING:
    from ceiflow.eels.fine_structure.columns import ReferenceColumns
    from ceiflow.eels.fine_structure.unmixing import Node, Problem

# From the first pi* to where bands are too broad to name anybody.
SEARCH_EV = (-1.5, 10.0)
LINE_FWHM_EV = 1.2
FLAG_SIGMA = 4.0
FLAG_SHARE = 0.02


def missing_structure(problem: Problem, columns: ReferenceColumns, best: Node, total: float) -> list[dict]:
    """Lines that improve the fit by more than chance would anywhere in the near edge.

    A line of the width of a pi* resonance is tried every 0.25 eV as one more column beside all others.

    Parameters
    ----------
    problem : Problem
    columns : ReferenceColumns
    best : Node
    total : float
        Counts of the edge: a line has to hold a share of them that matters.

    Returns
    -------
    list of dict
        energy_eV (on the corrected axis), sigma, share; the strongest first, none within 2 eV of another.
    """
    from ceiflow.eels.fine_structure.columns import ReferenceColumns as Columns

    weight, free, inverse, _ = problem.prepare()
    model, _ = problem.fitted(columns, best, problem.prepare())
    others = np.concatenate([free, columns.columns(best.shift_eV, best.blur_eV)[:, best.amounts > 0]], axis=1)
    gram = others.T @ (weight[:, None] * others)
    gram[: free.shape[1], : free.shape[1]] = np.linalg.inv(inverse)
    inner = np.linalg.pinv(gram, hermitian=True)
    residual = weight * (problem.spectrum.counts - model)
    found = []
    places = problem.onset + np.arange(SEARCH_EV[0], SEARCH_EV[1] + 1e-9, 0.25)
    lines = Columns(problem.spectrum.energy_eV, problem.kernel, [_line(problem.onset, at) for at in places])
    for at, column in zip(places, lines.columns(best.shift_eV, best.blur_eV).T, strict=True):
        cross = others.T @ (weight * column)
        information = column @ (weight * column) - cross @ inner @ cross
        if information <= 0:
            continue
        height = (column @ residual) / information
        sigma = height * np.sqrt(information)
        if sigma > FLAG_SIGMA and height > FLAG_SHARE * max(total, 1e-12):
            found.append({"energy_eV": float(at), "sigma": float(sigma), "share": float(height / total)})
    kept: list[dict] = []
    for item in sorted(found, key=lambda item: -item["sigma"]):
        if all(abs(item["energy_eV"] - other["energy_eV"]) > 2.0 for other in kept):
            kept.append(item)
    return kept


def _line(onset: float, centre: float):
    template = Template(
        "line", "line", "", onset, onset + 500.0, 1.0, (Line(centre, LINE_FWHM_EV, 1.0),), 0, 0, ""
    )
    return of_template(template)
