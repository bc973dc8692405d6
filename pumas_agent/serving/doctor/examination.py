"""Doctor: runs every check on a thread of its own, each for a bounded time, and keeps what one meets from the others.

Knows no check by its contents. A check that a filesystem keeps is not begun again while it is kept.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pumas_agent.contracts.doctor import Check, CheckName, CheckState, DoctorReport
from pumas_agent.contracts.errors import AgentNotRunning, PumasError
from pumas_agent.in_time import in_time
from pumas_agent.mounts import Mounts, mounts
from pumas_agent.serving.doctor import agent, library, machine, roots
from pumas_agent.serving.doctor.patient import Patient, fail, shortened, warn

Tell = Callable[[str, int, int | None, str], None]
Examine = Callable[[Tell], Awaitable[DoctorReport]]
"""`(tell)`: examine now; told how far it is."""

_SECONDS = 5.0
_LONG_SECONDS = 20.0
"""A whole index or every record is read; less than a command waits for an answer."""
_LONG = frozenset({CheckName.INDEX, CheckName.RECORDS})
_TELL_EVERY_S = 1.0
_LOWEST_PRIORITY = 19


async def nobody_to_examine(_tell: Tell) -> DoctorReport:
    """Of methods that are called without an agent around them.

    Raises:
        AgentNotRunning: always.
    """
    raise AgentNotRunning("no agent runs")


@dataclass(frozen=True, slots=True)
class Task:
    """One check: what is done, for how long, and what is said when it does not come back."""

    name: CheckName
    work: Callable[[], Iterable[Check]]
    seconds: float
    key: str = ""
    late: Callable[[float], Check] | None = None


@dataclass(slots=True)
class Doctor:
    """Examines what `observe` shows. Belongs to the event loop."""

    observe: Callable[[], Patient]
    _running: set[str] = field(default_factory=set)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def examine(self, tell: Tell) -> DoctorReport:
        """Every check, at the same time; no longer than the slowest is given. Raises nothing that a check meets."""
        async with self._one_at_a_time:
            started = time.perf_counter()
            patient = self.observe()
            try:
                table = await in_time(mounts, _SECONDS, name="doctor mounts")
            except (OSError, TimeoutError):
                table = Mounts(())
            tasks = _tasks(patient, table)
            found = [entry for entries in await self._all(tasks, tell) for entry in entries]
        return DoctorReport(
            healthy=all(entry.state is CheckState.OK for entry in found),
            inside_agent=patient.agent is not None,
            pid=os.getpid(),
            library_root=str(patient.root),
            socket=str(patient.socket),
            checks=tuple(found),
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
        )

    async def _all(self, tasks: Sequence[Task], tell: Tell) -> list[list[Check]]:
        """What each gave; a sign of life every second, so that a caller need not wait long for an agent that hangs."""
        running = [asyncio.create_task(self._contained(task), name=f"doctor {task.name}") for task in tasks]
        try:
            while left := [one for one in running if not one.done()]:
                await asyncio.wait(left, timeout=_TELL_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                tell("examining", sum(one.done() for one in running), len(running), "checks")
        finally:
            for one in running:
                one.cancel()
        return [one.result() for one in running]

    async def _contained(self, task: Task) -> list[Check]:
        key = f"{task.name} {task.key}"
        if key in self._running:
            return [
                warn(task.name, "an earlier look still waits for the filesystem to answer", _HANGS, task.key or None)
            ]
        self._running.add(key)

        def work() -> list[Check]:
            if sys.platform == "linux":  # lookups come first; there it is of the thread alone (man 2 setpriority)
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
            try:
                return shortened(task.name, list(task.work()))
            finally:
                self._running.discard(key)

        try:
            return await in_time(work, task.seconds, name=f"doctor {key}"[:60])
        except TimeoutError:
            late = task.late or (lambda seconds: warn(task.name, f"no answer within {seconds:g} s", _HANGS))
            return [late(task.seconds)]
        except PumasError as error:
            return [fail(task.name, error.message, error.hint)]
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is told, and the other checks go on
            return [fail(task.name, f"the check itself failed: {type(fault).__name__}: {fault}", _FAULT)]


_HANGS = "look at the disk or the network it is on: `dmesg`, `findmnt`, `df`"
_FAULT = "this is a fault of pumas-agent, or of what it looked at; the other checks went on"


def _tasks(patient: Patient, table: Mounts) -> list[Task]:
    """In the order of the report."""
    checks: list[tuple[CheckName, Callable[[Patient], Iterable[Check]]]] = [
        (CheckName.AGENT, agent.check_agent),
        (CheckName.LOCK, agent.check_lock),
        (CheckName.SOCKET, agent.check_socket),
        (CheckName.ALERTS, agent.check_alerts),
        (CheckName.LIBRARY, library.check_library),
        (CheckName.FREE_SPACE, library.check_free_space),
        (CheckName.INDEX, library.check_index),
        (CheckName.SCHEMA, library.check_schema),
        (CheckName.RECORDS, library.check_records),
        (CheckName.LINK_REGISTRY, library.check_link_registry),
        (CheckName.SCRATCH, library.check_scratch),
    ]
    machinery: list[tuple[CheckName, Callable[[Patient], Iterable[Check]]]] = [
        (CheckName.WATCHES, machine.check_watches),
        (CheckName.OPEN_FILES, machine.check_open_files),
        (CheckName.MEMORY, machine.check_memory),
        (CheckName.CLOCK, machine.check_clock),
        (CheckName.VERSIONS, machine.check_versions),
        (CheckName.UNIT, machine.check_unit),
    ]
    return [
        *(_task(name, check, patient) for name, check in checks),
        *_root_tasks(patient, table),
        Task(CheckName.FILESYSTEMS, lambda: roots.check_filesystems(patient, table), _SECONDS),
        *(_task(name, check, patient) for name, check in machinery),
    ]


def _task(name: CheckName, check: Callable[[Patient], Iterable[Check]], patient: Patient) -> Task:
    return Task(name, lambda: check(patient), _LONG_SECONDS if name in _LONG else _SECONDS)


def _root_tasks(patient: Patient, table: Mounts) -> list[Task]:
    """One a filesystem, so that one that hangs keeps no other waiting."""
    looks = roots.by_filesystem(patient, table)
    return [Task(CheckName.ROOTS, look.entries, _SECONDS, key=look.point, late=look.late) for look in looks]
