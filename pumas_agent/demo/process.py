"""A real agent in a process of its own, and what it says in its log.

Owns starting it, reading its log with the moment of each line, and stopping it. Never looks at its library or socket.
"""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_STOP_S = 10.0
_TAIL_LINES = 12


class DemoFailed(Exception):
    """Something did not go as the demo shows it; the message says what."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log and when it was read, in seconds of `time.monotonic`."""

    at: float
    fields: dict[str, Any]


class AgentProcess:
    """An agent with a library and a socket under `folder`. It is stopped when the block is left."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "agent.sock"
        self.library = folder / "library"
        self._stderr = folder / "agent.stderr"
        self._lines: list[LogLine] = []
        self._ended = False
        self._changed = threading.Condition()
        # A configuration of its own: what the person set up for their agent has no place in the demo.
        config = folder / "pumas-agent.toml"
        config.write_text('[log]\nformat = "json"\n')
        flags = "--config", str(config), "--library", str(self.library), "--socket", str(self.socket)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PUMAS_AGENT_")}
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603  our own program, our own arguments
                [sys.executable, "-m", "pumas_agent", *flags, "run"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environ,
                process_group=0,  # Ctrl-C is for the demo, which then stops the agent
            )
        self._reader = threading.Thread(target=self._read, name="agent log", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the agent."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for(self, event: str, *, since: float, within_s: float, **fields: str) -> LogLine:
        """The first line of that event, with those fields, that was read after `since`.

        Raises:
            DemoFailed: it did not come in time, or the agent ended.
        """
        wanted = {"event": event, **fields}

        def arrived() -> LogLine | None:
            for line in self._lines:
                if line.at >= since and wanted.items() <= line.fields.items():
                    return line
            return None

        with self._changed:
            self._changed.wait_for(lambda: arrived() is not None or self._ended, within_s)
            line = arrived()
        if line is not None:
            return line
        what = " ".join(wanted.values())
        if self._ended:
            raise DemoFailed(f"the agent ended before it said {what}:\n{self._last_words()}")
        raise DemoFailed(f"the agent did not say {what} within {within_s:g} s; its last lines:\n{self._last_words()}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            at = time.monotonic()
            try:
                fields = json.loads(raw)
            except ValueError:
                fields = {"event": raw.decode(errors="backslashreplace").rstrip()}
            with self._changed:
                self._lines.append(LogLine(at, fields))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _last_words(self) -> str:
        said = [json.dumps(line.fields) for line in self._lines[-_TAIL_LINES:]]
        errors = self._stderr.read_text(errors="backslashreplace").splitlines()[-_TAIL_LINES:]
        return "\n".join((*said, *errors)) or "(nothing)"
