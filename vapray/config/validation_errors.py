"""Readable problems from Pydantic errors: the key, the value received and the values accepted."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, ValidationError

from vapray.config.conflict import ConfigConflicts
from vapray.errors import ConfigError

__all__ = ["ConfigProblem", "from_pydantic", "key_hint", "validate"]

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[int | str, ...]
"""Keys and list indices from the root, as in the ``loc`` of a Pydantic error."""

MAX_NAME_LENGTH, MAX_VALUE_LENGTH = 64, 80


@dataclass(frozen=True)
class ConfigProblem:
    """Problem of a configuration.

    Attributes:
        keys: paths of the settings involved; the first is the one to fix.
        text: the problem, without the file and line of the setting.
        kind: whether the key is unknown or missing, or its value is wrong.
    """

    keys: tuple[tuple[str, ...], ...]
    text: str
    kind: Literal["unknown", "missing", "invalid"] = "invalid"


def show_value(_: Path, value: Any) -> str:
    """Show a received value by its first characters."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}..."


def validate(model: type[Model], tree: Any, *, source: str, shown: Callable[[Path, Any], str] = show_value) -> Model:
    """Validate a tree of settings.

    Args:
        model: model of the tree.
        tree: settings, as parsed.
        source: file or argument that they come from, for errors.
        shown: text of a received value in errors, given its path.

    Raises:
        ConfigError: the tree is invalid; with all problems.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        texts = [problem.text for problem in from_pydantic(error.errors(), model, tree, shown)]
        raise ConfigError(f"{source}: {texts[0]}" if len(texts) == 1 else "\n  ".join([f"{source}:", *texts])) from None


def from_pydantic(
    errors: Iterable[Mapping[str, Any]],
    model: type[BaseModel],
    tree: Any,
    shown: Callable[[Path, Any], str] = show_value,
) -> list[ConfigProblem]:
    """Convert Pydantic errors to problems, without duplicates.

    Args:
        errors: ``errors()`` of a validation error.
        model: model of the tree.
        tree: settings, as parsed; None: problems name the entry of a list instead of the list.
        shown: text of a received value, given its path.
    """
    found = [*errors]
    paths = [error["loc"] for error in found]
    return list(
        dict.fromkeys(
            problem
            for error in found
            # An invalid entry of a list also counts as a missing one.
            if error["type"] != "too_short" or not any(_lies_below(path, error["loc"]) for path in paths)
            for problem in _problems(error, model, tree, shown)
        )
    )


def key_hint(model: type[BaseModel], name: object) -> str:
    """Suggest the field of a model that is closest to an unknown key, or list all fields."""
    close = difflib.get_close_matches(str(name)[:MAX_NAME_LENGTH], model.model_fields, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(model.model_fields)}."


def _lies_below(path: Path, above: Path) -> bool:
    return len(path) > len(above) and path[: len(above)] == above


def _problems(
    error: Mapping[str, Any], model: type[BaseModel], tree: Any, shown: Callable[[Path, Any], str]
) -> Iterator[ConfigProblem]:
    path: Path = error["loc"]
    if path[-1:] == ("[key]",):  # a key of a mapping with keys of one's own: the setting is the mapping
        path = path[:-2]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ConfigConflicts):
        for conflict in cause.found:
            yield ConfigProblem(tuple(tuple(key.split(".")) for key in conflict.keys), conflict.text)
        return
    section, depth = _innermost(model, path)
    if error["type"] in ("extra_forbidden", "invalid_key"):
        hint = key_hint(section, path[-1]) if depth == len(path) - 1 else ""
        yield ConfigProblem((_names(path),), f"unknown key {_dotted(path)}. {hint}".rstrip(), "unknown")
        return
    setting = path[: depth + 1]
    if tree is None and isinstance(next(iter(path[depth + 1 :]), None), int):
        setting = path[: depth + 2]
    name = _dotted(setting)
    if error["type"] == "missing" and setting == path:
        yield ConfigProblem((_names(setting),), f"{name} is missing.", "missing")
    elif cause is not None:
        yield ConfigProblem((_names(setting),), f"{name}: {cause}.".removeprefix(": "))
    else:
        try:
            received = error["input"] if tree is None else reduce(getitem, setting, tree)
        except (LookupError, TypeError):  # the path of a union ends with its member, which is not in the tree
            setting, received = setting[:-1], error["input"]
            name = _dotted(setting)
        value = shown(setting, received)
        wanted = _wanted(section, setting, depth) or error["msg"][:1].lower() + error["msg"][1:]
        is_unquoted = error["type"] == "string_type" and isinstance(received, int | float)
        hint = " Fix: put it in quotes." if is_unquoted else ""
        yield ConfigProblem((_names(setting),), f"{name or 'top level'}{value and f' = {value}'}: {wanted}.{hint}")


def _names(path: Path) -> tuple[str, ...]:
    return tuple(map(str, path))


def _dotted(path: Path) -> str:
    return ".".join(str(part)[:MAX_NAME_LENGTH] for part in path)


def _innermost(model: type[BaseModel], path: Path) -> tuple[type[BaseModel], int]:
    """Find the innermost model on a path, and the number of parts of the path that lead to it."""
    depth = at = 0
    while at < len(path) and (field := model.model_fields.get(str(path[at]))):
        inner, steps = _model_of(field.annotation)
        at += steps
        if inner is None or at > len(path):
            break
        model, depth = inner, at
    return model, depth


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, int]:
    """Find the model in an annotation, and the number of parts of a path that lead to it: one more in a container."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, 1
    for part in get_args(annotation):
        model, steps = _model_of(part)
        if model is not None:
            return model, steps + (get_origin(annotation) in (dict, list, tuple))
    return None, 1


