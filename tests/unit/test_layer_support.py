"""A film behind the particle is no part of the layer: excess over what stands beside it, errors carried."""

from dataclasses import replace

import numpy as np
import pytest

from ceiflow.eels.zones import ZoneFit
from ceiflow.layer.support import beside, excess


def zone(carbon, oxygen, se=5.0, relative=0.07):
    none = np.zeros(0)
    amounts = {"C": carbon, "O": oxygen}
    total = carbon + oxygen
    density = {name: (value, se, relative * value, 3.29 * se) for name, value in amounts.items()}
    fraction = {name: (value / total, se / total, 0.02, 3.29 * se / total) for name, value in amounts.items()}
    status = {
        name: ("identified", "Poisson assumed") if value > 3.29 * se else ("bounded", "below")
        for name, value in amounts.items()
    }
    return ZoneFit(
        none, none, none, none, {}, none, density, fraction, (0.3, 0.01, 0.01), 50, status, dict(status), 1.0
    )


def test_film_is_taken_off_and_its_error_carried():
    changed, film = excess(zone(1500.0, 1200.0), zone(900.0, 0.0, se=4.0))
    value, error, systematic, limit = changed.areal_density["C"]
    assert film == {"C": 900.0}
    assert value == pytest.approx(600.0)
    assert error == pytest.approx(np.hypot(5.0, 4.0))
    # The film behind the layer may differ from the one beside it by what its own density is known to.
    assert systematic == pytest.approx(np.hypot(0.07 * 600, 0.07 * 900))
    assert limit == pytest.approx(3.29 * np.hypot(5.0, 4.0))
    assert "900" in changed.status["C"][1]
    assert changed.areal_density["O"][0] == 1200.0
    assert changed.atomic_fraction["C"][0] == pytest.approx(1 / 3)
    assert changed.atomic_fraction["C"][0] + changed.atomic_fraction["O"][0] == pytest.approx(1)


def test_correlations_of_an_excess_are_those_of_both_places():
    own = replace(zone(1500.0, 1200.0), density_correlation={"C": {"O": -0.4}, "O": {"C": -0.4}})
    film = replace(zone(900.0, 800.0, se=4.0), density_correlation={"C": {"O": 0.2}, "O": {"C": 0.2}})
    joint = (-0.4 * 25 + 0.2 * 16) / (25 + 16)
    assert excess(own, film)[0].density_correlation["C"]["O"] == pytest.approx(joint)
    # Nothing of oxygen beside the layer: only carbon's error grows.
    carbon = replace(
        film, areal_density=zone(900.0, 0.0, se=4.0).areal_density, status=zone(900.0, 0.0).status
    )
    found = excess(own, carbon)[0].density_correlation["O"]["C"]
    assert found == pytest.approx(-0.4 * 25 / (5 * np.hypot(5, 4)))


def test_nothing_over_the_film_is_bounded():
    changed, _ = excess(zone(905.0, 1200.0), zone(900.0, 0.0))
    assert changed.status["C"][0] == "bounded"


def test_vacuum_beside_changes_nothing():
    own = zone(600.0, 1200.0)
    changed, film = excess(own, zone(2.0, 1.0))
    assert changed is own
    assert film == {}
    # Tails of the probe that are seen, and are less than the layer's own error, neither.
    assert excess(own, zone(4.0, 0.0, se=0.5))[0] is own


def test_what_cannot_be_told_stays_so():
    own = zone(600.0, 1200.0)
    own = replace(own, status={"C": ("not_identifiable", "angles missing"), "O": own.status["O"]})
    assert excess(own, zone(300.0, 0.0))[0].status["C"] == ("not_identifiable", "angles missing")


def test_pixels_beside_are_clear_of_the_layer():
    distance = np.tile(np.arange(-10.0, 50.0), (5, 1))
    segment = np.zeros(distance.shape, dtype=int)
    segment[0] = -1
    every = np.ones(distance.shape, bool)
    mask = beside(distance, segment, np.array([8.0]), 1.0, 1.0, 40.0, every)
    assert not mask[0].any()
    assert distance[mask].min() > 8 + 3
    assert distance[mask].max() < 40
    assert not beside(distance, segment, np.array([38.0]), 1.0, 1.0, 40.0, every).any()
