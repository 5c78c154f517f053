"""The official tables and some of the real pictures, which lie beside the checkout where there are any."""

import gzip
import os
from pathlib import Path

import pytest

from vapray.data.label_tables import read_rows

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
TABLES = REAL / "tables"
needs_tables = pytest.mark.skipif(not TABLES.is_dir(), reason="the official tables are not here")


def needs_pictures(folder: str) -> pytest.MarkDecorator:
    """Skips where ``folder`` is not beside the checkout."""
    return pytest.mark.skipif(
        not (REAL / folder / "labels.csv").is_file(), reason=f"the real {folder} pictures are not here"
    )


def name_pictures(table: str, column: str, folder: Path, suffix: str = "") -> None:
    """An empty file in ``folder`` for each picture of an official table: enough for what reads tables only."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in read_rows(TABLES / table):
        os.close(os.open(folder / f"{row[column]}{suffix}", os.O_CREAT))


def lines_of(name: str) -> list[str]:
    """The lines of a gzipped official list."""
    return gzip.decompress((TABLES / name).read_bytes()).decode().split()


def link_tables(root: Path, *names: str) -> None:
    """The official tables of these names in ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).symlink_to(TABLES / name)
