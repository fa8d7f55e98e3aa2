"""The EELS Data Base as a local web server with two spectra of carbon."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

import numpy as np

ADDRESS = "https://api.eelsdb.eu"
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


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Address of the server while the block lasts."""

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

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
