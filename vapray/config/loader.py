"""Loading of a ``Config`` from a YAML file and overrides; all problems are reported in one error."""

import copy
import difflib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vapray.config import Config
from vapray.config.dotted import value_at
from vapray.config.preset_merging import PRESET, PRESETS, Places, over_preset
from vapray.config.renamed_keys import new_path, refuse_both, rename_settings
from vapray.config.strict_yaml import parse_value, parse_yaml
from vapray.config.validation_errors import ConfigProblem, from_pydantic
from vapray.errors import ConfigError
from vapray.pretrained.model_files import HUB, is_directory

__all__ = ["COMMAND_LINE", "PRESETS", "apply_override", "load_config", "preset_of_file", "read_tree"]

CONFIGS = Path("jobs/configs")
COMMAND_LINE = "command line"
SETTINGS = "settings"


def load_config(
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    settings: Sequence[str] = (),
    preset: str | None = None,
) -> Config:
    """Read a YAML file and apply overrides.

    Args:
        file: YAML path; None gives the defaults.
        overrides: ``section.key=value`` texts of the command line; values are parsed as YAML.
        settings: ``section.key=value`` texts of an experiment; ``overrides`` take precedence.
        preset: one of ``PRESETS``, whose values the file overrides; None: the one that the file names, or none.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: with every problem found: its place, the key, the value received and the values accepted.
    """
    tree: dict[str, Any] = {}
    places: Places = {}
    unreadable: list[str] = []
    try:
        if file:
            found, lines = read_tree(Path(file).expanduser())
            tree = rename_settings(found, source=str(file))
            places = {new_path(path): place for path, place in lines.items()}
        tree = over_preset(tree, places, preset)
    except ConfigError as error:
        unreadable += str(error).splitlines()
    given = [*((one, SETTINGS) for one in settings), *((one, COMMAND_LINE) for one in overrides)]
    for override, where in given:
        try:
            refuse_both(override, [other for other, place in given if place == where], source=where)
            _apply_renamed(tree, places, override, where)
        except ConfigError as error:
            unreadable += str(error).splitlines()
    config, problems = _validate(tree, judge_together=not unreadable)
    problems += _check_paths(config)
    texts = [*unreadable, *(f"{_source_of(places, problem.keys)}: {problem.text}" for problem in problems)]
    if texts:
        raise ConfigError(texts[0] if len(texts) == 1 else "\n  ".join([f"{len(texts)} problems", *texts]))
    return config


def preset_of_file(path: Path) -> str | None:
    """Get the preset that a readable file names; None if it names none."""
    name = read_tree(path)[0].get(PRESET)
    return None if name is None else str(name)


