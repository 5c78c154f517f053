"""Whatever happens while training rows are joined: right rows, or an error that says what to do, and no half cache."""

import errno
import fcntl
import os
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_dataset import IDS, tables
from vapray.errors import DataError
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part, pack
from vapray.store.version import Version
from vapray.training import dataset
from vapray.training.dataset import open_or_build_cache
from vapray.training.rows_file import RowsFile


def again(folder: Path) -> tuple[Version, Version]:
    """The tables that :func:`tables` made in a folder."""
    store = Store(str(folder))
    return store.version("prompt_bank", "b"), store.version("latents", "l")


def require_right(rows) -> None:
    """The rows of ``IDS`` in the train split, by their numbers."""
    numbers = [0, 1, 2, 3, 5]
    assert rows.labels.tolist() == [number % 3 for number in numbers]
    assert rows.moments[:, :, 0, 0, 0].tolist() == [[number, number + 0.5] for number in numbers]
    assert rows.tokens[:, 0].tolist() == [number for number in numbers for _ in range(number + 1)]


def left(cache: Path) -> set[str]:
    return {path.suffix for path in cache.iterdir()}


@pytest.mark.parametrize("damage", ["cut short", "empty", "no such file format", "another table"])
def test_a_damaged_file_is_made_again(tmp_path, damage):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    open_or_build_cache(*made, cache)
    (path,) = cache.glob("*.arrow")
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut short": whole[: len(whole) // 2],
            "empty": b"",
            "no such file format": b"x" * len(whole),
            "another table": whole.replace(b"moments", b"momenta"),
        }[damage]
    )
    with pytest.raises((OSError, ValueError)):
        RowsFile(path)
    require_right(open_or_build_cache(*made, cache))
    assert path.read_bytes() == whole


def test_a_full_disk_is_an_error_that_names_the_bytes_and_leaves_nothing(tmp_path):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(DataError, match=r"unfinished: 480 bytes of .* \(File too large\)\..*TMPDIR") as told:
            open_or_build_cache(*made, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(told.value.__cause__, OSError)
    assert told.value.__cause__.errno == errno.EFBIG
    assert left(cache) == {".lock"}
    require_right(open_or_build_cache(*made, cache))


def test_of_two_at_once_one_joins_and_both_have_the_rows(tmp_path, monkeypatch):
    made, cache, joined, found = tables(tmp_path, IDS), tmp_path / "cache", [], []
    begun, real = threading.Barrier(2), dataset.write_rows

    def watched(path, *rest):
        joined.append(path)
        real(path, *rest)

    def work():
        begun.wait()
        found.append(open_or_build_cache(*made, cache))

    monkeypatch.setattr(dataset, "write_rows", watched)
    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(joined) == 1
    assert len(found) == 2
    for rows in found:
        require_right(rows)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_not_trusted(tmp_path):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, 12345, 12345)
    with pytest.raises(DataError, match=r"cache: cannot store training rows \(it belongs to another user\)"):
        open_or_build_cache(*made, cache)
    assert not list(cache.iterdir())


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match=r"cache: cannot store training rows \(File exists\).*TMPDIR"):
        open_or_build_cache(*tables(tmp_path, IDS), tmp_path / "cache")


def test_a_discarded_file_stays_with_who_has_it_mapped(tmp_path):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    rows = open_or_build_cache(*made, cache)
    dataset.delete_cache(*made, cache)
    assert left(cache) == {".lock"}
    rows.file.forget_pages()
    require_right(rows)


def left_behind(cache: Path, name: str, days: float) -> None:
    """What earlier runs can leave of other tables, last used so many days ago."""
    cache.mkdir(exist_ok=True)
    for suffix in (".arrow", ".unfinished", ".lock"):
        (cache / name).with_suffix(suffix).touch()
        os.utime((cache / name).with_suffix(suffix), (time.time() - days * 86400,) * 2)


