"""A process that stood still, and a wall clock that was set: nothing is raised, ended or lost by it, and all goes on.

A machine that sleeps cannot be had here. A stopped process is the nearest thing, and a harder one: when it goes on,
every monotonic deadline has passed, which in a sleep none has. The wall clock is set for the agent alone, by faketime.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.client import AgentClient

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
TINY = "diffusion/acme/tiny"
LIBRARIES = "/usr/lib"
WATCHDOG_S = 2.5
OFTEN = {
    "PUMAS_AGENT_WATCH__IDENTITY_POLL_S": "0.1",
    "PUMAS_AGENT_WATCH__POLL_INTERVAL_S": "0.2",
    "PUMAS_AGENT_WATCH__FULL_RECONCILE_S": "1",
}
"""Whatever is done at intervals is under way, or about to be, whenever the time stops or is set."""


class Manager:
    """Counts how often the watchdog is fed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fed = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while (message := self._socket.recv(4096)) != b"end":
            self.fed += message == b"WATCHDOG=1"

    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000))}

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", str(self.path))
        self._reader.join()
        self._socket.close()


@pytest.fixture
def manager(short_tmp: Path) -> Iterator[Manager]:
    manager = Manager(short_tmp / "notify")
    yield manager
    manager.close()


def _told(agent: "AgentUnderTest") -> list[tuple[str, str, str | None]]:
    """Every transition of an alert so far."""
    return [
        (str(line["event"]), str(line["code"]), line["model_id"])
        for line in tuple(agent.lines)
        if str(line["event"]).startswith("alert.")
    ]


# --- a process that stood still -----------------------------------------------------------------------------------


def test_a_stopped_agent_goes_on_as_if_nothing_had_been(
    start: "StartAgent", make_bundle: "MakeBundle", manager: Manager, until: Until
) -> None:
    """Longer than any of its short patiences; a change made meanwhile is seen, nothing else is said."""
    bundles = [make_bundle(name) for name in ("tiny", "second", "third", "fourth")]
    agent = start(**OFTEN, **manager.environ())
    for bundle in bundles:
        agent.register(bundle)
    agent.settled()
    until(lambda: manager.fed, "the watchdog is fed")
    still = threading.Event()

    for seconds in (0.7, 2.0, 4.0):
        agent.process.send_signal(signal.SIGSTOP)
        still.wait(seconds)
        fed = manager.fed
        agent.process.send_signal(signal.SIGCONT)
        assert agent.refusal(TINY) is None
        until(lambda fed=fed: manager.fed > fed + 1, "the watchdog is fed again")
    assert _told(agent) == []

    agent.process.send_signal(signal.SIGSTOP)
    (bundles[3] / "unet" / "config.json").unlink()
    still.wait(2.5)
    agent.process.send_signal(signal.SIGCONT)

    assert agent.refusal("diffusion/acme/fourth") is not None, "the first answer knows it"
    agent.wait_for("alert.raised", code="bundle_incomplete", model_id="diffusion/acme/fourth")
    assert [agent.refusal(f"diffusion/acme/{name}") for name in ("tiny", "second", "third")] == [None] * 3
    agent.settled()
    assert _told(agent) == [("alert.raised", "bundle_incomplete", "diffusion/acme/fourth")]
    assert not agent.said("watchdog.starved"), "the parts had no chance to answer"


def test_a_client_that_waited_meanwhile_is_answered(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """Its half of a request that was under way is not taken for a client that stalls."""
    agent = start()
    agent.register(make_bundle())
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(agent.socket))
        slow.settimeout(30)
        slow.sendall(b'{"jsonrpc": "2.0", "id": 1, ')
        assert agent.refusal(TINY) is None, "it has read that by now"
        agent.process.send_signal(signal.SIGSTOP)
        slow.sendall(b'"method": "agent.health"}\n')
        threading.Event().wait(5.5)
        agent.process.send_signal(signal.SIGCONT)

        assert b'"alerts"' in slow.makefile("rb").readline()


# --- a clock that was set -----------------------------------------------------------------------------------------


class Clock:
    """The wall clock of an agent, as a file that faketime reads at each question."""

    def __init__(self, folder: Path, jump: str) -> None:
        self._file = folder / "clock"
        self._file.write_text("+0\n")
        self._jump = jump
        (library,) = sorted(Path(LIBRARIES).glob("*/faketime/libfaketimeMT.so.1"))
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(self._jump + "\n")
        new.rename(self._file)


@pytest.fixture(params=["-1y", "+10y"])
def clock(short_tmp: Path, request: pytest.FixtureRequest) -> Clock:
    return Clock(short_tmp, request.param)


