"""MANIFEST.sha256: which files are canonical, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ceiflow.study.digests import file_sha256

MANIFEST = "MANIFEST.sha256"


def write_manifest(
    results: Path | str, files: Iterable[Path | str], output: Path | str | None = None
) -> None:
    """Write checksums as `sha256sum` does, so that `sha256sum -c MANIFEST.sha256` checks a run.

    Parameters
    ----------
    results : Path
        Folder that the lines are relative to.
    files : iterable of Path
        Canonical files below it, in any order; seen from where the process runs.
    output : Path, optional
        Where to write; MANIFEST.sha256 in `results` when left out.

    Raises
    ------
    ValueError
        For a file that does not lie below `results`.
    """
    results = Path(results)
    names = {Path(file).absolute().relative_to(results.absolute()).as_posix(): file for file in files}
    lines = [f"{file_sha256(file)}  {name}\n" for name, file in sorted(names.items())]
    Path(output or results / MANIFEST).write_text("".join(lines), encoding="utf-8", newline="\n")
