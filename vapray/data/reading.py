"""Result of reading a folder: rows of texts, and the files that are no rows."""

from dataclasses import dataclass, field

from vapray.data.label_tables import Row

__all__ = ["COLUMNS", "Reading"]

COLUMNS = ("file_name", "label", "text", "group", "split")
"""Columns of a row; label, text, group and split may be missing or empty."""


@dataclass
class Reading:
    """Rows of a folder.

    Attributes:
        rows: one row of texts per image; the file names are relative to the folder.
        tables: files that were read as tables, relative to the folder.
        left_out: files that are not read for a reason of this layout, relative to the folder, with the reason.
        rules: conventions that decided labels, splits or rows, one sentence each; part of the signature.
        notes: other remarks, one sentence each.
    """

    rows: list[Row]
    tables: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
