"""The EELS Data Base as a local web server: one spectrum by its title, held against its digest."""

from __future__ import annotations

import http.server
import json
import threading

import numpy as np
import pytest

from ceiflow.eels.fine_structure.eels_db import fetch
from ceiflow.eels.fine_structure.references import read_spectrum
from ceiflow.errors import SignalError

COUNTS = 1000 + np.arange(40) ** 2


def msa() -> str:
    head = """\
#FORMAT      : EMSA/MAS Spectral Data File
#VERSION     : 1.0
#TITLE       : a
#NPOINTS     : 40.
#NCOLUMNS    : 1.
#XUNITS      : eV
#DATATYPE    : Y
#XPERCHAN    : 0.5
#OFFSET      : 280.0
#SIGNALTYPE  : ELS
#SPECTRUM    : Spectral Data Starts Here"""
    return "\n".join([head, *(f"{value}.0," for value in COUNTS), "#ENDOFDATA   :"]) + "\n"


@pytest.fixture
def collection(monkeypatch):
    """A server with two spectra, to which what eXSpy asks of the collection is sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            entries = [
                {"title": title, "id": i, "download_link": f"{host}/{i}.msa", "permalink": "",
                 "elements": ["C"], "description": "", "formula": "C", "author": {"name": "a"},
                 "microscope": "m"}
                for i, title in enumerate(("C K of calcite", "C K of calcite, again"))
            ]  # fmt: skip
            body = msa() if self.path.endswith(".msa") else json.dumps(entries)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    import requests

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real, host = requests.get, f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(
        requests, "get", lambda url, **more: real(url.replace("https://api.eelsdb.eu", host), **more)
    )
    yield server
    server.shutdown()
    server.server_close()


def test_fetched_by_title_and_pinned(collection, tmp_path):
    output = tmp_path / "references" / "calcite.tsv"
    digest = fetch("C K of calcite", output)
    energy, counts = read_spectrum(output)
    assert energy[[0, -1]] == pytest.approx([280.0, 299.5])
    assert counts == pytest.approx(COUNTS)
    assert fetch("C K of calcite", output, digest) == digest
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
