"""The processes that judge: started when needed, ended when idle, and no trouble of theirs reaches anything else."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from pumas_agent.bundles import JudgePool, Policy, look
from pumas_agent.contracts.errors import AssetUnresponsive, InternalError
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

COMMAND = [sys.executable, "-P", "-m", "pumas_agent.bundles.worker"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


@asynccontextmanager
async def pool(
    *, size: int = 1, idle_s: float = 30.0, patience_s: float = 30.0, stall_s: float = 30.0
) -> AsyncIterator[JudgePool]:
    made = JudgePool(size=size, idle_s=idle_s, patience_s=patience_s, stall_s=stall_s)
    try:
        yield made
    finally:
        await made.close()


def workers() -> list[psutil.Process]:
    """The processes of ours that judge."""
    found = []
    for child in psutil.Process().children():
        try:
            if "pumas_agent.bundles.worker" in child.cmdline():
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def stopped_worker(judges: JudgePool, root: Path) -> psutil.Process:
    """The pool's only process, started and then halted: a filesystem that does not answer looks like this."""
    await judges.judge(root)
    (worker,) = workers()
    worker.suspend()
    await until(lambda: worker.status() == psutil.STATUS_STOPPED)
    return worker


async def test_judges_in_another_process(bundle: Path) -> None:
    """The answer is that of `look`; the process is niced."""
    async with pool() as judges:
        seen = await judges.judge(bundle)

        assert seen.report == look(bundle).report
        assert seen.signature == look(bundle).signature
        assert [worker.nice() for worker in workers()] == [19]


async def test_one_process_serves_many_requests(bundle: Path, tmp_path: Path) -> None:
    """Requests share at most `size` processes, which stay warm."""
    async with pool(size=2) as judges:
        roots = [bundle, tmp_path / "gone"] * 10

        looks = await asyncio.gather(*(judges.judge(root) for root in roots))

        assert [seen.report.is_valid for seen in looks] == [True, False] * 10
        assert 1 <= len(workers()) <= 2


async def test_starts_nothing_without_work() -> None:
    """A pool without requests is no process."""
    async with pool():
        assert workers() == []


async def test_ends_when_idle(bundle: Path) -> None:
    """A process without work for a while ends, and the next request has a new one."""
    async with pool(idle_s=0.05) as judges:
        await judges.judge(bundle)
        await until(lambda: workers() == [])

        assert (await judges.judge(bundle)).report.is_valid


async def test_a_process_is_ready_before_the_work_comes(bundle: Path) -> None:
    """One, however often it is asked for, and the work that comes is its own; without any, it ends like the others."""
    async with pool(size=2, idle_s=0.5) as judges:
        judges.prepare()
        judges.prepare()
        await until(lambda: judges.processes() == {"busy": 0, "idle": 1})
        (prepared,) = workers()
        judges.prepare()
        await judges.judge(bundle)

        assert workers() == [prepared]
        await until(lambda: workers() == [])


async def test_a_process_that_would_end_now_waits_for_the_work_that_comes(bundle: Path) -> None:
    """It is asked to be ready again and again for longer than it would stay by itself."""
    async with pool(idle_s=0.2) as judges:
        await judges.judge(bundle)
        before = workers()
        for _ in range(40):
            judges.prepare()
            await asyncio.sleep(0.01)

        await judges.judge(bundle)
        assert workers() == before


async def test_work_that_comes_meanwhile_waits_for_the_process_that_starts(bundle: Path) -> None:
    async with pool() as judges:
        judges.prepare()
        assert (await judges.judge(bundle)).report.is_valid

        assert len(workers()) == 1


async def test_a_pool_that_is_closed_while_it_prepares_leaves_no_process() -> None:
    async with pool() as judges:
        judges.prepare()
        await until(lambda: workers() != [])
    assert workers() == []


async def test_a_process_is_prepared_by_nobody_after_the_end() -> None:
    async with pool() as judges:
        pass
    judges.prepare()
    await asyncio.sleep(0)
    assert workers() == []


async def test_a_process_that_dies_is_replaced(bundle: Path) -> None:
    """A request whose process is killed is answered by another one."""
    async with pool() as judges:
        worker = await stopped_worker(judges, bundle)
        request = asyncio.create_task(judges.judge(bundle))
        await asyncio.sleep(0)

        worker.kill()

        assert (await request).report.is_valid
        assert worker.pid not in [other.pid for other in workers()]


async def test_a_process_that_died_idle_is_not_noticed(bundle: Path) -> None:
    """A process killed between two requests costs a start, no answer."""
    async with pool() as judges:
        await judges.judge(bundle)
        workers()[0].kill()
        await until(lambda: workers() == [])

        assert (await judges.judge(bundle)).report.is_valid


