"""Named random streams: each depends on the study's seed and the item's own names, on nothing else."""

from __future__ import annotations

import numpy as np

from ceiflow.study.digests import seed_for


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
        The same for the same seed and names, whatever was simulated before.
    """
    return np.random.default_rng(seed_for(seed, "phantom", *(str(name) for name in names)))
