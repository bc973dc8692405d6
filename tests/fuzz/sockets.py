"""Hostile clients of a running agent: whatever they send, or leave unread, the others are answered and memory is bound.

One seed is one attack. Beside it a well-behaved client asks all the time, on a connection that it had before: each of
its answers is right, and comes in time. Plain sockets: nothing of our client is between the attack and the agent.
"""

import json
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pumas_agent.client import AgentClient

ANSWER_S = 5.0
"""In which the well-behaved client has its answer, on a machine that does other things too."""
MEMORY_BYTES = 160 << 20
"""What the agent may come to hold on top: 64 connections with a frame and a buffer of answers each, twice over."""
_END_S = 30.0
_METHODS = (
    "get_library_status",
    "list_models",
    "search_models",
    "get_model",
    "resolve_model_execution_descriptor",
    "agent.hello",
    "agent.health",
    "agent.cancel",
    "no.such.method",
)
_PARAMS: tuple[object, ...] = (
    {},
    {"limit": 1},
    {"query": "a"},
    {"model_id": "a/b/c"},
    {"x": 1},
    [],
    7,
    None,
    {"limit": -1},
)


def check(seed: int, path: Path, pid: int) -> str:
    """One attack on the agent that listens at `path`; what was done.

    Raises:
        AssertionError: another client was kept waiting or told something wrong, an answer was none, or memory grew.
    """
    rng = random.Random(seed)
    attack = ATTACKS[seed % len(ATTACKS)]
    before = resident(pid)
    with _Bystander(path) as bystander:
        attack(rng, path)
        bystander.must_be_answered()
    _until_served(path)
    grown = resident(pid) - before
    assert grown < MEMORY_BYTES, f"{attack.__name__}: {grown / 2**20:.0f} MiB more"
    return f"{attack.__name__}: {bystander.asked} answers beside it, {bystander.slowest:.3f} s at most"


def resident(pid: int) -> int:
    """Bytes that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def highest(pid: int) -> int:
    """Bytes that a process held at most."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# --- attacks ---------------------------------------------------------------------------------------------------------


def malformed(rng: random.Random, path: Path) -> None:
    """Lines that are no requests, or nearly: each is answered, with an error or not, and the connection stays."""
    with _connected(path) as connection:
        for _ in range(200):
            line = _damaged(rng)
            answer = json.loads(_ask(connection, line + b"\n"))
            assert ("error" in answer) != ("result" in answer), answer
            if "error" in answer:
                assert answer["error"]["data"]["code"] != "internal_error", (line[:200], answer)


def huge(rng: random.Random, path: Path) -> None:
    """A line without an end, and lines that are small to send and large to parse."""
    with _connected(path) as connection, suppress(ConnectionError):
        for _ in range(rng.randrange(8, 40)):
            connection.sendall(rng.choice((b"x", b"[", b'{"', b"\0")) * (1 << 18))
    for body in (
        b"[" * 500_000,
        b'{"jsonrpc":"2.0","id":1,"method":"list_models","params":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"jsonrpc":"2.0","id":' + b"9" * 900_000 + b',"method":"list_models"}',
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 900_000 + b'"}',
        b'{"jsonrpc":"2.0","id":"' + b"i" * 900_000 + b'","method":"get_library_status"}',
        b'{"jsonrpc":"2.0","id":1,"method":"list_models","params":{'
        + b",".join(b'"p%d":0' % number for number in range(60_000))
        + b"}}",
    ):
        with _connected(path) as connection, suppress(ConnectionError):
            answer = json.loads(_ask(connection, body + b"\n"))
            assert answer.get("error", {}).get("data", {}).get("code") != "internal_error", (body[:60], answer)


def slow(rng: random.Random, path: Path) -> None:
    """Many that begin a line and go on by a byte now and then."""
    with _Crowd(path, rng.randrange(10, 50)) as crowd:
        for _ in range(30):
            for connection in crowd.connections:
                with suppress(OSError):
                    connection.send(rng.choice((b"{", b'"', b" ", b"a")))
            time.sleep(0.005)  # the pace of these clients, not a wait for anything


def half_closed(rng: random.Random, path: Path) -> None:
    """Requests, end of file: every answer, end of file."""
    count = rng.randrange(1, 300)
    with _connected(path) as connection:
        answers = _pipelined(connection, [_request(rng, number) for number in range(count)], close=True)
    assert sorted(answer["id"] for answer in answers) == list(range(count))


def many_connections(rng: random.Random, path: Path) -> None:
    """Thousands, a part of them at the same time: served, or refused with a reason, or made to wait by the kernel."""
    for _ in range(10):
        with _Crowd(path, rng.randrange(100, 300)) as crowd:
            for connection in crowd.connections:
                with suppress(OSError):
                    connection.send(_request(rng, 1))
            ready, _, _ = select.select(crowd.connections, [], [], 0.05)
            for connection in ready:
                with suppress(OSError):
                    line = connection.recv(1 << 16).partition(b"\n")[0]
                    assert not line or b'"jsonrpc"' in line, line


