"""The clock of the periodic work, on a real event loop."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, tzinfo

import pytest
from apscheduler.schedulers import base
from structlog.testing import capture_logs

from pumas_agent.reconcile import Schedule
from pumas_agent.reconcile import schedule as schedule_module

EVERY_S = 0.01


@pytest.fixture
async def schedule() -> AsyncIterator[Schedule]:
    schedule = Schedule()
    schedule.start()
    yield schedule
    await schedule.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is of code that sets no event
            await asyncio.sleep(0.001)


async def test_a_coroutine_function_is_called_on_the_loop(schedule: Schedule) -> None:
    """Again and again."""
    threads: list[int] = []

    async def action() -> None:
        threads.append(threading.get_ident())

    schedule.every("action", EVERY_S, action)
    await until(lambda: len(threads) >= 3)

    assert set(threads) == {threading.get_ident()}


async def test_a_function_is_called_in_a_thread(schedule: Schedule) -> None:
    """It may block; the loop must not."""
    threads: list[int] = []

    schedule.every("action", EVERY_S, lambda: threads.append(threading.get_ident()))
    await until(lambda: len(threads) >= 3)

    assert threading.get_ident() not in threads


async def test_a_fault_is_logged_and_ends_nothing(schedule: Schedule) -> None:
    """The action is called again at its next time."""
    calls: list[None] = []

    def action() -> None:
        calls.append(None)
        raise OSError("disk full")

    with capture_logs() as logs:
        schedule.every("action", EVERY_S, action)
        await until(lambda: len(calls) >= 3)

    assert {(line["event"], line["action"]) for line in logs} == {("schedule.action_failed", "action")}


async def test_an_action_is_not_called_while_it_runs(schedule: Schedule) -> None:
    """Its time comes again afterwards."""
    running: list[None] = []
    gate = asyncio.Event()
    other: list[None] = []

    async def slow() -> None:
        running.append(None)
        await gate.wait()

    schedule.every("slow", EVERY_S, slow)
    schedule.every("other", EVERY_S, lambda: other.append(None))
    await until(lambda: len(running) == 1 and len(other) >= 10)
    assert len(running) == 1
    gate.set()

    await until(lambda: len(running) >= 2)


async def test_the_same_name_replaces_the_action_before(schedule: Schedule) -> None:
    """A reload changes an interval by scheduling again."""
    seen: list[str] = []
    schedule.every("action", 1000, lambda: seen.append("first"))

    schedule.every("action", EVERY_S, lambda: seen.append("second"))

    await until(lambda: len(seen) >= 2)
    assert set(seen) == {"second"}


async def test_stop_calls_nothing_more() -> None:
    """A second stop does nothing; what runs on the loop is cancelled."""
    schedule = Schedule()
    ended: list[str] = []

    async def action() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    schedule.start()
    schedule.every("action", EVERY_S, action)
    before = asyncio.all_tasks()
    await until(lambda: bool(asyncio.all_tasks() - before))
    await schedule.stop()
    await schedule.stop()

    await until(lambda: ended == ["cancelled"])


async def test_an_action_may_be_called_at_once_as_well(schedule: Schedule) -> None:
    """The first time now, whatever the interval is; any other waits for its time."""
    called: list[str] = []

    schedule.every("waits", 3600, lambda: called.append("waits"))
    schedule.every("at once", 3600, lambda: called.append("at once"), at_once=True)
    await until(lambda: bool(called))

    assert called == ["at once"]


class WallClock:
    """The wall clock as APScheduler and the schedule read it; it can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset_s = 0.0
        wall = self

        class Now(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + timedelta(seconds=wall.offset_s)

        class Time:
            monotonic = staticmethod(time.monotonic)

            @staticmethod
            def time() -> float:
                return time.time() + wall.offset_s

        monkeypatch.setattr(base, "datetime", Now)
        monkeypatch.setattr(schedule_module, "datetime", Now)
        monkeypatch.setattr(schedule_module, "time", Time)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


YEAR_S = 365 * 86_400


@pytest.mark.parametrize("set_by_s", [-YEAR_S, 10 * YEAR_S, -3600, 3600, -10 * YEAR_S])
async def test_a_clock_that_is_set_stops_and_hastens_nothing(
    wall: WallClock, schedule: Schedule, set_by_s: float
) -> None:
    """Each action goes on in its own time: once when the clock was set forward, and not for every time it missed."""
    often: list[float] = []
    seldom: list[float] = []
    schedule.every("often", EVERY_S, lambda: often.append(time.monotonic()))
    schedule.every("seldom", 1000, lambda: seldom.append(time.monotonic()))
    await until(lambda: len(often) >= 3)

    wall.offset_s = set_by_s
    set_at = time.monotonic()
    await until(lambda: len([when for when in often if when > set_at]) >= 10)

    assert len(seldom) <= (set_by_s > 0)
    assert max(after - before for before, after in itertools.pairwise(often)) < 1


async def test_a_clock_that_is_set_back_again_and_again_stops_nothing(wall: WallClock, schedule: Schedule) -> None:
    often: list[None] = []
    schedule.every("often", EVERY_S, lambda: often.append(None))

    for _ in range(5):
        wall.offset_s -= 3600
        seen = len(often)
        await until(lambda seen=seen: len(often) >= seen + 3)  # type: ignore[misc]


async def test_an_action_can_be_given_up(schedule: Schedule) -> None:
    """It is called no more; giving up what there is not does nothing."""
    called: list[str] = []
    schedule.every("given up", EVERY_S, lambda: called.append("given up"))
    schedule.every("kept", EVERY_S, lambda: called.append("kept"))

    schedule.no_more("given up")
    schedule.no_more("given up")
    await until(lambda: called.count("kept") > 2)

    assert "given up" not in called
