"""HAM10000 as the dataset of ``results/protocol.yaml``: one table over the pictures, split by lesion.

    python results/ham10000.py --pictures FOLDER --labels labels.csv --metadata HAM10000_metadata.csv --output FOLDER

``labels.csv`` has image_id, file and label; the metadata, as published with HAM10000, has the lesion of each picture.
The split is 70 / 10 / 20 by lesion, stratified by class, and hangs on nothing but the ids.
"""

import argparse
import csv
import shutil
from pathlib import Path

from vapray.data.records import ImageRecord
from vapray.data.splits import split_by_group

SEED = 0


def main() -> None:
    """Write metadata.csv and copy the pictures beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pictures", "labels", "metadata", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    asked = parser.parse_args()
    with asked.metadata.open(newline="") as file:
        lesions = {row["image_id"]: row["lesion_id"] for row in csv.DictReader(file)}
    with asked.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    records = [
        ImageRecord(row["image_id"], row["label"], names.index(row["label"]), "train", lesions[row["image_id"]], "")
        for row in rows
    ]
    split = split_by_group(records, validation_share=0.1, test_share=0.2, seed=SEED)
    shutil.copytree(asked.pictures, asked.output / "images", dirs_exist_ok=True)
    with (asked.output / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "group", "split"])
        files = {row["image_id"]: Path(row["file"]).name for row in rows}
        writer.writerows([f"images/{files[one.image_id]}", one.class_name, one.group, one.split] for one in split)
    counts = {name: sum(one.split == name for one in split) for name in ("train", "validation", "test")}
    print(f"{len(split):,} pictures of {len({one.group for one in split}):,} lesions: {counts}")


if __name__ == "__main__":
    main()
