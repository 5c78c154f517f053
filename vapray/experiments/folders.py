"""Measurement of a folder of images from another generator, against the real images of the other rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vapray.config import Config
from vapray.data.image_loading import load_square_images
from vapray.errors import DataError
from vapray.evaluation.service.real_images import RealImages, measured_references
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.evaluation.service.set_measurement import SetMeasurement
from vapray.store.run_store import Store
from vapray.store.version import Version

__all__ = ["measure_folder"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
BATCH = 128


def measure_folder(folder: str, images: Version, config: Config, log: Callable[[str], None]) -> dict[str, Any]:
    """Measure all images below a folder; numbers have the names of ``metrics.json``.

    Args:
        folder: folder of images, subfolders included.
        images: table of the real images.
        config: sections ``data``, ``evaluate`` and ``run``: preparation and comparison of the images.
        log: logs that real images are measured again, and the number of unreadable images.

    Raises:
        DataError: no folder, or fewer than two readable images.
    """
    paths = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no images. Fix: give a folder of {', '.join(sorted(SUFFIXES))}.")
    real = RealImages(images, measured_references(Store(config.run.root), images))
    reference = ReferenceStatistics.load(real, config, config.run.root, log)
    measured, bad = SetMeasurement(reference, "generated"), 0
    for begin in range(0, len(paths), BATCH):
        frames, _, reasons = load_square_images(paths[begin : begin + BATCH], config.data.image_size)
        bad += len(reasons)
        if len(frames):
            measured.add(frames)
    if bad:
        log(f"{folder}: {bad:,} of {len(paths):,} images cannot be read and are skipped")
    found = measured.results()
    numbers = {name: value and value["value"] for name, value in found.items() if value is None or _is_number(value)}
    return numbers | {
        "n_generated": found["n"],
        "n_real": found["n_reference"],
        "features": found["features"],
        "warnings": found["warnings"],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value
