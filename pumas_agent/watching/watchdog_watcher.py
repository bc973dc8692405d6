"""The watcher on watchdog. Owns the register of roots, which folders are watched for them, and their repair.

Threads: watchdog's own call the handlers in folders.py, which take none of the locks here. Everything that schedules,
stats or may block runs on the caller's thread or on one thread of ours that does nothing but sweep when a handler asks.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching.backends import Backend, open_backend
from pumas_agent.watching.folders import EVENT_FILTER, GuardedMark, WatchedAnchor, WatchedFolder, WatchedTree
from pumas_agent.watching.places import NOT_YET, SILENT, FolderKey, Identity, Place, Sight, look_in_time
from pumas_agent.watching.watcher import LIBRARY, MarkDirty, WatchBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger(__name__)

_LOOKS = 3
"""How often a root is looked at again after its watches changed; what still moves is left to the next sweep."""


class WatchdogWatcher:
    """A `Watcher`: each root is watched recursively, and the folder it lies in for the root itself.

    Args:
        mark_dirty: told which scope to look at; see `MarkDirty`.
        backend: see `WatchBackend`.
        poll_interval_s: seconds between two looks of the polling backend.
    """

    def __init__(self, mark_dirty: MarkDirty, *, backend: WatchBackend = "auto", poll_interval_s: float = 60.0) -> None:
        self._mark = GuardedMark(mark_dirty)
        self._wanted = backend
        self._poll_interval_s = poll_interval_s
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}
        self._folders: dict[FolderKey, WatchedFolder] = {}
        self._backend: Backend | None = None
        self._why_none = "watching has not started"
        self._lost: str | None = None
        self._sweeper: threading.Thread | None = None
        self._sweep_asked = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to watch what was registered."""
        with self._lock:
            if self._sweeper is not None:
                return
            self._stopping.clear()
            self._open()
            self._sweeper = threading.Thread(target=self._sweep_when_asked, name="watch-sweeper", daemon=True)
            self._sweeper.start()
        for place in self._registered():
            self._settle(place)

    def stop(self) -> None:
        """End every thread and watch."""
        with self._lock:
            sweeper, self._sweeper = self._sweeper, None
            self._stopping.set()
            self._sweep_asked.set()
            self._close("watching has stopped")
        if sweeper is not None:
            sweeper.join()

    def watch_library(self, root: Path, scope_of: Callable[[str], str | None]) -> None:
        """Watch the library; see `Watcher.watch_library`."""
        self._register(Place(ALL_MODELS, str(root), scope_of))

    def watch_bundle(self, model_id: str, root: Path) -> None:
        """Watch an external bundle; see `Watcher.watch_bundle`."""
        self._register(Place(model_id, str(root), lambda _: model_id))

    def unwatch_bundle(self, model_id: str) -> None:
        """Stop watching a bundle."""
        with self._lock:
            place = self._places.pop(model_id, None)
            if place is not None:
                self._release(place, set(place.covered_by))

    def sweep(self) -> None:
        """Compare what is watched with what stands at the paths now; see `Watcher.sweep`."""
        with self._lock:
            if self._sweeper is None:
                return
            lost, self._lost = self._lost, None
            if lost is None and (self._backend is None or not self._backend.is_alive):
                lost = "watch_restarted"
            if lost is not None:
                log.warning("watch.restarted", reason=lost, roots=len(self._places))
                self._close("watching is being restarted")
                self._open()
        if lost is not None:
            self._mark(ALL_MODELS, lost)
        for place in self._registered():
            self._retry_blind(place)
            self._settle(place)

    def faults(self) -> dict[str, str]:
        """What events do not cover. Takes no lock: the event loop may ask while a big root is scheduled."""
        backend = self._backend
        found: dict[str, str] = {}
        for place in self._registered():
            reason = self._why_none if backend is None else place.fault or backend.blind_below(place.real)
            if reason is not None:
                found[LIBRARY if place.scope == ALL_MODELS else place.scope] = reason
        return found

    @property
    def roots(self) -> int:
        """How many roots events cover now."""
        return len(self._places) - len(self.faults())

    @property
    def backend(self) -> str:
        """What delivers the events, or `none`."""
        backend = self._backend
        return "none" if backend is None else backend.name

    # --- the register -------------------------------------------------------------------------------------------------

    def _registered(self) -> list[Place]:
        return list(self._places.values())

    def _register(self, place: Place) -> None:
        with self._lock:
            before = self._places.get(place.scope)
            if before is not None:
                if before.root == place.root and before.scope != ALL_MODELS:
                    return
                self._release(before, set(before.covered_by))
            self._places[place.scope] = place
        self._settle(place)

    # --- from a look to watches ---------------------------------------------------------------------------------------

    def _settle(self, place: Place) -> None:
        """Look, watch what is there, and look again until nothing changed between the look and the watch."""
        for _ in range(_LOOKS):
            sight = look_in_time(place)  # outside the lock: a filesystem that hangs must not hold the others up
            if sight is None:
                place.fault = f"{place.root}: {SILENT}"
                self._mark(place.scope, "watch_fault")
                return
            with self._lock:
                backend = self._backend
                if backend is None or self._places.get(place.scope) is not place:
                    return
                changed = self._cover(backend, place, sight)
                uncovered = sight.identity is not None and place.fault is not None
            if changed:
                self._mark(place.scope, "watch_started" if sight.identity is not None else "root_missing")
            elif uncovered:
                self._mark(place.scope, "watch_fault")
            if not changed:
                return

    def _cover(self, backend: Backend, place: Place, sight: Sight) -> bool:
        """Watch for `place` what `sight` found; True when anything changed by it."""
        place.real = sight.real
        # the anchor first: a root that appears a moment later is then seen
        wanted: dict[FolderKey, Identity] = {}
        if sight.anchor is not None:
            path, anchor_identity = sight.anchor
            wanted[path, False] = anchor_identity
        if sight.identity is not None:
            wanted[sight.real, True] = sight.identity
        stale = place.covered_by - wanted.keys()
        self._release(place, stale)
        changed = bool(stale)
        fault = None if sight.identity is not None else f"{place.root}: {sight.problem}"
        delivering = backend.delivering()
        for key, identity in wanted.items():
            folder = self._folders.get(key)
            if folder is not None and (folder.identity != identity or folder.watch not in delivering):
                self._discard(folder)
                folder = None
            if folder is None:
                try:
                    folder = self._schedule(backend, key, identity)
                except (OSError, RuntimeError) as error:  # RuntimeError: no thread could be started
                    fault = f"{key[0]}: {error}"
                    continue
            if place not in folder.users:
                folder.users = (*folder.users, place)
                place.covered_by.add(key)
                changed = True
        place.fault = fault
        return changed

    def _schedule(self, backend: Backend, key: FolderKey, identity: Identity) -> WatchedFolder:
        path, recursive = key
        kind = WatchedTree if recursive else WatchedAnchor
        folder = kind(path, identity, self._mark, self._sweep_asked.set)
        folder.watch = backend.observer.schedule(folder, path, recursive=recursive, event_filter=EVENT_FILTER)
        self._folders[key] = folder
        return folder

    def _release(self, place: Place, keys: set[FolderKey]) -> None:
        for key in keys:
            folder = self._folders[key]
            folder.users = tuple(user for user in folder.users if user is not place)
            place.covered_by.discard(key)
            if not folder.users:
                self._discard(folder)

    def _discard(self, folder: WatchedFolder) -> None:
        """Unwatch a folder for all its users; those that still want it are settled by the next sweep."""
        del self._folders[folder.key]
        for user in folder.users:
            user.covered_by.discard(folder.key)
        if folder.users:
            self._sweep_asked.set()
        if self._backend is not None and folder.watch is not None:
            try:
                self._backend.observer.unschedule(folder.watch)
            except Exception:
                log.exception("watch.unschedule_failed", path=folder.path)
                self._on_lost("watch_restarted")

    def _retry_blind(self, place: Place) -> None:
        """Watch a root anew when parts of it could not be watched; settling it marks it, which is how it is polled."""
        with self._lock:
            folder = self._folders.get((place.real, True))
            if folder is None or self._backend is None or self._backend.blind_below(place.real) is None:
                return
            self._discard(folder)

    # --- the backend and its repair -----------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._backend = open_backend(self._wanted, self._poll_interval_s, self._on_lost)
        except OSError as error:
            log.error("watch.backend_unavailable", error=str(error))  # noqa: TRY400 - the reason is the whole story
            self._why_none = str(error)

    def _close(self, why: str) -> None:
        self._why_none = why
        backend, self._backend = self._backend, None
        self._folders.clear()
        for place in self._registered():
            place.covered_by.clear()
            place.fault = NOT_YET
        if backend is not None:
            backend.stop()

    def _on_lost(self, reason: str) -> None:
        self._lost = reason
        self._sweep_asked.set()

    def _sweep_when_asked(self) -> None:
        while True:
            self._sweep_asked.wait()
            self._sweep_asked.clear()
            if self._stopping.is_set():
                return
            try:
                self.sweep()
            except Exception:
                log.exception("watch.sweep_failed")
