"""Public raw files: fetched from their address, from a mirror, or out of an installed package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ceiflow.errors import SignalError

MIRROR_VARIABLE = "CEIFLOW_MIRROR"
TIMEOUT_S = 60


def retrieve_file(file: Mapping[str, str], output: Path, mirror: str | None = None) -> None:
    """Fetch one file and hold it against its digest; nothing stays where the digest differs.

    Parameters
    ----------
    file : mapping
        `path`, `url` and `sha256` as in the configuration. A `url` is `https://...`, `file://...`,
        or `package:NAME/PATH` for a file inside an installed Python package.
    output : Path
        Where it goes; written under another name first.
    mirror : str, optional
        Folder or web address that holds the file under the last part of its path. The environment
        variable CEIFLOW_MIRROR goes before it; a file that a package holds needs none.

    Raises
    ------
    SignalError
        If the address does not answer or the digest differs.
    """
    source = locate(file, os.environ.get(MIRROR_VARIABLE) or mirror)
    partial = output.with_name(output.name + ".part")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_source(source) as stream, open(partial, "wb") as handle:
            shutil.copyfileobj(stream, handle, 1 << 20)
        with open(partial, "rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != file["sha256"].lower():
            raise SignalError(file["path"], f"sha256 of {source}", found, file["sha256"])
        partial.replace(output)
    except (OSError, urllib.error.URLError) as error:
        raise SignalError(file["path"], f"retrieval from {source}", error, "a file") from error
    finally:
        partial.unlink(missing_ok=True)


def locate(file: Mapping[str, str], mirror: str | None) -> str:
    """Address or path that a file is read from."""
    url = file["url"]
    if url.startswith("package:") or not mirror:
        return url
    name = Path(file["path"]).name
    if "://" in mirror:
        return f"{mirror.rstrip('/')}/{urllib.parse.quote(name)}"
    return str(Path(mirror).expanduser() / name)


def open_source(source: str) -> BinaryIO:
    """Open an address, a path, or a file inside an installed package."""
    if source.startswith("package:"):
        package, _, inside = source.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package)  # finds it without importing it
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"package {package} is not installed")
        return open(Path(spec.submodule_search_locations[0]) / inside, "rb")
    if "://" in source:
        return urllib.request.urlopen(source, timeout=TIMEOUT_S)
    return open(source, "rb")
