"""The watcher on watchdog. Owns the register of roots, what is watched for each, and the repair of both.

One lock of ours, `_work`, is held while roots are looked at and watches change, one root at a time. Handlers take none,
and what is asked on the event loop takes none.
"""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching.backends import Backend, Heard, open_backend
from pumas_agent.watching.coverage import Check, checks_of, concerns, wanted_folders, why_polled
from pumas_agent.watching.folder_watches import why_unwatched
from pumas_agent.watching.folders import WATCHED, Marks, WatchedFolder
from pumas_agent.watching.heartbeat import Heartbeat
from pumas_agent.watching.lookout import Lookout
from pumas_agent.watching.places import NOT_YET, NOWHERE, SILENT, FolderKey, Identity, Place, Sight
from pumas_agent.watching.polling import PolledRoots
from pumas_agent.watching.watcher import MarkDirty, OnMoved, WatchBackend, WatchCover

log = structlog.get_logger(__name__)

_LOOKS = 3
"""How often a root is looked at again after its watches changed; what still moves is left to the next sweep."""


class WatchdogWatcher:
    """A `Watcher`: each root is watched with everything below it, and the folders above it for the root itself.

    Args:
        mark_dirty: told which scope to look at; see `MarkDirty`.
        backend: see `WatchBackend`.
        poll_interval_s: seconds between two comparisons of a root of which events do not tell everything.
        max_watches: inotify watches at most; 0 for as many as the kernel gives.
        heartbeat: a folder of the agent's own in which a file is touched now and then, to see that events come through.
        on_moved: told where a root went, when that was seen.
    """

    def __init__(
        self,
        mark_dirty: MarkDirty,
        *,
        backend: WatchBackend = "auto",
        poll_interval_s: float = 60.0,
        max_watches: int = 0,
        heartbeat: Path | None = None,
        on_moved: OnMoved | None = None,
    ) -> None:
        self._marks = Marks(mark_dirty)
        self._wanted = backend
        self._max_watches = max_watches
        self._heart = Heartbeat(heartbeat)
        self._tell_moved = on_moved
        self._work = threading.RLock()
        self._places: dict[str, Place] = {}
        self._folders: dict[FolderKey, WatchedFolder] = {}
        self._backend: Backend | None = None
        self._why_none = "watching has not started"
        self._lost: str | None = None
        self._mount_events = self._mount_events_seen = 0
        self._lookout = Lookout()
        self._polled = PolledRoots(poll_interval_s)
        self._keeper: threading.Thread | None = None
        self._wake = threading.Event()
        self._sweep_asked = False
        self._stopping = threading.Event()
        self.overflows = 0

    def start(self) -> None:
        """Begin to watch what was registered."""
        with self._work:
            if self._keeper is not None:
                return
            self._stopping.clear()
            self._lookout.refresh()
            self._open()
            self._keeper = threading.Thread(target=self._keep, name="watch-keeper", daemon=True)
            self._keeper.start()
            for place in self._registered():
                self._settle(place)

    def stop(self) -> None:
        """End every thread and watch."""
        with self._work:
            keeper, self._keeper = self._keeper, None
            self._stopping.set()
            self._wake.set()
            self._close("watching has stopped")
            self._lookout.stop()
            self._heart.stop()
        if keeper is not None:
            keeper.join()

    def watch_library(self, root: Path, scope_of: Callable[[str], str | None]) -> None:
        """Watch the library; see `Watcher.watch_library`."""
        self._register(Place(ALL_MODELS, str(root), scope_of))

    def watch_bundle(self, model_id: str, root: Path, beside: Iterable[str] = ()) -> None:
        """Watch an external bundle; see `Watcher.watch_bundle`."""
        self._register(Place(model_id, str(root), beside=tuple(sorted(beside))))

    def unwatch_bundle(self, model_id: str) -> None:
        """Stop watching a bundle."""
        with self._work:
            place = self._places.pop(model_id, None)
            if place is not None:
                self._release(place, set(place.covered_by))
                self._polled.remove(model_id)
                self._marks.forget(model_id)

    def sweep(self) -> None:
        """Compare what is watched with what stands at the paths now; see `Watcher.sweep`."""
        with self._work:
            if self._keeper is None:
                return
            self._sweep_asked = False
            lost = self._lost
            if lost is None and (self._backend is None or not self._backend.is_alive or not self._heart.beats()):
                lost = self._lost or "watch_restarted"  # a beat may be among what the kernel dropped
            if lost is not None:
                log.warning("watch.restarted", reason=lost, roots=len(self._places))
                self._close("watching is being restarted")
                self._lost = None
                self._open()
                self._marks.everything(lost)
            mount_events = self._mount_events
            for place in self._questionable(self._lookout.refresh()):
                self._settle(place)
            self._mount_events_seen = mount_events

    def reads(self) -> bool:
        """Events come through now, or none are wanted of the kernel. Blocks for two seconds at most; takes no lock."""
        backend = self._backend
        return backend is None or backend.hub is None or (backend.is_alive and self._heart.beats())

    def now(self) -> int:
        """A point in the order of marks; see `Watcher.now`."""
        return self._marks.now()

    def nothing_since(self, point: int, model_id: str, root: str, beside: tuple[str, ...], *, in_library: bool) -> bool:
        """Proof that nothing happened; see `Watcher.nothing_since`."""
        backend, place = self._backend, self._places.get(ALL_MODELS if in_library else model_id)
        hub = backend.hub if backend is not None else None
        if hub is None or place is None or not place.is_proven or place.beside != beside:
            return False
        if not in_library and place.root != root:  # relocated, and the new place is not watched yet
            return False
        # In this order: what is read from the kernel between two of the questions is seen by the next one.
        if not hub.is_quiet() or self._mount_events != self._mount_events_seen or self._lost is not None:
            return False
        if in_library and not self._marks.none_since(point, ALL_MODELS):
            return False
        return self._marks.none_since(point, model_id) and place.is_proven

    def faults(self) -> dict[str, str]:
        """Roots that nothing covers. Takes no lock: the event loop may ask while a big root is scheduled."""
        found: dict[str, str] = {}
        for place in self._registered():
            reason = self._why_none if self._backend is None else place.fault
            if reason is not None:
                found[place.name] = reason
        return found

    def polled(self) -> dict[str, str]:
        """Roots that are compared at intervals, and why."""
        return {
            place.name: place.polled for place in self._registered() if place.polled is not None and place.fault is None
        }

    def unwatched(self) -> dict[str, str]:
        """Of the polled roots, those that could be watched as far as their filesystem goes."""
        return {
            place.name: place.partly
            for place in self._registered()
            if place.partly is not None and place.polled == place.partly
        }

    @property
    def limit_reached(self) -> bool:
        """Some root is not watched because no more watches can be had."""
        return any("watch limit" in reason for reason in self.unwatched().values())

    def cover(self) -> WatchCover:
        """What is covered, and what it costs."""
        backend = self._backend
        hub = backend.hub if backend is not None else None
        return WatchCover(
            backend="none" if backend is None else backend.name,
            roots=len(self._places) - len(self.faults()),
            polled=len(self.polled()),
            poll_cost=self._polled.cost,
            watches=0 if hub is None else hub.watches,
            overflows=self.overflows,
        )

    # --- the register -------------------------------------------------------------------------------------------------

    def _registered(self) -> list[Place]:
        return list(self._places.values())

    def _register(self, place: Place) -> None:
        with self._work:
            before = self._places.get(place.scope)
            if before is not None and place.scope != ALL_MODELS and before.root == place.root:
                if before.beside == place.beside:
                    return
                before.beside, place = place.beside, before
            elif before is not None:
                self._release(before, set(before.covered_by))
                self._polled.remove(before.scope)
            self._places[place.scope] = place
            self._settle(place)

    # --- from a look to watches ---------------------------------------------------------------------------------------

    def _settle(self, place: Place) -> None:
        """Look, watch what is there, and look again until nothing changed between the look and the watch."""
        for _ in range(_LOOKS):
            if self._backend is None or self._places.get(place.scope) is not place:
                return
            sight = self._lookout.sight_of(place)
            if sight is None:
                place.fault = place.unproven = f"{place.root}: {SILENT}"
                self._marks(place.scope, "watch_fault")
                return
            before = (place.fault, place.polled)
            changed = self._cover(self._backend, place, sight)
            if changed:
                self._marks(place.scope, "watch_started" if sight.identity is not None else "root_missing")
            elif (place.fault, place.polled) != before:
                self._marks(place.scope, "watch_fault")
            if not changed:
                place.unproven = place.fault or place.polled or place.partly
                return

    def _cover(self, backend: Backend, place: Place, sight: Sight) -> bool:
        """Watch for `place` what `sight` found; True when anything changed by it."""
        place.real, place.blind = sight.real, None
        mount = self._lookout.mount_of(sight.real)
        wanted = wanted_folders(backend, sight, mount)
        stale = place.covered_by - wanted.keys()
        changed = bool(stale)
        self._release(place, stale)
        unwatched: dict[FolderKey, str] = {}
        for key, identity in wanted.items():
            try:
                folder = self._watched(backend, key, identity)
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread could be started
                unwatched[key] = why_unwatched(error, key[0])
                continue
            if place not in folder.users:
                place.unproven = NOT_YET  # what happened until now was not seen: it is marked before it is proven
                folder.users.add(place)
                place.covered_by.add(key)
                changed = True
        place.fault = None if sight.identity is not None else f"{place.root}: {sight.problem}"
        blind = next((why for key, why in unwatched.items() if key[1] != "itself"), None)
        why = why_polled(backend, sight, mount) or blind
        place.polled = why if place.fault is None else None
        place.partly = next(iter(unwatched.values()), None)
        if why is None:
            self._polled.remove(place.scope)
        elif self._polled.add(place.scope, place.root):
            self._compare_one(place.scope, place.root)  # what it is compared with is taken before it is marked
            changed = True
        return changed

    def _watched(self, backend: Backend, key: FolderKey, identity: Identity | None) -> WatchedFolder:
        """The folder under watch, as it is now.

        Raises:
            OSError, RuntimeError: it cannot be watched.
        """
        folder = self._folders.get(key)
        if folder is not None:
            if folder.delivers and (identity is None or folder.identity == identity):
                return folder
            self._discard(folder)
        folder = WATCHED[key[1]](key, identity, self._marks, self._ask_sweep)
        assert backend.observer is not None
        folder.watch = backend.observer.schedule(
            folder, folder.path, recursive=folder.recursive, event_filter=folder.event_filter
        )
        folder.emitter = backend.emitter(folder.watch)
        self._folders[key] = folder
        return folder

    def _release(self, place: Place, keys: set[FolderKey]) -> None:
        for key in keys:
            folder = self._folders.get(key)
            place.covered_by.discard(key)
            if folder is not None:
                folder.users.discard(place)
                if not folder.users:
                    self._discard(folder)

    def _discard(self, folder: WatchedFolder) -> None:
        """Unwatch a folder for all its users; those that still want it are settled by the next sweep."""
        del self._folders[folder.key]
        for user in folder.users:
            user.covered_by.discard(folder.key)
            user.unproven = user.unproven or NOT_YET
        if folder.users:
            self._ask_sweep()
        if self._backend is not None and self._backend.observer is not None and folder.watch is not None:
            try:
                self._backend.observer.unschedule(folder.watch)
            except Exception:
                log.exception("watch.unschedule_failed", path=folder.path)
                self._on_lost("watch_restarted")

    # --- what the sweep asks ------------------------------------------------------------------------------------------

    def _questionable(self, remounted: list[str]) -> list[Place]:
        """The roots that have to be looked at: all but those of which the kernel says that they are what they were."""
        questionable: list[Place] = []
        certain: list[tuple[Place, list[Check]]] = []
        asked: set[FolderKey] = set()
        for place in self._registered():
            checks = checks_of(place, self._backend, self._folders, asked)
            moved = any(concerns(point, place) for point in remounted)
            if moved:
                self._release(place, set(place.covered_by))
            if checks is None or moved:
                questionable.append(place)
            else:
                certain.append((place, checks))
        return questionable + self._lookout.differing(certain)

    # --- comparing at intervals ---------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Compare the roots that are due with what they were."""
        for scope, root in self._polled.take_due():
            place = self._places.get(scope)
            if self._compare_one(scope, root) and place is not None:
                self._marks(scope, "event")
                self._settle(place)

    def _compare_one(self, scope: str, root: str) -> bool:
        started = time.monotonic()
        found = self._lookout.print_of(root)
        changed = self._polled.compared(scope, found, time.monotonic() - started)
        self._wake.set()
        return changed

    # --- the backend and its repair -----------------------------------------------------------------------------------

    def _open(self) -> None:
        heard = Heard(self._on_lost, self._on_mounts, self._on_moved, self._on_blind)
        try:
            self._backend = open_backend(self._wanted, heard, max_watches=self._max_watches)
        except OSError as error:
            log.error("watch.backend_unavailable", error=str(error))  # noqa: TRY400 - the reason is the whole story
            self._why_none = str(error)
        else:
            self._heart.watch(self._backend)

    def _close(self, why: str) -> None:
        self._why_none = why
        backend, self._backend = self._backend, None
        self._folders.clear()
        for place in self._registered():
            place.covered_by.clear()
            place.fault = place.unproven = NOT_YET
            self._polled.remove(place.scope)
        if backend is not None:
            backend.stop()

    def _on_lost(self, reason: str) -> None:
        if reason == "watch_overflow":
            self.overflows += 1
        self._lost = reason
        self._ask_sweep()

    def _on_mounts(self) -> None:
        self._mount_events += 1
        self._ask_sweep()

    def _on_moved(self, old: str, new: str) -> None:
        for place in self._registered():
            if self._tell_moved is not None and (place.real == old or place.real.startswith(old + "/")):
                self._tell_moved(place.scope, new + place.real[len(old) :])

    def _on_blind(self, root: str, reason: str) -> None:
        folder = self._folders.get((root, "tree"))
        for place in tuple(folder.users) if folder is not None else ():
            place.blind = reason
        if folder is not None:
            folder.identity = NOWHERE  # watched anew by the sweep, whole or not at all
        self._ask_sweep()

    def _ask_sweep(self) -> None:
        self._sweep_asked = True
        self._wake.set()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._work:
                    wait_s = self._polled.due_in()
                self._wake.wait(wait_s)
                self._wake.clear()
                if self._sweep_asked:
                    self.sweep()
                with self._work:
                    self._compare()
            except Exception:
                log.exception("watch.sweep_failed")
