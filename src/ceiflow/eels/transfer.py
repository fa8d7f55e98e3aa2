"""Does the core loss move with the zero loss? Asked of neighbouring pixels, edge by edge, with an error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceiflow.signals.store import SignalFile

# A transfer this many standard errors away from an answer is not that answer.
CERTAIN = 3.0
# Pixels in a row that belong to one half; the other half says what to look for.
STRETCH = 8
# Running mean of the summed spectrum, and how many standard deviations of its noise a slope has to be.
SMOOTH_EV, STEEP = 1.5, 3.0
# Pixels that are held at once.
BLOCK = 4096


@dataclass(frozen=True)
class Transfer:
    """How many eV the core loss moves for one of the zero loss, and whether it was moved back.

    Parameters
    ----------
    factor, se : float or None
        None where nothing moves, or where no neighbours can be compared.
    applied : bool
    reason : str
    """

    factor: float | None
    se: float | None
    applied: bool
    reason: str


def measure_transfer(
    core: SignalFile, shift: np.ndarray, live: np.ndarray | None = None
) -> tuple[float, float] | None:
    """How far edges of neighbouring pixels stand apart, for a unit of what their zero losses do.

    Two pixels side by side along the scan hold nearly the same matter, so that what differs along the slope
    of an edge is a shift. The difference of each pair is projected on the derivative of the summed spectrum
    (weighted by its noise, after changes of height and exponent are taken out), and regressed on the
    difference of their shifts; what differs in matter as well goes either way and is in the error, which
    comes from the scatter of the pairs.

    Parameters
    ----------
    core : SignalFile
    shift : (p,) array
        How far each pixel's zero loss stands too high, in channels of the core loss.
    live : (p,) bool array, optional

    Returns
    -------
    (float, float) or None
        Factor and standard error; None where no pair says anything.
    """
    rows, columns = core.shape[:2]
    live = np.ones(rows * columns, bool) if live is None else live
    if columns == 1:
        columns = rows
    if columns < 2:
        return None
    # What each pixel is projected on comes from pixels that are not among its pairs: noise that both had in
    # common would be taken for an edge.
    filters = [_filters(core, half) for half in (1, 0)]
    if any(item is None for item in filters):
        return None
    both = np.concatenate(filters, axis=1)
    scores, weights, stretch = [], [], []
    last: np.ndarray | None = None
    for where, block in core.blocks(BLOCK):
        sums = np.asarray(block, np.float64) @ both
        index = np.arange(where.start, where.stop)
        if last is not None:
            sums, index = np.concatenate([last[None], sums]), np.append(index[0] - 1, index)
        last = sums[-1]
        half = index // STRETCH % 2
        sums = np.where(half[:, None] == 0, sums[:, :3], sums[:, 3:])
        first, second = sums[:-1], sums[1:]
        along = (index[1:] % columns != 0) & (index[1:] % STRETCH != 0) & live[index[1:]] & live[index[:-1]]
        along &= (first[:, 2] > 0) & (second[:, 2] > 0)
        first, second = first[along], second[along]
        apart = (shift[index[1:]] - shift[index[:-1]])[along]
        # Both at the geometric mean of their counts.
        ratio = np.sqrt(first[:, 2] / second[:, 2])
        stretch.append(index[1:][along] // STRETCH)
        scores.append(-apart * (second[:, 0] * ratio - first[:, 0] / ratio))
        weights.append(0.5 * apart**2 * (second[:, 1] * ratio + first[:, 1] / ratio))
    score, weight, place = (np.concatenate(parts) for parts in (scores, weights, stretch))
    total = weight.sum()
    if score.size < 8 or not total > 0:
        return None
    factor = score.sum() / total
    # Pairs of one stretch share pixels, so that only stretches are independent.
    rest = np.bincount(place, score - factor * weight)
    return float(factor), float(np.sqrt(np.sum(rest**2)) / total)


def _filters(core: SignalFile, half: int) -> np.ndarray | None:
    """(channels, 3): projection on a shift, its derivative, the sum of all counts; from half the pixels."""
    total = np.zeros(core.shape[2])
    for where, block in core.blocks(BLOCK):
        total += block[np.arange(where.start, where.stop) // STRETCH % 2 == half].sum(0, dtype=np.float64)
    width = max(round(SMOOTH_EV / core.energy_scale_eV), 1)
    padded = np.pad(total, (width // 2, width - 1 - width // 2), mode="edge")
    smooth = np.maximum(np.convolve(padded, np.ones(width) / width, mode="valid"), 1e-3 * total.mean())
    inside = slice(total.size // 20 + 1, total.size - total.size // 20 - 1)
    if not total.max() > 0:
        return None
    slope, weight = np.zeros_like(total), np.zeros_like(total)
    slope[inside] = np.gradient(smooth)[inside]
    weight[inside] = 1 / smooth[inside]
    # Heights and exponents differ between pixels without any shift.
    log = np.log(np.maximum(np.abs(core.energy_eV), 1.0))
    nuisance = smooth[:, None] * (log - log.mean())[:, None] ** np.arange(3)

    def free(shape: np.ndarray) -> np.ndarray:
        gram = nuisance.T @ (weight[:, None] * nuisance)
        return (shape - nuisance @ np.linalg.solve(gram, nuisance.T @ (weight * shape))) * (weight > 0)

    shape = free(slope)
    # Only where the sum is steeper than its noise makes it look.
    steep = np.abs(shape) > STEEP * np.sqrt(smooth) / width
    steep = np.convolve(steep, np.ones(5), mode="same") > 0.5
    if not steep.any():
        return None
    projection = weight * free(np.where(steep, shape, 0.0))
    # Sum of projection times the central difference of a spectrum, written as weights on its channels.
    derivative = np.zeros_like(total)
    derivative[1:-1] = 0.5 * (projection[:-2] - projection[2:])
    return np.stack([projection, derivative, np.ones_like(total)], axis=1)


def decide_transfer(measured: tuple[float, float] | None, same_recording: bool, moves: bool) -> Transfer:
    """Whether to move the core loss back by the zero loss's shifts.

    Parameters
    ----------
    measured : (factor, se) or None
        Of `measure_transfer`.
    same_recording : bool
        Both come from one file: they move together unless the edges say otherwise. Else they do only where
        the edges say so.
    moves : bool
        The zero loss moves by a channel of the core loss somewhere.
    """
    if not moves:
        return Transfer(None, None, False, "the zero loss does not move by half a channel of the core loss")
    if measured is None:
        reason = "no neighbouring pixels to compare"
        return Transfer(None, None, same_recording, reason)
    factor, error = measured
    said = f"core loss moves {factor:.2f} +- {error:.2g} times as far as the zero loss"
    follows = factor - CERTAIN * error > 0.5 or (factor > 0.5 and abs(factor - 1) < error < 0.25)
    stays = factor + CERTAIN * error < 0.5
    if stays:
        return Transfer(factor, error, False, f"{said}: not aligned with it")
    if follows or same_recording:
        return Transfer(factor, error, True, said)
    return Transfer(factor, error, False, f"{said}, too uncertain: not aligned with it")
