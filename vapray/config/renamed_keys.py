"""Renamed settings; an old key or value works until version 0.3 and prints its new name."""

import copy
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from vapray.errors import ConfigError

__all__ = [
    "EXPERIMENT_KEYS",
    "RENAMED_KEYS",
    "RENAMED_VALUES",
    "SERVICE_KEYS",
    "apply_renamed_keys",
    "new_key",
    "new_path",
    "refuse_both",
    "rename_dotted",
    "rename_message",
    "rename_settings",
    "warn_once",
]

RENAMED_KEYS = {
    "bank": "text_encoder",
    "audit": "caption_audit",
    "pools.*.overlap": "pools.*.max_concurrency",
    "run.max_bad_fraction": "run.max_reject_fraction",
    "caption.captions": "caption.captions_file",
    "caption.corrupted": "caption.corruption_rate",
    "caption.json_answers": "caption.structured_output",
    "caption.image_side": "caption.image_size",
    "train.recompute": "train.activation_checkpointing",
    "train.accumulate_steps": "train.gradient_accumulation_steps",
    "train.report_every": "train.log_every",
    "train.class_balancing": "train.cbdm_weight",
    "train.balance_classes": "train.class_balanced_sampling",
    "train.drop_probability": "train.condition_dropout",
    "train.decay": "train.lr_schedule",
    "train.max_gradient_norm": "train.max_grad_norm",
    "train.shuffled_captions": "train.caption_shuffle_fraction",
    "model.prototypes.instead": "model.prototypes.replacement",
    "sample.texts": "sample.caption_split",
    "sample.bank": "sample.caption_run",
    "sample.bank_classes": "sample.caption_class_map",
    "sample.labels": "sample.class_distribution",
    "sample.null_rows": "sample.split_unconditional",
    "evaluate.neighbours": "evaluate.nearest_k",
    "evaluate.halves": "evaluate.half_samples",
    "evaluate.resamples": "evaluate.bootstrap_samples",
    "evaluate.control_rounds": "evaluate.shuffle_rounds",
    "evaluate.pixels": "evaluate.preprocessing",
}
"""Old and new keys of the configuration; none is nested deeper than its new name."""

RENAMED_VALUES: Mapping[str, Mapping[str, Any]] = {
    "caption.captioner": {"given": "precomputed", "drawn": "ground_truth"},
    "sample.split_unconditional": {"together": False, "apart": True},
}
"""Old and new values, by the new key."""

EXPERIMENT_KEYS = {
    "rows": "arms",
    "measures": "evaluators",
    "numbers": "metrics",
    "contrasts.*.first": "contrasts.*.baseline",
    "contrasts.*.second": "contrasts.*.treatment",
    "contrasts.*.number": "contrasts.*.metric",
}
"""Old and new keys of an experiment."""

SERVICE_KEYS = {
    "keys": "api_keys_file",
    "state": "state_dir",
    "docs": "openapi",
    "limits.body_seconds": "limits.body_timeout_s",
    "models.*.max_waiting": "models.*.max_queued_requests",
}
"""Old and new keys of the service's ``args``."""

Path = tuple[str, ...]

_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Print a message of the form ``SOURCE: OLD was renamed to NEW.`` to standard error, once per process and name."""
    renaming = message.rpartition(": ")[2]
    if renaming not in _warned:
        _warned.add(renaming)
        print(message, file=sys.stderr, flush=True)


def new_path(path: Path) -> Path:
    """Return the present path of a setting, which is ``path`` itself if it was not renamed."""
    for old, new in RENAMED_KEYS.items():
        pattern = old.split(".")
        if len(path) >= len(pattern) and all(part in ("*", name) for part, name in zip(pattern, path, strict=False)):
            return (*_fill(new, path[: len(pattern)], old), *path[len(pattern) :])
    return path


def new_key(key: str) -> str:
    """Return the present dotted key of a setting."""
    return ".".join(new_path(tuple(key.split("."))))


def rename_settings(tree: dict[str, Any], *, source: str, warn: Callable[[str], None] = warn_once) -> dict[str, Any]:
    """Replace old keys and values in a configuration.

    Args:
        tree: Sections of settings, as in a file.
        source: Place that the tree was read from, for messages.
        warn: Receives one message for each old name in use.

    Returns:
        A copy of the tree with new names only.

    Raises:
        ConfigError: An old key and its new name are both set.
    """
    result = apply_renamed_keys(tree, RENAMED_KEYS, source=source, warn=warn)
    for key in RENAMED_VALUES:
        section, name = key.split(".")
        settings = result.get(section)
        if isinstance(settings, dict) and name in settings:
            settings[name] = _new_value(key, settings[name], source, warn)
    return result


def rename_dotted(
    settings: Mapping[str, Any], *, source: str, warn: Callable[[str], None] = warn_once
) -> dict[str, Any]:
    """Replace old keys and values in settings by dotted key; else as :func:`rename_settings`."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        name = new_key(key)
        if name != key:
            if name in settings:
                raise _both_set(key, name, source)
            warn(rename_message(key, name, source))
        result[name] = _new_value(name, value, source, warn)
    return result


