"""Search for the training images nearest to one image."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vapray.data.image_loading import load_square_image
from vapray.errors import DataError
from vapray.evaluation.service.real_images import RealImages
from vapray.evaluation.service.reference import ReferenceStatistics
from vapray.evaluation.set_metrics import nearest_distance, standardize

__all__ = ["NearImage", "TrainingNeighbours", "real_thumbnail"]


@dataclass(frozen=True)
class NearImage:
    """Real training image near to the query."""

    class_name: str
    distance: float
    """Distance in standardized features, over the median distance of held-out real images to their nearest one."""
    path: str
    """Path, as in the table ``images``."""


class TrainingNeighbours:
    """Exhaustive search over all training images.

    Args:
        reference: Features of the training and held-out images.
        real: The images, for their paths.

    Raises:
        DataError: no real images are held out, which normalize the distances.
    """

    def __init__(self, reference: ReferenceStatistics, real: RealImages) -> None:
        if not len(reference.held_out.labels):
            raise DataError(f"{real.images.uri}: no real images are held out to normalize distances by.")
        self._reference, self._class_names = reference, real.class_names
        rows = real.images.read(["image_id", "path"]).to_pydict()
        self._paths = dict(zip(rows["image_id"], rows["path"], strict=True))
        self._usual = nearest_distance(reference.reference, reference.held_out)

    def nearest(self, picture: NDArray[np.uint8], k: int) -> list[NearImage]:
        """Find at most ``k`` training images nearest to an image uint8 [S, S, 3] of the model's size, nearest first."""
        # Rounded to float32, as the features of the training images are.
        features = np.asarray(self._reference.extractor(picture[None]), dtype=np.float32).astype(np.float64)
        real, asked = standardize(self._reference.reference, self._reference.feature_set(features))
        distances = np.sqrt(((real - asked) ** 2).sum(axis=1))
        return [self._near(row, float(distances[row])) for row in np.argsort(distances, kind="stable")[:k]]

    def _near(self, row: int, distance: float) -> NearImage:
        name = self._class_names[int(self._reference.reference.labels[row])]
        path = self._paths[self._reference.keys[row].removeprefix("image/")]
        return NearImage(name, distance / self._usual if self._usual else distance, path)


def real_thumbnail(path: str, side: int) -> bytes:
    """Encode a real image as PNG [side, side, 3], marked as real; keeps nothing of the original file but its pixels.

    Raises:
        ImageDecodeError: the file is missing or damaged.
    """
    chunks = PngInfo()
    chunks.add_text("Source", "Real training image")
    buffer = io.BytesIO()
    Image.fromarray(load_square_image(path, side)).save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()