def read_tree(path: Path) -> tuple[dict[str, Any], Places]:
    """Read a YAML file of settings, and the line of each key."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. {_nearest_file(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Fix: give a readable YAML file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Fix: save the file as UTF-8.") from None
    found, lines = parse_yaml(text, where=str(path))
    tree = {} if found is None else found
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: contains {str(tree)[:40]!r}, expected sections such as `train:`.")
    return tree, {key: f"{path}, line {line}" for key, line in lines.items()}


def _nearest_file(path: Path) -> str:
    known = sorted({str(found) for folder in (path.parent, CONFIGS) for found in folder.glob("*.yaml")})
    by_stem = {Path(found).stem: found for found in known}
    close = difflib.get_close_matches(path.stem, by_stem, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {by_stem[close[0]]}?"
    return f"Existing files: {', '.join(known[:8])}." if known else "Fix: give --config an existing YAML file."


def apply_override(tree: dict[str, Any], places: Places, override: str, where: str) -> None:
    """Set one ``section.key=value`` in ``tree``, and its origin in ``places``."""
    key, equals, value = override.partition("=")
    path = tuple(key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{where}: {override!r} is not a setting. Write section.key=value, such as train.steps=100.")
    parsed = parse_value(value, where=f"{where}, {override!r}")
    _set_value(tree, path, parsed, f"{where}: {override!r}")
    places[path] = where


def _set_value(tree: dict[str, Any], path: Sequence[str], value: Any, where: str) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: {name} is a value, not a section.")
    tree[path[-1]] = value


def _apply_renamed(tree: dict[str, Any], places: Places, override: str, where: str) -> None:
    """Apply an override under its new name."""
    given: dict[str, Any] = {}
    place: Places = {}
    apply_override(given, place, override, where)
    path = new_path(next(iter(place)))
    value = value_at(rename_settings(given, source=where), ".".join(path))
    _set_value(tree, path, value, f"{where}: {override!r}")
    places[path] = where


def _validate(tree: dict[str, Any], *, judge_together: bool) -> tuple[Config, list[ConfigProblem]]:
    """Validate the settings, with defaults in place of invalid values.

    Args:
        tree: settings as given.
        judge_together: whether to report conflicts between settings.

    Returns:
        The configuration, and the problems found.
    """
    tree = copy.deepcopy(tree)
    problems: list[ConfigProblem] = []
    while True:
        try:
            return Config.model_validate(tree), problems
        except ValidationError as error:
            found = from_pydantic(error.errors(), Config, tree)
        wrong = {key for problem in problems for key in problem.keys}
        # A conflict with a default that replaces a wrong value is no problem of its own.
        problems += [
            problem
            for problem in found
            if len(problem.keys) == 1 or (judge_together and not wrong.intersection(problem.keys))
        ]
        removed = [_remove(tree, key) for problem in found for key in problem.keys]
        if not any(removed):  # nothing is left to remove, so use the defaults for everything
            return Config(), problems or found


def _remove(tree: Any, path: Sequence[str]) -> bool:
    """Remove a key if it exists; return whether it did."""
    for name in path[:-1]:
        tree = tree.get(name, {})
    return tree.pop(path[-1], tree) is not tree


def _source_of(places: Places, keys: Sequence[tuple[str, ...]]) -> str:
    """Get the place of the given value closest to the first of the keys; an override takes precedence over the file."""
    given = [path for key in keys for path in places if key[: len(path)] == path or path[: len(key)] == key]
    closest = max(given, key=lambda path: (places[path] in (SETTINGS, COMMAND_LINE), len(path)), default=None)
    return places[closest] if closest else "defaults"


def _check_paths(config: Config) -> Iterator[ConfigProblem]:
    """Find problems of the files and folders that settings name."""
    caption = config.caption
    if caption.captions_file is not None and (complaint := _unreadable_captions(caption.captions_file)):
        yield ConfigProblem(
            (("caption", "captions_file"),), f"caption.captions_file = {caption.captions_file}: {complaint}"
        )
    if caption.prompt_set and caption.prompt_set.endswith((".yaml", ".yml")) and not os.path.isfile(caption.prompt_set):
        text = f"caption.prompt_set = {caption.prompt_set}: no such file. Fix: give an existing YAML file."
        yield ConfigProblem((("caption", "prompt_set"),), text)
    for section, settings in (("caption", caption), ("text_encoder", config.text_encoder)):
        by_name = section == "caption" and caption.captioner == "openai"
        if settings.revision and not by_name and is_directory(settings.model):
            at = f"{section}.revision = {settings.revision}: the directory {settings.model} has no revisions."
            text = f"{at} Fix: remove it, or set {section}.model={HUB}OWNER/NAME."
            yield ConfigProblem(((section, "revision"), (section, "model")), text)
    if "://" not in config.run.root and (complaint := _unwritable(Path(config.run.root).absolute())):
        yield ConfigProblem((("run", "root"),), f"run.root = {config.run.root}: {complaint}")


def _unreadable_captions(path: str) -> str | None:
    wanted = "Fix: give a UTF-8 CSV with the columns image_id and caption."
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
        return f"{there} is a file, expected a folder. Fix: choose another run.root."
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written to ({error.strerror}). Fix: choose another run.root, or make it writable."
