"""Named random streams: each depends on the study's seed and the item's own names, on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: object) -> np.random.Generator:
    """Random generator of one item.

    Parameters
    ----------
    seed : int
        Seed of the study.
    *names : object
        What the stream is for, from the general to the particular: ``stream(532, "shorted-1", "thickness")``.

    Returns
    -------
    numpy.random.Generator
        The same for the same seed and names on every machine, whatever was simulated before.
    """
    text = "\x1f".join(["ceiflow.phantom", str(int(seed)), *(str(name) for name in names)])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
