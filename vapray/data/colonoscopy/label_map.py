"""Diagnoses in many words to common labels, as a YAML file says."""

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

WANTED = "Wanted `labels:` with a list of diagnoses under each label, and optionally a list `left_out:`"


@dataclass(frozen=True)
class LabelMap:
    """Diagnosis -> label.

    Attributes:
        labels: by diagnosis, in small letters.
        left_out: diagnoses without a label, in small letters.
        where: the file, for messages.
        digest: sha256 of its text.
    """

    labels: Mapping[str, str]
    left_out: frozenset[str]
    where: str
    digest: str

    def label(self, diagnoses: Sequence[str]) -> str | None:
        """The one label of a frame; None where its polyps have none, or several."""
        found = {self.labels[name] for diagnosis in diagnoses if (name := _plain(diagnosis)) in self.labels}
        return found.pop() if len(found) == 1 else None

    def knows(self, diagnosis: str) -> bool:
        """Whether the file says what to do with it."""
        return _plain(diagnosis) in self.labels or _plain(diagnosis) in self.left_out


def load_label_map(path: str | None = None) -> LabelMap:
    """The map of a user's file, or the one that comes with vapray.

    Raises:
        ConfigError: the file cannot be read, is no such map, or names a diagnosis twice.
    """
    where, text = _read(path)
    tree, _ = parse_yaml(text, where=where)
    labels, left_out = _checked(tree, where)
    names = [_plain(name) for diagnoses in (*labels.values(), left_out) for name in diagnoses]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ConfigError(f"{where}: {list_first(twice, 'repeated diagnostic term')}. Name each once.")
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
        raise ConfigError(f"data.labels = {path}: cannot be read ({reason}). Give an existing YAML file.") from error


def _plain(diagnosis: str) -> str:
    return " ".join(diagnosis.lower().split())
