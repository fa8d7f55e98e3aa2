"""What is said of an acquisition that shows no more of a layer than bare surfaces do by mistake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.study.measurements import Measurement, bounded, not_identifiable

#: Probability below which chance is ruled out.
CHANCE = 0.05


def chance_explains(n: int, of: int, share: float) -> bool:
    """Whether `n` segments of `of` that show a layer are no more than a bare surface would show by mistake.

    Binomial: so many or more come up in more than 5 % of bare surfaces.

    Parameters
    ----------
    n, of : int
    share : float
        Of a bare surface's segments that are called covered; 0 where each has its own limit to vouch for it.
    """
    from scipy.special import bdtrc

    return n > 0 and share > 0 and float(bdtrc(n - 1, of, share)) > CHANCE + 1e-9


def rows_by_chance(
    rows: list[Measurement], share: float, thickness_nm: NDArray[np.float64], of: int, limit: float | None
) -> list[Measurement]:
    """The layer endpoints where `chance_explains` the segments that stand out.

    Parameters
    ----------
    rows : list of Measurement
        As they would be if those segments were a layer.
    share : float
    thickness_nm : (n,) array
        Of the segments that stand out.
    of : int
        Number of segments.
    limit : float or None
        The acquisition's.

    Returns
    -------
    list of Measurement
        Thickness below the limit, coverage below what so many segments allow (binomial, 95 %); the longest
        bare run stays, being a run at least.
    """
    from scipy.special import betaincinv

    n = len(thickness_nm)
    why = (
        f"{n} of {of} segments above their own limits, at {thickness_nm.mean():.2g} nm in the mean: no more "
    )
    why += f"than the false positives of a bare surface ({100 * share:g} %) explain"
    most = float(betaincinv(n + 1, of - n, 0.95)) if of > n else 1.0
    limits = {"layer_thickness_nm": limit, "layer_equivalent_thickness_nm": limit, "layer_coverage": most}
    result = []
    for row in rows:
        if row.status == "identified" and row.endpoint != "layer_longest_bare_nm":
            bound = limits.get(row.endpoint)
            row = (
                not_identifiable("layer", row.endpoint, why)
                if bound is None
                else bounded("layer", row.endpoint, bound, n=of, note=why)
            )
        result.append(row)
    return result
