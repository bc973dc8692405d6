"""An agent and its service manager: what it says when, its configuration read again, a socket it was handed."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.client import AgentClient

if TYPE_CHECKING:
    from tests.service.conftest import MakeBundle, StartAgent

LISTENER = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS=sys.argv[2], LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="agent")
os.execv(sys.argv[3], sys.argv[3:])
"""


class Manager:
    """Reads what the agent says to NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait_for(self, message: str, within_s: float = 30.0) -> int:
        """Read until a message with that beginning came; its place in `said`."""
        seen, deadline = 0, time.monotonic() + within_s
        while True:
            for place in range(seen, len(self.said)):
                if self.said[place].startswith(message):
                    return place
            seen = len(self.said)
            readable, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"it did not say {message}; it said {self.said}"
            self.said.append(self._socket.recv(4096).decode())

    def forget(self) -> None:
        """Look for messages from here on."""
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(4096)
        self.said.clear()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(short_tmp: Path) -> Iterator[Manager]:
    manager = Manager(short_tmp / "notify")
    yield manager
    manager.close()


@pytest.fixture
def config(short_tmp: Path) -> Path:
    path = short_tmp / "config.toml"
    path.write_text("")
    return path


def test_the_service_manager_is_told_in_order(start: "StartAgent", make_bundle: "MakeBundle", manager: Manager) -> None:
    """More time before the library is open, ready when the socket answers, what it has, and that it stops."""
    agent = start(wait=False, NOTIFY_SOCKET=str(manager.path))
    ready = manager.wait_for("READY=1")

    assert agent.client.call("agent.status")["pid"] == agent.pid
    assert manager.said[:ready] == ["STATUS=opening the library", "EXTEND_TIMEOUT_USEC=30000000"]
    manager.wait_for("STATUS=0 bundles; healthy")
    bundle = make_bundle()
    agent.register(bundle)
    manager.wait_for("STATUS=1 bundle (1 valid); healthy")
    bundle.rename(bundle.with_name("gone"))
    manager.wait_for("STATUS=1 bundle (1 degraded); 1 alert: bundle_")
    agent.stop()
    manager.wait_for("STOPPING=1")
    assert manager.said.count("READY=1") == 1
    assert not [message for message in manager.said if message.startswith("WATCHDOG")]


def test_the_watchdog_is_fed_by_a_healthy_agent(start: "StartAgent", manager: Manager) -> None:
    """Four times in twice its time and not faster, with the reader, the writer and the scheduler all asked."""
    agent = start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="600000")
    manager.wait_for("WATCHDOG=1")
    for _ in range(4):
        manager.forget()
        manager.wait_for("WATCHDOG=1", within_s=5)
    agent.stop()
    assert not agent.said("watchdog.starved")


def test_the_watchdog_of_another_process_is_not_fed(start: "StartAgent", manager: Manager) -> None:
    """WATCHDOG_PID names somebody else."""
    agent = start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    agent.stop()
    manager.wait_for("STOPPING=1")
    assert "WATCHDOG=1" not in manager.said


def test_an_agent_that_stands_still_does_not_feed_the_watchdog(start: "StartAgent", manager: Manager) -> None:
    """The event loop itself is one of the parts: a stopped process says nothing."""
    agent = start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000")
    agent.expected.add("watchdog.starved")
    manager.wait_for("WATCHDOG=1")
    agent.process.send_signal(signal.SIGSTOP)
    try:
        manager.forget()
        with pytest.raises(AssertionError, match="did not say WATCHDOG"):
            manager.wait_for("WATCHDOG=1", within_s=1)
    finally:
        agent.process.send_signal(signal.SIGCONT)
    manager.wait_for("WATCHDOG=1")


# --- the configuration, read again -----------------------------------------------------------------------------------


def test_a_good_configuration_is_taken(start: "StartAgent", config: Path, manager: Manager) -> None:
    """What a running agent can change holds at once; what it cannot is named; the service manager sees both ends."""
    agent = start(PUMAS_AGENT_CONFIG=str(config), NOTIFY_SOCKET=str(manager.path))
    manager.wait_for("STATUS=0 bundles; healthy")
    manager.forget()
    config.write_text(
        "[library]\ntrash_days = 1\n[log]\nlevel = 'debug'\n[health]\nmass_disappearance_min = 9\n"
        "[socket]\nmax_connections = 9\n[bundles]\nsearch_roots = ['/nowhere']\n"
    )

    agent.process.send_signal(signal.SIGHUP)

    line = agent.wait_for("config.reloaded")
    assert line["changed"] == [
        "library.trash_days",
        "bundles.search_roots",
        "health.mass_disappearance_min",
        "log.level",
    ]
    assert line["restart_needed"] == ["socket.max_connections"]
    assert manager.wait_for("READY=1") > manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
    found = agent.client.call("discover_bundles")
    assert [left["path"] for left in found["not_searched"]] == ["/nowhere"], "it looks where the new settings say"


def test_what_is_logged_follows_the_configuration(start: "StartAgent", config: Path, manager: Manager) -> None:
    """At the level of errors it does not even say that it read its configuration; back at the old one it does."""
    agent = start(PUMAS_AGENT_CONFIG=str(config), NOTIFY_SOCKET=str(manager.path))
    manager.wait_for("STATUS=0 bundles; healthy")
    for level in ("error", "info"):
        assert not agent.said("config.reloaded")
        manager.forget()
        config.write_text(f"[log]\nlevel = '{level}'\n")
        agent.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1")

    assert agent.wait_for("config.reloaded")["changed"] == ["log.level"]
    agent.stop()
    assert len(agent.said("config.reloaded")) == 1


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("[watch]\ndebounce = 1\n", "unknown setting watch.debounce", "did you mean watch.debounce_ms?"),
        ("[log]\nlevel = 'loud'\n", "log.level = 'loud'", "correct the value"),
        ("[log\n", "is no TOML", ""),
    ],
)
def test_a_bad_configuration_is_refused_whole(
    start: "StartAgent", config: Path, text: str, reason: str, hint: str
) -> None:
    """An alert names the mistake, nothing of the file is taken, and the next good file clears it."""
    agent = start(PUMAS_AGENT_CONFIG=str(config))
    config.write_text(f"[bundles]\nsearch_roots = ['/nowhere']\n{text}")

    agent.process.send_signal(signal.SIGHUP)

    alert = agent.wait_for("alert.raised", code="config_invalid")
    assert reason in alert["evidence"]["reason"]
    assert str(config) in alert["evidence"]["reason"]
    assert hint in alert["hint"]
    assert agent.alerts() == {("config_invalid", None)}
    assert agent.client.call("discover_bundles")["not_searched"] == []
    assert not agent.said("config.reloaded")

    config.write_text("")
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("alert.cleared", code="config_invalid")
    assert agent.alerts() == set()


def test_a_restart_with_a_good_configuration_clears_the_alert(start: "StartAgent", config: Path) -> None:
    """What was said before the restart is taken back after it."""
    agent = start(PUMAS_AGENT_CONFIG=str(config))
    config.write_text("[log\n")
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("alert.raised", code="config_invalid")
    agent.stop()
    config.write_text("")

    again = start(PUMAS_AGENT_CONFIG=str(config))

    again.wait_for("alert.cleared", code="config_invalid")
    assert again.alerts() == set()


def test_a_terminal_that_closes_ends_the_agent(short_tmp: Path) -> None:
    """SIGHUP on a terminal means that it is gone; nobody wants an agent that nobody sees any more."""
    near, far = pty.openpty()
    command = [sys.executable, "-m", "pumas_agent", "--library", str(short_tmp / "l"), "--socket", str(short_tmp / "s")]
    process = subprocess.Popen([*command, "run"], stdin=far, stdout=far, stderr=far)
    os.close(far)
    try:
        said = b""
        while b"Ctrl-C stops" not in said:
            said += os.read(near, 4096)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(near)
    assert not (short_tmp / "s").exists()


# --- a socket that was handed over -----------------------------------------------------------------------------------


def _handed(path: Path, count: str = "1") -> list[str]:
    return [sys.executable, "-c", LISTENER, str(path), count]


def test_a_socket_that_was_handed_over_is_served_and_left(start: "StartAgent", short_tmp: Path) -> None:
    """The agent answers on it whatever its settings say, says where it listens, and does not remove its file."""
    handed = short_tmp / "handed.sock"
    agent = start(within=_handed(handed))

    with AgentClient(handed, timeout=30) as client:
        assert client.call("agent.status")["socket"] == str(handed)
    assert not agent.socket.exists()
    before = handed.lstat().st_ino
    agent.stop()

    assert handed.lstat().st_ino == before
    assert not agent.socket.exists()


def test_more_than_one_socket_is_refused(start: "StartAgent", short_tmp: Path) -> None:
    """Exit code 78: a restart would not help."""
    agent = start(within=_handed(short_tmp / "handed.sock", "2"), wait=False)

    assert agent.wait() == 78
    assert "LISTEN_FDS is 2" in agent.errors


@pytest.mark.needs_tool("systemd-socket-activate")
def test_the_first_client_starts_the_agent(short_tmp: Path) -> None:
    """With systemd's own tool: it listens, and the client that connects is answered by the agent it starts."""
    path = short_tmp / "activated.sock"
    environ = {**os.environ, "HOME": str(short_tmp)}
    agent = [sys.executable, "-m", "pumas_agent", "--library", str(short_tmp / "l"), "--socket", str(path), "run"]
    passed = [f"-E{name}" for name in ("PATH", "HOME", "PYTHONPATH") if name in environ]
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", str(path), *passed, *agent],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not path.exists():
            assert time.monotonic() < deadline
        with AgentClient(path, timeout=60) as client:
            status = client.call("agent.status")
        assert (status["socket"], status["pid"]) == (str(path), process.pid), "it becomes the agent by exec"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert path.exists(), "the file is the one's who made it"
    finally:
        process.kill()
        process.wait()


