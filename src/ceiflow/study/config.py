"""config.yaml: reading, defaults, and where a key stands."""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ceiflow.errors import Fault, StudyError
from ceiflow.study.schemas import FastLoader, branch, load_schema, resolve, types

# YAML 1.1, which PyYAML reads, takes 1e-3 for text; every other tool takes it for a number.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class _UniqueKeys(FastLoader):
    """Refuses a key that stands twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in seen:
                raise _DuplicateKey(str(key), seen[key], line)
            if isinstance(key, Hashable):
                seen[key] = line
        return super().construct_mapping(node, deep)


class _DuplicateKey(Exception):
    def __init__(self, key: str, first: int, second: int):
        super().__init__(key, first, second)
        self.key, self.first, self.second = key, first, second


def read_yaml(path: Path, name: str) -> Any:
    """What a YAML file holds, safely; a key that stands twice is a fault.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The file as a message names it.

    Raises
    ------
    StudyError
        When the file is absent, is no UTF-8 text or no YAML, or has a key twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return yaml.load(text, Loader=_UniqueKeys)
    except OSError as error:
        fault = Fault(name, "file", (error.strerror or "unreadable").lower(), "a YAML file")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        fault = Fault(name, f"line {line}", "bytes that are not UTF-8", "text in UTF-8")
    except _DuplicateKey as error:
        fault = Fault(
            name, f"line {error.second}", f"{error.key} again (first on line {error.first})", "every key once"
        )
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        tab = "; YAML is indented with spaces, not tabs" if "\\t" in str(error) else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        fault = Fault(name, where, problem, f"valid YAML{tab}")
    raise StudyError([fault])


def load_config(raw: dict[str, Any] | None) -> dict[str, Any]:
    """The configuration with every default filled in, keys in the schema's order.

    A section or list that is written and left empty counts as not written. Lists replace the default list.
    Nothing is checked here: see `ceiflow.study.validate`.
    """
    root = load_schema("config")
    return _merge(raw, root, root)


@cache
def _defaults() -> dict[str, Any]:
    root = load_schema("config")
    return _merge(None, root, root)


def default_config() -> dict[str, Any]:
    """The configuration of a study that says nothing."""
    return copy.deepcopy(_defaults())


def _merge(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    schema = resolve(schema, root)
    kinds = types(schema)
    if "oneOf" in schema:
        chosen = branch(schema, value, root)
        return _merge(value, chosen, root) if chosen else copy.deepcopy(value)
    if value is None and "null" not in kinds and "anyOf" not in schema and kinds in (["object"], ["array"]):
        value = copy.deepcopy(schema.get("default"))
    if isinstance(value, dict) and "properties" in schema:
        return _merge_object(value, schema, root)
    if isinstance(value, list) and "items" in schema:
        return [_merge(item, schema["items"], root) for item in value]
    if isinstance(value, str) and "number" in kinds and "string" not in kinds and _EXPONENT.fullmatch(value):
        return float(value)
    return dict(value) if isinstance(value, dict) else copy.deepcopy(value)


def _merge_object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    merged = {}
    for name, child in schema["properties"].items():
        child = resolve(child, root)
        if name in value:
            merged[name] = _merge(value[name], child, root)
        elif "default" in child:
            merged[name] = _merge(copy.deepcopy(child["default"]), child, root)
    merged.update({name: copy.deepcopy(item) for name, item in value.items() if name not in merged})
    return merged


def spell(path: tuple[str | int, ...]) -> str:
    """A place in the configuration as a person writes it: `claims[2].low`, counted from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "file"
