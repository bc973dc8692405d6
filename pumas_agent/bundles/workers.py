"""Owns the processes that judge bundles, so that neither the agent's loop nor its threads ever do.

Never looks at a disk itself.
"""

import asyncio
import contextlib
import heapq
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import structlog

from pumas_agent.bundles.look import Look
from pumas_agent.bundles.policy import Policy
from pumas_agent.contracts.errors import AssetUnresponsive, InternalError
from pumas_agent.patience import time_limit

log = structlog.get_logger(__name__)

MAX_LINE = 64 * 1024 * 1024
"""Bytes of an answer; the bounds of the walk keep the largest below it."""

START_S = 60.0
"""A process that has not said `ready` after this never will."""

MAX_OVERDUE = 8
"""Processes that wait for their disk and are not counted; more, and it is the machine that is slow, not one disk."""

KNOWN_SILENT_S = 0.05
"""How long a process is counted that looks at a root which did not answer the last time."""

REAP_S = 1.0
"""How long a killed process is waited for; one that hangs in the kernel is left to it."""


class _WorkerDied(Exception):
    """The process ended, or said something that is no answer."""


class _Turns:
    """A semaphore whose urgent waiters come first; otherwise in the order they came."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._order = itertools.count()
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    async def take(self, *, urgent: bool) -> "_Turn":
        if self._free:
            self._free -= 1
            return _Turn(self)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not urgent, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given to us in the moment we were cancelled
                self.give()
            raise
        return _Turn(self)

    def give(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class _Turn:
    """One turn, given back once: at the end of the work, or before it when the work only waits."""

    def __init__(self, turns: _Turns) -> None:
        self._turns: _Turns | None = turns

    def give_back(self) -> None:
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.give()


class _Worker:
    """One process, one request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self.retirement: asyncio.TimerHandle | None = None
        """Set while it has nothing to do."""

    @classmethod
    async def start(cls) -> "_Worker":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the folder the agent was started in is no place to import from
                "-m",
                "pumas_agent.bundles.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE,
                process_group=0,  # Ctrl-C in a terminal is for the agent, from the first moment on
            )
        )

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ready(self) -> None:
        try:
            async with time_limit(START_S):
                await self._line()
        except TimeoutError as error:
            raise _WorkerDied(f"the process did not start within {START_S} s") from error

    async def ask(self, root: Path, policy: dict[str, Any]) -> dict[str, Any]:
        try:
            self._stdin.write(json.dumps({"root": str(root), "policy": policy}).encode() + b"\n")
            await self._stdin.drain()
            answer: dict[str, Any] = json.loads(await self._line())
        except (ConnectionError, ValueError) as error:
            raise _WorkerDied(str(error)) from error
        return answer

    def stay(self) -> None:
        """There is something to do for it."""
        if self.retirement is not None:
            self.retirement.cancel()

    def kill(self) -> None:
        self.stay()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._stdin.close()

    async def end(self) -> None:
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_S):
                await self._process.wait()

    async def _line(self) -> bytes:
        line = await self._stdout.readline()
        if not line.endswith(b"\n"):
            raise _WorkerDied("the process ended")
        return line