async def test_a_process_that_cannot_live_is_an_internal_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deaths are said, naming the path, and the pool goes on."""
    async with pool() as judges:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            with pytest.raises(InternalError, match=str(bundle)):
                await judges.judge(bundle)

        assert (await judges.judge(bundle)).report.is_valid


async def test_a_stall_is_asset_unresponsive(bundle: Path) -> None:
    """A look that takes too long is given up, naming the path, and so is its process."""
    async with pool(stall_s=1.0) as judges:
        worker = await stopped_worker(judges, bundle)

        with pytest.raises(AssetUnresponsive, match=str(bundle)):
            await judges.judge(bundle)

        await until(lambda: not worker.is_running())
        assert (await judges.judge(bundle)).report.is_valid


async def test_an_answer_that_came_while_we_stood_still_is_taken(bundle: Path) -> None:
    """The agent was stopped for longer than a look may take, its worker was not: no filesystem is silent."""
    async with pool(stall_s=1.0) as judges:
        worker = await stopped_worker(judges, bundle)
        asked = asyncio.create_task(judges.judge(bundle))
        await asyncio.sleep(0.05)

        worker.resume()
        time.sleep(1.5)  # noqa: ASYNC251 - it is the loop that has to stand still

        assert (await asked).report.is_valid


async def test_a_stall_keeps_nobody_else_waiting(bundle: Path) -> None:
    """A process that waits for its disk longer than the patience gives its turn to the next request."""
    async with pool(patience_s=0.05) as judges:
        await stopped_worker(judges, bundle)
        stalled, other = (asyncio.create_task(judges.judge(bundle)) for _ in range(2))

        assert (await other).report.is_valid

        assert not stalled.done()
        stalled.cancel()
        await asyncio.wait({stalled})


async def test_urgent_requests_come_first(bundle: Path) -> None:
    """Who waits for an answer goes before the queue; the others keep their order."""
    async with pool() as judges:
        worker = await stopped_worker(judges, bundle)
        order: list[str] = []

        async def ask(name: str, *, urgent: bool) -> None:
            await judges.judge(bundle, urgent=urgent)
            order.append(name)

        async with asyncio.TaskGroup() as asked:
            for name, urgent in (("running", False), ("a", False), ("b", False), ("urgent", True), ("more", True)):
                asked.create_task(ask(name, urgent=urgent))
                await asyncio.sleep(0)
            worker.resume()

        assert order == ["running", "urgent", "more", "a", "b"]


async def test_a_cancelled_request_blocks_nobody(bundle: Path) -> None:
    """Cancelled while it runs or while it waits, the turn passes on."""
    async with pool() as judges:
        await stopped_worker(judges, bundle)
        running, waiting = (asyncio.create_task(judges.judge(bundle)) for _ in range(2))
        await asyncio.sleep(0)

        for task in (waiting, running):
            task.cancel()
        await asyncio.wait((running, waiting))

        assert running.cancelled()
        assert waiting.cancelled()
        assert (await judges.judge(bundle)).report.is_valid


async def test_close_leaves_no_process(bundle: Path) -> None:
    """Requests that run or wait get an error, later ones too, and nothing is left behind."""
    judges = JudgePool(size=1)
    await stopped_worker(judges, bundle)
    running, waiting = (asyncio.create_task(judges.judge(bundle)) for _ in range(2))
    await asyncio.sleep(0)

    await judges.close()

    assert workers() == []
    for task in (running, waiting):
        with pytest.raises(InternalError, match="closed"):
            await task
    with pytest.raises(InternalError, match="closed"):
        await asyncio.wait_for(judges.judge(bundle), 5)


async def test_ctrl_c_is_not_for_the_workers(bundle: Path) -> None:
    """SIGINT leaves a process at work."""
    async with pool() as judges:
        await judges.judge(bundle)
        (worker,) = workers()

        worker.send_signal(signal.SIGINT)
        await judges.judge(bundle)

        assert [other.pid for other in workers()] == [worker.pid]
        assert os.getpgid(worker.pid) != os.getpgid(0)


def test_the_process_ends_with_its_input(bundle: Path) -> None:
    """A line a request, a line an answer; at the end of the input, which is the agent's end, it ends."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        out, _ = worker.communicate(
            json.dumps({"root": str(bundle), "policy": Policy().to_fields()}).encode() + b"\n", timeout=30
        )

    ready, answer = out.splitlines()
    assert ready == b"ready"
    assert json.loads(answer)["look"]["report"]["findings"] == []
    assert worker.returncode == 0


def test_a_fault_of_ours_is_contained(bundle: Path) -> None:
    """A request that cannot be served is answered with an error, and the next one is served."""
    requests = b"{}\n" + json.dumps({"root": str(bundle), "policy": Policy().to_fields()}).encode() + b"\n"

    done = subprocess.run(COMMAND, input=requests, capture_output=True, check=True, timeout=30)

    _, error, answer = map(bytes.decode, done.stdout.splitlines())
    assert json.loads(error) == {"error": "KeyError: 'root'"}
    assert "look" in json.loads(answer)
    assert b"Traceback" in done.stderr