@pytest.mark.needs_tool("faketime")
def test_a_clock_that_is_set_changes_nothing_else(
    start: "StartAgent",
    make_bundle: "MakeBundle",
    manager: Manager,
    until: Until,
    clock: Clock,
) -> None:
    """Alerts, holds, downloads, feed and trash are as before; periodic work goes on, and what happens next is seen."""
    make = {name: make_bundle(name) for name in ("tiny", "broken", "held", "polled", "loading")}
    agent = start(**OFTEN, **manager.environ(), **clock.environ)
    for bundle in make.values():
        agent.register(bundle)
    weights = make["tiny"] / "unet" / "diffusion_pytorch_model.safetensors"
    owned = agent.client.call("import_model", path=str(weights), family="acme", official_name="owned")["model_id"]
    trash = Path(agent.client.call("delete_model_with_cascade", model_id=owned)["trash_path"])
    (make["broken"] / "unet" / "config.json").unlink()
    agent.wait_for("alert.raised", code="bundle_incomplete")
    holder = agent.new_client()
    holder.call("hold_bundle", bundle="diffusion/acme/held")
    (make["held"] / "vae" / "config.json").unlink()
    until(lambda: agent.state("diffusion/acme/held") == "degraded", "the look at what is held")
    (make["loading"] / "vae" / "weights.safetensors.part").write_bytes(b"half")
    (make["loading"] / "vae" / "config.json").unlink()
    until(lambda: agent.refusal("diffusion/acme/loading"), "what is loaded is not whole")
    agent.settled()
    before, alerts = agent.client.call("list_model_library_updates_since"), agent.client.call("agent.health")["alerts"]
    beginning = agent.client.call("list_model_library_updates_since", cursor="model-library-updates:0", limit=1000)
    told = len(_told(agent))

    clock.jump()

    fed, looked = manager.fed, agent.client.call("agent.status")["last_reconcile_at"]
    until(lambda: manager.fed > fed + 2, "the watchdog is fed, so the scheduler works")
    until(lambda: agent.client.call("agent.status")["last_reconcile_at"][:4] != looked[:4], "a look at everything")
    assert len(_told(agent)) == told
    assert agent.client.call("agent.health")["alerts"] == alerts
    assert trash.is_dir()
    after = agent.client.call("list_model_library_updates_since", cursor=before["cursor"])
    assert (after.get("events", []), after["stale_cursor"]) == ([], False), "nothing was committed because of it"
    again = agent.client.call("list_model_library_updates_since", cursor="model-library-updates:0", limit=1000)
    assert again == beginning, "nor was anything forgotten"

    (make["polled"] / "scheduler" / "scheduler_config.json").unlink()
    agent.wait_for("alert.raised", code="bundle_incomplete", model_id="diffusion/acme/polled")
    (make["broken"] / "unet" / "config.json").write_bytes((make["tiny"] / "unet" / "config.json").read_bytes())
    agent.wait_for("alert.cleared", code="bundle_incomplete", model_id="diffusion/acme/broken")
    unquiet = "diffusion/acme/held", "diffusion/acme/loading"
    agent.settled()
    events = agent.client.call("list_model_library_updates_since", cursor=before["cursor"])["events"]
    assert [event["model_id"] for event in events if event["model_id"] not in unquiet] == [
        "diffusion/acme/polled",
        "diffusion/acme/broken",
    ], "in the order in which it happened"
    assert agent.refusal("diffusion/acme/broken") is None
    assert agent.refusal("diffusion/acme/held") is not None
    holder.close()  # and with it the hold
    agent.wait_for("alert.raised", code="bundle_incomplete", model_id="diffusion/acme/held")


@pytest.mark.needs_tool("faketime")
def test_an_agent_that_starts_after_the_clock_was_set_has_lost_nothing(
    start: "StartAgent", make_bundle: "MakeBundle", clock: Clock
) -> None:
    """Alerts keep their first moment, bundles their state; only a clock that is ahead makes old things old."""
    agent = start(**clock.environ)
    whole, broken = make_bundle(), make_bundle("broken")
    agent.register(whole)
    agent.register(broken)
    (broken / "unet" / "config.json").unlink()
    since = agent.wait_for("alert.raised", code="bundle_incomplete")["since"]
    agent.stop()
    clock.jump()

    agent = start(**clock.environ)

    line = agent.wait_for("alert.raised", code="bundle_incomplete")
    assert (line["since"], line["model_id"]) == (since, "diffusion/acme/broken")
    assert agent.refusal(TINY) is None
    agent.settled()
    assert len(_told(agent)) == 1
    with AgentClient(agent.socket) as client:
        cursor = client.call("list_model_library_updates_since")["cursor"]
        (broken / "unet" / "config.json").write_bytes((whole / "unet" / "config.json").read_bytes())
        agent.wait_for("alert.cleared")
        agent.settled()
        (event,) = client.call("list_model_library_updates_since", cursor=cursor)["events"]
    assert event["model_id"] == "diffusion/acme/broken"
    assert os.path.lexists(agent.library / "diffusion" / "acme" / "tiny" / "metadata.json")
