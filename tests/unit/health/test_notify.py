"""The words to the service manager, heard on a real socket, and when its watchdog is fed, on a clock the test turns."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.health import Notifier, Watchdog

LIMIT = 60.0


class Manager:
    """The end of the socket at which the service manager reads."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Manager]:
    manager = Manager(str(short_tmp / "notify") if request.param == "path" else f"@pumas-test-{os.getpid()}")
    yield manager
    manager.close()


def test_each_message_is_what_the_protocol_says(manager: Manager) -> None:
    """On a path and on an abstract address; a status that did not change is not said again."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address})
    before = time.monotonic_ns() // 1000

    notifier.ready()
    notifier.status("1 bundle; healthy")
    notifier.status("1 bundle; healthy")
    notifier.alive()
    notifier.stopping()
    notifier.reloading()
    notifier.close()

    *said, reloading = manager.heard()
    assert said == ["READY=1", "STATUS=1 bundle; healthy", "WATCHDOG=1", "STOPPING=1"]
    name, stamp = reloading.split("\nMONOTONIC_USEC=")
    assert name == "RELOADING=1"
    assert before <= int(stamp) <= time.monotonic_ns() // 1000


async def test_more_time_is_asked_for_while_something_takes_long(manager: Manager) -> None:
    """At once, and not after it."""
    notifier = Notifier(manager.address)

    async with notifier.extending():
        await asyncio.sleep(0)
        assert manager.heard() == ["EXTEND_TIMEOUT_USEC=30000000"]
    await asyncio.sleep(0)

    notifier.close()
    assert manager.heard() == []


def test_what_is_for_the_agent_is_not_for_its_children(manager: Manager) -> None:
    """A hook or a worker that had the variables could say that the agent stops."""
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1", "HOME": "/h"}

    Notifier.from_environment(environ).close()

    assert environ == {"HOME": "/h"}


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("5000000", None, 5.0),
        ("5000000", "own", 5.0),
        ("5000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        ("-5", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_ours_when_its_pid_is(usec: str | None, pid: str | None, seconds: float | None) -> None:
    """Or when it names none; a time that is none is no watchdog."""
    given = {"WATCHDOG_USEC": usec, "WATCHDOG_PID": str(os.getpid()) if pid == "own" else pid}

    notifier = Notifier.from_environment({name: value for name, value in given.items() if value is not None})

    assert notifier.watchdog_s == seconds


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1"])
def test_without_an_address_nothing_is_said(address: str) -> None:
    """An agent in a terminal has nobody to tell."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})

    notifier.ready()

    assert not notifier.is_heard


def test_a_manager_that_is_gone_costs_a_line_in_the_log(short_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The agent goes on; its line names the message that was not delivered."""
    notifier = Notifier(str(short_tmp / "nobody"))

    notifier.ready()

    notifier.close()
    assert "service_manager.not_told" in capsys.readouterr().out


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Part:
    """A part that answers, is silent, or says that it is not well."""

    def __init__(self) -> None:
        self.well = True
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.asked = 0

    async def probe(self) -> bool:
        self.asked += 1
        await self.going_on.wait()
        return self.well


async def _pass(watchdog: Watchdog, clock: Clock, looks: int) -> None:
    for _ in range(looks):
        clock.now += LIMIT / 2
        watchdog.look()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_it_is_fed_twice_in_its_time_while_all_are_alive(clock: Clock) -> None:
    """At each look, for as long as they answer."""
    fed: list[float] = []
    part = Part()
    watchdog = Watchdog(lambda: fed.append(clock.now), LIMIT, {"writer": part.probe}, clock=clock)
    watchdog.look()
    await asyncio.sleep(0)

    await _pass(watchdog, clock, 20)

    assert len(fed) == 21
    assert part.asked == 21


@pytest.mark.parametrize("how", ["silent", "unwell"])
async def test_it_is_not_fed_while_a_part_is_stuck(clock: Clock, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Within twice its time nothing feeds it any more; the log names the part once; and it is fed when all are back."""
    fed: list[float] = []
    stuck, well = Part(), Part()
    watchdog = Watchdog(
        lambda: fed.append(clock.now), LIMIT, {"reader": well.probe, "writer": stuck.probe}, clock=clock
    )
    watchdog.look()
    await _pass(watchdog, clock, 2)

    if how == "silent":
        stuck.going_on.clear()
    else:
        stuck.well = False
    stuck_at = clock.now
    await _pass(watchdog, clock, 20)

    assert max(fed) < stuck_at + LIMIT + LIMIT / 2
    log = capsys.readouterr().out
    assert log.count("watchdog.starved") == 1
    assert "writer" in log
    assert "reader" not in log
    if how == "silent":
        assert stuck.asked <= 4, "one question at a time"

    stuck.well = True
    stuck.going_on.set()
    await _pass(watchdog, clock, 3)
    assert fed[-1] == clock.now


async def test_a_part_that_reports_by_itself_has_to_go_on_doing_so(clock: Clock) -> None:
    """The scheduler is alive while it calls."""
    fed: list[float] = []
    watchdog = Watchdog(lambda: fed.append(clock.now), LIMIT, {}, reporting=("scheduler",), clock=clock)
    for _ in range(4):
        watchdog.heard("scheduler")
        await _pass(watchdog, clock, 1)
    assert len(fed) == 4

    await _pass(watchdog, clock, 5)

    assert len(fed) == 4


async def test_a_part_that_cannot_be_asked_gives_no_sign_of_life(clock: Clock) -> None:
    """An error is no answer, and does not end the watchdog."""
    fed: list[float] = []

    async def broken() -> bool:
        raise OSError("no")

    watchdog = Watchdog(lambda: fed.append(clock.now), LIMIT, {"writer": broken}, clock=clock)

    await _pass(watchdog, clock, 5)

    assert len(fed) == 1


async def test_a_watchdog_that_stood_still_itself_blames_nobody(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stopped process: its parts have a whole limit from then on, and a part that is stuck is found after it."""
    fed: list[float] = []
    well, stuck = Part(), Part()
    watchdog = Watchdog(
        lambda: fed.append(clock.now),
        LIMIT,
        {"reader": well.probe, "writer": stuck.probe},
        reporting=("scheduler",),
        clock=clock,
    )
    watchdog.look()
    await asyncio.sleep(0)
    stuck.going_on.clear()

    clock.now += 100 * LIMIT
    watchdog.look()

    assert fed[-1] == clock.now
    assert "watchdog.starved" not in capsys.readouterr().out
    went_on = clock.now
    for _ in range(10):
        watchdog.heard("scheduler")
        await _pass(watchdog, clock, 1)
    assert max(fed) < went_on + LIMIT + LIMIT / 2
    assert "writer" in capsys.readouterr().out
