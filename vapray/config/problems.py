"""Readable problems from pydantic errors: the key, the value received and the values accepted."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from vapray.config import Config
from vapray.config.misfit import Misfits

__all__ = ["Problem", "explain"]

LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """Problem of a configuration.

    Attributes:
        keys: paths of the settings involved; the first is the one to fix.
        text: the problem, without the file and line of the setting.
    """

    keys: tuple[tuple[str, ...], ...]
    text: str


def explain(error: ValidationError, tree: Mapping[str, Any]) -> list[Problem]:
    """List the problems that pydantic found in ``tree``, without duplicates."""
    return list(dict.fromkeys(_problems(error, tree)))


def _problems(error: ValidationError, tree: Mapping[str, Any]) -> Iterator[Problem]:
    for found in error.errors():
        cause = found.get("ctx", {}).get("error")
        if isinstance(cause, Misfits):
            for misfit in cause.found:
                yield Problem(tuple(tuple(key.split(".")) for key in misfit.keys), misfit.text)
            continue
        path = tuple(str(part) for part in found["loc"])
        if found["type"] in ("extra_forbidden", "invalid_key"):
            yield Problem((path,), f"unknown key {'.'.join(path)}.{_nearest(path)}")
        else:
            yield _wrong_value(path, tree)


def _wrong_value(path: tuple[str, ...], tree: Any) -> Problem:
    while (section := _section_at(path[:-1])) is None:  # inside a list, the setting is the list
        path = path[:-1]
    for name in path:
        tree = tree[name]
    return Problem((path,), f"{'.'.join(path)} = {_shown(tree)}: expected {_wanted(section, path)}.")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _wanted(section: type[BaseModel], path: tuple[str, ...]) -> str:
    inner = _section(section, path[-1])
    if inner is not None:
        return f"keys below it, such as {'.'.join(path)}.{next(iter(inner.model_fields))}; remove it for the defaults"
    return _accepted(section.model_json_schema()["properties"][path[-1]])


def _accepted(schema: Mapping[str, Any]) -> str:
    """Describe the values that a field accepts, from its JSON schema."""
    if "anyOf" in schema:
        return ", or ".join(_accepted(kind) for kind in schema["anyOf"])
    if "const" in schema:
        return f"only {schema['const']}"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "prefixItems" in schema:
        items = schema["prefixItems"]
        return f"a list of {len(items)}, each {_accepted(items[0])}"
    if schema["type"] == "array":
        return f"a list, each {_accepted(schema['items'])}"
    if schema["type"] == "object":
        return f"keys of your own, each {_accepted(schema['additionalProperties'])}"
    return _NAMES[schema["type"]] + _range(schema)


_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text, in quotes where it looks like a number or a date",
    "null": "null",
}


def _range(schema: Mapping[str, Any]) -> str:
    bounds = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "multipleOf": "a multiple of {}",
    }
    parts = [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return f", {' and '.join(parts)}" if parts else ""


def _nearest(path: Sequence[str]) -> str:
    *above, leaf = path
    section = _section_at(above)
    if section is None:
        return ""
    close = difflib.get_close_matches(leaf, section.model_fields, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(section.model_fields)}."


def _section_at(path: Sequence[str]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = Config
    for name in path:
        section = _section(section, name)
    return section


def _section(parent: type[BaseModel] | None, name: str) -> type[BaseModel] | None:
    field = parent.model_fields.get(name) if parent else None
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
