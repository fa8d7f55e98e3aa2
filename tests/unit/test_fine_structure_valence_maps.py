"""Maps of white lines: a reduced half of an image is found, by factors that say what the recipe says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ceiflow.eels.fine_structure import valence_maps
from ceiflow.eels.fine_structure.valence import Standard
from ceiflow.eels.fine_structure.white_lines import WhiteLines, white_lines

ENERGY = np.arange(560.0, 720.0, 0.5)


def edge(l3, l2, shift=0.0, scale=1.0):
    """Lorentzian lines on steps and a power law: counts a pixel."""
    lines = sum(
        height / (1 + ((ENERGY - at) / 1.3) ** 2) for height, at in ((l3, 642.5 + shift), (l2, 653.3 + shift))
    )
    step = sum(
        share / (1 + np.exp(-(ENERGY - at))) for share, at in ((4.0, 642.5 + shift), (2.0, 653.3 + shift))
    )
    return scale * (lines + step + 30 * (ENERGY / 640) ** -3.2)


@pytest.fixture
def source():
    rng = np.random.default_rng(7)
    rows, columns = 16, 24
    mean = np.empty((rows, columns, ENERGY.size))
    mean[:, :12], mean[:, 12:] = edge(40, 14, -1.0), edge(28, 14)
    data = rng.poisson(mean).astype(np.float32)
    core = SimpleNamespace(
        shape=data.shape,
        energy_eV=ENERGY,
        energy_scale_eV=0.5,
        blocks=lambda n: (
            (slice(i, i + n), data.reshape(-1, ENERGY.size)[i : i + n]) for i in range(0, rows * columns, n)
        ),
    )
    noise = SimpleNamespace(dark=0.0, gain=1.0, read_noise=0.0)
    return SimpleNamespace(
        core=core, noise=noise, channels=slice(0, ENERGY.size), energy_eV=ENERGY, pixels=rows * columns,
        low=None, config={"eels": {"fit": {}}}, data=data,
    )  # fmt: skip


def test_factors_give_what_the_recipe_gives(source):
    counts = source.data.reshape(-1, ENERGY.size).sum(0).astype(float)
    lines = white_lines(ENERGY, counts, "Mn", None)
    l3, l2 = valence_maps.line_factors(ENERGY, counts, None, lines) @ counts
    assert l3 / l2 == pytest.approx(lines.ratio, rel=0.03)


def test_reduced_part_and_errors(source, monkeypatch):
    monkeypatch.setattr(valence_maps, "pool", pooled)
    surface = np.zeros((16, 24), bool)
    surface[:, :12] = True
    masks = {"surface": surface, "particle": ~surface}
    counts = source.data.reshape(-1, ENERGY.size).sum(0).astype(float)
    lines = white_lines(ENERGY, counts, "Mn", None)
    standards = [
        Standard(name, valence, WhiteLines("Mn", ratio=ratio, ratio_sys=0.0))
        for name, valence, ratio in (("MnO", 2.0, 3.5), ("MnO2", 4.0, 1.8))
    ]
    found = valence_maps.line_bins(source, masks, None, counts, lines, standards, (1, "a"))
    assert len(found.lines) > 6
    # No bin is partly at the surface.
    assert not set(found.label[surface]) & set(found.label[~surface])
    maps = found.maps("Mn")
    ratio, error = maps["l3_l2_ratio/Mn"], maps["l3_l2_ratio_std/Mn"]
    left, right = white_lines(ENERGY, edge(40, 14, -1.0), "Mn", None, 0.0, -1.0), None
    right = white_lines(ENERGY, edge(28, 14), "Mn", None, 0.0)
    for part, truth in ((surface, left), (~surface, right)):
        pulls = (ratio[part] - truth.ratio) / error[part]
        assert np.sqrt(np.mean(pulls**2)) < 1.6
        assert np.mean(maps["l3_position_eV/Mn"][part]) == pytest.approx(truth.position_eV, abs=0.15)
    assert maps["valence/Mn"][surface].mean() < maps["valence/Mn"][~surface].mean() - 0.5


def pooled(source, label):
    """Sums by bin, as `ceiflow.eels.adaptive.pool` leaves them."""
    flat = source.data.reshape(-1, ENERGY.size)
    sums = np.stack([flat[label == i].sum(0) for i in range(label.max() + 1)])
    core = SimpleNamespace(data=sums)
    return SimpleNamespace(core=core, low=None), np.bincount(label[label >= 0])
