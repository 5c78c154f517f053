"""Real and generated images for classifiers: cropped and resized to the generator's side, then to the classifiers'."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.config import Config
from vapray.data.decode import center_crop_resize, decode
from vapray.data.image_loading import load_square_images
from vapray.errors import DataError
from vapray.store.version import Version

__all__ = ["LabelledImages", "concat", "load_real", "read_synthetic"]

PICTURES_AT_ONCE = 256


@dataclass(frozen=True)
class LabelledImages:
    """Labelled images in memory.

    Attributes:
        images: Images, uint8 [N, S, S, 3].
        labels: Class indices, int64 [N].
        groups: Lesion or patient of each image; empty strings for generated images.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: Sequence[str]


def concat(first: LabelledImages, second: LabelledImages) -> LabelledImages:
    """Concatenate two sets."""
    return LabelledImages(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        [*first.groups, *second.groups],
    )


def load_real(images: Version, split: str, config: Config) -> LabelledImages:
    """Read all images of a split, sorted by id.

    Raises:
        DataError: an image can no longer be read; without it the scores would be of another set.
    """
    rows = images.read(["label", "group", "path", "split"]).filter(pc.field("split") == split).to_pylist()
    frames = _empty(len(rows), config)
    for begin in range(0, len(rows), PICTURES_AT_ONCE):
        paths = [row["path"] for row in rows[begin : begin + PICTURES_AT_ONCE]]
        found, _, reasons = load_square_images(paths, config.data.image_size)
        for position, reason in reasons.items():
            raise DataError(f"{paths[position]}: {reason}. Fix: restore it, or run `python -m jobs.ingest` again.")
        frames[begin : begin + len(found)] = _resized(found, config)
    return LabelledImages(frames, np.array([row["label"] for row in rows], np.int64), [row["group"] for row in rows])


def read_synthetic(samples: Version, config: Config) -> LabelledImages:
    """Read generated images, sorted by id: all, or ``downstream.n_synthetic`` drawn by the run's seed."""
    rows = samples.read(["sample_id", "arm"]).filter(pc.field("arm") == "generated")
    ids = rows.column("sample_id").to_pylist()
    order = np.random.default_rng(config.run.seed).permutation(len(ids))[: config.downstream.n_synthetic]
    place = {ids[number]: position for position, number in enumerate(sorted(order.tolist()))}
    frames, labels = _empty(len(place), config), np.zeros(len(place), np.int64)
    for row in _rows_of(samples, list(place)):
        position = place[row["sample_id"]]
        frames[position] = _resized(decode(row["png"])[None], config)[0]
        labels[position] = row["label"]
    return LabelledImages(frames, labels, [""] * len(place))


def _rows_of(samples: Version, ids: list[str]) -> Iterator[dict[str, Any]]:
    for part in samples.read_parts(["sample_id", "label", "png"]):
        yield from part.filter(pc.is_in(part.column("sample_id"), pa.array(ids, pa.string()))).to_pylist()


def _empty(count: int, config: Config) -> NDArray[np.uint8]:
    side = side_of(config)
    return np.zeros((count, side, side, 3), np.uint8)


def _resized(frames: NDArray[np.uint8], config: Config) -> NDArray[np.uint8]:
    side = side_of(config)
    return frames if frames.shape[1] == side else np.stack([center_crop_resize(frame, side) for frame in frames])


def side_of(config: Config) -> int:
    """Side of the classifiers' images, in pixels."""
    return config.downstream.image_side or config.data.image_size
