"""Quantification side by side with its peers, and end to end on files.

    python benchmarks/quantification/run.py [--long] [--write docs/benchmarks.md]

Peers are installed from the package index into environments of their own (`--cache`), once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from compare import PROGRAMS, compare, edge_curves
from tables import comparison

BENCHMARKS = Path(__file__).resolve().parents[1]


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=BENCHMARKS / ".venvs", help="environments of the peers")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--rounds", type=int, default=3, help="rounds of part one")
    parser.add_argument("--parts", nargs="+", choices=("compare", "files"), default=["compare", "files"])
    parser.add_argument("--long", action="store_true", help="also the file ten times as long (3 GB of disk)")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page, docs/benchmarks.md")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    from files import end_to_end
    from page import insert, kept, page

    options = arguments(argv)
    cache = options.cache.resolve()
    sections: dict[str, tuple[str, dict]] = {}
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        if "compare" in options.parts:
            programs = ["own", *(name for name in options.programs if name != "own")]
            sections["compare"] = comparison(*compare(programs, options.rounds, cache, work))
        if "files" in options.parts:
            sections["files"] = end_to_end(cache, work, options.long, edge_curves)
    for text, facts in sections.values():
        print(text, end="\n\n")
        for name, value in facts.items():
            print(f"{name}: {value:.3g}")
        print()
    if options.write:
        old = options.write.read_text(encoding="utf-8") if options.write.exists() else ""
        text, part = page(sections), kept(old)
        options.write.write_text(insert(text, part) if part else text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
