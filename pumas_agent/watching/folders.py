"""Folders under watch, and what an event in one marks. Owns the way from an event to a mark.

Handlers run on watchdog's dispatcher thread while it holds the observer's lock: they take no lock of ours that is
held around a call of the observer, they never touch the disk, and nothing raises out of them.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import structlog
from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)

from pumas_agent.watching.places import FolderKey, Identity, Place
from pumas_agent.watching.watcher import MarkDirty

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

log = structlog.get_logger(__name__)

EVENT_FILTER: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileClosedEvent,
    FileAttribEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
    DirAttribEvent,
]
"""The same for every watch: the kernel keeps one mask a folder, and two filters would overwrite each other's.

Without opened and closed-without-write, so that reading never wakes us. Without DirModified, which watchdog makes up
for the parent of every other event: a write to an ignored file would mark the folder it lies in.
"""


class GuardedMark:
    """`mark_dirty` that never raises: a handler that raises ends watchdog's dispatcher, and with it every root."""

    def __init__(self, mark_dirty: MarkDirty) -> None:
        self._mark_dirty = mark_dirty
        self.failures = 0

    def __call__(self, scope: str, reason: str) -> None:
        """Mark, or count and log once that it could not be done."""
        try:
            self._mark_dirty(scope, reason)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                log.exception("watch.mark_failed", scope=scope, reason=reason)


class WatchedFolder(FileSystemEventHandler):
    """One folder as it is scheduled, with the places it is watched for. It is its own event handler."""

    recursive: ClassVar[bool]

    def __init__(self, path: str, identity: Identity, mark: MarkDirty, ask_sweep: Callable[[], None]) -> None:
        self.path = path
        self.identity = identity
        self.users: tuple[Place, ...] = ()  # replaced, never changed in place: the dispatcher reads it without a lock
        self.watch: ObservedWatch | None = None
        self._mark = mark
        self._ask_sweep = ask_sweep
        self._below = path.rstrip("/") + "/"

    @property
    def key(self) -> FolderKey:
        """Its path and how it is watched."""
        return (self.path, self.recursive)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Mark what the event may have changed."""
        try:
            deleted = event.event_type == "deleted"
            self._touch(os.fsdecode(event.src_path), deleted=deleted)
            if event.dest_path:
                self._touch(os.fsdecode(event.dest_path), deleted=False)
        except Exception as error:  # noqa: BLE001 - the dispatcher must live: look at everything instead
            log.error("watch.event_failed", path=self.path, error=repr(error))  # noqa: TRY400 - a storm of tracebacks helps nobody
            for place in self.users:
                self._mark(place.scope, "event")

    def _touch(self, path: str, *, deleted: bool) -> None:
        raise NotImplementedError


class WatchedTree(WatchedFolder):
    """A root and everything below it."""

    recursive = True

    def _touch(self, path: str, *, deleted: bool) -> None:
        relative = path[len(self._below) :] if path.startswith(self._below) else ""
        for place in self.users:
            scope = place.scope_of(relative)
            if scope is not None:
                self._mark(scope, "event")
        if deleted and path == self.path:
            self._ask_sweep()


class WatchedAnchor(WatchedFolder):
    """The nearest existing folder above a root, without what is below it: only the way to the root counts."""

    recursive = False

    def _touch(self, path: str, *, deleted: bool) -> None:
        gone = deleted and path == self.path
        hit = [place for place in self.users if gone or place.real == path or place.real.startswith(path + "/")]
        if not gone and path == self.path:
            return
        for place in hit:
            self._mark(place.scope, "root_event")
        if hit:
            self._ask_sweep()
