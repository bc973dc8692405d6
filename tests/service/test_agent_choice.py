"""Several agents on one machine: a command asks the one that is meant, and says so when there is a choice."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.cli.completion import IN_TIME_S, known_ids

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
_DEADLINE_S = 60


@pytest.fixture
def two(start: "StartAgent", short_tmp: Path, make_bundle: "MakeBundle") -> "tuple[AgentUnderTest, AgentUnderTest]":
    """Two agents, each with a library, a socket and a bundle of its own."""
    first, second = (
        start(library=short_tmp / name / "library", socket=short_tmp / name / "a.sock") for name in ("one", "two")
    )
    first.register(make_bundle("first"))
    second.register(make_bundle("second"))
    return first, second


def command(*args: object, **environ: str) -> tuple[int, dict[str, Any]]:
    """A command with `--json`: its exit code and its object."""
    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", *map(str, args), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
        env={**os.environ, **environ},
    )
    assert "error" not in done.stderr  # how far it is may be told there
    return done.returncode, json.loads(done.stdout)


def test_the_library_finds_its_agent(two: "tuple[AgentUnderTest, AgentUnderTest]") -> None:
    """By the lock, wherever it listens; read and write alike, by the flag and by the variable."""
    for agent in two:
        code, status = command("--library", agent.library, "status")
        assert (code, status["pid"], status["socket"]) == (0, agent.pid, str(agent.socket))
        assert command("reconcile", PUMAS_AGENT_LIBRARY=str(agent.library))[0] == 0
        assert command("status", PUMAS_AGENT_LIBRARY=str(agent.library))[1]["pid"] == agent.pid


def test_who_follows_a_library_hears_its_agent(two: "tuple[AgentUnderTest, AgentUnderTest]") -> None:
    """What comes is of the same agent as what is there, and not of the one on the socket of the settings."""
    first, second = two
    follower = subprocess.Popen(
        [sys.executable, "-m", "pumas_agent", "--library", first.library, "events", "-f", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PUMAS_AGENT_SOCKET": str(second.socket)},
    )
    try:
        assert follower.stdout is not None
        follower.stdout.readline()  # what is there was shown: from here on it follows
        (first.library.parent.parent / "bundles" / "first" / "model_index.json").unlink()
        heard = (json.loads(line) for line in follower.stdout)
        alert = next(event["alert"] for event in heard if event["topic"] == "alerts")
        assert alert["model_id"] == "diffusion/acme/first"
    finally:
        follower.kill()
        follower.communicate()


def test_a_socket_that_is_named_is_taken_as_it_is(two: "tuple[AgentUnderTest, AgentUnderTest]") -> None:
    """And an agent of another library is not asked about this one."""
    first, second = two

    assert command("--socket", second.socket, "status")[1]["pid"] == second.pid
    code, refused = command("--library", first.library, "--socket", second.socket, "list")

    assert (code, refused["error"]["code"]) == (69, "library_unavailable")


def test_an_agent_that_ended_is_not_looked_for(two: "tuple[AgentUnderTest, AgentUnderTest]") -> None:
    """What a crash leaves in the lock file names nobody: the command does the work itself."""
    first, _second = two
    first.kill()

    code, listed = command("--library", first.library, "list")

    assert "pid" in json.loads((first.library / ".pumas-agent.lock").read_text())
    assert (code, [row["officialName"] for row in listed["models"]]) == (0, ["first"])
    assert command("--library", first.library, "status")[0] == 3


def test_on_a_terminal_it_says_which_agent_is_asked(two: "tuple[AgentUnderTest, AgentUnderTest]") -> None:
    """In a line on stderr, when that is not the one of the settings."""
    first, _second = two
    shown, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pumas_agent", "--library", first.library, "status"],
        stdout=subprocess.DEVNULL,
        stderr=end,
    )
    os.close(end)
    assert process.wait(_DEADLINE_S) == 0

    assert select.select([shown], [], [], _DEADLINE_S)[0]
    said = os.read(shown, 65536).decode()
    os.close(shown)

    assert str(first.library) in said
    assert str(first.socket) in said


def test_doctor_is_run_by_the_agent_when_one_runs(two: "tuple[AgentUnderTest, AgentUnderTest]") -> None:
    """And by the command when none does; both see the bundle."""
    first, _second = two
    code, inside = command("--library", first.library, "doctor")
    assert (inside["schema"], inside["inside_agent"], inside["pid"]) == ("pumas-agent/doctor/1", True, first.pid)
    assert (code == 0) == inside["healthy"]

    first.stop()
    code, outside = command("--library", first.library, "doctor")

    assert (code, outside["inside_agent"]) == (1, False)
    for report in (inside, outside):
        readable = [entry for entry in report["checks"] if entry["check"] == "roots"]
        assert [(entry["state"], entry["evidence"]) for entry in readable] == [("ok", "1 bundle can be read")]


def test_doctor_examines_itself_when_the_agent_is_of_another_library(start: "StartAgent", short_tmp: Path) -> None:
    """That there is one, and that it is not the one that is meant, is part of what is wrong."""
    agent = start()
    code, report = command("--library", short_tmp / "other", "--socket", agent.socket, "doctor")

    wrong = {(entry["check"], entry["state"]) for entry in report["checks"] if entry["state"] != "ok"}
    assert code == 1
    assert {("agent", "fail"), ("socket", "warn"), ("library", "warn")} <= wrong


def test_doctor_says_so_when_the_agent_hangs(start: "StartAgent") -> None:
    """One that is stopped gives no sign of life: the command examines then, the socket that the lock names too."""
    agent = start()
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pumas_agent", "--library", agent.library, "doctor", "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_DEADLINE_S,
        )
    finally:
        os.kill(agent.pid, signal.SIGCONT)

    report = json.loads(done.stdout)
    of = {entry["check"]: entry for entry in report["checks"]}
    assert (done.returncode, report["inside_agent"], report["socket"]) == (1, False, str(agent.socket))
    assert (of["agent"]["state"], "did not answer" in of["agent"]["evidence"]) == ("fail", True)
    assert (of["socket"]["state"], str(agent.pid) in of["socket"]["evidence"]) == ("warn", True)


def complete(words: str, **environ: str) -> list[str]:
    """What bash is told."""
    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
        env={
            **os.environ,
            "_PUMAS_AGENT_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **environ,
        },
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_ids_are_completed_from_the_running_agent(two: "tuple[AgentUnderTest, AgentUnderTest]", until: Until) -> None:
    """Of the one that is meant; commands are completed without any."""
    first, second = two

    # An agent that is kept from answering in time by other programs gives nothing: then the key is pressed again.
    until(lambda: complete(f"pumas-agent --socket {first.socket} show diff") == ["diffusion/acme/first"], "the first")
    until(
        lambda: complete(f"pumas-agent --library {second.library} explain ") == ["diffusion/acme/second"], "the second"
    )
    assert complete("pumas-agent doc") == ["doctor"]


def test_nothing_is_completed_and_nothing_said_without_an_agent(short_tmp: Path) -> None:
    """Also when the settings cannot be read."""
    (config := short_tmp / "x.toml").write_text("not = [toml")

    assert complete("pumas-agent show d") == []
    assert complete("pumas-agent show d", PUMAS_AGENT_CONFIG=str(config)) == []


def test_a_key_press_waits_for_no_agent(silent: Callable[[], Path]) -> None:
    """One that listens and does not answer costs a moment."""
    started = time.monotonic()

    assert known_ids({"socket": silent()}) == []
    assert time.monotonic() - started < IN_TIME_S + 2


@pytest.fixture
def silent(short_tmp: Path) -> Iterator[Callable[[], Path]]:
    """A socket on which somebody listens and says nothing."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(short_tmp / "silent"))
    listener.listen()
    yield lambda: short_tmp / "silent"
    listener.close()
