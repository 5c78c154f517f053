"""Image folder: class subfolders, a metadata table, or Parquet files that contain the images.

    root/CLASS/image.jpg                                 classes are the subfolders' names
    root/{train,validation,test}/CLASS/image.jpg         the same with given splits
    root/metadata.csv or metadata.jsonl                  file_name, label, and optionally text, group, split
    root/[data/]*.parquet                                image, label, and optionally text, group, split

Images must be inside root: ``..``, absolute names and links that leave it are refused. Without given splits, whole
groups are split into train, validation and test. DICOM files without a group are grouped by their patient.
"""

import os
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from vapray.data.folder_rows import SPLIT_NAMES, find_table, read_folder
from vapray.data.image_files import image_stem
from vapray.data.label_tables import Row, duplicates, raise_problems, summarize_names
from vapray.data.parquet_images import file_of
from vapray.data.patients import patient_group
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
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
        """Find the folder and its table."""
        self.root = dataset_folder(root, "of the images")
        self._split = partial(split_by_group, validation_share=validation_share, test_share=test_share, seed=seed)
        self._table = find_table(self.root)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Labels that occur, sorted."""
        return tuple(sorted({row["label"] for row in self._rows}))

    def records(self) -> list[ImageRecord]:
        """List all images, sorted by split (train, validation, test) and id.

        Raises:
            DataError: images missing, empty labels, unknown splits, duplicate ids, names that leave the
                folder, groups on two sides of a split; one error lists all problems.
        """
        class_names = self.class_names
        records = [self._to_record(row, class_names) for row in self._rows]
        return in_order(records if self._rows[0].get("split") else self._split(records))

    def signature(self) -> str:
        """Compute the sha256 over names, sizes and times of the images and over the table's bytes."""
        images = {self.root / file_of(row["file_name"]) for row in self._rows}
        return sign_files(self.root, images, [self._table] if self._table else [])

    def _to_record(self, row: Row, class_names: tuple[str, ...]) -> ImageRecord:
        return ImageRecord(
            image_id=_to_id(row["file_name"]),
            class_name=row["label"],
            label=class_names.index(row["label"]),
            split=SPLIT_NAMES[row.get("split") or "train"],
            group=row["group"],
            path=str(self.root / row["file_name"]),
            text=row.get("text", ""),
        )

    @cached_property
    def _rows(self) -> list[Row]:
        rows = [row | {"group": _group(self.root, row)} for row in read_folder(self.root, self._table)]
        raise_problems(self._table or self.root, _problems(self.root, rows))
        return rows


def _leads_out(root: Path, name: str) -> bool:
    """Return True if the name, or a link in its path, leaves the folder."""
    return "\0" in name or not Path(os.path.realpath(root / name)).is_relative_to(os.path.realpath(root))


def _problems(root: Path, rows: list[Row]) -> Iterator[str]:
    names = [row["file_name"] for row in rows]
    outside = {name for name in names if _leads_out(root, name)}
    if outside:
        yield f"{summarize_names(sorted(outside), 'file name')} outside of {root}; copy the files into it"
    missing = [name for name in names if name not in outside and not os.path.isfile(root / file_of(name))]
    if missing:
        yield f"{summarize_names(missing, 'file')} not found in {root}; copy them there, or remove their rows"
    unlabelled = [row["file_name"] for row in rows if not row["label"]]
    if unlabelled:
        yield f"{summarize_names(unlabelled, 'row')} without a label; fill it in, or remove the rows"
    yield from duplicates(map(_to_id, names))
    yield from _split_problems(rows)


def _split_problems(rows: list[Row]) -> Iterator[str]:
    splits = [row.get("split", "") for row in rows]
    unknown = sorted({split for split in splits if split and split not in SPLIT_NAMES})
    if unknown:
        yield f"{summarize_names(unknown, 'unknown split')}; accepted: {', '.join(SPLIT_NAMES)}"
    elif any(splits) and not all(splits):
        yield f"{splits.count('')} of {len(splits)} rows have no split; give all or none"
    else:
        yield from crossing_groups((row["group"], SPLIT_NAMES[row.get("split") or "train"]) for row in rows)


def _group(root: Path, row: Row) -> str:
    name = row["file_name"]
    patient = "" if row.get("group") or _leads_out(root, name) else patient_group(root / name)
    return row.get("group") or patient or _to_id(name)


def _to_id(file_name: str) -> str:
    path = Path(file_name.replace(".parquet#", "/"))
    return (path.parent / image_stem(path)).as_posix()
