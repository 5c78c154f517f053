"""Strict JSON parser: unique keys, finite numbers, valid Unicode, limited depth and size."""

import json
from typing import Any, NoReturn

from serve.errors import ApiError

__all__ = ["parse_object"]

MAX_DEPTH = 8
MAX_KEYS = 100
"""Maximum number of keys of an object."""
MAX_VALUES = 100_000
"""Maximum number of values of a body: validating millions of values would block all clients."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse the JSON object of a request.

    Raises:
        ApiError: 400, with the position of the problem.
    """
    if not body.strip():
        raise _invalid("empty", "Send a JSON object")
    if body.count(b",") + body.count(b"[") > MAX_VALUES:
        raise _invalid(f"of more than {MAX_VALUES} values", "Split it into several requests")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
        _check(value, MAX_DEPTH)
    except UnicodeDecodeError as error:
        raise _invalid(f"not UTF-8 at byte {error.start}", "Encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _invalid(
            f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}", "Fix the syntax"
        ) from None
    except RecursionError:
        raise _invalid("nested too deeply", "Send one flat JSON object") from None
    except _InvalidJson as error:
        raise _invalid(error.problem, error.fix) from None
    except ValueError:
        raise _invalid("not readable: a number has more digits than supported", "Shorten it") from None
    if not isinstance(value, dict):
        raise _invalid(f"not a JSON object but {_kind(value)}", 'Send one such as {"prompt": "..."}')
    return value


class _InvalidJson(Exception):
    def __init__(self, problem: str, fix: str) -> None:
        self.problem, self.fix = problem, fix


def _invalid(problem: str, fix: str) -> ApiError:
    return ApiError(400, f"The request body is {problem}. {fix}.", "invalid_json")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise _InvalidJson(f"of {len(pairs)} keys in one object", f"At most {MAX_KEYS} are accepted")
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise _InvalidJson(f"ambiguous: the key {_printable(duplicate)} occurs twice in one object", "Remove one")
    return found


def _reject_constant(constant: str) -> NoReturn:
    raise _InvalidJson(f"not JSON: {constant} is not a JSON number", "Send a finite number")


def _check(value: Any, levels: int) -> None:
    """Reject deep nesting, and lone surrogates, which cannot be encoded."""
    if isinstance(value, str):
        if not value.isascii():
            _check_unicode(value)
    elif isinstance(value, dict | list):
        if not levels:
            raise RecursionError
        if isinstance(value, dict):
            for name in value:
                _check_unicode(name)
        for part in value.values() if isinstance(value, dict) else value:
            _check(part, levels - 1)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _InvalidJson("not Unicode text: it has a lone surrogate", "Send both surrogates of the pair") from None


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:64]


def _kind(value: Any) -> str:
    names = {list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
