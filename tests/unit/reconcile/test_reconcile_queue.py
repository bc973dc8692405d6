"""The queue on a real event loop: what runs, what waits, what is retried and who is told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from pumas_agent.contracts.errors import AgentUnreachable, ModelNotFound
from pumas_agent.contracts.records import ALL_MODELS, ReconcileReport
from pumas_agent.reconcile import DirtySet, ReconcileQueue

QUIET, CEILING = 0.01, 0.1


def report(scope: str) -> ReconcileReport:
    return ReconcileReport(
        scope=scope, models_seen=1, models_changed=(), bundles_judged=0, unhealthy=(), duration_ms=0.0
    )


class Runs:
    """Runs that are recorded, and held at a gate or made to fail when a test wants it."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.reasons: list[frozenset[str]] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.raises: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.together = 0
        self.most_together = 0

    async def __call__(self, scope: str, reasons: frozenset[str]) -> ReconcileReport:
        self.began.append(scope)
        self.reasons.append(reasons)
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            if scope in self.gates:
                await self.gates[scope].wait()
            if scope in self.raises:
                raise self.raises[scope]
        finally:
            self.together -= 1
        self.ended.append(scope)
        return report(scope)

    def on_fault(self, scope: str, fault: BaseException) -> None:
        self.faults.append((scope, fault))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is of code that sets no event
            await asyncio.sleep(0.001)


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
async def queue(runs: Runs) -> AsyncIterator[ReconcileQueue]:
    queue = ReconcileQueue(runs, DirtySet(QUIET, CEILING), on_fault=runs.on_fault, retry_s=0.02, retry_max_s=0.05)
    queue.start()
    yield queue
    for gate in runs.gates.values():
        gate.set()
    await queue.stop()


async def test_what_waits_its_time_is_told_before_it_runs(runs: Runs) -> None:
    """So that what a run needs can be made ready meanwhile."""
    told: list[tuple[tuple[str, ...], int]] = []
    queue = ReconcileQueue(
        runs,
        DirtySet(0.1, CEILING),
        on_fault=runs.on_fault,
        upcoming=lambda scopes: told.append((tuple(scopes), len(runs.began))),
    )
    queue.start()
    queue.mark_dirty("a", "event")
    await until(lambda: runs.ended == ["a"])
    await queue.stop()

    assert set(told) == {(("a",), 0)}


async def test_a_marked_scope_runs_once(queue: ReconcileQueue, runs: Runs) -> None:
    """Many marks in a short time are one run, with their reasons."""
    for _ in range(100):
        queue.mark_dirty("a", "event")
    queue.mark_dirty("a", "sweep")
    await until(lambda: queue.queued == 0)

    assert (runs.ended, runs.reasons) == (["a"], [frozenset({"event", "sweep"})])
    assert queue.last_report == report("a")


async def test_a_mark_from_another_thread_wakes_the_loop(queue: ReconcileQueue, runs: Runs) -> None:
    """The loop sleeps until something is due; a mark from the event thread ends that."""
    thread = threading.Thread(target=queue.mark_dirty, args=("a", "event"))
    thread.start()
    await until(lambda: runs.ended == ["a"])
    thread.join()


async def test_marks_from_before_the_start_are_kept(runs: Runs) -> None:
    """Watching may begin before the queue does."""
    queue = ReconcileQueue(runs, DirtySet(QUIET, CEILING), on_fault=runs.on_fault)
    queue.mark_dirty("a", "event")

    queue.start()

    await until(lambda: runs.ended == ["a"])
    await queue.stop()


async def test_no_more_runs_than_allowed_at_a_time(queue: ReconcileQueue, runs: Runs) -> None:
    """And every scope gets its turn."""
    for number in range(20):
        runs.gates[f"m{number}"] = asyncio.Event()
        queue.mark_dirty(f"m{number}", "event")
    await until(lambda: runs.together == 4)
    for gate in runs.gates.values():
        gate.set()
    await until(lambda: queue.queued == 0)

    assert (len(runs.ended), runs.most_together) == (20, 4)


async def test_a_mark_during_a_run_makes_one_more(queue: ReconcileQueue, runs: Runs) -> None:
    """Never at the same time."""
    runs.gates["a"] = asyncio.Event()
    queue.mark_dirty("a", "event")
    await until(lambda: runs.began == ["a"])
    for _ in range(10):
        queue.mark_dirty("a", "event")
    runs.gates["a"].set()
    await until(lambda: queue.queued == 0)

    assert (runs.ended, runs.most_together) == (["a", "a"], 1)


async def test_a_run_that_raises_is_told_once_and_retried(queue: ReconcileQueue, runs: Runs) -> None:
    """Until it succeeds; another fault later is told again. Other scopes do not notice."""
    runs.raises["a"] = OSError("disk full")
    queue.mark_dirty("a", "event")
    await until(lambda: runs.began.count("a") >= 3)
    queue.mark_dirty("b", "event")
    await until(lambda: "b" in runs.ended)
    assert runs.faults == [("a", runs.raises["a"])]

    del runs.raises["a"]
    await until(lambda: queue.queued == 0)
    runs.raises["a"] = OSError("again")
    queue.mark_dirty("a", "event")

    await until(lambda: len(runs.faults) == 2)


