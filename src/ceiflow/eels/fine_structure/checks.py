"""Does the model hold what the data show? Structure in the residual; references within their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ceiflow.eels.fine_structure.references import Reference, of_template
from ceiflow.eels.fine_structure.templates import Line, Template

if TYPE_CHECKING:
    from ceiflow.eels.fine_structure.columns import ReferenceColumns
    from ceiflow.eels.fine_structure.unmixing import Node, Problem

# From the first pi* to where bands are too broad to name anybody.
SEARCH_EV = (-1.5, 10.0)
LINE_FWHM_EV = 1.2
FLAG_SIGMA = 4.0
FLAG_SHARE = 0.02
MISFIT_DRAWS = 24


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


def misfit(
    problem: Problem,
    references: Sequence[Reference],
    group: np.ndarray,
    best: Node,
    fraction: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, float]:
    """Systematic covariance of fractions and error of the shift: how they move when references do."""
    from ceiflow.eels.fine_structure.columns import ReferenceColumns

    rng = np.random.default_rng(seed)
    spread = max(problem.spectrum.shift_se_eV, 0.02)
    shifts = best.shift_eV + np.clip(np.arange(-0.5, 0.51, 0.1), -3 * spread, 3 * spread)
    ready = problem.prepare()
    results, moved = [], []
    for _ in range(MISFIT_DRAWS):
        columns = ReferenceColumns(
            problem.spectrum.energy_eV, problem.kernel, [item.perturbed(rng) for item in references]
        )
        nodes = [problem.node(columns, shift, best.blur_eV, ready) for shift in shifts]
        found = min(nodes, key=lambda item: item.chi2)
        results.append(group @ found.amounts / max(found.amounts.sum(), 1e-12))
        moved.append(found.shift_eV - best.shift_eV)
    apart = np.array(results) - fraction
    return apart.T @ apart / MISFIT_DRAWS, float(np.sqrt(np.mean(np.square(moved))))
