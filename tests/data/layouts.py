"""Small folders in the layouts of the official datasets."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

VOC = "<annotation><folder>{folder}</folder><filename>f.jpg</filename><path>{path}</path>{objects}</annotation>"


def draw(*paths: Path) -> None:
    """A picture of 4 x 4 pixels at each path."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (120, 60, 60)).save(path)


FOUR = ("mel/0.jpg", "mel/1.jpg", "nv/0.jpg", "nv/1.jpg")


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    """Files by path, with their texts; images may be empty, since a folder is read by names."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def empty_images(*folders: str, names: tuple[str, ...] = FOUR) -> dict[str, str]:
    """Empty files of these names in each folder, for ``write_files``."""
    return {f"{folder}{name}": "" for folder in folders for name in names}


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def write_isic2019(root: Path, lesions: Sequence[str], classes: Sequence[str]) -> Path:
    """One picture for each lesion id (which may be empty) and class."""
    names = [f"ISIC_{number:07}" for number in range(len(lesions))]
    columns = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    truth = [
        [name, *(float(found == column) for column in columns)] for name, found in zip(names, classes, strict=True)
    ]
    write_table(root / "ISIC_2019_Training_GroundTruth.csv", ["image", *columns], truth)
    metadata = [[name, 55, "", lesion, ""] for name, lesion in zip(names, lesions, strict=True)]
    header = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    write_table(root / "ISIC_2019_Training_Metadata.csv", header, metadata)
    draw(*(root / "ISIC_2019_Training_Input" / f"{name}.jpg" for name in names))
    return root


def write_chestxray14(
    root: Path, findings: Sequence[Sequence[str]], tested: int, *, first_release: bool = False
) -> Path:
    """One patient for each entry, with a picture for each of its findings; the last ``tested`` are the test."""
    header = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender"]
    header += ["View Position", "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"]
    age: str | int = "060Y" if first_release else 60
    rows = [
        [f"{patient:08}_{number:03}.png", finding, number, patient, age, "M", "PA", 2682, 2749, 0.143, 0.143]
        for patient, found in enumerate(findings, 1)
        for number, finding in enumerate(found)
    ]
    if first_release:
        header, rows = [*header, ""], [[*row, ""] for row in rows]
    write_table(root / f"Data_Entry_2017{'' if first_release else '_v2020'}.csv", header, rows)
    border = len(findings) - tested
    for name, wanted in (("train_val_list", False), ("test_list", True)):
        listed = [str(row[0]) for row in rows if (int(str(row[3])) > border) == wanted]
        (root / f"{name}.txt").write_text("\n".join(listed))
    for number, row in enumerate(rows):  # in two folders, one of them as Kaggle packs them
        draw(root / ("images_001/images" if number % 2 else "images") / str(row[0]))
    return root


def write_voc(root: Path, name: str, objects: Sequence[str], *, path: str = "", folder: str = "") -> None:
    """A frame of PolypsSet with its annotation; ``name`` is train2019/7 or val2019/3/7."""
    split, _, rest = name.partition("/")
    draw(root / split / "Image" / f"{rest}.jpg")
    annotation = root / split / "Annotation" / f"{rest}.xml"
    annotation.parent.mkdir(parents=True, exist_ok=True)
    found = "".join(f"<object><name>{name}</name></object>" for name in objects)
    annotation.write_text(VOC.format(folder=folder, path=path, objects=found))


def write_sun_case(root: Path, folder: str, frames: int, *, annotated: int | None = None) -> None:
    """A case of SUN; the first ``annotated`` of its frames are listed in annotation_txt, None: it has no list."""
    draw(*(root / folder / f"{number}.jpg" for number in range(frames)))
    if annotated is not None:
        lines = [f"{number}.jpg 1,1,3,3,0" for number in range(annotated)]
        table = (root / folder).parent / "annotation_txt" / f"{Path(folder).name}.txt"
        table.parent.mkdir(exist_ok=True)
        table.write_text("\n".join(lines))


def write_colonoscopy(root: Path) -> Path:
    """All three parts, a few frames each."""
    polypsset, sun, mesejo = root / "PolypsSet", root / "SUN", root / "Mesejo"
    for number in range(6):
        kind = "adenomatous" if number % 2 else "hyperplastic"
        path = f"D:\\frames\\{number // 2}" + ("\\1.jpg" if number < 3 else "")
        write_voc(polypsset, f"train2019/{number}", [kind], path=path)
    for number in range(3):
        write_voc(polypsset, f"val2019/3/{number}", ["Adenomatous", "adenomatous"])
    write_voc(polypsset, "test2019/1/0", [])
    write_voc(polypsset, "test2019/1/1", ["adenomatous", "hyperplastic"])
    for case in (1, 2, 3):
        write_sun_case(sun, f"sundatabase_positive_part1/case{case}", 4, annotated=3)
    write_sun_case(sun, "sundatabase_negative_part1/case1", 5)
    rows = [
        ["case1", "Low-grade adenoma", "p1"],
        ["2", "Sessile serrated lesion", "p1"],
        ["case3", "invasive cancer", ""],
    ]
    write_table(sun / "cases.csv", ["case", "diagnosis", "patient"], rows)
    for lesion, light in (("adenoma_01", "WL"), ("adenoma_01", "NBI"), ("serrated_01", "WL"), ("hyperplasic_02", "WL")):
        draw(*(mesejo / lesion.split("_")[0] / lesion / light / f"{number}.png" for number in range(2)))
    return root
