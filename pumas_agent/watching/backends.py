"""What delivers events on this machine. Owns the choice and the life of one observer; never what is watched with it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from watchdog.observers.api import BaseObserver, EventEmitter, ObservedWatch

from pumas_agent.watching.watcher import WatchBackend

if sys.platform == "linux":
    from pumas_agent.watching.hub import HubObserver

log = structlog.get_logger(__name__)

_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """Whom a backend tells of what is not about one watch. Called on its thread; none may block or raise.

    Attributes:
        lost: events were lost, with the reason: everything has to be watched anew and looked at.
        mounts: something was mounted or unmounted.
        moved: the old and the new path of a folder that was seen to move.
        blind: the path of a root below which a folder came that cannot be watched, and why.
    """

    lost: Callable[[str], None]
    mounts: Callable[[], None]
    moved: Callable[[str, str], None]
    blind: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Backend:
    """What delivers events.

    Attributes:
        name: `inotify`, `fsevents` or `polling`.
        observer: schedules and dispatches; None where everything is compared at intervals.
    """

    name: str
    observer: "BaseObserver | None" = None

    @property
    def hub(self) -> "HubObserver | None":
        """The observer, where it is the one that can prove that nothing happened."""
        return self.observer if sys.platform == "linux" and isinstance(self.observer, HubObserver) else None

    @property
    def is_alive(self) -> bool:
        """The thread that every root depends on runs."""
        return self.observer is None or self.observer.is_alive()

    def emitter(self, watch: ObservedWatch) -> EventEmitter | None:
        """What watches for a watch."""
        if self.observer is None:
            return None
        return self.observer._emitter_for_watch.get(watch)  # noqa: SLF001 - `emitters` is a set to be searched

    def stop(self) -> None:
        """End the threads. Never raises: what is broken is being left, and must not keep us from a new one."""
        if self.observer is None:
            return
        try:
            self.observer.stop()
            self.observer.join(_STOP_S)
        except Exception:
            log.exception("watch.stop_failed", backend=self.name)


def open_backend(wanted: WatchBackend, heard: Heard, *, max_watches: int) -> Backend:
    """A started backend.

    Raises:
        OSError: inotify alone was asked for, and this machine has none to give.
    """
    if wanted == "polling":
        return Backend("polling")
    try:
        return _open_inotify(heard, max_watches) if wanted == "inotify" or sys.platform == "linux" else _open_native()
    except OSError as error:
        if wanted == "inotify":
            raise
        log.warning("watch.backend_unavailable", error=str(error), instead="polling")
        return Backend("polling")


def _open_inotify(heard: Heard, max_watches: int) -> Backend:
    if sys.platform != "linux":
        raise OSError(f"there is no inotify on {sys.platform}; set the backend to auto")
    observer = HubObserver(
        on_lost=heard.lost,
        on_mounts=heard.mounts,
        on_moved=heard.moved,
        on_blind=heard.blind,
        max_watches=max_watches,
    )
    observer.start()
    return Backend("inotify", observer)


def _open_native() -> Backend:
    from watchdog.observers import Observer  # noqa: PLC0415 - chosen by watchdog for the platforms we do not build on
    from watchdog.observers.polling import PollingObserver  # noqa: PLC0415 - likewise

    observer = Observer()
    if isinstance(observer, PollingObserver):  # a thread for each root, where ours needs one for all
        return Backend("polling")
    observer.start()
    return Backend("fsevents", observer)
