"""Mapping from diagnoses to common labels, read from a YAML file."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from vapray.data.label_tables import list_first
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["LabelMap", "load_label_map"]

WANTED = "Expected `labels:` with a list of diagnoses under each label, and optionally a list `left_out:`"


@dataclass(frozen=True)
class LabelMap:
    """Mapping from diagnosis to label.

    Attributes:
        labels: label by diagnosis, in lower case.
        left_out: diagnoses without a label, in lower case.
        where: name of the file, for messages.
        digest: sha256 of the file's text.
    """

    labels: Mapping[str, str]
    left_out: frozenset[str]
    where: str
    digest: str

    def label(self, diagnoses: Sequence[str]) -> str | None:
        """Get the one label of a frame; None if its polyps have no label, or several."""
        found = {self.labels[name] for diagnosis in diagnoses if (name := _plain(diagnosis)) in self.labels}
        return found.pop() if len(found) == 1 else None

    def knows(self, diagnosis: str) -> bool:
        """Return True if the diagnosis has a label or is left out."""
        return _plain(diagnosis) in self.labels or _plain(diagnosis) in self.left_out


def load_label_map(path: str | None = None) -> LabelMap:
    """Load the map from a file, or the built-in map if ``path`` is None.

    Raises:
        ConfigError: the file cannot be read, is not a label map, or lists a diagnosis twice.
    """
    where, text = _read(path)
    tree, _ = parse_yaml(text, where=where)
    labels, left_out = _checked(tree, where)
    names = [_plain(name) for diagnoses in (*labels.values(), left_out) for name in diagnoses]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ConfigError(f"{where}: {list_first(twice, 'repeated diagnostic term')}. Fix: list each once.")
    by_diagnosis = {_plain(name): label for label, diagnoses in labels.items() for name in diagnoses}
    return LabelMap(by_diagnosis, frozenset(map(_plain, left_out)), where, hashlib.sha256(text.encode()).hexdigest())


def _checked(tree: Any, where: str) -> tuple[dict[str, list[str]], list[str]]:
    parts = tree if isinstance(tree, dict) else {}
    if unknown := sorted(parts.keys() - {"labels", "left_out"}):
        raise ConfigError(f"{where}: {list_first(unknown, 'unknown key')}. {WANTED}.")
    labels, left_out = parts.get("labels"), parts.get("left_out") or []
    if not isinstance(labels, dict) or not labels or not all(map(_is_list_of_texts, (*labels.values(), left_out))):
        raise ConfigError(f"{where}: not a map of labels. {WANTED}, all of them texts.")
    return labels, left_out


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _read(path: str | None) -> tuple[str, str]:
    if path is None:
        return "labels.yaml", (resources.files("vapray.data.colonoscopy") / "labels.yaml").read_text("utf-8")
    try:
        return path, Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"not UTF-8 at byte {getattr(error, 'start', 0)}"
        raise ConfigError(f"data.labels = {path}: cannot be read ({reason}). Fix: give a readable file.") from error


def _plain(diagnosis: str) -> str:
    return " ".join(diagnosis.lower().split())
