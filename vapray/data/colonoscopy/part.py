"""Interface of a part of the union: frames with the part's own diagnoses."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NO_POLYP", "DatasetPart", "Frame"]

NO_POLYP = "no polyp"
"""Diagnosis of a frame without a polyp."""


@dataclass(frozen=True)
class Frame:
    """Video frame, not yet decoded.

    Attributes:
        image_id: id, unique in the union.
        path: absolute path of the file.
        diagnoses: diagnoses of its polyps, in the part's own terms.
        group: patient, lesion or sequence; a group is in one split only.
    """

    image_id: str
    path: Path
    diagnoses: tuple[str, ...]
    group: str


class DatasetPart(ABC):
    """Dataset of the union, in a folder of its name. Files are read on demand."""

    name: str

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def frames(self) -> list[Frame]:
        """List all frames; call ``validate`` first."""

    @abstractmethod
    def validate(self) -> Iterator[str]:
        """Report problems of its files."""

    @abstractmethod
    def files(self) -> list[Path]:
        """List the files that are signed by name, size and time."""

    def tables(self) -> list[Path]:
        """List the small files that decide labels or groups, which are signed by content; none by default."""
        return []
