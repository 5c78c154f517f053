"""What a part of the union is: frames with the diagnosis in the part's own words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["NO_POLYP", "Frame", "Part"]

NO_POLYP = "no polyp"
"""The diagnosis of a frame without a polyp."""


@dataclass(frozen=True)
class Frame:
    """One frame, not yet decoded.

    Attributes:
        image_id: unique in the union.
        path: absolute path of the file.
        diagnoses: of the polyps in it, in the part's own words.
        group: patient, lesion or sequence: what is never on two sides of a split.
    """

    image_id: str
    path: Path
    diagnoses: tuple[str, ...]
    group: str


class Part(Protocol):
    """One of the data sets, in a folder of its name. Reads when asked, each time."""

    name: str

    def frames(self) -> list[Frame]:
        """Every frame; call ``complaints`` first."""
        ...

    def complaints(self) -> Iterator[str]:
        """What is wrong with its files."""
        ...

    def tables(self) -> list[Path]:
        """Small files that decide labels or groups."""
        ...

    def files(self) -> list[Path]:
        """All other files, signed by name, size and time."""
        ...
