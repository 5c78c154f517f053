"""JSON that means one thing: keys once, finite numbers, text that is text, no deeper than any request is."""

import json
from typing import Any, NoReturn

from serve.errors import ApiError

__all__ = ["parse_object"]

MAX_DEPTH = 8
MAX_KEYS = 100
"""Of an object."""
MAX_VALUES = 100_000
"""Of a body: reading millions of numbers, or saying what is wrong with each, would keep all clients waiting."""


def parse_object(body: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        ApiError: 400, with where it stops being one.
    """
    if not body.strip():
        raise _invalid("empty", "Send a JSON object")
    if body.count(b",") + body.count(b"[") > MAX_VALUES:
        raise _invalid(f"of more than {MAX_VALUES} values", "Send less, in several requests")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
        _check(value, MAX_DEPTH)
    except UnicodeDecodeError as error:
        raise _invalid(f"not UTF-8 at byte {error.start}", "Encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}", "Mend it there") from None
    except RecursionError:
        raise _invalid("nested too deeply", "Send one flat JSON object") from None
    except _InvalidJson as error:
        raise _invalid(error.found, error.advice) from None
    except ValueError:
        raise _invalid("a number with more digits than can be read", "Send a shorter one") from None
    if not isinstance(value, dict):
        raise _invalid(f"not a JSON object but {_kind(value)}", 'Send one such as {"prompt": "..."}')
    return value


class _InvalidJson(Exception):
    def __init__(self, found: str, advice: str) -> None:
        self.found, self.advice = found, advice


def _invalid(found: str, advice: str) -> ApiError:
    return ApiError(400, f"The request's body is {found}. {advice}.", "invalid_json")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise _InvalidJson(f"of {len(pairs)} keys in one object", "Send those that are known")
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _InvalidJson(f"unclear, the key {_printable(twice)} stands twice in one object", "Keep one")
    return found


def _reject_constant(constant: str) -> NoReturn:
    raise _InvalidJson(f"not JSON: {constant} is no number there", "Send a finite number")


def _check(value: Any, levels: int) -> None:
    """Refuse depth, and halves of characters, which no answer and no log could hold."""
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
        raise _InvalidJson("not Unicode text: it has one half of a surrogate pair", "Send both or none") from None


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:64]


def _kind(value: Any) -> str:
    names = {list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