def refuse_both(override: str, others: Collection[str], *, source: str) -> None:
    """Raise ConfigError if an override has an old key whose new name is in ``others``."""
    old = override.partition("=")[0]
    new = new_key(old)
    if new != old and any(other.partition("=")[0] == new for other in others):
        raise _both_set(old, new, source)


def _new_value(key: str, value: Any, source: str, warn: Callable[[str], None]) -> Any:
    values = RENAMED_VALUES.get(key, {})
    if not isinstance(value, str) or value not in values:
        return value
    warn(rename_message(f"{key}={value}", f"{key}={str(values[value]).lower()}", source))
    return values[value]


def rename_message(old: str, new: str, source: str) -> str:
    """Return the message about an old name in use."""
    return f"{source}: {old} was renamed to {new}. The old name works until version 0.3."


def _both_set(old: str, new: str, source: str) -> ConfigError:
    return ConfigError(f"{source}: {old} and {new} are both set; they name the same setting. Fix: remove {old}.")


def apply_renamed_keys(
    tree: dict[str, Any], renamed: Mapping[str, str], *, source: str, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Replace old keys by their new names.

    Args:
        tree: Nested mappings and lists, as parsed from YAML.
        renamed: Old to new dotted key; ``*`` stands for every key of a mapping or every item of a list.
        source: File or section that the tree was read from, for messages.
        warn: Receives one message for each old key in use.

    Returns:
        A copy of the tree with new names only.

    Raises:
        ConfigError: An old key and its new name are both set.
    """
    result = copy.deepcopy(tree)
    for old, new in renamed.items():
        paths = [*_matches(result, tuple(old.split(".")))]
        for path in paths:
            _move(result, path, _fill(new, path, old), source)
        if paths:
            warn(rename_message(old, new, source))
    return result


def _matches(node: Any, pattern: Path) -> Iterator[Path]:
    """Yield the paths below a node that fit a pattern."""
    if not pattern:
        yield ()
        return
    names = list(_names(node)) if pattern[0] == "*" else [pattern[0]]
    for name in names:
        if name in _names(node):
            yield from ((name, *rest) for rest in _matches(_child(node, name), pattern[1:]))


def _names(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [name for name in node if isinstance(name, str)]
    return [str(index) for index in range(len(node))] if isinstance(node, list | tuple) else []


def _child(node: Any, name: str) -> Any:
    return node[name] if isinstance(node, dict) else node[int(name)]


def _fill(new: str, path: Path, old: str) -> Path:
    """Put the names that ``*`` matched in the old key into the new one."""
    matched = (name for name, part in zip(path, old.split("."), strict=True) if part == "*")
    return tuple(next(matched) if part == "*" else part for part in new.split("."))


def _move(tree: dict[str, Any], old: Path, new: Path, source: str) -> None:
    if any(True for _ in _matches(tree, new)):
        raise _both_set(".".join(old), ".".join(new), source)
    parent: Any = tree
    for name in old[:-1]:
        parent = _child(parent, name)
    value = parent.pop(old[-1])
    parent = tree
    for name in new[:-1]:
        parent = parent.setdefault(name, {}) if isinstance(parent, dict) else _child(parent, name)
    parent[new[-1]] = value