def many_in_flight(rng: random.Random, path: Path) -> None:
    """Thousands of requests on one connection: each is answered once."""
    count = rng.randrange(2000, 4000)
    with _connected(path) as connection:
        answers = _pipelined(connection, [_request(rng, number) for number in range(count)], close=False)
    assert sorted(answer["id"] for answer in answers) == list(range(count))


def greedy(rng: random.Random, path: Path) -> None:
    """Requests, and no answer is read."""
    with _Crowd(path, 20) as crowd:
        lines = b"".join(_request(rng, number) for number in range(500))
        for connection in crowd.connections:
            with suppress(OSError):
                while connection.send(lines) == len(lines):
                    pass


def vanishing(rng: random.Random, path: Path) -> None:
    """Clients that go in the middle of a line, of a request, or of an answer."""
    for _ in range(300):
        with suppress(OSError), _connected(path) as connection:
            line = b"".join(_request(rng, number) for number in range(rng.randrange(1, 5)))
            connection.sendall(line[: rng.randrange(len(line) + 1)])
            if rng.random() < 0.3:
                connection.shutdown(rng.choice((socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)))


ATTACKS: tuple[Callable[[random.Random, Path], None], ...] = (
    malformed,
    huge,
    slow,
    half_closed,
    many_connections,
    many_in_flight,
    greedy,
    vanishing,
)


# --- what they are made of -------------------------------------------------------------------------------------------


def _request(rng: random.Random, number: int) -> bytes:
    body = {"jsonrpc": "2.0", "id": number, "method": rng.choice(_METHODS), "params": rng.choice(_PARAMS)}
    return json.dumps(body).encode() + b"\n"


def _damaged(rng: random.Random) -> bytes:
    """A line that is answered: it is not empty, and no notification."""
    line = bytearray(_request(rng, rng.randrange(1000)).strip())
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(line))
        match rng.randrange(4):
            case 0:
                line[at] = rng.randrange(256)
            case 1:
                del line[at : at + rng.randrange(1, 9)]
            case 2:
                line[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _:
                line[at:at] = rng.choice((b"\\ud800", b"1e999", b"NaN", b"[[[", b"\xff\xfe", b"null", b"-0", b'"id":'))
        if not line:
            line += b"{"
    clean = bytes(line).replace(b"\n", b" ").replace(b"\r", b" ").strip() or b"{"
    return b"?" if _is_notification(clean) else clean


def _is_notification(line: bytes) -> bool:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and "id" not in body


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_END_S)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _ask(connection: socket.socket, line: bytes) -> bytes:
    connection.sendall(line)
    answer = bytearray()
    while not answer.endswith(b"\n"):
        part = connection.recv(1 << 18)
        if not part:
            raise ConnectionResetError("closed without an answer")
        answer += part
    return bytes(answer)


def _pipelined(connection: socket.socket, lines: list[bytes], *, close: bool) -> list[dict[str, Any]]:
    """Send all, while what is answered is read."""

    def send() -> None:
        connection.sendall(b"".join(lines))
        if close:
            connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    received = bytearray()
    while received.count(b"\n") < len(lines) or close:
        part = connection.recv(1 << 18)
        if not part:
            break
        received += part
    sender.join(_END_S)
    return [json.loads(line) for line in received.splitlines()]


class _Crowd:
    """As many connections as can be had at once, up to a number."""

    def __init__(self, path: Path, count: int) -> None:
        self.connections: list[socket.socket] = []
        for _ in range(count):
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            try:
                connection.connect(str(path))
            except OSError:  # the queue of the kernel is full: it is made to wait, and does not
                connection.close()
                continue
            self.connections.append(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()


class _Bystander:
    """Asks all the time, on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.asked = 0
        self.slowest = 0.0
        self._client = AgentClient(path, timeout=_END_S)
        self._fault: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._client.call("get_library_status")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_END_S)
        self._client.close()

    def _ask(self) -> None:
        try:
            while not self._over.wait(0.002):
                started = time.monotonic()
                assert self._client.call("get_library_status")["success"] is True
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.asked += 1
        except BaseException as fault:  # noqa: BLE001 - told by `must_be_answered`, on the thread that is listened to
            self._fault = fault

    def must_be_answered(self) -> None:
        """Once more, and as quickly as ever."""
        asked, ends = self.asked, time.monotonic() + ANSWER_S
        while self.asked == asked and self._fault is None and time.monotonic() < ends:
            self._over.wait(0.001)
        assert self._fault is None, f"another client was told {self._fault!r}"
        assert self.asked > asked, f"another client had no answer for {ANSWER_S:g} s"
        assert self.slowest < ANSWER_S, f"another client waited {self.slowest:.1f} s"


def _until_served(path: Path) -> None:
    """What the attack leaves behind is cleared away in time: a new client is served."""
    ends = time.monotonic() + _END_S
    while True:
        try:
            with _connected(path) as connection:
                answer = json.loads(_ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"get_library_status"}\n'))
            if "result" in answer:
                return
        except (OSError, ValueError):
            answer = {}
        assert time.monotonic() < ends, f"no new client is served: {answer}"
