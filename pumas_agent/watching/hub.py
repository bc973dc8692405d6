"""One inotify instance and one thread for all roots, as a watchdog observer. Linux only.

Owns the way from the kernel's events to watchdog's, and the proof that none is on its way. The observer's thread reads
and dispatches; emitters have no thread, and are no more than a root that is watched.
"""

import os
import select
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog
from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch

from pumas_agent.watching import kernel
from pumas_agent.watching.folder_watches import FolderWatches, why_unwatched
from pumas_agent.watching.folders import ITSELF
from pumas_agent.watching.kernel import Inotify, RawEvent

log = structlog.get_logger(__name__)

DRAIN_S = 0.02
"""Least time between two reads: until then the kernel merges the events of a big write into few."""
MOUNTINFO = "/proc/self/mountinfo"
_BUSY = 8
"""Reads in quick succession after which the hub begins to pause: a few events are handled at once."""
_MOVES = 256
"""Folders that were moved away and not seen to arrive, as far as they are remembered."""

_FILE_EVENTS: dict[int, type[FileSystemEvent]] = {
    kernel.IN_CREATE: FileCreatedEvent,
    kernel.IN_MOVED_TO: FileCreatedEvent,
    kernel.IN_DELETE: FileDeletedEvent,
    kernel.IN_MOVED_FROM: FileDeletedEvent,
    kernel.IN_MODIFY: FileModifiedEvent,
    kernel.IN_CLOSE_WRITE: FileClosedEvent,
    kernel.IN_ATTRIB: FileAttribEvent,
}
_COMES = kernel.IN_CREATE | kernel.IN_MOVED_TO
_GOES = kernel.IN_DELETE | kernel.IN_MOVED_FROM
_ENDS = kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF | kernel.IN_UNMOUNT


