"""AlertHook: runs the operator's program at every change of an alert.

Owns the one thread that starts it: one run at a time, each within a time limit, the rest in a line of limited length.
No shell, nothing of our supervisor's in its environment. Whatever the program does, or fails to do, costs the agent a
line of the log and nothing else.
"""

import contextlib
import json
import os
import queue
import selectors
import signal
import stat
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog

from pumas_agent.health.journal import AlertEvent
from pumas_agent.patience import Deadline

LIMIT_S = 10.0
LINE_LENGTH = 100
_KEPT_OUTPUT = 2000
_PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
_TURN_S = 0.1

log = structlog.get_logger(__name__)


def distrust(config: Path) -> str | None:
    """Why nothing that a configuration file names may be run; None when only we, or root, may write it."""
    try:
        found = config.stat()
        folders = {folder: folder.stat() for folder in (config.parent, config.resolve().parent)}
    except OSError as error:
        return f"{config} cannot be looked at: {error.strerror}"
    if found.st_uid not in (os.geteuid(), 0):
        return f"{config} belongs to another user (uid {found.st_uid})"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{config} may be written by others"
    for folder, of_folder in folders.items():
        if of_folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not of_folder.st_mode & stat.S_ISVTX:
            return f"the folder {folder} may be written by others"
    return None


class AlertHook:
    """Runs `argv` with each event, as one line of JSON on its standard input. Any thread may offer."""

    def __init__(self, argv: Iterable[str] = (), *, limit_s: float = LIMIT_S, line_length: int = LINE_LENGTH) -> None:
        """Make one; `start` begins. Without a program nothing is run, until `retune` names one."""
        self._argv = tuple(argv)
        self._limit_s = limit_s
        self._line: queue.Queue[AlertEvent | None] = queue.Queue(line_length)
        self._stopping = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="alert-hook", daemon=True)
        self.runs = 0
        self.failures = 0
        self.dropped = 0

    def start(self) -> None:
        """Begin to run what is offered."""
        self._thread.start()

    def retune(self, argv: Iterable[str]) -> None:
        """Run this program from now on, also for what waits in the line; empty: none, and what waits is forgotten.

        A run that is going on is left alone. Not for several threads at once.
        """
        self._argv = tuple(argv)
        if not self._argv:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._line.get_nowait()
        if self._argv and self._thread.ident is None:  # whoever wants none pays for no thread
            self.start()

    def offer(self, event: AlertEvent) -> None:
        """Put one in the line; dropped, counted and logged when the line is full."""
        if not self._argv:
            return
        try:
            self._line.put_nowait(event)
        except queue.Full:
            self.dropped += 1
            log.log(30 if self.dropped == 1 else 10, "hook.dropped", code=event.alert.code.value, dropped=self.dropped)

    def stop(self) -> None:
        """End the run that is going on, and forget the line. Blocks for a moment."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # then it is not waiting for one
            self._line.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(2 * _TURN_S + 1)

    def _work(self) -> None:
        while (event := self._line.get()) is not None and not self._stopping.is_set():
            if not (argv := self._argv):
                continue
            self.runs += 1
            reason = self._run(argv, event)
            if reason is not None and not self._stopping.is_set():
                self.failures += 1
                log.warning("hook.failed", program=argv[0], code=event.alert.code.value, reason=reason)

    def _run(self, argv: Sequence[str], event: AlertEvent) -> str | None:
        """Run the program once; why that failed."""
        try:
            process = subprocess.Popen(  # noqa: S603  the operator's own program, from a file only the operator writes
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=hook_environment(os.environ),
                cwd="/",
                start_new_session=True,  # so that what it started can be ended with it
            )
        except (OSError, ValueError) as error:
            return f"it cannot be started: {getattr(error, 'strerror', None) or error}"
        with process:
            said = self._talk(process, message(event))
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"it took longer than {self._limit_s:g} s and was killed"
        if process.returncode:
            text = said.decode("utf-8", "backslashreplace").strip()
            return f"exit code {process.returncode}{': ' if text else ''}{text}"
        return None

    def _talk(self, process: subprocess.Popen[bytes], body: bytes) -> bytes:
        """Feed it, and read what it complains of until it ends or its time is over; the beginning of that."""
        assert process.stdin is not None
        assert process.stderr is not None
        deadline = Deadline(self._limit_s)
        said = b""
        with selectors.DefaultSelector() as ready:
            for pipe, mask in ((process.stdin, selectors.EVENT_WRITE), (process.stderr, selectors.EVENT_READ)):
                os.set_blocking(pipe.fileno(), False)
                ready.register(pipe, mask)
            while process.poll() is None and not deadline.passed() and not self._stopping.is_set():
                # Without pipes to wait for this is a pause, so that the end of the process is seen soon.
                for key, _ in ready.select(_TURN_S):
                    if key.fileobj is process.stderr:
                        said, is_open = _read_some(process.stderr.fileno(), said)
                    else:
                        body, is_open = _write_some(process.stdin.fileno(), body)
                    if not is_open:
                        ready.unregister(key.fileobj)
                        if key.fileobj is process.stdin:
                            process.stdin.close()
            said, _ = _read_some(process.stderr.fileno(), said)
        if not process.stdin.closed:
            with contextlib.suppress(OSError):
                process.stdin.close()
        return said


def message(event: AlertEvent) -> bytes:
    """What the program reads: the alert, and what happened to it, as the line in the log has them."""
    body = {"schema": "pumas-agent/alert/1", "event": f"alert.{event.transition}", "sequence": event.sequence}
    return json.dumps({**body, **event.alert.model_dump(mode="json")}).encode() + b"\n"


def hook_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours without what only the agent may use: its supervisor would take the program's word for ours."""
    return {name: value for name, value in environ.items() if not name.startswith(_PRIVATE)}


def _read_some(descriptor: int, said: bytes) -> tuple[bytes, bool]:
    """With what was read added, as far as it is kept; false at the end."""
    try:
        chunk = os.read(descriptor, 65536)
    except BlockingIOError:
        return said, True
    except OSError:
        return said, False
    return (said + chunk)[:_KEPT_OUTPUT], bool(chunk)


def _write_some(descriptor: int, body: bytes) -> tuple[bytes, bool]:
    """What is left to write; false when there is nothing, or nobody reads."""
    try:
        body = body[os.write(descriptor, body) :]
    except BlockingIOError:
        return body, True
    except OSError:  # it does not care
        return b"", False
    return body, bool(body)
