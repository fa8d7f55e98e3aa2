"""The schemas: one owner of every key, column, bound and default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# The C loader reads the schemas ten times faster; PyYAML may come without it.
FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def schema_folder() -> Path:
    """Folder of the schemas: inside an installed package, else in the checkout it was installed from.

    Raises
    ------
    FileNotFoundError
        When neither is there, so the installation is broken.
    """
    here = Path(__file__).resolve()
    for folder in (here.parent / "schemas", here.parents[3] / "workflow" / "schemas"):
        if (folder / "config.schema.yaml").is_file():
            return folder
    raise FileNotFoundError("ceiflow is installed without its schemas (ceiflow/study/schemas)")


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Schema `config`, `cells` or `acquisitions`; shared, so not to be changed."""
    text = (schema_folder() / f"{name}.schema.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=FastLoader)


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema that a local `$ref` points to; any other schema as it is."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    for part in reference.removeprefix("#/").split("/"):
        root = root[part]
    return root


def branch(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> dict[str, Any] | None:
    """The alternative of a discriminated `oneOf` that `value` says it is; None where it names none."""
    key = schema["discriminator"]["propertyName"]
    for option in (resolve(option, root) for option in schema["oneOf"]):
        if isinstance(value, dict) and option["properties"][key]["const"] == value.get(key):
            return option
    return None


def types(schema: dict[str, Any]) -> list[str]:
    """Names of the JSON types that a schema lets through; empty where it does not say."""
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def unit_suffixes() -> tuple[str, ...]:
    """Ends of column names that carry a unit, such as `_nm`."""
    return ("_keV", "_mrad", "_nm", "_eV", "_s", "_e_per_A2", "_V", "_per_h")


def walk(
    schema: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every key below a section, sections included, in the schema's order."""
    for name, child in schema.get("properties", {}).items():
        yield (*path, name), child
        if "properties" in child:
            yield from walk(child, (*path, name))


@cache
def pattern(text: str) -> re.Pattern[str]:
    """A compiled schema pattern; `$` is the very end, as in ECMAScript."""
    return re.compile(re.sub(r"\$$", r"\\Z", text))
