"""Validation errors of requests; one API error lists all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from serve.errors import ApiError
from vapray.config.key_hints import key_hint

__all__ = ["FieldError", "from_pydantic", "raise_field_errors"]

MAX_NAME_LENGTH, MAX_VALUE_LENGTH = 64, 40
CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
FREE_TEXT = {"prompt", "caption", "user", "image", "images"}


@dataclass(frozen=True)
class FieldError:
    """Error of one field."""

    param: str
    """Field of the body or query."""
    text: str
    """Value received and values accepted."""
    code: str = "invalid_value"
    """Machine-readable code."""


def raise_field_errors(errors: Iterable[FieldError]) -> None:
    """Raise one API error for all field errors, if there are any.

    Raises:
        ApiError: 400; ``param`` and ``code`` are those of the first field error.
    """
    if found := [*errors]:
        raise ApiError(400, " ".join(error.text for error in found), found[0].code, found[0].param)


def from_pydantic(errors: Sequence[Mapping[str, Any]], models: Mapping[str, type[BaseModel]]) -> list[FieldError]:
    """Convert Pydantic errors, the first one of each field.

    Args:
        errors: Errors of a ``RequestValidationError``.
        models: Models of ``body`` and ``query``.
    """
    found = {error.param: error for error in (_field_error(one, models) for one in reversed(errors))}
    return [*found.values()][::-1]


def _field_error(found: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> FieldError:
    source, *path = found["loc"]
    if "label" in path:  # Pydantic appends the member of the union
        path = path[: path.index("label") + 1]
    name, code = ".".join(map(str, path))[:MAX_NAME_LENGTH], CODES.get(found["type"], "invalid_value")
    if code == "unknown_parameter":
        return FieldError(name, f"Unknown field {name}. {key_hint(models[source], path)}", code)
    if code == "missing_required_parameter":
        return FieldError(name, f"{name} is missing.", code)
    accepted = "expected the name or number of a class" if path[-1] == "label" else _lower(found["msg"])
    return FieldError(name, f"{name}{_shown(path[0], found['input'])}: {accepted}.", code)


def _shown(field: int | str, value: Any) -> str:
    """Show a value, unless it is the client's own text."""
    if field in FREE_TEXT or isinstance(value, dict | list):
        return ""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return f" = {text[:MAX_VALUE_LENGTH]}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
