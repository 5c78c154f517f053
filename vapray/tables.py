"""Tables between stages: columns, types, shapes.

Stages do not import one another; they share these tables. Every table is plain Parquet that pandas reads without
vapray. A part holds finished rows and rejects together: a reject has its key, a reason in ``reject``, and nulls
elsewhere.

``records``, ``audited``, ``plan``, ``suspects`` and ``grid`` are the work lists of ingest, examine, sample, evaluate
and downstream; ``examinations``, ``measurements`` and ``downstream`` are results, and ``nearest`` the results of
evaluate for suspects. ``references`` holds the measurements of real images that evaluate compares with.

Arrays are stored as little-endian bytes next to their shape:
    context   float16 [L, width]       L and width are columns
    moments   float16 [2C, h, w]       mean and log-variance of the latent; C, h and w are columns
    pixels    uint8                    layout of vapray.evaluation.memorisation.views
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["REJECT", "TABLES", "Table", "held_out_split", "pack", "part_of", "unpack"]

REJECT = "reject"
_POINT_OF_THE_GRID = [
    ("key", pa.string()),
    ("network", pa.string()),
    ("share", pa.float64()),
    ("arm", pa.string()),
    ("seed", pa.int64()),
]
_MEASURED = [
    ("key", pa.string()),
    ("set", pa.string()),
    ("label", pa.int32()),
    ("features", pa.binary()),
    ("probabilities", pa.binary()),
    ("attributes", pa.string()),
    ("pixels", pa.binary()),
]
_ROW_OF_IMAGE = [
    ("image_id", pa.string()),
    ("label", pa.int32()),
    ("split", pa.string()),
    ("group", pa.string()),
]


@dataclass(frozen=True)
class Table:
    """Name, key column and columns of a table."""

    name: str
    key: str
    schema: pa.Schema


def _table(name: str, columns: list[tuple[str, pa.DataType]]) -> Table:
    return Table(name, columns[0][0], pa.schema([*columns, (REJECT, pa.string())]))


TABLES = {
    table.name: table
    for table in (
        _table("records", [*_ROW_OF_IMAGE, ("class", pa.string()), ("path", pa.string()), ("text", pa.string())]),
        _table(
            "images",
            [
                *_ROW_OF_IMAGE,
                ("class", pa.string()),
                ("path", pa.string()),
                ("text", pa.string()),
                ("sha256", pa.string()),
                ("width", pa.int32()),
                ("height", pa.int32()),
            ],
        ),
        _table(
            "captions",
            [
                *_ROW_OF_IMAGE,
                ("t1", pa.string()),
                ("t2_id", pa.string()),
                ("caption", pa.string()),
                ("cache_key", pa.string()),
                ("model", pa.string()),
                ("revision", pa.string()),
                ("strategy", pa.string()),
                ("prompt_version", pa.string()),
                ("sampling", pa.string()),
                ("prompt_tokens", pa.int32()),
                ("cached_tokens", pa.int32()),
                ("completion_tokens", pa.int32()),
                ("finish_reason", pa.string()),
                ("attempts", pa.int32()),
            ],
        ),
        _table(
            "audited",
            [
                *_ROW_OF_IMAGE,
                ("caption", pa.string()),
                ("cache_key", pa.string()),
                ("path", pa.string()),
                ("repeated", pa.bool_()),
            ],
        ),
        _table(
            "examinations",
            [
                *_ROW_OF_IMAGE,
                ("caption", pa.string()),
                ("cache_key", pa.string()),
                ("path", pa.string()),
                ("measured", pa.string()),
                ("again", pa.list_(pa.string())),
            ],
        ),
        _table(
            "bank",
            [
                *_ROW_OF_IMAGE,
                ("caption", pa.string()),
                ("context", pa.binary()),
                ("L", pa.int32()),
                ("width", pa.int32()),
            ],
        ),
        _table(
            "latents",
            [
                ("key", pa.string()),
                *_ROW_OF_IMAGE,
                ("flipped", pa.bool_()),
                ("moments", pa.binary()),
                ("C", pa.int32()),
                ("h", pa.int32()),
                ("w", pa.int32()),
            ],
        ),
        _table(
            "plan",
            [
                ("sample_id", pa.string()),
                ("arm", pa.string()),
                ("label", pa.int32()),
                ("caption", pa.string()),
                ("source_image_id", pa.string()),
                ("seed", pa.int64()),
            ],
        ),
        _table(
            "samples",
            [
                ("sample_id", pa.string()),
                ("arm", pa.string()),
                ("label", pa.int32()),
                ("class", pa.string()),
                ("caption", pa.string()),
                ("source_image_id", pa.string()),
                ("seed", pa.int64()),
                ("png", pa.binary()),
            ],
        ),
        _table("references", _MEASURED),
        _table("measurements", _MEASURED),
        _table(
            "suspects",
            [("key", pa.string()), ("set", pa.string()), ("pixels", pa.binary()), ("features", pa.binary())],
        ),
        _table(
            "nearest",
            [
                ("key", pa.string()),
                ("set", pa.string()),
                ("pixel_neighbour", pa.string()),
                ("pixel_distance", pa.float64()),
                ("pixel_around", pa.float64()),
                ("feature_neighbour", pa.string()),
                ("feature_distance", pa.float64()),
                ("feature_around", pa.float64()),
            ],
        ),
        _table("grid", _POINT_OF_THE_GRID),
        _table(
            "downstream",
            [
                *_POINT_OF_THE_GRID,
                ("n_real", pa.int32()),
                ("n_real_groups", pa.int32()),
                ("n_synthetic", pa.int32()),
                ("n_test", pa.int32()),
                ("steps", pa.int32()),
                ("auc", pa.float64()),
                ("f1", pa.float64()),
                ("weights_sha256", pa.string()),
                ("seconds", pa.float64()),
            ],
        ),
    )
}


def held_out_split(splits: Collection[str]) -> str | None:
    """Select the split of real images for evaluation, which is not trained on: test, else validation, else None."""
    return next((split for split in ("test", "validation") if split in splits), None)


def pack(array: NDArray[np.generic]) -> bytes:
    """Serialize an array as little-endian bytes in C order."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def unpack(data: bytes, dtype: str, *shape: int) -> NDArray[np.generic]:
    """Read an array that :func:`pack` wrote; returns a read-only view on ``data``."""
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def part_of(table: Table, rows: Iterable[Mapping[str, Any]], rejects: Mapping[str, str] | None = None) -> pa.Table:
    """Build the part that a map commits: finished rows, and a reject for each failed key.

    Args:
        table: Table whose columns are kept.
        rows: Values of each row, by column.
        rejects: Reason of each reject, by key.
    """
    bad = [{table.key: key, REJECT: reason} for key, reason in (rejects or {}).items()]
    good = [{**row, REJECT: None} for row in rows]
    return pa.Table.from_pylist([*good, *bad], schema=table.schema)
