"""Sheets and configuration: what is let through, and that every fault is named at once, where it stands."""

import random
import time

import pytest

from ceiflow.errors import StudyError
from ceiflow.study import absent_files, load_study, validate

CELLS = [
    ["cell_id", "condition", "electrode", "cycles", "dried"],
    ["n1", "normal", "NMC532", "100", "yes"],
    ["n2", "normal", "LMR", "100", "no"],
    ["s1", "shorted", "NMC532", "100", ""],
]
ACQUISITIONS = [
    ["acquisition_id", "cell_id", "particle_id", "region_id", "modality", "path", "signal", "low_loss_path",
     "low_loss_signal", "beam_energy_keV", "pixel_size_nm", "defocus_nm", "sha256", "exclude", "note"],
    ["a1", "n1", "p1", "r1", "eels_si", "raw/a1.dm4", "", "raw/a1_low.dm4", "", "300", "2.5", "", "", "", ""],
    ["a2", "n2", "p1", "r1", "hrtem", "raw/a2.dm4", "2", "", "", "300", ".05", "-1e2", "AB" * 32, "",
     "5 µm off"],
    ["a3", "s1", "p1", "r1", "adf", "../far/a3.dm4", "ADF", "", "", "", "", "", "", "drifted", ""],
]  # fmt: skip
CLAIM = {
    "id": "c1",
    "kind": "difference",
    "endpoint": "layer_thickness_nm",
    "test": {"condition": "shorted"},
    "reference": {"condition": "normal"},
}


def text(rows, end="\n"):
    return "".join("\t".join(row) + end for row in rows)


@pytest.fixture
def study(tmp_path):
    """A function that writes a study and validates it."""
    (tmp_path / "config").mkdir()

    def build(config=None, cells=CELLS, acquisitions=ACQUISITIONS):
        for name, content in (("cells", cells), ("acquisitions", acquisitions)):
            content = text(content) if isinstance(content, list) else content
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / "config" / f"{name}.tsv").write_bytes(data)
        return validate(config, tmp_path)

    build.folder = tmp_path
    return build


def faults(build, **keywords):
    with pytest.raises(StudyError) as caught:
        build(**keywords)
    return [str(fault) for fault in caught.value.faults]


def changed(rows, row, column, value):
    rows = [list(cells) for cells in rows]
    rows[row][rows[0].index(column)] = value
    return rows


def test_values_are_typed_and_empty_cells_are_none(study):
    found = study({"claims": [CLAIM]})
    first, second, third = found.acquisitions
    assert first["beam_energy_keV"] == 300
    assert isinstance(first["beam_energy_keV"], int)
    assert second["pixel_size_nm"] == 0.05
    assert second["defocus_nm"] == -100
    assert second["signal"] == 2
    assert second["sha256"] == "ab" * 32
    assert third["signal"] == "ADF"
    assert third["exclude"] == "drifted"
    assert third["beam_energy_keV"] is None
    assert first["frame"] is None  # a column that the sheet does not have
    assert found.cells[0]["dried"] == "yes"
    assert found.cells[2]["dried"] is None
    assert found.config["claims"][0]["zone"] == "layer"
    assert found.folder == study.folder


def test_notes_on_what_is_odd(study):
    rows = [*ACQUISITIONS, ["a4", *ACQUISITIONS[1][1:]]]
    notes = study({}, acquisitions=rows).notes
    assert any("dried" in note for note in notes)
    assert any("row 4" in note and "s1" in note for note in notes)  # its only row is excluded
    assert any("row 5" in note and "count twice" in note for note in notes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: b"\xef\xbb\xbf" + t.encode(),
        lambda t: t.replace("\n", "\r\n").encode(),
        lambda t: t.replace("\n", "\r").encode(),
        lambda t: (t + "\n\n\t\t\n  \n").encode(),
        lambda t: t.rstrip("\n").encode(),
        lambda t: t.replace("\t300\t", "\t 300 \t").encode(),
        lambda t: t.replace("\n", "\t\t\n").encode(),
        lambda t: t.replace("drifted", '"drifted ""far"""').encode(),
    ],
    ids=["bom", "crlf", "cr", "blank lines", "no last line end", "spaces", "trailing tabs", "quotes"],
)
def test_what_spreadsheets_do_is_let_through(study, spoil):
    found = study({}, acquisitions=spoil(text(ACQUISITIONS)))
    assert [row["acquisition_id"] for row in found.acquisitions] == ["a1", "a2", "a3"]
    assert found.acquisitions[0]["beam_energy_keV"] == 300


