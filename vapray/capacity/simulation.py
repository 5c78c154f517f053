"""A pool of actors as ``vapray.row_map`` uses Ray Data, event by event.

driver ──looks──► collects what is done, hands out items one by one, grows the pool ──waits──► looks again
actor  ──starts──► works on its queue, ``overlap`` items at a time ──► may die: its queue waits until it is back

Ray Data's executor waits for all tasks at once with a timeout, so it sees a result up to ``poll_seconds`` late unless
nothing else is under way. An actor that dies loses what it worked on and keeps what it was handed.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from vapray.capacity.pool import ActorPool, Driver, Outcome
from vapray.capacity.shared_cores import SharedCores
from vapray.row_map import RESTARTS_OF_AN_ACTOR

__all__ = ["simulate"]

GROWS_FROM = 1.75
"""Items under way for each one that the pool can work on at a time, from which Ray Data 2.60 adds actors."""


def simulate(
    service_seconds: Sequence[float], pool: ActorPool, driver: Driver | None = None, *, seed: int = 0
) -> Outcome:
    """Work through items in their order; the same seed, the same outcome.

    Args:
        service_seconds: work of each item.
        pool: the actors.
        driver: None costs nothing.
        seed: of deaths.
    """
    return _Simulation(service_seconds, pool, driver or Driver(), seed).run()


@dataclass
class _Actor:
    queue: deque[int] = field(default_factory=deque)
    running: dict[int, float] = field(default_factory=dict)
    in_flight: int = 0
    lives: int = 0
    is_up: bool = False
    started_at: float = math.inf
    finished: int = 0


class _Simulation:
    def __init__(self, service: Sequence[float], pool: ActorPool, driver: Driver, seed: int) -> None:
        self._service, self._pool, self._driver = service, pool, driver
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, str, int, int, int]] = []
        self._actors: list[_Actor] = []
        self._slots: list[tuple[int, int]] = []
        self._cores = SharedCores(pool.start_cores, pool.start_seconds, driver.setup_seconds)
        self._unseen: list[int] = []
        self._now = self._free_at = self._last_out = driver.setup_seconds
        self._next_look = self._next_start = math.inf
        self._order = self._handed_out = self._seen = self._deaths = 0
        self._worked = self._worked_in_tail = self._redone = self._driver_busy = 0.0
        self._failed = False

    def run(self) -> Outcome:
        handlers = {"come": self._come_up, "take": self._take, "done": self._finish, "die": self._die}
        self._grow(min(self._pool.min_size, self._pool.max_size, len(self._service)))
        while self._seen < len(self._service) and not self._failed:
            self._now, _, kind, number, item, life = heapq.heappop(self._events)
            if kind == "look":
                if self._now == self._next_look:
                    self._look()
            elif kind == "up":
                if self._now == self._next_start:
                    self._let_up()
            elif kind == "take" or life == self._actors[number].lives:
                handlers[kind](number, item)
        return self._outcome()

    def _at(self, time: float, kind: str, number: int = -1, item: int = -1, life: int = 0) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, kind, number, item, life))

    def _grow(self, count: int) -> None:
        for _ in range(count):
            self._actors.append(_Actor())
            self._start(len(self._actors) - 1)

    def _start(self, number: int) -> None:
        if number < len(self._pool.starts_at) and not self._actors[number].lives:
            self._at(max(self._now, self._pool.starts_at[number]), "come", number)
            return
        self._cores.begin(number, self._now)
        self._await_start()

    def _await_start(self) -> None:
        """When the next start will be over, as things stand: another one that begins slows it down."""
        time = self._cores.next_end()
        if time not in (self._next_start, math.inf):
            self._next_start = time
            self._at(time, "up")

    def _let_up(self) -> None:
        self._next_start = math.inf
        for number in self._cores.ended(self._now):
            self._come_up(number, -1)
        self._await_start()

    def _come_up(self, number: int, _: int) -> None:
        actor = self._actors[number]
        actor.is_up = True
        if actor.started_at == math.inf:
            actor.started_at = self._now
            self._offer(number)
            self._call_driver()
        if self._pool.seconds_between_deaths:
            lives_for = self._random.expovariate(1 / self._pool.seconds_between_deaths)
            self._at(self._now + lives_for, "die", number, life=actor.lives)
        self._work(number)

    def _take(self, number: int, item: int) -> None:
        self._actors[number].queue.append(item)
        self._work(number)

    def _work(self, number: int) -> None:
        actor = self._actors[number]
        while actor.is_up and actor.queue and len(actor.running) < self._pool.overlap:
            item = actor.queue.popleft()
            actor.running[item] = self._now
            self._at(self._now + self._cost(item), "done", number, item, actor.lives)

    def _cost(self, item: int) -> float:
        return self._service[item] + self._pool.overhead_seconds

    def _finish(self, number: int, item: int) -> None:
        actor = self._actors[number]
        begin = actor.running.pop(item)
        actor.finished += 1
        self._worked += self._now - begin
        if self._handed_out == len(self._service):
            self._worked_in_tail += max(0.0, self._now - max(begin, self._last_out))
        self._unseen.append(number)
        self._call_driver()
        self._work(number)

    def _die(self, number: int, _: int) -> None:
        actor = self._actors[number]
        self._deaths, actor.lives, actor.is_up = self._deaths + 1, actor.lives + 1, False
        for item, begin in reversed(actor.running.items()):
            self._redone += self._now - begin
            actor.queue.appendleft(item)
        self._failed = actor.lives > RESTARTS_OF_AN_ACTOR
        actor.running.clear()
        self._start(number)

    def _offer(self, number: int) -> None:
        in_flight = self._actors[number].in_flight
        if in_flight < 2 * self._pool.overlap:
            heapq.heappush(self._slots, (in_flight, number))

    def _call_driver(self) -> None:
        """Something happened that it will see: at once when nothing else is under way, else at its next look."""
        time, poll = max(self._now, self._free_at), self._driver.poll_seconds
        if poll and len(self._unseen) < self._handed_out - self._seen:
            time = self._free_at + poll * max(0, math.ceil((self._now - self._free_at) / poll))
        if time < self._next_look:
            self._next_look = time
            self._at(time, "look")

    def _look(self) -> None:
        """One turn of the driver's loop."""
        self._next_look = math.inf
        self._seen += len(self._unseen)
        for number in self._unseen:
            self._actors[number].in_flight -= 1
            self._offer(number)
        self._unseen.clear()
        self._hand_out()
        self._adapt()

    def _hand_out(self) -> None:
        self._free_at = self._now
        while self._handed_out < len(self._service) and self._slots:
            in_flight, number = heapq.heappop(self._slots)
            if in_flight != self._actors[number].in_flight:
                continue
            self._free_at += self._driver.seconds_per_item
            self._at(self._free_at, "take", number, self._handed_out)
            self._actors[number].in_flight += 1
            self._handed_out += 1
            self._last_out = self._free_at
            self._offer(number)
        self._driver_busy += self._free_at - self._now

    def _adapt(self) -> None:
        size, left = len(self._actors), len(self._service) - self._handed_out
        usage = (self._handed_out - self._seen) / (self._pool.overlap * size)
        if left and size < self._pool.max_size and usage >= GROWS_FROM:
            self._grow(min(max(1, math.ceil(size * (usage / GROWS_FROM - 1))), self._pool.max_size - size))

    def _outcome(self) -> Outcome:
        span = self._now - self._driver.setup_seconds
        could = span * len(self._actors) * self._pool.overlap
        tail = (self._now - self._last_out) * len(self._actors) * self._pool.overlap
        return Outcome(
            wall_seconds=self._now + self._driver.finish_seconds,
            worked_seconds=self._worked,
            redone_seconds=self._redone,
            items_of_actors=tuple(actor.finished for actor in self._actors),
            started_at=tuple(actor.started_at for actor in self._actors),
            utilisation=self._worked / could if could else 0.0,
            tail_idle_share=(tail - self._worked_in_tail) / could if could else 0.0,
            driver_share=self._driver_busy / span if span else 0.0,
            deaths=self._deaths,
            failed=self._failed,
        )
