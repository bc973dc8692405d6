"""watchdog's inotify classes, made to say what they lose. Owns nothing but that; can be imported on Linux only.

The stock ones swallow a kernel queue that overflowed and a folder below a root that could not be watched, and an error
in their bookkeeping ends the one thread that serves every root.
"""

import errno
import os
from collections.abc import Callable

import structlog
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter, InotifyWatchGroup
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

log = structlog.get_logger(__name__)

_BLINDING = {
    errno.ENOSPC: "the watch limit is reached (fs.inotify.max_user_watches)",
    errno.ENOMEM: "the kernel has no memory for another watch",
    errno.EACCES: "permission denied",
}
"""Why a folder that is there cannot be watched; one that is gone meanwhile is no fault."""

_REFUSED = -1
"""The descriptor that watchdog books when the kernel said EACCES."""


class InotifyReader(InotifyFD):
    """The thread that reads one inotify instance.

    `on_lost(reason)` is called on that thread when events were lost: everything has to be watched anew and looked at.
    """

    def __init__(self, on_lost: Callable[[str], None]) -> None:
        super().__init__()
        self._on_lost = on_lost
        self.blind: dict[str, str] = {}

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """As the stock one, and remember the folders that could not be watched.

        A folder that is added twice is no news, where the stock one warns: a new folder is found by the scan and by its
        own event.

        Raises:
            OSError: the folder cannot be watched, also for want of permission, which the stock one passes over.
        """
        name = os.fsdecode(path)
        try:
            with self._lock:
                watch = self._get_or_create_watch(path, mask)
                if watch.wd == _REFUSED:
                    del self._watch_for_wd[watch.wd]
                    raise OSError(errno.EACCES, os.strerror(errno.EACCES))  # noqa: TRY301 - one place records reasons
                watch.callbacks[id_] = callback
        except OSError as error:
            if error.errno in _BLINDING:
                self.blind[name] = _BLINDING[error.errno]
            raise
        self.blind.pop(name, None)
        return watch.wd

    def handle_event(self, event: InotifyEvent) -> None:
        """As the stock one, but tell of an overflow and of an unmount, and survive its bookkeeping errors."""
        if event.is_queue_overflow:
            self._on_lost("watch_overflow")
            return
        if event.mask & InotifyConstants.IN_UNMOUNT:
            # Mounted again, folders have the numbers they had: nothing else would tell that their watches are gone.
            self._on_lost("watch_unmounted")
        try:
            super().handle_event(event)
        except Exception:
            log.exception("watch.reader_failed", inotify_event=repr(event))
            self._on_lost("watch_restarted")


class TolerantWatchGroup(InotifyWatchGroup):
    """The watches of one root, of which one may be taken out twice.

    A folder that is moved out, made again and deleted leaves two watches that claim one path. The stock group raises
    KeyError for the second, in the reader's thread or when the root is unscheduled.
    """

    def _remove_watch_internally(self, wd: WatchDescriptor) -> None:
        path = self._active_callbacks_by_watch.pop(wd, None)
        if path is not None and self._active_callbacks_by_path.get(path) == wd:
            del self._active_callbacks_by_path[path]


class TolerantEmitter(InotifyEmitter):
    """The stock emitter on a `TolerantWatchGroup`."""

    def on_thread_start(self) -> None:
        """Watch the root, and what is below it when the watch is recursive."""
        self._inotify = TolerantWatchGroup(
            self._inotify_fd,
            os.fsencode(self.watch.path),
            is_recursive=self.watch.is_recursive,
            event_mask=self.get_event_mask_from_filter(),
            follow_symlink=self.watch.follow_symlink,
        )

    def queue_events(self, timeout: float, *, full_events: bool = False) -> None:  # noqa: ARG002  the stock signature
        """As the stock one, but being stopped while it waits for an event is no error to be logged."""
        with self._lock:
            watches = self._inotify
        event = watches.read_event() if watches is not None else None
        if event is None:
            return
        with self._lock:
            if self._inotify is not None:
                self.build_and_queue_event(event, full_events=full_events)


class InotifyObserver(BaseObserver):
    """watchdog's observer on a reader of ours, in an inotify instance of its own.

    Raises:
        OSError: no inotify instance can be had (fs.inotify.max_user_instances).
    """

    def __init__(self, on_lost: Callable[[str], None]) -> None:
        self.reader = InotifyReader(on_lost)
        super().__init__(TolerantEmitter, inotify_fd=self.reader)
        self.reader.start()

    def on_thread_stop(self) -> None:
        """End the emitters, then the reader they stand on."""
        try:
            super().on_thread_stop()
        finally:
            self.reader.stop()
            self.reader.join()
