"""Libraries of 100, 1,000 and 10,000 models: how soon an agent answers, and how long lists, searches and looks take.

Measured over the socket, as a front end sees it. A fifth of the searches are for words that nearly every model has.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AgentNotRunning, AgentUnreachable
from tests.bench.figures import Report, percentile
from tests.bench.importing import measure_import
from tests.bench.library import write_bundles, write_library

SIZES = (100, 1_000, 10_000)
ROUNDS = 200
BUNDLES = 10
TEXTS = (
    "Model 77", "model00042", "family07", "tag3 family01", "llm/family03/model00003", "odel 4", "c++", "模型",
    "nothing at all", "external", "99", "bench", "gguf", "a:b", "Model 5*", "o'x", "fam", "model000", "%", "text",
)  # fmt: skip
"""What people type, and what they mistype; `bench` is in every model, `Model`, `fam` nearly."""


def run() -> Report:
    """Measure each size on a library of its own."""
    report = Report("library")
    one_model: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as name:
        bundles = write_bundles(Path(name, "bundles"), BUNDLES)
        for models in SIZES:
            root = Path(name, f"library{models}")
            ids = write_library(root, models, bundles)
            with started(root) as (client, first):
                report.add(f"{models}: first start, to the first answer", first, "s")
                settled(client)
            with started(root) as (client, start):
                used = sum(psutil.Process(client.call("agent.status")["pid"]).cpu_times()[:2])
                report.add(f"{models}: processor time until then", used, "s")
                report.add(f"{models}: start to the first answer", start, "s", "<= 1" if models == SIZES[-1] else None)
                settled(client)
                one_model[models] = _measure(report, client, models, ids[0])
    ratio = one_model[SIZES[-1]] / one_model[SIZES[0]]
    report.add("reconcile of one model, 10,000 to 100", ratio, "times", "<= 2")
    measure_import(report)
    return report


def _measure(report: Report, client: AgentClient, models: int, bundle: str) -> float:
    largest = models == SIZES[-1]

    def times(what: str, call: Callable[[int], Any], *, rounds: int = ROUNDS, bar: str | None = None) -> float:
        taken = []
        for number in range(rounds):
            started = time.perf_counter()
            call(number)
            taken.append((time.perf_counter() - started) * 1000)
        report.add(f"{models}: {what} p50", percentile(taken, 0.5), "ms")
        report.add(f"{models}: {what} p95", percentile(taken, 0.95), "ms", bar if largest else None)
        return percentile(taken, 0.5)

    times("list page", lambda number: client.call("list_models", limit=100, offset=number % models))
    times("filtered list page", lambda number: client.call("list_models", tags=[f"tag{number % 10}"]))
    times("search", lambda number: client.call("search_models", query=TEXTS[number % len(TEXTS)]), bar="< 10")
    times("search of what every model has", lambda _: client.call("search_models", query="bench"))
    times("selector snapshot", lambda number: client.call("model_library_selector_snapshot", offset=number % models))
    times("explain", lambda _: client.call("explain_model", model_id=bundle))
    times(
        "full no-change reconcile",
        lambda _: client.call("reconcile"),
        rounds=5,
        bar="<= 2000",
    )
    one = times(
        "reconcile of one model",
        lambda number: client.call("reconcile", model_id=f"llm/family{number % 50:02}/model{number % 50:05}"),
        rounds=100,
    )
    rss = client.call("agent.status")["rss_bytes"] / 2**20
    report.add(f"{models}: resident memory", rss, "MiB", "<= 80" if largest else None)
    times("verify", lambda _: client.call("verify"), rounds=2)
    return one


@contextmanager
def started(library: Path) -> Iterator[tuple[AgentClient, float]]:
    """An agent as it is started by a user, and the seconds until it answered for the first time."""
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        socket = Path(folder, "agent.sock")
        arguments = ["--library", str(library), "--socket", str(socket), "run", "--log-level", "error"]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "pumas_agent", *arguments], stdout=subprocess.DEVNULL, env={**os.environ}
        )
        try:
            with AgentClient(socket, timeout=120) as client:
                while not _answers(client):
                    if process.poll() is not None:
                        raise RuntimeError("the agent did not start")
                    time.sleep(0.002)
                yield client, time.perf_counter() - started
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _answers(client: AgentClient) -> bool:
    try:
        client.call("list_models", limit=1)
    except (AgentNotRunning, AgentUnreachable):
        return False
    return True


def settled(client: AgentClient) -> None:
    client.call("reconcile")
    while client.call("agent.status")["queue"]:
        time.sleep(0.02)
