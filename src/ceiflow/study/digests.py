"""Names for randomness, for code and for files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# What pages are made with counts as code.
_SOURCES = {".py", ".j2", ".css", ".js"}


def seed_for(seed: int, *names: str) -> int:
    """A seed of 63 bits for one random stream, from the study's seed and the item's own names.

    Parameters
    ----------
    seed : int
        Seed of the study.
    *names : str
        What the stream is for, such as "bootstrap", "short-1". Their borders count: ("ab", "c") is not
        ("a", "bc").
    """
    text = "\0".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@cache
def module_digest(*names: str) -> str:
    """Digest of the source of modules and of all below them, without importing any.

    A rule carries it as a parameter, so that a change of science code reruns what it touches.

    Parameters
    ----------
    *names : str
        Modules such as "ceiflow.eels".

    Raises
    ------
    ModuleNotFoundError
        For a name that is no module of this package.
    """
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        head, *parts = name.split(".")
        path = _PACKAGE.joinpath(*parts)
        single = path.with_suffix(".py")
        files = [single] if single.is_file() else sorted(f for f in path.rglob("*") if f.suffix in _SOURCES)
        if head != _PACKAGE.name or not files:
            raise ModuleNotFoundError(f"no module {name}", name=name)
        for file in files:
            source = _source(file)
            digest.update(f"{file.relative_to(_PACKAGE).as_posix()}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()[:16]


def source_digest(path: Path | str) -> str:
    """Digest of one file of source code, wherever it lies."""
    return hashlib.sha256(_source(path)).hexdigest()[:16]


def _source(path: Path | str) -> bytes:
    """Line ends depend on the checkout, the code does not."""
    return Path(path).read_bytes().replace(b"\r\n", b"\n")


def file_sha256(path: Path | str) -> str:
    """Checksum of a file, read in pieces."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