def test_every_fault_at_once_with_file_row_and_column(study):
    cells = changed(changed(CELLS, 1, "cell_id", "n 1"), 3, "cycles", "-5")
    rows = changed(ACQUISITIONS, 1, "beam_energy_keV", "300000")
    rows = changed(rows, 2, "modality", "HRTEM")
    rows = changed(rows, 2, "pixel_size_nm", "0,05")
    rows = changed(rows, 3, "cell_id", "s2")
    config = {"eels": {"element": ["C"]}, "claims": [{**CLAIM, "endpoint": "layer_thicknes_nm"}]}
    found = faults(study, config=config, cells=cells, acquisitions=rows)
    for words in (
        ("config/config.yaml", "eels.element", "perhaps elements"),
        ("config/config.yaml", "claims[1] (c1).endpoint", "perhaps layer_thickness_nm"),
        ("config/cells.tsv", "row 2, column cell_id", "'n 1'"),
        ("config/cells.tsv", "row 4, column cycles", "'-5'"),
        ("config/acquisitions.tsv", "row 2, column beam_energy_keV", "'300000'", "in keV?"),
        ("config/acquisitions.tsv", "row 3, column modality", "perhaps hrtem"),
        ("config/acquisitions.tsv", "row 3, column pixel_size_nm", "a decimal point: 0.05"),
        ("config/acquisitions.tsv", "row 4, column cell_id", "'s2'"),
    ):
        assert any(all(word in fault for word in words) for fault in found), (words, found)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("acquisition_id", "a 1", "name of letters"),
        ("acquisition_id", "a" * 101, "100 at most"),
        ("acquisition_id", "../a", "name of letters"),
        ("acquisition_id", "ä1", "name of letters"),
        ("acquisition_id", "", "Name of the acquisition"),
        ("acquisition_id", "a2", "first in row 2"),
        ("acquisition_id", "A2", "upper from lower"),
        ("cell_id", "n3", "one of n1, n2, s1"),
        ("particle_id", "", "Particle within the cell"),
        ("region_id", "r/1", "name of letters"),
        ("modality", "tomography", "one of eels_si"),
        ("modality", "", "eels_si"),
        ("path", "", "core-loss signal"),
        ("path", "raw\\a.dm4", "raw/a.dm4"),
        ("path", "raw/", "not a folder"),
        ("path", "a\x07b", "control characters"),
        ("low_loss_signal", "1", "the file, also where it is `path`"),
        ("beam_energy_keV", "300 kV", "the number alone, in keV"),
        ("beam_energy_keV", "0.3", "in keV?"),
        ("beam_energy_keV", "nan", "an empty cell"),
        ("beam_energy_keV", "N/A", "an empty cell"),
        ("beam_energy_keV", "inf", "a number in keV"),
        ("beam_energy_keV", "1e999", "in keV?"),
        ("beam_energy_keV", "1_000", "a number in keV"),
        ("beam_energy_keV", "0x10", "keV"),
        ("beam_energy_keV", "1,000.5", "a number in keV"),
        ("beam_energy_keV", "３００", "a number in keV"),
        ("defocus_nm", "\u2212100", "plain hyphen"),
        ("pixel_size_nm", "0", "above 0"),
        ("pixel_size_nm", "-1", "above 0"),
        ("sha256", "deadbeef", "64 hexadecimal"),
        ("sha256", "g" * 64, "64 hexadecimal"),
        ("exclude", "no", "a reason in words"),
        ("exclude", "FALSE", "a reason in words"),
    ],
)
def test_one_bad_cell_is_one_fault(study, column, value, words):
    row = 2 if column == "acquisition_id" and value.lower() == "a2" else 1
    rows = changed(ACQUISITIONS, row, column, value)
    if row == 2:
        rows = changed(rows, 1, "acquisition_id", "a2")
    if column == "low_loss_signal":
        rows = changed(rows, 1, "low_loss_path", "")
    found = faults(study, acquisitions=rows)
    assert len(found) == 1, found
    assert words in found[0]
    assert f"row {row + 1}, column " in found[0]


