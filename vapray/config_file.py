"""A YAML file and overrides become a ``Config``; every problem is reported in one error."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from vapray.config import Config
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["load"]


def load(file: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply overrides.

    Args:
        file: YAML path; None gives the defaults, which are the demo.
        overrides: ``section.key=value``; values are read as YAML.

    Raises:
        ConfigError: with every problem found, the key, the value seen and what is accepted.
    """
    where = str(file) if file else "defaults"
    tree = _read(Path(file)) if file else {}
    for override in overrides:
        _apply(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(where, error))) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give --config an existing file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
    tree = parse_yaml(text, where=str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: holds {type(tree).__name__}, wanted sections such as `train:`.")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: wanted section.key=value, for example train.steps=100.")
    *path, leaf = key.split(".")
    for name in path:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"override {override!r}: {name} is a value, not a section.")
    tree[leaf] = parse_yaml(value, where=f"override {override!r}")


def _explain(where: str, error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"{where}: unknown key {key}.{_nearest(problem['loc'])}"
        elif key:
            yield f"{where}: {key} = {problem['input']!r}: {_plain(problem['msg'])}."
        else:
            yield f"{where}: {_plain(problem['msg'])}."


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "wanted")


def _nearest(location: Iterable[Any]) -> str:
    *path, leaf = map(str, location)
    section: type[BaseModel] | None = Config
    for name in path:
        section = _section(section, name)
    if section is None:
        return ""
    close = difflib.get_close_matches(leaf, section.model_fields, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(section.model_fields)}."


def _section(parent: type[BaseModel] | None, name: str) -> type[BaseModel] | None:
    field = parent.model_fields.get(name) if parent else None
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
