"""The part of JSON schema that the project's schemas use, with messages for a person.

Why not jsonschema: it speaks schema language ("... is not valid under any of the given schemas"), knows no
nearest name, and its import takes a second where its optional formats are installed, which every job would
pay.
A test holds both to the same answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from ceiflow.study.schemas import branch, pattern, resolve, types, walk

# Path within the value, what was found, what was expected.
Finding = tuple[tuple[str | int, ...], str, str]

_PYTHON = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_WORDS = {"object": "a section with keys", "array": "a list", "string": "text", "boolean": "true or false",
          "null": "nothing", "number": "a number", "integer": "a whole number"}  # fmt: skip


def is_type(value: Any, name: str) -> bool:
    """Whether a value is of a JSON type; true and false are no numbers."""
    if name in ("number", "integer"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return (
            value == value and abs(value) != float("inf") and (name == "number" or float(value).is_integer())
        )
    return isinstance(value, _PYTHON[name])


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be."""
    folded = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Words for what was expected: the closest known name, or else all of them."""
    known = [str(item) for item in known]
    close = closest(name, known)
    if close:
        return f"perhaps {close}"
    return "one of " + ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")


def perhaps(name: Any, known: Iterable[str]) -> str:
    """The closest known name in brackets, to be put behind a list of all; empty where none is close."""
    close = closest(name, known) if isinstance(name, str) else None
    return f" (perhaps {close})" if close else ""


def found(value: Any) -> str:
    """A value as a message shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return (
            f"{str(value).lower()} (yes, no, on, off and true, false are truth values in YAML: quote a text)"
        )
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def bounds(schema: dict[str, Any]) -> str:
    """The range of a number in words; empty where there is none.

    >>> bounds({"exclusiveMinimum": 0, "maximum": 1})
    'above 0, up to 1'
    """
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f"from {low} to {high}"
    words = [f"above {above}"] * (above is not None) + [f"at least {low}"] * (low is not None)
    return ", ".join(words + [f"up to {high}"] * (high is not None))


def range_words(schema: dict[str, Any]) -> str:
    """What was expected of a number that is out of bounds."""
    unit = schema.get("unit")
    return f"a number {bounds(schema)}" + (f" (in {unit}?)" if unit and unit != "1" else "")


def out_of_range(value: float, schema: dict[str, Any]) -> bool:
    """Whether a number is outside the bounds of its schema."""
    return (
        value < schema.get("minimum", value)
        or value > schema.get("maximum", value)
        or ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"])
    )


def expected(schema: dict[str, Any]) -> str:
    """What a schema wants, in words."""
    if "enum" in schema:
        return "one of " + ", ".join("nothing" if item is None else str(item) for item in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(expected(option) for option in schema["anyOf"])
    names = types(schema)
    text = " or ".join(_WORDS[name] for name in names if name != "null") or "a value"
    limits = bounds(schema)
    text = f"{text} {limits}" if limits else text
    return f"{text}, or nothing" if "null" in names else text


def check(value: Any, schema: dict[str, Any], root: dict[str, Any], path: tuple = ()) -> Iterator[Finding]:
    """Everything in `value` that its schema does not let through.

    Parameters
    ----------
    value : object
        What YAML or JSON gave.
    schema, root : dict
        The schema of this value, and the whole schema that `$ref` looks in.
    path : tuple
        Keys and positions that led here.

    Yields
    ------
    (path, found, expected)
    """
    schema = resolve(schema, root)
    if "oneOf" in schema:
        yield from _check_branch(value, schema, root, path)
        return
    if "anyOf" in schema:
        options = [list(check(value, option, root, path)) for option in schema["anyOf"]]
        if all(options):
            # Speak of the alternative that was meant: the one of the same type.
            same = (
                o
                for o, s in zip(options, schema["anyOf"], strict=True)
                if any(is_type(value, t) for t in types(s))
            )
            yield from next(same, [(path, found(value), expected(schema))])
        return
    names = types(schema)
    if names and not any(is_type(value, name) for name in names):
        yield path, found(value), expected(schema)
        return
    if "const" in schema and value != schema["const"]:
        yield path, found(value), str(schema["const"])
    if "enum" in schema and value not in schema["enum"]:
        yield path, found(value), expected(schema) + perhaps(value, filter(None, schema["enum"]))
    if isinstance(value, dict):
        yield from _check_object(value, schema, root, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, root, path)
    elif isinstance(value, str):
        if len(value.strip()) < schema.get("minLength", 0):
            yield path, found(value), "text"
        if "pattern" in schema and not pattern(schema["pattern"]).search(value):
            yield path, found(value), explain_pattern(schema["pattern"])
    elif is_type(value, "number") and out_of_range(value, schema):
        yield path, found(value), range_words(schema)


def explain_pattern(text: str) -> str:
    """A pattern of the schemas in words."""
    return {
        "^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$": (
            "a name of letters, digits, _ . - that starts with a letter or digit, 100 at most"
        ),
        "^[0-9a-fA-F]{64}$": "64 hexadecimal digits",
        "^[A-Z][a-z]?$": "a chemical symbol",
        "^(https?://|file://|package:)": "an address that starts with https://, http://, file:// or package:",
    }.get(text, f"text like {text}")


def _check_branch(value: Any, schema: dict, root: dict, path: tuple) -> Iterator[Finding]:
    key = schema["discriminator"]["propertyName"]
    names = [resolve(option, root)["properties"][key]["const"] for option in schema["oneOf"]]
    chosen = branch(schema, value, root)
    if chosen is not None:
        yield from check(value, chosen, root, path)
    elif not isinstance(value, dict):
        yield path, found(value), _WORDS["object"]
    else:
        yield (*path, key), found(value.get(key)), "one of " + ", ".join(names)


def _check_object(value: dict, schema: dict, root: dict, path: tuple) -> Iterator[Finding]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if len(value) < schema.get("minProperties", 0):
        yield path, "an empty section", "at least one key"
    for name in schema.get("required", ()):
        if name not in value:
            yield (*path, name), "nothing", expected(resolve(properties[name], root)) + "; it has no default"
    for name, item in value.items():
        if name in properties:
            yield from check(item, properties[name], root, (*path, name))
        elif isinstance(others, dict):
            yield from check(item, others, root, (*path, name))
        elif not others:
            yield (*path, name), "an unknown key", _known_key(str(name), properties, root)


def _known_key(name: str, properties: dict, root: dict) -> str:
    homes = [".".join(key) for key, _ in walk(root) if key[-1] == name]
    if homes and closest(name, properties) is None:
        return "it under " + " or ".join(home.removesuffix(f".{name}") for home in homes)
    return nearest(name, properties)


def _check_list(value: list, schema: dict, root: dict, path: tuple) -> Iterator[Finding]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        amount = (
            f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        )
        yield path, f"a list of {len(value)}", f"a list of {amount}"
    if schema.get("uniqueItems"):
        for position, item in enumerate(value):
            if item in value[:position]:
                yield (*path, position), f"{found(item)} again", "every entry once"
    for position, item in enumerate(value):
        yield from check(item, schema.get("items", {}), root, (*path, position))
