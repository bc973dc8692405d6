"""One owner a library."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import LibraryBusy, LibraryUnavailable
from pumas_agent.library import Library, LibraryLock, LockHolder, lock_holder

_HOLD = """
import sys
from pathlib import Path
from pumas_agent.library import LibraryLock
lock = LibraryLock(Path(sys.argv[1]), sys.argv[2])
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
"""
Hold = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Let another process take the lock in a role; a line on its input ends it."""
    started: list[subprocess.Popen[str]] = []

    def hold(role: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, tmp_path, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("role", ["agent", "command"])
def test_a_library_that_an_agent_holds_is_refused_at_once_with_its_pid(tmp_path: Path, hold: Hold, role: str) -> None:
    """Nobody waits for an agent."""
    holder = hold("agent")

    with pytest.raises(LibraryBusy, match=rf"pid {holder.pid}") as refusal:
        Library.open(tmp_path, "agent" if role == "agent" else "command")

    assert refusal.value.data == {"pid": holder.pid, "role": "agent"}
    assert f"kill {holder.pid}" in str(refusal.value.hint)


def test_an_agent_waits_for_a_command(tmp_path: Path, hold: Hold) -> None:
    """A command ends by itself."""
    holder = hold("command")
    lock = LibraryLock(tmp_path, "agent", wait_s=20)

    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(lock.acquire)
        holder.communicate("\n")
        waiting.result(20)

    assert json.loads((tmp_path / ".pumas-agent.lock").read_text())["role"] == "agent"
    lock.release()


def test_a_command_that_does_not_end_is_named_after_the_wait(tmp_path: Path, hold: Hold) -> None:
    """The wait has an end."""
    holder = hold("command")

    with pytest.raises(LibraryBusy, match=rf"another command \(pid {holder.pid}\)"):
        LibraryLock(tmp_path, "agent", wait_s=0.1).acquire()


def test_a_crash_gives_the_lock_up(tmp_path: Path, hold: Hold) -> None:
    """The kernel does; what the dead process wrote into the file says nothing any more."""
    holder = hold("agent")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / ".pumas-agent.lock").read_text())["pid"] == holder.pid

    with LibraryLock(tmp_path, "agent", wait_s=0):
        pass

    assert (tmp_path / ".pumas-agent.lock").read_text() == ""


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"pid": 999999999, "role": "agent"}', '{"pid": "x"}'])
def test_what_stands_in_the_file_never_makes_a_free_lock_taken(tmp_path: Path, content: str) -> None:
    """The lock is the kernel's; the file only says who holds it."""
    (tmp_path / ".pumas-agent.lock").write_text(content)

    with LibraryLock(tmp_path, "command", wait_s=0):
        pass


def test_the_name_of_a_dead_agent_does_not_keep_an_agent_from_waiting(tmp_path: Path, hold: Hold) -> None:
    """Between taking the lock and writing its name a command is nameless."""
    holder = hold("command")
    (tmp_path / ".pumas-agent.lock").write_text('{"pid": 999999999, "role": "agent"}')
    lock = LibraryLock(tmp_path, "agent", wait_s=20)

    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(lock.acquire)
        holder.communicate("\n")
        waiting.result(20)

    lock.release()


def test_a_lock_that_cannot_be_opened_makes_the_library_unavailable(tmp_path: Path) -> None:
    """A link in its place is not followed."""
    (tmp_path / ".pumas-agent.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LibraryUnavailable, match=r"\.pumas-agent\.lock"):
        Library.open(tmp_path, "command")

    assert not (tmp_path / "elsewhere").exists()


def test_a_library_that_could_not_be_opened_is_not_locked(tmp_path: Path) -> None:
    """A failed open gives the lock up."""
    (tmp_path / "models.db").write_bytes(b"this is no database, and it is long enough to be one" * 100)

    with pytest.raises(LibraryUnavailable, match=r"models\.db"):
        Library.open(tmp_path, "command")

    with LibraryLock(tmp_path, "command", wait_s=0):
        pass


def test_whoever_holds_the_lock_can_be_found(tmp_path: Path) -> None:
    """With its socket, as an absolute path; nobody is found before and after, and asking makes no file."""
    assert lock_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []

    with LibraryLock(tmp_path, "agent", socket=Path("agent.sock")):
        held = lock_holder(tmp_path)

    assert held == LockHolder(os.getpid(), "agent", Path.cwd() / "agent.sock")
    assert lock_holder(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"pid": "1", "role": 2, "socket": "relative"}', "\xff{", '{"socket": "/a\\u0000"}']
)
def test_what_a_lock_file_says_is_not_believed_blindly(tmp_path: Path, text: str) -> None:
    """Whatever it holds: the lock is held, and by whom is not known."""
    with LibraryLock(tmp_path, "agent"):
        (tmp_path / ".pumas-agent.lock").write_text(text)

        assert lock_holder(tmp_path) == LockHolder()
