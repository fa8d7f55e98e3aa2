"""The workflow in other hands: twice as a module, deployed by snakedeploy, packed as an RO-Crate."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from running import ROOT, demo_study, edit_config, environment, of_clusters, read_table, snakemake

pytestmark = pytest.mark.workflow
TWO = """
import yaml

with open("config/config.yaml") as handle:
    CONFIG = yaml.safe_load(handle)


module first:
    snakefile: "{snakefile}"
    config: CONFIG
    prefix: "one"


module second:
    snakefile: "{snakefile}"
    config: {{**CONFIG, "images": {{**CONFIG["images"], "segment_nm": 3.0}}}}
    prefix: "two"


use rule * from first as first_*


use rule * from second as second_*


rule both:
    default_target: True
    input:
        "one/results/MANIFEST.sha256",
        "two/results/MANIFEST.sha256",
"""


@pytest.fixture
def some(tmp_path):
    study = demo_study(tmp_path / "study", lambda row: row["cell_id"] == "shorted-1")
    edit_config(study, lambda config: config.update(claims=[]))
    for prefix in ("one", "two"):
        shutil.copytree(study / "config", study / prefix / "config")
    return study


def test_two_modules_with_prefixes(some):
    snakefile = some / "Snakefile"
    snakefile.write_text(TWO.format(snakefile=ROOT / "workflow" / "Snakefile"))
    run = snakemake(some, "--dry-run", snakefile=snakefile)
    assert run.returncode == 0, run.text[-3000:]
    jobs = run.jobs()
    assert jobs["first_ingest"] == jobs["second_ingest"] > 1
    assert "one/results/tables/claims.tsv" in run.text
    assert "two/logs/judge_claims" in run.text
    assert "\n    output: results/" not in run.text


def test_module_runs(finished, tmp_path):
    """One image through both instances, for real, from another workflow's folder."""
    study = tmp_path / "another workflow"
    name = "pristine-1-p1r1-hr"
    demo_study(study, lambda row: row["acquisition_id"] == name)
    edit_config(study, lambda config: config.update(claims=[]))
    for prefix in ("one", "two"):
        shutil.copytree(study / "config", study / prefix / "config")
    snakefile = study / "Snakefile"
    snakefile.write_text(TWO.format(snakefile=ROOT / "workflow" / "Snakefile"))
    run = snakemake(study, snakefile=snakefile)
    assert run.returncode == 0, run.text[-3000:]
    made, known = (folder / "results" / "tables" / "measurements.tsv" for folder in (study / "one", finished))
    rows = [row for row in read_table(known) if row["acquisition_id"] == name]
    assert read_table(made) == rows
    assert rows
    assert "reports/cells/pristine-1.html" in read(study / "one")
    # The other one has its own configuration, and its own everything.
    traces = [
        read_table(study / prefix / "results" / "images" / name / "layer.tsv") for prefix in ("one", "two")
    ]
    assert len(traces[0]) > len(traces[1]) > 0
    assert not (study / "results").exists()
    assert "Nothing to be done" in snakemake(study, snakefile=snakefile).text


def test_module_reads_its_own_references(tmp_path):
    """Paths of references are seen from the study's folder, not from where the other workflow runs."""
    study = tmp_path / "another workflow"
    name = "shorted-1-p1r1-spot"
    demo_study(study, lambda row: row["acquisition_id"] == name)
    reference = {"name": "soot", "edge": "C_K", "path": "config/soot.tsv"}
    fine = {"edges": ["C_K"], "references": [reference]}
    edit_config(study, lambda config: config.update(claims=[], fine_structure=fine))
    for prefix in ("one", "two"):
        shutil.copytree(study / "config", study / prefix / "config")
        energies = [260 + 0.5 * i for i in range(160)]
        counts = [1e4 * (e / 260) ** -3 + (800 if e > 285 else 0) for e in energies]
        lines = [f"{e}\t{c}\n" for e, c in zip(energies, counts, strict=True)]
        (study / prefix / "config" / "soot.tsv").write_text("".join(lines))
    snakefile = study / "Snakefile"
    snakefile.write_text(TWO.format(snakefile=ROOT / "workflow" / "Snakefile"))
    target = study / "one" / "results" / "eels" / name / "fine_structure.json"
    run = snakemake(study, str(target.relative_to(study)), snakefile=snakefile)
    assert run.returncode == 0, run.text[-3000:]
    used = json.loads(target.read_text())["carbon"]["all"]["references"]
    assert [item["name"] for item in used if item["kind"] == "measured"] == ["soot"]


def read(folder):
    return (folder / "results" / "MANIFEST.sha256").read_text()


@pytest.mark.clusters
def test_snakedeploy(some, tmp_path):
    python = of_clusters("snakedeploy")
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True, timeout=120)
    subprocess.run(["git", "-C", str(source), "tag", "v0"], check=True, timeout=60)
    target = tmp_path / "deployed"
    target.mkdir()
    code = "from snakedeploy.client import main; main()"
    call = [python, "-c", code, "deploy-workflow", str(source), str(target), "--tag", "v0"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    file = target / "workflow" / "Snakefile"
    deployed = file.read_text()
    assert "use rule * from" in deployed
    # From a hosted repository it writes `github(...)`; from a folder, a path seen from the wrong place.
    file.write_text(deployed.replace('"workflow/Snakefile"', f'"{source}/workflow/Snakefile"'))
    assert (target / "config" / "acquisitions.tsv").exists()
    shutil.rmtree(target / "config")
    shutil.copytree(some / "config", target / "config")
    run = snakemake(target, "--dry-run", snakefile=target / "workflow" / "Snakefile")
    assert run.returncode == 0, deployed + run.text[-3000:]
    assert "study_page" in " ".join(run.jobs())


@pytest.mark.clusters
def test_crate(finished, tmp_path):
    pytest.importorskip("rocrate", reason="rocrate is not installed (make crate)")
    from ceiflow.study.crate import write_crate

    written = write_crate(finished, tmp_path / "out" / "crate.zip")
    with zipfile.ZipFile(written) as archive:
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
        names = set(archive.namelist())
    things = {item["@id"]: item for item in graph}
    root = things["./"]
    run = things["#run"]
    assert things[root["mainEntity"]["@id"]]["@type"] == [
        "File",
        "SoftwareSourceCode",
        "ComputationalWorkflow",
    ]
    assert run["instrument"]["@id"] == root["mainEntity"]["@id"]
    manifest = dict(reversed(line.split("  ")) for line in read(finished).splitlines())
    for name, digest in manifest.items():
        assert f"results/{name}" in names
        assert things[f"results/{name}"]["sha256"] == digest
    assert any(item["@id"].startswith("#raw/raw/") for item in run["object"])
    shutil.unpack_archive(written, tmp_path / "unpacked")
    assert issues_of(tmp_path / "unpacked") == []
    # A run that names no workflow is no Workflow Run Crate.
    del run["instrument"]
    metadata = tmp_path / "unpacked" / "ro-crate-metadata.json"
    content = json.loads(metadata.read_text(encoding="utf-8"))
    metadata.write_text(json.dumps(content | {"@graph": graph}), encoding="utf-8")
    assert any("instrument" in issue for issue in issues_of(tmp_path / "unpacked"))


def issues_of(folder):
    """What the validator of the Workflow Run profile says, by the interpreter that has it."""
    script = Path(__file__).with_name("crate_issues.py")
    call = [of_clusters("rocrate_validator"), str(script), str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
