"""A small run over a folder of phantoms whose table has a scanner and an age, evaluated before and after downstream."""

import csv
from pathlib import Path

import pytest

from tests.conftest import made_once, run_job
from vapray.data.phantom.layout import write_isic2018

GROUPS = ("data.metadata_columns=[scanner,age]", "evaluate.groups=[scanner,age]", "evaluate.group_min_images=8")
DOWNSTREAM = ("downstream.steps=6", "downstream.batch_size=8", "downstream.shares=[1]", "downstream.seeds=[0,1]")


def folder_overrides(root: Path) -> list[str]:
    """Settings of a run over the folder."""
    return ["data.source=folder", f"data.root={root / 'photos'}", "sample.n_images=40", *DOWNSTREAM]


def write_folder(root: Path) -> None:
    """Phantoms as a folder with metadata.csv: scanner A or B, unknown for every ninth; ages 20 to 80, some missing."""
    drawn = write_isic2018(root / "drawn", modality="dermoscopy", n_images=90, image_width=48, image_height=48)
    with drawn.attributes.open() as table:
        rows = list(csv.DictReader(table))
    (root / "photos").mkdir()
    with (root / "photos" / "metadata.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file_name", "label", "group", "split", "scanner", "age"])
        for number, row in enumerate(rows):
            path = drawn.images[row["image_id"]]
            path.rename(root / "photos" / path.name)
            scanner = "" if number % 9 == 0 else "AB"[number % 2]
            age = "unknown" if number % 10 == 3 else str(20 + number % 61)
            group = row["lesion_id"] or row["image_id"]
            writer.writerow([path.name, row["class"], group, row["split"], scanner, age])


@pytest.fixture(scope="session")
def grouped_run(tmp_path_factory) -> Path:
    """Folder of the run ``run`` and the images ``photos``; tests must not change it."""

    def make(folder: Path) -> None:
        write_folder(folder)
        for stage in ("pipeline", "downstream", "evaluate"):
            done = run_job(stage, *folder_overrides(folder), *GROUPS, root=folder / "run")
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / f"{stage}.log").write_text(done.stdout)

    return made_once(tmp_path_factory, "grouped", make)