class JudgePool:
    """Judges bundles in niced processes, started when there is work and ended when there is none for `idle_s`.

    Requests wait in the order they came, urgent ones before all others. By default as many work at a time as the
    machine has cores, less one; a process that takes longer than `patience_s` waits for its disk and is not counted
    any more, so that a filesystem that hangs keeps no bundle on another one waiting. Belongs to the running event loop.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        size: int = max(1, (os.cpu_count() or 1) - 1),
        idle_s: float = 30.0,
        patience_s: float = 1.0,
        stall_s: float = 10.0,
    ) -> None:
        self._policy = (policy or Policy()).to_fields()
        self._size = size
        self._idle_s = idle_s
        self._patience_s = patience_s
        self._stall_s = stall_s
        self._turns = _Turns(size)
        self._overdue: set[_Turn] = set()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._silent: set[Path] = set()
        """Roots that did not answer the last time: nobody waits long behind them again."""
        self._preparing: asyncio.Task[None] | None = None
        self._closed = False

    def prepare(self) -> None:
        """Have a process ready: work is about to come, and to start one takes longer than a look."""
        if self._idle:
            worker = self._idle.pop()
            worker.stay()
            self._rest(worker)
        elif not (self._closed or self._workers or self._preparing):
            self._preparing = asyncio.create_task(self._prepare(), name="judge prepare")

    async def judge(self, root: Path, *, urgent: bool = False) -> Look:
        """Look at the bundle at `root`; `urgent` when somebody waits for the answer.

        Raises:
            AssetUnresponsive: the filesystem did not answer within `stall_s`.
            InternalError: the look itself failed, or twice took its process with it; or the pool is closed.
        """
        turn = await self._turns.take(urgent=urgent)
        patience_s = KNOWN_SILENT_S if root in self._silent else self._patience_s
        patience = asyncio.get_running_loop().call_later(patience_s, self._stop_counting, turn)
        try:
            answer = await self._answer(root)
            self._silent.discard(root)
        except TimeoutError as error:
            self._silent.add(root)
            raise AssetUnresponsive(
                f"{root} did not answer within {self._stall_s:g} s",
                hint="check the filesystem that holds it: a network or external drive may have gone away",
            ) from error
        finally:
            patience.cancel()
            self._overdue.discard(turn)
            turn.give_back()
        if "error" in answer:
            raise InternalError(f"judging {root} failed: {answer['error']}", hint="the log has the traceback")
        return Look.from_fields(answer["look"])

    def processes(self) -> dict[str, int]:
        """How many there are, those that work and those that wait for work."""
        return {"busy": len(self._workers) - len(self._idle), "idle": len(self._idle)}

    async def close(self) -> None:
        """End all processes; requests that wait or run get an InternalError. Returns when none is left."""
        if self._closed:
            return
        self._closed = True
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait({self._preparing})
        for worker in self._workers:
            worker.kill()
        turns = [await self._turns.take(urgent=True) for _ in range(self._size)]  # now nobody works
        await asyncio.gather(*(worker.end() for worker in self._workers))
        self._workers.clear()
        for turn in turns:  # whoever waited for one now learns that the pool is closed
            turn.give_back()

    def _stop_counting(self, turn: _Turn) -> None:
        if len(self._overdue) < MAX_OVERDUE:
            self._overdue.add(turn)
            turn.give_back()

    async def _answer(self, root: Path) -> dict[str, Any]:
        try:
            return await self._ask(root)
        except _WorkerDied:
            try:
                return await self._ask(root)
            except _WorkerDied as error:
                raise InternalError(f"the process that judged {root} ended twice: {error}") from error

    async def _ask(self, root: Path) -> dict[str, Any]:
        worker = await self._worker()
        try:
            async with time_limit(self._stall_s):
                answer = await worker.ask(root, self._policy)
        except BaseException:  # a caller that was cancelled leaves it busy: it could not take the next request
            await self._end(worker)
            raise
        self._rest(worker)
        return answer

    async def _worker(self) -> _Worker:
        """The one that worked last, so that the others can retire; else a new one."""
        if self._preparing is not None and not self._idle:
            await asyncio.wait({self._preparing})
        self._require_open()
        while self._idle:
            worker = self._idle.pop()
            worker.stay()
            if worker.alive:
                return worker
            self._workers.discard(worker)
        return await self._start()

    async def _prepare(self) -> None:
        try:
            self._rest(await self._start())
        except (_WorkerDied, InternalError, OSError) as error:  # whoever needs one will be told
            log.debug("judge.not_prepared", reason=str(error))
        finally:
            self._preparing = None

    async def _start(self) -> _Worker:
        worker = await _Worker.start()
        self._workers.add(worker)
        try:
            self._require_open()
            await worker.ready()
        except BaseException:
            await self._end(worker)
            raise
        return worker

    async def _end(self, worker: _Worker) -> None:
        try:
            await worker.end()
        finally:
            self._workers.discard(worker)

    def _rest(self, worker: _Worker) -> None:
        worker.retirement = asyncio.get_running_loop().call_later(self._idle_s, self._retire, worker)
        self._idle.append(worker)

    def _retire(self, worker: _Worker) -> None:
        self._idle.remove(worker)
        self._workers.discard(worker)
        worker.kill()

    def _require_open(self) -> None:
        if self._closed:
            raise InternalError("the judge pool is closed")
