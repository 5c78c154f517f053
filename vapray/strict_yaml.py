"""YAML as people mean it: 1e-4 is a number, a key stands once, and no tag or alias does anything."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from vapray.errors import ConfigError

__all__ = ["parse_yaml"]


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse one document.

    Returns:
        Plain Python values; an empty document is ``{}``.

    Raises:
        ConfigError: not YAML, a duplicate key, a tag, an anchor or an alias.
    """
    try:
        tree = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {_describe(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: not a value that YAML can hold ({error}).") from None
    return {} if tree is None else tree


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.constructor.ConstructorError(
                None, None, "anchors and aliases are not accepted: write the value out", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands twice: keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# PyYAML follows YAML 1.1, where 1e-4 lacks a dot and is a text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)


def _describe(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    mark = error.problem_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{error.problem}."
