"""Dry runs with every profile, for the executor that it is meant for, by the Snakemake of `make clusters`."""

from __future__ import annotations

import functools
import http.server
import threading
import urllib.parse
from pathlib import Path

import pytest
from running import ROOT, Run, demo_study, edit_config, of_clusters, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.clusters]
SHARED = ("lsf", "htcondor")
BUCKET = ("kubernetes", "aws-batch")


def dry_run(study: Path, profile: str, *arguments: str, **variables: str) -> Run:
    """A dry run by the interpreter that has the profile's plugin, and finds ceiflow by its path."""
    python = of_clusters(f"snakemake_executor_plugin_{profile.replace('-', '_')}")
    options = ("--dry-run", "--profile", str(ROOT / "profiles" / profile), *arguments)
    run = snakemake(study, *options, python=python, longest=120, PYTHONPATH=str(ROOT / "src"), **variables)
    assert run.returncode == 0, run.text[-3000:]
    assert run.jobs()["ingest"] > 1
    return run


@pytest.fixture
def some(tmp_path) -> Path:
    study = demo_study(tmp_path / "study", lambda row: row["cell_id"] == "shorted-1")
    edit_config(study, lambda config: config.update(claims=[]))
    return study


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_system(name, some):
    dry_run(some, name)


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
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Bucket, some))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    secrets = {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "none", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "none"}
    secrets |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    try:
        run = dry_run(some, name, "--storage-s3-endpoint-url", address, **secrets)
    finally:
        server.shutdown()
        server.server_close()
    assert "s3://your-bucket/your-study/results/" in run.text
