"""Rows of zone fits: what a limit and a share may say."""

import numpy as np
import pytest

from ceiflow.eels.tables import zone_measurements
from ceiflow.eels.zones import ZoneFit
from ceiflow.signals.store import Header


def rows_of(zone="all", notes=(), density=(50.0, 20.0, 10.0, 60.0), share=(0.5, 0.1, 0.1, 0.3)):
    nothing = np.zeros(3)
    status = {"F": ("identified" if density[0] > density[3] else "bounded", "why")}
    shares = {"F": ("identified" if share[0] > share[3] else "bounded", "why")}
    edges = {"F": nothing}
    fit = ZoneFit(
        nothing, nothing, nothing, nothing, edges, nothing, {"F": density}, {"F": share}, (0.4, 0.01, 0.0), 9,
        status, shares, 1.0, list(notes),
    )  # fmt: skip
    found = zone_measurements({zone: fit}, Header("a", "eels_si"), ["F"])
    return {row.endpoint: row for row in found}


def test_a_limit_is_above_what_was_counted_with_its_error():
    """The estimate just below the limit of detection may come from more than that limit."""
    row = rows_of()["areal_density_F_per_nm2"]
    assert row.status == "bounded"
    assert row.value is None
    assert row.lod == pytest.approx(50 + 1.645 * np.hypot(20, 10))
    assert rows_of(density=(-50.0, 20.0, 10.0, 60.0))["areal_density_F_per_nm2"].lod == 60


def test_a_limit_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    for truth in (0.0, 30.0, 60.0, 75.0):
        drawn = truth + 20.0 * rng.normal(size=400)
        found = [rows_of(density=(value, 20.0, 0.0, 65.8))["areal_density_F_per_nm2"] for value in drawn]
        limits = [row.lod for row in found if row.status == "bounded"]
        broken = np.sum(np.array(limits) < truth) / len(drawn)
        assert broken <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(drawn))


def test_no_share_is_more_than_the_whole():
    row = rows_of(share=(1.02, 0.01, 0.02, 0.1))["atomic_fraction_F"]
    assert row.value == 1.0
    assert row.note.startswith("1.02 before")
