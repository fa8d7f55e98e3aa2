"""Stages of one acquisition: what a signal that cannot be used leaves behind."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ceiflow.errors import SignalError
from ceiflow.jobs import run_stage
from ceiflow.signals import store


@pytest.mark.parametrize("role", ["image", "core_loss"])
def test_reason_names_the_raw_file_and_not_a_file_of_the_results(tmp_path, role):
    signal, summary = tmp_path / "results" / "a.h5", tmp_path / "summary.json"
    signal.parent.mkdir()
    header = store.Header("a", "hrtem", source=[{"role": role, "path": "raw/tiny.dm3"}])
    with store.create_h5(signal) as file:
        store.write_header(file, header)
        file["image/data"] = np.ones((3, 3), np.float32)

    def stage(input, output, params):
        raise SignalError(str(input["signal"]), "image", "shape (3, 3)", "16 pixels a side at least")

    run_stage(SimpleNamespace(log=[], input={"signal": str(signal)}, output=[str(summary)], params={}), stage)
    left = json.loads(summary.read_text(encoding="utf-8"))
    assert left["qc_status"] == "failed"
    assert left["qc_reason"].startswith("raw/tiny.dm3: image: found shape (3, 3)")