def test_what_other_tables_left_is_removed_after_a_week_without_use(tmp_path):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    for name, days in {"old": 8, "recent": 6, "opened": 8, "locked": 8}.items():
        left_behind(cache, name, days)
    os.utime(cache / "opened.arrow", (time.time(), (cache / "opened.arrow").stat().st_mtime))
    with open(cache / "locked.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        open_or_build_cache(*made, cache)
    names = {path.stem for path in cache.iterdir()}
    assert {"recent", "opened", "locked"} < names and "old" not in names and len(names) == 4
    assert left(cache) == {".arrow", ".unfinished", ".lock"}
    open_or_build_cache(*made, cache)
    assert "locked" not in {path.stem for path in cache.iterdir()}


def test_own_rows_are_used_again_however_old(tmp_path):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    open_or_build_cache(*made, cache)
    (path,) = cache.glob("*.arrow")
    for file in cache.iterdir():
        os.utime(file, (0, 0))
    number = path.stat().st_ino
    require_right(open_or_build_cache(*made, cache))
    assert path.stat().st_ino == number


def is_waited_for(lock: Path) -> bool:
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(f":{lock.stat().st_ino} " in line for line in waiting)


def test_who_waited_for_a_lock_that_was_removed_takes_the_new_one(tmp_path):
    made, cache, found = tables(tmp_path, IDS), tmp_path / "cache", []
    open_or_build_cache(*made, cache)
    (lock,) = cache.glob("*.lock")
    waiting = threading.Thread(target=lambda: found.append(open_or_build_cache(*made, cache)))
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting.start()
        deadline = time.monotonic() + 60
        while not is_waited_for(lock):
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.01)
        lock.unlink()
        lock.touch()
        with open(lock) as newer:
            fcntl.flock(newer, fcntl.LOCK_EX)
            held.close()
            waiting.join(0.3)
            assert waiting.is_alive() and not found
    waiting.join()
    require_right(found[0])


def test_rows_of_another_layout_are_not_opened(tmp_path, monkeypatch):
    made, cache = tables(tmp_path, IDS), tmp_path / "cache"
    open_or_build_cache(*made, cache)
    monkeypatch.setattr(dataset, "LAYOUT", dataset.LAYOUT + 1)
    require_right(open_or_build_cache(*made, cache))
    assert len(list(cache.glob("*.arrow"))) == 2


CONFLICTS = {
    "its mirror image is missing": (
        {"i0/0": {}},
        "image i0 occurs 1 times unmirrored and 0 times mirrored, expected once each; 1 images affected",
    ),
    "a picture stands there twice": (
        {"i0/0": {}, "i0/1": {"flipped": True}, "i0/2": {}},
        "image i0 occurs 2 times unmirrored and 1 times mirrored",
    ),
    "moments of two shapes": (
        {"i0/0": {}, "i0/1": {"flipped": True, "height": 1, "moments": bytes(16)}},
        "height is 1 in one row and 2 in another",
    ),
    "moments of another shape than they say": (
        {"i0/0": {"moments": bytes(30)}, "i0/1": {"flipped": True}},
        "image i0 has 30 bytes, expected 32 for its shape",
    ),
}


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_rows_that_do_not_fit_are_named(tmp_path, conflict):
    bank, _ = tables(tmp_path, ["i0"], without_latents=("i0",))
    latents, (rows, message) = Store(str(tmp_path)).version("latents", "other"), CONFLICTS[conflict]
    row = {"image_id": "i0", "label": 0, "split": "train", "group": "i0", "flipped": False}
    row |= {"channels": 2, "height": 2, "width": 2}
    row["moments"] = pack(np.zeros((4, 2, 2), dtype=np.float16))
    latents.write_part(build_part(TABLES["latents"], [row | {"key": key} | more for key, more in rows.items()]))
    latents.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})
    with pytest.raises(DataError, match=message):
        open_or_build_cache(bank, latents, tmp_path / "cache")
    assert left(tmp_path / "cache") == {".lock"}
