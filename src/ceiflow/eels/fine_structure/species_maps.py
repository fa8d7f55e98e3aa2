"""Maps of species: neighbourhoods of pixels unmixed with the zone's shift, blur and background."""

from __future__ import annotations

import numpy as np

from ceiflow.eels.fine_structure.least_squares import non_negative
from ceiflow.eels.fine_structure.unmixing import Problem, Unmixing, grouping

# A fraction with a larger error than this says nothing.
LARGEST_SE = 0.3
SIDES = (1, 3, 5, 7, 9)
# Counts that are in memory at once, each some 20 bytes.
STRIP_COUNTS = 2**25


def neighbourhood(counts_per_pixel: float, se_at_all: float, total: float) -> int:
    """Side in pixels over which spectra are pooled so that errors come below half of what is of use.

    Errors of fractions go with the square root of the counts: `se_at_all` was reached with `total` counts.
    """
    for side in SIDES:
        se = se_at_all * np.sqrt(total / max(counts_per_pixel * side**2, 1e-9))
        if se < LARGEST_SE / 2:
            return side
    return SIDES[-1]


def species_maps(
    spectra: np.ndarray, problem: Problem, found: Unmixing, references: list, side: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fractions and their standard deviations pixel by pixel.

    Parameters
    ----------
    spectra : (rows, columns, n) array
        On the channels of `problem`.
    problem : Problem
        Of the zone that shift, blur and background exponent come from.
    found : Unmixing
    references : list of Reference
    side : int
        Pixels pooled, a square around each.

    Returns
    -------
    dict, dict of species to (rows, columns) array
        NaN where the edge is not seen or the error is too large.
    """
    from scipy.ndimage import uniform_filter

    from ceiflow.eels.fine_structure.columns import ReferenceColumns

    rows, columns, size = spectra.shape
    if side > 1:
        spectra = uniform_filter(spectra.astype(np.float64), (side, side, 0), mode="nearest") * side**2
    flat = spectra.reshape(-1, size)
    reference = ReferenceColumns(problem.spectrum.energy_eV, problem.kernel, references)
    shape = reference.columns(found.shift_eV, found.blur_eV)
    free, penalty = problem.free()
    # Corrections of sigma* belong to the zone's sum; a pixel has too few counts to ask for its own.
    free = free[:, penalty == 0]
    weight = 1 / problem.spectrum.variance(problem.model)
    weight = weight * problem.model.sum()
    inverse = np.linalg.inv(free.T @ (weight[:, None] * free))
    cross = shape.T @ (weight[:, None] * free)
    gram = shape.T @ (weight[:, None] * shape) - cross @ inverse @ cross.T
    right = flat @ (weight[:, None] * (shape - free @ (inverse @ cross.T)))
    spread = np.linalg.pinv(gram, hermitian=True)
    species, group = grouping(references)
    fraction = np.full((flat.shape[0], len(species)), np.nan)
    error = np.full_like(fraction, np.nan)
    totals = flat.sum(1)
    for index in np.flatnonzero(totals > 0):
        amounts, _ = non_negative(gram, right[index])
        total = amounts.sum()
        # The weights are those of a spectrum of unit sum: noise is the pixel's own.
        scale = totals[index]
        if not total > 3.29 * np.sqrt(spread.sum() * scale):
            continue
        share = group @ amounts / total
        gradient = (group - share[:, None]) / total
        se = np.sqrt(np.einsum("ij,jk,ik->i", gradient, spread, gradient) * scale)
        fraction[index], error[index] = share, se
    fraction[error > LARGEST_SE] = np.nan
    names = dict(enumerate(species))
    back = lambda values: {names[i]: values[:, i].reshape(rows, columns) for i in names}  # noqa: E731
    return back(fraction), back(error)
