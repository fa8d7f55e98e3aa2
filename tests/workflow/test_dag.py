"""What would run, and on what: dry runs on many kinds of study."""

from __future__ import annotations

import importlib.util
import re
import shutil

import pytest
import yaml
from running import ROOT, Run, demo_study, edit_config, edit_table, read_table, snakemake

pytestmark = pytest.mark.workflow
TOP = ROOT / "Snakefile"


def dry_run(study, *arguments, **keywords) -> Run:
    run = snakemake(study, "--dry-run", *arguments, **keywords)
    assert run.returncode == 0, run.text[-3000:]
    return run


def only(modality):
    return lambda row: row["modality"] in modality


@pytest.mark.parametrize("snakefile", [TOP, ROOT / "workflow" / "Snakefile"], ids=["top", "workflow"])
def test_demo(tmp_path, snakefile):
    study = demo_study(tmp_path)
    rows = read_table(study / "config" / "acquisitions.tsv")
    jobs = dry_run(study, snakefile=snakefile).jobs()
    assert jobs["ingest"] == len(rows)
    assert jobs["calibrate"] == sum(row["modality"].startswith("eels") for row in rows)
    assert jobs["measure_image"] == sum(not row["modality"].startswith("eels") for row in rows)
    assert jobs["cell_page"] == len(read_table(study / "config" / "cells.tsv"))


@pytest.mark.parametrize(
    ("modalities", "absent"),
    [
        (("hrtem", "tem", "adf"), {"calibrate", "quantify", "measure_spectrum"}),
        (("eels_si",), {"measure_image", "measure_spectrum"}),
        (("eels_spectrum",), {"measure_image", "quantify"}),
    ],
)
def test_one_kind_of_acquisition_alone(tmp_path, modalities, absent):
    study = demo_study(tmp_path / "only some", only(modalities))
    edit_config(study, lambda config: config.update(claims=[]))
    jobs = dry_run(study).jobs()
    assert "study_page" in jobs
    assert not absent & set(jobs)


@pytest.mark.parametrize("name", ["exspy-mn-oxide", "nmc-edge"])
def test_example(tmp_path, name):
    shutil.copytree(ROOT / "config" / "examples" / name / "config", tmp_path / "config")
    jobs = dry_run(tmp_path).jobs()
    assert jobs["retrieve"] >= 2
    assert "simulate_demo" not in jobs


def test_absent_raw_file_is_no_fault_of_the_dag(tmp_path):
    study = demo_study(tmp_path)
    edit_config(study, lambda config: config.update(demo=False))
    jobs = dry_run(study).jobs()
    assert "simulate_demo" not in jobs
    assert jobs["ingest"] == len(read_table(study / "config" / "acquisitions.tsv"))


def test_excluded_row_is_not_analysed(tmp_path):
    study = demo_study(tmp_path)
    path = study / "config" / "acquisitions.tsv"

    def exclude(rows):
        rows[0]["exclude"] = "ice"
        return rows

    rows = edit_table(path, exclude)
    assert dry_run(study).jobs()["ingest"] == len(rows) - 1


def test_truth_reaches_no_rule_of_the_analysis(tmp_path):
    """Every input of every job, as a dry run prints them."""
    text = dry_run(demo_study(tmp_path)).text
    inputs: dict[str, str] = {}
    for block in re.split(r"^rule ", text, flags=re.M)[1:]:
        rule = block[: block.index(":")]
        found = re.search(r"^    input: (.*)$", block, re.M)
        inputs[rule] = inputs.get(rule, "") + (found.group(1) if found else "")
    assert {"ingest", "quantify", "judge_claims", "study_page", "write_manifest"} <= set(inputs)
    assert "raw/demo/" in inputs["ingest"]
    readers = {rule for rule, names in inputs.items() if "truth" in names or "design.yaml" in names}
    assert readers == {"simulate_demo"}
    assert "truth/demo/truth.tsv" in text


def test_faults_stop_before_the_first_job_all_at_once(tmp_path):
    study = demo_study(tmp_path)

    def spoil(rows):
        rows[0]["modality"] = "eels"
        rows[1]["defocus_nm"] = "a lot"
        rows[2]["cell_id"] = "nobody"
        return rows

    edit_table(study / "config" / "acquisitions.tsv", spoil)
    edit_config(study, lambda config: config["statistics"].update(alpha=5))
    run = snakemake(study)
    assert run.returncode != 0
    for fault in ("modality", "a lot", "nobody", "alpha"):
        assert fault in run.text
    assert "Traceback" not in run.text
    assert not (study / "results").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="the extra `slurm` is not installed (make slurm)",
)
def test_slurm_profile(tmp_path):
    study = demo_study(tmp_path, lambda row: row["cell_id"] == "shorted-1")
    edit_config(study, lambda config: config.update(claims=[]))
    run = dry_run(study, "--profile", str(ROOT / "profiles" / "slurm"))
    assert run.jobs()["ingest"] > 1


def test_every_rule_counts_its_script_as_code():
    """Profiles leave out the trigger `code`, which goes by the times of the checkout."""
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for rule in re.split(r"^ *rule ", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
            # What came from afar is not fetched again.
            for script in {*re.findall(r"scripts/(\w+)\.py", rule)} - {"retrieve", "fetch_reference"}:
                assert f'code_of("{script}"' in rule, f"{file.name}: {rule[:40]}"


def test_every_key_of_a_profile_has_a_comment():
    for profile in sorted((ROOT / "profiles").glob("*/config.yaml")):
        lines = profile.read_text(encoding="utf-8").splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            if line and line[0].isalpha():
                assert above.startswith("#"), f"{profile.parent.name}: {line}"


def test_conda_files_are_held_to_the_lock():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock, re.M))
    for file in (ROOT / "envs").glob("*.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert content["channels"] == ["conda-forge", "nodefaults"]
        conda = [item for item in content["dependencies"] if isinstance(item, str)]
        wheels = [item for part in content["dependencies"] if isinstance(part, dict) for item in part["pip"]]
        for item in [*conda, *(wheel.replace("==", "=") for wheel in wheels)]:
            name, _, version = item.partition("=")
            assert name in ("python", "pip") or (name, version) in pinned, f"{file.name}: {item}"
