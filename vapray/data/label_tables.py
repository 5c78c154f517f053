"""Comma-separated tables, gzipped or not, with or without a byte order mark."""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from vapray.errors import DataError

Row = dict[str, str]

LONGEST_NAME = 100
"""Maximum number of characters of a name in a message."""


def find_table(root: Path, stem: str, suffix: str = ".csv") -> Path | None:
    """Find ``stem.csv`` or ``stem.csv.gz``, in ``root`` or in a folder of the same name there; None if missing."""
    places = (folder / f"{stem}{suffix}{zipped}" for folder in (root / stem, root) for zipped in ("", ".gz"))
    return next((path for path in places if path.is_file()), None)


def find_required_table(root: Path, stem: str, suffix: str = ".csv") -> Path:
    """Find a table like ``find_table``; DataError if it is missing."""
    if table := find_table(root, stem, suffix):
        return table
    raise DataError(
        f"{root}: no {stem}{suffix} (or .gz), here or in its own folder. "
        "Fix: set data.root to its folder, or use data.source=folder."
    )


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a .csv or .csv.gz, keyed by its header; a byte order mark and blank lines are dropped.

    Raises:
        DataError: not UTF-8, damaged gzip, no header, two columns of one name, a row longer or shorter than the header,
            no rows.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restkey="\0more", restval="\0")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} is not CSV ({error}). Fix: save it as CSV.") from error
    columns = [name.strip() for name in reader.fieldnames or ()]
    raise_problems(path, duplicates(filter(None, columns), "column", "remove one"))
    ragged = [number for number, row in enumerate(rows, 2) if "\0more" in row or "\0" in row.values()]
    if ragged:
        raise DataError(
            f"{path}: {summarize_names(ragged, 'row')} with more or fewer cells than the header's {len(columns)}. "
            "Fix: quote cells that contain a comma."
        )
    if not rows:
        raise DataError(f"{path}: no rows; expected a header line and one line per image.")
    return [{key.strip(): value.strip() for key, value in row.items()} for row in rows]


def read_text(path: Path) -> str:
    """Read a file's text without its byte order mark, decompressed if it ends with ``.gz``; raises DataError."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}). Fix: save it as UTF-8.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Fix: copy the file again."
        ) from error


def missing_columns(rows: list[Row], columns: Iterable[str]) -> Iterator[str]:
    """Report the ``columns`` that the table's header lacks."""
    missing = [column for column in columns if column not in rows[0]]
    header = next(iter(rows[0])) if len(rows[0]) == 1 else ""
    if separator := next((sign for sign in ";\t|" if missing and sign in header), None):
        yield f"no column {', '.join(missing)}: the cells are separated by {separator!r}. Save it with commas"
    elif missing:
        yield f"no column {', '.join(missing)}; the header has {', '.join(rows[0])}. Rename one or add it"


def duplicates(names: Iterable[str], noun: str = "id", advice: str = "keep one row of each") -> Iterator[str]:
    """Report names that occur twice; the message lists the first five."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        yield f"{summarize_names(twice, f'duplicate {noun}')}; {advice}"


def is_missing(value: str) -> bool:
    """Return True for a cell that programs write where a value is missing: ``nan``, ``<NA>`` or ``NaT``."""
    return value.lower() in ("nan", "<na>", "nat")


def other_columns(row: Row, read: Collection[str]) -> Row:
    """Get the columns of a row but those that are read; a missing value is an empty text."""
    return {name: "" if is_missing(cell) else cell for name, cell in row.items() if name and name not in read}


def raise_problems(where: Path, problems: Iterable[str]) -> None:
    """Raise one DataError with all problems, if there are any."""
    found = [f"{where}: {problem}." for problem in problems]
    if found:
        raise DataError(found[0] if len(found) == 1 else "\n  ".join([f"{len(found)} problems", *found]))


def summarize_names(names: Sequence[object], noun: str) -> str:
    """Format a count and the first five names for error messages: ``3 rows (2, 5, 9)``."""
    shown = ", ".join(_shown(str(name)) for name in names[:5])
    plural = "es" if noun.endswith("s") else "s"
    return f"{len(names)} {noun}{plural if len(names) > 1 else ''} ({shown}{', ...' if len(names) > 5 else ''})"


def _shown(name: str) -> str:
    text = name if name.isprintable() else repr(name)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."
