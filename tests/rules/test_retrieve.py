"""Retrieval from a mirror folder, a local web server, and a package; and what happens when it cannot."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import eels_db_server
import pytest
from running import ROOT, edit_config, snakemake

from ceiflow.errors import SignalError
from ceiflow.study.retrieve import retrieve_file

pytestmark = pytest.mark.rules
CONTENT = b"counts of some spectrum"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror folder"
    folder.mkdir()
    (folder / "core loss.dm3").write_bytes(CONTENT)
    return folder


def described(**changes):
    return {"path": "raw/core loss.dm3", "url": "https://example.invalid/x.dm3", "sha256": DIGEST} | changes


def test_from_a_mirror_folder(mirror, tmp_path):
    output = tmp_path / "raw" / "core loss.dm3"
    retrieve_file(described(), output, str(mirror))
    assert output.read_bytes() == CONTENT


def test_variable_goes_before_the_configured_mirror(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("CEIFLOW_MIRROR", str(mirror))
    retrieve_file(described(), tmp_path / "out", "/nowhere")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_from_a_web_server(mirror, tmp_path):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(mirror))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        retrieve_file(described(), tmp_path / "mirrored", address)
        retrieve_file(described(url=f"{address}/core%20loss.dm3"), tmp_path / "direct")
        assert (tmp_path / "mirrored").read_bytes() == (tmp_path / "direct").read_bytes() == CONTENT
        with pytest.raises(SignalError, match="404"):
            retrieve_file(described(url=f"{address}/other.dm3"), tmp_path / "absent")
    finally:
        server.shutdown()
        server.server_close()


def test_wrong_digest_leaves_nothing_behind(mirror, tmp_path):
    output = tmp_path / "out.dm3"
    with pytest.raises(SignalError, match=f"sha256 .*found {DIGEST}; expected {'0' * 64}"):
        retrieve_file(described(sha256="0" * 64), output, str(mirror))
    assert [path.name for path in tmp_path.iterdir()] == ["mirror folder"]


def test_package_that_is_not_installed(tmp_path):
    with pytest.raises(SignalError, match="package nosuchpackage is not installed"):
        retrieve_file(described(url="package:nosuchpackage/x.msa"), tmp_path / "out")


def test_rule_fetches_what_the_configuration_names(tmp_path):
    """The rule itself, on the example whose files come with a package."""
    example = ROOT / "config" / "examples" / "exspy-mn-oxide" / "config"
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "config").symlink_to(example)
    run = snakemake(tmp_path / "study", "raw/lowloss_spectrum.msa", "--allowed-rules", "retrieve")
    assert run.returncode == 0, run.text[-2000:]
    assert (tmp_path / "study" / "raw" / "lowloss_spectrum.msa").stat().st_size > 1000


def test_rule_says_which_digest_differs(tmp_path):
    import shutil

    example = ROOT / "config" / "examples" / "exspy-mn-oxide" / "config"
    shutil.copytree(example, tmp_path / "config")
    edit_config(tmp_path, lambda config: config["retrieve"]["files"][0].update(sha256="0" * 64))
    edit_config(tmp_path, lambda config: config["retrieve"]["files"][1].update(sha256="0" * 64))
    run = snakemake(tmp_path, "raw/lowloss_spectrum.msa", "--allowed-rules", "retrieve")
    assert run.returncode != 0
    assert "sha256" in run.text
    assert not (tmp_path / "raw" / "lowloss_spectrum.msa").exists()


# What a Python process of the workflow runs first: eXSpy's questions go to the local server.
REDIRECT = """
import requests

real = requests.get
requests.get = lambda url, **more: real(url.replace({address!r}, {host!r}), **more)
"""


def test_reference_of_the_eels_data_base_only_where_it_is_named(tmp_path):
    import shutil

    example = ROOT / "config" / "examples" / "exspy-mn-oxide" / "config"
    shutil.copytree(example, tmp_path / "config")
    assert "fetch_reference" not in snakemake(tmp_path, "--dry-run").jobs()
    entry = {"path": "config/references/calcite.tsv", "title": "C K of calcite"}
    edit_config(tmp_path, lambda config: config["retrieve"].update(eels_db=[entry]))
    reference = {"name": "carbonate", "edge": "C_K", "path": entry["path"]}
    edit_config(tmp_path, lambda config: config.update(fine_structure={"references": [reference]}))
    # What fine structure is read with is an input of the jobs that read it.
    assert "fetch_reference" in snakemake(tmp_path, "--dry-run").jobs()
    with eels_db_server.running() as host:
        text = REDIRECT.format(address=eels_db_server.ADDRESS, host=host)
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "sitecustomize.py").write_text(text)
        path = f"{tmp_path / 'first'}:{ROOT / 'src'}"
        run = snakemake(tmp_path, "fetch_references", PYTHONPATH=path)
        assert run.returncode == 0, run.text[-2000:]
        fetched = (tmp_path / entry["path"]).read_bytes()
        assert b"# title: C K of calcite\n" in fetched
        assert b"# cite: " in fetched
        digest = hashlib.sha256(fetched).hexdigest()
        log = tmp_path / "logs" / "fetch_reference" / f"{entry['path']}.log"
        assert f"sha256 {digest}" in log.read_text()
        edit_config(tmp_path, lambda config: config["retrieve"]["eels_db"][0].update(sha256="0" * 64))
        run = snakemake(tmp_path, "fetch_references", "--forceall", PYTHONPATH=path)
    assert run.returncode != 0
    assert digest in run.text
