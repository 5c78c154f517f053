"""What a finished version consists of, and what it came from: the file that is written last."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from vapray.errors import DataError

__all__ = ["Manifest", "Part", "fingerprint"]


def fingerprint(stage: str, schema: int, sections: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Twelve hex digits that name everything which decides a stage's result.

    Args:
        stage: its name.
        schema: version of what it writes.
        sections: the config values it reads, as JSON values.
        inputs: content hash of every table it reads.
    """
    card = {"stage": stage, "schema": schema, "sections": sections, "inputs": inputs}
    return _digest(card)[:12]


@dataclass(frozen=True)
class Part:
    """One committed file of a version."""

    name: str
    sha256: str
    bytes: int
    rows: int
    rejects: int


@dataclass(frozen=True)
class Manifest:
    """What a finished version consists of, and what it came from."""

    stage: str
    fingerprint: str
    sections: dict[str, Any]
    inputs: dict[str, str]
    parts: tuple[Part, ...]
    rows: int
    rejects: int
    seconds: float
    finished: float
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """Changes when a byte of the content does; what stages below put in their fingerprint.

        The content is the parts, and the files whose digest a stage leaves in ``notes["sha256"]``.
        """
        card = [self.fingerprint, [(part.name, part.sha256) for part in self.parts], self.notes.get("sha256")]
        return hashlib.sha256(json.dumps(card).encode()).hexdigest()[:16]

    def to_json(self) -> bytes:
        """The manifest file, with a digest of itself."""
        card = json.loads(json.dumps(asdict(self)))
        return json.dumps(card | {"digest": _digest(card)}, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Read a manifest file.

        Raises:
            DataError: it is not one, or not what was written.
        """
        try:
            card = json.loads(data)
            digest = card.pop("digest", None)
            if digest not in (None, _digest(card)):  # the first manifests had none
                raise ValueError("its digest is another")
            return cls(**{**card, "parts": tuple(Part(**part) for part in card["parts"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{where}: damaged manifest ({error}). Delete this file: the stage rewrites it from its parts."
            ) from None


def _digest(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
