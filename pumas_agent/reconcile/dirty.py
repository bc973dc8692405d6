"""Which scopes are dirty and when each is due. Owns the debounce; a data structure that runs nothing and never waits.

A mark costs under a microsecond however many there are: the heap holds one entry a scope, whose place is the earliest
time it could have been due, and is put right only when it comes to the top.
"""

import heapq
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from pumas_agent.contracts.records import ALL_MODELS


class Clock(Protocol):
    """Where time comes from; the module `time` is one."""

    def monotonic(self) -> float:
        """Seconds that never go back and do not follow the wall clock."""


@dataclass(frozen=True, slots=True)
class Job:
    """A scope to be looked at now, and why."""

    scope: str
    reasons: frozenset[str]


@dataclass(eq=False, slots=True)
class _Waiting:
    scope: str
    first: float
    last: float
    not_before: float
    at_once: bool = False
    reasons: set[str] = field(default_factory=set)


class DirtySet:
    """Scopes that were marked, until a run that began after the mark has finished.

    A scope is due when it has been quiet for `quiet_s`, and at the latest `ceiling_s` after its first mark: steady
    marks put a run off, but not for ever. One run a scope at a time; marks during a run make one more after it. When
    all models are due, the models that wait go with them, but for those that run, that somebody waits for or that
    failed. Thread-safe.

    Args:
        quiet_s: seconds without a mark that make a scope due.
        ceiling_s: seconds after the first mark that make it due regardless.
        clock: monotonic time.
    """

    def __init__(self, quiet_s: float, ceiling_s: float, clock: Clock = time) -> None:
        self._quiet_s = quiet_s
        self._ceiling_s = ceiling_s
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._running: set[str] = set()
        self._heap: list[tuple[float, int, _Waiting]] = []
        self._order = count()

    def mark(self, scope: str, reason: str, *, at_once: bool = False) -> bool:
        """Look at `scope` soon; True when something may be due earlier than it was, so that a waiter must wake.

        Args:
            scope: a model id or `ALL_MODELS`.
            reason: what is known of the cause.
            at_once: somebody waits for the run: no quiet time, no retry delay, and no run of all models in its place.
        """
        with self._lock:
            now = self._clock.monotonic()
            waiting = self._waiting.get(scope)
            if waiting is not None and not (at_once and not waiting.at_once):
                waiting.last = now
                waiting.reasons.add(reason)
                return False
            if waiting is None:
                waiting = self._waiting[scope] = _Waiting(scope, now, now, now)
            waiting.last = now
            waiting.at_once = at_once
            waiting.reasons.add(reason)
            return scope not in self._running and self._push(waiting)

    def take_due(self, limit: int | None = None) -> list[Job]:
        """The scopes that are due, the longest due first; they count as running until `finished` or `failed`.

        Args:
            limit: at most so many.
        """
        with self._lock:
            now = self._clock.monotonic()
            jobs: list[Job] = []
            while (limit is None or len(jobs) < limit) and (top := self._top()) is not None and top[0] <= now:
                waiting = heapq.heappop(self._heap)[2]
                if waiting.scope == ALL_MODELS:
                    for absorbed in list(self._absorbable(now)):
                        waiting.reasons |= absorbed.reasons
                        del self._waiting[absorbed.scope]
                del self._waiting[waiting.scope]
                self._running.add(waiting.scope)
                jobs.append(Job(waiting.scope, frozenset(waiting.reasons)))
            return jobs

    def due_in(self) -> float | None:
        """Seconds until the next scope is due, 0 when one is; None when none waits for time alone."""
        with self._lock:
            top = self._top()
            return None if top is None else max(0.0, top[0] - self._clock.monotonic())

    def waiting(self) -> tuple[str, ...]:
        """The scopes that are not due yet."""
        with self._lock:
            return tuple(self._waiting)

    def finished(self, scope: str) -> None:
        """The run of `scope` is over; marks it got meanwhile now wait their time."""
        with self._lock:
            self._running.discard(scope)
            waiting = self._waiting.get(scope)
            if waiting is not None:
                self._push(waiting)

    def failed(self, scope: str, retry_s: float) -> None:
        """The run of `scope` could not be done: it is due again in `retry_s` seconds, and no sooner for new marks."""
        with self._lock:
            self._running.discard(scope)
            now = self._clock.monotonic()
            waiting = self._waiting.get(scope)
            if waiting is None:
                waiting = self._waiting[scope] = _Waiting(scope, now, now, now)
            waiting.not_before = now + retry_s
            waiting.reasons.add("retry")
            self._push(waiting)

    def retune(self, quiet_s: float, ceiling_s: float) -> None:
        """From now on other times count, also for what waits."""
        with self._lock:
            self._quiet_s = quiet_s
            self._ceiling_s = ceiling_s
            self._heap.clear()  # a place in it may be later now than the earliest time its scope can be due
            for waiting in self._waiting.values():
                if waiting.scope not in self._running:
                    self._push(waiting)

    def __len__(self) -> int:
        """Scopes that wait or run; one that does both counts once."""
        with self._lock:
            return len(self._waiting) + sum(scope not in self._waiting for scope in self._running)

    def _due(self, waiting: _Waiting) -> float:
        if waiting.at_once:
            return waiting.first
        due = min(waiting.last + self._quiet_s, waiting.first + self._ceiling_s)
        return max(due, waiting.not_before)

    def _push(self, waiting: _Waiting) -> bool:
        due = self._due(waiting)
        earliest = not self._heap or due < self._heap[0][0]
        heapq.heappush(self._heap, (due, next(self._order), waiting))
        return earliest

    def _top(self) -> tuple[float, int, _Waiting] | None:
        """The entry that is due next, after those that moved or were taken meanwhile are put right."""
        while self._heap:
            due, order, waiting = self._heap[0]
            if self._waiting.get(waiting.scope) is not waiting or waiting.scope in self._running:
                heapq.heappop(self._heap)
                continue
            real = self._due(waiting)
            if real <= due:
                return self._heap[0]
            heapq.heapreplace(self._heap, (real, order, waiting))
        return None

    def _absorbable(self, now: float) -> Iterator[_Waiting]:
        for scope, waiting in self._waiting.items():
            held = scope in self._running or waiting.at_once or waiting.not_before > now
            if scope != ALL_MODELS and not held:
                yield waiting
