"""What delivers events on this machine. Owns the choice and the life of one observer; never what is watched with it."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Thread

import structlog
from watchdog.observers.api import BaseObserver, EventEmitter, ObservedWatch
from watchdog.observers.polling import PollingObserver

from pumas_agent.watching.watcher import WatchBackend

log = structlog.get_logger(__name__)

_ON_LINUX = sys.platform == "linux"
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Backend:
    """A started observer.

    Attributes:
        name: `inotify`, `fsevents` or `polling`.
        observer: schedules and dispatches.
        reader: the thread that all roots depend on, where there is one beside the observer's own.
        blind: folders that the observer could not watch and did not say so, with the reason.
    """

    name: str
    observer: BaseObserver
    reader: Thread | None = None
    blind: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """The threads that every root depends on run."""
        return self.observer.is_alive() and (self.reader is None or self.reader.is_alive())

    def delivering(self) -> set[ObservedWatch]:
        """The watches whose emitter still runs: one ends for good when its folder is deleted."""
        return {emitter.watch for emitter in self.observer.emitters if _runs(emitter)}

    def blind_below(self, root: str) -> str | None:
        """Why events do not cover all of `root`; None when they do."""
        if not self.blind:
            return None
        # the reader's thread adds to it: a copy is taken in one step
        for path, reason in dict(self.blind).items():
            if path == root or path.startswith(root + "/"):
                return f"{path}: {reason}"
        return None

    def stop(self) -> None:
        """End the threads. Never raises: what is broken is being left, and must not keep us from a new one."""
        try:
            self.observer.stop()
        except Exception:
            log.exception("watch.stop_failed", backend=self.name)
        self.observer.join(_STOP_S)


def _runs(emitter: EventEmitter) -> bool:
    return emitter.is_alive() and emitter.should_keep_running()


def open_backend(wanted: WatchBackend, poll_interval_s: float, on_lost: Callable[[str], None]) -> Backend:
    """A started backend.

    Raises:
        OSError: inotify alone was asked for, and this machine has none to give.
    """
    if wanted == "polling":
        return _open_polling(poll_interval_s)
    try:
        return _open_inotify(on_lost) if wanted == "inotify" or _ON_LINUX else _open_native()
    except OSError as error:
        if wanted == "inotify":
            raise
        log.warning("watch.backend_unavailable", error=str(error), instead="polling")
        return _open_polling(poll_interval_s)


def _open_polling(interval_s: float) -> Backend:
    observer = PollingObserver(timeout=interval_s)
    observer.start()
    return Backend("polling", observer)


def _open_inotify(on_lost: Callable[[str], None]) -> Backend:
    if not _ON_LINUX:
        raise OSError(f"there is no inotify on {sys.platform}; set the backend to auto")
    from pumas_agent.watching.inotify import InotifyObserver  # noqa: PLC0415 - cannot be imported but on Linux

    observer = InotifyObserver(on_lost)
    observer.start()
    return Backend("inotify", observer, observer.reader, observer.reader.blind)


def _open_native() -> Backend:
    from watchdog.observers import Observer  # noqa: PLC0415 - chosen by watchdog for the platforms we do not build on

    observer = Observer()
    observer.start()
    return Backend("polling" if isinstance(observer, PollingObserver) else "fsevents", observer)
