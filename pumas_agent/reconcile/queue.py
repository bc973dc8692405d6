"""Runs what is due on the event loop. Owns parallelism, retries and who waits for a run; never what a run does."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from pumas_agent.contracts.errors import AgentUnreachable
from pumas_agent.contracts.records import ReconcileReport
from pumas_agent.reconcile.dirty import DirtySet, Job

log = structlog.get_logger(__name__)

Run = Callable[[str, frozenset[str]], Awaitable[ReconcileReport]]
"""`(scope, reasons)`: look at the scope and commit what is found. A scope that is gone is no error."""

_ASKED = "asked"


class ReconcileQueue:
    """Takes scopes from a `DirtySet` when they are due and runs them.

    Runs of different scopes overlap, also a model's with that of all models; what may not overlap below is for `run` to
    keep apart. A run that raises is told to `on_fault` once until it succeeds, and is tried again; other scopes do not
    notice.

    Args:
        run: see `Run`.
        dirty: where the marks are kept; nobody else takes from it.
        parallel: how many runs at a time.
        on_fault: told `(scope, what was raised)` on the event loop.
        upcoming: told on the event loop which scopes wait their time, so that what a run needs can be made ready.
        retry_s: seconds until the first retry, doubled by each further one.
        retry_max_s: the most it is doubled to.
    """

    def __init__(
        self,
        run: Run,
        dirty: DirtySet,
        *,
        parallel: int = 4,
        on_fault: Callable[[str, BaseException], None],
        upcoming: Callable[[Sequence[str]], None] = lambda _: None,
        retry_s: float = 1.0,
        retry_max_s: float = 60.0,
    ) -> None:
        self._run = run
        self._dirty = dirty
        self._parallel = parallel
        self._on_fault = on_fault
        self._upcoming = upcoming
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self._failures: dict[str, int] = {}
        self._waiters: dict[str, list[asyncio.Future[ReconcileReport]]] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taking: asyncio.Task[None] | None = None
        self.last_report: ReconcileReport | None = None

    @property
    def queued(self) -> int:
        """Scopes that wait or run."""
        return len(self._dirty)

    def start(self) -> None:
        """Begin to run what is due, on the running event loop; marks from before are kept."""
        self._loop = asyncio.get_running_loop()
        self._taking = self._loop.create_task(self._take_for_ever(), name="reconcile-queue")
        self._taking.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Start no more runs and wait for those in hand. Who waits for a run that was not begun is told."""
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.cancel()
            await asyncio.wait([taking])
        if self._runs:
            await asyncio.wait(self._runs)
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(_stopping())
        self._waiters.clear()

    def mark_dirty(self, scope: str, reason: str) -> None:
        """Look at `scope` soon. From any thread; never raises, also before the start and after the stop."""
        if self._dirty.mark(scope, reason):
            self._wake_from_any_thread()

    def retune(self, quiet_s: float, ceiling_s: float) -> None:
        """See `DirtySet.retune`. On the event loop."""
        self._dirty.retune(quiet_s, ceiling_s)
        self._wake.set()

    async def run_now(self, scope: str) -> ReconcileReport:
        """The report of a run of `scope` that began after this call; one that waits is joined.

        Raises:
            AgentUnreachable: the queue is not running, or stopped before the run began.
            Exception: what the run raised. It is told to nobody else when nothing but this call asked for the run.
        """
        if self._taking is None:
            raise _stopping()
        waiter: asyncio.Future[ReconcileReport] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(scope, []).append(waiter)
        self._dirty.mark(scope, _ASKED, at_once=True)
        self._wake.set()
        return await waiter

    async def _take_for_ever(self) -> None:
        while True:
            self._wake.clear()
            for job in self._dirty.take_due(self._parallel - len(self._runs)):
                task = asyncio.create_task(
                    self._run_one(job, self._waiters.pop(job.scope, [])), name=f"reconcile {job.scope}"
                )
                self._runs.add(task)
                task.add_done_callback(self._ended)
            if waiting := self._dirty.waiting():
                self._upcoming(waiting)
            delay = self._dirty.due_in() if len(self._runs) < self._parallel else None
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _run_one(self, job: Job, waiters: list[asyncio.Future[ReconcileReport]]) -> None:
        try:
            report = await self._run(job.scope, job.reasons)
        except Exception as fault:  # noqa: BLE001 - contained to its scope, told and tried again
            self._failed(job, fault, waiters)
        else:
            self._failures.pop(job.scope, None)
            self._dirty.finished(job.scope)
            self.last_report = report
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(report)

    def _failed(self, job: Job, fault: Exception, waiters: list[asyncio.Future[ReconcileReport]]) -> None:
        heard = [waiter for waiter in waiters if not waiter.done()]
        for waiter in heard:
            waiter.set_exception(fault)
        if heard and job.reasons == {_ASKED}:
            self._dirty.finished(job.scope)
            return
        failures = self._failures[job.scope] = self._failures.get(job.scope, 0) + 1
        self._dirty.failed(job.scope, self._retry_delay(failures))
        if failures == 1:
            self._on_fault(job.scope, fault)

    def _retry_delay(self, failures: int) -> float:
        doublings = min(failures - 1, 16)  # far beyond the most, and short of what a float can hold
        return min(self._retry_s * 2.0**doublings, self._retry_max_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A run or the queue's own task is over; what it let through is a fault of ours and is never lost."""
        self._runs.discard(task)
        self._wake.set()
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("reconcile.task_failed", task=task.get_name(), exc_info=fault)

    def _wake_from_any_thread(self) -> None:
        if self._loop is None or self._taking is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop was closed between the check and the call: nobody is left to wake
            log.debug("reconcile.mark_after_stop")


def _stopping() -> AgentUnreachable:
    return AgentUnreachable("the agent is not reconciling: it is starting or stopping", hint="ask again in a moment")