class HubEmitter(EventEmitter):
    """A root that is watched by the hub: started and stopped by the observer, without a thread of its own."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float = 1.0,
        event_filter: list[type[FileSystemEvent]] | None = None,  # noqa: ARG002 - the watch has it
        folders: FolderWatches["HubEmitter"],
    ) -> None:
        # Not `Thread.__init__`: threads that never run would cost three kilobytes each.
        self._event_queue = event_queue
        self._watch = watch
        self._timeout = timeout
        self._event_filter = watch.event_filter
        self._folders = folders

    def start(self) -> None:
        """Watch the root.

        Raises:
            OSError: it, or a folder below it, cannot be watched; then nothing is.
        """
        mask = kernel.SELF_MASK if self.watch.event_filter == ITSELF else kernel.MASK
        self._folders.begin(self, self.watch.path, recursive=self.watch.is_recursive, mask=mask)

    def stop(self) -> None:
        """Watch it no more."""
        self._folders.end(self)

    def join(self, timeout: float | None = None) -> None:
        """There is nothing to wait for."""

    def is_alive(self) -> bool:
        """Its root is watched still: the watch of a folder ends with the folder."""
        return self._folders.stands(self)

    def should_keep_running(self) -> bool:
        """As `is_alive`."""
        return self.is_alive()

    def is_at(self, path: str) -> bool:
        """What is watched is what stands at `path` now. May block as long as the filesystem does."""
        return self._folders.is_at(self, path)


class HubObserver(BaseObserver):
    """Reads one inotify instance for all roots.

    Args:
        on_lost: called with a reason, on the observer's thread, when events were lost: everything has to be watched
            anew and looked at.
        on_mounts: called on that thread when something was mounted or unmounted.
        on_moved: called on that thread with the old and the new path of a folder that was seen to move.
        on_blind: called on that thread with the path of a root below which a folder cannot be watched, and why.
        max_watches: at most so many; 0 for as many as the kernel gives.

    Raises:
        OSError: no inotify instance can be had.
    """

    def __init__(
        self,
        *,
        on_lost: Callable[[str], None],
        on_mounts: Callable[[], None],
        on_moved: Callable[[str, str], None],
        on_blind: Callable[[str, str], None],
        max_watches: int = 0,
    ) -> None:
        self._inotify = Inotify()
        self._on_lost = on_lost
        self._on_mounts = on_mounts
        self._on_moved = on_moved
        self._on_blind = on_blind
        self._folders: FolderWatches[HubEmitter] = FolderWatches(self._inotify, max_watches)
        self._in_hand = False
        self._busy_reads, self._read_at = 0, 0.0
        self._moving: OrderedDict[int, str] = OrderedDict()
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = threading.Lock()
        self._mounts = os.open(MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        super().__init__(HubEmitter, folders=self._folders)

    @property
    def watches(self) -> int:
        """How many watches the kernel holds for us."""
        return len(self._folders)

    def is_quiet(self) -> bool:
        """No event waits in the kernel, and none that was read waits to be handled: one system call.

        The kernel queues an event before the call that caused it returns. The order matters: an event that is read
        between the two looks is seen by the second.
        """
        return self._inotify.is_empty() and not self._in_hand

    def stop(self) -> None:
        """End the thread, and with it every watch."""
        super().stop()
        with self._closing:
            if self._waker >= 0 and self.is_alive():
                os.eventfd_write(self._waker, 1)
                return
        self._close()

    def run(self) -> None:
        """Read until stopped. A fault of ours is told as lost events, and does not end the reading."""
        poll = select.poll()
        poll.register(self._inotify.descriptor, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        poll.register(self._mounts, select.POLLPRI | select.POLLERR)
        try:
            while self.should_keep_running():
                self._read(dict(poll.poll()))
                self._pause()
        finally:
            self._close()

    def _read(self, ready: dict[int, int]) -> None:
        try:
            if self._mounts in ready:
                self._on_mounts()
            if self._inotify.descriptor in ready:
                self._drain()
        except Exception:
            log.exception("watch.reader_failed")
            self._on_lost("watch_restarted")

    def _close(self) -> None:
        with self._closing:
            if self._waker < 0:
                return
            self._inotify.close()
            for descriptor in (self._waker, self._mounts):
                os.close(descriptor)
            self._waker = self._mounts = -1

    def _pause(self) -> None:
        """While events keep coming, let the kernel merge what comes meanwhile; being told to stop ends it."""
        now = time.monotonic()
        self._busy_reads = self._busy_reads + 1 if now - self._read_at < DRAIN_S else 0
        self._read_at = now
        if self._busy_reads >= _BUSY:
            select.select([self._waker], [], [], DRAIN_S)

    def _drain(self) -> None:
        """Handle what one read gives. A file's event that comes again in it says nothing new."""
        self._in_hand = True
        try:
            seen: set[RawEvent] = set()
            for event in self._inotify.read():
                if event[1] in _FILE_EVENTS:
                    if event not in seen:
                        seen.add(event)
                        self._handle_file(event)
                else:
                    self._handle(event)
        finally:
            self._in_hand = False

    def _handle_file(self, event: RawEvent) -> None:
        watch, mask, _, name = event
        if not name:
            self._handle_self(event)
            return
        kind, text = _FILE_EVENTS[mask], os.fsdecode(name)
        for emitter, folder in self._folders.users(watch):
            self._dispatch(emitter, kind(f"{folder}/{text}"))

    def _handle(self, event: RawEvent) -> None:
        watch, mask, _, name = event
        if mask & kernel.IN_Q_OVERFLOW:
            self._on_lost("watch_overflow")
        elif mask & kernel.IN_IGNORED:
            for emitter, path in self._folders.ended(watch):
                if path != emitter.watch.path:  # unmounted: what the mount had covered is there again
                    self._watch_below(emitter, path)
                self._dispatch(emitter, DirDeletedEvent(path))
        elif name:
            text = os.fsdecode(name)
            for emitter, folder in self._folders.users(watch):
                self._handle_folder(emitter, f"{folder}/{text}" if folder != "/" else f"/{text}", event)
        else:
            self._handle_self(event)

    def _handle_self(self, event: RawEvent) -> None:
        """What happened to a watched folder itself matters where it is a root: its parent tells of the others."""
        watch, mask, _, _ = event
        for emitter, path in self._folders.users(watch):
            if path != emitter.watch.path:
                continue
            if mask & _ENDS:
                self._dispatch(emitter, DirDeletedEvent(path))
            elif mask & kernel.IN_ATTRIB:
                self._dispatch(emitter, DirAttribEvent(path))

    def _handle_folder(self, emitter: HubEmitter, path: str, event: RawEvent) -> None:
        mask = event[1]
        if mask & _GOES:
            self._folder_went(emitter, path, event)
        elif mask & _COMES:
            self._folder_came(emitter, path, event)
        elif mask & kernel.IN_ATTRIB:
            self._dispatch(emitter, DirAttribEvent(path))

    def _folder_went(self, emitter: HubEmitter, path: str, event: RawEvent) -> None:
        if emitter.watch.is_recursive:
            self._folders.drop(emitter, path)
        _, mask, cookie, _ = event
        if mask & kernel.IN_MOVED_FROM:
            self._moving[cookie] = path
            if len(self._moving) > _MOVES:
                self._moving.popitem(last=False)
        self._dispatch(emitter, DirDeletedEvent(path))

    def _folder_came(self, emitter: HubEmitter, path: str, event: RawEvent) -> None:
        if emitter.watch.is_recursive:
            self._watch_below(emitter, path)
        if (came_from := self._moving.get(event[2])) is not None and came_from != path:
            self._on_moved(came_from, path)
        self._dispatch(emitter, DirCreatedEvent(path))

    def _watch_below(self, emitter: HubEmitter, path: str) -> None:
        try:
            self._folders.add(emitter, path)
        except OSError as error:
            self._on_blind(emitter.watch.path, why_unwatched(error, path))

    def _dispatch(self, emitter: HubEmitter, event: FileSystemEvent) -> None:
        # Copied in one step, because other threads add and remove handlers; a handler must not raise.
        handlers: tuple[FileSystemEventHandler, ...] = tuple(self._handlers.get(emitter.watch, ()))
        for handler in handlers:
            handler.dispatch(event)
