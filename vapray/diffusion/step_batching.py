"""Selection of the rows of the next network call.

A row is one half of one image at one solver step: conditional or unconditional. Rows of a call have one padded context
length, so only the caption's length decides an image's group; unconditional rows are in the same group, or in a group
of their own. The halves of an image may be in different calls, which avoids a gap at the end of a call.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TypeVar

__all__ = ["StepBatcher", "context_lengths", "in_turns", "smallest_batch_size"]

Row = TypeVar("Row")
Image = TypeVar("Image")
MAX_SKIPS = 2


def context_lengths(max_context: int) -> tuple[int, ...]:
    """List the padded lengths of captions: half of the maximum, and the maximum.

    Captions have 60 to 120 of CLIP's 256 tokens, and 12 to 21 of the demo's 48, so half is enough for nearly all. More
    lengths would save a few tokens and leave more calls partly empty.
    """
    return tuple(sorted({-(-max_context // 2), max_context}))


def smallest_batch_size(rows: int, sizes: Sequence[int]) -> int:
    """Get the smallest of the ascending ``sizes`` that is at least ``rows``."""
    return next(size for size in sizes if size >= rows)


def in_turns(images: Sequence[Image], owner: Callable[[Image], str]) -> list[Image]:
    """Order images so that owners take turns: the oldest of each, then the second oldest of each, and so on.

    The next call then has rows of an owner with one image, however many images the others have.

    Args:
        images: oldest first.
        owner: returns the owner of an image.
    """
    turns: defaultdict[str, Iterator[int]] = defaultdict(count)
    order = [next(turns[owner(image)]) for image in images]
    return [images[index] for index in sorted(range(len(images)), key=order.__getitem__)]


class StepBatcher:
    """Rotation between groups: the fullest call is first, unless a group has been passed over twice.

    The fullest is first because the cost of a call does not depend on its number of real rows. Within a group the
    first image is first; it becomes the oldest one, so that every image ends.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._skips: dict[int, int] = {}

    def next_batch(self, waiting: Iterable[tuple[int, Callable[[], Sequence[Row]]]]) -> list[Row]:
        """Choose the rows of the next call: the first rows of one group, as many as fit.

        Args:
            waiting: for each image, first ones first, a group and a function that returns its rows of that group.

        Returns:
            The rows.
        """
        groups: dict[int, list[Row]] = {}
        for group, rows in waiting:
            chosen = groups.setdefault(group, [])
            if room := self._max_rows - len(chosen):
                chosen.extend(rows()[:room])
        groups = {group: rows for group, rows in groups.items() if rows}
        turn = self._next_group(groups)
        self._skips = {group: 0 if group == turn else self._skips.get(group, 0) + 1 for group in groups}
        return groups[turn]

    def _next_group(self, groups: Mapping[int, Sequence[Row]]) -> int:
        longest = max(groups, key=lambda group: self._skips.get(group, 0))
        if self._skips.get(longest, 0) >= MAX_SKIPS:
            return longest
        return max(groups, key=lambda group: len(groups[group]))
