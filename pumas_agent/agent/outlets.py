"""Outlets: who is told besides the log and the socket: the operator's program, and the file for node_exporter.

Owns that both are as the settings say now, also after a reload, and what is wrong with them. Never decides what is
told: alerts come from the journal, figures from who measures.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from pumas_agent.contracts.metrics import MetricsReport
from pumas_agent.health import AlertHook, AlertJournal, distrust
from pumas_agent.health.metrics import METRICS_EVERY_S, write_textfile
from pumas_agent.reconcile import Schedule
from pumas_agent.settings import Settings

_METRICS_FILE = "metrics file"

log = structlog.get_logger(__name__)


class Outlets:
    """Belongs to the event loop.

    Args:
        journal: the transitions that the program is run for.
        measure: gives the figures as they are now.
    """

    def __init__(self, journal: AlertJournal, measure: Callable[[], Awaitable[MetricsReport]]) -> None:
        self.hook = AlertHook()
        self._measure = measure
        self._hook_fault: str | None = None
        self._file: Path | None = None
        self._written: Path | None = None
        self._file_fault: str | None = None
        self._writing = asyncio.Lock()
        journal.listen(self.hook.offer)

    def faults(self) -> tuple[str, ...]:
        """What is wrong now, for `status`."""
        said = (
            f"health.on_alert is not run: {self._hook_fault}" if self._hook_fault else None,
            f"metrics are not written: {self._file_fault}" if self._file_fault else None,
        )
        return tuple(filter(None, said))

    async def tell(self, settings: Settings) -> None:
        """Run the program of these settings from now on, or none; none when others could have named it."""
        argv, config = settings.health.on_alert, settings.file_of("health.on_alert")
        reason = await asyncio.to_thread(distrust, config) if argv and config is not None else None
        self.hook.retune(() if reason else argv)
        if reason is not None and reason != self._hook_fault:
            log.warning("hook.refused", reason=reason, hint=f"chmod go-w {config} and its folder, then reload")
        self._hook_fault = reason

    async def write(self, settings: Settings, schedule: Schedule) -> None:
        """Write the file of these settings from now on, or none. The one before it is removed when we wrote it.

        Left there, it would go on to say how the agent was, and its figures stand in the way of those of the new file.
        """
        path = Path(settings.health.metrics_file) if settings.health.metrics_file else None
        if path == self._file:
            return
        async with self._writing:
            self._file, self._file_fault = path, None
            old, self._written = self._written, None
        if path is None:
            schedule.no_more(_METRICS_FILE)
        else:
            schedule.every(_METRICS_FILE, METRICS_EVERY_S, self._write, at_once=True)
        if old is not None:
            try:
                await asyncio.to_thread(old.unlink, missing_ok=True)
            except OSError as error:
                log.warning("metrics.not_removed", path=str(old), reason=error.strerror)

    async def stop(self) -> None:
        """Run nothing any more."""
        await asyncio.to_thread(self.hook.stop)

    async def _write(self) -> None:
        """Write the file; a failure is said once."""
        report = await self._measure()
        async with self._writing:  # never to a path that was given up meanwhile
            if (path := self._file) is None:
                return
            try:
                await asyncio.to_thread(write_textfile, path, report.text)
            except OSError as error:
                reason = f"{path}: {error.strerror}"
                log.log(10 if reason == self._file_fault else 30, "metrics.not_written", reason=reason)
                self._file_fault = reason
            else:
                self._written, self._file_fault = path, None
