"""Dry runs with every profile, for the executor that it is meant for, where that plugin is installed."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import threading
import urllib.parse
from pathlib import Path

import pytest
from running import ROOT, demo_study, edit_config, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.clusters]
SHARED = ("lsf", "htcondor")
BUCKET = ("kubernetes", "aws-batch")


def needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (make clusters)")


@pytest.fixture
def some(tmp_path) -> Path:
    study = demo_study(tmp_path / "study", lambda row: row["cell_id"] == "shorted-1")
    edit_config(study, lambda config: config.update(claims=[]))
    return study


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_system(name, some):
    needs(f"snakemake_executor_plugin_{name}")
    run = snakemake(some, "--dry-run", "--profile", str(ROOT / "profiles" / name))
    assert run.returncode == 0, run.text[-3000:]
    assert run.jobs()["ingest"] > 1


class Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as a dry run asks for: whether an object is there, its size and age."""

    def __init__(self, folder: Path, *arguments):
        self.folder = folder
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        key = urllib.parse.unquote(urllib.parse.urlparse(self.path).path).removeprefix("/your-bucket")
        path = self.folder / key.removeprefix("/your-study").lstrip("/")
        found = path.is_file() or key in ("", "/")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(path.stat().st_size if path.is_file() else 0))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("ETag", '"0"')
        self.end_headers()

    def do_GET(self) -> None:
        body = b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        """Say nothing."""


@pytest.mark.parametrize("name", BUCKET)
def test_bucket(name, some):
    needs(f"snakemake_executor_plugin_{name.replace('-', '_')}", "snakemake_storage_plugin_s3")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Bucket, some))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    secrets = {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "none", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "none"}
    options = ("--profile", str(ROOT / "profiles" / name), "--storage-s3-endpoint-url", address)
    try:
        run = snakemake(some, "--dry-run", *options, **secrets, no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
    finally:
        server.shutdown()
        server.server_close()
    assert run.returncode == 0, run.text[-3000:]
    assert run.jobs()["ingest"] > 1
    assert "s3://your-bucket/your-study/results/" in run.text
