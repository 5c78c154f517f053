"""Reader of Parquet files that are Python objects: bytes in memory, or files of an object store."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["NOTE", "read_note", "read_row_groups", "read_table"]

NOTE = b"vapray"
"""Key of our metadata in a file's schema."""


def read_table(
    file: IO[bytes],
    columns: Sequence[str] | None = None,
    renamed: Mapping[str, str] | None = None,
    added: Collection[str] = (),
) -> pa.Table:
    """Read columns of a Parquet file, and verify the checksums of its pages.

    It decodes in the calling thread. ``pyarrow.parquet.read_table`` leaves threads behind that hold the Python object;
    a process that ends meanwhile aborts with "terminate called without an active exception".

    Args:
        file: Parquet file, open for reading.
        columns: names of the columns; None: all.
        renamed: old name of a column, by its present one, for files that have the old one only.
        added: columns of texts that older files lack; they are read as empty texts.

    Raises:
        ValueError: a column is missing.
        pyarrow.ArrowException, OSError: the file is damaged.
    """
    stored = _opened(file)
    present = stored.schema_arrow.names
    names = present if columns is None else list(columns)
    absent = [name for name in names if name in added and name not in present]
    stored_names = [name for name in names if name not in absent]
    wanted = [name if name in present else (renamed or {}).get(name, name) for name in stored_names]
    if not set(present).issuperset(wanted):
        raise ValueError(f"found columns {present}, expected {wanted}")
    found = stored.read(wanted, use_threads=False).select(wanted).rename_columns(stored_names)
    for name in absent:
        found = found.append_column(name, pa.repeat(pa.scalar("", pa.string()), stored.metadata.num_rows))
    return found.select(names).replace_schema_metadata(None)


def read_note(file: IO[bytes]) -> str | None:
    """Read our metadata of a Parquet file; None if it has none. Raises as :func:`read_table`."""
    note = (_opened(file).schema_arrow.metadata or {}).get(NOTE)
    return note.decode() if note else None


def read_row_groups(file: IO[bytes]) -> Iterator[pa.Table]:
    """Read a Parquet file one row group at a time, as :func:`read_table` does."""
    stored = _opened(file)
    for group in range(stored.num_row_groups):
        yield stored.read_row_group(group, use_threads=False)


def _opened(file: IO[bytes]) -> pq.ParquetFile:
    return pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=not isinstance(file, io.BytesIO))
