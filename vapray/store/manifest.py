"""Manifest of a finished version: its parts and their origin; the file that is written last."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from vapray.errors import DataError
from vapray.store.part_list import Part, PartList
from vapray.store.tables import RENAMED_TABLES

__all__ = ["Manifest", "Part", "fingerprint"]

# Inputs that version 0.1.0 recorded under other names.
_RENAMED_INPUTS = {old: new for new, old in RENAMED_TABLES.items()}
_RENAMED_INPUTS |= {"given captions": "captions file", "another run's bank": "caption run"}


def fingerprint(stage: str, schema: int, sections: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Hash of everything that decides a stage's result, as twelve hexadecimal digits.

    Args:
        stage: Name of the stage.
        schema: Version of its output format.
        sections: Config values that it reads, as JSON values.
        inputs: Content hash of every table and external input that it reads, by name.
    """
    card = {"stage": stage, "schema": schema, "sections": sections, "inputs": inputs}
    return _digest(card)[:12]


@dataclass(frozen=True)
class Manifest:
    """Contents and origin of a finished version."""

    stage: str
    fingerprint: str
    sections: dict[str, Any]
    inputs: dict[str, str]
    parts: PartList
    rows: int
    rejects: int
    seconds: float
    finished: float
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """Hash of the content, which later stages include in their fingerprint.

        The content is the parts and the files whose digest the stage records in ``notes["sha256"]``. A stage that finds
        the content of an earlier version, apart from columns that no stage computes with, records the hash of that
        version in ``notes["content_hash"]``, so that later stages do not run again.
        """
        if kept := self.notes.get("content_hash"):
            return str(kept)
        digest = hashlib.sha256(f"[{json.dumps(self.fingerprint)}, [".encode())
        for number, part in enumerate(self.parts):
            digest.update(f'{", " if number else ""}["{part.name}", "{part.sha256}"]'.encode())
        digest.update(f"], {json.dumps(self.notes.get('sha256'))}]".encode())
        return digest.hexdigest()[:16]

    def to_json(self, write: Callable[[str, bytes], None]) -> bytes:
        """Serialize the manifest, with a digest of itself.

        Args:
            write: Stores a file of parts, if they are many; see :meth:`vapray.store.part_list.PartList.to_json`.
        """
        card = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "parts"}
        card = json.loads(json.dumps(card | self.parts.to_json(write)))
        return json.dumps(card | {"digest": _digest(card)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str, read: Callable[[str], bytes | None]) -> Self:
        """Parse a manifest file.

        Args:
            data: Contents of the file.
            where: Path of the file, for errors.
            read: Reads a file of parts.

        Raises:
            DataError: the file is not a manifest, or its digest differs.
        """
        try:
            card = json.loads(data)
            digest = card.pop("digest", None)
            if digest not in (None, _digest(card)):  # the first manifests had none
                raise ValueError("its digest differs")
            inputs = {_RENAMED_INPUTS.get(name, name): content for name, content in card["inputs"].items()}
            parts = PartList.from_json(card, read)
            card = {name: value for name, value in card.items() if name != "pieces"}
            return cls(**{**card, "inputs": inputs, "parts": parts})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{where}: damaged manifest ({error}). Fix: delete this file; the stage rewrites it from its parts."
            ) from None


def _digest(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
