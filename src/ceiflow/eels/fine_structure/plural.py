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


def single_loss(energy_eV: np.ndarray, counts: np.ndarray, split_eV: float) -> np.ndarray:
    """The single-scattering part of a low loss, from the zero loss upwards.

    Independent losses add up to counts p with n p_n = sum_k k s_k p_(n-k), n in channels above the zero loss
    and s the single loss over the zero loss: the recursion of compound Poisson distributions (Panjer 1981),
    solved for s. The zero loss is taken as one channel; its width stays in what comes out.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        Low loss with its zero loss at 0, without dark level.
    split_eV : float
        Between zero loss and inelastic losses.

    Returns
    -------
    (n,) array
        Counts; zero below `split_eV`.
    """
    zero = int(np.argmin(np.abs(energy_eV)))
    first = int(np.argmax(energy_eV > split_eV))
    elastic = float(counts[:first].sum())
    result = np.zeros(counts.size)
    if not elastic > 0:
        return result
    share = np.asarray(counts, np.float64)[zero:] / elastic
    share[: first - zero] = 0.0
    weighted = np.zeros(share.size)
    for n in range(first - zero, share.size):
        weighted[n] = n * share[n] - weighted[1:n] @ share[n - 1 : 0 : -1]
    place = np.arange(share.size)
    result[zero:][1:] = elastic * weighted[1:] / place[1:]
    return result
