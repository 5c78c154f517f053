"""Image folder: class subfolders, a metadata table, or Parquet files that contain the images.

    root/CLASS/image.jpg                           classes are the subfolders' names
    root/{train,validation,test}/CLASS/image.jpg   the same with given splits; see ``split_names`` for other names
    root/metadata.csv or metadata.jsonl            file_name, label, and optionally text, group, split, licence, source,
                                                   subject
    root/train/metadata.csv                        the same in each split or class folder; names relative to the table
    root/HAM10000_metadata.csv                     image_id, dx, lesion_id, as HAM10000 is distributed
    root/[data/]*.parquet                          image, label, and the same optional columns

Folders that only contain the dataset, hidden folders, thumbnails, masks and nested copies are no classes.
Images must be inside root: ``..``, absolute names and links that leave it are refused. Without given splits, whole
groups are split into train, validation and test. Images without a group are grouped by their subject, and DICOM files
by their patient; a group is the subject of images without one.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path

from vapray.data.file_tree import FileTree, several_files
from vapray.data.folder_rows import read_folder
from vapray.data.image_files import image_stem
from vapray.data.label_tables import Row, duplicates, is_missing, raise_problems, summarize_names
from vapray.data.parquet_images import file_of
from vapray.data.patients import patient_group
from vapray.data.reading import METADATA, Reading
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.split_names import SPLIT_NAMES, is_split_name
from vapray.data.splits import crossing_groups, split_by_group


class Folder(ImageSource):
    """ImageSource for class subfolders, a metadata table or Parquet files.

    Args:
        root: folder of the dataset.
        validation_share: share of the images for validation, in whole groups, where no split is given.
        test_share: share of the images for testing, in whole groups, where no split is given.
        seed: seed of that split.

    Raises:
        DataError: no such folder, no images, an invalid table (here, or in ``records``).
    """

    def __init__(
        self, root: str | Path, *, validation_share: float = 0.1, test_share: float = 0.2, seed: int = 0
    ) -> None:
        """Find the folder."""
        self.root = dataset_folder(root, "of the images")
        self.tree = FileTree(self.root)
        self._split = partial(split_by_group, validation_share=validation_share, test_share=test_share, seed=seed)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Labels that occur, sorted."""
        return tuple(sorted({row["label"] for row in self._rows}))

    def records(self) -> list[ImageRecord]:
        """List all images, sorted by split (train, validation, test) and id.

        Raises:
            DataError: images missing, empty labels, unknown splits, duplicate ids, names that leave the
                folder, groups on two sides of a split; one error lists all problems.
        """
        labels = {name: label for label, name in enumerate(self.class_names)}
        records = [self._to_record(row, labels) for row in self._rows]
        return in_order(records if self._rows[0].get("split") else self._split(records))

    def signature(self) -> str:
        """Compute the sha256 over names, sizes and times of the images, the table's bytes and the conventions."""
        images = {f"{self.root}/{file_of(row['file_name'])}" for row in self._rows}
        tables = [path for path in self.tables() if str(path) not in images]
        signed = sign_files(self.root, images, tables)
        # Without conventions the signature is that of earlier versions, so that finished runs are kept.
        rules = "\n".join(self._reading.rules)
        return f"{signed} {hashlib.sha256(rules.encode()).hexdigest()}" if rules else signed

    def tables(self) -> list[Path]:
        """List the metadata tables; Parquet files count as images."""
        return [self.root / name for name in self._reading.tables]

    def left_out(self) -> Mapping[str, str]:
        """Map masks, nested copies and images outside of class folders to the reason."""
        return self._reading.left_out

    def notes(self) -> list[str]:
        """List the conventions that were applied, and the columns that are not read."""
        leaks = (f"{found} {advice}" for found, advice in self.leaks().items())
        return [*self._reading.rules, *self._reading.notes, *leaks]

    def leaks(self) -> dict[str, str]:
        """Map folders below the classes, and other signs of another meaning, to their remedy."""
        return self._reading.warnings

    def _to_record(self, row: Row, labels: Mapping[str, int]) -> ImageRecord:
        return ImageRecord(
            image_id=row["id"],
            class_name=row["label"],
            label=labels[row["label"]],
            split=_split(row),
            group=row["group"],
            path=f"{self.root}/{row['file_name']}",
            text=row.get("text", ""),
            licence=_known(row.get("licence", "")),
            source=_known(row.get("source", "")),
            subject=row["subject"],
            metadata={
                name.removeprefix(METADATA): _known(cell) for name, cell in row.items() if name.startswith(METADATA)
            },
        )

    @cached_property
    def _reading(self) -> Reading:
        found = read_folder(self.tree)
        if any(row.get("subject") and not row.get("group") for row in found.rows):
            found.rules.append("Images without a group are grouped by their subject.")
        return found

    @cached_property
    def _rows(self) -> list[Row]:
        tree, read = self.tree, self._reading
        plain = set(tree.files) - tree.links
        unsafe = {row["file_name"] for row in read.rows if file_of(row["file_name"]) not in plain}
        outside = {name for name in unsafe if _leads_out(self.root, name)}
        rows = read.rows
        for row in rows:
            row["id"] = _to_id(row["file_name"])
            subject = _known(row.get("subject", ""))
            named = row.get("group") or subject or _patient(self.root, row, outside)
            row["subject"] = subject or named
            row["group"] = named or row["id"]
        missing = {name for name in unsafe - outside if not os.path.isfile(self.root / file_of(name))}
        where = self.root / read.tables[0] if len(read.tables) == 1 else self.root
        raise_problems(where, [*_missing_files(tree, missing), *_problems(self.root, rows, outside)])
        return rows


