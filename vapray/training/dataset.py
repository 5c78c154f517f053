"""The training rows as memory-mapped arrays, made once on each node.

    labels.npy    int32   [N]
    moments.npy   float16 [N, 2, 2C, h, w]      the picture, and its mirror image
    tokens.npy    float16 [T, width]            all contexts, one behind the other
    offsets.npy   int64   [N + 1]               context n is tokens[offsets[n]:offsets[n + 1]]

Rows are sorted by image_id, so that their order does not depend on how parts were cut. The folder is named by the
content of the tables; it can be deleted at any time and is made again.
"""

import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from vapray.errors import DataError
from vapray.store import Version
from vapray.tables import unpack

__all__ = ["TrainingRows", "discard", "materialise"]


@dataclass(frozen=True)
class TrainingRows:
    """What a training step reads; see the module's text for shapes."""

    labels: NDArray[np.int32]
    moments: NDArray[np.float16]
    tokens: NDArray[np.float16]
    offsets: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> "TrainingRows":
        """Map the arrays; nothing is read yet."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS))

    def __len__(self) -> int:
        return len(self.labels)

    def contexts(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Contexts of some rows, padded to the longest of them.

        Returns:
            float32 [B, L, width] and int64 [B], the real tokens of each.
        """
        lengths = np.array([self.offsets[row + 1] - self.offsets[row] for row in rows], dtype=np.int64)
        padded = np.zeros((len(rows), int(lengths.max()), self.tokens.shape[1]), dtype=np.float32)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            padded[place, :length] = self.tokens[self.offsets[row] : self.offsets[row] + length]
        return torch.from_numpy(padded), torch.from_numpy(lengths)


_ARRAYS = ("labels", "moments", "tokens", "offsets")


def materialise(bank: Version, latents: Version, cache: Path, split: str = "train") -> TrainingRows:
    """Join two finished tables on image_id and map the result; one process of a node makes it, others wait.

    Raises:
        DataError: no row of ``split`` has both a context and latents.
    """
    folder = _folder(bank, latents, cache, split)
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = Path(f"{folder}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _write(unfinished, bank, latents, split)
            os.replace(unfinished, folder)
        return TrainingRows.open(folder)


def discard(bank: Version, latents: Version, cache: Path, split: str = "train") -> None:
    """Remove what :func:`materialise` made; who has it mapped keeps it."""
    folder = _folder(bank, latents, cache, split)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)


def _folder(bank: Version, latents: Version, cache: Path, split: str) -> Path:
    return cache / f"{bank.sealed().content_hash}-{latents.sealed().content_hash}-{split}"


def _write(folder: Path, bank: Version, latents: Version, split: str) -> None:
    captions = bank.read(["image_id", "split", "label", "L", "width"]).to_pylist()
    asked = [row for row in captions if row["split"] == split]
    encoded = _write_moments(folder / "moments.npy", latents, [row["image_id"] for row in asked])
    wanted = [row for row in asked if row["image_id"] in encoded]
    if not wanted:
        raise DataError(
            f"{bank.uri} and {latents.uri}: no image of the {split} split is in both. Look at their rejects."
        )
    places = {row["image_id"]: place for place, row in enumerate(wanted)}
    offsets = np.concatenate([[0], np.cumsum([row["L"] for row in wanted])]).astype(np.int64)
    np.save(folder / "labels.npy", np.array([row["label"] for row in wanted], dtype=np.int32))
    np.save(folder / "offsets.npy", offsets)
    _write_tokens(folder / "tokens.npy", bank, places, offsets, wanted[0]["width"])


def _write_tokens(path: Path, bank: Version, places: dict[str, int], offsets: NDArray[np.int64], width: int) -> None:
    tokens = open_memmap(path, mode="w+", dtype=np.float16, shape=(int(offsets[-1]), width))
    for name in bank.part_names():
        for row in bank.read_part(name, ["image_id", "context", "L", "width"]).to_pylist():
            if (place := places.get(row["image_id"])) is not None:
                tokens[offsets[place] : offsets[place + 1]] = unpack(row["context"], "float16", row["L"], row["width"])
    tokens.flush()


def _write_moments(path: Path, latents: Version, asked: Sequence[str]) -> set[str]:
    """Moments of those images that have any, in the order asked for; says which these are."""
    places = {image_id: place for place, image_id in enumerate(asked)}
    moments, found = None, set()
    for part in latents.read_parts(["image_id", "flipped", "moments", "C", "h", "w"]):
        for row in part.to_pylist():
            if (place := places.get(row["image_id"])) is None:
                continue
            shape = (2 * row["C"], row["h"], row["w"])
            if moments is None:
                moments = open_memmap(path, mode="w+", dtype=np.float16, shape=(len(places), 2, *shape))
            moments[place, int(row["flipped"])] = unpack(row["moments"], "float16", *shape)
            found.add(row["image_id"])
    if moments is not None:
        moments.flush()
        if len(found) < len(asked):
            _keep(path, moments, [place for image_id, place in places.items() if image_id in found])
    return found


def _keep(path: Path, moments: NDArray[np.float16], rows: Sequence[int]) -> None:
    """Leave out all other rows of a file, one after the other: they may be more than memory takes."""
    narrower = path.with_suffix(".narrower")
    kept = open_memmap(narrower, mode="w+", dtype=np.float16, shape=(len(rows), *moments.shape[1:]))
    for place, row in enumerate(rows):
        kept[place] = moments[row]
    kept.flush()
    os.replace(narrower, path)
