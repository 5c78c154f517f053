"""ChestX-ray14, of the NIH Clinical Center.

    root/Data_Entry_2017*.csv        Image Index, Finding Labels (joined by |), Patient ID, ...; either release
    root/train_val_list.txt          the official split, a file name on each line; also train_val_list_NIH.txt
    root/test_list.txt
    root/images*/00000001_000.png    also images*/images*/

Tables and lists may be gzipped. Images with one finding are kept. Validation is split from train_val, by patient.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from vapray.data.file_tree import FileTree
from vapray.data.image_files import missing_images
from vapray.data.label_tables import (
    Row,
    duplicates,
    find_required_table,
    find_table,
    missing_columns,
    other_columns,
    raise_problems,
    read_rows,
    read_text,
    summarize_names,
)
from vapray.data.records import ImageRecord, ImageSource, dataset_folder, in_order, sign_files
from vapray.data.splits import crossing_groups, split_by_group
from vapray.errors import DataError

NAME, FINDINGS, PATIENT = "Image Index", "Finding Labels", "Patient ID"
NO_FINDING = "No Finding"
LICENCE = "NIH Clinical Center: free use with credit"
"""Terms of the dataset, which have no SPDX id."""
LISTS = {"train": "train_val_list", "test": "test_list"}


class ChestXray14(ImageSource):
    """ImageSource for a folder in the layout of ChestX-ray14.

    Args:
        root: folder that contains ``Data_Entry_2017*.csv``.
        validation_share: share of the official train_val images for validation, in whole patients.
        seed: seed of that split.
        no_finding: also keep images without a finding, as a class of their own.

    Raises:
        DataError: a table, list or image is missing or invalid (here, or in ``records``).
    """

    def __init__(
        self, root: str | Path, *, validation_share: float = 0.1, seed: int = 0, no_finding: bool = False
    ) -> None:
        """Find the folder, its table and its lists."""
        self.root = dataset_folder(root, "of the ChestX-ray14 files")
        self.tree = FileTree(self.root)
        self._split = partial(split_by_group, validation_share=validation_share, test_share=0, seed=seed)
        self._no_finding = no_finding
        self._table = _find_table(self.root)
        self._lists = {
            split: find_table(self.root, f"{name}_NIH", ".txt") or find_required_table(self.root, name, ".txt")
            for split, name in LISTS.items()
        }

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Findings that occur alone, sorted; No Finding is last if it is kept."""
        return tuple(sorted({row[FINDINGS] for row in self._kept}, key=lambda name: (name == NO_FINDING, name)))

    def records(self) -> list[ImageRecord]:
        """List the images with one finding, sorted by split (train, validation, test) and id.

        Raises:
            DataError: images missing, ids duplicated, on no list or on both, patients on both sides of the split;
                one error lists all problems.
        """
        images, split_of = self._images, self._split_of
        raise_problems(self.root, self._problems())
        records = [
            ImageRecord(
                image_id=_id(row),
                class_name=row[FINDINGS],
                label=self.class_names.index(row[FINDINGS]),
                split=split_of[row[NAME]],
                group=row[PATIENT],
                path=str(images[_id(row)]),
                licence=LICENCE,
                source="ChestX-ray14",
                subject=row[PATIENT],
                metadata=other_columns(row, (NAME, FINDINGS, PATIENT)),
            )
            for row in self._kept
        ]
        seen = [record for record in records if record.split == "train"]
        return in_order([*self._split(seen), *(record for record in records if record.split == "test")])

    def signature(self) -> str:
        """Compute the sha256 over names, sizes and times of the images and over the tables' bytes."""
        return sign_files(self.root, self._images.values(), self.tables())

    def tables(self) -> list[Path]:
        """List the table of findings and the lists of the split."""
        return [self._table, *self._lists.values()]

    def left_out(self) -> dict[str, str]:
        """Map the images that show several findings, or none, to the reason."""
        reasons = {"several": "image with several findings", "none": "image without a finding"}
        kept = {_id(row) for row in self._kept}
        return {
            self._images[_id(row)].relative_to(self.root).as_posix(): reasons[_kind(row)]
            for row in self._rows
            if _id(row) in self._images and _id(row) not in kept
        }

    def notes(self) -> list[str]:
        """Count the images that are left out, by reason."""
        kinds = Counter(_kind(row) for row in self._rows)
        fate = "kept as a class" if self._no_finding else "left out (data.no_finding=true keeps them)"
        return [
            f"Of {len(self._rows):,} images {kinds['one']:,} show one finding and are kept, {kinds['several']:,} "
            f"show several and are left out, {kinds['none']:,} show none and are {fate}."
        ]

    @cached_property
    def _rows(self) -> list[Row]:
        rows = read_rows(self._table)
        raise_problems(self._table, missing_columns(rows, (NAME, FINDINGS, PATIENT)))
        return rows

    @cached_property
    def _kept(self) -> list[Row]:
        kinds = ("one", "none") if self._no_finding else ("one",)
        return [row for row in self._rows if _kind(row) in kinds]

    @cached_property
    def _images(self) -> dict[str, Path]:
        return self.tree.photos("images[^/]*(/images[^/]*)?")

    @cached_property
    def _listed(self) -> list[tuple[str, str]]:
        """(file name, split)."""
        return [(name, split) for split, path in self._lists.items() for name in read_text(path).split()]

    @property
    def _split_of(self) -> dict[str, str]:
        return dict(self._listed)

    def _problems(self) -> Iterator[str]:
        names, split_of = [row[NAME] for row in self._rows], self._split_of
        yield from duplicates(names)
        yield from (
            f"{' and '.join(path.name for path in self._lists.values())}: {text}"
            for text in duplicates(name for name, _ in self._listed)
        )
        if unlisted := [name for name in names if name not in split_of]:
            yield f"{summarize_names(unlisted, 'image')} on neither list; take the official lists"
        if strangers := sorted(split_of.keys() - set(names)):
            yield f"{summarize_names(strangers, 'listed image')} not in {self._table.name}; take the official lists"
        if blank := [row[NAME] for row in self._rows if not row[FINDINGS] or not row[PATIENT]]:
            yield f"{self._table.name}: {summarize_names(blank, 'row')} without {FINDINGS} or {PATIENT}; fill them in"
        if not self._kept:
            yield f"{self._table.name}: no image shows a single finding"
        yield from missing_images(map(_id, self._kept), self._images, "images*")
        # Images that are left out count too: a split that divides a patient is not the official one.
        yield from crossing_groups((row[PATIENT], split_of[row[NAME]]) for row in self._rows if row[NAME] in split_of)


def _find_table(root: Path) -> Path:
    tables = [path for end in ("csv", "csv.gz") for path in sorted(root.glob(f"Data_Entry_2017*.{end}"))]
    if len(tables) == 1:
        return tables[0]
    if tables:
        raise DataError(
            f"{root}: {summarize_names([path.name for path in tables], 'table')} for one dataset; keep one."
        )
    raise DataError(
        f"{root}: no Data_Entry_2017*.csv (or .gz). Fix: set data.root to its folder, or use data.source=folder."
    )


def _id(row: Row) -> str:
    return row[NAME].rpartition(".")[0]


def _kind(row: Row) -> str:
    if row[FINDINGS] == NO_FINDING:
        return "none"
    return "several" if "|" in row[FINDINGS] else "one"
