"""Tables and templates made from the schemas, so that each key is described in one place.

`python -m ceiflow.study.tables` rewrites the generated parts of config/README.md in a checkout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ceiflow.study.checker import bounds
from ceiflow.study.schemas import load_schema, resolve, types, walk

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)
_TYPES = {
    "object": "section",
    "array": "list",
    "string": "text",
    "boolean": "true, false",
    "integer": "whole number",
}


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A markdown table; bars within cells are escaped."""
    lines = [list(header)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def sheet_table(name: str) -> str:
    """Markdown table of the columns of sheet `cells` or `acquisitions`."""
    schema = load_schema(name)
    rows = [
        [
            f"`{column}`",
            "yes" if column in schema["required"] else "",
            column_values(item),
            item["description"],
        ]
        for column, item in schema["properties"].items()
    ]
    return markdown_table(["column", "needed", "values", "meaning"], rows)


def column_values(schema: Mapping[str, Any]) -> str:
    """What a cell or key may hold, in a few words."""
    if "enum" in schema:
        return ", ".join(f"`{item}`" for item in schema["enum"] if item is not None)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(text for option in schema["anyOf"] if (text := column_values(option)))
    if schema.get("pattern", "").startswith("^[A-Za-z0-9]"):
        return "name"
    if schema.get("format") == "path":
        return "path"
    names = [_TYPES.get(name, name) for name in types(schema) if name != "null"]
    items = schema.get("items", {})
    if names == ["list"] and "properties" not in items and "oneOf" not in items:
        return f"list of {column_values(items)}"
    if schema.get("pattern", "").startswith("^[A-Z]["):
        return "chemical symbol"
    unit, limits = schema.get("unit", "1"), bounds(schema)
    return " or ".join(names) + (f" ({unit})" if unit != "1" else "") + (f" {limits}" if limits else "")


def config_tables() -> str:
    """Markdown tables of config.yaml, one for the single keys and one for each section."""
    root = load_schema("config")
    single = {name: item for name, item in root["properties"].items() if not item.get("properties")}
    parts = [_key_table(((name,), item) for name, item in single.items())]
    for name, item in root["properties"].items():
        if item.get("properties"):
            keys = ((path, child) for path, child in walk(item) if "properties" not in child)
            parts.append(f"### `{name}`\n\n{item['description']}\n\n{_key_table(keys)}")
            parts += [
                f"Entries of `{name}.{'.'.join(path)}`:\n\n{_entry_table(child['items'], root)}"
                for path, child in walk(item)
                if "properties" in child.get("items", {})
            ]
    return "\n".join(parts)


def claim_tables() -> str:
    """Markdown tables of the kinds of claims."""
    root = load_schema("config")
    kinds = [resolve(option, root) for option in root["properties"]["claims"]["items"]["oneOf"]]
    return "\n".join(
        f"### `{kind['properties']['kind']['const']}`\n\n{kind['description']}\n\n{_entry_table(kind, root)}"
        for kind in kinds
    )


def _key_table(keys: Iterable[tuple[tuple[str, ...], Mapping[str, Any]]]) -> str:
    rows = [
        [f"`{'.'.join(path)}`", column_values(item), default_text(item), item["description"]]
        for path, item in keys
    ]
    return markdown_table(["key", "values", "default", "meaning"], rows)


def _entry_table(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    rows = []
    for name, child in schema["properties"].items():
        child = resolve(child, root)
        default = "needed" if name in schema["required"] else default_text(child)
        rows.append([f"`{name}`", column_values(child), default, child["description"]])
    return markdown_table(["key", "values", "default", "meaning"], rows)


def default_text(schema: Mapping[str, Any]) -> str:
    """A default in YAML for a table; empty for null and for empty texts, lists and sections."""
    value = schema.get("default")
    return f"`{flow(value)}`" if value not in (None, "", [], {}) else ""


def flow(value: Any) -> str:
    """A value as YAML on one line.

    >>> flow(["C", 1.5, None])
    '[C, 1.5, null]'
    """
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z][\w./-]*", value) and value.lower() not in _YAML_WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


_YAML_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}


def fill(text: str) -> str:
    """A page with its generated parts made anew; they stand between `generated:` and `end:` comments.

    Raises
    ------
    KeyError
        For a part that nothing generates.
    """
    makers = {
        "cells": lambda: sheet_table("cells"),
        "acquisitions": lambda: sheet_table("acquisitions"),
        "configuration": config_tables,
        "claims": claim_tables,
    }
    return _BLOCK.sub(lambda match: f"{match[1]}\n{makers[match['name']]()}\n{match[3]}", text)


def main() -> None:
    """Rewrite config/README.md of the checkout."""
    page = Path(__file__).resolve().parents[3] / "config" / "README.md"
    page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
