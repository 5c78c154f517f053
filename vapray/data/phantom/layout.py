"""Phantoms on disk in the ISIC 2018 Task 3 layout, with a table of their true attributes.

    root/ISIC2018_Task3_{Training,Validation,Test}_Input/PHANTOM_0000001.jpg
    root/ISIC2018_Task3_{...}_GroundTruth/ISIC2018_Task3_{...}_GroundTruth.csv
    root/ISIC2018_Task3_Training_LesionGroupings.csv
    root/phantom_attributes.csv        image_id, lesion_id, split, class, then one column per attribute

Colour sets are joined by ``|``. ``plan`` decides the images.
"""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vapray.data.isic2018 import PARTS
from vapray.data.label_tables import read_rows
from vapray.data.phantom.canvas import Attributes, ImageArray
from vapray.data.phantom.modalities import Modality, find_modality
from vapray.data.phantom.plan import SHARES, View, draw_view, plan_views
from vapray.errors import ConfigError, DataError

JPEG_QUALITY = 92
ATTRIBUTES_FILE = "phantom_attributes.csv"
_SHARE_ATTRIBUTES = frozenset({"size", "lung_area", "opacity_size", "heart_width"})
_SET_ATTRIBUTES = frozenset({"colours"})
_KEY_COLUMNS = ("image_id", "lesion_id", "split", "class")


@dataclass(frozen=True)
class PhantomFolder:
    """Paths of a written dataset."""

    root: Path
    attributes: Path
    images: dict[str, Path]


def write_isic2018(
    root: str | Path,
    *,
    modality: str,
    n_images: int,
    image_width: int = 128,
    image_height: int = 96,
    seed: int = 0,
    shares: Mapping[str, float] = SHARES,
    priors: Mapping[str, float] | None = None,
    unseen: Sequence[str] = (),
) -> PhantomFolder:
    """Draw a dataset; the folder appears under its name only when it is complete.

    Args:
        root: folder to create; must not exist, or be empty.
        modality: name of a modality of ``MODALITIES``.
        n_images: number of images over all splits; at least one per class.
        image_width: width of an image, in pixels.
        image_height: height of an image, in pixels.
        seed: seed of all draws; the same seed gives the same bytes.
        shares: share of the images by split; divided by their sum.
        priors: weight of each class; None: equal weights.
        unseen: attributes; a quarter of the combinations of their values is in the test split only.

    Raises:
        ConfigError: unknown modality, split, class or attribute, or too few images, pixels or combinations.
        DataError: ``root`` contains files.
    """
    target, drawn = Path(root).absolute(), find_modality(modality)
    _check_request(target, drawn, n_images, min(image_width, image_height), shares, priors)
    views = plan_views(drawn, n_images, seed=seed, shares=shares, priors=priors, unseen=unseen)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _write_tables(draft, drawn, views)
        for view in views:
            path = draft / _image_path(view)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_jpeg(draw_view(drawn, view, image_height, image_width)))
        draft.chmod(0o755)
        os.replace(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return PhantomFolder(
        target, target / ATTRIBUTES_FILE, {view.image_id: target / _image_path(view) for view in views}
    )


def encode_jpeg(image: ImageArray) -> bytes:
    """Encode an image as JPEG of quality JPEG_QUALITY with full colour resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def read_attributes(root: str | Path) -> dict[str, Attributes]:
    """Read the true attributes by image id: shares as float, sets as tuples, choices as str; raises DataError."""
    path = Path(root) / ATTRIBUTES_FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file; only phantom folders have true attributes")
    return {
        row["image_id"]: {name: _parse_value(name, cell) for name, cell in row.items() if name not in _KEY_COLUMNS}
        for row in read_rows(path)
    }


def _parse_value(name: str, cell: str) -> str | float | tuple[str, ...]:
    if name in _SHARE_ATTRIBUTES:
        return float(cell)
    return tuple(cell.split("|")) if name in _SET_ATTRIBUTES else cell


def _image_path(view: View) -> Path:
    return Path(f"ISIC2018_Task3_{PARTS[view.split]}_Input", f"{view.image_id}.jpg")


def _write_tables(root: Path, modality: Modality, views: Sequence[View]) -> None:
    for split in dict.fromkeys(view.split for view in views):
        stem = f"ISIC2018_Task3_{PARTS[split]}_GroundTruth"
        (root / stem).mkdir()
        rows = (
            (view.image_id, *(float(name == view.class_name) for name in modality.class_names))
            for view in views
            if view.split == split
        )
        _write_csv(root / stem / f"{stem}.csv", ("image", *modality.class_names), rows)
    groups = ((view.image_id, view.lesion_id, "phantom") for view in views if view.split == "train")
    _write_csv(
        root / "ISIC2018_Task3_Training_LesionGroupings.csv",
        ("image", "lesion_id", "diagnosis_confirm_type"),
        groups,
    )
    truths = (
        (view.image_id, view.lesion_id, view.split, view.class_name, *map(_format, view.attributes.values()))
        for view in views
    )
    _write_csv(root / ATTRIBUTES_FILE, (*_KEY_COLUMNS, *views[0].attributes), truths)


def _format(value: str | float | tuple[str, ...]) -> str:
    return "|".join(value) if isinstance(value, tuple) else str(value)


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _check_request(
    target: Path,
    modality: Modality,
    n_images: int,
    side: int,
    shares: Mapping[str, float],
    priors: Mapping[str, float] | None,
) -> None:
    for given, known in ((shares, tuple(PARTS)), (priors or {}, modality.class_names)):
        if unknown := [name for name in given if name not in known]:
            raise ConfigError(f"{', '.join(unknown)}: unknown; {modality.name} has {', '.join(known)}")
        if given and (min(given.values()) < 0 or sum(given.values()) <= 0):
            raise ConfigError(f"{dict(given)}: weights must be at least 0 and not all 0")
    if not shares.get("train"):
        raise ConfigError(f"shares {dict(shares)}: the train share must be above 0")
    if n_images < len(modality.class_names) or side < 16:
        raise ConfigError(f"n_images {n_images} at {side} pixels: at least {len(modality.class_names)} at 16")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: contains files; name a new folder, or remove it")
