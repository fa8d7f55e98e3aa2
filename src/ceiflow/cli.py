"""The command `ceiflow`: begin, draft, check, plan, verify and pack a study."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ceiflow import __version__
from ceiflow.errors import CeiflowError, StudyError

OK, FAULTS, UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process when left out.

    Returns
    -------
    int
        0 when all is well, 1 when a study has faults, 2 when the command cannot be carried out.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except StudyError as error:
        return _print_faults(error)
    except (CeiflowError, OSError) as error:
        print(f"ceiflow: {error}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ceiflow",
        description="From raw cryo-(S)TEM and EELS files of battery cathodes to a defended answer.",
        epilog="A study is run with: snakemake -s PROJECT/workflow/Snakefile --directory STUDY --cores all",
    )
    parser.add_argument("--version", action="version", version=f"ceiflow {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    new = commands.add_parser(
        "new", help="begin a study", description="Lay out an empty study, every key described."
    )
    new.add_argument("study", type=Path, metavar="STUDY", help="folder to make; has to be empty or absent")
    new.add_argument("--example", metavar="NAME", help="take configuration and sheets of an example study")
    new.set_defaults(command=_new)

    sheet = commands.add_parser(
        "sheet",
        help="draft acquisitions.tsv from instrument files",
        description="Draft rows of acquisitions.tsv from what instrument files say. Paths start with the "
        "name of the folder, so name the one that lies in the study folder.",
    )
    sheet.add_argument("raw", type=Path, metavar="RAW_DIR", help="folder of instrument files")
    sheet.add_argument("--output", "-o", type=Path, metavar="FILE", help="write here instead of printing")
    sheet.set_defaults(command=_sheet)

    check = commands.add_parser("check", help="say everything that is wrong with a study")
    check.add_argument("study", type=Path, metavar="STUDY", help="study folder")
    check.set_defaults(command=_check)

    plan = commands.add_parser(
        "plan",
        help="how many cells, particles and regions the claims need",
        description="From the variances of a study that was run: power and detectable difference by cells, "
        "particles and regions, as a table and a figure in the results' folder `planning`.",
    )
    plan.add_argument("study", type=Path, metavar="STUDY", help="study folder with results")
    plan.add_argument("--results", type=Path, metavar="FOLDER", help="results, if not STUDY/results")
    plan.add_argument(
        "--cells", type=int, default=12, metavar="N", help="cells of each group up to which to go"
    )
    plan.set_defaults(command=_plan)

    verify = commands.add_parser(
        "verify",
        help="hold a finished run against another",
        description="Every canonical file again: the same bytes, or the same numbers within the last digits.",
    )
    verify.add_argument("study", type=Path, metavar="STUDY", help="study folder with a finished run")
    verify.add_argument(
        "--against", type=Path, metavar="PATH", help="a manifest, a results folder, or another study folder"
    )
    verify.set_defaults(command=_verify)

    crate = commands.add_parser("crate", help="pack a finished run as a Workflow Run RO-Crate")
    crate.add_argument("study", type=Path, metavar="STUDY", help="study folder with a finished run")
    crate.add_argument("--output", "-o", type=Path, metavar="ZIP", required=True, help="file to write")
    crate.set_defaults(command=_crate)
    return parser


def _new(arguments: argparse.Namespace) -> int:
    from ceiflow.study.template import example_folders, write_study

    example = None
    if arguments.example is not None:
        examples = example_folders()
        example = examples.get(arguments.example)
        if example is None:
            known = ", ".join(examples) or "none in this installation"
            return _refuse(f"no example {arguments.example!r}; there are: {known}")
    try:
        files = write_study(arguments.study, example)
    except FileExistsError:
        return _refuse(f"{arguments.study} is there and not empty; name a new folder")
    for file in files:
        print(file)
    print(f"Next: read {arguments.study / 'README.md'}, then: ceiflow check {_quoted(arguments.study)}")
    return OK


def _sheet(arguments: argparse.Namespace) -> int:
    from ceiflow.study.template import sheet_text

    output = arguments.output
    if not arguments.raw.is_dir():
        return _refuse(f"{arguments.raw} is no folder")
    if output is not None and output.exists() and not _is_empty_sheet(output):
        return _refuse(f"{output} has rows already; name another file")
    # Reading instrument files is the one heavy thing here.
    from ceiflow.signals.sheet import draft_sheet

    rows, notes = draft_sheet(arguments.raw)
    text = sheet_text("acquisitions", rows)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8", newline="\n")
        print(f"{output}: {len(rows)} rows", file=sys.stderr)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return OK


def _is_empty_sheet(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return len([line for line in lines if line.strip()]) <= 1


def _check(arguments: argparse.Namespace) -> int:
    from ceiflow.study.validation import absent_files, load_study

    if not arguments.study.is_dir():
        return _refuse(f"{arguments.study} is no folder")
    study = load_study(arguments.study)
    for note in study.notes:
        print(f"note: {note}")
    for name, column, path in absent_files(study):
        print(f"note: {name}: {column}: {path} is not there; this row would fail, the others would not")
    excluded = sum(bool(row["exclude"]) for row in study.acquisitions)
    counts = [
        _count(len(study.acquisitions), "acquisition") + (f" ({excluded} excluded)" if excluded else ""),
        _count(len(study.cells), "cell"),
        _count(len(study.config["claims"]), "claim"),
    ]
    print(f"{arguments.study}: {', '.join(counts)}; no faults")
    return OK


def _plan(arguments: argparse.Namespace) -> int:
    from ceiflow.study.validation import load_study

    if not arguments.study.is_dir():
        return _refuse(f"{arguments.study} is no folder")
    results = arguments.results or arguments.study / "results"
    tables = {name: results / "tables" / f"{name}.tsv" for name in ("measurements", "claims")}
    for path in tables.values():
        if not path.is_file():
            return _refuse(f"{path} is not there; run the study first")
    if arguments.cells < 2:
        return _refuse("--cells: at least 2")
    study = load_study(arguments.study)
    # Only this command computes.
    from ceiflow.figures import planning_curves, save
    from ceiflow.statistics import plan
    from ceiflow.statistics.planning import needed_cells

    folder = results / "planning"
    folder.mkdir(parents=True, exist_ok=True)
    rows = plan(
        tables["measurements"],
        study.cells,
        tables["claims"],
        study.config,
        folder / "planning.tsv",
        arguments.cells,
    )
    figure = planning_curves(rows)
    for kind in ("png", "svg"):
        save(figure, folder / f"planning.{kind}", study.config["report"]["dpi"])
    for line in _plan_lines(rows, needed_cells(rows), arguments.cells):
        print(line)
    print(f"The whole table and its figure: {folder}")
    return OK


def _plan_lines(rows: list[dict], needed: dict[str, int | None], most: int) -> list[str]:
    """One line a claim, and its detectable distances as recorded."""
    lines = []
    for name, cells in needed.items():
        own = [row for row in rows if row["claim_id"] == name]
        first = own[0]
        head = f"{name} ({first['verdict'] or 'not judged'})"
        if first.get("cells") is None:
            lines.append(f"{head}: {first['note']}")
            continue
        if first.get("power") is None:
            lines.append(f"{head}: the estimate is on the wrong side of what it is held against")
        elif cells is None:
            lines.append(
                f"{head}: more than {most} cells in each group for a distance of {first['distance']:.3g}"
            )
        else:
            lines.append(
                f"{head}: you need {cells} cells in each group to show a distance of {first['distance']:.3g} "
                "with 80 % power"
            )
        recorded = [
            row for row in own if (row["particles"], row["regions"]) == (first["particles"], first["regions"])
        ]
        shown = ", ".join(
            f"{row['cells']}: " + ("none" if row["detectable"] is None else f"{row['detectable']:.3g}")
            for row in recorded
        )
        lines.append(f"  smallest distance by cells in each group ({first['unit'] or '1'}): {shown}")
    return lines


def _verify(arguments: argparse.Namespace) -> int:
    from ceiflow.study.verify import compare

    results = arguments.study / "results"
    other = results if arguments.against is None else arguments.against
    if (other / "results").is_dir():
        other = other / "results"
    found = compare(results, other)
    for name in found.equivalent:
        print(f"{name}: other bytes, the same values")
    for name in found.ignored:
        print(f"{name}: other bytes; values not compared")
    for name, what in found.different.items():
        print(f"{name}: {what}")
    total = len(found.same) + len(found.equivalent) + len(found.ignored) + len(found.different)
    print(f"{arguments.study}: {found.verdict}; {len(found.same)} of {total} files have the same bytes")
    return FAULTS if found.different else OK


def _crate(arguments: argparse.Namespace) -> int:
    from ceiflow.study.crate import write_crate

    print(write_crate(arguments.study, arguments.output))
    return OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _print_faults(error: StudyError) -> int:
    for fault in error.faults:
        print(fault)
    print(_count(len(error.faults), "fault"))
    return FAULTS


def _refuse(message: str) -> int:
    print(f"ceiflow: {message}", file=sys.stderr)
    return UNUSABLE


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


if __name__ == "__main__":
    sys.exit(main())
