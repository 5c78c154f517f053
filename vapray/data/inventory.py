"""Inventory of a dataset: every file is a row's, a table that is read, or left out for a named reason."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from vapray.data.file_tree import COPY, is_table_name, suffix_of
from vapray.data.label_tables import summarize_names
from vapray.data.parquet_images import file_of
from vapray.data.records import SPLITS, ImageRecord, ImageSource

__all__ = ["Inventory", "LeftOut", "describe_identical", "identical_images", "take_inventory"]

CLASSES_SHOWN, REASONS_SHOWN = 40, 20


@dataclass(frozen=True)
class LeftOut:
    """Files that are left out for one reason, with the first of them."""

    reason: str
    files: int
    first: str


@dataclass(frozen=True)
class Inventory:
    """Contents of a dataset's folder.

    Attributes:
        classes: number of images by class and split, classes in label order.
        groups: number of groups; equal to the number of images where no group is known.
        files: number of files below the folder that contain the images of the rows.
        tables: number of files that are read as tables.
        left_out: all other files, by reason, most frequent first.
        warnings: properties that make a split or a metric meaningless, each with its remedy.
        identical: images of equal bytes, from ``identical_images``; None: not compared.
    """

    classes: Mapping[str, Mapping[str, int]]
    groups: int
    files: int
    tables: int
    left_out: Sequence[LeftOut]
    warnings: Mapping[str, str]
    identical: Mapping[str, int] | None = None

    @classmethod
    def from_dict(cls, card: Mapping[str, Any]) -> Self:
        """Build the inventory from the result of ``to_dict``."""
        reasons = [LeftOut(**reason) for reason in card["left_out"]]
        return cls(**{**card, "classes": dict(card["classes"]), "left_out": reasons})

    @property
    def splits(self) -> list[str]:
        """Splits that have images, in order."""
        return [split for split in SPLITS if any(counts.get(split) for counts in self.classes.values())]

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values; classes become pairs, since manifests sort keys."""
        return asdict(self) | {"classes": list(self.classes.items())}

    def lines(self) -> list[str]:
        """Format as a table of text: classes by split, then the files that are left out."""
        splits = self.splits
        shown = list(self.classes.items())[:CLASSES_SHOWN]
        rows = [["class", *splits, "images"]]
        rows += [
            [name, *(f"{counts.get(split, 0):,}" for split in splits), f"{_sum(counts):,}"] for name, counts in shown
        ]
        sums = [sum(counts.get(split, 0) for counts in self.classes.values()) for split in splits]
        rows.append(["all", *(f"{count:,}" for count in sums), f"{sum(sums):,}"])
        more = [f"({len(self.classes) - len(shown):,} more classes)"] if len(shown) < len(self.classes) else []
        return [*_aligned(rows), *more, *self.file_lines()]

    def file_lines(self) -> list[str]:
        """Format the number of groups and files, and the files that are left out by reason."""
        left_out = sum(reason.files for reason in self.left_out)
        known = ", one for each image" if self.groups == sum(map(_sum, self.classes.values())) else ""
        lines = [
            f"groups: {self.groups:,}{known}; image files: {self.files:,}, tables: {self.tables:,}, "
            f"left out: {left_out:,}"
        ]
        shown = self.left_out[:REASONS_SHOWN]
        lines += [f"left out, {one.files:,}: {one.reason} ({one.first}{', ...' * (one.files > 1)})" for one in shown]
        return lines


