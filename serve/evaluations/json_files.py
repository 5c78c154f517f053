"""JSON objects in files of the state folder."""

import json
from collections.abc import Mapping
from typing import Any

from vapray.store.files import FileStore

__all__ = ["read_json", "to_json"]


def read_json(files: FileStore, name: str) -> dict[str, Any] | None:
    """Read a JSON object; None if the file is missing or damaged."""
    try:
        return dict(json.loads(files.read(name) or b"null"))
    except (ValueError, TypeError):
        return None


def to_json(value: Mapping[str, Any]) -> bytes:
    """Serialize a JSON object."""
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()
