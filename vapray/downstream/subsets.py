"""Shares of the real training images by whole groups: lesions, patients."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError

__all__ = ["refuse_shared_groups", "rows_of_share"]


def rows_of_share(
    groups: Sequence[str], labels: NDArray[np.integer[Any]], share: float, seed: int
) -> NDArray[np.int64]:
    """The images of a share of each class's groups.

    Groups stand in one order that ``seed`` draws, and a share takes the first of each class: a smaller share is part
    of every larger one, whatever else differs. A group comes with all of its images, also those of other classes.

    Args:
        groups: [N], of each image.
        labels: [N].
        share: of each class's groups, above 0 and at most 1; at least one of them is taken.
        seed: of the order.

    Returns:
        Positions of the images taken, ascending.
    """
    of_class: dict[int, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels.tolist(), strict=True):
        of_class[label].add(group)
    taken: set[str] = set()
    for members in of_class.values():
        ordered = sorted(members, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
        taken.update(ordered[: max(1, math.floor(share * len(ordered) + 0.5))])
    return np.flatnonzero([group in taken for group in groups])


def refuse_shared_groups(train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse a test of images whose lesion or patient is trained on.

    Raises:
        DataError: a group is on both sides.
    """
    if shared := sorted({*train} & {*test}):
        raise DataError(
            f"{len(shared)} groups are in the train split and among the held-out images, such as "
            f"{', '.join(shared[:5])}. A lesion or patient has to be in one split: mend the dataset's groups or splits."
        )
