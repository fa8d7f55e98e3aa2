"""A part of the fuzzing of files and of studies; `make fuzz` runs all of it."""

from __future__ import annotations

import files
import pytest
import studies

# Of `make fuzz`: the first of every format, with a seed that it does not use.
SEED, FILES, STUDIES = 8, 8, 60
FORMATS = ("dm3-si", "dm4-si", "dm4-image", "emd-velox", "emd-ncem", "hspy-si", "msa", "tif", "mrc", "rpl")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    found = files.corpus(tmp_path_factory.mktemp("sound"))
    assert tuple(found) == FORMATS
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_spoiled_files(name, sound, tmp_path):
    results = [files.one(name, index, SEED, sound, tmp_path) for index in range(FILES)]
    assert [text for state, text in results if state == "WRONG"] == []
    assert any(state == "failed" for state, _ in results)


@pytest.mark.parametrize("name", FORMATS)
def test_sound_files_are_accepted(name, sound, tmp_path):
    """Otherwise everything could be refused."""
    source, modality, _ = sound[name]
    row = {"acquisition_id": "a", "modality": modality, "path": source.name}
    header = files.signals.ingest(row, {}, source.parent, tmp_path / "a.h5")
    assert header.ok, header.reason
    assert files.judge(header, tmp_path / "a.h5") == ""


def test_spoiled_studies(tmp_path):
    folder = studies.study(tmp_path / "study")
    results = [studies.one(index, SEED, folder) for index in range(STUDIES)]
    assert [text for state, text in results if state == "WRONG"] == []
    assert {"faults", "valid"} == {state for state, _ in results}
