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
    pixels    uint8                    layout of vapray.memorisation.views
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["REJECT", "TABLES", "TableSpec", "build_part", "choose_held_out_split", "pack", "unpack"]

REJECT = "reject"


@dataclass(frozen=True)
class TableSpec:
    """Name, key column and columns of a table."""

    name: str
    key: str
    schema: pa.Schema


def _columns(kind: pa.DataType, *names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, kind) for name in names]


_strings = partial(_columns, pa.string())
_int32 = partial(_columns, pa.int32())
_int64 = partial(_columns, pa.int64())
_float64 = partial(_columns, pa.float64())
_binary = partial(_columns, pa.binary())
_bool = partial(_columns, pa.bool_())

_IMAGE = [*_strings("image_id"), *_int32("label"), *_strings("split", "group")]
_SAMPLE = [*_strings("sample_id", "arm"), *_int32("label")]
_GRID_POINT = [*_strings("key", "network"), *_float64("share"), *_strings("arm"), *_int64("seed")]
_MEASURED = [
    *_strings("key", "set"),
    *_int32("label"),
    *_binary("features", "probabilities"),
    *_strings("attributes"),
    *_binary("pixels"),
]
_COLUMNS = {
    "records": [*_IMAGE, *_strings("class", "path", "text")],
    "images": [*_IMAGE, *_strings("class", "path", "text", "sha256"), *_int32("width", "height")],
    "captions": [
        *_IMAGE,
        *_strings("t1", "t2_id", "caption", "cache_key", "model", "revision", "strategy", "prompt_version", "sampling"),
        *_int32("prompt_tokens", "cached_tokens", "completion_tokens"),
        *_strings("finish_reason"),
        *_int32("attempts"),
    ],
    "audited": [*_IMAGE, *_strings("caption", "cache_key", "path"), *_bool("repeated")],
    "examinations": [
        *_IMAGE,
        *_strings("caption", "cache_key", "path", "measured"),
        *_columns(pa.list_(pa.string()), "again"),
    ],
    "bank": [*_IMAGE, *_strings("caption"), *_binary("context"), *_int32("L", "width")],
    "latents": [*_strings("key"), *_IMAGE, *_bool("flipped"), *_binary("moments"), *_int32("C", "h", "w")],
    "plan": [*_SAMPLE, *_strings("caption", "source_image_id"), *_int64("seed")],
    "samples": [*_SAMPLE, *_strings("class", "caption", "source_image_id"), *_int64("seed"), *_binary("png")],
    "references": _MEASURED,
    "measurements": _MEASURED,
    "suspects": [*_strings("key", "set"), *_binary("pixels", "features")],
    "nearest": [
        *_strings("key", "set", "pixel_neighbour"),
        *_float64("pixel_distance", "pixel_around"),
        *_strings("feature_neighbour"),
        *_float64("feature_distance", "feature_around"),
    ],
    "grid": _GRID_POINT,
    "downstream": [
        *_GRID_POINT,
        *_int32("n_real", "n_real_groups", "n_synthetic", "n_test", "steps"),
        *_float64("auc", "f1"),
        *_strings("weights_sha256"),
        *_float64("seconds"),
    ],
}
TABLES = {
    name: TableSpec(name, columns[0][0], pa.schema([*columns, (REJECT, pa.string())]))
    for name, columns in _COLUMNS.items()
}


def choose_held_out_split(splits: Collection[str]) -> str | None:
    """Select the split of real images for evaluation, which is not trained on: test, else validation, else None."""
    return next((split for split in ("test", "validation") if split in splits), None)


def pack(array: NDArray[np.generic]) -> bytes:
    """Serialize an array as little-endian bytes in C order."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def unpack(data: bytes, dtype: str, *shape: int) -> NDArray[np.generic]:
    """Read an array that :func:`pack` wrote; returns a read-only view on ``data``."""
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def build_part(
    table: TableSpec, rows: Iterable[Mapping[str, Any]], rejects: Mapping[str, str] | None = None
) -> pa.Table:
    """Build the part that a map commits: finished rows, and a reject for each failed key.

    Args:
        table: Table whose columns are kept.
        rows: Values of each row, by column.
        rejects: Reason of each reject, by key.
    """
    bad = [{table.key: key, REJECT: reason} for key, reason in (rejects or {}).items()]
    good = [{**row, REJECT: None} for row in rows]
    return pa.Table.from_pylist([*good, *bad], schema=table.schema)
