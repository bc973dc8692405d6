"""Runs what a page of the documentation shows, as it stands, on a terminal of 80 columns, and compares what it says.

Owns how a page is read. A block `console` with lines that begin with `$ ` is run, and the lines below a command are
what it prints; a question is answered with yes. A block of another kind after "Save this as `NAME`:" is a file. A line
of `…` stands for any lines, `…` in a line for any text. Blocks without `$ ` are for the reader alone.
"""

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 120.0
_COLUMNS = 80
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"Save this as `([^`]+)`[^`]*:\s*$")
_DRAWN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")
_ASKS_AGAIN = re.compile(r"^pumas-agent (status|list|show|events|explain)\b")
"""What only looks is repeated until it says what the page says: the agent is told of things a moment later."""
_PASSING = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)"), "THEN"),
    (re.compile(r"\b\d[\d.,]* (ms|s|MiB)\b"), r"N \1"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"\b\d+ watches"), "N watches"),
    (re.compile(r" +"), " "),
)
_PAUSE = threading.Event()


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line that the reader types, and what is shown below it."""

    text: str
    shown: str


def steps(page: str) -> Iterator[File | Command]:
    """What a reader of the page does, in order."""
    for block in _BLOCK.finditer(page):
        kind, text = block.groups()
        named = _NAMED.search(page[: block.start()].rstrip())
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, shown = part.replace("\\\n", "").partition("\n")
                yield Command(command, shown)
        elif named:
            yield File(named[1], text)


class Reader:
    """Does what a page says in a home folder.

    Args:
        home: where it begins, and what the page calls `/home/you`.
        places: further names on the page, and the folders that they stand for.
        environ: the whole environment of its commands.
    """

    def __init__(self, home: Path, places: Mapping[str, Path], environ: Mapping[str, str]) -> None:
        self._home = home
        self._places = {name: str(path) for name, path in places.items()} | {"/home/you": str(home)}
        self._environ = {**environ, "TERM": "xterm", "COLUMNS": str(_COLUMNS)}
        self._status = 0
        self._agents: list[tuple[subprocess.Popen[bytes], threading.Thread]] = []

    def follow(self, page: Path) -> int:
        """Do all of it. Returns how many commands were run; fails with the first that says something else."""
        todo = list(steps(page.read_text()))
        for step in todo:
            self.do(step)
        return sum(isinstance(step, Command) for step in todo)

    def do(self, step: File | Command) -> None:
        """Write the file, or type the command; an agent goes on in a terminal of its own."""
        if isinstance(step, File):
            (self._home / step.name).write_text(step.text)
        elif step.text.endswith("pumas-agent run"):
            self._start(step)
        else:
            self._run(step)

    def stop(self) -> None:
        """Ctrl-C in the agents' terminals. They end well."""
        while self._agents:
            agent, log = self._agents.pop()
            agent.send_signal(signal.SIGINT)
            assert agent.wait(DEADLINE_S) == 0
            log.join(DEADLINE_S)

    def kill(self) -> None:
        """Whatever happened: nothing goes on running."""
        while self._agents:
            agent, log = self._agents.pop()
            agent.kill()
            agent.wait()
            log.join(DEADLINE_S)

    def _run(self, step: Command) -> None:
        expected = _pattern(step.shown)
        tries = 120 if _ASKS_AGAIN.match(step.text) else 1
        before = self._status
        said = ""
        for _ in range(tries):
            self._status, said = self._type(step.text, before)
            if self._status >= 0 and expected.fullmatch(_passing(said)):  # negative: killed at the deadline
                return
            _PAUSE.wait(0.25 if tries > 1 else 0)
        raise AssertionError(f"$ {step.text}\n--- the page shows\n{step.shown}\n--- it said\n{said}")

    def _type(self, text: str, status: int) -> tuple[int, str]:
        process, terminal = self._on_terminal(["sh", "-c", f"(exit {status}); {self._here(text)}"])
        with _killed_at_the_deadline(process):
            said = _read_to_end(terminal)
            status = process.wait()
        return status, self._there(said)

    def _start(self, step: Command) -> None:
        process, terminal = self._on_terminal(shlex.split(self._here(step.text)))
        said = bytearray()
        with _killed_at_the_deadline(process):
            while b"Ctrl-C stops)\r\n" not in said:
                said += os.read(terminal, 65536)  # OSError: it ended
        log = threading.Thread(target=_read_to_end, args=(terminal,), daemon=True)  # it must not wait for a reader
        log.start()
        self._agents.append((process, log))
        shown = self._there(_plain(said))
        assert _pattern(step.shown).search(_passing(shown)), shown

    def _on_terminal(self, args: list[str]) -> tuple[subprocess.Popen[bytes], int]:
        terminal, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, _COLUMNS, 0, 0))
        process = subprocess.Popen(args, stdin=end, stdout=end, stderr=end, cwd=self._home, env=self._environ)
        os.close(end)
        return process, terminal

    def _here(self, text: str) -> str:
        for name, path in self._places.items():
            text = text.replace(name, path)
        return text

    def _there(self, text: str) -> str:
        for name, path in sorted(self._places.items(), key=lambda place: -len(place[1])):
            text = text.replace(path, name)
        return text


@contextmanager
def _killed_at_the_deadline(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Its terminal ends then, and so does who reads it."""
    timer = threading.Timer(DEADLINE_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read_to_end(terminal: int) -> str:
    said = bytearray()
    try:
        while part := os.read(terminal, 65536):
            said += part
            if said.endswith(b"[y/N]: "):
                os.write(terminal, b"y\n")
    except OSError:  # EIO: nobody has the other end
        pass
    os.close(terminal)
    return _plain(said)


def _plain(said: bytearray) -> str:
    """What is left to see: without colours, and without progress that was drawn over."""
    screen, row, column = [""], 0, 0
    for drawn in _DRAWN.finditer(said.decode()):
        count, control, move, text = drawn.groups()
        if move == "\r":
            column = 0
        elif move == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif control == "A":
            row = max(0, row - int(count or 1))
        elif control == "K":
            screen[row] = ""
        elif text:
            before = screen[row].ljust(column)
            screen[row] = before[:column] + text + before[column + len(text) :]
            column += len(text)
    return "\n".join(screen)


def _passing(text: str) -> str:
    """Without what is another each time."""
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    for pattern, instead in _PASSING:
        text = pattern.sub(instead, text)
    return text


def _pattern(shown: str) -> re.Pattern[str]:
    lines = _passing(shown).splitlines()
    parts = ["(?:.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + "\n" for line in lines]
    return re.compile("".join(parts))
