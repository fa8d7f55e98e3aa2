"""What ran, on what: versions, inputs, revision, seeds. No times, hosts or folders of a machine."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from ceiflow import __version__
from ceiflow.study.config import load_config

_CHECKOUT = Path(__file__).resolve().parents[3]


class _Dumper(yaml.SafeDumper):
    """Writes every value out: an alias says nothing to a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_config(path: Path | str, config: Mapping[str, Any]) -> None:
    """Write the merged configuration as YAML, keys in the schema's order."""
    text = yaml.dump(
        load_config(_plain(config)), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
    )
    Path(path).write_text(text, encoding="utf-8", newline="\n")


def write_provenance(
    path: Path | str,
    config: Mapping[str, Any],
    sources: Iterable[Mapping[str, Any]],
    checkout: Path | str | None = None,
    code: Mapping[str, str] | None = None,
) -> None:
    """Write provenance.json: sorted keys, the same bytes for the same run.

    Parameters
    ----------
    path : Path
        File to write.
    config : mapping
        Merged configuration.
    sources : iterable of mapping
        Input files: `path`, `sha256` and what else is known (`acquisition_id`, `role`, `signal`). An absolute
        path is cut to its name, since folders of a machine are nobody's provenance.
    checkout : Path, optional
        Folder of the workflow; its git revision is written where it is the top of a checkout. The folder that
        ceiflow was installed from when left out.
    code : mapping, optional
        Digests of modules by name.
    """
    inputs = [{**source, "path": _within(str(source["path"]))} for source in _plain(list(sources))]
    content = {
        "schema": "ceiflow-provenance-1",
        "ceiflow": __version__,
        "python": platform.python_version(),
        "packages": package_versions(),
        "workflow": git_revision(Path(checkout) if checkout else _CHECKOUT),
        "seeds": {"study": config["statistics"]["seed"], "streams": "sha256 of seed and item names"},
        "inputs": sorted(inputs, key=lambda item: json.dumps(item, sort_keys=True)),
        "code": dict(code or {}),
    }
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8", newline="\n")


def write_sources(path: Path | str, summaries: Iterable[Path | str]) -> None:
    """Write the input files of all acquisitions, for `write_provenance`.

    Parameters
    ----------
    path : Path
        JSON file to write.
    summaries : iterable of Path
        summary.json of each acquisition, in the folder that is named after it.
    """
    sources = []
    for summary in map(Path, summaries):
        found = json.loads(summary.read_text(encoding="utf-8")).get("sources", [])
        sources += [{"acquisition_id": summary.parent.name, **source} for source in found]
    Path(path).write_text(json.dumps(sources, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def package_versions() -> dict[str, str]:
    """Versions of the packages that ceiflow depends on directly, and that are installed."""
    try:
        wanted = metadata.requires("ceiflow") or []
    except metadata.PackageNotFoundError:
        wanted = _declared()
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0] for line in wanted if "extra ==" not in line}
    versions = {}
    for name in names:
        try:
            versions[name.lower()] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _declared() -> list[str]:
    """Dependencies from pyproject.toml, where ceiflow runs from its sources without being installed."""
    import tomllib

    file = _CHECKOUT / "pyproject.toml"
    return (
        tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"] if file.is_file() else []
    )


def git_revision(checkout: Path) -> dict[str, Any]:
    """Revision of a checkout, and whether tracked files were changed since; both None outside of one."""
    nothing = {"revision": None, "modified": None}
    top = _git(checkout, "rev-parse", "--show-toplevel")
    # A workflow copied into somebody's own repository would name that repository's revision.
    if top is None or Path(top) != checkout.resolve():
        return nothing
    revision = _git(checkout, "rev-parse", "HEAD")
    if revision is None:
        return nothing
    return {
        "revision": revision,
        "modified": bool(_git(checkout, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _within(path: str) -> str:
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return PureWindowsPath(path).name if absolute else path


def _plain(value: Any) -> Any:
    """Mappings of any kind as dict, sequences as list: Snakemake hands over its own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