def _wanted(section: type[BaseModel], path: Path, depth: int) -> str:
    if depth == len(path):
        first = _dotted((*path, next(iter(section.model_fields))))
        return f"expected keys below it, such as {first}; remove it for the defaults" if path else f"expected {first}"
    try:
        schema = section.model_json_schema()["properties"][str(path[depth])]
        if depth < len(path) - 1:
            schema = next(kind["items"] for kind in schema.get("anyOf", [schema]) if "items" in kind)
        return f"expected {_accepted(schema)}"
    except (KeyError, StopIteration, PydanticUserError):  # not described here, such as a union of models
        return ""


def _accepted(schema: Mapping[str, Any]) -> str:
    """Describe the values that a field accepts, from its JSON schema."""
    if "anyOf" in schema:
        return ", or ".join(_accepted(kind) for kind in schema["anyOf"])
    if "$ref" in schema:
        return "a mapping"
    if "const" in schema:
        return f"only {schema['const']}"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "prefixItems" in schema:
        items = schema["prefixItems"]
        return f"a list of {len(items)}, each {_accepted(items[0])}"
    if schema["type"] == "array":
        least = f" of at least {schema['minItems']}" if "minItems" in schema else ""
        return f"a list{least}, each {_accepted(schema['items'])}"
    if schema["type"] == "object":
        known = schema.get("propertyNames", {}).get("enum")
        keys = f"from {', '.join(known)}" if known else "of your own"
        values = schema["additionalProperties"]
        anything = values is True or values.get("$ref") == "#/$defs/JsonValue"
        return f"keys {keys}" if anything else f"keys {keys}, each {_accepted(values)}"
    return _NAMES[schema["type"]] + _range(schema)


_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


def _range(schema: Mapping[str, Any]) -> str:
    bounds = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "multipleOf": "a multiple of {}",
        "minLength": "not empty",
        "maxLength": "of at most {} characters",
        "pattern": "that matches {}",
    }
    parts = [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return f", {' and '.join(parts)}" if parts else ""
