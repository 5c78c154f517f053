"""Whose turn it is: which rows share the next network call.

A row is one half of one image at one solver step: conditional, or unconditional. Rows of a call have one padded context
length, so a caption's length decides its group, and nothing else about an image matters; unconditional rows are of its
group, or one group by themselves. Halves of an image may go into different calls, which leaves no gap at the end of a
call.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

__all__ = ["Rota", "context_lengths", "fitting_size"]

Row = TypeVar("Row")
LONGEST_WAIT = 2


def context_lengths(max_context: int) -> tuple[int, ...]:
    """What captions are padded to: half of the room, or all of it.

    Captions take 60 to 120 of CLIP's 256 tokens, and 12 to 21 of the demo's 48: half holds nearly all of them. More
    lengths would spare a few tokens, and leave more calls half empty.
    """
    return tuple(sorted({-(-max_context // 2), max_context}))


def fitting_size(count: int, sizes: Sequence[int]) -> int:
    """The smallest of ``sizes`` (rising) that holds so many."""
    return next(size for size in sizes if size >= count)


class Rota:
    """Takes turns between groups: the fullest call goes first, unless a group has been passed over twice.

    Fullest first, because a call costs the same however few of its rows are real. Within a group the oldest image goes
    first, so every image ends: those before it do, and its group has its turn.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._passed_over: dict[int, int] = {}

    def choose(self, waiting: Iterable[tuple[int, Callable[[], Sequence[Row]]]]) -> list[Row]:
        """The next call: the oldest rows of the group whose turn it is, as many as fit.

        Args:
            waiting: for images, oldest first, a group and what tells the rows of it that the image waits for.
        """
        groups: dict[int, list[Row]] = {}
        for group, rows in waiting:
            chosen = groups.setdefault(group, [])
            if room := self._max_rows - len(chosen):
                chosen.extend(rows()[:room])
        groups = {group: rows for group, rows in groups.items() if rows}
        turn = self._turn(groups)
        self._passed_over = {group: 0 if group == turn else self._passed_over.get(group, 0) + 1 for group in groups}
        return groups[turn]

    def _turn(self, groups: Mapping[int, Sequence[Row]]) -> int:
        longest = max(groups, key=lambda group: self._passed_over.get(group, 0))
        if self._passed_over.get(longest, 0) >= LONGEST_WAIT:
            return longest
        return max(groups, key=lambda group: len(groups[group]))
