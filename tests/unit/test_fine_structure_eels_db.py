"""The EELS Data Base as a local web server: one spectrum by its title, held against its digest."""

from __future__ import annotations

import pytest
from eels_db_server import ADDRESS, COUNTS, running

from ceiflow.eels.fine_structure.eels_db import fetch
from ceiflow.eels.fine_structure.references import read_spectrum
from ceiflow.errors import SignalError


@pytest.fixture
def collection(monkeypatch):
    """A server with two spectra, to which what eXSpy asks of the collection is sent."""
    import requests

    real = requests.get
    with running() as host:
        monkeypatch.setattr(requests, "get", lambda url, **more: real(url.replace(ADDRESS, host), **more))
        yield host


def test_fetched_by_title_and_pinned(collection, tmp_path):
    output = tmp_path / "references" / "calcite.tsv"
    digest = fetch("C K of calcite", output)
    energy, counts = read_spectrum(output)
    assert energy[[0, -1]] == pytest.approx([280.0, 299.5])
    assert counts == pytest.approx(COUNTS)
    assert fetch("C K of calcite", output, digest) == digest
    text = output.read_text()
    assert all(line in text for line in ("# author: a\n", "# cite: Ewels", "# licence: see the address\n"))
    with pytest.raises(SignalError, match="sha256"):
        fetch("C K of calcite", tmp_path / "other.tsv", "0" * 64)
    with pytest.raises(SignalError, match="exactly one"):
        fetch("C K", tmp_path / "other.tsv")
    assert not (tmp_path / "other.tsv").exists()


def test_no_network(monkeypatch, tmp_path):
    import requests

    def refuse(*_, **__):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(SignalError, match="no route"):
        fetch("C K of calcite", tmp_path / "x.tsv")
