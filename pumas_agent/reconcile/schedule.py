"""The clock of the periodic work. Owns when an action is called again; never what it does."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

log = structlog.get_logger(__name__)

Action = Callable[[], Awaitable[None]] | Callable[[], None]


class Schedule:
    """Calls actions at intervals: a coroutine function on the event loop, any other in a thread.

    An action that is still running when its time comes again is not called twice, and one whose time was missed (a
    blocked loop, a suspended machine) is called once. A fault of an action is logged and does not end its schedule.
    """

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(
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
        self._scheduler.add_job(
            _logged, "interval", (name, action), id=name, seconds=seconds, replace_existing=True, **first
        )

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
