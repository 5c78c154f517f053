"""Class-specific prompt bank (CSPB): for every class, the captions of its training images.

At inference a caption of the requested class is drawn uniformly. Source: VAP-Diffusion, section 2.3.
A bank has no weights, so any bank can be used with any model.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from vapray.store.version import Version

__all__ = ["BankEntry", "PromptBank"]


@dataclass(frozen=True)
class BankEntry:
    """Caption and the training image that it describes.

    ``context`` is the caption's token sequence, float16 [L, D], or None if the rows had none.
    """

    image_id: str
    label: int
    caption: str
    group: str = ""
    context: NDArray[np.float16] | None = field(default=None, compare=False, repr=False)


class PromptBank:
    """Captions by class, ordered by image id."""

    def __init__(self, entries: Iterable[BankEntry]) -> None:
        """Sort ``entries`` into classes.

        Raises:
            DataError: no entry, an empty caption, or a duplicate image.
        """
        self._by_label: dict[int, list[BankEntry]] = {}
        ids: set[str] = set()
        for entry in sorted(entries, key=lambda entry: entry.image_id):
            _check_entry(entry, ids)
            ids.add(entry.image_id)
            self._by_label.setdefault(entry.label, []).append(entry)
        if not ids:
            raise DataError("prompt bank: no captions; expected at least one row of the train split")

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], split: str = "train") -> "PromptBank":
        """Build from rows of the captions or the bank table.

        Args:
            rows: mappings with image_id, label, split, caption and optionally group and context [L, D].
            split: split of all rows; a split other than train is for samples from unseen texts.

        Raises:
            DataError: a row of another split, or an error of the constructor.
        """
        return cls(_entry_from_row(row, split) for row in rows)

    @classmethod
    def from_version(cls, bank: "Version", split: str = "train") -> "PromptBank":
        """Read one split of the table ``prompt_bank``."""
        rows = bank.read(["image_id", "label", "split", "group", "caption"]).to_pylist()
        return cls.from_rows((row for row in rows if row["split"] == split), split)

    @classmethod
    def from_table(cls, table: "pa.Table") -> "PromptBank":
        """Build from a table of ``to_table``.

        Raises:
            DataError: a missing column, or an error of the constructor.
        """
        wanted = ["image_id", "label", "group", "caption"]
        missing = sorted(set(wanted) - set(table.column_names))
        if missing:
            raise DataError(f"prompt bank: columns {missing} are missing; found {table.column_names}")
        return cls(BankEntry(**row) for row in table.select(wanted).to_pylist())

    def to_table(self) -> "pa.Table":
        """Build a table of image_id str, label int32, group str, caption str: one row per caption, without contexts."""
        import pyarrow as pa

        text = pa.string()
        schema = pa.schema({"image_id": text, "label": pa.int32(), "group": text, "caption": text})
        entries = [entry for label in self.labels for entry in self._by_label[label]]
        columns = {name: [getattr(entry, name) for entry in entries] for name in schema.names}
        return pa.table(columns, schema=schema)

    @property
    def labels(self) -> tuple[int, ...]:
        """Classes that have captions, ascending."""
        return tuple(sorted(self._by_label))

    def __len__(self) -> int:
        """Count the captions over all classes."""
        return sum(len(entries) for entries in self._by_label.values())

    def entries(self, label: int) -> tuple[BankEntry, ...]:
        """List the entries of one class, by image id.

        Raises:
            DataError: a class without captions.
        """
        if label not in self._by_label:
            raise DataError(f"prompt bank: no captions for class {label}; known classes: {list(self.labels)}")
        return tuple(self._by_label[label])

    def captions(self, label: int) -> tuple[str, ...]:
        """List the captions of one class, by image id; repeated texts are kept.

        Raises:
            DataError: a class without captions.
        """
        return tuple(entry.caption for entry in self.entries(label))

    def draw(self, label: int, seed: int, n: int = 1) -> list[BankEntry]:
        """Draw n entries of a class uniformly and independently (with replacement).

        A pure function of bank, label and seed: the first k of n draws are the draws for ``n=k``.

        Raises:
            DataError: a class without captions, or n below 1.
        """
        if n < 1:
            raise DataError(f"prompt bank: {n} captions requested; expected at least 1")
        entries = self.entries(label)
        return [entries[_draw_index(label, seed, turn, len(entries))] for turn in range(n)]

    def limit_per_class(self, count: int) -> "PromptBank":
        """Keep at most ``count`` entries per class, by image id; a smaller choice is a subset of a larger one."""
        return PromptBank(
            entry for label in self.labels for entry in sorted(self.entries(label), key=_selection_hash)[:count]
        )


def _selection_hash(entry: BankEntry) -> bytes:
    return hashlib.blake2b(f"choice {entry.image_id}".encode(), digest_size=16).digest()


def _draw_index(label: int, seed: int, turn: int, count: int) -> int:
    """Draw an index uniformly from 0..count-1, up to 2^-64.

    A digest is used because the streams of NumPy generators may change between versions.
    """
    digest = hashlib.blake2b(f"draw {label} {seed} {turn}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big") % count


def _entry_from_row(row: Mapping[str, Any], split: str) -> BankEntry:
    if row["split"] != split:
        raise DataError(
            f"prompt bank: image {row['image_id']!r} is of split {row['split']!r}; expected rows of {split} only"
        )
    return BankEntry(
        image_id=str(row["image_id"]),
        label=int(row["label"]),
        caption=row["caption"],
        group=str(row.get("group") or ""),
        context=row.get("context"),
    )


def _check_entry(entry: BankEntry, seen_ids: set[str]) -> None:
    if entry.image_id in seen_ids:
        raise DataError(f"prompt bank: image {entry.image_id!r} occurs twice; expected one caption per image")
    if not (entry.caption and entry.caption.strip()):
        raise DataError(f"prompt bank: image {entry.image_id!r} has an empty caption; reject it before the bank")
