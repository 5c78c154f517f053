"""ISIC 2019.

    root/ISIC_2019_Training_Input/ISIC_0000000.jpg ...   or in a folder of the same name there
    root/ISIC_2019_Training_GroundTruth.csv   image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK  one-hot
    root/ISIC_2019_Training_Metadata.csv      image,age_approx,anatom_site_general,lesion_id,sex

Tables may also be in a folder of their own name, and may be gzipped. Classes without an image, such as UNK, are left
out. There is no official test split: whole lesions are split at random.
"""

from functools import cached_property, partial
from pathlib import Path

from vapray.data.file_tree import FileTree
from vapray.data.label_tables import (
    Row,
    duplicates,
    find_required_table,
    is_missing,
    missing_columns,
    other_columns,
    raise_problems,
    read_rows,
)
from vapray.data.one_hot import OneHotTable
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.splits import split_by_group

IMAGES = "ISIC_2019_Training_Input"
HAM10000 = "HAM_"
"""Prefix of the lesion ids of HAM10000, which is the training set of ISIC 2018."""


class Isic2019(ImageSource):
    """ImageSource for a folder in the ISIC 2019 layout.

    Args:
        root: folder that contains ``ISIC_2019_Training_Input``.
        validation_share: share of the images for validation, in whole lesions.
        test_share: share of the images for testing, in whole lesions.
        seed: seed of the split.

    Raises:
        DataError: a folder, table or image is missing or invalid (here, or in ``records``).
    """

    def __init__(
        self, root: str | Path, *, validation_share: float = 0.1, test_share: float = 0.2, seed: int = 0
    ) -> None:
        """Find the folder and its tables."""
        self.root = dataset_folder(root, "of the ISIC 2019 files")
        self.tree = FileTree(self.root)
        self._split = partial(split_by_group, validation_share=validation_share, test_share=test_share, seed=seed)
        self._truth = find_required_table(self.root, "ISIC_2019_Training_GroundTruth")
        self._metadata = find_required_table(self.root, "ISIC_2019_Training_Metadata")

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Columns of the ground truth that have an image, in its order."""
        used = set(self._table.classes.values())
        return tuple(name for name in self._table.columns if name in used)

    def records(self) -> list[ImageRecord]:
        """List all images of the ground truth, sorted by split (train, validation, test) and id.

        Raises:
            DataError: images missing, rows not one-hot, duplicate ids; one error lists all problems.
        """
        images, lesions = self._images, self._lesions
        raise_problems(self.root, self._table.validate(images, IMAGES))
        records = [
            ImageRecord(
                image,
                name,
                self.class_names.index(name),
                "train",
                lesions.get(image) or image,
                str(images[image]),
                licence="CC-BY-NC-4.0",
                source="ISIC 2019",
                subject=lesions.get(image, ""),
                metadata=other_columns(self._metadata_rows.get(image, {}), ("image", "lesion_id")),
            )
            for image, name in self._table.classes.items()
        ]
        return in_order(self._split(records))

    def signature(self) -> str:
        """Compute the sha256 over names, sizes and times of the images and over the tables' bytes."""
        return sign_files(self.root, self._images.values(), self.tables())

    def tables(self) -> list[Path]:
        """List the ground truth and the metadata."""
        return [self._truth, self._metadata]

    def notes(self) -> list[str]:
        """Count the images shared with ISIC 2018, and those without a lesion id."""
        lesions = [self._lesions.get(image, "") for image in self._table.classes]
        shared, alone = sum(lesion.startswith(HAM10000) for lesion in lesions), lesions.count("")
        found = []
        if shared:
            found.append(
                f"{shared:,} of the {len(lesions):,} images are from HAM10000, the training set of ISIC 2018: "
                "neither dataset is unseen by a model that was trained on the other."
            )
        if alone:
            found.append(f"{alone:,} images have no lesion id: each is split as a lesion of its own.")
        return found

    @cached_property
    def _images(self) -> dict[str, Path]:
        # Kaggle's archive repeats the folder inside of itself.
        return self.tree.photos(f"{IMAGES}(/{IMAGES})?")

    @cached_property
    def _table(self) -> OneHotTable:
        return OneHotTable(self._truth)

    @cached_property
    def _metadata_rows(self) -> dict[str, Row]:
        rows = read_rows(self._metadata)
        raise_problems(self._metadata, missing_columns(rows, ("image", "lesion_id")))
        raise_problems(self._metadata, duplicates(row["image"] for row in rows))
        return {row["image"]: row for row in rows}

    @cached_property
    def _lesions(self) -> dict[str, str]:
        lesions = {image: row["lesion_id"] for image, row in self._metadata_rows.items()}
        return {image: "" if is_missing(lesion) else lesion for image, lesion in lesions.items()}
