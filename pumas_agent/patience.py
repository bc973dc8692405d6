"""How long something may take, in time that this process had itself. Owns the counting, and not what is waited for.

A process that was stopped, frozen or moved to another machine has its deadlines behind it when it goes on, and what it
waited for may have had no chance meanwhile. So a patience is counted in slices: standing still takes one of them,
however long it is.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

SLICES = 10


class Countdown:
    """Calls an action once, on the running event loop, when the process has had so many seconds."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._slice_s = seconds / SLICES
        self._left = SLICES
        self._action = action
        self._wait()

    def cancel(self) -> None:
        """Do not call."""
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._slice_s, self._pass)

    def _pass(self) -> None:
        self._left -= 1
        if self._left:
            self._wait()
        else:
            self._action()


@asynccontextmanager
async def time_limit(seconds: float | None) -> AsyncIterator[None]:
    """As `asyncio.timeout`, which counts the time that the process stood still.

    Raises:
        TimeoutError: what is within took longer.
    """
    async with asyncio.timeout(None) as limit:
        if seconds is None:
            yield
            return
        loop = asyncio.get_running_loop()
        countdown = Countdown(seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            countdown.cancel()


class Deadline:
    """For a loop that asks often whether its time is over; between two questions a tenth of it passes at most."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._most_s = seconds / SLICES
        self._asked = time.monotonic()

    def passed(self) -> bool:
        """Whether the time is over."""
        before, self._asked = self._asked, time.monotonic()
        self._left_s -= min(self._asked - before, self._most_s)
        return self._left_s <= 0


def is_set_within(event: threading.Event, seconds: float) -> bool:
    """Wait for an event of another thread; False when it was not set in that time."""
    return any(event.wait(seconds / SLICES) for _ in range(SLICES))
