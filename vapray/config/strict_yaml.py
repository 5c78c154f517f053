"""Strict YAML parser: 1e-4 is a number, a date is text, and duplicate keys, tags, anchors and aliases are errors."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from vapray.errors import ConfigError

__all__ = ["Lines", "parse_value", "parse_yaml"]

Lines = dict[tuple[str, ...], int]
"""Line of each key, from 1, by its path."""


def parse_yaml(text: str, *, where: str) -> tuple[Any, Lines]:
    """Parse one document.

    Args:
        text: YAML text.
        where: Origin of the text, for errors.

    Returns:
        Plain Python values, or None for an empty document; and the lines of its keys.

    Raises:
        ConfigError: the text is not YAML, or has duplicate keys, tags, anchors or aliases; lists all of them.
    """
    problems: list[str] = []
    try:
        loader = _StrictLoader(text, problems)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        if not problems:
            return loader.construct_document(node), dict(_lines(node, ()))
    except yaml.YAMLError as error:
        problems.append(f"{_describe(error)}. Fix: check brackets and quotes, and indent with spaces.")
    except RecursionError:
        problems.append("nested too deeply. Accepted: sections of keys and values.")
    except (ValueError, TypeError) as error:
        problems.append(f"invalid value ({error}). Fix: put text in quotes.")
    raise ConfigError("\n".join(f"{where}, {problem}" for problem in problems))


def parse_value(text: str, *, where: str) -> Any:
    """Parse a value of the command line, where ``#`` begins no comment: ``runs/exp #3`` is one text.

    Raises:
        ConfigError: as for :func:`parse_yaml`; and for ``#`` after a list or a text in quotes.
    """
    value, _ = parse_yaml(text, where=where)
    if not re.search(r"(^|\s)#", text):
        return value
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None or not text[node.end_mark.index :].strip():
        return value if node else text.strip()
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        return text.strip()
    raise ConfigError(f"{where}: text after the value. Fix: put the whole value in quotes, or remove the text.")


class _StrictLoader(yaml.SafeLoader):
    def __init__(self, text: str, problems: list[str]) -> None:
        self._problems = problems
        super().__init__(text)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        if getattr(event, "anchor", None) is not None and not isinstance(event, yaml.AliasEvent):
            self._refuse(event.start_mark, "anchors and aliases are not accepted: write the value out")
        if getattr(event, "tag", None) is not None:
            self._refuse(event.start_mark, f"the tag {_short(event.tag)} is not accepted: write a plain value")
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key.start_mark, "a key must be a scalar")
                continue
            key.tag = "tag:yaml.org,2002:str"  # keys are taken literally: `on`, `1` and `<<` have no special meaning
            if key.value in first:
                self._refuse(key.start_mark, f"duplicate key {key.value}, first on line {first[key.value]}: keep one")
            else:
                first[key.value] = key.start_mark.line + 1
        return node

    def _refuse(self, mark: yaml.Mark, problem: str) -> None:
        self._problems.append(f"{_place(mark)}: {problem}.")


# PyYAML follows YAML 1.1, where 2024-11-22 is a date, and 1e-4 lacks a dot and is a string. The copy also keeps changes
# that other libraries make to SafeLoader out of here.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)


def _lines(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))


def _describe(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f"not YAML: {str(error).splitlines()[0]}"
    return f"{_place(error.problem_mark)}: not YAML, {error.problem}"


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
