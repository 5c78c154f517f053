"""Samples of images by the hash of their ids: those with the lowest hashes of each class, classes in proportion.

A sample hangs on ids and classes only, not on the order of rows or parts, and a smaller sample is part of a larger one.
Selection takes memory of the sample, not of all images.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.store.tables import choose_held_out_split
from vapray.store.version import Version

__all__ = ["ImageSample", "RealSamples", "images_of"]

EVERY = np.uint64(np.iinfo(np.uint64).max)


@dataclass(frozen=True)
class ImageSample:
    """Sample of a set of images.

    Attributes:
        size: Number of its images.
        of: Number of images of the set.
    """

    size: int
    of: int
    _highest: Mapping[int, np.uint64]
    """Highest hash of each class in the sample."""

    @property
    def is_whole(self) -> bool:
        """True if all images are in the sample."""
        return self.size == self.of

    @classmethod
    def draw(cls, parts: Iterable[pa.Table], most: int) -> Self:
        """Draw a sample.

        Args:
            parts: Columns ``image_id`` and ``label`` of the set, in pieces.
            most: Size of the sample; all images if there are no more. Above it a class has its share, at least one.
        """
        lowest: dict[int, NDArray[np.uint64]] = {}
        counts: dict[int, int] = {}
        for part in parts:
            hashes, labels = _hashes(part["image_id"]), part["label"].to_numpy()
            for label in np.unique(labels).tolist():
                found = np.concatenate([lowest.get(label, hashes[:0]), hashes[labels == label]])
                lowest[label] = np.partition(found, most - 1)[:most] if len(found) > most else found
                counts[label] = counts.get(label, 0) + int((labels == label).sum())
        of = sum(counts.values())
        if of <= most:
            return cls(of, of, dict.fromkeys(counts, EVERY))
        shares = {label: max(1, most * count // of) for label, count in counts.items()}
        highest = {label: np.partition(lowest[label], share - 1)[share - 1] for label, share in shares.items()}
        return cls(sum(shares.values()), of, highest)

    def takes(self, image_ids: pa.ChunkedArray, labels: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Tell which images of the set are in the sample, [N]."""
        if self.is_whole:
            return np.ones(len(image_ids), np.bool_)
        limits = np.array([self._highest.get(label, np.uint64(0)) for label in labels.to_pylist()], np.uint64)
        taken: NDArray[np.bool_] = _hashes(image_ids) <= limits
        return taken

    def rows(self, images: Version, columns: Iterable[str], split: str) -> pa.Table:
        """Read the rows of the sample from a version of ``images``, sorted by id."""
        wanted = [*dict.fromkeys(["image_id", "label", *columns])]
        found = [images.table_spec.schema.empty_table().select(wanted)]
        for part in images_of(images, wanted, split):
            found.append(part.filter(pa.array(self.takes(part["image_id"], part["label"]))))
        return pa.concat_tables(found).sort_by("image_id")


@dataclass(frozen=True)
class RealSamples:
    """Samples of the real images that generated ones are compared with."""

    reference: ImageSample
    """Training images."""
    held_out: ImageSample
    """Images that were not trained on."""
    held_out_split: str
    held_out_rows: pa.Table
    """Columns image_id, label and group of the held-out sample, sorted by id."""
    splits: Mapping[str, int]
    """Number of images of each split, all of them."""

    @classmethod
    def draw(cls, images: Version, reference: int, held_out: int) -> Self:
        """Draw at most so many training and held-out images.

        Raises:
            DataError: no images are held out.
        """
        splits: Counter[str] = Counter()
        for part in images.read_parts(["split"]):
            splits.update(part["split"].to_pylist())
        split = choose_held_out_split(splits)
        if split is None:
            raise DataError(
                f"{images.uri}: every image is in the train split, so there are no held-out images to compare with. "
                "Fix: give the dataset a test split, or set data.test_share."
            )
        samples = {
            name: ImageSample.draw(images_of(images, ["image_id", "label"], name), most)
            for name, most in (("train", reference), (split, held_out))
        }
        rows = samples[split].rows(images, ["group"], split)
        return cls(samples["train"], samples[split], split, rows, splits)

    def measured(self, version: Version, columns: Iterable[str], sets: Collection[str] | None = None) -> pa.Table:
        """Read rows of ``reference_measurements``, sorted by key: those of the samples, and all of other sets.

        Args:
            version: Version to read.
            columns: Names of columns.
            sets: Names of sets; None for all.
        """
        wanted = [*dict.fromkeys(["key", "set", "label", *columns])]
        found = [version.table_spec.schema.empty_table().select(wanted)]
        for part in version.read_parts(wanted):
            rows = part.select(wanted)
            if sets is not None:
                rows = rows.filter(pc.is_in(rows["set"], pa.array(sets)))
            found.append(rows.filter(pa.array(self._takes(rows))))
        return pa.concat_tables(found).sort_by("key")

    def _takes(self, rows: pa.Table) -> NDArray[np.bool_]:
        taken = np.ones(rows.num_rows, np.bool_)
        for sample, sets in ((self.reference, ["reference"]), (self.held_out, ["held_out", "reconstructed"])):
            places = pc.indices_nonzero(pc.is_in(rows["set"], pa.array(sets))).to_numpy()
            some = rows.take(places)
            image_ids = pc.replace_substring_regex(some["key"], "^[^/]*/", "")
            taken[places] = sample.takes(image_ids, some["label"])
        return taken


def images_of(images: Version, columns: Sequence[str], split: str) -> Iterator[pa.Table]:
    """Read columns of the images of a split, part by part."""
    for part in images.read_parts([*dict.fromkeys([*columns, "split"])]):
        yield part.filter(pc.equal(part["split"], split)).select(list(columns))


def _hashes(image_ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    digests = (hashlib.blake2b(one.encode(), digest_size=8).digest() for one in image_ids.to_pylist())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
