"""Folders under watch, and what an event in one marks. Owns the way from an event to a mark.

Handlers run on watchdog's dispatcher thread while it holds the observer's lock: they take no lock of ours that is
held around a call of the observer, they never touch the disk, and nothing raises out of them.
"""

import os
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, cast

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

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching.places import FolderKey, Identity, Kind, Place
from pumas_agent.watching.watcher import MarkDirty

if TYPE_CHECKING:
    from watchdog.observers.api import EventEmitter, ObservedWatch

log = structlog.get_logger(__name__)

EVENT_FILTER: frozenset[type[FileSystemEvent]] = frozenset(
    {
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
    }
)
"""The same for every watch whose contents matter: the kernel keeps one mask a folder.

Without opened and closed-without-write, so that reading never wakes us. Without DirModified, which watchdog makes up
for the parent of every other event: a write to an ignored file would mark the folder it lies in.
"""

_EVERYTHING = "*"
ITSELF: frozenset[type[FileSystemEvent]] = frozenset({DirDeletedEvent})
"""For a folder of which only its own going matters; the hub asks the kernel for no more then."""


def shared(event_filter: frozenset[type[FileSystemEvent]]) -> list[type[FileSystemEvent]]:
    """As watchdog asks for it. It makes a set of it, which is the same set for all roots then, and not one each."""
    return cast("list[type[FileSystemEvent]]", event_filter)


class Marks:
    """`mark_dirty` that never raises, and remembers the order of the marks.

    A handler that raises ends watchdog's dispatcher, and with it every root. The order is what a proof of freshness
    rests on: a verdict is older than a mark, or it is not.
    """

    def __init__(self, mark_dirty: MarkDirty) -> None:
        self._mark_dirty = mark_dirty
        self._order = count(1)
        self._last: dict[str, int] = {}
        self.failures = 0

    def __call__(self, scope: str, reason: str) -> None:
        """Mark, or count and log once that it could not be done."""
        self._last[scope] = next(self._order)
        try:
            self._mark_dirty(scope, reason)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                log.exception("watch.mark_failed", scope=scope, reason=reason)

    def everything(self, reason: str) -> None:
        """Mark all models, because what happened to any root may not have been seen."""
        self._last[_EVERYTHING] = next(self._order)
        self(ALL_MODELS, reason)

    def now(self) -> int:
        """A point between the marks made until now and those to come."""
        return next(self._order)

    def none_since(self, point: int, *scopes: str) -> bool:
        """None of the scopes was marked after that point, and nothing was lost."""
        last = self._last
        for scope in scopes:  # plain, because most lookups come here
            if last.get(scope, 0) >= point:
                return False
        return last.get(_EVERYTHING, 0) < point

    def forget(self, scope: str) -> None:
        """A scope that is watched no more."""
        self._last.pop(scope, None)


class WatchedFolder(FileSystemEventHandler):
    """One folder as it is scheduled, with the places it is watched for. It is its own event handler."""

    def __init__(
        self, key: FolderKey, identity: Identity | None, mark: MarkDirty, ask_sweep: Callable[[], None]
    ) -> None:
        self.key = key
        self.path = key[0]
        self.identity = identity
        self.users: set[Place] = set()  # the dispatcher copies it in one step
        self.watch: ObservedWatch | None = None
        self.emitter: EventEmitter | None = None  # kept, because watchdog hashes the whole watch to find it
        self._mark = mark
        self._ask_sweep = ask_sweep
        self._below = self.path.rstrip("/") + "/"

    @property
    def recursive(self) -> bool:
        """With everything below it."""
        return self.key[1] == "tree"

    @property
    def delivers(self) -> bool:
        """Its emitter still runs: one ends for good when its folder is deleted."""
        return self.emitter is not None and self.emitter.is_alive() and self.emitter.should_keep_running()

    @property
    def event_filter(self) -> list[type[FileSystemEvent]]:
        """What it has to be told of."""
        return shared(ITSELF if self.key[1] == "itself" else EVENT_FILTER)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Mark what the event may have changed."""
        try:
            deleted = event.event_type == "deleted"
            source = event.src_path
            self._touch(source if isinstance(source, str) else os.fsdecode(source), deleted=deleted)
            if event.dest_path:
                self._touch(os.fsdecode(event.dest_path), deleted=False)
        except Exception as error:  # noqa: BLE001 - the dispatcher must live: look at everything instead
            log.error("watch.event_failed", path=self.path, error=repr(error))  # noqa: TRY400 - a storm of tracebacks helps nobody
            for place in tuple(self.users):
                self._mark(place.scope, "event")

    def _touch(self, path: str, *, deleted: bool) -> None:
        raise NotImplementedError


class WatchedTree(WatchedFolder):
    """A root and everything below it."""

    def _touch(self, path: str, *, deleted: bool) -> None:
        for place in tuple(self.users):
            scope: str | None = place.scope
            if place.scope_of is not None:
                scope = place.scope_of(path[len(self._below) :] if path.startswith(self._below) else "")
            if scope is not None:
                self._mark(scope, "event")
        if deleted and path == self.path:
            self._ask_sweep()


class WatchedWay(WatchedFolder):
    """The nearest existing folder above a root, without what is below it: only the way to the root counts."""

    def _touch(self, path: str, *, deleted: bool) -> None:
        gone = deleted and path == self.path
        hit = [place for place in tuple(self.users) if gone or place.real == path or place.real.startswith(path + "/")]
        if not gone and path == self.path:
            return
        for place in hit:
            self._mark(place.scope, "root_event")
        if hit:
            self._ask_sweep()


class WatchedBeside(WatchedFolder):
    """A folder elsewhere that links in a root lead to: whatever happens in it may matter."""

    def _touch(self, path: str, *, deleted: bool) -> None:
        for place in tuple(self.users):
            self._mark(place.scope, "event")
        if deleted and path == self.path:
            self._ask_sweep()


class WatchedItself(WatchedFolder):
    """A folder further up, of which only its own going matters."""

    def _touch(self, path: str, *, deleted: bool) -> None:
        if deleted and path == self.path:
            for place in tuple(self.users):
                self._mark(place.scope, "root_event")
            self._ask_sweep()


WATCHED: dict[Kind, type[WatchedFolder]] = {
    "tree": WatchedTree,
    "way": WatchedWay,
    "beside": WatchedBeside,
    "itself": WatchedItself,
}
