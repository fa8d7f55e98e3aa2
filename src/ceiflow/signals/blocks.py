"""Arrays of any kind read region by region, so that memory is bounded whatever their size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

BLOCK_BYTES = 64 * 2**20


def iter_blocks(data: Any, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Read an array (numpy, memory map, dask or `LazyArray`) region by region.

    Yields
    ------
    region : tuple of slice
        One for each axis; together they cover every element once.
    block : array
        What stands there, at most `block_bytes` large.
    """
    for region in _regions(data, block_bytes):
        block = data[region]
        yield (
            region,
            np.asarray(block.compute(scheduler="synchronous") if hasattr(block, "compute") else block),
        )


def _regions(data: Any, block_bytes: int) -> Iterator[tuple[slice, ...]]:
    """Regions that together cover `data`: its own chunks where it has any, cut where they are too large.

    A compressed chunk is then read once, in whichever order the file keeps its axes.
    """
    chunks = getattr(data, "chunks", None) or tuple((length,) for length in data.shape)
    for index in np.ndindex(*(len(lengths) for lengths in chunks)):
        starts = [sum(lengths[:i]) for lengths, i in zip(chunks, index, strict=True)]
        shape = [lengths[i] for lengths, i in zip(chunks, index, strict=True)]
        steps = _block_shape(shape, data.dtype.itemsize, block_bytes)
        counts = [-(-length // step) for length, step in zip(shape, steps, strict=True)]
        for part in np.ndindex(*counts):
            yield tuple(
                slice(start + i * step, start + min((i + 1) * step, length))
                for start, i, step, length in zip(starts, part, steps, shape, strict=True)
            )


def _block_shape(shape: Sequence[int], itemsize: int, block_bytes: int) -> list[int]:
    """Largest block of at most `block_bytes`, cut along the leading axes first."""
    steps = list(shape)
    for axis in range(len(steps)):
        others = int(np.prod(steps[axis + 1 :], dtype=np.int64)) * itemsize
        steps[axis] = min(shape[axis], max(1, block_bytes // max(others, 1)))
        if steps[axis] * others <= block_bytes:
            break
    return steps