def _leads_out(root: Path, name: str) -> bool:
    """Return True if the name, or a link in its path, leaves the folder."""
    return "\0" in name or not Path(os.path.realpath(root / name)).is_relative_to(os.path.realpath(root))


def _missing_files(tree: FileTree, missing: Collection[str]) -> Iterator[str]:
    """Report file names of a table that do not exist; the advice is another folder or suffix, if one has the name."""
    if not missing:
        return
    found = f"{summarize_names(sorted(missing), 'file')} not found in {tree.root}"
    wanted = {os.path.basename(name): name for name in sorted(missing)}
    stems = {
        key: path
        for path in sorted(tree.images)
        for key in (os.path.basename(path), image_stem(os.path.basename(path)))
    }
    if (name := next((name for name in wanted if name in stems), None)) is not None:
        yield f"{found}; {wanted[name]} may be {stems[name]}. Write the path from the table's folder, with its suffix"
    else:
        yield f"{found}; copy them there, or remove their rows"


def _problems(root: Path, rows: list[Row], outside: Collection[str]) -> Iterator[str]:
    if outside:
        yield f"{summarize_names(sorted(outside), 'file name')} outside of {root}; copy the files into it"
    unlabelled = [row["file_name"] for row in rows if not row["label"]]
    if unlabelled:
        yield f"{summarize_names(unlabelled, 'row')} without a label; fill it in, or remove the rows"
    # The group of an image without one is its id, which may be any name.
    for column, given in (("label", rows), ("group", [row for row in rows if row["group"] != row["id"]])):
        if unknown := [f"{row['file_name']}: {row[column]}" for row in given if is_missing(row[column])]:
            found = summarize_names(unknown, column)
            yield f"{found} standing for a missing value; fill it in, or leave the cell empty"
    if like_splits := sorted({row["label"] for row in rows if is_split_name(row["label"])}):
        yield f"{summarize_names(like_splits, 'class')} named like a split; rename it, or give the split as one"
    spellings = defaultdict(list)
    for label in {row["label"] for row in rows}:
        spellings["".join(label.split())].append(label)
    if blanks := sorted(" and ".join(map(repr, sorted(found))) for found in spellings.values() if len(found) > 1):
        yield f"{summarize_names(blanks, 'pair')} of classes that differ in blanks only; write each class in one way"
    yield from _same_ids(rows)
    yield from _split_problems(rows)


def _same_ids(rows: list[Row]) -> Iterator[str]:
    """Report ids of several rows, and ids of several files."""
    names = defaultdict(list)
    for row in rows:
        names[row["id"]].append(row["file_name"])
    yield from duplicates(key for key, found in names.items() if len(set(found)) == 1 for _ in found)
    yield from several_files({key: set(found) for key, found in names.items()})


def _split_problems(rows: list[Row]) -> Iterator[str]:
    splits = [row.get("split", "") for row in rows]
    unknown = sorted({split for split in splits if split and split.lower() not in SPLIT_NAMES})
    if unknown:
        yield f"{summarize_names(unknown, 'unknown split')}; accepted: {', '.join(SPLIT_NAMES)}"
    elif any(splits) and not all(splits):
        yield f"{splits.count('')} of {len(splits)} rows have no split; give all or none"
    else:
        yield from crossing_groups((row["group"], _split(row)) for row in rows)


def _split(row: Row) -> str:
    return SPLIT_NAMES[(row.get("split") or "train").lower()]


def _known(cell: str) -> str:
    return "" if is_missing(cell) else cell


def _patient(root: Path, row: Row, outside: Collection[str]) -> str:
    return "" if row["file_name"] in outside else patient_group(root / row["file_name"])


def _to_id(file_name: str) -> str:
    return image_stem(file_name.replace(".parquet#", "/"))
