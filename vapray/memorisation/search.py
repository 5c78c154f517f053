"""Exact nearest-neighbour search over all training images, in blocks.

Training images are read part by part, and only the nearest ones of each query are kept, so memory does not grow with
the training set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.memorisation.candidates import COLUMNS
from vapray.memorisation.views import SIDE, VALUES, views
from vapray.metrics.frechet import FeatureStatistics
from vapray.runtime.row_map import map_rows, write_work_list
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part, unpack
from vapray.store.version import Version

__all__ = [
    "NUM_NEIGHBOURS",
    "NeighbourSearch",
    "RunningTopK",
    "feature_distances",
    "pixel_distances",
    "search_training_set",
]

NUM_NEIGHBOURS = 50
"""Number of nearest training images whose mean distance normalizes a distance."""
QUERIES_AT_ONCE, TRAINING_AT_ONCE = 16, 1024
"""Images in one matrix product; with 100 views per query it takes 13 MB."""
MEASURES, STATISTICS = ("pixel", "feature"), ("neighbour", "distance", "knn_mean")
"""Parts of the column names of ``nearest_training``, such as ``pixel_distance``."""


class RunningTopK:
    """Running smallest distances of B queries to the training images added so far.

    Args:
        count: Number of queries B.
    """

    def __init__(self, count: int) -> None:
        self._least = np.full((count, NUM_NEIGHBOURS), np.inf)
        self._keys = np.full(count, None, dtype=object)

    def update(self, distances: NDArray[np.float64], keys: Sequence[str]) -> None:
        """Add distances [B, R] to R more training images; of equal distances the first stays the nearest."""
        place = distances.argmin(axis=1)
        nearer = distances[np.arange(len(place)), place] < self._least[:, 0]
        self._keys[nearer] = np.array(keys, dtype=object)[place[nearer]]
        together = np.concatenate([self._least, distances], axis=1)
        self._least = np.sort(np.partition(together, NUM_NEIGHBOURS - 1, axis=1)[:, :NUM_NEIGHBOURS], axis=1)

    def nearest(self, row: int) -> tuple[str | None, float, float]:
        """Key and distance of the nearest training image, and the mean distance of up to ``NUM_NEIGHBOURS`` nearest."""
        found = self._least[row][np.isfinite(self._least[row])]
        return (self._keys[row], float(found[0]), float(found.mean())) if len(found) else (None, np.nan, np.nan)


def pixel_distances(queries: NDArray[np.uint8], training: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean square difference of the nearest view, in grey levels of 255.

    Args:
        queries: Thumbnails of the queries, uint8 [B, 32, 32, 3].
        training: Cores of the training images, uint8 [R, VALUES].

    Returns:
        Distances [B, R]; independent of the batching of queries.
    """
    return np.concatenate(
        [_of_some(queries[i : i + QUERIES_AT_ONCE], training) for i in range(0, len(queries), QUERIES_AT_ONCE)]
    )


def _of_some(queries: NDArray[np.uint8], training: NDArray[np.uint8]) -> NDArray[np.float64]:
    seen = _centred(views(queries).reshape(-1, VALUES))
    blocks = [
        _nearest_view(seen, _centred(training[i : i + TRAINING_AT_ONCE]), len(queries))
        for i in range(0, len(training), TRAINING_AT_ONCE)
    ]
    squared = np.concatenate([block.numpy() for block in blocks], axis=1)
    return np.sqrt(squared / VALUES)


def _centred(values: NDArray[np.uint8]) -> Tensor:
    """Shift to integers of -128 to 127: a product of two rows is below 2^24, so float32 represents it exactly."""
    return torch.tensor(values).float().sub_(128)


def _nearest_view(seen: Tensor, training: Tensor, count: int) -> Tensor:
    """Squared distances of the nearest views, int32 [count, R]."""
    products = (seen @ training.T).int()
    products.mul_(-2).add_(seen.square().sum(1).int()[:, None])
    return products.view(count, -1, len(training)).amin(1).add_(training.square().sum(1).int())


def feature_distances(queries: NDArray[np.float64], training: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances [B, R] of standardized features [B, F] and [R, F]; exactly 0 for equal rows."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(torch.tensor(queries), torch.tensor(training), compute_mode=exact).numpy()


class NeighbourSearch:
    """Row map from ``copy_candidates`` to ``nearest_training``, 1:1.

    Args:
        measurements: Version that holds the training images, as the set ``reference``.
        mean: Mean of their features, [F].
        scale: Standard deviations of their features, [F].
    """

    def __init__(self, measurements: Version, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        self._measurements, self._mean, self._scale = measurements, mean, scale

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Build a part of ``nearest_training``."""
        pixels, features = _stacked(rows["pixels"], "uint8", SIDE, SIDE, 3), self._standardize(rows["features"])
        by_pixels, by_features = RunningTopK(rows.num_rows), RunningTopK(rows.num_rows)
        for part in self._training():
            keys = part["key"].to_pylist()
            by_pixels.update(pixel_distances(pixels, _stacked(part["pixels"], "uint8", VALUES)), keys)
            by_features.update(feature_distances(features, self._standardize(part["features"])), keys)
        columns = ("key", "set", *(f"{measure}_{what}" for measure in MEASURES for what in STATISTICS))
        found = [
            dict(zip(columns, (key, name, *by_pixels.nearest(row), *by_features.nearest(row)), strict=True))
            for row, (key, name) in enumerate(zip(rows["key"].to_pylist(), rows["set"].to_pylist(), strict=True))
        ]
        return build_part(TABLES["nearest_training"], found)

    def _training(self) -> Iterator[pa.Table]:
        for part in self._measurements.read_parts(COLUMNS):
            if (training := part.filter(pc.equal(part["set"], "reference"))).num_rows:
                yield training

    def _standardize(self, features: pa.ChunkedArray) -> NDArray[np.float64]:
        return (_stacked(features, "float32", -1).astype(np.float64) - self._mean) / self._scale


def _stacked(column: pa.ChunkedArray, dtype: str, *shape: int) -> NDArray[Any]:
    return np.stack([unpack(data, dtype, *shape) for data in column.to_pylist()])


def search_training_set(
    run: StageContext, references: Version, training: FeatureStatistics, candidates: pa.Table, nearest: Version
) -> None:
    """Search all training images for those nearest to the candidates.

    Args:
        run: Context of the stage; the work list is stored under the fingerprint of its output.
        references: Version that holds the training images.
        training: Feature statistics of the training images.
        candidates: Columns of the table ``copy_candidates`` but ``reject``.
        nearest: Version that receives the results.
    """
    map_rows(
        replace(run, output=nearest),
        write_work_list(run, "copy_candidates", candidates),
        partial(NeighbourSearch, references, training.mean, training.scale),
        pool=run.config.pools.evaluate,
        columns=COLUMNS,
    )
