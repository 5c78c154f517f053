"""Forecast of ingest and image counts, without decoding images."""

import io
from collections import Counter
from statistics import fmean

from PIL import Image

from vapray.config import Config
from vapray.data.dataset import open_dataset, phantom_root, phantom_shares
from vapray.data.image_loading import read_bytes
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import plan_views
from vapray.data.records import ImageRecord
from vapray.errors import ImageDecodeError
from vapray.runtime.forecast import Forecast, ForecastInputs, Images, part_overhead, pool_size
from vapray.store.version import Version

__all__ = ["count_images", "forecast", "reading_seconds"]

# Measured on one core of a laptop.
SECONDS_TO_OPEN, SECONDS_TO_DECODE_A_PIXEL, SECONDS_TO_DRAW_A_PIXEL = 0.8e-3, 25e-9, 0.42e-6
BYTES_OF_A_ROW, BYTES_OF_A_RECORD, BYTES_OF_A_DRAWN_PIXEL = 55, 12, 0.33
RGB_IN_MEMORY = 3 * 3  # bytes of a pixel: RGB in the file, in its conversion and in Pillow
LOOKED_AT = 32
UNREADABLE_PIXELS = 256 * 256


def count_images(config: Config, finished: Version | None) -> Images:
    """Count the images of a run, from the finished table or the dataset's own lists.

    Raises:
        DataError: there is no such dataset.
    """
    if finished is not None:
        rows = finished.read(["split", "width", "height"]).to_pylist()
        pixels = fmean(row["width"] * row["height"] for row in rows) if rows else 0.0
        splits = Counter(row["split"] for row in rows)
        return Images(splits, len(finished.require_manifest().notes["class_names"]), pixels)
    if config.data.source == "phantom":
        return _phantoms(config)
    source = open_dataset(config)
    records = source.records()
    return Images(Counter(record.split for record in records), len(source.class_names), _mean_pixels(records))


def forecast(outlook: ForecastInputs) -> Forecast:
    """Forecast ingest: every image is read and decoded once; phantoms are drawn first."""
    config, images = outlook.config, outlook.images
    pool = config.pools.ingest
    workers, device = pool_size(pool)
    drawn = images.count if config.data.source == "phantom" and not phantom_root(config).is_dir() else 0
    return Forecast(
        rows=images.count,
        part_bytes=images.count * BYTES_OF_A_ROW + part_overhead(images.count, pool),
        file_bytes=images.count * BYTES_OF_A_RECORD + drawn * images.pixels * BYTES_OF_A_DRAWN_PIXEL,
        startup_seconds=2.0,
        work_seconds=reading_seconds(images) * images.count / workers + drawn * images.pixels * SECONDS_TO_DRAW_A_PIXEL,
        peak_bytes=images.pixels * RGB_IN_MEMORY,
        workers=workers,
        device=device,
    )


def reading_seconds(images: Images) -> float:
    """Estimate the time to open and decode one image on one core, in seconds."""
    return SECONDS_TO_OPEN + images.pixels * SECONDS_TO_DECODE_A_PIXEL


def _phantoms(config: Config) -> Images:
    data = config.data
    modality = find_modality(data.modality)
    views = plan_views(modality, data.phantom.n_images, seed=config.run.seed, shares=phantom_shares(config))
    return Images(
        Counter(view.split for view in views), len(modality.class_names), data.phantom.width * data.phantom.height
    )


def _mean_pixels(records: list[ImageRecord]) -> float:
    """Estimate the mean pixels per image from sampled headers; an unreadable one counts as ``UNREADABLE_PIXELS``."""
    return fmean(map(_header_pixels, records[:: max(1, len(records) // LOOKED_AT)])) if records else 0.0


def _header_pixels(record: ImageRecord) -> float:
    try:
        with Image.open(io.BytesIO(read_bytes(record.path))) as image:
            return image.width * image.height
    except (ImageDecodeError, OSError, ValueError, Image.DecompressionBombError):
        return UNREADABLE_PIXELS
