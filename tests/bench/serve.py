"""Answers a second and how long they take, with 1, 8 and 64 clients, while the agent is idle and while it is not.

Beside a bare echo on the same event loop. Under way meanwhile: a full reconcile of 1,000 bundles again and again, a
copy of a large file into the library, and a storm of events in one bundle.
"""

import json
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import PumasError
from tests.bench.figures import Report, percentile
from tests.bench.library import write_bundles, write_library
from tests.bench.lookup import closed, judging_all, paced, request_frame
from tests.bench.service import running_agent

BUNDLES = 1_000
CLIENTS = (1, 8, 64)
_EVERY_2_MS_HZ = 500.0
_BIG = 8 * 1024**3
_STORM = """
import itertools, pathlib, sys
for number in itertools.count():
    path = pathlib.Path(sys.argv[1], f"noise{number % 100}")
    path.touch()
    path.unlink()
"""


def run() -> Report:
    """Measure one library."""
    report = Report("serve")
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as name:
        folder = Path(name)
        bundles = write_bundles(folder / "bundles", BUNDLES)
        ids = write_library(folder / "library", BUNDLES, bundles)
        time.sleep(2.1)  # a file changed within two seconds is judged at each look: not what is measured here
        with running_agent(folder / "library") as (agent, echo):
            frames = [request_frame(model_id) for model_id in ids[1:]]  # the first has the storm, and is refused in it
            for count in CLIENTS:
                _saturated(report, agent, echo, frames, count)
            for what, storm in (
                ("idle", _nothing),
                ("full reconcile", lambda: judging_all(agent)),
                ("import", lambda: _importing(agent, folder / "big.safetensors")),
                ("event storm", lambda: _storm(bundles[0])),
            ):
                with storm():
                    ours = paced(agent, frames, 8, _EVERY_2_MS_HZ)
                    theirs = paced(echo, frames, 8, _EVERY_2_MS_HZ)
                bar = "<= 2" if what == "full reconcile" else None
                report.add(f"{what}: p99 of 8 clients that ask every 2 ms", percentile(ours, 0.99), "ms", bar)
                report.add(f"{what}: p99 of the echo then", percentile(theirs, 0.99), "ms")
    return report


def _saturated(report: Report, agent: Path, echo: Path, frames: list[bytes], count: int) -> None:
    if count >= 64:  # as many as the agent takes: one place is kept by the bench itself
        count -= 1
    ours, rate = closed(agent, frames, count)
    theirs, echo_rate = closed(echo, frames, count)
    report.add(f"{count} saturating clients p50", percentile(ours, 0.5), "ms")
    report.add(f"{count} saturating clients p99", percentile(ours, 0.99), "ms")
    report.add(f"{count} saturating clients echo p99", percentile(theirs, 0.99), "ms")
    report.add(f"{count} saturating clients rate", rate, "1/s")
    report.add(f"{count} saturating clients rate / echo", rate / echo_rate, "x", ">= 0.5")


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _importing(agent: Path, source: Path) -> AbstractContextManager[None]:
    header = json.dumps({"x": {"dtype": "U8", "shape": [_BIG], "data_offsets": [0, _BIG]}}).encode()
    with source.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + _BIG)

    def work(stop: threading.Event) -> None:
        with AgentClient(agent, timeout=600.0) as client:
            while not stop.is_set():
                try:
                    result = client.call(
                        "import_model", path=str(source), family="bench", official_name="big", model_type="llm"
                    )
                except PumasError:
                    return
                client.call("delete_model_with_cascade", model_id=result["model_id"], keep_in_trash=False)

    return _beside(work)


@contextmanager
def _storm(bundle: Path) -> Iterator[None]:
    """From a process of its own, as it would come; a thread here would slow the clients."""
    process = subprocess.Popen([sys.executable, "-c", _STORM, bundle])
    try:
        yield
    finally:
        process.kill()
        process.wait()