def test_low_loss_cannot_be_the_core_loss_itself(study):
    rows = changed(ACQUISITIONS, 1, "low_loss_path", "raw/a1.dm4")
    assert "core-loss signal itself" in faults(study, acquisitions=rows)[0]
    rows = changed(rows, 1, "low_loss_signal", "1")
    assert study({}, acquisitions=rows).acquisitions[0]["low_loss_signal"] == 1


def test_rows_are_counted_as_an_editor_counts(study):
    lines = text(changed(ACQUISITIONS, 3, "cell_id", "zz")).splitlines()
    sheet = "\n".join(["", lines[0], "", *lines[1:3], "", lines[3]]) + "\n"
    (fault,) = faults(study, acquisitions=sheet)
    assert "row 7, column cell_id" in fault


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        ("", "an empty file"),
        ("\n\n", "an empty file"),
        (text(ACQUISITIONS[:1]), "no rows"),
        (text(ACQUISITIONS).replace("\t", ","), "separated by ','"),
        (text(ACQUISITIONS).replace("\t", ";"), "separated by ';'"),
        (text(ACQUISITIONS).encode("utf-16"), "UTF-16"),
        (text(ACQUISITIONS).replace("µ", "\xe4").encode("latin-1"), "row 3: found the byte 0xe4"),
        (b"PK\x03\x04" + bytes(300), "workbook"),
        (text(ACQUISITIONS).replace("drifted", '"drifted'), "open until"),
        (text(ACQUISITIONS).replace("\tdrifted", ""), "row 4: found 14 cells"),
        (text(ACQUISITIONS).replace("\tdrifted", "\tx\tdrifted\ty"), "row 4: found 16 cells"),
        (text(ACQUISITIONS).replace("\tnote", "\tpath"), "column path: found the name again"),
        (text(ACQUISITIONS).replace("\tnote\n", "\t\tnote\n", 1), "unnamed column"),
        (text(ACQUISITIONS).replace("pixel_size_nm", "pixel_size_um"), "expected pixel_size_nm, in nm"),
        (text(ACQUISITIONS).replace("pixel_size_nm", "pixel size"), "expected pixel_size_nm, in nm"),
        (text(ACQUISITIONS).replace("beam_energy_keV", "beam_energy_kev"), "expected beam_energy_keV"),
        (text(ACQUISITIONS).replace("acquisition_id", "acquisition"), "perhaps acquisition"),
        (text(ACQUISITIONS).replace("particle_id\t", "grain\t"), "column particle_id: found no such column"),
        ("nothing of this kind\n", "no such column"),
    ],
)
def test_broken_sheets_are_named(study, sheet, words):
    found = faults(study, acquisitions=sheet)
    assert any(words in fault for fault in found), found
    assert all(fault.startswith("config/acquisitions.tsv: ") for fault in found)


def test_cells_sheet_is_held_to_the_same(study):
    assert "no rows" in faults(study, cells=CELLS[:1])[0]
    assert "first in row 2" in faults(study, cells=[*CELLS, CELLS[1]])[0]
    cells = [[*row, low, "4.3"] for row, low in zip(CELLS, ["v_min_V", "2.7", "4.3", "5"], strict=True)]
    cells[0][-1] = "v_max_V"
    assert [f for f in faults(study, cells=cells) if "below v_max_V" in f].__len__() == 2
    cells = [[*row, state] for row, state in zip(CELLS, ["state", "charged", "half", ""], strict=True)]
    assert "one of charged, discharged" in faults(study, cells=cells)[0]


