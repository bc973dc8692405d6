"""One way of watching in a process of its own: ours, stock watchdog, or a raw reader. `python -m tests.bench.watching`.

Watches the roots below a folder, then answers commands on standard input, a JSON line each, until it is closed.
"""

import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil
import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from pumas_agent.reconcile import DirtySet
from pumas_agent.watching import WatchdogWatcher
from pumas_agent.watching.folders import EVENT_FILTER
from pumas_agent.watching.kernel import Inotify

SENTINEL = "sentinel"
_DEADLINE_S = 120.0


class Way(Protocol):
    """A way of watching."""

    def watch(self, roots: list[Path], marked: Callable[[str], None]) -> None:
        """Watch all the roots, each with what is below it."""


class _Ours:
    def watch(self, roots: list[Path], marked: Callable[[str], None]) -> None:
        self.watcher = WatchdogWatcher(lambda scope, _reason: marked(scope))
        self.watcher.start()
        for root in roots:
            self.watcher.watch_bundle(root.name, root)


class _Handler(FileSystemEventHandler):
    def __init__(self, scope: str, marked: Callable[[str], None]) -> None:
        self._scope, self._marked = scope, marked

    def dispatch(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - that there is one is all that counts
        self._marked(self._scope)


class _Stock:
    def watch(self, roots: list[Path], marked: Callable[[str], None]) -> None:
        observer = Observer()
        observer.start()
        for root in roots:
            observer.schedule(_Handler(root.name, marked), str(root), recursive=True, event_filter=list(EVENT_FILTER))


class _Raw:
    """The limit: reads, and finds the root of each event."""

    def watch(self, roots: list[Path], marked: Callable[[str], None]) -> None:
        self._inotify = Inotify()
        self._names: dict[int, str] = {}
        for root in roots:
            for folder, _, _ in os.walk(root):
                self._names[self._inotify.add(folder)] = root.name
        threading.Thread(target=self._read, args=(marked,), daemon=True).start()

    def _read(self, marked: Callable[[str], None]) -> None:
        while True:
            select.select([self._inotify.descriptor], [], [])
            for event in self._inotify.read():
                marked(self._names[event[0]])


WAYS: dict[str, Callable[[], Way]] = {"ours": _Ours, "stock": _Stock, "raw": _Raw}


class Marks:
    """Where marks go: the dirty set of the agent, and the clock."""

    def __init__(self) -> None:
        self._dirty = DirtySet(0.3, 3.0)
        self._sentinel = threading.Event()
        self.last: dict[str, float] = {}

    def __call__(self, scope: str) -> None:
        self._dirty.mark(scope, "event")
        self.last[scope] = time.monotonic()
        if scope == SENTINEL:
            self._sentinel.set()

    def begin(self) -> None:
        """Nothing was marked yet."""
        self._sentinel.clear()

    def await_sentinel(self) -> float:
        """Monotonic seconds at which the sentinel's event was marked."""
        if not self._sentinel.wait(_DEADLINE_S):
            raise TimeoutError("the sentinel was not seen")
        self._sentinel.clear()
        return self.last[SENTINEL]


def main() -> None:
    """Watch, say what it cost, and answer."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    way, folder = WAYS[sys.argv[1]](), Path(sys.argv[2])
    marks = Marks()
    process = psutil.Process()
    before = process.memory_info().rss
    descriptors, threads = process.num_fds(), process.num_threads()
    roots = sorted(path for path in folder.iterdir() if path.is_dir())
    started = time.perf_counter()
    way.watch(roots, marks)
    marks.begin()  # setting a watch marks its root
    _say(
        add_s=time.perf_counter() - started,
        threads=process.num_threads() - threads,
        descriptors=process.num_fds() - descriptors,
        rss=process.memory_info().rss - before,
    )
    for line in sys.stdin:
        _answer(json.loads(line), marks, process)


def _answer(asked: dict[str, Any], marks: Marks, process: psutil.Process) -> None:
    match asked["do"]:
        case "cpu":
            _say(cpu_s=sum(process.cpu_times()[:2]), rss=process.memory_info().rss)
        case "sentinel":
            _say(at=marks.await_sentinel())
        case "last":
            _say(at=marks.last.get(asked["scope"], 0.0))


def _say(**told: float) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
