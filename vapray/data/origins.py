"""Origin of images: licence, source and subject, and their counts over the training images of a model."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from vapray.config import Data
from vapray.data.records import ImageRecord
from vapray.errors import DataError
from vapray.store.run_store import Store
from vapray.store.tables import ORIGIN_COLUMNS
from vapray.store.version import Version

__all__ = [
    "UNKNOWN",
    "OriginSummary",
    "apply_settings",
    "content_hash_of_same_images",
    "metadata_cell",
    "pseudonym",
    "subject_spellings",
]

UNKNOWN = "unknown"
"""Text for a licence or source that is not known; tables and summaries hold an empty text for it."""


def pseudonym(kind: str, name: str) -> str:
    """Hash a name: ``kind-`` and 16 hexadecimal digits of a sha256, which can be computed again from the name."""
    return f"{kind}-{hashlib.sha256(f'vapray {name}'.encode()).hexdigest()[:16]}"


def subject_spellings(subject: str) -> frozenset[str]:
    """List the names under which a table can hold a subject: as given, a hashed PatientID, and both hashed again."""
    plain = {subject, pseudonym("patient", subject)}
    return frozenset(plain | {pseudonym("subject", name) for name in plain})


def apply_settings(records: Sequence[ImageRecord], data: Data) -> list[ImageRecord]:
    """Complete the origins: the licence of the settings where none is known, wanted metadata only, hashed subjects.

    The groups are hashed with the subjects, because most groups are subjects.

    Raises:
        DataError: ``data.metadata_columns`` names a column that the dataset's tables do not have.
    """
    known = {name for record in records for name in record.metadata}
    if missing := [name for name in data.metadata_columns if name not in known]:
        raise DataError(
            f"data.metadata_columns: no column {', '.join(missing)} in the tables of the dataset. "
            f"Fix: name some of {', '.join(sorted(known)) or 'none, since they have no further column'}."
        )
    return [
        replace(
            record,
            licence=record.licence or data.licence,
            subject=_hashed(record.subject, "") if data.hash_subjects else record.subject,
            group=_hashed(record.group, record.image_id) if data.hash_subjects else record.group,
            metadata={name: record.metadata.get(name, "") for name in data.metadata_columns},
        )
        for record in records
    ]


def metadata_cell(metadata: Mapping[str, str]) -> str:
    """Format the known values as a JSON object; empty if there are none."""
    known = {name: value for name, value in metadata.items() if value}
    return json.dumps(known, ensure_ascii=False) if known else ""


def content_hash_of_same_images(images: Version, root: str, class_names: Sequence[str]) -> str | None:
    """Find a finished version of ``images`` that differs in origins only, so that later stages need not run again.

    Args:
        images: version whose rows are committed.
        root: run root.
        class_names: class names of the version.

    Returns:
        Content hash of the newest such version; None if there is none.
    """
    columns = [name for name in images.table_spec.schema.names if name not in ORIGIN_COLUMNS]
    rows = images.read(columns, rejects=True)
    for version in Store(root).finished("images"):
        manifest = version.require_manifest()
        with contextlib.suppress(DataError):
            if manifest.notes.get("class_names") == [*class_names] and version.read(columns, rejects=True).equals(rows):
                return manifest.content_hash
    return None


def _hashed(name: str, unnamed: str) -> str:
    return name if name == unnamed else pseudonym("subject", name)


@dataclass(frozen=True)
class OriginSummary:
    """Origins of training images. An empty name counts the images of an unknown licence or source.

    Attributes:
        licences: number of images by licence; empty for a model of a version that recorded none.
        sources: number of images by source, likewise.
        subjects: number of known subjects.
    """

    licences: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    subjects: int = 0

    @classmethod
    def of_table(cls, images: pa.Table) -> Self:
        """Count the rows of the train split; the columns are split, licence, source and subject."""
        train = images.filter(pc.equal(images["split"], "train"))
        counts = (train[name].value_counts().to_pylist() for name in ("licence", "source"))
        licences, sources = ({found["values"]: found["counts"] for found in one} for one in counts)
        return cls(licences, sources, len({*train["subject"].unique().to_pylist()} - {""}))

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> Self:
        """Read the JSON object of ``to_record``; None: nothing was recorded."""
        return cls(**record) if record else cls()

    def to_record(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return asdict(self)

    @property
    def has_unknown_licence(self) -> bool:
        """True if the licence of an image is unknown, or none was recorded."""
        return not self.licences or "" in self.licences

    @property
    def licence_names(self) -> str:
        """Licences in one text, sorted; an unknown one is the last."""
        return _names(self.licences)

    @property
    def source_names(self) -> str:
        """Sources in one text, in the same way."""
        return _names(self.sources)

    @property
    def text_chunks(self) -> dict[str, str]:
        """Licences and sources for the provenance of a generated image."""
        return {"Training-Licences": self.licence_names, "Training-Sources": self.source_names}

    def lines(self) -> Iterator[str]:
        """Format the counts, one line each."""
        yield f"licences of the training images: {_counts(self.licences)}"
        yield f"sources of the training images: {_counts(self.sources)}"
        yield f"known subjects of the training images: {self.subjects:,}"


def _sorted(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts or [""], key=lambda name: (not name, name))


def _names(counts: Mapping[str, int]) -> str:
    return ", ".join(name or UNKNOWN for name in _sorted(counts))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or UNKNOWN} ({counts[name]:,})" if counts else UNKNOWN for name in _sorted(counts))
