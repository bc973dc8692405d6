"""The log in systemd's journal: each line carries its priority, and no line of any other log does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.client import AgentClient

if TYPE_CHECKING:
    from tests.service.conftest import MakeBundle

Until = Callable[..., Any]
PREFIXED = re.compile(r"<([0-7])>(.*)")
CRITICAL, ERROR, WARNING, INFO, DEBUG = "2", "3", "4", "6", "7"

ANNOUNCED = """
import os, sys
found = os.fstat(2 if os.environ.get("OF_STDERR") else 1)
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino + int(sys.argv[1])}"
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""What systemd does: name the stream it gives, here also another one."""


def announced(*args: str, off_by: int = 0) -> list[str]:
    return [sys.executable, "-c", ANNOUNCED, str(off_by), *args]


@contextmanager
def running(command: Sequence[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose standard output is a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stdin=subprocess.DEVNULL, env={**os.environ, **environ})
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def agent_at(folder: Path) -> list[str]:
    return ["-m", "pumas_agent", "--library", str(folder / "library"), "--socket", str(folder / "agent.sock"), "run"]


def entries(log: str) -> list[tuple[str, dict[str, Any]]]:
    """What the journal makes of it: the priority and the object of each line. A line without one is a failure."""
    found = []
    for line in log.splitlines():
        match = PREFIXED.fullmatch(line)
        assert match is not None, line
        found.append((match[1], json.loads(match[2])))
    return found


def test_in_the_journal_each_line_of_the_agent_has_its_priority(
    short_tmp: Path, make_bundle: "MakeBundle", until: Until
) -> None:
    """An alert has that of its severity, and its end that of information."""
    log, root = short_tmp / "log", make_bundle()
    with running(announced(*agent_at(short_tmp)), log, PUMAS_AGENT_WATCH__DEBOUNCE_MS="50"):
        until(lambda: "agent.ready" in log.read_text(), "readiness", within_s=60)
        with AgentClient(short_tmp / "agent.sock", timeout=30) as client:
            client.call("import_external_diffusers_directory", source_path=str(root), family="a", official_name="tiny")
            (root / "unet").rename(root / "gone")
            until(lambda: "alert.raised" in log.read_text(), "the alert")
            (root / "gone").rename(root / "unet")
            until(lambda: "alert.cleared" in log.read_text(), "its end")

    said = entries(log.read_text())
    priority = {line["event"]: number for number, line in said}
    assert (priority["agent.ready"], priority["alert.raised"], priority["alert.cleared"]) == (INFO, ERROR, INFO)
    assert all(number == {"error": ERROR, "warning": WARNING, "info": INFO}[line["level"]] for number, line in said)


@pytest.mark.parametrize("announces", ["another stream", "nothing"])
def test_in_another_stream_no_line_has_one(short_tmp: Path, until: Until, announces: str) -> None:
    """JOURNAL_STREAM is inherited by whoever redirects its output to a file."""
    log = short_tmp / "log"
    command = announced(*agent_at(short_tmp), off_by=1)
    if announces == "nothing":
        command = [sys.executable, *agent_at(short_tmp)]
    with running(command, log):
        until(lambda: "agent.ready" in log.read_text(), "readiness", within_s=60)

    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert {"agent.ready", "agent.stopped"} <= set(events)


SPEAKER = """
import logging, sys
import structlog
from pumas_agent.health import configure_logs
configure_logs("debug", sys.argv[1])
log = structlog.get_logger("x")
log.debug("a"); log.info("b"); log.warning("c"); log.error("d"); log.critical("e"); log.log(40, "f")
logging.getLogger("library").warning("two\\nlines")
try:
    raise ValueError("one\\n<7>two\\n\\nthree")
except ValueError:
    log.exception("g")
"""


def spoken(form: str) -> str:
    """What a process says into a pipe that it takes for the journal."""
    return subprocess.run(announced("-c", SPEAKER, form), check=True, capture_output=True, text=True).stdout


def test_each_level_has_its_priority_and_a_traceback_is_one_entry() -> None:
    """As JSON, where a line holds everything."""
    said = [(number, line["event"]) for number, line in entries(spoken("json"))]

    levels = [DEBUG, INFO, WARNING, ERROR, CRITICAL, ERROR, WARNING, ERROR]
    assert said == list(zip(levels, ["a", "b", "c", "d", "e", "f", "library.said", "g"], strict=True))


def test_each_line_of_a_traceback_has_the_priority_of_its_record() -> None:
    """As text, where a traceback has many lines: the journal makes an entry of each, also of what looks like one."""
    lines = [PREFIXED.fullmatch(line) for line in spoken("console").splitlines()]

    begin = next(place for place, line in enumerate(lines) if line is not None and re.search(r"\bg\b", line[2]))
    traceback = [line and (line[1], line[2]) for line in lines[begin:]]
    assert None not in lines
    assert len(traceback) > 5
    assert {number for number, _ in filter(None, traceback)} == {ERROR}
    assert (ERROR, "<7>two") in traceback


FULL = """
import os, sys
import structlog
from pumas_agent.health import configure_logs
configure_logs("info", "json")
log = structlog.get_logger("x")
for number in range(3_000):
    log.info("line", filling="x" * 100)
os.write(2, b"full"); sys.stdin.read(1)
log.info("afterwards")
"""


def test_the_line_that_stands_for_lost_ones_has_a_priority_too() -> None:
    """The journal stands still, and goes on; systemd gives it as a socket."""
    here, there = socket.socketpair()
    with (
        here,
        subprocess.Popen(
            announced("-c", FULL), stdin=subprocess.PIPE, stdout=there.fileno(), stderr=subprocess.PIPE
        ) as process,
    ):
        there.close()
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.read(4) == b"full"
        here.setblocking(False)
        received = bytearray()
        try:
            while True:
                received += here.recv(65536)
        except BlockingIOError:
            here.setblocking(True)
        process.stdin.write(b"x")
        process.stdin.close()
        while part := here.recv(65536):
            received += part

    said = [(number, line["event"]) for number, line in entries(received.decode())]
    assert said[-2:] == [(WARNING, "log.lines_lost"), (INFO, "afterwards")]


def test_what_is_announced_wrongly_is_no_journal() -> None:
    """Nothing that an environment holds stops the log."""
    for value in ("", "1", "a:b", "1:2:3", ":"):
        done = subprocess.run(
            [sys.executable, "-c", SPEAKER, "json"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "JOURNAL_STREAM": value},
        )
        assert [json.loads(line)["event"] for line in done.stdout.splitlines()][:2] == ["a", "b"]


@pytest.mark.parametrize("off_by", [0, 1])
def test_why_a_service_did_not_start_is_an_error_in_the_journal(short_tmp: Path, off_by: int) -> None:
    """What is said on stderr before there is a log; elsewhere it is as it always was."""
    config = short_tmp / "config.toml"
    config.write_text("[watch]\ndebounce = 1\n")
    command = announced("-m", "pumas_agent", "--config", str(config), "run", off_by=off_by)

    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "OF_STDERR": "1"})

    prefix = "" if off_by else f"<{ERROR}>"
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (78, "")
    assert [line.startswith(f"{prefix}{name}: ") for line, name in zip(lines, ("error", "hint"), strict=True)] == [
        True,
        True,
    ]
