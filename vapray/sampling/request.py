"""Validation of sampling requests before any computation."""

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

from vapray.errors import ConfigError

__all__ = ["MAX_IMAGES", "label_index", "validate_request"]

MAX_IMAGES = 1000
"""Maximum number of images per call, which holds all of them in memory."""


def validate_request(label: Any, caption: Any, seed: Any, n: Any, class_names: Sequence[str]) -> None:
    """Validate the arguments of a sampling request.

    Raises:
        ConfigError: arguments are invalid; lists all problems with the accepted values.
    """
    if problems := list(_problems(label, caption, seed, n, class_names)):
        raise ConfigError("\n".join(problems))


def label_index(label: Any, class_names: Sequence[str]) -> int | None:
    """Index of a class given by name or index; None for an unknown class."""
    if isinstance(label, str):
        return class_names.index(label) if label in class_names else None
    return int(label) if _is_whole(label) and 0 <= label < len(class_names) else None


def _problems(label: Any, caption: Any, seed: Any, n: Any, class_names: Sequence[str]) -> Iterator[str]:
    if label_index(label, class_names) is None:
        yield f"unknown class {label!r}. Accepted: {', '.join(class_names)} (0..{len(class_names) - 1})."
    if not _is_whole(n) or n < 1:
        yield f"n = {n!r}: invalid. Accepted: an integer, at least 1."
    elif n > MAX_IMAGES:
        yield f"n = {n}: too large. Accepted: at most {MAX_IMAGES}; call again with seed + {MAX_IMAGES}."
    if not _is_whole(seed) or not 0 <= seed < 2**63 - MAX_IMAGES:
        yield f"seed = {seed!r}: invalid. Accepted: an integer, at least 0 and below 2**63 - {MAX_IMAGES}."
    if caption is not None and not _is_text(caption):
        yield f"caption = {caption!r}: invalid. Accepted: text that UTF-8 can encode, or None to draw one."


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
