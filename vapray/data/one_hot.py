"""One-hot tables in ISIC's format: ``image,MEL,NV,...`` with a single 1.0 per row."""

from collections.abc import Container, Iterator
from functools import cached_property
from pathlib import Path

from vapray.data.image_files import missing_images
from vapray.data.label_tables import Row, duplicates, missing_columns, raise_problems, read_rows, summarize_names
from vapray.errors import DataError

__all__ = ["OneHotTable"]


class OneHotTable:
    """One-hot ground truth table.

    Args:
        path: .csv or .csv.gz file.

    Raises:
        DataError: it cannot be read, or has no column ``image`` or no class column.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._rows = path, read_rows(path)
        raise_problems(path, missing_columns(self._rows, ("image",)))
        self.columns = tuple(column for column in self._rows[0] if column != "image")
        """Classes, in the header's order."""
        if not self.columns:
            raise DataError(f"{path}: no class columns; expected image,MEL,NV,... with one-hot rows.")

    @cached_property
    def classes(self) -> dict[str, str]:
        """Class of each image whose row is one-hot."""
        found = ((row["image"], self._class(row)) for row in self._rows)
        return {name: class_name for name, class_name in found if class_name is not None}

    def validate(self, images: Container[str], folder: str) -> Iterator[str]:
        """Report problems of the rows: no image in ``folder``, not one-hot, a duplicate id."""
        names = [row["image"] for row in self._rows]
        wrong = [row["image"] for row in self._rows if self._class(row) is None]
        found = [*missing_images(names, images, folder), *duplicates(names)]
        if wrong:
            found.append(f"{summarize_names(wrong, 'row')} not one-hot; exactly one class must be 1.0")
        yield from (f"{self.path.name}: {problem}" for problem in found)

    def _class(self, row: Row) -> str | None:
        """Get the class that is 1 in a row whose other values are 0; None for any other row."""
        values = [_to_float(row[name]) for name in self.columns]
        one_hot = values.count(1) == 1 and values.count(0) == len(values) - 1
        return self.columns[values.index(1)] if one_hot else None


def _to_float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
