"""ISIC 2018 Task 3, and datasets in the same layout.

    root/ISIC2018_Task3_Training_Input/ISIC_0024306.jpg ...   or in a folder of the same name there
    root/ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv
                                                       image,MEL,NV,...  one-hot
    root/ISIC2018_Task3_Training_LesionGroupings.csv   image,lesion_id,diagnosis_confirm_type  (optional)

and the same with Validation and Test, each optional. Tables may also be directly in root, and may be gzipped.
Classes are the header's columns, so other class sets work. Images that no table names are left out. Their names tell
licence and source: those of ISIC 2018 and of the phantoms are known.
"""

from collections.abc import Iterator
from pathlib import Path

from vapray.data.file_tree import FileTree
from vapray.data.label_tables import (
    duplicates,
    find_required_table,
    find_table,
    is_missing,
    missing_columns,
    raise_problems,
    read_rows,
)
from vapray.data.one_hot import OneHotTable
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.splits import crossing_groups, split_by_group
from vapray.errors import DataError

ORIGINS = {"ISIC_": ("CC-BY-NC-4.0", "ISIC 2018"), "PHANTOM_": ("CC0-1.0", "vapray phantoms")}
"""Licence and source, by the prefix of the image's name."""
PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}


class Isic2018(ImageSource):
    """ImageSource for a folder in the ISIC 2018 Task 3 layout.

    Args:
        root: folder that contains ``ISIC2018_Task3_Training_Input``.
        validation_share: share of the training images, in whole lesions, that replaces a missing Validation part.
        test_share: share of the training images, in whole lesions, that replaces a missing Test part.
        seed: seed of that split.

    Raises:
        DataError: a folder, table or image is missing or invalid (here, or in ``records``).
    """

    def __init__(
        self, root: str | Path, *, validation_share: float = 0.0, test_share: float = 0.0, seed: int = 0
    ) -> None:
        """Find the folder and its tables."""
        self.root = dataset_folder(root, "of the ISIC 2018 files")
        self.tree = FileTree(self.root)
        self._shares, self._seed = {"validation": validation_share, "test": test_share}, seed
        find_required_table(self.root, _name("train", "GroundTruth"))
        found = {split: find_table(self.root, _name(split, "GroundTruth")) for split in PARTS}
        self._tables = {split: table for split, table in found.items() if table is not None}
        self._groupings = find_table(self.root, _name("train", "LesionGroupings"))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Columns of the training table after ``image``, in its order."""
        return OneHotTable(self._tables["train"]).columns

    def records(self) -> list[ImageRecord]:
        """List the images of all tables, sorted by split (train, validation, test) and id.

        Raises:
            DataError: images missing, rows not one-hot, duplicate ids, classes that differ between
                the tables, or lesions on two sides of a split; one error lists all problems.
        """
        tables = {split: OneHotTable(path) for split, path in self._tables.items()}
        images = {split: self._list_images(split) for split in tables}
        names, groups = tables["train"].columns, self._read_groups()
        raise_problems(
            self.root,
            (problem for split in tables for problem in _problems(tables[split], split, images[split], names)),
        )
        records = [
            ImageRecord(
                image,
                name,
                names.index(name),
                split,
                groups.get(image, image),
                str(images[split][image]),
                licence=_origin(image)[0],
                source=_origin(image)[1],
                subject=groups.get(image, ""),
            )
            for split, table in tables.items()
            for image, name in table.classes.items()
        ]
        raise_problems(self.root, duplicates(record.image_id for record in records))
        raise_problems(self.root, crossing_groups((record.group, record.split) for record in records))
        return in_order(self._split_missing_parts(records))

    def signature(self) -> str:
        """Compute the sha256 over names, sizes and times of the images and over the tables' bytes."""
        images = (path for split in self._tables for path in self._list_images(split).values())
        return sign_files(self.root, images, self.tables())

    def tables(self) -> list[Path]:
        """List the ground truth of each part, and the lesions of the training part."""
        return [table for table in (*self._tables.values(), self._groupings) if table is not None]

    def _list_images(self, split: str) -> dict[str, Path]:
        folder = self.root / _name(split, "Input")
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder, but {self._tables[split]} lists images in it. Fix: copy it.")
        # Kaggle's archives repeat the folder inside of itself.
        return self.tree.photos(f"{folder.name}(/{folder.name})?")

    def _read_groups(self) -> dict[str, str]:
        if self._groupings is None:
            return {}
        rows = read_rows(self._groupings)
        raise_problems(self._groupings, missing_columns(rows, ("image", "lesion_id")))
        return {row["image"]: row["lesion_id"] for row in rows if row["lesion_id"] and not is_missing(row["lesion_id"])}

    def _split_missing_parts(self, records: list[ImageRecord]) -> list[ImageRecord]:
        wanted = {side: 0.0 if side in self._tables else share for side, share in self._shares.items()}
        training = [record for record in records if record.split == "train"]
        rest = [record for record in records if record.split != "train"]
        return rest + split_by_group(
            training, validation_share=wanted["validation"], test_share=wanted["test"], seed=self._seed
        )


def _origin(image: str) -> tuple[str, str]:
    return next((origin for prefix, origin in ORIGINS.items() if image.startswith(prefix)), ("", ""))


def _name(split: str, kind: str) -> str:
    return f"ISIC2018_Task3_{PARTS[split]}_{kind}"


def _problems(table: OneHotTable, split: str, images: dict[str, Path], names: tuple[str, ...]) -> Iterator[str]:
    if table.columns != names:
        found, wanted = ", ".join(table.columns), ", ".join(names)
        yield f"{table.path.name}: classes {found} are not the training table's {wanted}"
    else:
        yield from table.validate(images, _name(split, "Input"))
