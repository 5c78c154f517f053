"""Hints for unknown keys: the closest key of the same section, or all of its keys."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

__all__ = ["key_hint"]

MAX_LENGTH = 64
"""Characters of a key that are compared."""


def key_hint(root: type[BaseModel], path: Sequence[int | str]) -> str:
    """Suggest a known key in place of an unknown one.

    Args:
        root: Model of the tree.
        path: Keys and list indices from the root to the unknown key, as in the ``loc`` of a Pydantic error.
    """
    known = _section_at(root, path[:-1]).model_fields
    close = difflib.get_close_matches(str(path[-1])[:MAX_LENGTH], known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}."


def _section_at(root: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    section = root
    for name in path:
        if isinstance(name, str):
            classes = _classes(section.model_fields[name].annotation)
            section = next(found for found in classes if issubclass(found, BaseModel))
    return section


def _classes(annotation: Any) -> list[type]:
    """List the classes that an annotation consists of."""
    inner = [found for part in get_args(annotation) for found in _classes(part)]
    return [annotation, *inner] if isinstance(annotation, type) else inner
