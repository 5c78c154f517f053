"""What is wrong with a request, in words: all of it in one error."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from serve.errors import ApiError

__all__ = ["FieldError", "from_pydantic", "raise_field_errors"]

LONGEST_NAME, LONGEST_VALUE = 64, 40
CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
FREE_TEXT = {"prompt", "caption", "user", "image", "images"}


@dataclass(frozen=True)
class FieldError:
    """One thing to mend."""

    param: str
    """Field of the body or query."""
    text: str
    """What is wrong, and what is accepted."""
    code: str = "invalid_value"
    """For programs."""


def raise_field_errors(problems: Sequence[FieldError]) -> None:
    """Raise one error for all of them, if there are any.

    Raises:
        ApiError: 400; ``param`` and ``code`` are those of the first.
    """
    if problems:
        first = problems[0]
        raise ApiError(400, " ".join(problem.text for problem in problems), first.code, first.param)


def from_pydantic(errors: Iterable[Mapping[str, Any]], models: Mapping[str, type[BaseModel]]) -> list[FieldError]:
    """What pydantic found, each field once.

    Args:
        errors: of a ``RequestValidationError``.
        models: of ``body`` and ``query``, where there is one.
    """
    problems = {problem.param: problem for problem in (_problem(found, models) for found in reversed([*errors]))}
    return [*problems.values()][::-1]


def _problem(found: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> FieldError:
    place, *parts = found["loc"]
    path = [str(part) for part in parts]
    if "label" in path:  # where pydantic goes on to tell both kinds that it can be
        path = path[: path.index("label") + 1]
    name, code = ".".join(path)[:LONGEST_NAME], CODES.get(found["type"], "invalid_value")
    if code == "unknown_parameter":
        return FieldError(name, f"Unknown field {name}.{_nearest(path, models[place])}", code)
    if code == "missing_required_parameter":
        return FieldError(name, f"{name} is missing.", code)
    if path[-1] == "label":
        return FieldError(
            name, f"{name}{_shown(name, found['input'])}: wanted the name or the number of a class.", code
        )
    return FieldError(name, f"{name}{_shown(path[0], found['input'])}: {_lower(found['msg'])}.", code)


def _shown(field: str, value: Any) -> str:
    """A value that is no text of the client's own."""
    if field in FREE_TEXT or isinstance(value, dict | list):
        return ""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return f" = {text[:LONGEST_VALUE]}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _nearest(path: Sequence[str], model: type[BaseModel]) -> str:
    for name in path[:-1]:
        kinds = get_args(model.model_fields[name].annotation)
        model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    close = difflib.get_close_matches(path[-1][:LONGEST_NAME], model.model_fields, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(model.model_fields)}."
