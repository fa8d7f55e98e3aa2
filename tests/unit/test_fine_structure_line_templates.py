"""Valence by shipped templates of L3/L2: what it says, what it refuses, and on edges it does not share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ceiflow.eels.fine_structure.line_rows import change_rows, line_rows
from ceiflow.eels.fine_structure.line_templates import TemplateCalibration, line_templates
from ceiflow.eels.fine_structure.valence import (
    Standard,
    calibration_content,
    load_calibration,
    valence_of,
)
from ceiflow.eels.fine_structure.white_lines import WhiteLines, white_lines

MN = line_templates("Mn")


def read(ratio, se=0.05, sys=0.1):
    return WhiteLines("Mn", ratio, se, sys, position_eV=642.0, position_se_eV=0.1)


def test_every_template_names_its_source_and_its_uncertainties():
    assert [item.valence for item in MN] == [2, 3, 4]
    for item in MN:
        assert item.source
        assert item.energy_se_eV > 0
        assert item.low < item.ratio < item.high
        assert item.recipe_se > item.own_se > 0
    assert line_templates("Co") == line_templates("Ni") == ()


def test_without_references_manganese_has_templates_and_cobalt_has_none():
    assert isinstance(load_calibration([], Path("."), "Mn"), TemplateCalibration)
    assert load_calibration([], Path("."), "Co") == []
    assert "no shipped templates" in valence_of(3.0, 0.1, 0.1, []).reason
    content = calibration_content(load_calibration([], Path("."), "Mn"))
    assert content["standards"] == {}
    assert all(item["source"] and item["energy_se_eV"] for item in content["line_templates"])


def write_reference(folder, name, ratio):
    energy = np.arange(590.0, 700.0, 0.1)
    counts = 50.0 * (1 + np.tanh((energy - 642.0) / 0.7)) + 25.0 * (1 + np.tanh((energy - 653.0) / 0.7))
    for at, area in ((642.0, 1000.0), (653.0, 1000.0 / ratio)):
        counts = counts + area * np.exp(-0.5 * ((energy - at) / 1.0) ** 2)
    lines = [f"{e:.2f},{c:.4f}" for e, c in zip(energy, counts + 1e3 * (energy / 600) ** -3, strict=True)]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def entry(name, valence):
    return {"name": name, "edge": "Mn_L", "path": f"{name}.csv", "valence": valence}


def test_own_references_go_first(tmp_path):
    write_reference(tmp_path, "low", 3.4)
    write_reference(tmp_path, "high", 2.0)
    both = load_calibration([entry("low", 2), entry("high", 4)], tmp_path, "Mn")
    assert all(isinstance(item, Standard) for item in both)
    alone = load_calibration([entry("low", 2)], tmp_path, "Mn")
    assert isinstance(alone, TemplateCalibration)
    assert "low 2+" in alone.note
    found = valence_of(alone.measured[0][2], 0.02, 0.05, alone)
    assert found.value == pytest.approx(2.0, abs=0.15)
    # One reference of known valence says which recipe is in use: errors fall, and numbers return.
    loose, tight = (
        np.ptp(item.quantiles(item.valence(2.6), (0.025, 0.975))) for item in (TemplateCalibration(MN), alone)
    )
    assert tight < 0.6 * loose


def test_valence_is_a_limit_or_a_refusal_that_says_where_it_comes_from():
    calibration = TemplateCalibration(MN)
    reduced, other = (line_rows("surface", read(ratio), calibration, 9, "")[1] for ratio in (4.3, 2.05))
    assert reduced.status == "bounded"
    assert 2.0 < reduced.lod < 4.0
    assert other.status == "not_identifiable"
    for row in (reduced, other):
        assert "shipped templates" in row.note
        assert "not by measured standards" in row.note
        assert "95 %" in row.note


@pytest.mark.parametrize("ratio", [0.4, 0.9, 1.3, 1.6, 2.05, 2.6, 3.2, 4.3, 6.0, 9.0, 30.0])
def test_templates_alone_never_give_a_number(ratio):
    """Far outside neither: a valence of 5 with no error was one of the ways to be wrong."""
    row = line_rows("surface", read(ratio, se=0.0, sys=0.0), TemplateCalibration(MN), 9, "")[1]
    assert row.status != "identified"
    if not 1.3 < ratio < 8.0:
        assert "outside" in row.note
        assert "outside" in change_rows(read(ratio), read(2.05), TemplateCalibration(MN), "")[2].note


def test_change_by_templates_keeps_its_sign_and_a_large_error():
    calibration = TemplateCalibration(MN)
    rows = {row.endpoint: row for row in change_rows(read(2.9), read(2.05), calibration, "")}
    row = rows["mn_valence_change"]
    assert row.status == "identified"
    assert -2.5 < row.value < -0.5
    assert row.se_sys > 0.3
    assert row.se_stat < row.lod < -row.value
    back = {r.endpoint: r for r in change_rows(read(2.05), read(2.9), calibration, "")}["mn_valence_change"]
    assert back.value == pytest.approx(-row.value)
    vague = change_rows(read(2.9, se=0.9), read(2.05, se=0.6), calibration, "")[2]
    assert vague.status == "not_identifiable"
    assert "shipped templates" in vague.note


@pytest.mark.parametrize(("material", "valence"), [("LMR", 4.0), ("rocksalt", 2.0)])
def test_an_edge_of_other_shape_lies_within_what_templates_leave(material, valence):
    """Edges of the simulated study: other lines, other steps."""
    from ceiflow.phantom.edges import edge_spectra, nature
    from ceiflow.phantom.materials import MATERIALS

    energy = np.arange(560.0, 720.0, 0.5)
    edge = edge_spectra(MATERIALS[material], energy, nature(3), 300.0, 20.0)["Mn"]
    counts = 5e4 * (energy / 600) ** -3.2 + 2e6 * edge / edge.sum()
    found = white_lines(energy, np.random.default_rng(3).poisson(counts), "Mn", None, seed=1)
    calibration = TemplateCalibration(MN)
    low, high = calibration.quantiles(calibration.valence(found.ratio), (0.025, 0.975))
    assert low < valence < high
    row = line_rows("surface", found, calibration, 9, "")[1]
    if row.status == "bounded":
        assert row.lod > valence
    assert row.status == ("bounded" if valence == 2.0 else "not_identifiable")


def test_quantiles_by_another_way():
    """Draws of the same errors, inverted one by one."""
    rng = np.random.default_rng(11)
    logs = np.log([item.ratio for item in MN]) + rng.standard_normal((4000, 1)) * [i.recipe_se for i in MN]
    logs = logs + rng.standard_normal((4000, 3)) * [item.own_se for item in MN]
    logs = logs[(np.diff(logs, axis=1) < -0.05).all(1)]
    at = np.log(2.9)
    values = []
    for one in logs:
        i = 0 if at > one[1] else 1
        values.append(2 + i + (at - one[i]) / (one[i + 1] - one[i]))
    calibration = TemplateCalibration(MN)
    found = calibration.quantiles(calibration.valence(2.9), (0.16, 0.5, 0.84))
    assert found == pytest.approx(np.quantile(values, [0.16, 0.5, 0.84]), abs=0.08)
