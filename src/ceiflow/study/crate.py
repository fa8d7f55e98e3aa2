"""A finished run as a Workflow Run RO-Crate: what ran, on what, and what came out of it.

The profile is https://w3id.org/ro/wfrun/workflow/0.5 on RO-Crate 1.1. Raw files are named by path and
digest, and not copied: they are large, and often may not be given away.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from ceiflow import __version__
from ceiflow.errors import CeiflowError
from ceiflow.study.manifest import MANIFEST
from ceiflow.study.validation import load_study
from ceiflow.study.verify import read_manifest

PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_LICENCE = "https://spdx.org/licenses/GPL-3.0-or-later"
_MEDIA = {
    ".tsv": "text/tab-separated-values",
    ".h5": "application/x-hdf5",
    ".hspy": "application/x-hdf5",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_PROJECT = Path(__file__).resolve().parents[3]


def write_crate(study: Path, output: Path) -> Path:
    """Pack the run that a study folder holds.

    Parameters
    ----------
    study : Path
        Study folder with a finished run.
    output : Path
        Zip file to write.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    CeiflowError
        If the run is not finished, the workflow is not at hand, or the package `rocrate` is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ModuleNotFoundError as error:
        raise CeiflowError("the package rocrate is not installed: make crate") from error
    snakefile = _PROJECT / "workflow" / "Snakefile"
    if not snakefile.is_file():
        raise CeiflowError("the workflow is not beside this installation of ceiflow: use a checkout")
    results = study / "results"
    manifest = read_manifest(results / MANIFEST)
    loaded = load_study(study)
    provenance = json.loads((results / "study" / "provenance.json").read_text(encoding="utf-8"))
    crate = ROCrate(version="1.1")
    about = loaded.config["study"]
    crate.name = about["title"] or "A ceiflow study"
    crate.description = about["description"] or "Surface layers of battery cathodes from microscope files."
    crate.license = about["licence"] or "not stated"
    workflow = _add_workflow(crate, snakefile, provenance)
    inputs = [*_texts(crate, study, loaded.config), *_raw(crate, provenance)]
    outputs = [_file(crate, results / name, f"results/{name}", digest) for name, digest in manifest.items()]
    outputs.append(_file(crate, results / MANIFEST, f"results/{MANIFEST}"))
    _add_run(crate, workflow, inputs, outputs, results / MANIFEST, about["authors"])
    output.parent.mkdir(parents=True, exist_ok=True)
    crate.write_zip(output)
    return output


def _add_workflow(crate: Any, snakefile: Path, provenance: dict) -> Any:
    version = str(provenance.get("versions", {}).get("snakemake", ""))
    workflow = crate.add_workflow(
        snakefile,
        "workflow/Snakefile",
        main=True,
        lang="snakemake",
        lang_version=version or None,
        properties={"name": f"ceiflow {__version__}", "version": __version__, "license": _LICENCE},
    )
    for path in sorted(snakefile.parent.rglob("*")):
        name = path.relative_to(snakefile.parents[1]).as_posix()
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        if path.is_file() and path != snakefile and not hidden and "profiles" not in path.parts:
            _file(crate, path, name)
    return workflow


def _texts(crate: Any, study: Path, config: dict) -> list[Any]:
    """Configuration and sheets; those below the study folder keep their names."""
    names = ["config/config.yaml", config["cells"], config["acquisitions"]]
    return [_file(crate, study / name, name) for name in dict.fromkeys(names) if (study / name).is_file()]


def _raw(crate: Any, provenance: dict) -> list[Any]:
    """Raw files as things that are spoken of: identifier and digest."""
    from rocrate.model.contextentity import ContextEntity

    found = []
    for item in provenance.get("inputs", []):
        digest = item.get("sha256") or ""
        properties = {"@type": "CreativeWork", "name": item["path"], "sha256": digest}
        found.append(crate.add(ContextEntity(crate, f"#raw/{item['path']}", properties=properties)))
    return found


def _file(crate: Any, path: Path, name: str, digest: str = "") -> Any:
    properties = {"name": name, "contentSize": str(path.stat().st_size)}
    if path.suffix in _MEDIA:
        properties["encodingFormat"] = _MEDIA[path.suffix]
    if digest:
        properties["sha256"] = digest
    return crate.add_file(path, name, properties=properties)


def _add_run(
    crate: Any, workflow: Any, inputs: list, outputs: list, manifest: Path, authors: list[str]
) -> None:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.model.person import Person

    ended = datetime.datetime.fromtimestamp(manifest.stat().st_mtime, datetime.UTC)
    properties = {
        "@type": "CreateAction",
        "name": "Run of ceiflow",
        "endTime": ended.isoformat(timespec="seconds"),
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
    }
    action = crate.add(ContextEntity(crate, "#run", properties=properties))
    action["instrument"] = workflow
    action["object"] = inputs
    action["result"] = outputs
    people = [
        crate.add(Person(crate, f"#author-{number}", properties={"name": name}))
        for number, name in enumerate(authors, 1)
    ]
    if people:
        action["agent"] = people
        crate.root_dataset["author"] = people
    crate.root_dataset["mentions"] = [action]
    profiles = [
        crate.add(
            ContextEntity(
                crate, address, properties={"@type": "CreativeWork", "name": name, "version": version}
            )
        )
        for address, name, version in PROFILES
    ]
    crate.root_dataset["conformsTo"] = profiles
