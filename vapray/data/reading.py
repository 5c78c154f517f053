"""Result of reading a folder: rows of texts, and the files that are no rows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vapray.data.label_tables import Row

__all__ = ["COLUMNS", "METADATA", "SPELLINGS", "Reading", "named_columns", "same_columns"]

COLUMNS = ("file_name", "label", "text", "group", "split", "licence", "source", "subject")
"""Columns of a row; all but file_name may be missing or empty."""
SPELLINGS = {"license": "licence", "patient": "subject", "patient_id": "subject"}
"""Columns of a row by their other names in tables."""
METADATA = "metadata."
"""Prefix of the columns of a row that are not among ``COLUMNS``."""


def named_columns(row: Row) -> Row:
    """Give the columns of a table's row the names of ``COLUMNS``, and all others the prefix ``METADATA``."""
    named = {SPELLINGS.get(name, name): cell for name, cell in row.items() if name}
    return {name if name in COLUMNS else f"{METADATA}{name}": cell for name, cell in named.items()}


def same_columns(names: Iterable[str]) -> Iterator[str]:
    """Report columns of a table that stand for the same column of a row."""
    found = defaultdict(list)
    for name in names:
        found[SPELLINGS.get(name, name)].append(name)
    for name, twins in found.items():
        if len(twins) > 1:
            yield f"columns {' and '.join(sorted(twins))} both give the {name}; remove one"


@dataclass
class Reading:
    """Rows of a folder.

    Attributes:
        rows: one row of texts per image; the file names are relative to the folder.
        tables: files that were read as tables, relative to the folder.
        left_out: files that are not read for a reason of this layout, relative to the folder, with the reason.
        rules: conventions that decided labels, splits or rows, one sentence each; part of the signature.
        notes: other remarks, one sentence each.
        warnings: properties of the folders that may mean something else, each with its remedy.
    """

    rows: list[Row]
    tables: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
