"""Training rows, joined once per node into an Arrow file that every rank maps.

Rows are sorted by image_id, so that their order does not depend on the parts. The file name contains the tables'
content hashes and the layout version; a deleted file is created again. ``vapray.training.rows_file`` describes its
contents. Files of failed and killed runs are removed after a week without use.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import DataError
from vapray.store.version import Version
from vapray.training.row_join import LEFT_RIGHT, UP_DOWN, join_rows
from vapray.training.row_writing import FILLED, NOTING, write_rows
from vapray.training.rows_file import RowsFile

__all__ = ["TrainingRows", "delete_cache", "open_or_build_cache"]

LAYOUT = 3
"""Layout version; raised when the same tables give another file."""
UNFINISHED, NOTES = ".unfinished", (FILLED, NOTING)
DAYS_KEPT, SECONDS_OF_A_DAY = 7, 24 * 60 * 60


@dataclass(frozen=True)
class TrainingRows:
    """Arrays that a training step reads."""

    labels: NDArray[np.int32]
    """Classes, [N]."""
    moments: NDArray[np.float16]
    """Moments of each image and its mirror image, [N, 2, 2C, h, w]."""
    tokens: NDArray[np.float16]
    """Tokens of all contexts, concatenated, [T, width]."""
    offsets: NDArray[np.int64]
    """Offsets, [N + 1]; context n is ``tokens[offsets[n]:offsets[n + 1]]``."""
    sided: NDArray[np.uint8] | None = None
    """Sides that captions name, the bits of :class:`vapray.training.row_join.RowJoin`, [N]; None: no caption does."""
    teacher: NDArray[np.int8] | None = None
    """Patch features of each image and its mirror image, as :mod:`vapray.latents.teacher` stores them, [N, 2, F, g, g];
    None without a teacher."""
    file: RowsFile | None = None
    """File from which the arrays are mapped."""

    @classmethod
    def open(cls, path: Path) -> "TrainingRows":
        """Map a file; only labels, sides and offsets are read, 13 bytes per row.

        Raises:
            ValueError: the file is damaged.
        """
        file = RowsFile(path)
        labels, offsets, sided = file.labels.copy(), file.offsets.copy(), file.sided.copy()
        return cls(labels, file.moments, file.tokens, offsets, sided, file.teacher, file)

    def __len__(self) -> int:
        return len(self.labels)

    def may_mirror(self, captions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which captions still hold for a mirror image of their row, since they name neither left nor right."""
        return self._names_none(captions, LEFT_RIGHT)

    def may_turn(self, captions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which captions still hold if their row is turned by 90 degrees, since they name no side."""
        return self._names_none(captions, LEFT_RIGHT | UP_DOWN)

    def _names_none(self, captions: NDArray[np.int64], sides: int) -> NDArray[np.bool_]:
        if self.sided is None:
            return np.ones(len(captions), np.bool_)
        allowed: NDArray[np.bool_] = (self.sided[captions] & sides) == 0
        return allowed

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Get the numbers of text tokens of some rows."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def read(
        self,
        rows: NDArray[np.int64],
        sides: NDArray[np.int64],
        captions: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> tuple[Tensor, Tensor]:
        """Copy moments and contexts of some rows and release the mapped pages.

        Args:
            rows: rows whose moments to read, [B].
            sides: 0 for the image, 1 for its mirror image, [B].
            captions: rows whose contexts to read, [B].
            lengths: numbers of tokens to read of each context, from its first, [B].

        Returns:
            float16 [B, 2C, h, w] and float16 [B, L, width], zeros after the end of a context.
        """
        moments, contexts = torch.from_numpy(self.moments[rows, sides]), self._contexts(captions, lengths)
        if self.file:
            self.file.forget_pages()
        return moments, contexts

    def read_teacher(self, rows: NDArray[np.int64], sides: NDArray[np.int64]) -> Tensor | None:
        """Copy the teacher's features of some rows, int8 [B, F, g, g], before :meth:`read` releases the pages."""
        return None if self.teacher is None else torch.from_numpy(self.teacher[rows, sides])

    def _contexts(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
        place = np.arange(int(lengths.max()))
        # Positions after a context's end read its last token again, because its page is already mapped.
        tokens = self.offsets[rows][:, None] + np.minimum(place, np.maximum(lengths, 1)[:, None] - 1)
        padded = self.tokens.take(tokens, axis=0, mode="clip")
        padded[place >= lengths[:, None]] = 0
        return torch.from_numpy(padded)


def open_or_build_cache(bank: Version, latents: Version, cache: Path, split: str = "train") -> TrainingRows:
    """Join two finished tables on image_id and map the result; one process per node writes it, others wait.

    A process that is killed meanwhile leaves its file, and the next one copies the rest.

    Raises:
        DataError: the tables give no training rows, or the cache cannot be written.
    """
    path = _path(bank, latents, cache, split)
    with _locked(path):
        _remove_unused(cache, path)
        with contextlib.suppress(OSError, ValueError):  # missing or damaged
            return TrainingRows.open(path)
        unfinished = path.with_suffix(UNFINISHED)
        try:
            write_rows(unfinished, bank, latents, join_rows(bank, latents, split))
            os.replace(unfinished, path)
        except DataError:
            _remove(path, UNFINISHED, *NOTES)
            raise
        _remove(path, *NOTES)
        return TrainingRows.open(path)


def delete_cache(bank: Version, latents: Version, cache: Path, split: str = "train") -> None:
    """Remove the file of :func:`open_or_build_cache`; processes that have mapped it keep it."""
    path = _path(bank, latents, cache, split)
    with _locked(path):
        _remove(path, ".arrow", *NOTES)


def _remove(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_suffix(suffix).unlink(missing_ok=True)


def _path(bank: Version, latents: Version, cache: Path, split: str) -> Path:
    return (
        cache
        / f"{bank.require_manifest().content_hash}-{latents.require_manifest().content_hash}-{split}-v{LAYOUT}.arrow"
    )


def _remove_unused(cache: Path, kept: Path) -> None:
    """Remove files of other tables that were not opened or changed for ``DAYS_KEPT`` days.

    Their lock must be free. A run holds the lock only while it writes the file, not while it has mapped it, so age
    decides. An older run keeps its mapped file, and writes it again after a restart.
    """
    for lock in cache.glob("*.lock"):
        if lock.stem == kept.stem:
            continue
        with contextlib.suppress(OSError), open(lock) as held:  # removed meanwhile, or in use
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files = [path.stat() for path in cache.glob(f"{lock.stem}.*")]
            used = max(seconds for file in files for seconds in (file.st_atime, file.st_mtime))
            if time.time() - used > DAYS_KEPT * SECONDS_OF_A_DAY:
                _remove(lock, ".arrow", UNFINISHED, *NOTES, ".lock")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the file against other processes of this node that create or remove it."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise PermissionError("it belongs to another user")
        lock = _lock(path.with_suffix(".lock"))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise DataError(
            f"{folder}: cannot store training rows ({reason}). Fix: remove it or set TMPDIR to another folder, then "
            "rerun the same command."
        ) from None
    with lock:
        yield


def _lock(path: Path) -> IO[str]:
    """Open and lock the file; retry if it was removed as unused meanwhile."""
    while True:
        lock = open(path, "w")  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()
