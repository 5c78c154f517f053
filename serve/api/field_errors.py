"""Validation errors of requests; one API error lists all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from serve.errors import ApiError
from vapray.config.section import ConfigSection
from vapray.config.validation_errors import from_pydantic

__all__ = ["FieldError", "field_errors", "raise_field_errors"]

MAX_NAME_LENGTH, MAX_VALUE_LENGTH = 64, 40
CODES = {"unknown": "unknown_parameter", "missing": "missing_required_parameter", "invalid": "invalid_value"}
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


def field_errors(errors: Sequence[Mapping[str, Any]], models: Mapping[str, type[BaseModel]]) -> list[FieldError]:
    """Convert Pydantic errors, the first one of each field.

    Args:
        errors: Errors of a ``RequestValidationError``.
        models: Models of ``body`` and ``query``.
    """
    found: dict[str, FieldError] = {}
    for source in dict.fromkeys(error["loc"][0] for error in errors):
        of_source = [{**error, "loc": error["loc"][1:]} for error in errors if error["loc"][0] == source]
        for problem in from_pydantic(of_source, models.get(source, ConfigSection), None, _shown):
            name = ".".join(problem.keys[0])[:MAX_NAME_LENGTH]
            found.setdefault(name, FieldError(name, problem.text, CODES[problem.kind]))
    return [*found.values()]


def _shown(path: Sequence[int | str], value: Any) -> str:
    """Show a value, unless it is the client's own text."""
    if {*path[:1]} & FREE_TEXT or isinstance(value, dict | list):
        return ""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text[:MAX_VALUE_LENGTH]
