"""Provenance, manifest, seeds, digests, and the pages made from schemas."""

import json
import subprocess
import sys

import pytest
import yaml

from ceiflow.study import (
    default_config,
    file_sha256,
    load_config,
    matches,
    module_digest,
    seed_for,
    write_config,
    write_manifest,
    write_provenance,
)
from ceiflow.study.claims import group_text
from ceiflow.study.provenance import git_revision, package_versions
from ceiflow.study.tables import column_values, fill, flow, markdown_table


def test_seeds_differ_by_name_and_are_stable():
    seeds = {seed_for(532), seed_for(533), seed_for(532, "a"), seed_for(532, "a", "b"), seed_for(532, "ab")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    # A changed stream changes every published interval, so the number itself is held.
    assert seed_for(532, "bootstrap", "s1") == 7953305498936059717


def test_module_digest_follows_the_source_alone():
    code = (
        "import sys; from ceiflow.study import module_digest as d; "
        "print(d('ceiflow.eels')); print('ceiflow.eels' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [module_digest("ceiflow.eels"), "False"]
    assert module_digest("ceiflow.eels") != module_digest("ceiflow.layer")
    assert module_digest("ceiflow.eels", "ceiflow.layer") == module_digest("ceiflow.layer", "ceiflow.eels")
    assert module_digest("ceiflow.study.config") != module_digest("ceiflow.study")
    for name in ("ceiflow.nothing", "os"):
        with pytest.raises(ModuleNotFoundError):
            module_digest(name)


def test_module_digest_sees_a_change(tmp_path, monkeypatch):
    from ceiflow.study import digests

    package = tmp_path / "ceiflow"
    (package / "eels" / "deep").mkdir(parents=True)
    file = package / "eels" / "deep" / "fit.py"
    monkeypatch.setattr(digests, "_PACKAGE", package)

    def digest(source):
        file.write_bytes(source)
        module_digest.cache_clear()
        return module_digest("ceiflow.eels")

    first = digest(b"a = 1\n")
    assert digest(b"a = 2\n") != first
    assert digest(b"a = 1\r\n") == first
    file.rename(file.with_name("other.py"))
    module_digest.cache_clear()
    assert module_digest("ceiflow.eels") != first
    module_digest.cache_clear()


def test_manifest_is_what_sha256sum_reads(tmp_path, monkeypatch):
    results = tmp_path / "results"
    (results / "tables").mkdir(parents=True)
    names = ["tables/b.tsv", "a b.txt", "tables/ä.tsv"]
    for name in names:
        (results / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    write_manifest("results", [f"results/{name}" for name in names])
    lines = (results / "MANIFEST.sha256").read_text(encoding="utf-8").splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == sorted(names)
    assert lines[0].startswith(file_sha256(results / "a b.txt"))
    subprocess.run(["sha256sum", "--check", "--status", "MANIFEST.sha256"], cwd=results, check=True)
    write_manifest("results", [f"results/{name}" for name in reversed(names)], tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == (results / "MANIFEST.sha256").read_bytes()
    with pytest.raises(ValueError):
        write_manifest("results", [tmp_path / "other"])


def test_config_is_written_in_the_schemas_order(tmp_path):
    config = load_config({"report": {"dpi": 100}, "study": {"title": "Überzug: ja", "authors": ["Ä"]}})
    write_config(tmp_path / "a.yaml", config)
    write_config(tmp_path / "b.yaml", dict(reversed(config.items())))
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()
    assert yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8")) == config
    assert "Überzug" in (tmp_path / "a.yaml").read_text(encoding="utf-8")


def test_provenance_is_reproducible_and_names_no_folder_of_the_machine(tmp_path):
    sources = [
        {"path": "raw/b.dm4", "sha256": "1" * 64, "acquisition_id": "b", "role": "core_loss"},
        {"path": "/srv/somebody/a.dm4", "sha256": "2" * 64, "acquisition_id": "a", "role": "image"},
        {"path": "C:\\data\\c.dm4", "sha256": "", "acquisition_id": "c", "role": "image"},
    ]
    for name, order in (("one", sources), ("two", sources[::-1])):
        write_provenance(tmp_path / name, default_config(), order, code={"ceiflow.eels": "abc"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    content = json.loads((tmp_path / "one").read_text())
    assert sorted(item["path"] for item in content["inputs"]) == ["a.dm4", "c.dm4", "raw/b.dm4"]
    assert content["seeds"]["study"] == 532
    assert content["packages"]["numpy"]
    assert "somebody" not in json.dumps(content)
    assert content["python"].startswith("3.")


def test_package_versions_without_an_installation(monkeypatch):
    from ceiflow.study import provenance

    def absent(name):
        raise provenance.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(provenance.metadata, "requires", absent)
    assert {"numpy", "snakemake"} <= set(package_versions())
    assert "nionswift-io" not in package_versions()


def test_git_revision_only_of_the_workflows_own_checkout(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    nothing = {"revision": None, "modified": None}
    assert git_revision(tmp_path / "absent") == nothing
    git("init", "-q")
    assert git_revision(tmp_path) == nothing
    (tmp_path / "inside").mkdir()
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "m")
    assert git_revision(tmp_path / "inside") == nothing
    found = git_revision(tmp_path)
    assert len(found["revision"]) == 40
    assert found["modified"] is False
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path)["modified"] is True


def test_groups_of_cells():
    cell = {"condition": "shorted", "v_max_V": 4.3, "state": None}
    assert matches(cell, {"condition": "shorted", "v_max_V": "4.30"})
    assert matches(cell, {"condition": ["normal", "shorted"]})
    assert not matches(cell, {"condition": "normal"})
    assert not matches(cell, {"state": "charged"})
    assert not matches(cell, {"absent": "x"})
    assert group_text({"condition": ["a", "b"], "v_max_V": 4.3}) == "condition=a|b;v_max_V=4.3"


def test_readme_is_what_the_schemas_say(root):
    page = (root / "config" / "README.md").read_text(encoding="utf-8")
    assert fill(page) == page, "run: python -m ceiflow.study.tables"
    for name in ("cells", "acquisitions", "configuration", "claims"):
        assert f"<!-- generated: {name} -->" in page


def test_unknown_generated_part():
    with pytest.raises(KeyError):
        fill("<!-- generated: weather -->\n<!-- end: weather -->")


def test_markdown():
    assert markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |\n"
    assert (
        column_values({"type": ["number", "null"], "unit": "keV", "minimum": 1, "maximum": 2})
        == "number (keV) from 1 to 2"
    )


@pytest.mark.parametrize(
    "value", ["", "no", "a: b", "Li2CO3", "1e-3", [], ["C", 1.5, None], {"a": True}, 0.07, "ü"]
)
def test_flow_is_yaml(value):
    assert yaml.safe_load(flow(value)) == value


def test_demo_and_examples_have_no_faults(root):
    from ceiflow.study import load_study

    examples = [
        path.parents[1] for path in sorted((root / "config" / "examples").glob("*/config/config.yaml"))
    ]
    for folder in [root, *examples]:
        if (folder / "config" / "cells.tsv").exists():
            load_study(folder)
