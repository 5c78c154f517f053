"""Pictures inside Parquet files, as Hugging Face's datasets keep them: nothing is unpacked.

    root/[data/]train-00000-of-00002.parquet    image (bytes, or a struct with bytes), label, and optionally
                                                text, group, split

A picture's place is its file and row: ``data/train-00000-of-00002.parquet#17``. Labels that are numbers get the names
that the file's own metadata gives them.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vapray.data.label_tables import Row, missing_columns, refuse
from vapray.errors import BadImage, DataError

__all__ = ["file_of", "find_parquet", "read_parquet_rows", "read_picture_of_row"]

PLACE = re.compile(r"(.+\.parquet)#(\d+)")
TEXTS = ("text", "group", "split")
COLUMNS = "image, label and optionally text, group, split"


def find_parquet(root: Path) -> list[Path]:
    """The Parquet files in ``root`` or ``root/data``, sorted."""
    return sorted(path for folder in (root, root / "data") for path in folder.glob("*.parquet"))


def file_of(name: str) -> str:
    """The file of a place; any other name is its own."""
    return place[1] if (place := PLACE.fullmatch(name)) else name


def read_parquet_rows(root: Path, path: Path) -> list[Row]:
    """A row of texts for each picture: file_name (its place), label, and what else there is.

    Raises:
        DataError: cut short or no Parquet, columns missing or of a type that cannot be used, no rows.
    """
    try:
        schema = pq.read_schema(path)
        refuse(path, missing_columns([dict.fromkeys(schema.names, "")], ("image", "label")))
        refuse(path, _type_complaints(schema))
        table = pq.read_table(path, columns=["label", *(name for name in TEXTS if name in schema.names)])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({type(error).__name__}). Copy the file again.") from error
    if not table.num_rows:
        raise DataError(f"{path}: no rows; expected one picture in each, with {COLUMNS}.")
    names, name = _class_names(schema), path.relative_to(root).as_posix()
    return [
        {key: _text(value) for key, value in row.items()}
        | {"file_name": f"{name}#{number}", "label": _label(row["label"], names)}
        for number, row in enumerate(table.to_pylist())
    ]


def read_picture_of_row(place: str) -> bytes | None:
    """The bytes of the picture at a place; None for a path that is no place.

    Raises:
        BadImage: the file is damaged there, or the row holds no picture.
    """
    if not (found := PLACE.fullmatch(place)):
        return None
    try:
        modified = Path(found[1]).stat().st_mtime_ns
        value = _value(found[1], modified, int(found[2]))
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or type(error).__name__}") from None
    except (pa.ArrowException, IndexError) as error:
        raise BadImage(f"the Parquet file is damaged here ({type(error).__name__})") from None
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        raise BadImage("the row holds no bytes of a picture; store the pictures in the Parquet file")
    return bytes(data)


def _value(path: str, modified: int, row: int) -> Any:
    """What a row's column ``image`` holds. Neighbours are asked for in turn, so one row group is kept."""
    for group, begin, end in _groups(path, modified):
        if begin <= row < end:
            return _images(path, modified, group)[row - begin].as_py()
    raise IndexError(row)


@lru_cache(maxsize=8)
def _groups(path: str, modified: int) -> list[tuple[int, int, int]]:
    """Row groups as (number, first row, row behind the last)."""
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


def _type_complaints(schema: pa.Schema) -> Iterator[str]:
    image, label = schema.field("image").type, schema.field("label").type
    inner = image.field("bytes").type if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0 else image
    if not pa.types.is_binary(inner) and not pa.types.is_large_binary(inner):
        yield f"column image holds {image}; wanted binary, or a struct with binary bytes"
    if not pa.types.is_integer(label) and not _is_text(label):
        yield f"column label holds {label}; wanted text or whole numbers"


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_names(schema: pa.Schema) -> list[str]:
    """The label's names in the metadata that Hugging Face's datasets writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _label(value: Any, names: list[str]) -> str:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