def test_absent_sheets_are_one_fault_each(tmp_path):
    with pytest.raises(StudyError) as caught:
        validate({"claims": [CLAIM]}, tmp_path)
    assert [fault.file for fault in caught.value.faults] == ["config/cells.tsv", "config/acquisitions.tsv"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoint": "areal_density_Zn_per_nm2"}, "eels.elements is"),
        ({"endpoint": "layer_amorphous_fraction", "modality": "eels_si"}, "not one of modality eels_si"),
        ({"endpoint": ""}, "endpoint"),
        ({"zone": "bulk"}, "one of layer, particle, surface, all"),
        ({"zone": "particle"}, "which layer_thickness_nm belongs to"),
        ({"test": {"condition": "short"}}, "perhaps shorted"),
        ({"test": {"condition": ["shorted", "short"]}}, "'short', which no cell has"),
        ({"test": {"conditon": "shorted"}}, "a column of config/cells.tsv: perhaps condition"),
        ({"test": {"condition": "shorted", "electrode": "LMR"}}, "which no cell matches"),
        ({"test": {"condition": "normal"}}, "groups that share no cell"),
        ({"test": None}, "a section with keys"),
        ({"test": {}}, "at least one key"),
        ({"test": {"dried": True}}, "quote a text"),
        ({"direction": "upwards"}, "one of greater, less, two_sided"),
        ({"alpha": 2}, "up to 0.5"),
        ({"margin": 2}, "an unknown key"),
        ({"kind": "absense"}, "one of difference, absence, interval"),
        ({"id": "c 1"}, "name of letters"),
        ({"modality": "xps"}, "one of eels_si"),
        ({"modality": 3}, "modality"),
    ],
)
def test_bad_claims(study, change, words):
    found = faults(study, config={"claims": [{**CLAIM, **change}]})
    assert any(words in fault for fault in found), found
    assert all(fault.startswith("config/config.yaml: claims[1]") for fault in found)


def test_claims_of_other_kinds(study):
    absence = {"id": "a", "kind": "absence", "endpoint": "layer_thickness_nm", "group": {"cycles": 100.0}}
    interval = {
        "id": "a",
        "kind": "interval",
        "endpoint": "layer_coverage",
        "group": {"dried": "no"},
        "low": 3,
        "high": 1,
    }
    found = faults(study, config={"claims": [absence, interval]})
    assert len(found) == 3
    assert "claims[1].margin: found nothing" in found[0]
    assert "'a' again, first in claims[1]" in found[1]
    assert "low 3, high 1" in found[2]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"alpha": 0.1}, "it under statistics"),
        ({"eels": "C"}, "a section with keys"),
        ({"eels": {"fit": {"start_eV": 900, "stop_eV": 300}}}, "start below stop"),
        ({"images": {"spacing_range_nm": [0.7, 0.2]}}, "the smaller spacing first"),
        ({"eels": {"elements": ["O"]}}, "at least one of eels.elements"),
        ({"layer": {"reference": {"name": "LiF"}}}, "all of name, density_g_per_cm3, carbon_per_nm3"),
        ({"cells": 3}, "text"),
        ({"cells": ""}, "text"),
        ({"strict": None}, "true or false"),
        ({"statistics": {"seed": float("nan")}}, "a whole number"),
        ({"claims": "all"}, "a list"),
        (["claims"], "keys with values"),
        ("text", "keys with values"),
    ],
)
def test_bad_configurations(study, config, words):
    found = faults(study, config=config)
    assert any(words in fault for fault in found), found


def test_retrieved_files_stay_inside_the_study(study):
    one = {"url": "https://example.org/a", "sha256": "0" * 64}
    paths = ["/a", "../a", "~/a", "raw/a", "raw/a"]
    found = faults(study, config={"retrieve": {"files": [{**one, "path": path} for path in paths]}})
    assert len(found) == 4
    assert "retrieve.files[5].path: found 'raw/a' again" in found[3]


def test_an_absent_reference_is_a_fault_unless_a_rule_makes_it(study):
    entry = {"name": "MnO", "edge": "Mn_L", "path": "references/mno.csv", "valence": 2}
    config = {"fine_structure": {"references": [entry]}}
    (found,) = faults(study, config=config)
    assert "config/config.yaml: fine_structure.references[1].path" in found
    assert "references/mno.csv" in found
    study(config | {"retrieve": {"eels_db": [{"path": "references/mno.csv", "title": "MnO"}]}})
    (study.folder / "references").mkdir()
    (study.folder / "references" / "mno.csv").write_text("640 1\n", encoding="utf-8")
    study(config)


def test_absent_raw_files_are_no_fault(study):
    found = study({"retrieve": {"files": [{"path": "raw/a2.dm4", "url": "https://x", "sha256": "0" * 64}]}})
    (study.folder / "raw").mkdir()
    (study.folder / "raw" / "a1.dm4").touch()
    # a2 is fetched, a3 is excluded.
    assert list(absent_files(found)) == [("a1", "low_loss_path", "raw/a1_low.dm4")]


