"""An empty study: a configuration with every key described, two sheets, and a page on how to fill them in."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ceiflow.study.schemas import load_schema
from ceiflow.study.tables import column_values, flow, sheet_table

_EXAMPLES = {
    "retrieve.files": """\
- path: raw/core.dm4
  url: https://example.org/core.dm4
  sha256: 64 hexadecimal digits, from `sha256sum FILE`
""",
    "fine_structure.references": """\
- {name: MnO2, edge: Mn_L, path: references/mno2.csv, valence: 4}
""",
    "claims": """\
- id: conformal_layer            # the means of two groups of cells differ
  kind: difference
  endpoint: layer_thickness_nm
  zone: layer
  test: {condition: shorted}     # any columns of cells.tsv
  reference: {condition: normal}
  direction: greater             # greater | less | two_sided
- id: no_coating                 # there is none, or it is thinner and rarer than this
  kind: absence
  endpoint: layer_thickness_nm
  group: {condition: normal}
  margin: 2.0                    # nm; below the detection limit the verdict is "cannot tell"
  max_prevalence: 0.1
- id: about_ten_nm               # the mean lies between two values
  kind: interval
  endpoint: layer_thickness_nm
  group: {condition: shorted}
  low: 5
  high: 15
""",
}


def config_text(overrides: Mapping[str, Any] | None = None) -> str:
    """A config.yaml with every key, its description and its default.

    Parameters
    ----------
    overrides : mapping, optional
        Values instead of defaults, by dotted key such as "study.title".
    """
    head = _comment("What to do with the signals of this study, and what will be claimed.", "")
    head += _comment("Every key may be left out.", "")
    return head + "".join(_key_lines(load_schema("config"), (), overrides or {}))


def _key_lines(section: Mapping[str, Any], path: tuple[str, ...], overrides: Mapping[str, Any]) -> list[str]:
    indent, lines = "  " * len(path), []
    for name, item in section["properties"].items():
        dotted = ".".join((*path, name))
        if not path:
            lines.append("\n")
        lines.append(_comment(_description(item), indent))
        if item.get("properties"):
            lines.append(f"{indent}{name}:\n")
            lines += _key_lines(item, (*path, name), overrides)
            continue
        lines.append(f"{indent}{name}: {flow(overrides.get(dotted, item.get('default')))}\n")
        if dotted in _EXAMPLES:
            lines.append(_comment("For example, below the key and without the brackets:", indent))
            lines.append(textwrap.indent(_EXAMPLES[dotted], f"{indent}#   "))
    return lines


def _description(item: Mapping[str, Any]) -> str:
    text = item["description"].rstrip(".")
    if "properties" in item or item.get("items", {}).get("properties") or item.get("items", {}).get("oneOf"):
        return f"{text}."
    values = column_values(item).replace("`", "")
    return f"{text}." if values == "text" else f"{text}. ({values})"


def _comment(text: str, indent: str) -> str:
    return "".join(
        f"{line}\n"
        for line in textwrap.wrap(
            text, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
        )
    )


def sheet_text(name: str, rows: list[Mapping[str, Any]] | None = None) -> str:
    """A sheet with all its columns and the given rows, tab-separated."""
    columns = list(load_schema(name)["properties"])
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(column, "") for column in columns] for row in rows or [])
    return out.getvalue()


def example_row(name: str) -> dict[str, Any]:
    """A row as the examples of a sheet's schema have it; empty cells are left out."""
    return {
        column: item["examples"][0]
        for column, item in load_schema(name)["properties"].items()
        if "examples" in item
    }


def readme_text(title: str) -> str:
    """The page that lies beside a new study."""
    examples = {name: sheet_text(name, [example_row(name)]) for name in ("cells", "acquisitions")}
    return f"""\
# {title}

1. Put the instrument files below `raw/`. They are only read.
2. `config/cells.tsv`: one row per electrochemical cell. Claims are about cells: ten images of one cell
   are one cell.
3. `config/acquisitions.tsv`: one row per recorded signal.
   `ceiflow sheet raw --output config/acquisitions.tsv`, called in this folder, drafts the rows from what
   the files say and lists what they do not say.
4. `config/config.yaml`: elements, settings that hold for all files, and the claims, which are registered
   before looking.
5. `ceiflow check .` names everything that is wrong, with file, row and column.
6. `snakemake -s PROJECT/workflow/Snakefile --directory . --cores all`, then open
   `results/reports/study.html`.

Both sheets are text in UTF-8 with tabs between the columns, as a spreadsheet program saves
"tab-separated text". Leave a cell empty where something is not known, and never fill in a guess.
Numbers have a decimal point and no unit.

## cells.tsv

{sheet_table("cells")}
For example:

```
{examples["cells"]}```

## acquisitions.tsv

{sheet_table("acquisitions")}
For example:

```
{examples["acquisitions"]}```
"""


def write_study(folder: Path, example: Path | None = None) -> list[Path]:
    """Lay out a study in an empty or absent folder.

    Parameters
    ----------
    folder : Path
        Where the study goes.
    example : Path, optional
        A study whose configuration and sheets are taken.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    FileExistsError
        When the folder has anything in it, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(str(folder))
    title = folder.resolve().name
    texts = {
        "config/config.yaml": config_text({"study.title": title}),
        "config/cells.tsv": sheet_text("cells"),
        "config/acquisitions.tsv": sheet_text("acquisitions"),
        "README.md": readme_text(title),
    }
    if example is not None:
        for name in ("config/config.yaml", "config/cells.tsv", "config/acquisitions.tsv"):
            texts[name] = (example / name).read_text(encoding="utf-8")
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "raw").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def example_folders() -> dict[str, Path]:
    """Example studies by name: those inside an installed package, else those of the checkout."""
    here = Path(__file__).resolve()
    for home in (here.parent / "examples", here.parents[3] / "config" / "examples"):
        if home.is_dir():
            return {
                path.parents[1].name: path.parents[1] for path in sorted(home.glob("*/config/config.yaml"))
            }
    return {}