def take_inventory(source: ImageSource, records: Sequence[ImageRecord]) -> Inventory:
    """Count the images of a dataset and its files.

    Args:
        source: the dataset.
        records: its records.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in source.class_names}
    for record in records:
        counts[record.class_name][record.split] += 1
    start = len(str(source.root)) + 1
    images = {file_of(record.path)[start:] for record in records}
    tables = {str(path)[start:] for path in source.tables()} - images
    groups = Counter(record.group for record in records)
    return Inventory(
        classes={name: dict(found) for name, found in counts.items()},
        groups=len(groups),
        files=len(images),
        tables=len(tables),
        left_out=_left_out(source, images | tables),
        warnings=dict(_warnings(counts, groups, records)),
    )


def identical_images(images: pa.Table) -> dict[str, int]:
    """Count the images that repeat another image's bytes.

    Args:
        images: columns sha256, split and class.

    Returns:
        ``images``: those that are a repetition; ``across_splits`` and ``across_classes``: those with a twin in another
        split or class.
    """
    found = images.group_by("sha256").aggregate(
        [("split", "count"), ("split", "count_distinct"), ("class", "count_distinct")]
    )
    count = found["split_count"]
    return {
        "images": images.num_rows - found.num_rows,
        "across_splits": pc.sum(pc.if_else(pc.greater(found["split_count_distinct"], 1), count, 0)).as_py() or 0,
        "across_classes": pc.sum(pc.if_else(pc.greater(found["class_count_distinct"], 1), count, 0)).as_py() or 0,
    }


def describe_identical(identical: Mapping[str, int]) -> list[str]:
    """Describe the result of ``identical_images``, one line per problem."""
    texts = {
        "images": "{:,} images repeat the bytes of another image. Remove the repetitions.",
        "across_splits": "{:,} images have a twin in another split: held-out images are trained on. Remove the twins.",
        "across_classes": "{:,} images have a twin in another class. Keep each in its own class.",
    }
    return [text.format(identical[key]) for key, text in texts.items() if identical[key]]


def _left_out(source: ImageSource, used: set[str]) -> list[LeftOut]:
    reasons: dict[str, list[str]] = defaultdict(list)
    files = source.tree.files
    known = {**source.left_out(), **dict.fromkeys(source.tree.copies, COPY), **source.tree.unseen}
    for path in chain(files, source.tree.unseen):
        if path not in used:
            reasons[known.get(path) or _reason(path, source.tree.images)].append(path)
    found = [LeftOut(reason, len(paths), min(paths)) for reason, paths in reasons.items()]
    return sorted(found, key=lambda one: (-one.files, one.reason))


def _reason(path: str, images: Collection[str]) -> str:
    if path in images:
        return "image that no table names"
    if is_table_name(path):
        return "table or document that is not read"
    suffix = suffix_of(path)
    return f"unsupported suffix {suffix}" if suffix else "file without a suffix"


def _warnings(
    counts: Mapping[str, Counter[str]], groups: Counter[str], records: Sequence[ImageRecord]
) -> Iterator[tuple[str, str]]:
    splits = {record.split for record in records}
    if len(groups) == 1 and len(records) > 1:
        yield (
            f"1 group ({next(iter(groups))}) holds all {len(records):,} images: nothing can be held out.",
            "Give each image its patient or lesion as group, or no group.",
        )
    else:
        of_class = defaultdict(set)
        for record in records:
            of_class[record.class_name].add(record.group)
        if single := [name for name, found in of_class.items() if len(found) == 1 and counts[name].total() > 1]:
            yield (
                f"All images of {summarize_names(single, 'class')} are in one group: nothing of it can be held out.",
                "Check the groups of these classes."
                if len(single) < len(counts)
                else "Each class has one patient or lesion: write metadata.csv, if the folders are no classes.",
            )
        elif len(records) > 1 and not splits - {"train"}:
            yield (
                f"All {len(records):,} images are in split train: nothing is held out.",
                "Raise data.test_share, or give smaller groups.",
            )
        yield from _absent(counts, splits)
    if small := [f"{name}: {_sum(found)}" for name, found in counts.items() if _sum(found) < len(splits)]:
        yield (
            f"{summarize_names(small, 'class')} with fewer images than the {len(splits)} splits.",
            "Add images of these classes, or remove their folders or rows.",
        )
    alike = defaultdict(list)
    for name in counts:
        alike[name.lower()].append(name)
    if twins := [" and ".join(names) for names in alike.values() if len(names) > 1]:
        yield (
            f"{summarize_names(twins, 'pair')} of classes that differ in case only.",
            "Write each class in one way.",
        )


def _absent(counts: Mapping[str, Counter[str]], splits: set[str]) -> Iterator[tuple[str, str]]:
    """Warn about classes with enough images that have none for training or testing."""
    enough = {name: found for name, found in counts.items() if _sum(found) >= len(splits)}
    for split, meaning in (("train", "the model does not learn them"), ("test", "their images are not compared")):
        if split in splits and (none := [name for name, found in enough.items() if not found[split]]):
            yield (
                f"{summarize_names(none, 'class')} without an image in split {split}: {meaning}.",
                "Check the splits and groups of these classes.",
            )


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