def test_absolute_and_outside_paths_are_fine(study, tmp_path):
    rows = changed(ACQUISITIONS, 1, "path", str(tmp_path / "far" / "a b.dm4"))
    assert study({}, acquisitions=rows).acquisitions[0]["path"].endswith("a b.dm4")


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("eels: {elements: [C]}\nstudy: {}\neels: {}\n", "line 3: found eels again (first on line 1)"),
        ("eels:\n  fit: {passes: 1}\n  fit: {passes: 2}\n", "line 3: found fit again (first on line 2)"),
        ("eels:\n\tfit: 3\n", "line 2, column 1"),
        ("eels: [C\n", "line 2"),
        ("eels: !!python/object:os.system {}\n", "line 1"),
        (b"study: {title: \xff}\n", "line 1"),
        ("- a\n- b\n", "keys with values"),
        ("a: *nowhere\n", "line 1"),
    ],
)
def test_yaml_faults_have_a_line(study, yaml, words):
    study({})
    (study.folder / "config" / "config.yaml").write_bytes(yaml if isinstance(yaml, bytes) else yaml.encode())
    with pytest.raises(StudyError) as caught:
        load_study(study.folder)
    assert words in str(caught.value)


def test_yaml_merge_keys_and_empty_files_are_read(study):
    study({})
    file = study.folder / "config" / "config.yaml"
    file.write_text("claims: &c []\nlayer: &l {segment_nm: 3}\nimages: {<<: *l, segment_nm: 4}\n")
    assert load_study(study.folder).config["images"]["segment_nm"] == 4
    file.write_text("# nothing\n")
    assert load_study(study.folder).config["images"]["segment_nm"] == 2.0
    file.unlink()
    with pytest.raises(StudyError, match="no such file"):
        load_study(study.folder)


def test_broken_sheets_never_crash(study):
    """Spoilt bytes give a study or a list of faults, and nothing else."""
    stream = random.Random(532)
    spare = ["\t", "\n", '"', "\r", "\0", "\ufeff", "nan", "1e400", "\x1f", "\u2028", ",", " ", "٣", "é", "-"]
    texts = {"cells": text(CELLS), "acquisitions": text(ACQUISITIONS)}
    for _ in range(200):
        spoilt = {}
        for name, content in texts.items():
            for _ in range(stream.randint(0, 4)):
                at = stream.randrange(len(content))
                content = content[:at] + stream.choice(spare) + content[at + stream.randint(0, 12) :]
            data = bytearray(content.encode())
            if data and stream.random() < 0.2:
                data[stream.randrange(len(data))] = stream.randrange(256)
            spoilt[name] = bytes(data)
        for fault in _faults_or_none(study, {"claims": [CLAIM]}, spoilt):
            assert fault.file
            assert fault.field
            assert fault.found
            assert fault.expected


def test_broken_configurations_never_crash(study):
    """Wrong types anywhere give faults, and nothing else."""
    stream = random.Random(532)
    wrong = [None, True, 3, -1.5, "x", "", [], [None], [[]], {}, {"x": 1}, {1: 2}, float("nan"), ["C", 3]]
    claims = [
        CLAIM,
        {
            "id": "b",
            "kind": "interval",
            "endpoint": "layer_coverage",
            "group": {"cell_id": "n1"},
            "low": 0,
            "high": 1,
        },
    ]
    base = study({"claims": claims}).config
    for _ in range(300):
        config = _spoil(base, stream, wrong)
        _faults_or_none(study, config, {})


def _faults_or_none(study, config, sheets):
    try:
        study(config, **sheets)
    except StudyError as error:
        return error.faults
    return []


def _spoil(value, stream, wrong):
    if stream.random() < 0.02:
        return stream.choice(wrong)
    if isinstance(value, dict):
        return {key: _spoil(item, stream, wrong) for key, item in value.items()}
    return [_spoil(item, stream, wrong) for item in value] if isinstance(value, list) else value


def test_ten_thousand_rows(study):
    rows = [ACQUISITIONS[0]] + [
        [f"x{n}", *ACQUISITIONS[1][1:5], f"raw/{n}.dm4", *ACQUISITIONS[1][6:]] for n in range(10000)
    ]
    start = time.process_time()
    assert len(study({}, acquisitions=rows).acquisitions) == 10000
    assert time.process_time() - start < 2
