"""The watchdog over real parts: an open library, a watcher and a schedule, and a socket on which it is fed."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pumas_agent.agent.supervision import PartsWatchdog
from pumas_agent.health import Notifier
from pumas_agent.library import Library
from pumas_agent.reconcile import Schedule
from pumas_agent.watching import WatchdogWatcher

LIMIT_S = 0.4


class Feed:
    """Counts the messages; a wait ends when one came, or when none came for so long."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def comes(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().sock_recv(self._socket, 100) == b"WATCHDOG=1"
        except TimeoutError:
            return False

    async def ends(self) -> bool:
        """It is fed at most a few times more."""
        for _ in range(8):
            if not await self.comes(LIMIT_S * 3):
                return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def library(short_tmp: Path) -> AsyncIterator[Library]:
    library = Library.open(short_tmp / "library", "agent")
    yield library
    library.close()


@pytest.fixture
async def schedule() -> AsyncIterator[Schedule]:
    schedule = Schedule()
    schedule.start()
    yield schedule
    await schedule.stop()


@pytest.fixture
async def feed(short_tmp: Path, library: Library, schedule: Schedule) -> AsyncIterator[Feed]:
    feed = Feed(short_tmp / "notify")
    watcher = WatchdogWatcher(lambda _scope, _reason: None, heartbeat=short_tmp)
    watcher.start()
    notifier = Notifier(str(short_tmp / "notify"), LIMIT_S)
    watchdog = PartsWatchdog(notifier, library, watcher, schedule)
    yield feed
    await watchdog.stop()
    notifier.close()
    watcher.stop()
    feed.close()


async def test_it_is_fed_while_everything_is_idle(feed: Feed) -> None:
    """Nothing has to happen for it."""
    for _ in range(6):
        assert await feed.comes(LIMIT_S * 5)


async def test_a_writer_that_is_stuck_starves_it(feed: Feed, library: Library) -> None:
    """A commit that does not end; and it is fed again when it has ended."""
    assert await feed.comes(LIMIT_S * 5)
    free = threading.Event()
    stuck = asyncio.ensure_future(library.write(lambda _: free.wait()))
    try:
        assert await feed.ends()
    finally:
        free.set()
    await stuck
    assert await feed.comes(LIMIT_S * 10)


async def test_a_writer_with_a_long_queue_is_at_work(feed: Feed, library: Library) -> None:
    """What is asked of it waits behind the queue for longer than the watchdog's time, and it is fed all the same."""
    slow = threading.Event()
    queue = [asyncio.ensure_future(library.write(lambda _: slow.wait(LIMIT_S / 8))) for _ in range(32)]

    while not queue[-1].done():
        assert await feed.comes(LIMIT_S * 2)

    await asyncio.gather(*queue)


async def test_a_schedule_that_stopped_starves_it(feed: Feed, schedule: Schedule) -> None:
    """The periodic work is a part like the others."""
    assert await feed.comes(LIMIT_S * 5)
    await schedule.stop()
    assert await feed.ends()
