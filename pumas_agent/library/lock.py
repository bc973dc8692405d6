"""One owner a library: an advisory lock on a file in its root.

The kernel releases it when the process ends, however it ends, so a lock is never stale. The file says who holds it.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from pumas_agent.contracts.errors import LibraryBusy, LibraryUnavailable
from pumas_agent.library.layout import LOCK_NAME

Role = Literal["agent", "command"]
_POLL_S = 0.05


class LibraryLock:
    """The right to write to a library, held from `acquire` to `release`.

    An agent waits for a command that holds the lock, since a command ends by itself; nobody waits for an agent.
    `given_up` is asked meanwhile, and ends the wait.
    """

    def __init__(
        self, root: Path, role: Role, *, wait_s: float = 30.0, given_up: Callable[[], bool] = lambda: False
    ) -> None:
        self._path = root / LOCK_NAME
        self._role = role
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
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "role": self._role}).encode(), 0)
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
