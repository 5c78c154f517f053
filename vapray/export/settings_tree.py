"""Settings out of JSON, read as those of a config are."""

import json
from types import SimpleNamespace
from typing import Any

__all__ = ["settings_tree"]


def settings_tree(settings: Any) -> Any:
    """Nested mappings as nested attributes."""
    return json.loads(json.dumps(settings), object_hook=lambda section: SimpleNamespace(**section))
