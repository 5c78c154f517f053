"""A copy of training rows that was killed goes on at the part where it was."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from tests.training.test_dataset import IDS, tables
from tests.training.test_dataset_faults import again, left, require_right
from vapray.store.version import Version
from vapray.training import row_writing
from vapray.training.dataset import open_or_build_cache
from vapray.training.rows_file import RowsFile


def _killed_while_filling(folder: str) -> None:
    RowsFile.forget_pages = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    open_or_build_cache(*again(Path(folder)), Path(folder) / "cache")


def test_what_a_killed_process_left_is_made_again(tmp_path):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    process = multiprocessing.get_context("spawn").Process(target=_killed_while_filling, args=(str(tmp_path),))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert left(cache) == {".unfinished", ".filled", ".lock"}
    require_right(open_or_build_cache(*made, cache))
    assert left(cache) == {".arrow", ".lock"}


def _killed_at_a_part(folder: str, column: str, part: int) -> None:
    read = Version.read_part

    def read_until(self, name, columns):
        if columns[0] == column and self.part_names().index(name) == part:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, name, columns)

    row_writing.SECONDS_BETWEEN_NOTES, Version.read_part = 0.0, read_until
    open_or_build_cache(*again(Path(folder)), Path(folder) / "cache")


@pytest.mark.parametrize(("column", "part"), [("context", 3), ("moments", 4)])
def test_after_a_kill_only_the_other_parts_are_copied(tmp_path, monkeypatch, column, part):
    made, cache, copied = tables(tmp_path, IDS), tmp_path / "cache", []
    read = Version.read_part
    process = multiprocessing.get_context("spawn").Process(target=_killed_at_a_part, args=(str(tmp_path), column, part))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    def watched(self, name, columns):
        copied.append((columns[0], self.part_names().index(name)))
        return read(self, name, columns)

    monkeypatch.setattr(Version, "read_part", watched)
    require_right(open_or_build_cache(*made, cache))
    contexts = range(part, 6) if column == "context" else ()
    moments = range(part if column == "moments" else 0, 6)
    assert copied == [*(("context", number) for number in contexts), *(("moments", number) for number in moments)]
    assert left(cache) == {".arrow", ".lock"}


@pytest.mark.parametrize("notes", ["", "{", "[]", "null", '{"context": 3}', '{"context": [2]}', '{"context": [6, 6]}'])
@pytest.mark.parametrize("unfinished", [False, True])
def test_damaged_notes_and_those_without_their_file_start_again(tmp_path, notes, unfinished):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    open_or_build_cache(*made, cache)
    (path,) = cache.glob("*.arrow")
    if unfinished and notes != '{"context": [6, 6]}':  # with these, contexts would count as copied
        path.with_suffix(".unfinished").write_bytes(path.read_bytes())
    path.unlink()
    path.with_suffix(".filled").write_text(notes)
    require_right(open_or_build_cache(*made, cache))
    assert left(cache) == {".arrow", ".lock"}
