"""Patience is counted in time that the process had: standing still, however long, takes a tenth of it."""

import asyncio
import threading
import time

import pytest

from pumas_agent.patience import SLICES, Countdown, Deadline, is_set_within, time_limit


async def test_a_countdown_ends_once() -> None:
    ended: list[float] = []
    began = time.monotonic()

    Countdown(0.05, lambda: ended.append(time.monotonic()))
    await asyncio.sleep(0.2)

    assert len(ended) == 1
    assert ended[0] - began >= 0.05


async def test_a_countdown_that_is_cancelled_never_ends() -> None:
    """At any slice."""
    ended: list[int] = []
    early, late = Countdown(0.01, lambda: ended.append(1)), Countdown(0.05, lambda: ended.append(2))

    early.cancel()
    await asyncio.sleep(0.025)
    late.cancel()
    await asyncio.sleep(0.1)

    assert ended == []


async def test_standing_still_ends_no_countdown() -> None:
    """The loop is blocked for twice the time, as by a stop; what came meanwhile is heard before the countdown ends."""
    order: list[str] = []
    countdown = Countdown(0.2, lambda: order.append("ended"))
    asyncio.get_running_loop().call_later(0.03, lambda: order.append("heard"))

    time.sleep(0.4)  # noqa: ASYNC251 - it is the loop that has to stand still
    await asyncio.sleep(0.05)

    assert order == ["heard"]
    countdown.cancel()


async def test_what_is_done_in_time_is_done() -> None:
    async with time_limit(10):
        await asyncio.sleep(0)
    async with time_limit(None):
        await asyncio.sleep(0)


async def test_what_takes_too_long_is_given_up() -> None:
    """As by asyncio.timeout: cancelled, and told as TimeoutError."""
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(TimeoutError):
        async with time_limit(0.02):
            await waits()

    assert ended == ["cancelled"]


async def test_a_fault_within_a_limit_is_that_fault() -> None:
    """And whoever is cancelled from outside is cancelled, not late."""
    with pytest.raises(ZeroDivisionError):
        async with time_limit(10):
            raise ZeroDivisionError

    async def waits() -> None:
        async with time_limit(10):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_standing_still_gives_nothing_up() -> None:
    """What was waited for came while the process stood still, and is taken."""
    answer = asyncio.get_running_loop().create_future()
    threading.Timer(0.1, lambda: loop.call_soon_threadsafe(answer.set_result, "there")).start()
    loop = asyncio.get_running_loop()

    async with time_limit(0.2):
        loop.call_soon(time.sleep, 0.5)
        assert await answer == "there"


def test_a_loop_that_stood_still_has_the_rest_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth is gone; what it waits for has the other nine."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deadline = Deadline(10.0)

    now += 3600
    assert not deadline.passed()
    for _ in range(17):
        now += 0.5
        assert not deadline.passed()
    now += 0.5
    assert deadline.passed()


class _StoodStill(threading.Event):
    """Set while the process was stopped: the wait that was under way has run out, the next one sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        return len(self.waits) > 1


def test_a_thread_that_stood_still_asks_once_more() -> None:
    event = _StoodStill()

    assert is_set_within(event, 2.0)
    assert event.waits == [2.0 / SLICES] * 2


def test_a_thread_waits_no_longer_than_it_was_told() -> None:
    began = time.monotonic()

    assert not is_set_within(threading.Event(), 0.05)

    assert 0.05 <= time.monotonic() - began < 5
