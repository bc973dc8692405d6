"""What an agent costs that nobody asks: processor, wake-ups, memory, descriptors, processes, at 1,000 bundles."""

import tempfile
import time
from pathlib import Path

import psutil

from pumas_agent.client import AgentClient
from tests.bench.figures import Report
from tests.bench.library import write_bundles, write_library
from tests.bench.library_bench import settled, started

BUNDLES = 1_000
IDLE_S = 60.0
_WORKERS_GONE_S = 90.0


def run() -> Report:
    """Measure one agent."""
    report = Report("idle")
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as name:
        folder = Path(name)
        write_library(folder / "library", BUNDLES, write_bundles(folder / "bundles", BUNDLES))
        with started(folder / "library") as (client, _):
            settled(client)
            process = _process(client)
            waited = _until_alone(process)
            before, woken = _processor(process), _wake_ups(process)
            time.sleep(IDLE_S)
            busy, wakes = _processor(process) - before, _wake_ups(process) - woken
            report.add("processes it has started and not ended", len(process.children(recursive=True)), "", "<= 0")
            report.add("until the last of them ended", waited, "s")
            report.add("processor time", 100 * busy / IDLE_S, "%", "< 0.1")
            report.add("wake-ups of all threads", wakes / IDLE_S, "1/s", "<= 2")
            report.add("resident memory", process.memory_info().rss / 2**20, "MiB", "<= 80")
            report.add("threads", process.num_threads(), "")
            report.add("file descriptors", process.num_fds(), "")
    return report


def _process(client: AgentClient) -> psutil.Process:
    pid = client.call("agent.status")["pid"]
    client.close()  # a connection is not idle either
    return psutil.Process(pid)


def _until_alone(process: psutil.Process) -> float:
    begun = time.monotonic()
    while process.children(recursive=True) and time.monotonic() < begun + _WORKERS_GONE_S:
        time.sleep(0.5)
    return time.monotonic() - begun


def _processor(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _wake_ups(process: psutil.Process) -> int:
    """How often a thread went to sleep, and so had been woken."""
    total = 0
    for thread in process.threads():
        status = Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text()
        total += int(status.split("voluntary_ctxt_switches:")[1].split()[0])
    return total
