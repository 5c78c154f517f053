"""The nearest of all training pictures, exact, in blocks.

Training pictures are read part by part, and of each picture that is looked up only its nearest ones are kept: memory
does not grow with the training set.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.evaluation.memorisation.views import SIDE, VALUES, views
from vapray.store import Version
from vapray.tables import TABLES, part_of, unpack

__all__ = ["AROUND", "NearestFirst", "NeighbourSearch", "feature_distances", "pixel_distances"]

AROUND = 50
"""Nearest training pictures whose mean distance a distance is set beside."""
ASKED_AT_ONCE, TRAINING_AT_ONCE = 16, 1024
"""Pictures in one product of matrices; with 100 views each it takes 13 MB."""


class NearestFirst:
    """The smallest distances of B pictures to all training pictures that were taken so far.

    Args:
        count: B.
    """

    def __init__(self, count: int) -> None:
        self._least = np.full((count, AROUND), np.inf)
        self._keys = np.full(count, None, dtype=object)

    def take(self, distances: NDArray[np.float64], keys: Sequence[str]) -> None:
        """Distances [B, R] to R further training pictures; of equal ones the first stays the nearest."""
        place = distances.argmin(axis=1)
        nearer = distances[np.arange(len(place)), place] < self._least[:, 0]
        self._keys[nearer] = np.array(keys, dtype=object)[place[nearer]]
        together = np.concatenate([self._least, distances], axis=1)
        self._least = np.sort(np.partition(together, AROUND - 1, axis=1)[:, :AROUND], axis=1)

    def of(self, row: int) -> tuple[str | None, float, float]:
        """Key of the nearest, its distance, and the mean distance of the nearest ``AROUND`` or of all there are."""
        found = self._least[row][np.isfinite(self._least[row])]
        return (self._keys[row], float(found[0]), float(found.mean())) if len(found) else (None, np.nan, np.nan)


def pixel_distances(asked: NDArray[np.uint8], training: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean square difference, in grey levels of 255, of the view that is nearest.

    Args:
        asked: thumbnails [B, 32, 32, 3].
        training: cores [R, VALUES].

    Returns:
        [B, R]; the same whatever is asked together.
    """
    return np.concatenate(
        [_of_some(asked[i : i + ASKED_AT_ONCE], training) for i in range(0, len(asked), ASKED_AT_ONCE)]
    )


def _of_some(asked: NDArray[np.uint8], training: NDArray[np.uint8]) -> NDArray[np.float64]:
    seen = _centred(views(asked).reshape(-1, VALUES))
    blocks = [
        _nearest_view(seen, _centred(training[i : i + TRAINING_AT_ONCE]), len(asked))
        for i in range(0, len(training), TRAINING_AT_ONCE)
    ]
    squared = np.concatenate([block.numpy() for block in blocks], axis=1)
    return np.sqrt(squared / VALUES)


def _centred(values: NDArray[np.uint8]) -> Tensor:
    """Whole numbers of -128 to 127: a product of two rows is below 2^24, so that float32 has it exactly."""
    return torch.tensor(values).float().sub_(128)


def _nearest_view(seen: Tensor, training: Tensor, count: int) -> Tensor:
    """Squared distances int32 [count, R]."""
    products = (seen @ training.T).int()
    products.mul_(-2).add_(seen.square().sum(1).int()[:, None])
    return products.view(count, -1, len(training)).amin(1).add_(training.square().sum(1).int())


def feature_distances(asked: NDArray[np.float64], training: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances [B, R] of standardised features [B, F] and [R, F]; 0 where they are equal."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(torch.tensor(asked), torch.tensor(training), compute_mode=exact).numpy()


class NeighbourSearch:
    """Rows of ``suspects`` to rows of ``nearest``; 1:1.

    Args:
        measurements: holds the training pictures, as the set ``reference``.
        mean: [F], of their features.
        scale: [F], the deviations of their features.
    """

    def __init__(self, measurements: Version, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        self._measurements, self._mean, self._scale = measurements, mean, scale

    def __call__(self, rows: pa.Table) -> pa.Table:
        """A part of ``nearest``."""
        pixels, features = _stacked(rows["pixels"], "uint8", SIDE, SIDE, 3), self._standardised(rows["features"])
        by_pixels, by_features = NearestFirst(rows.num_rows), NearestFirst(rows.num_rows)
        for part in self._training():
            keys = part["key"].to_pylist()
            by_pixels.take(pixel_distances(pixels, _stacked(part["pixels"], "uint8", VALUES)), keys)
            by_features.take(feature_distances(features, self._standardised(part["features"])), keys)
        names = [
            f"{measure}_{what}" for measure in ("pixel", "feature") for what in ("neighbour", "distance", "around")
        ]
        found = [
            {"key": key, "set": name, **dict(zip(names, (*by_pixels.of(row), *by_features.of(row)), strict=True))}
            for row, (key, name) in enumerate(zip(rows["key"].to_pylist(), rows["set"].to_pylist(), strict=True))
        ]
        return part_of(TABLES["nearest"], found)

    def _training(self) -> Iterator[pa.Table]:
        for part in self._measurements.read_parts(["key", "set", "pixels", "features"]):
            if (training := part.filter(pc.equal(part["set"], "reference"))).num_rows:
                yield training

    def _standardised(self, features: pa.ChunkedArray) -> NDArray[np.float64]:
        return (_stacked(features, "float32", -1).astype(np.float64) - self._mean) / self._scale


def _stacked(column: pa.ChunkedArray, dtype: str, *shape: int) -> NDArray[Any]:
    return np.stack([unpack(data, dtype, *shape) for data in column.to_pylist()])
