"""An agent's life: it starts, owns its library and its socket, and ends when it is told to."""

import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pumas_agent.contracts.errors import AgentNotRunning

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

STOPS = [signal.SIGTERM, signal.SIGINT]


def _lock_is_free(library: Path) -> bool:
    with (library / ".pumas-agent.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.mark.parametrize("number", STOPS)
def test_told_to_stop_it_ends_well(agent: "AgentUnderTest", make_bundle: "MakeBundle", number: signal.Signals) -> None:
    """Ready means that it serves; the end is exit 0, no socket file, a free lock, and a last line that says so."""
    model_id = agent.register(make_bundle())
    assert agent.client.descriptor(model_id).entry_path.endswith("bundles/tiny")
    assert not _lock_is_free(agent.library)

    agent.stop(number)

    assert agent.lines[-1]["event"] == "agent.stopped"
    assert not agent.socket.exists()
    assert _lock_is_free(agent.library)
    assert not list(agent.library.glob("models.db-*")), "the index was closed, its log is empty and gone"


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_in_the_middle_of_everything_is_as_clean(
    start: "StartAgent", make_bundle: "MakeBundle", number: signal.Signals
) -> None:
    """Lookups, a reconcile and events under way: each is finished or told so, and nothing is logged as a fault."""
    agent = start()
    bundles = [make_bundle(f"b{count}") for count in range(4)]
    ids = [agent.register(bundle) for bundle in bundles]
    busy = socket.socket(socket.AF_UNIX)
    busy.connect(str(agent.socket))
    for bundle in bundles:
        shutil.rmtree(bundle / "unet")
    calls: list[tuple[str, dict[str, str]]] = [
        *(("resolve_model_execution_descriptor", {"model_id": model_id}) for model_id in ids),
        ("reconcile", {}),
        ("rebuild_model_index", {}),
    ]
    for request, (method, params) in enumerate(calls):
        frame = {"jsonrpc": "2.0", "id": request, "method": method, "params": params}
        busy.sendall(json.dumps(frame).encode() + b"\n")

    agent.stop(number)

    with busy, busy.makefile() as answers:
        messages = [json.loads(line) for line in answers]
    assert {message["id"] for message in messages if "id" in message} <= set(range(len(calls)))
    assert _lock_is_free(agent.library)


@pytest.fixture
def held_lock(short_tmp: Path) -> Iterator[TextIO]:
    """The lock of the library that the next agent will want, held by a command."""
    library = short_tmp / "library"
    library.mkdir()
    with (library / ".pumas-agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"pid": os.getpid(), "role": "command"}))
        lock.flush()
        yield lock


def _opens(pid: int, path: str) -> bool:
    try:
        return any(str(link.readlink()) == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", STOPS)
def test_a_stop_while_it_waits_for_the_lock_is_obeyed(
    start: "StartAgent", held_lock: TextIO, number: signal.Signals, until: Callable[..., Any]
) -> None:
    """A command holds the library: told to stop meanwhile, the agent does so at once, and that is no failure."""
    agent = start(wait=False)
    until(lambda: _opens(agent.pid, held_lock.name), "it wants the lock")

    agent.process.send_signal(number)

    assert agent.wait(within_s=5) == 0
    assert not agent.said("agent.ready")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_agent_waits_for_a_command(start: "StartAgent", held_lock: TextIO, until: Callable[..., Any]) -> None:
    """A command that holds the lock ends by itself; then the agent serves."""
    agent = start(wait=False)
    until(lambda: _opens(agent.pid, held_lock.name), "it wants the lock")
    assert agent.process.poll() is None
    assert not agent.socket.exists()

    held_lock.close()

    agent.ready()
    assert agent.client.call("get_library_status")["model_count"] == 0


def test_one_agent_a_library(agent: "AgentUnderTest", start: "StartAgent", short_tmp: Path) -> None:
    """The second is refused with exit code 75 and the first one's pid; the first goes on."""
    second = start(library=agent.library, socket=short_tmp / "other.sock", wait=False)

    assert second.wait() == 75
    assert str(agent.pid) in second.errors
    assert not (short_tmp / "other.sock").exists()
    assert agent.client.call("agent.status")["pid"] == agent.pid


def test_one_agent_a_socket(agent: "AgentUnderTest", start: "StartAgent", short_tmp: Path) -> None:
    """An agent of another library never takes a socket that is served; its own library is free again."""
    second = start(library=short_tmp / "other", socket=agent.socket, wait=False)

    assert second.wait() == 75
    assert str(agent.pid) in second.errors
    assert _lock_is_free(short_tmp / "other")
    agent.hang_up()
    assert agent.client.call("agent.status")["pid"] == agent.pid


def test_of_many_agents_that_start_at_once_one_serves(
    start: "StartAgent", short_tmp: Path, until: Callable[..., Any]
) -> None:
    """A new library, four agents: one is ready, the others exit with 75, whoever was first."""
    agents = [start(socket=short_tmp / f"{number}.sock", wait=False) for number in range(4)]

    def running() -> list["AgentUnderTest"]:
        return [agent for agent in agents if agent.process.poll() is None]

    until(lambda: len(running()) == 1, "one is left", within_s=60)
    (winner,) = running()

    winner.ready()
    assert [agent.wait() for agent in agents if agent is not winner] == [75] * 3


def test_ready_means_that_everything_can_be_asked(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """A client that waits for the socket, and asks for a reconcile as its first word, gets one."""
    first = start()
    model_id = first.register(make_bundle())
    first.stop()
    agent = start(wait=False)
    client = agent.new_client()

    report: dict[str, Any] = {}
    while not report:
        with suppress(AgentNotRunning):
            report = client.call("reconcile", model_id=model_id)

    assert report["unhealthy"] == []


@pytest.mark.parametrize("runtime", [True, False])
def test_defaults_are_made_and_are_private(
    tmp_path: Path, short_tmp: Path, until: Callable[..., Any], runtime: bool
) -> None:
    """Without flags: the library in the data folder, the socket 0600 in a folder 0700, found by a client's default."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PUMAS_AGENT_"))}
    environ["HOME"] = str(short_tmp)
    if runtime:
        (short_tmp / "run").mkdir(mode=0o700)
        environ["XDG_RUNTIME_DIR"] = str(short_tmp / "run")
    path = short_tmp / ("run/pumas-agent/agent.sock" if runtime else ".local/state/pumas-agent/agent.sock")
    command = [sys.executable, "-m", "pumas_agent"]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([*command, "run"], env=environ, stdout=out, stderr=out)
    try:
        until(path.exists, "the socket", within_s=60)
        until(lambda: "agent.ready" in log.read_text(), "the ready line", within_s=60)
        told = subprocess.run(
            [*command, "status", "--json"], env=environ, capture_output=True, text=True, check=True, timeout=60
        )
        modes = [stat.S_IMODE(found.stat().st_mode) for found in (path, path.parent)]
    finally:
        process.terminate()
        exit_code = process.wait(60)

    assert json.loads(told.stdout)["library_root"] == str(short_tmp / ".local/share/pumas-agent/library")
    assert modes == [0o600, 0o700]
    assert exit_code == 0
    assert not path.exists()