async def test_run_now_gives_the_report_of_a_run_that_began_after_it(queue: ReconcileQueue, runs: Runs) -> None:
    """Not that of the one in hand, which may have looked already."""
    runs.gates["a"] = asyncio.Event()
    queue.mark_dirty("a", "event")
    await until(lambda: runs.began == ["a"])

    asked = asyncio.create_task(queue.run_now("a"))
    await asyncio.sleep(0)
    assert not asked.done()
    runs.gates["a"].set()

    assert await asked == report("a")
    assert runs.ended == ["a", "a"]


async def test_run_now_joins_the_run_that_waits(runs: Runs) -> None:
    """Two questions and a mark are one run, and none of them waits for the quiet time."""
    queue = ReconcileQueue(runs, DirtySet(1000, 1000), on_fault=runs.on_fault)
    queue.start()
    queue.mark_dirty("a", "event")

    first, second = await asyncio.gather(queue.run_now("a"), queue.run_now("a"))

    assert (first, second) == (report("a"), report("a"))
    assert runs.ended == ["a"]
    await queue.stop()


async def test_run_now_of_a_model_is_not_lost_in_a_run_of_all(queue: ReconcileQueue) -> None:
    """Who asks for one model gets that model's report."""
    queue.mark_dirty(ALL_MODELS, "event")

    one, everything = await asyncio.gather(queue.run_now("a"), queue.run_now(ALL_MODELS))

    assert (one.scope, everything.scope) == ("a", ALL_MODELS)


async def test_run_now_raises_what_the_run_raised(queue: ReconcileQueue, runs: Runs) -> None:
    """Who asked is told, nobody else is, and it is not tried again for ever."""
    runs.raises["a"] = ModelNotFound("no model a")

    with pytest.raises(ModelNotFound):
        await queue.run_now("a")

    assert (runs.faults, queue.queued) == ([], 0)


async def test_a_fault_behind_a_mark_and_a_question_is_told_and_retried(queue: ReconcileQueue, runs: Runs) -> None:
    """The mark still wants its run."""
    runs.raises["a"] = OSError("disk full")
    queue.mark_dirty("a", "event")

    with pytest.raises(OSError, match="disk full"):
        await queue.run_now("a")

    assert runs.faults == [("a", runs.raises["a"])]
    await until(lambda: runs.began.count("a") >= 2)


async def test_a_caller_that_gives_up_does_not_end_the_run(queue: ReconcileQueue, runs: Runs) -> None:
    """A connection that closes while it waits is no reason to leave a commit half way."""
    runs.gates["a"] = asyncio.Event()
    asked = asyncio.create_task(queue.run_now("a"))
    await until(lambda: runs.began == ["a"])

    asked.cancel()
    runs.gates["a"].set()

    await until(lambda: runs.ended == ["a"])


async def test_stop_finishes_what_is_in_hand_and_begins_nothing(queue: ReconcileQueue, runs: Runs) -> None:
    """Who waits for a run that did not begin is told; marks afterwards are no error."""
    runs.gates["a"] = asyncio.Event()
    in_hand = asyncio.create_task(queue.run_now("a"))
    await until(lambda: runs.began == ["a"])
    next_one = asyncio.create_task(queue.run_now("a"))
    await asyncio.sleep(0)

    stopping = asyncio.create_task(queue.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    runs.gates["a"].set()
    await stopping

    assert await in_hand == report("a")
    with pytest.raises(AgentUnreachable):
        await next_one
    with pytest.raises(AgentUnreachable):
        await queue.run_now("a")
    queue.mark_dirty("a", "event")
    assert runs.ended == ["a"]


async def test_a_fault_handler_that_raises_does_not_end_the_queue(runs: Runs) -> None:
    """It is logged; the scope is retried and others run."""

    def broken(scope: str, fault: BaseException) -> None:
        raise ValueError((scope, fault))

    queue = ReconcileQueue(runs, DirtySet(QUIET, CEILING), on_fault=broken, retry_s=0.01)
    queue.start()
    runs.raises["a"] = OSError("disk full")
    queue.mark_dirty("a", "event")
    await until(lambda: len(runs.began) >= 2)
    del runs.raises["a"]

    await until(lambda: "a" in runs.ended)
    await queue.stop()


def test_a_mark_after_the_loop_is_closed_is_no_error(runs: Runs) -> None:
    """The event thread may outlive the loop by a moment, and must not die of it."""
    queue = ReconcileQueue(runs, DirtySet(QUIET, CEILING), on_fault=runs.on_fault)

    async def begin() -> None:
        queue.start()

    asyncio.run(begin())

    queue.mark_dirty("a", "event")
