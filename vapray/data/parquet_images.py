"""Images inside Parquet files, in the layout of Hugging Face datasets; they are read in place.

    root/[data/]train-00000-of-00002.parquet    image (bytes, or a struct with bytes), label, and optionally
                                                text, group, split, licence, source, subject
    root/default/train/0000.parquet             the same, as the hub converts datasets; any other folder, too

The path of an image is its file and row: ``data/train-00000-of-00002.parquet#17``. Integer labels get their names from
the file's metadata; -1 stands for no label, as in test splits of Hugging Face.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vapray.data.file_tree import FileTree
from vapray.data.label_tables import Row, missing_columns, raise_problems
from vapray.data.reading import named_columns, same_columns
from vapray.errors import DataError, ImageDecodeError

__all__ = ["file_of", "find_parquet", "read_first_image", "read_image_of_row", "read_parquet_rows"]

PLACE = re.compile(r"(.+\.parquet)#(\d+)")
COLUMNS = "image, label and optionally text, group, split, licence, source, subject"


def find_parquet(tree: FileTree) -> list[str]:
    """List the Parquet files in the dataset's folder or in ``data``; without any image file, those in any folder."""
    found = [name for name in tree.files if name.endswith(".parquet")]
    outer = [name for name in found if name.rpartition("/")[0] in ("", "data")]
    return outer or ([] if tree.images else found)


def file_of(name: str) -> str:
    """Get the file of a Parquet image path; any other name is returned unchanged."""
    return place[1] if (place := PLACE.fullmatch(name)) else name


def read_parquet_rows(root: Path, path: Path) -> list[Row]:
    """Read a row of texts per image: file_name (Parquet file and row), label, and the other columns of plain values.

    The label of a row without one is empty. The columns have the names of ``Reading``.

    Raises:
        DataError: truncated or not Parquet, columns missing or of an unsupported type, no rows.
    """
    try:
        schema = pq.read_schema(path)
        raise_problems(path, missing_columns([dict.fromkeys(schema.names, "")], ("image", "label")))
        raise_problems(path, _type_problems(schema))
        raise_problems(path, same_columns(schema.names))
        table = pq.read_table(path, columns=[name for name in schema.names if _is_plain(schema.field(name).type)])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({type(error).__name__}). Fix: copy it again.") from error
    if not table.num_rows:
        raise DataError(f"{path}: no rows; expected one image per row, with {COLUMNS}.")
    names, name = _class_names(schema), path.relative_to(root).as_posix()
    return [
        named_columns({key: _text(value) for key, value in row.items()})
        | {"file_name": f"{name}#{number}", "label": _label(row["label"], names)}
        for number, row in enumerate(table.to_pylist())
    ]


def read_image_of_row(place: str) -> bytes | None:
    """Read the bytes of an image in a Parquet file; None for any other path.

    Raises:
        ImageDecodeError: the file is damaged there, or the row has no image.
    """
    if not (found := PLACE.fullmatch(place)):
        return None
    try:
        modified = Path(found[1]).stat().st_mtime_ns
        value = _value(found[1], modified, int(found[2]))
    except OSError as error:
        raise ImageDecodeError(f"cannot be read: {error.strerror or type(error).__name__}") from None
    except (pa.ArrowException, IndexError) as error:
        raise ImageDecodeError(f"the Parquet file is damaged here ({type(error).__name__})") from None
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        raise ImageDecodeError("the row has no image bytes; store the images in the Parquet file")
    return bytes(data)


def read_first_image(path: str) -> bytes:
    """Read the bytes of the first image in a Parquet file; only its first page is read. Empty if there is none."""
    with pq.ParquetFile(path, memory_map=True) as file:
        first = next(file.iter_batches(batch_size=1, columns=["image"]), None)
    value = first.column(0)[0].as_py() if first else None
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _value(path: str, modified: int, row: int) -> Any:
    """Read the value of column ``image`` in a row. Reads are mostly sequential, so one row group is cached."""
    for group, begin, end in _groups(path, modified):
        if begin <= row < end:
            return _images(path, modified, group)[row - begin].as_py()
    raise IndexError(row)


@lru_cache(maxsize=8)
def _groups(path: str, modified: int) -> list[tuple[int, int, int]]:
    """List row groups as (number, first row, row after the last)."""
    found, begin, metadata = [], 0, pq.read_metadata(path)
    for number in range(metadata.num_row_groups):
        end = begin + metadata.row_group(number).num_rows
        found.append((number, begin, end))
        begin = end
    return found


@lru_cache(maxsize=1)
def _images(path: str, modified: int, group: int) -> pa.ChunkedArray:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=["image"]).column("image")


def _type_problems(schema: pa.Schema) -> Iterator[str]:
    image, label = schema.field("image").type, schema.field("label").type
    inner = image.field("bytes").type if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0 else image
    if not pa.types.is_binary(inner) and not pa.types.is_large_binary(inner):
        yield f"column image is {image}; expected binary, or a struct with binary bytes"
    if not pa.types.is_integer(label) and not _is_text(label):
        yield f"column label is {label}; expected text or whole numbers"


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_primitive(kind) or _is_text(kind)


def _class_names(schema: pa.Schema) -> list[str]:
    """Read the label names in the metadata that Hugging Face datasets writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _label(value: Any, names: list[str]) -> str:
    if value == -1:
        return ""
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
