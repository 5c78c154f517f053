"""A YAML file and overrides become a ``Config``; every problem is reported in one error."""

import copy
import difflib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vapray.config import Config
from vapray.config.problems import Problem, explain
from vapray.errors import ConfigError
from vapray.model_files import HUB, is_directory
from vapray.strict_yaml import parse_yaml

__all__ = ["COMMAND_LINE", "apply_override", "load", "read_tree"]

CONFIGS = Path("jobs/configs")
COMMAND_LINE = "command line"
SETTINGS = "settings"

Places = dict[tuple[str, ...], str]
"""Path of a key -> where its value was given."""


def load(file: str | Path | None = None, overrides: Sequence[str] = (), settings: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply overrides.

    Args:
        file: YAML path; None gives the defaults, which are the demo.
        overrides: ``section.key=value`` of the command line; values are read as YAML.
        settings: the same of an experiment, below those of the command line.

    Raises:
        ConfigError: with every problem found, where it stands, the key, the value seen and what is accepted.
    """
    tree: dict[str, Any] = {}
    places: Places = {}
    unreadable: list[str] = []
    try:
        if file:
            tree, places = read_tree(Path(file))
    except ConfigError as error:
        unreadable += str(error).splitlines()
    given = [*((one, SETTINGS) for one in settings), *((one, COMMAND_LINE) for one in overrides)]
    for override, where in given:
        try:
            apply_override(tree, places, override, where)
        except ConfigError as error:
            unreadable += str(error).splitlines()
    config, problems = _validate(tree, judge_together=not unreadable)
    problems += _outside(config)
    texts = [*unreadable, *(f"{_place(places, problem.keys)}: {problem.text}" for problem in problems)]
    if texts:
        raise ConfigError(texts[0] if len(texts) == 1 else "\n  ".join([f"{len(texts)} problems", *texts]))
    return config


def read_tree(path: Path) -> tuple[dict[str, Any], Places]:
    """Read a YAML file of settings, and the line of each key."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. {_nearest_file(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give --config a YAML file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
    found, lines = parse_yaml(text, where=str(path))
    tree = {} if found is None else found
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: holds {str(tree)[:40]!r}, wanted sections such as `train:`.")
    return tree, {key: f"{path}, line {line}" for key, line in lines.items()}


def _nearest_file(path: Path) -> str:
    known = sorted({str(found) for folder in (path.parent, CONFIGS) for found in folder.glob("*.yaml")})
    by_stem = {Path(found).stem: found for found in known}
    close = difflib.get_close_matches(path.stem, by_stem, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {by_stem[close[0]]}?"
    return f"There are: {', '.join(known[:8])}." if known else "Give --config an existing YAML file."


def apply_override(tree: dict[str, Any], places: Places, override: str, where: str) -> None:
    """Set one ``section.key=value`` in ``tree``, and its origin in ``places``."""
    key, equals, value = override.partition("=")
    path = tuple(key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{where}: {override!r} is no setting. Write section.key=value, such as train.steps=100.")
    parsed, _ = parse_yaml(value, where=f"{where}, {override!r}")
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: {override!r}: {name} is a value, not a section.")
    tree[path[-1]] = parsed
    places[path] = where


def _validate(tree: dict[str, Any], *, judge_together: bool) -> tuple[Config, list[Problem]]:
    """The configuration, defaults standing in for what is wrong, and what is wrong.

    Args:
        tree: what was given.
        judge_together: whether to report settings that do not fit together.
    """
    tree = copy.deepcopy(tree)
    problems: list[Problem] = []
    while True:
        try:
            return Config.model_validate(tree), problems
        except ValidationError as error:
            found = explain(error, tree)
        wrong = {key for problem in problems for key in problem.keys}
        # A default that stands in for a wrong value contradicts nobody.
        problems += [
            problem
            for problem in found
            if len(problem.keys) == 1 or (judge_together and not wrong.intersection(problem.keys))
        ]
        removed = [_remove(tree, key) for problem in found for key in problem.keys]
        if not any(removed):  # nothing left to take out: the defaults stand in for all of it
            return Config(), problems or found


def _remove(tree: Any, path: Sequence[str]) -> bool:
    """Take a key out, if it is there."""
    for name in path[:-1]:
        tree = tree.get(name, {})
    return tree.pop(path[-1], tree) is not tree


def _place(places: Places, keys: Sequence[tuple[str, ...]]) -> str:
    """Where the closest to the first of the keys stands that was given at all; an override wins over the file."""
    given = [path for key in keys for path in places if key[: len(path)] == path or path[: len(key)] == key]
    closest = max(given, key=lambda path: (places[path] in (SETTINGS, COMMAND_LINE), len(path)), default=None)
    return places[closest] if closest else "defaults"


def _outside(config: Config) -> Iterator[Problem]:
    """What cannot be known from the settings alone: files and folders that they name."""
    caption = config.caption
    if caption.captions is not None and (complaint := _unreadable_captions(caption.captions)):
        yield Problem((("caption", "captions"),), f"caption.captions = {caption.captions}: {complaint}")
    if caption.prompt_set and caption.prompt_set.endswith((".yaml", ".yml")) and not os.path.isfile(caption.prompt_set):
        text = f"caption.prompt_set = {caption.prompt_set}: no such file. Give an existing YAML file."
        yield Problem((("caption", "prompt_set"),), text)
    for section, settings in (("caption", caption), ("bank", config.bank)):
        by_name = section == "caption" and caption.captioner == "openai"
        if settings.revision and not by_name and is_directory(settings.model):
            at = f"{section}.revision = {settings.revision}: the directory {settings.model} has none."
            text = f"{at} Remove it, or give {section}.model={HUB}OWNER/NAME."
            yield Problem(((section, "revision"), (section, "model")), text)
    if "://" not in config.run.root and (complaint := _unwritable(Path(config.run.root).absolute())):
        yield Problem((("run", "root"),), f"run.root = {config.run.root}: {complaint}")


def _unreadable_captions(path: str) -> str | None:
    wanted = "Give a UTF-8 CSV with the columns image_id and caption."
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = [cell.strip().strip('"') for cell in file.readline().split(",")]
    except OSError as error:
        return f"cannot be read ({error.strerror}). {wanted}"
    except UnicodeDecodeError:
        return f"not UTF-8. {wanted}"
    missing = [column for column in ("image_id", "caption") if column not in header]
    return f"no column {' or '.join(missing)}; its header is {','.join(header)[:80]!r}. {wanted}" if missing else None


def _unwritable(root: Path) -> str | None:
    there = next(folder for folder in (root, *root.parents) if os.path.exists(folder))
    if not os.path.isdir(there):
        return f"{there} is a file, wanted a folder. Choose another run.root."
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written to ({error.strerror}). Choose another run.root, or make it writable."
