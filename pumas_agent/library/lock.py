"""One owner a library: an advisory lock on a file in its root.

The kernel releases it when the process ends, however it ends, so a lock is never stale. The file says who holds it, and
of an agent, where it can be asked.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from pumas_agent.contracts.errors import LibraryBusy, LibraryUnavailable
from pumas_agent.library.layout import LOCK_NAME

Role = Literal["agent", "command"]
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds the lock of a library now. What is not known is null: it is named a moment after the lock is taken."""

    pid: int | None = None
    role: str | None = None
    socket: Path | None = None
    """Where the agent listens."""


class LibraryLock:
    """The right to write to a library, held from `acquire` to `release`.

    An agent waits for a command that holds the lock, since a command ends by itself; nobody waits for an agent.
    `given_up` is asked meanwhile, and ends the wait.
    """

    def __init__(
        self,
        root: Path,
        role: Role,
        *,
        socket: Path | None = None,
        wait_s: float = 30.0,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make a lock that is not yet held; `socket` is where an agent will listen, for commands to find it."""
        self._named: dict[str, object] = {"pid": os.getpid(), "role": role}
        if socket is not None:
            self._named["socket"] = str(socket.absolute())
        self._path = root / LOCK_NAME
        self._wait_s = wait_s
        self._given_up = given_up
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LibraryBusy: an agent holds it, or a command has held it until the wait was over; its pid is named.
            LibraryUnavailable: the lock file cannot be opened, locked or written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unavailable(error) from error
        deadline = time.monotonic() + self._wait_s
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    holder = _read_holder(descriptor)
                    if _is_live_agent(holder) or time.monotonic() >= deadline or self._given_up():
                        raise self._busy(holder) from None
                    time.sleep(_POLL_S)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(self._named).encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise self._unavailable(error) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _unavailable(self, error: OSError) -> LibraryUnavailable:
        return LibraryUnavailable(
            f"cannot take the lock {self._path}: {error.strerror}",
            hint="check who owns the library's folder, and that its disk is not full",
        )

    def _busy(self, holder: dict[str, object]) -> LibraryBusy:
        pid, role = holder.get("pid"), holder.get("role", "process")
        return LibraryBusy(
            f"the library {self._path.parent} is in use by another {role} (pid {pid})",
            hint=f"stop it first (kill {pid}), or use another library with --library",
            data={"pid": pid, "role": role},
        )

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would let two processes lock two different files."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _is_live_agent(holder: dict[str, object]) -> bool:
    """A name left by an agent that crashed says nothing about who holds the lock now."""
    pid = holder.get("pid")
    return holder.get("role") == "agent" and isinstance(pid, int) and psutil.pid_exists(pid)


def _read_holder(descriptor: int) -> dict[str, object]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}  # between taking the lock and writing the name
    return holder if isinstance(holder, dict) else {}


def lock_holder(root: Path) -> LockHolder | None:
    """Who holds the lock of a library; None when nobody does. Makes and writes nothing, and waits for nobody.

    Raises:
        OSError: the lock file is there and cannot be opened.
    """
    try:
        descriptor = os.open(root / LOCK_NAME, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back when the descriptor is closed
        except BlockingIOError:
            named = _read_holder(descriptor)
        else:
            return None
    finally:
        os.close(descriptor)
    pid, role, socket = named.get("pid"), named.get("role"), named.get("socket")
    return LockHolder(
        pid if isinstance(pid, int) else None,
        role if isinstance(role, str) else None,
        Path(socket) if isinstance(socket, str) and socket.startswith("/") and "\0" not in socket else None,
    )
