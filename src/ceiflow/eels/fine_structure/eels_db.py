"""One spectrum of the EELS Data Base as a measured standard: by the rule `fetch_reference`, or by hand.

    python -m ceiflow.eels.fine_structure.eels_db "TITLE" config/references/NAME.tsv [--sha256 DIGEST]

It prints the digest, so that later fetches are held against it. The file is named by its path in
`fine_structure.references`; its first lines say who measured it, where it stands, and what to cite.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

from ceiflow.errors import SignalError

CITE = "Ewels, Sikora, Serin, Ewels and Lajaunie, Microscopy and Microanalysis 22, 717 (2016)"


def fetch(title: str, output: Path, sha256: str | None = None, spectrum_type: str = "coreloss") -> str:
    """Fetch the one spectrum whose title is `title` and write it as text in two columns.

    Parameters
    ----------
    title : str
        In full: the collection's search also finds titles that contain it.
    output : Path
    sha256 : str, optional
        Of the file written; where it differs nothing is left.
    spectrum_type : str
        As the collection names it.

    Returns
    -------
    str
        sha256 of the file.

    Raises
    ------
    SignalError
        No answer, not exactly one spectrum of that title, or another digest.
    """
    from exspy.data import eelsdb

    try:
        found = eelsdb(spectrum_type=spectrum_type, title=title, show_progressbar=False)
    except (
        OSError,
        ValueError,
        KeyError,
    ) as error:  # the network's errors are OSError, no JSON is a ValueError
        raise SignalError(str(output), "EELS Data Base", error, f"the spectrum {title!r}") from error
    exact = [item for item in found if item.metadata.General.title == title]
    if len(exact) != 1:
        titles = ", ".join(repr(item.metadata.General.title) for item in found) or "nothing"
        raise SignalError(
            str(output), f"EELS Data Base, {title!r}", titles, "exactly one spectrum of this title"
        )
    axis = exact[0].axes_manager[-1].axis
    lines = [f"{energy:.6f}\t{value:.9g}\n" for energy, value in zip(axis, exact[0].data, strict=True)]
    text = "".join([*attribution(exact[0]), "energy_eV\tcounts\n", *lines]).encode()
    digest = hashlib.sha256(text).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise SignalError(str(output), "sha256 of the spectrum", digest, sha256)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(text)
    return digest


def attribution(spectrum: Any) -> list[str]:
    """Lines that say whose spectrum it is and under which terms, as far as the collection does."""
    record = spectrum.original_metadata.json.as_dictionary()
    author = record.get("author")
    said = {
        "title": record.get("title"),
        "author": author.get("name") if isinstance(author, dict) else author,
        "address": record.get("permalink"),
        "formula": record.get("formula"),
        "reference": record.get("reference"),
        "licence": record.get("license") or "see the address",
        "cite": CITE,
    }
    lines = [(name, " ".join(str(value).split())) for name, value in said.items() if value]
    return [f"# {name}: {value}\n" for name, value in lines]


def main() -> None:
    """Fetch one spectrum and print its digest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("title")
    parser.add_argument("output", type=Path)
    parser.add_argument("--sha256")
    parser.add_argument("--type", default="coreloss")
    arguments = parser.parse_args()
    try:
        print(fetch(arguments.title, arguments.output, arguments.sha256, arguments.type))
    except SignalError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
