"""How long a runtime waits for a descriptor, next to a bare echo on the same event loop.

Each figure is of the real agent in a process of its own, over its socket, as runtimes find it. Clients ask for the
bundles of the library in random order. Saturating clients send the next request when the answer is there; paced ones
send a hundred a second each, which is more than runtimes do.
"""

import json
import random
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pumas_agent.client import AgentClient
from tests.bench.figures import Report, percentile
from tests.bench.library import write_bundles, write_library
from tests.bench.service import running_agent

SIZES = (100, 1_000, 10_000)
BUNDLES = 100
_CLOSED = 4_000
_PACED_S = 4.0
_PACE_HZ = 100.0


def run() -> Report:
    """Measure at each size of the library."""
    report = Report("lookup")
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        bundles = write_bundles(Path(folder, "bundles"), BUNDLES)
        for size in SIZES:
            library = Path(folder, f"library{size}")
            ids = write_library(library, size, bundles)
            time.sleep(2.1)  # a file changed within two seconds is judged at each look: not what is measured here
            with running_agent(library) as (agent, echo):
                _measure(report, size, ids, agent, echo)
    for figure, bar in (
        ("1 client p50", "<= 0.1"),
        ("8 paced clients p50", "<= 0.1"),
        ("p99 while all are judged", "<= 2"),
    ):
        smallest, largest = (report.figures[f"{size} models, {figure}"].value for size in (SIZES[0], SIZES[-1]))
        report.add(f"{figure}: {SIZES[-1]} models less {SIZES[0]}", largest - smallest, "ms", bar)
    return report


def _measure(report: Report, size: int, ids: list[str], agent: Path, echo: Path) -> None:
    frames = [request_frame(model_id) for model_id in ids]
    name = f"{size} models"

    ours, rate = closed(agent, frames, 1)
    theirs, echo_rate = closed(echo, frames, 1)
    report.add(f"{name}, 1 client p50", percentile(ours, 0.5), "ms")
    report.add(f"{name}, 1 client p50 above echo", percentile(ours, 0.5) - percentile(theirs, 0.5), "ms", "<= 0.2")
    report.add(f"{name}, 1 client p99", percentile(ours, 0.99), "ms")
    report.add(f"{name}, 1 client rate", rate, "1/s")
    report.add(f"{name}, 1 client echo rate", echo_rate, "1/s")

    ours = paced(agent, frames, 8)
    theirs = paced(echo, frames, 8)
    report.add(f"{name}, 8 paced clients p50", percentile(ours, 0.5), "ms")
    above = percentile(ours, 0.5) - percentile(theirs, 0.5)
    report.add(f"{name}, 8 paced clients p50 above echo", above, "ms", "<= 0.2")
    ratio = percentile(ours, 0.5) / percentile(theirs, 0.5)
    report.add(f"{name}, 8 paced clients p50 / echo", ratio, "x", "<= 2")
    report.add(f"{name}, 8 paced clients p99", percentile(ours, 0.99), "ms")

    ours, rate = closed(agent, frames, 8)
    theirs, echo_rate = closed(echo, frames, 8)
    report.add(f"{name}, 8 saturating clients p50", percentile(ours, 0.5), "ms")
    report.add(f"{name}, 8 saturating clients p99", percentile(ours, 0.99), "ms")
    report.add(f"{name}, 8 saturating clients rate", rate, "1/s")
    report.add(f"{name}, 8 saturating clients echo rate", echo_rate, "1/s")
    report.add(f"{name}, 8 saturating clients rate / echo", rate / echo_rate, "x", ">= 0.5")

    with judging_all(agent) as judged:
        ours = paced(agent, frames, 8)
        theirs = paced(echo, frames, 8)
        rounds = judged()
    report.add(f"{name}, p99 while all are judged", percentile(ours, 0.99), "ms", "<= 5")
    report.add(f"{name}, echo p99 while all are judged", percentile(theirs, 0.99), "ms")
    report.add(f"{name}, times all were judged meanwhile", rounds, "", ">= 1")


class judging_all:  # noqa: N801  used like a function
    """Has every bundle judged again and again while the block runs."""

    def __init__(self, agent: Path) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._rounds = 0
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with AgentClient(self._agent, timeout=60.0) as client:
            while not self._stop.is_set():
                client.call("reconcile")
                self._rounds += 1

    def __enter__(self) -> Callable[[], int]:
        self._thread.start()
        return lambda: self._rounds

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def request_frame(model_id: str) -> bytes:
    call = {"jsonrpc": "2.0", "id": 1, "method": "resolve_model_execution_descriptor", "params": {"model_id": model_id}}
    return json.dumps(call).encode() + b"\n"


class _Client:
    """One connection that has at most one request in flight."""

    def __init__(self, path: Path, frames: list[bytes], seed: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self._frames = frames
        self._random = random.Random(seed)
        self._answer = b""
        self._sent = 0.0
        self.due = 0.0

    def send(self) -> None:
        self._answer = b""
        frame = self._random.choice(self._frames)
        self._sent = time.perf_counter()
        self.socket.sendall(frame)

    def receive(self) -> float | None:
        """Milliseconds since the request, when its answer is whole."""
        self._answer += self.socket.recv(65536)
        if not self._answer.endswith(b"\n"):
            return None
        waited = (time.perf_counter() - self._sent) * 1000
        if b'"error"' in self._answer[:200]:
            raise RuntimeError(self._answer.decode())
        return waited


def closed(path: Path, frames: list[bytes], count: int) -> tuple[list[float], float]:
    """Latencies in milliseconds and answers a second of `count` clients that never wait."""
    clients = [_Client(path, frames, seed) for seed in range(count)]
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        started = time.perf_counter()
        while len(latencies) < _CLOSED * count:
            for key, _ in selector.select():
                if (waited := key.data.receive()) is not None:
                    latencies.append(waited)
                    key.data.send()
        rate = len(latencies) / (time.perf_counter() - started)
    for client in clients:
        client.socket.close()
    return latencies, rate


def paced(path: Path, frames: list[bytes], count: int, hertz: float = _PACE_HZ) -> list[float]:
    """Latencies in milliseconds of `count` clients that each send so many requests a second."""
    clients = [_Client(path, frames, seed) for seed in range(count)]
    latencies: list[float] = []
    start = time.perf_counter()
    for number, client in enumerate(clients):
        client.due = start + number / (hertz * count)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        idle = set(clients)
        while (now := time.perf_counter()) < start + _PACED_S or len(idle) < count:
            for client in [client for client in idle if client.due <= now < start + _PACED_S]:
                idle.discard(client)
                client.due += 1 / hertz
                client.send()
            wait = min((client.due for client in idle), default=now + 0.01) - time.perf_counter()
            for key, _ in selector.select(max(0.0, min(wait, 0.01))):
                if (waited := key.data.receive()) is not None:
                    latencies.append(waited)
                    idle.add(key.data)
    for client in clients:
        client.socket.close()
    return latencies
