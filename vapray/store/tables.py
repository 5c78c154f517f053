"""Tables between stages: columns, types, shapes.

Stages do not import one another; they share these tables. Every table is plain Parquet that pandas reads without
vapray. A part holds finished rows and rejects together: a reject has its key, a reason in ``reject``, and nulls
elsewhere.

``ingest_plan``, ``audit_plan``, ``sample_plan`` and ``downstream_plan`` are the work lists of ingest,
caption_audit_sample, sample and downstream; ``audit_measurements``, ``measurements`` and ``downstream`` are results.
``copy_candidates`` is the work list of the copy search in evaluate, and ``nearest_training`` its results.
``reference_measurements`` holds the measurements of real images that evaluate compares with.

Arrays are stored as little-endian bytes next to their shape:
    context   float16 [num_tokens, width]              the sizes are columns
    moments   float16 [2 * channels, height, width]    mean and log-variance of the latent; the sizes are columns
    teacher   int8 [features, grid, grid]              patch features of vapray.latents.teacher, or null
    pixels    uint8                                    layout of vapray.memorisation.views

Version 0.1.0 wrote some tables and columns under other names, and lacked some columns; :mod:`vapray.store` reads its
finished versions as present ones.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = [
    "ADDED_COLUMNS",
    "ORIGIN_COLUMNS",
    "REJECT",
    "RENAMED_COLUMNS",
    "RENAMED_TABLES",
    "TABLES",
    "TableSpec",
    "build_part",
    "choose_held_out_split",
    "pack",
    "unpack",
]

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
_ORIGIN = _strings("licence", "source", "subject", "metadata")
_SAMPLE = [*_strings("sample_id", "arm"), *_int32("label")]
_GRID_POINT = [*_strings("key", "network"), *_float64("share"), *_strings("arm"), *_int64("seed")]
_MEASURED = [
    *_strings("key", "set"),
    *_int32("label"),
    *_binary("features", "probabilities"),
    *_strings("attributes", "judged"),
    *_binary("pixels"),
]
_COLUMNS = {
    "ingest_plan": [*_IMAGE, *_strings("class", "path", "text"), *_ORIGIN],
    "images": [*_IMAGE, *_strings("class", "path", "text"), *_ORIGIN, *_strings("sha256"), *_int32("width", "height")],
    "captions": [
        *_IMAGE,
        *_strings("impression", "knowledge_id", "caption", "cache_key"),
        *_strings("model", "revision", "strategy", "prompt_version", "sampling"),
        *_int32("prompt_tokens", "cached_tokens", "completion_tokens"),
        *_strings("finish_reason"),
        *_int32("attempts"),
    ],
    "audit_plan": [*_IMAGE, *_strings("caption", "cache_key", "path"), *_bool("repeated")],
    "audit_measurements": [
        *_IMAGE,
        *_strings("caption", "cache_key", "path", "measured"),
        *_columns(pa.list_(pa.string()), "recaptions"),
    ],
    "prompt_bank": [*_IMAGE, *_strings("caption"), *_binary("context"), *_int32("num_tokens", "width", "cut_tokens")],
    "latents": [
        *_strings("key"),
        *_IMAGE,
        *_bool("flipped"),
        *_binary("moments"),
        *_int32("channels", "height", "width"),
        *_binary("teacher"),
    ],
    "sample_plan": [*_SAMPLE, *_strings("caption", "source_image_id"), *_int64("seed")],
    "samples": [*_SAMPLE, *_strings("class", "caption", "source_image_id"), *_int64("seed"), *_binary("png")],
    "reference_measurements": _MEASURED,
    "measurements": _MEASURED,
    "copy_candidates": [*_strings("key", "set"), *_binary("pixels", "features")],
    "nearest_training": [
        *_strings("key", "set", "pixel_neighbour"),
        *_float64("pixel_distance", "pixel_knn_mean"),
        *_strings("feature_neighbour"),
        *_float64("feature_distance", "feature_knn_mean"),
    ],
    "downstream_plan": _GRID_POINT,
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
RENAMED_TABLES = {
    "ingest_plan": "records",
    "audit_plan": "audited",
    "audit_measurements": "examinations",
    "prompt_bank": "bank",
    "sample_plan": "plan",
    "reference_measurements": "references",
    "copy_candidates": "suspects",
    "nearest_training": "nearest",
    "downstream_plan": "grid",
}
"""Folder of each renamed table in a run of version 0.1.0."""
RENAMED_COLUMNS = {
    "captions": {"impression": "t1", "knowledge_id": "t2_id"},
    "audit_measurements": {"recaptions": "again"},
    "prompt_bank": {"num_tokens": "L"},
    "latents": {"channels": "C", "height": "h", "width": "w"},
    "nearest_training": {"pixel_knn_mean": "pixel_around", "feature_knn_mean": "feature_around"},
}
"""Names of renamed columns in the parts of version 0.1.0, by table and present name."""
ORIGIN_COLUMNS = tuple(name for name, _ in _ORIGIN)
"""Columns of ``images`` that no stage computes with: a change in them alone does not run later stages again."""
ADDED_COLUMNS = dict.fromkeys(("ingest_plan", "images"), ORIGIN_COLUMNS)
"""Columns of texts that finished parts of version 0.1.0 lack, by table; they are read as empty texts."""


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
