"""What the service manager is told of this agent: which parts have to be alive, and its health in a line.

Owns that choice. Never acts on a part: one that is stuck is told by silence, and what follows is the service
manager's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from pumas_agent.contracts.health import Alert
from pumas_agent.health import Notifier, Watchdog
from pumas_agent.library import Library
from pumas_agent.reconcile import Schedule
from pumas_agent.watching import WatchdogWatcher

_NAMED = 3
"""Alerts that are named in the line."""


def status_line(bundles: Mapping[str, int], alerts: Sequence[Alert]) -> str:
    """Bundles by state, and the alerts that stand."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(bundles.items(), key=lambda item: -item[1]))
    total = sum(bundles.values())
    told = f"{total} bundle{'' if total == 1 else 's'}" + (f" ({states})" if states else "")
    if not alerts:
        return f"{told}; healthy"
    codes = list(dict.fromkeys(str(alert.code) for alert in alerts))
    more = ", …" if len(codes) > _NAMED else ""
    return f"{told}; {len(alerts)} alert{'' if len(alerts) == 1 else 's'}: {', '.join(codes[:_NAMED])}{more}"


class PartsWatchdog:
    """The watchdog over the parts of an agent: event loop, inotify reader, writer, scheduler."""

    def __init__(self, notifier: Notifier, library: Library, watcher: WatchdogWatcher, schedule: Schedule) -> None:
        # A thread of its own: hung filesystems may hold every thread that the loop lends to others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watchdog")
        self._feeding: asyncio.Task[None] | None = None
        if notifier.watchdog_s is None:
            return

        pause_s = notifier.watchdog_s / 4

        async def reader() -> bool:
            return await asyncio.get_running_loop().run_in_executor(self._thread, watcher.reads)

        async def writer() -> bool:
            if library.writable:
                asked = asyncio.ensure_future(library.write(lambda _: None))
                steps = library.write_steps
                while not (await asyncio.wait({asked}, timeout=pause_s))[0]:
                    if steps != (steps := library.write_steps):  # behind a long queue, which it works off
                        watchdog.heard("writer")
                await asked
            return True

        async def beat() -> None:
            watchdog.heard("scheduler")

        probes = {"reader": reader, "writer": writer}
        watchdog = Watchdog(notifier.alive, notifier.watchdog_s, probes, reporting=("scheduler",))
        schedule.every("watchdog", pause_s, beat)
        self._feeding = asyncio.create_task(watchdog.run(), name="watchdog")

    async def stop(self) -> None:
        """Feed it no more: the end of the agent has its own time limit."""
        if self._feeding is not None:
            self._feeding.cancel()
            with suppress(asyncio.CancelledError):
                await self._feeding
        self._thread.shutdown(wait=False)
