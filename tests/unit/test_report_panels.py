"""Panels of the study: which a sheet has, what they are held against, and how their outcome is told."""

import fake_results
import pytest

from ceiflow.progress import Progress
from ceiflow.report import evidence, index
from ceiflow.report.findings import finding, outcome
from ceiflow.report.results import CellResults, Results
from ceiflow.study.panels import Panel, criteria, panels


def cell(name, condition, electrode="NMC532", low="2.7", high="4.3"):
    return {"cell_id": name, "condition": condition, "electrode": electrode, "v_min_V": low, "v_max_V": high}


CELLS = [
    cell("P1", "pristine", low="", high=""),
    cell("B1", "pristine", "carbon_black", "", ""),
    cell("N1", "normal"),
    cell("N2", "normal"),
    cell("L1", "normal", "LMR", "2.5", "4.6"),
    cell("S1", "shorted"),
    cell("S2", "shorted", "carbon_black"),
]


def acquisitions(*pairs):
    return [{"cell_id": name, "modality": modality} for name, modality in pairs]


ALL = acquisitions(("S1", "tem"), ("S1", "hrtem"), ("S1", "eels_si"), ("S2", "hrtem"))


def test_panels_stand_in_the_order_of_the_study():
    found = panels(CELLS, ALL)
    assert [panel.name for panel in found] == ["1a", "1b", "2a", "2b", "2c", "2d", "2e"]
    assert [panel.cells for panel in found[:2]] == [["N1", "N2"], ["L1"]]
    assert found[4].compared == ["B1"]
    assert found[6].compared == ["P1"]
    names = [claim["id"] for claim in criteria(found)]
    assert len(names) == len(set(names)) == 10
    assert all(name.startswith("panel_") for name in names)


def test_a_registered_margin_is_that_of_the_panel():
    claim = {
        "kind": "absence",
        "endpoint": "layer_thickness_nm",
        "group": {"electrode": "LMR"},
        "margin": 1.5,
    }
    found = panels(CELLS, ALL, [claim | {"max_prevalence": 0.2}])
    margins = {panel.name: panel.claims[0].get("margin") for panel in found[:2]}
    assert margins == {"1a": 2.0, "1b": 1.5}
    assert found[1].claims[0]["max_prevalence"] == 0.2


def test_panels_need_their_cells_and_signals():
    assert panels([cell("A", "aged")], acquisitions(("A", "hrtem"))) == []
    excluded = [{**row, "exclude": "ice"} for row in ALL]
    assert [panel.name for panel in panels(CELLS, excluded)] == ["1a", "1b", "2c"]


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["supported", "supported"], "reached"),
        (["supported", "cannot tell"], "cannot tell"),
        (["cannot tell", "refuted"], "refuted"),
        ([], "cannot tell"),
    ],
)
def test_outcome_needs_every_criterion(verdicts, word):
    claims = [{"id": str(index)} for index in range(len(verdicts))]
    panel = Panel("2b", "", "", [], (), claims)
    rows = {str(index): {"verdict": verdict} for index, verdict in enumerate(verdicts)}
    assert outcome(panel, rows) == word


def test_finding_has_the_numbers_and_what_is_missing():
    claim = {"kind": "interval", "endpoint": "layer_thickness_nm", "low": 5.0, "high": 15.0}
    row = {
        "estimate": "10.3", "ci_low": "4.1", "ci_high": "16.5", "unit": "nm", "n_cells_test": "2",
        "n_acquisitions": "5", "lod": "1.2", "verdict": "cannot tell",
        "reason": "missing: about 2 more cells with cell_id=S1|S2 (at the scatter seen); mean of 2 cells",
    }  # fmt: skip
    text = finding(claim, row)
    for part in (
        "10 [4, 16] nm",
        "2 cells, 5 acquisitions",
        "limit of a cell 1.20 nm",
        "5 to 15 nm",
        "cannot tell",
    ):
        assert part in text
    assert "2 more cells of this panel" in text
    assert "cell_id" not in text


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake_results.make(tmp_path_factory.mktemp("study"))


def test_a_cells_own_files_give_the_rows_of_the_study(study):
    sheets = study.parent / "config" / "cells.tsv", study.parent / "config" / "acquisitions.tsv"
    whole, own = Results(study, sheets[0]), CellResults(study, *sheets, "S1")
    names = [row["acquisition_id"] for row in whole.acquisitions if row["cell_id"] == "S1"]
    assert [row["acquisition_id"] for row in own.acquisitions] == names
    values = {(row["acquisition_id"], row["endpoint"]): row["value"] for row in own.measurements}
    assert values
    for row in whole.measurements:
        if row["cell_id"] == "S1":
            assert float(values[row["acquisition_id"], row["endpoint"]]) == float(row["value"])


def test_evidence_names_dose_and_what_could_be_told(study):
    results = Results(study, study.parent / "config" / "cells.tsv")
    claim = {
        "test": "condition=normal", "endpoint": "layer_thickness_nm", "zone": "layer", "n_cells_test": "2",
        "n_acquisitions": "3", "unit": "nm",
    }  # fmt: skip
    lines = evidence.evidence_lines(results, claim)
    assert lines == ["2 cells, 3 acquisitions", "dose not recorded", "of 3 acquisitions: 3 below detection"]


def test_index_links_every_page(study):
    results = Results(study, study.parent / "config" / "cells.tsv")
    index.write_index(results, study / "reports" / "index.html")
    text = (study / "reports" / "index.html").read_text(encoding="utf-8")
    for address in (
        "study.html",
        "cells/S1.html#S1_hrtem",
        "explorer/S1_eels_si.html",
        "../tables/claims.tsv",
    ):
        assert f'href="{address}"' in text
    assert "explorer/S1_hrtem.html" not in text
    assert "<script" not in text


def test_progress_says_how_long_it_will_take(capsys):
    progress = Progress(100, "pixels", every_s=0.0)
    progress.start -= 30.0
    progress.advance(5)
    assert not capsys.readouterr().err, "what is prepared first says nothing about the pace"
    progress.begun -= 20.0
    progress.advance(20)
    said = capsys.readouterr().err
    assert "25 of 100 pixels after 30 s, 1 min 15 s left" in said
    Progress(100, "pixels").advance(50)
    assert capsys.readouterr().err == ""


def test_a_changed_claim_is_named_on_the_page():
    assert evidence.registration_line({}) == ""
    row = {"digest": "ff97524c8e177bfd", "registered": "changed"}
    assert evidence.registration_line(row) == "registered as ff97524c8e177bfd, changed since the first run"
