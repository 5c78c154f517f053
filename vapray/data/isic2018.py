"""ISIC 2018 Task 3, and anything laid out like it.

    root/ISIC2018_Task3_Training_Input/ISIC_0024306.jpg ...
    root/ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv
                                                       image,MEL,NV,...  one-hot
    root/ISIC2018_Task3_Training_LesionGroupings.csv   image,lesion_id,diagnosis_confirm_type  (optional)

and the same with Validation and Test, each optional. Tables may also lie directly under root, and be gzipped.
Classes are the header's columns, so other class sets work. Pictures that no table names are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vapray.data.label_tables import Row, duplicates, list_first, missing_columns, read_rows, refuse
from vapray.data.records import ImageRecord, sign_files
from vapray.data.splits import crossing_groups, split_by_group
from vapray.errors import DataError

PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class Isic2018:
    """An ImageSource over a folder in the ISIC 2018 Task 3 layout.

    Args:
        root: the folder that holds ``ISIC2018_Task3_Training_Input``.
        validation_share: share of the training images, in whole lesions, that stands in for a missing
            Validation part.
        test_share: the same for a missing Test part.
        seed: of that split.

    Raises:
        DataError: a folder, table or picture is missing or cannot be used (here, or in ``records``).
    """

    def __init__(
        self, root: str | Path, *, validation_share: float = 0.0, test_share: float = 0.0, seed: int = 0
    ) -> None:
        """Look for the folder and its tables."""
        self.root = Path(root).absolute()
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder. Give data.root the folder of the ISIC 2018 files.")
        self.shares = {"validation": validation_share, "test": test_share}
        self.seed = seed
        self._tables = {split: _find_table(self.root, f"{part}_GroundTruth") for split, part in PARTS.items()}
        if self._tables["train"] is None:
            raise DataError(
                f"{self.root}: no ISIC2018_Task3_Training_GroundTruth.csv (or .gz), here or in its own folder. "
                "Give data.root the folder that holds it, or use data.source=folder."
            )
        self._groupings = _find_table(self.root, "Training_LesionGroupings")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The columns of the training table after ``image``, in its order."""
        table = self._tables["train"]
        assert table is not None
        return _class_columns(table, read_rows(table))

    def records(self) -> list[ImageRecord]:
        """Every picture of the tables, sorted by split (train, validation, test) and id.

        Raises:
            DataError: pictures missing, rows not one-hot, duplicate ids, classes that differ between
                the tables, or lesions on two sides of a split: all that is wrong in one error.
        """
        class_names, groups = self.class_names, self._read_groups()
        parts = [
            _Part(split, table, read_rows(table), self._list_images(split))
            for split, table in self._tables.items()
            if table is not None
        ]
        refuse(self.root, (complaint for part in parts for complaint in part.complaints(class_names)))
        records = [record for part in parts for record in part.records(class_names, groups)]
        refuse(self.root, duplicates(record.image_id for record in records))
        refuse(self.root, crossing_groups((record.group, record.split) for record in records))
        records = self._split_missing_parts(records)
        order = {split: number for number, split in enumerate(PARTS)}
        return sorted(records, key=lambda record: (order[record.split], record.image_id))

    def signature(self) -> str:
        """The sha256 over names, sizes and times of the pictures and over the tables' bytes."""
        images = (path for path_of in map(self._list_images, PARTS) for path in path_of.values())
        tables = [table for table in (*self._tables.values(), self._groupings) if table is not None]
        return sign_files(self.root, images, tables)

    def _list_images(self, split: str) -> dict[str, Path]:
        folder = self.root / f"ISIC2018_Task3_{PARTS[split]}_Input"
        if self._tables[split] is None:
            return {}
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder, but {self._tables[split]} names its images. Copy it there.")
        return {path.stem: path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}

    def _read_groups(self) -> dict[str, str]:
        if self._groupings is None:
            return {}
        rows = read_rows(self._groupings)
        refuse(self._groupings, missing_columns(rows, ("image", "lesion_id")))
        return {row["image"]: row["lesion_id"] or row["image"] for row in rows}

    def _split_missing_parts(self, records: list[ImageRecord]) -> list[ImageRecord]:
        wanted = {side: share if self._tables[side] is None else 0.0 for side, share in self.shares.items()}
        if not any(wanted.values()):
            return records
        training = [record for record in records if record.split == "train"]
        rest = [record for record in records if record.split != "train"]
        return rest + split_by_group(
            training, validation_share=wanted["validation"], test_share=wanted["test"], seed=self.seed
        )


@dataclass(frozen=True)
class _Part:
    split: str
    table: Path
    rows: list[Row]
    paths: dict[str, Path]

    def complaints(self, class_names: tuple[str, ...]) -> Iterator[str]:
        folder = f"ISIC2018_Task3_{PARTS[self.split]}_Input"
        found = _class_columns(self.table, self.rows)
        if found != class_names:
            yield f"{self.table.name}: classes {', '.join(found)} are not the training table's {', '.join(class_names)}"
            return
        missing = [row["image"] for row in self.rows if row["image"] not in self.paths]
        if missing:
            kinds = " ".join(IMAGE_SUFFIXES)
            yield f"{self.table.name}: {list_first(missing, 'image')} not in {folder} as {kinds}; copy them there"
        wrong = [row["image"] for row in self.rows if _label(row, class_names) is None]
        if wrong:
            yield f"{self.table.name}: {list_first(wrong, 'row')} not one-hot; exactly one class must be 1.0"
        yield from (f"{self.table.name}: {complaint}" for complaint in duplicates(row["image"] for row in self.rows))

    def records(self, class_names: tuple[str, ...], groups: dict[str, str]) -> Iterator[ImageRecord]:
        for row in self.rows:
            name, label = row["image"], _label(row, class_names)
            assert label is not None  # complaints() came first
            group = groups.get(name, name)
            yield ImageRecord(name, class_names[label], label, self.split, group, str(self.paths[name]))


def _find_table(root: Path, name: str) -> Path | None:
    stem = f"ISIC2018_Task3_{name}"
    places = (folder / f"{stem}{suffix}" for folder in (root / stem, root) for suffix in (".csv", ".csv.gz"))
    return next((path for path in places if path.is_file()), None)


def _class_columns(table: Path, rows: list[Row]) -> tuple[str, ...]:
    refuse(table, missing_columns(rows, ("image",)))
    columns = tuple(column for column in rows[0] if column != "image")
    if not columns:
        raise DataError(f"{table}: no class columns; expected image,MEL,NV,... with one-hot rows.")
    return columns


def _label(row: Row, class_names: tuple[str, ...]) -> int | None:
    """The class that is 1 in a row whose others are 0, or None for any other row."""
    values = [_to_float(row[name]) for name in class_names]
    return values.index(1) if values.count(1) == 1 and values.count(0) == len(values) - 1 else None


def _to_float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
