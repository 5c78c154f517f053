"""Splits into train, validation and test; a lesion or patient is in one split only."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from vapray.data.label_tables import list_first
from vapray.data.records import ImageRecord
from vapray.errors import ConfigError


def split_by_group(
    records: list[ImageRecord], *, validation_share: float, test_share: float, seed: int
) -> list[ImageRecord]:
    """Assign new splits to records, stratified by class as far as whole groups allow.

    Depends on ids, groups, classes and ``seed`` only, not on the order of ``records``.

    Returns:
        Copies of the records with their new splits.

    Raises:
        ConfigError: a share outside 0..1, or nothing left for training.
    """
    # The negated form also refuses nan.
    if not (validation_share >= 0 and test_share >= 0 and validation_share + test_share < 1):
        raise ConfigError(
            f"validation_share {validation_share}, test_share {test_share}: each at least 0, together below 1"
        )
    members = defaultdict(list)
    for record in records:
        members[record.group].append(record.label)
    strata = defaultdict(list)
    for group, labels in members.items():
        # A group with several classes counts as its most frequent class.
        strata[min(Counter(labels).items(), key=lambda item: (-item[1], item[0]))[0]].append(group)
    sizes = {group: len(labels) for group, labels in members.items()}
    side: dict[str, str] = {}
    for groups in strata.values():
        shuffled = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
        side |= _fill_sides(shuffled, sizes, {"test": test_share, "validation": validation_share})
    return [replace(record, split=side[record.group]) for record in records]


def _fill_sides(groups: list[str], sizes: dict[str, int], shares: dict[str, float]) -> dict[str, str]:
    """Assign each group to the first split that it brings closer to its share, otherwise to training."""
    total = sum(sizes[group] for group in groups)
    wanted = {side: round(total * share) for side, share in shares.items()}
    placed: dict[str, str] = {}
    for group in groups:
        gains = (side for side in shares if abs(wanted[side] - sizes[group]) < abs(wanted[side]))
        placed[group] = next(gains, "train")
        if placed[group] != "train":
            wanted[placed[group]] -= sizes[group]
    return placed


def crossing_groups(members: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Report groups that are in two splits, given (group, split) pairs; the message lists the first five."""
    sides = defaultdict(set)
    for group, split in members:
        sides[group].add(split)
    crossing = sorted(f"{group}: {' and '.join(sorted(found))}" for group, found in sides.items() if len(found) > 1)
    if crossing:
        yield f"{list_first(crossing, 'group')} on two sides of a split; keep a lesion or patient in one split"
