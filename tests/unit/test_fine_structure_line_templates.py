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
from ceiflow.eels.fine_structure.white_lines import LINES_EV, WhiteLines, white_lines

MN = line_templates("Mn")
METALS = ("Mn", "Co", "Ni")


def read(ratio, se=0.05, sys=0.1, element="Mn"):
    return WhiteLines(element, ratio, se, sys, position_eV=642.0, position_se_eV=0.1)


@pytest.mark.parametrize("element", METALS)
def test_every_template_names_its_source_and_its_uncertainties(element):
    templates = line_templates(element)
    assert [item.valence for item in templates] == [2, 3, 4]
    for item in templates:
        assert item.source
        assert item.origin
        assert item.energy_se_eV > 0
        assert item.low < item.ratio < item.high
        assert item.recipe_se > 0
        assert item.own_se > 0
        assert abs(item.l3_eV - LINES_EV[element][0]) < 3


@pytest.mark.parametrize("element", METALS)
def test_without_references_every_metal_has_templates(element):
    calibration = load_calibration([], Path("."), element)
    assert isinstance(calibration, TemplateCalibration)
    assert "not by measured standards" in calibration.note
    content = calibration_content(calibration)
    assert content["standards"] == {}
    assert all(item["source"] and item["energy_se_eV"] for item in content["line_templates"])


def test_only_manganese_has_ratios_that_fall_with_valence():
    assert [TemplateCalibration(line_templates(element)).falls for element in METALS] == [True, False, False]


@pytest.mark.parametrize("element", ["Co", "Ni"])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 1.8, 2.5, 3.6, 5.0, 6.0, 9.0, 40.0])
def test_templates_that_overlap_give_limits_and_refusals(element, ratio):
    calibration = TemplateCalibration(line_templates(element))
    row = line_rows("surface", read(ratio, element=element), calibration, 9, "")[1]
    assert row.endpoint == f"{element.lower()}_valence"
    assert row.status == ("bounded" if element == "Co" and 5 <= ratio <= 6 else "not_identifiable")
    assert "by shipped templates computed by multiplet theory" in row.note
    assert ("outside" in row.note) == (not 0.5 < ratio < 12 or (element == "Ni" and ratio == 9.0))
    change = change_rows(read(ratio, element=element), read(2.0, element=element), calibration, "")[2]
    assert change.status == "not_identifiable"


def test_limit_of_cobalt_holds_for_the_lower_valence_only():
    """Ratios drawn from the templates' errors: how often a limit lies below their valence."""
    rng = np.random.default_rng(5)
    templates = line_templates("Co")
    calibration = TemplateCalibration(templates)
    wrong = []
    for item in templates:
        logs = np.log(item.ratio) + rng.standard_normal(150) * np.hypot(item.own_se, item.recipe_se)
        found = [valence_of(ratio, 0.02 * ratio, 0.0, calibration) for ratio in np.exp(logs)]
        wrong.append(np.mean([one.limit < item.valence for one in found]))
    assert max(wrong) < 0.09


def test_a_reference_of_cobalt_tells_of_the_recipe_and_not_of_spin():
    """Low-spin Co3+ as reference: high-spin Co3+, whose ratio is 1.6 times as high, is not called Co2+."""
    told = TemplateCalibration(line_templates("Co"), [("LiCoO2", 3.0, 2.1, 0.05)])
    assert "recipe by the reference LiCoO2 3+" in told.note
    high_spin = valence_of(3.3, 0.05, 0.1, told)
    assert not high_spin.limit < 3.0
    reduced = valence_of(6.0, 0.05, 0.1, told)
    assert reduced.reason
    before, after = (
        np.ptp(item.interval(4.4, 0.1, 1.96)) for item in (TemplateCalibration(line_templates("Co")), told)
    )
    assert after < before


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


@pytest.mark.parametrize("element", ["Co", "Ni"])
@pytest.mark.parametrize(
    ("material", "valence"), [("LMR", {"Co": 3.0, "Ni": 3.0}), ("rocksalt", {"Co": 2.0, "Ni": 2.0})]
)
def test_cobalt_and_nickel_of_other_shape_are_within_what_is_left(element, material, valence):
    from ceiflow.phantom.edges import edge_spectra, nature
    from ceiflow.phantom.materials import MATERIALS

    l3 = LINES_EV[element][0]
    energy = np.arange(l3 - 80, l3 + 80, 0.5)
    edges = edge_spectra(MATERIALS[material], energy, nature(3), 300.0, 20.0)
    if element not in edges:
        pytest.skip(f"no {element} in {material}")
    counts = 5e4 * (energy / 600) ** -3.2 + 2e6 * edges[element] / edges[element].sum()
    found = white_lines(energy, np.random.default_rng(3).poisson(counts), element, None, seed=1)
    calibration = TemplateCalibration(line_templates(element))
    low, high = calibration.interval(found.ratio, np.hypot(found.ratio_se, found.ratio_sys), 1.96)
    assert low <= valence[element] <= high
    assert line_rows("surface", found, calibration, 9, "")[1].status != "identified"


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
