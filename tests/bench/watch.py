"""What watching a thousand roots costs and how fast it is, beside stock watchdog and a raw inotify reader.

Each way of watching runs in a process of its own, one after the other, over the same folders. How fast events are
handled is measured on a full queue: the process is stopped, the events are made, and it goes on.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AssetNotValid
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from tests.bench.figures import Report, percentile
from tests.bench.library import write_bundles, write_library
from tests.bench.service import running_agent
from tests.bench.watching import SENTINEL, WAYS

ROOTS, FOLDERS = 1_000, 10
FILES = ("file", "other")
_BURST, _BURSTS = 12_000, 4
"""Events in a burst: fewer than the kernel keeps (fs.inotify.max_queued_events, 16,384)."""
_PACED = 400
_IDLE_S = 20.0
_CHANGES = 60
_STORM = 100_000


def run() -> Report:
    """Measure."""
    report = Report("watch")
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        roots = Path(folder, "roots")
        for number in range(ROOTS - 1):
            _make_root(roots / f"root{number:04}")
        _make_root(roots / SENTINEL)
        rates = {way: _measure(report, way, roots) for way in WAYS}
    report.add("events a second, ours / stock", rates["ours"] / rates["stock"], "x", ">= 5")
    report.add("events a second, ours / raw", rates["ours"] / rates["raw"], "x")
    _alerts(report)
    return report


def _make_root(root: Path) -> None:
    for number in range(FOLDERS - 1):
        (root / f"folder{number}").mkdir(parents=True)
        for file in FILES:
            (root / f"folder{number}" / file).touch()


class _Watching:
    """A process that watches."""

    def __init__(self, way: str, roots: Path) -> None:
        command = [sys.executable, "-m", "tests.bench.watching", way, str(roots)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.cost = self._read()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        told: dict[str, float] = json.loads(self.process.stdout.readline())
        return told

    def ask(self, do: str, **more: Any) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def _measure(report: Report, way: str, roots: Path) -> float:
    """Costs, and how many events a second are handled."""
    watching = _Watching(way, roots)
    ours = way == "ours"
    try:
        cost = watching.cost
        report.add(f"{way}: threads", cost["threads"], "", "<= 3" if ours else None)
        report.add(f"{way}: descriptors", cost["descriptors"], "", "<= 3" if ours else None)
        report.add(f"{way}: memory", cost["rss"] / 1e6, "MB", "<= 10" if ours else None)
        report.add(f"{way}: time to add {ROOTS} roots", cost["add_s"] * 1000, "ms")
        rate = _rate(watching, roots)
        report.add(f"{way}: events a second", rate, "1/s")
        latencies = _latencies(watching, roots)
        report.add(f"{way}: event to dirty, p50", percentile(latencies, 0.5), "ms")
        report.add(f"{way}: event to dirty, p99", percentile(latencies, 0.99), "ms")
        before = watching.ask("cpu")["cpu_s"]
        time.sleep(_IDLE_S)
        used = (watching.ask("cpu")["cpu_s"] - before) / _IDLE_S * 100
        report.add(f"{way}: idle", used, "% of a cpu", "<= 0.1" if ours else None)
    finally:
        watching.close()
    return rate


def _rate(watching: _Watching, roots: Path) -> float:
    # No file twice in a burst, and no two of a root in a row: nothing is there to be merged.
    files = [
        root / f"folder{number}" / file
        for number in range(FOLDERS - 1)
        for file in FILES
        for root in sorted(roots.iterdir())
        if root.name != SENTINEL
    ][:_BURST]
    sentinel = roots / SENTINEL / "folder0" / "file"
    took = 0.0
    for _ in range(_BURSTS):
        watching.process.send_signal(signal.SIGSTOP)
        for number in range(_BURST):
            os.utime(files[number])
        os.utime(sentinel)
        started = time.monotonic()
        watching.process.send_signal(signal.SIGCONT)
        took += watching.ask("sentinel")["at"] - started
    return _BURST * _BURSTS / took


def _latencies(watching: _Watching, roots: Path) -> list[float]:
    sentinel = roots / SENTINEL / "folder1" / "file"
    found = []
    for _ in range(_PACED):
        made = time.monotonic()
        os.utime(sentinel)
        found.append((watching.ask("sentinel")["at"] - made) * 1000)
        time.sleep(random.uniform(0.0, 0.03))
    return found


def _alerts(report: Report) -> None:
    """From a change to what people and runtimes hear, in a real agent."""
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        bundles = write_bundles(Path(folder, "bundles"), 20)
        library = Path(folder, "library")
        ids = write_library(library, len(bundles), bundles)
        time.sleep(2.1)  # racy verdicts are judged at each lookup: not what is measured here
        with running_agent(library) as (socket, _), AgentClient(socket) as client:
            quiet_ms = 300.0
            alerts, refusals = [], []
            for number in range(_CHANGES):
                at = number % len(bundles)
                refused, alerted = _break(client, ids[at], bundles[at])
                refusals.append(refused)
                alerts.append(alerted)
            report.add("change to refusal, p50", percentile(refusals, 0.5), "ms")
            report.add("change to refusal, p99", percentile(refusals, 0.99), "ms")
            report.add("change to alert, p50", percentile(alerts, 0.5), "ms")
            report.add("change to alert, p99", percentile(alerts, 0.99), "ms", f"<= {quiet_ms + 100:g}")
            _storm(report, client, ids[0], bundles[0])


def _break(client: AgentClient, model_id: str, bundle: Path) -> tuple[float, float]:
    index = bundle / "model_index.json"
    aside = bundle.with_name("aside")
    index.rename(aside)
    started = time.monotonic()
    alerted = None
    while alerted is None:
        if any(alert["model_id"] == model_id for alert in client.call("agent.health")["alerts"]):
            alerted = (time.monotonic() - started) * 1000
        time.sleep(0.001)
    try:
        client.descriptor(model_id)
        raise RuntimeError("a broken bundle was given")
    except AssetNotValid:
        pass
    aside.rename(index)
    while client.call("agent.health")["alerts"]:
        time.sleep(0.001)
    os.truncate(index, index.stat().st_size // 2)
    started = time.monotonic()
    try:
        client.descriptor(model_id)
        raise RuntimeError("a broken bundle was given")
    except AssetNotValid:
        refused = (time.monotonic() - started) * 1000
    write_stable_diffusion_bundle(bundle, seed=int(bundle.name[-3:]))
    while client.call("agent.health")["alerts"]:
        time.sleep(0.001)
    return refused, alerted


def _storm(report: Report, client: AgentClient, model_id: str, bundle: Path) -> None:
    """More events than the kernel keeps; the last one breaks the bundle."""
    before = client.call("agent.status")
    file = bundle / "unet" / "storm"
    started = time.monotonic()
    for number in range(_STORM // 4):  # created, written, closed, deleted
        file.write_bytes(b"%d" % number)
        file.unlink()
    (bundle / "model_index.json").unlink()
    report.add(f"a storm of {_STORM} events, made in", time.monotonic() - started, "s")
    while not any(alert["model_id"] == model_id for alert in client.call("agent.health")["alerts"]):
        time.sleep(0.01)
    while (after := client.call("agent.status"))["queue"]:
        time.sleep(0.01)
    report.add("storm: memory grown by", (after["rss_bytes"] - before["rss_bytes"]) / 2**20, "MiB", "<= 20")
    report.add("storm: queue overflows", after["watch_overflows"] - before["watch_overflows"], "")
    state = client.call("get_model", model_id=model_id)["validation_state"]
    report.add("storm: the final state is true", state == "degraded", "", "== 1")
