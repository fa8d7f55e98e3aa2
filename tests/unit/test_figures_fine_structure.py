"""Figures of the fine structure: from what measurement leaves, to pictures that say what they show."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ceiflow.figures import fine_structure, style, valence

ENERGY = np.arange(255.0, 330.0, 0.5)


def zone(at=290.3, reason="", fraction=0.4):
    line = 400 * np.exp(-0.5 * ((ENERGY - at) / 0.8) ** 2)
    background = 2000 * (ENERGY / 284) ** -3
    rest = 1 - fraction
    return {
        "reason": reason,
        "species": ["sp2", "carbonate"],
        "fraction": [rest, fraction],
        "low": [rest - 0.1, fraction - 0.1],
        "high": [rest + 0.1, fraction + 0.1],
        "energy_eV": list(ENERGY),
        "counts": list(background + line),
        "model": list(background + line),
        "background": list(background),
        "residual_sigma": [0.0] * ENERGY.size,
        "parts": {"sp2": [0.0] * ENERGY.size, "carbonate": list(line)},
        "shift_eV": 0.0,
        "total": float(line.sum()),
        "missing": [{"energy_eV": 286.5, "sigma": 5.0, "share": 0.1}],
    }


def test_difference_of_groups_is_named_by_its_energy():
    figure = fine_structure.carbon_edges({"pristine": [zone(285.3)] * 2, "shorted": [zone()] * 3})
    words = style.description(figure)
    assert "shorted exceeds pristine most at 290.2" in words or "most at 290.5" in words
    assert "carbonate 0.40" in words


def test_edges_that_are_not_known_are_not_shown():
    figure = fine_structure.carbon_edges({"pristine": [zone(reason="no")], "shorted": []})
    assert "known well enough" in style.description(figure)


def test_alignment_takes_the_shift_off():
    moved = zone(290.3 + 1.5) | {"shift_eV": 1.5}
    values, errors = fine_structure.aligned(moved)
    assert fine_structure.GRID_EV[np.argmax(values)] == pytest.approx(290.3, abs=0.26)
    assert values.sum() * 0.25 == pytest.approx(1.0, rel=0.02)
    assert (errors > 0).all()


def test_zone_says_why_nothing_is_reported():
    content = {"carbon": {"all": zone(reason="energy of C K known to 0.40 eV only")}}
    assert "0.40 eV only" in style.description(fine_structure.carbon_zone(content))
    assert "does not hold C K" in style.description(fine_structure.carbon_zone({"carbon": {}}))


def test_maps_profiles_and_decays(tmp_path):
    path = tmp_path / "maps.h5"
    with h5py.File(path, "w") as file:
        file["carbon_fraction/carbonate"] = np.full((8, 9), 0.4, np.float32)
        file["carbon_fraction_std/carbonate"] = np.full((8, 9), 0.1, np.float32)
        file["zone"] = np.ones((8, 9), np.uint8)
        file.attrs["pixel_size_nm"] = 2.0
    assert "median share 0.40" in style.description(fine_structure.species_map(path))
    assert "No map of ether" in style.description(fine_structure.species_map(path, "ether"))
    lines = {"reason": "", "ratio": 2.0, "ratio_se": 0.1, "position_se_eV": 0.1}
    profile = [
        {"depth_nm": d, "bulk": d > 5, "position_eV": 640 + d / 5, **lines} for d in (1.0, 3.0, 5.0, 9.0)
    ]
    assert "640.20 eV at 1.0 nm" in style.description(valence.valence_profile({"profile": profile}))
    assert "too weak" in style.description(valence.valence_profile({}))
    decay = {
        "name": "carbonate line",
        "zero": 1.0,
        "critical": 750.0,
        "low": 500.0,
        "high": None,
        "rate": 1 / 750,
    }
    dose = {
        "decays": [decay],
        "dose_middle_e_per_A2": [100.0, 300.0, 500.0],
        "dose_end_e_per_A2": [200.0, 400.0, 600.0],
        "series": {"carbonate line": {"values": [0.9, 0.7, 0.5], "errors": [0.1, 0.1, 0.1]}},
    }
    assert "750 e/Å² (500–∞)" in style.description(fine_structure.dose_decay(dose))
    assert "No series" in style.description(fine_structure.dose_decay({}))


def test_growth_and_what_excludes_no_rate_are_drawn():
    grown = {"name": "C K mass", "critical": None, "low": None, "high": None, "rate": -2e-4, "zero": 5.0}
    unknown = {"name": "F K mass", "critical": None, "low": 0.0, "high": None, "rate": 0.0, "zero": 0.0}
    dose = {
        "decays": [grown, unknown],
        "dose_middle_e_per_A2": [50.0, 150.0, 250.0],
        "dose_end_e_per_A2": [100.0, 200.0, 300.0],
        "series": {
            item["name"]: {"values": [5.0, 5.1, 5.2], "errors": [0.1] * 3} for item in (grown, unknown)
        },
    }
    text = style.description(fine_structure.dose_decay(dose))
    assert "C K mass: grows by 0.02 per 100 e/Å²" in text
    assert "F K mass: not told" in text
