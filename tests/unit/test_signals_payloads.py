"""Files that carry code: read, refused or ignored, and never run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import signals_makers as make

from ceiflow import signals
from ceiflow.errors import StudyError
from ceiflow.study.validation import load_study


class Payload:
    """Unpickled, it makes the file that it names."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path) -> Path:
    return tmp_path / "it was run"


def read(path: Path, modality: str = "eels_si"):
    row = {"acquisition_id": "a", "modality": modality, "path": path.name}
    return signals.ingest(row, {}, path.parent, path.parent / "a.h5")


def test_the_payload_works(mark):
    """Otherwise the tests below could not fail."""
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".hspy", ".dm3", ".emd", ".tif", ".mrc", ".msa", ".h5", ".npy", ".pkl"])
def test_pickle_under_another_name(suffix, mark, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps(Payload(mark)))
    assert read(path).status == "failed"
    assert not mark.exists()


def test_pickles_and_expressions_in_hspy(mark, tmp_path):
    """In every place where HyperSpy keeps text or bytes: read as text, and nothing else."""
    path = make.write(tmp_path / "a.hspy")
    code = f"__import__('os').mkdir({str(mark)!r})"
    with h5py.File(path, "r+") as file:
        experiment = next(iter(file["Experiments"].values()))
        for group in ("metadata", "original_metadata", "learning_results", "axis-0"):
            place = experiment.require_group(group)
            place.attrs["expression"] = code
            place.attrs["_type"] = "FunctionalDataAxis" if group == "axis-0" else code
            place.attrs["_dill_function"] = np.void(pickle.dumps(Payload(mark)))
            place.create_dataset("_list_payload", data=np.void(pickle.dumps(Payload(mark))))
        experiment["metadata/General"].attrs["title"] = f"{{{{ {code} }}}}"
    header = read(path)
    assert header.status in ("ok", "failed")
    assert not mark.exists()


@pytest.mark.parametrize("place", ["filters", "compressor"])
@pytest.mark.parametrize("kind", ["<f4", "|O"])
def test_pickle_as_a_codec_of_zarr(place, kind, mark, tmp_path):
    """A codec of that name unpickles every chunk that it is given."""
    path = make.write_zspy(tmp_path / "a.zspy")
    array = path / "Experiments" / "SI" / "data"
    content = json.loads((array / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    content |= {"filters": None, "compressor": None, "fill_value": None, "dtype": kind}
    content[place] = [codec] if place == "filters" else codec
    (array / ".zarray").write_text(json.dumps(content))
    chunks = [file for file in array.rglob("*") if file.is_file() and not file.name.startswith(".")]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(pickle.dumps(Payload(mark)))
    assert read(path).status == "failed"
    assert not mark.exists()


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.mkdir [{}]", "!!python/object/new:os.mkdir [{}]", "!!python/name:os.mkdir"],
)
def test_yaml_that_makes_objects(tag, mark, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(f"study: {tag.format(json.dumps(str(mark)))}\n")
    with pytest.raises(StudyError, match=r"config\.yaml"):
        load_study(tmp_path)
    assert not mark.exists()
