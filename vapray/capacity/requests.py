"""How often a stage asks the object store, as ``row_map``, ``store``, ``parts`` and ``lease`` do."""

import math
from dataclasses import dataclass

from vapray.lease import LIFETIME_SECONDS
from vapray.object_files import FETCHED_WHOLE_BYTES
from vapray.parts import HASHED_WHOLE_BYTES, READERS

__all__ = ["PartFlow", "Requests", "heartbeats", "opening", "waited"]

NAMES_OF_A_LIST = 1000
RANGES_OF_A_LARGE_PART = 4
"""Its footer, and the pages of some columns."""
# Whatever its size: lease, release and manifest; looks at manifests that are not there yet; folders that are not.
PUTS_OF_A_STAGE, GETS_OF_A_STAGE, LISTS_OF_A_STAGE = 3, 8, 12


@dataclass(frozen=True)
class Requests:
    """Counts; a HEAD is priced and limited like a GET."""

    puts: float = 0
    gets: float = 0
    lists: float = 0

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(self.puts + other.puts, self.gets + other.gets, self.lists + other.lists)


@dataclass(frozen=True)
class PartFlow:
    """Parts in, items, parts out, without rejects or an earlier attempt.

    Attributes:
        parts_in: of the source.
        bytes_in: of one of them.
        is_sealed: whether the source has a manifest; a stage's own plan has none.
        items: units of work, each of which writes a part.
        bytes_out: of one of those.
        actors: that share the items.
    """

    parts_in: int
    bytes_in: float
    is_sealed: bool
    items: int
    bytes_out: float
    actors: int

    @property
    def scan_gets(self) -> float:
        """Of the driver, to find out what is to be done and how much that is."""
        return self.parts_in * self._first()

    @property
    def actor_gets(self) -> float:
        """A part is hashed whole when an actor meets it first."""
        share = 1 - (1 - 1 / self.actors) ** (self.items / self.parts_in) if self.parts_in else 0
        met = min(self.items, self.parts_in * self.actors * share)
        return met * self._first() + (self.items - met) * opening(self.bytes_in) + min(self.actors, self.items)

    @property
    def check_gets(self) -> float:
        """Of the driver: keys of all parts, then their rejects."""
        return 2 * self.items * opening(self.bytes_out)

    @property
    def seal_gets(self) -> float:
        """Of the driver: every part whole."""
        return self.items

    def requests(self, seconds: float) -> Requests:
        """All of the stage, which takes so long."""
        gets = self.scan_gets + self.actor_gets + self.check_gets + self.seal_gets
        plan = 0 if self.is_sealed else self.parts_in
        pages = 3 * math.ceil(self.items / NAMES_OF_A_LIST)
        stage = Requests(PUTS_OF_A_STAGE, GETS_OF_A_STAGE, LISTS_OF_A_STAGE)
        return stage + heartbeats(seconds) + Requests(self.items + plan, gets, pages)

    def _first(self) -> float:
        is_hashed = self.is_sealed and self.bytes_in <= HASHED_WHOLE_BYTES
        return 1 if is_hashed else opening(self.bytes_in)


def waited(gets: float, seconds: float) -> float:
    """For answers of so many seconds each, of which the driver awaits ``READERS`` at a time."""
    return gets * seconds / READERS


def opening(size: float) -> int:
    """Requests to read some columns of a part that has been seen to be whole."""
    return 2 if size <= FETCHED_WHOLE_BYTES else 1 + RANGES_OF_A_LARGE_PART


def heartbeats(seconds: float) -> Requests:
    """Of the lease: is it ours, and on with it."""
    beats = math.floor(seconds / (LIFETIME_SECONDS / 4))
    return Requests(puts=beats, lists=beats)
