"""Subsets of the real training images by complete groups (lesions, patients)."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError

__all__ = ["check_groups_disjoint", "rows_of_share"]


def rows_of_share(
    groups: Sequence[str], labels: NDArray[np.integer[Any]], share: float, seed: int
) -> NDArray[np.int64]:
    """Select the images of a share of each class's groups.

    ``seed`` draws one order of groups, and a share takes the first ones of each class, so a smaller share is a subset
    of every larger one. A group includes all its images, also those of other classes.

    Args:
        groups: Group of each image, [N].
        labels: Class of each image, [N].
        share: Share of each class's groups, above 0 and at most 1; at least one group is taken.
        seed: Seed of the order.

    Returns:
        Positions of the selected images, ascending.
    """
    of_class: dict[int, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels.tolist(), strict=True):
        of_class[label].add(group)
    taken: set[str] = set()
    for members in of_class.values():
        ordered = sorted(members, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
        taken.update(ordered[: max(1, math.floor(share * len(ordered) + 0.5))])
    return np.flatnonzero([group in taken for group in groups])


def check_groups_disjoint(train: Sequence[str], test: Sequence[str]) -> None:
    """Check that no lesion or patient is both trained on and tested on.

    Raises:
        DataError: a group is in both splits.
    """
    if shared := sorted({*train} & {*test}):
        raise DataError(
            f"{len(shared)} groups are in the train split and among the held-out images, such as "
            f"{', '.join(shared[:5])}. Fix: put each lesion or patient into one split of the dataset."
        )
