"""Reading in a child process with bounds: what hangs, swells, crashes or stumbles."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import signals_makers as make

from ceiflow import signals
from ceiflow.errors import SignalError
from ceiflow.signals.bounded import run_bounded


def bounded(function, seconds=1.0, memory_MB=2000):
    return run_bounded(function, "a.dm3", seconds, memory_MB)


def for_ever():
    while True:
        pass


def test_what_comes_back_is_what_was_returned():
    assert bounded(lambda: {"shape": (3, 4), "process": os.getpid()})["process"] != os.getpid()


def test_endless_loop_is_the_files_fault():
    begun = time.monotonic()
    with pytest.raises(SignalError, match="does not come to an end"):
        bounded(for_ever)
    assert time.monotonic() - begun < 30


def test_endless_wait_is_the_files_fault():
    with pytest.raises(SignalError, match="does not come to an end"):
        bounded(lambda: time.sleep(100), seconds=0.05)


def test_endless_memory_is_the_files_fault():
    with pytest.raises(SignalError, match="more memory"):
        bounded(lambda: np.ones(2**29).sum(), seconds=20, memory_MB=500)


def test_a_map_of_a_large_file_takes_no_memory(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as handle:
        handle.truncate(4 * 2**30)
    assert bounded(lambda: int(np.memmap(path, np.uint8, "r")[-1]), seconds=20, memory_MB=500) == 0


def test_crash_of_a_library_is_the_files_fault():
    with pytest.raises(SignalError, match="crashes with SIGSEGV"):
        bounded(lambda: os.kill(os.getpid(), signal.SIGSEGV))


def test_a_kill_from_outside_is_not():
    with pytest.raises(RuntimeError, match="SIGKILL"):
        bounded(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_fault_of_the_file_and_of_the_program():
    def refuse():
        raise SignalError("a.dm3", "size", 1, 2)

    def stumble():
        raise KeyError("nothing")

    with pytest.raises(SignalError, match=r"a\.dm3: size: found 1; expected 2"):
        bounded(refuse)
    with pytest.raises(KeyError) as caught:
        bounded(stumble)
    assert "in stumble" in caught.value.__notes__[0]


def test_killed_parent_takes_the_child_with_it(tmp_path):
    """Nothing may go on writing after a run that was killed."""
    mark = tmp_path / "mark"
    parent = os.fork()
    if parent == 0:
        bounded(lambda: (mark.write_text(str(os.getpid())), time.sleep(60)), seconds=60)
        os._exit(0)
    while not mark.exists() or not mark.read_text():
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(mark.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ingest(tmp_path, path, modality="eels_si", **reading):
    row = {"acquisition_id": "a", "modality": modality, "path": path.name}
    return signals.ingest(row, {"reading": reading}, tmp_path, tmp_path / "out" / "a.h5")


def test_reader_that_hangs_fails_its_own_row(tmp_path, monkeypatch):
    from rsciio import hspy

    monkeypatch.setattr(hspy, "file_reader", lambda *args, **kwargs: for_ever())
    header = ingest(tmp_path, make.write(tmp_path / "a.hspy"), cpu_seconds=1)
    assert header.status == "failed"
    assert "a.hspy: content: found reading it does not come to an end" in header.reason
    assert header.source[0]["sha256"]
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["a.h5"]


def test_fault_of_the_program_stays_one(tmp_path, monkeypatch):
    from ceiflow.signals import ingestion

    monkeypatch.setattr(ingestion, "_checked", lambda draft, signals: nobody_made_this)  # noqa: F821
    with pytest.raises(NameError):
        ingest(tmp_path, make.write(tmp_path / "a.hspy"))


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.dm3")
    header = ingest(tmp_path, tmp_path / "a.dm3")
    assert "something that is no file" in header.reason


def test_words_of_a_broken_file_are_printable():
    text = str(SignalError("a", "f", "x\0\n\x1b[31m\ud800\u202ey", "z" * 5000))
    assert text.isprintable()
    assert len(text) < 2000


def test_parts_of_a_killed_job_are_taken_away(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".a.h5.123.part").write_bytes(b"half")
    assert ingest(tmp_path, make.write(tmp_path / "a.hspy")).ok
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["a.h5"]
