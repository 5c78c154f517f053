"""Real dermoscopic pictures in the ISIC 2018 Task 3 layout: ``python -m tests.data.derm SOURCE TARGET``.

SOURCE holds ``images/`` and ``labels.csv`` (image_id, file, label); the lesions come from
``HAM10000_metadata.csv`` (possibly gzipped) in ``SOURCE/../tables``. Only a Training part is made.
"""

import csv
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from vapray.data.label_tables import Row, read_rows

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


def present_as_isic2018(source: Path, tables: Path, target: Path, *, every: int = 1) -> int:
    """Hard-link (where that fails, copy) every ``every``-th picture into ``target`` with its tables.

    Returns:
        The number of pictures presented.
    """
    rows = read_rows(source / "labels.csv")[::every]
    folder = target / "ISIC2018_Task3_Training_Input"
    folder.mkdir(parents=True)
    for row in rows:
        link(source / row["file"], folder / f"{row['image_id']}.jpg")
    truth = target / "ISIC2018_Task3_Training_GroundTruth"
    truth.mkdir()
    one_hot = [[row["image_id"], *(float(row["label"] == name) for name in CLASSES)] for row in rows]
    _write(truth / f"{truth.name}.csv", ["image", *CLASSES], one_hot)
    lesions = _read_lesions(tables)
    groups = [[row["image_id"], *lesions[row["image_id"]]] for row in rows]
    _write(
        target / "ISIC2018_Task3_Training_LesionGroupings.csv",
        ["image", "lesion_id", "diagnosis_confirm_type"],
        groups,
    )
    return len(rows)


def _read_lesions(tables: Path) -> dict[str, tuple[str, str]]:
    plain = tables / "HAM10000_metadata.csv"
    rows: list[Row] = read_rows(plain if plain.is_file() else plain.with_suffix(".csv.gz"))
    return {row["image_id"]: (row["lesion_id"], row["dx_type"]) for row in rows}


def link(source: Path, target: Path) -> None:
    """Hard-link, or copy where that fails."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write(path: Path, header: list[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    pictures = Path(sys.argv[1])
    print(present_as_isic2018(pictures, pictures.parent / "tables", Path(sys.argv[2])), "pictures")
