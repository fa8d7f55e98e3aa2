"""Plural scattering taken out of an edge after its background: what single scattering would have left."""

from __future__ import annotations

import numpy as np

# Losses below this belong to the zero loss.
ZERO_LOSS_EV = 3.0


def single_scattering(net: np.ndarray, kernel: tuple[np.ndarray, int] | None, step_eV: float) -> np.ndarray:
    """An edge freed of the inelastic losses that follow it, channel by channel from its onset upwards.

    Losses only go up in energy: what a channel holds beyond single scattering is known from those below it.
    The zero loss's own width is left in, so nothing is sharpened and noise is not blown up.

    Parameters
    ----------
    net : (..., n) array
        Edge without background; the window begins below the onset.
    kernel : ((k,) array, int) or None
        Low loss of unit area and the index of its zero; None leaves `net` as it is.
    step_eV : float

    Returns
    -------
    (..., n) array
        In units of what all incident electrons, not only the elastic ones, would give.
    """
    if kernel is None:
        return np.array(net, dtype=np.float64)
    weights, zero = kernel
    first = zero + max(round(ZERO_LOSS_EV / step_eV), 1)
    elastic = float(weights[:first].sum())
    losses = weights[first:] / elastic
    lag = first - zero
    result = np.array(net, dtype=np.float64) / elastic
    n = result.shape[-1]
    for i in range(lag, n):
        reach = min(i - lag + 1, losses.size)
        past = result[..., i - lag - reach + 1 : i - lag + 1][..., ::-1]
        result[..., i] -= past @ losses[:reach]
    return result
