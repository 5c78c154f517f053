"""The training rows, joined once on each node into an Arrow file that every rank maps.

Rows are sorted by image_id, so that their order does not depend on how parts were cut. The file is named by the content
of the tables and its own layout; it can be deleted at any time and is made again. What is in it:
``vapray.training.rows_file``. What failed and killed runs left is removed when it has not been used for a week.
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
from vapray.store import Version
from vapray.training.row_filling import write_rows
from vapray.training.row_join import join_rows
from vapray.training.rows_file import RowsFile

__all__ = ["TrainingRows", "discard", "materialise"]

LAYOUT = 1
"""Raised when the same tables give another file."""
DAYS_KEPT, SECONDS_OF_A_DAY = 7, 24 * 60 * 60


@dataclass(frozen=True)
class TrainingRows:
    """What a training step reads."""

    labels: NDArray[np.int32]
    """[N]."""
    moments: NDArray[np.float16]
    """[N, 2, 2C, h, w], the picture and its mirror image."""
    tokens: NDArray[np.float16]
    """[T, width], all contexts, one behind the other."""
    offsets: NDArray[np.int64]
    """[N + 1]; context n is ``tokens[offsets[n]:offsets[n + 1]]``."""
    file: RowsFile | None = None
    """Where the arrays are mapped from."""

    @classmethod
    def open(cls, path: Path) -> "TrainingRows":
        """Map a file; only labels and offsets are read, 12 bytes a row.

        Raises:
            ValueError: it is damaged.
        """
        file = RowsFile(path)
        return cls(file.labels.copy(), file.moments, file.tokens, file.offsets.copy(), file)

    def __len__(self) -> int:
        return len(self.labels)

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Text tokens of some rows."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def read(
        self,
        rows: NDArray[np.int64],
        sides: NDArray[np.int64],
        captions: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> tuple[Tensor, Tensor]:
        """Moments and contexts of some rows: the one copy that is made of them, and no page stays mapped for it.

        Args:
            rows: whose moments.
            sides: 0 for the picture, 1 for its mirror image.
            captions: the rows whose contexts.
            lengths: how many tokens of each context, from its first.

        Returns:
            float16 [B, 2C, h, w] and float16 [B, L, width], zeros behind the end of a context.
        """
        moments, contexts = torch.from_numpy(self.moments[rows, sides]), self._contexts(captions, lengths)
        if self.file:
            self.file.forget_pages()
        return moments, contexts

    def _contexts(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
        place = np.arange(int(lengths.max()))
        # Where a context has ended its last token is read again, for that page is at hand.
        tokens = self.offsets[rows][:, None] + np.minimum(place, np.maximum(lengths, 1)[:, None] - 1)
        padded = self.tokens.take(tokens, axis=0, mode="clip")
        padded[place >= lengths[:, None]] = 0
        return torch.from_numpy(padded)


def materialise(bank: Version, latents: Version, cache: Path, split: str = "train") -> TrainingRows:
    """Join two finished tables on image_id and map the result; one process of a node makes it, others wait.

    Raises:
        DataError: the tables make no training rows, or the cache cannot be written.
    """
    path = _path(bank, latents, cache, split)
    with _alone(path):
        _remove_unused(cache, path)
        with contextlib.suppress(OSError, ValueError):  # not there, or damaged
            return TrainingRows.open(path)
        unfinished = path.with_suffix(".unfinished")
        try:
            write_rows(unfinished, bank, latents, join_rows(bank, latents, split))
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        return TrainingRows.open(path)


def discard(bank: Version, latents: Version, cache: Path, split: str = "train") -> None:
    """Remove what :func:`materialise` made; who has it mapped keeps it."""
    path = _path(bank, latents, cache, split)
    with _alone(path):
        path.unlink(missing_ok=True)


def _path(bank: Version, latents: Version, cache: Path, split: str) -> Path:
    return cache / f"{bank.sealed().content_hash}-{latents.sealed().content_hash}-{split}-v{LAYOUT}.arrow"


def _remove_unused(cache: Path, kept: Path) -> None:
    """Remove what other tables left behind, where nothing of it was opened or changed for ``DAYS_KEPT`` days.

    Their lock has to be free, but that alone tells little: a run holds it while it makes the file, and not while it has
    it mapped. So age decides; a run that began longer ago keeps what it has mapped, and makes the file again after a
    restart.
    """
    for lock in cache.glob("*.lock"):
        if lock.stem == kept.stem:
            continue
        with contextlib.suppress(OSError), open(lock) as held:  # gone by now, or in use
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files = [path.stat() for path in cache.glob(f"{lock.stem}.*")]
            used = max(seconds for file in files for seconds in (file.st_atime, file.st_mtime))
            if time.time() - used > DAYS_KEPT * SECONDS_OF_A_DAY:
                for suffix in (".arrow", ".unfinished", ".lock"):
                    lock.with_suffix(suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other process of this node makes or removes this file."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise PermissionError("it belongs to another user")
        lock = _lock(path.with_suffix(".lock"))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise DataError(
            f"{folder}: cannot hold training rows ({reason}). Remove it or set TMPDIR to another folder, then run the "
            "same command again."
        ) from None
    with lock:
        yield


def _lock(path: Path) -> IO[str]:
    """The file, opened and locked; again where it was removed as unused while this waited for it."""
    while True:
        lock = open(path, "w")  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()
