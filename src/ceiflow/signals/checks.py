"""One pass over the data of a signal: does it make sense at all?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ceiflow.errors import SignalError
from ceiflow.signals.blocks import BLOCK_BYTES, iter_blocks

# A border row or column goes when this share of it is not finite, up to this share of the frame.
_BORDER_SHARE = 0.5
_LARGEST_MARGIN = 0.25

# Share of a map's pixels that may hold no numbers: they are left out, as dead, and counted.
DEAD_SHARE = 0.05

Margins = tuple[int, int, int, int]
NO_MARGINS: Margins = (0, 0, 0, 0)


def check_values(data: Any, name: str, field: str, block_bytes: int = BLOCK_BYTES) -> Margins:
    """Refuse data that cannot be a measurement; say what has to be cut off at the margin.

    As `check_pixels`, for images: NaN inside has no explanation and is refused.
    """
    return check_pixels(data, name, field, block_bytes, 0.0)[0]


def check_pixels(
    data: Any, name: str, field: str, block_bytes: int = BLOCK_BYTES, dead_share: float = DEAD_SHARE
) -> tuple[Margins, np.ndarray]:
    """Refuse data that cannot be a measurement; say what to cut off at the margin, and which pixels are dead.

    Aligned and drift-corrected frames carry NaN where no data were: such a border is cut off. A few pixels
    inside that hold NaN are dead; more of them have no explanation and are refused.

    Parameters
    ----------
    data : array, (rows, columns) or (rows, columns, channels)
    name, field : str
        For the message.
    dead_share : float
        Share of the pixels that may be dead.

    Returns
    -------
    tuple of int
        Rows at the top and bottom, columns at the left and right that hold NaN or infinity.
    (rows, columns) bool array
        Every pixel with a NaN or infinity, those at the margin as well.

    Raises
    ------
    SignalError
        If the values are all zero, all the same, nowhere positive, or not finite inside the frame.
    """
    bad = np.zeros(data.shape[:2], bool)
    count, low, high = 0, np.inf, -np.inf
    for region, block in iter_blocks(data, block_bytes):
        if block.dtype.kind == "f":
            finite = np.isfinite(block)
            if not finite.all():
                count += int(block.size - np.count_nonzero(finite))
                bad[region[:2]] |= ~(finite if block.ndim == 2 else finite.all(axis=2))
                block = block[finite]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    if count == data.size:
        raise SignalError(name, field, "no finite value", "numbers")
    if low == high == 0:
        raise SignalError(name, field, "all values are zero", "counts")
    if high <= 0:
        raise SignalError(name, field, f"no positive value (largest {high:g})", "counts")
    if low == high and data.size > 1:
        raise SignalError(name, field, f"all values are {low:g}", "a measurement")
    margins = _margins(bad, dead_share)
    if margins is None:
        found = f"NaN or infinity in {int(bad.sum())} of {bad.size} pixels ({count} values)"
        expected = "numbers everywhere but at the margin of the frame"
        if dead_share:
            expected += f" and in {dead_share:.0%} of the pixels"
        raise SignalError(name, field, found, expected)
    return margins, bad


def widest(*margins: Margins) -> Margins:
    """Margins that take out whatever any of the given ones takes out."""
    return tuple(max(values) for values in zip(*margins, strict=True))


def _margins(bad: np.ndarray, dead_share: float) -> Margins | None:
    """Peel the worst border until no more is bad than may be; None where that takes too much or fails."""
    ends = [0, bad.shape[0], 0, bad.shape[1]]
    while (inner := bad[ends[0] : ends[1], ends[2] : ends[3]]).any():
        shares = [inner[0].mean(), inner[-1].mean(), inner[:, 0].mean(), inner[:, -1].mean()]
        # A line has no border along its length: cutting it off would leave nothing.
        if inner.shape[0] == 1:
            shares[:2] = [0.0, 0.0]
        if inner.shape[1] == 1:
            shares[2:] = [0.0, 0.0]
        side = int(np.argmax(shares))
        if shares[side] < _BORDER_SHARE:
            if inner.mean() > dead_share:
                return None
            break
        ends[side] += 1 if side in (0, 2) else -1
        height, width = ends[1] - ends[0], ends[3] - ends[2]
        if height < bad.shape[0] * (1 - _LARGEST_MARGIN) or width < bad.shape[1] * (1 - _LARGEST_MARGIN):
            return None
    return ends[0], bad.shape[0] - ends[1], ends[2], bad.shape[1] - ends[3]
