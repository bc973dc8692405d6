"""The clock of the periodic work. Owns when an action is called again; never what it does.

APScheduler counts by the wall clock, which people and NTP set. Set back by a year, it would call nothing for a year;
set forward, it would go through every time that was missed, one by one. Here neither happens.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

log = structlog.get_logger(__name__)

Action = Callable[[], Awaitable[None]] | Callable[[], None]


_SET_S = 0.5
"""A wall clock that lost more than this was set back; less is what NTP does all the time."""


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """So many seconds from now, however many were missed."""

    def __init__(self, seconds: float) -> None:
        self._pause = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + self._pause


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # likewise
    """Its timer is of the monotonic clock. What is due by it, the wall clock says: a step back is taken along."""

    def start(self, paused: bool = False) -> None:
        self._ahead = time.time() - time.monotonic()
        super().start(paused)

    def _process_jobs(self) -> float | None:
        while True:
            self._take_along(self._set_back_by())
            wait_s: float | None = super()._process_jobs()
            if (set_back_s := self._set_back_by()) == 0:
                return wait_s
            self._take_along(set_back_s)  # it was set while they were processed

    def _set_back_by(self) -> float:
        before, self._ahead = self._ahead, time.time() - time.monotonic()
        return before - self._ahead if before - self._ahead > _SET_S else 0.0

    def _take_along(self, set_back_s: float) -> None:
        if set_back_s:
            for job in self.get_jobs():
                job.modify(next_run_time=job.next_run_time - timedelta(seconds=set_back_s))


class Schedule:
    """Calls actions at intervals: a coroutine function on the event loop, any other in a thread.

    An action that is still running when its time comes again is not called twice, and one whose time was missed (a
    blocked loop, a suspended machine) is called once. A fault of an action is logged and does not end its schedule.
    """

    def __init__(self) -> None:
        self._scheduler = _Scheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def every(self, name: str, seconds: float, action: Action, *, at_once: bool = False) -> None:
        """Call `action` every `seconds`; the same name again replaces the one before.

        Args:
            name: of the action, in the log.
            seconds: between two calls.
            action: what is called.
            at_once: the first time now; else after as many seconds.
        """
        first = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._scheduler.add_job(_logged, _Every(seconds), (name, action), id=name, replace_existing=True, **first)

    def no_more(self, name: str) -> None:
        """Call an action no more, when it is called at all; one that runs now ends by itself."""
        if self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Call nothing any more. Actions that run on the loop are cancelled; those in threads end by themselves."""
        if self._scheduler.running:
            self._scheduler.pause()
            await asyncio.sleep(0)  # what is about to begin begins: cancelled before, it would be logged as an error
            self._scheduler.shutdown(wait=False)
            await asyncio.sleep(0)  # the scheduler ends itself in a callback of the loop


async def _logged(name: str, action: Action) -> None:
    try:
        if inspect.iscoroutinefunction(action):
            await action()
        else:
            await asyncio.to_thread(action)
    except asyncio.CancelledError:
        log.debug("schedule.action_cancelled", action=name)  # by the stop; let through, APScheduler logs it as an error
    except Exception:
        log.exception("schedule.action_failed", action=name)