# --- what the units take away ----------------------------------------------------------------------------------------

CONFINED = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_SET_SECCOMP, FILTER = 38, 65, 22, 2
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_MDWE, 1, 0, 0, 0):
    sys.exit(99)
socket_call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
program = b"".join(struct.pack("HBBI", *step) for step in [
    (0x20, 0, 0, 0),                # load the number of the call
    (0x15, 0, 3, socket_call),      # not socket(): allow
    (0x20, 0, 0, 16),               # load its first argument, the family
    (0x15, 1, 0, 1),                # AF_UNIX: allow
    (0x06, 0, 0, 0x00050000 | 97),  # EAFNOSUPPORT
    (0x06, 0, 0, 0x7FFF0000),       # allow
])
kept = ctypes.create_string_buffer(program, len(program))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 6, ctypes.addressof(kept)))
if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(filter), 0, 0):
    sys.exit(99)
import socket
try:
    socket.socket(socket.AF_INET)
except OSError:
    os.execv(sys.argv[1], sys.argv[1:])
sys.exit(98)
"""


@pytest.mark.skipif(
    os.uname().machine not in {"x86_64", "aarch64"} or sys.platform != "linux", reason="the filter knows two machines"
)
def test_it_works_without_what_the_units_take_away(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """No memory that is writable and executable, no network, no new privileges: it judges, serves, sees a change."""
    confined = [sys.executable, "-c", CONFINED]
    if (code := subprocess.run([*confined, "/bin/true"], check=False).returncode) == 99:
        pytest.skip("the kernel has no PR_SET_MDWE, or no seccomp")
    assert code == 0
    agent = start(within=confined)
    bundle = make_bundle()

    model_id = agent.register(bundle)

    assert agent.client.descriptor(model_id).entry_path == str(bundle)
    (bundle / "model_index.json").unlink()
    agent.wait_for("alert.raised", code="bundle_incomplete")
