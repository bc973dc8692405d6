"""Roots that are compared with themselves at intervals. Owns when each is due; the comparing is done elsewhere.

For filesystems whose events do not tell of everything (network, FUSE, overlay), and for roots that cannot be watched.
"""

import hashlib
import heapq
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

_SHARE = 0.02
"""Of the time that may go into comparing one root: a walk that takes a second is made every 50 seconds at most."""
_MOST_ENTRIES = 20_000
_MOST_LEVELS = 8


@dataclass(slots=True)
class Polled:
    """One root that is compared.

    Attributes:
        root: where it is.
        print: what was there the last time; None before the first comparison.
        cost_s: how long that took.
        due: monotonic seconds.
    """

    root: str
    print: bytes | None = None
    cost_s: float = 0.0
    due: float = 0.0


class PolledRoots:
    """Which roots are compared, and when. Belongs to one thread.

    Args:
        interval_s: seconds between two comparisons of a root, unless its size makes them dearer.
        clock: monotonic seconds.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._roots: dict[str, Polled] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._roots)

    @property
    def cost(self) -> float:
        """The share of one processor that comparing takes, as of the last comparisons."""
        return sum(polled.cost_s / self._interval(polled) for polled in list(self._roots.values()))

    def add(self, scope: str, root: str) -> bool:
        """Compare a root from now on; False for the same again. The first comparison is the caller's."""
        known = self._roots.get(scope)
        if known is not None and known.root == root:
            return False
        self._roots[scope] = Polled(root, due=self._clock())
        return True

    def remove(self, scope: str) -> None:
        """Compare it no more."""
        self._roots.pop(scope, None)

    def due_in(self) -> float | None:
        """Seconds until a root is due; None when there is none."""
        while self._heap:
            due, _, scope = self._heap[0]
            polled = self._roots.get(scope)
            if polled is not None and polled.due == due:
                return max(0.0, due - self._clock())
            heapq.heappop(self._heap)
        return None

    def take_due(self) -> list[tuple[str, str]]:
        """Scopes and roots that are due; each has to be told of with `compared`."""
        taken: list[tuple[str, str]] = []
        while (wait := self.due_in()) is not None and wait <= 0:
            scope = heapq.heappop(self._heap)[2]
            taken.append((scope, self._roots[scope].root))
        return taken

    def compared(self, scope: str, found: bytes | None, cost_s: float) -> bool:
        """Note what a comparison found (None: no answer); True when it differs from the last time."""
        polled = self._roots.get(scope)
        if polled is None:
            return False
        now = b"" if found is None else found
        changed = polled.print is not None and now != polled.print
        polled.print, polled.cost_s = now, cost_s
        polled.due = self._clock() + self._interval(polled)
        heapq.heappush(self._heap, (polled.due, next(self._order), scope))
        return changed

    def _interval(self, polled: Polled) -> float:
        return max(self._interval_s, polled.cost_s / _SHARE)


def print_of(root: str) -> bytes:
    """What tells that something below a root is not what it was. Never raises; blocks as the filesystem does."""
    digest = hashlib.blake2b(digest_size=16)
    waiting: deque[tuple[str, int]] = deque([(root, 0)])
    entries = 0
    digest.update(_stat_of(root))
    while waiting and entries < _MOST_ENTRIES:
        folder, level = waiting.popleft()
        try:
            with os.scandir(folder) as listing:
                children = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            digest.update(f"{error.errno}\0".encode())
            continue
        entries += len(children)
        for child in children:
            digest.update(os.fsencode(child.name) + b"\0" + _stat_of(child.path))
            if child.is_dir(follow_symlinks=False) and level < _MOST_LEVELS:
                waiting.append((child.path, level + 1))
    return digest.digest()


def _stat_of(path: str) -> bytes:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each of thousands of entries is felt
    except OSError as error:
        return f"{error.errno}\0".encode()
    return f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_size} {found.st_ino} {found.st_mode}\0".encode()
