"""The service: starts the parts in order, joins what watches with what reconciles, and stops them."""

import asyncio
import gc
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

from pumas_agent import __version__
from pumas_agent.agent.assembly import absence_policy, assemble, external_roots
from pumas_agent.agent.figures import agent_metrics, resources, watch_limit
from pumas_agent.agent.housekeeping import Housekeeping
from pumas_agent.agent.outlets import Outlets
from pumas_agent.agent.reloading import reload
from pumas_agent.agent.supervision import PartsWatchdog, status_line
from pumas_agent.bundles import JudgePool, Policy
from pumas_agent.contracts.errors import PumasError, SettingsInvalid
from pumas_agent.contracts.explanation import WatchedBy, WatchExplanation
from pumas_agent.contracts.health import AlertCode, is_healthy
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.contracts.metrics import MetricsReport
from pumas_agent.contracts.records import ALL_MODELS, AgentStatus, ReconcileReport
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.health import (
    LIBRARY,
    WATCH_CODES,
    Notifier,
    config_condition,
    configure_logs,
    lost_condition,
    watch_conditions,
)
from pumas_agent.health.metrics import exposition
from pumas_agent.library import Library
from pumas_agent.mounts import Mounts, mounts
from pumas_agent.path_map import PathMap
from pumas_agent.reconcile import RECORDS_CHANGED, DirtySet, ProgressSink, ReconcileQueue, Schedule
from pumas_agent.serving import BoundSocket, Limits, PeerPolicy, Request, RpcServer, bind_socket
from pumas_agent.serving.doctor import AgentFacts, Doctor, Patient
from pumas_agent.serving.methods import Methods
from pumas_agent.serving.subscriptions import Subscriptions
from pumas_agent.settings import Settings
from pumas_agent.watching import LIBRARY as LIBRARY_ROOT
from pumas_agent.watching import WatchdogWatcher, library_scope
from pumas_agent.web import LoopbackAddress, Page

_SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter while the event loop wants it; a lookup waits for this at worst."""

_SETTLE_S = 1.0
"""Seconds without a sign of writing that make a bundle quiet."""
_FEED_PRUNING_S = 3600.0
_LOST = {"watch_overflow": AlertCode.WATCH_OVERFLOW, "watch_restarted": AlertCode.WATCH_RESTARTED}

log = structlog.get_logger(__name__)


class Agent:
    """The parts of a running service.

    Args:
        settings: what it was told.
        notifier: the way to the service manager, where there is one.
        inherited: the socket that the service manager listens on for the agent; null: it makes its own.
        web: where the page in the browser is served; null: nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        notifier: Notifier | None = None,
        inherited: BoundSocket | None = None,
        web: LoopbackAddress | None = None,
    ) -> None:
        self._settings = settings
        self._notifier = notifier or Notifier()
        self._inherited = inherited
        self._web = web
        self._page: Page | None = None
        self._socket_path = settings.socket.path if inherited is None else inherited.path
        self._started_at = utc_now()
        self._started = time.monotonic()
        self._stopping: list[Callable[[], Any]] = []
        self._watched: dict[str, tuple[Path, tuple[str, ...]]] = {}
        self._beside: dict[str, tuple[str, ...]] = {}
        self._followers: set[asyncio.Task[None]] = set()
        self._following = asyncio.Lock()
        self._listeners: dict[str, set[ProgressSink]] = defaultdict(set)
        self._faults: list[str] = []
        self._lost: dict[AlertCode, int] = defaultdict(int)
        self._mounts: Mounts | None = None

    async def start(self, given_up: Callable[[], bool]) -> None:
        """Lock, index, recovery; socket; then watchers and the first look at everything.

        `given_up` is asked while a command holds the lock, and ends the wait for it.
        """
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._notifier.status("opening the library")
        # A command may hold the lock, or the index may have to be brought up to date.
        async with self._notifier.extending():
            self.library = await asyncio.to_thread(
                Library.open, settings.library.root, "agent", socket=settings.socket.path, given_up=given_up
            )
        self._stopping.append(lambda: asyncio.to_thread(self.library.close))
        judges = self._judges = JudgePool(Policy.from_fields(settings.bundles.model_dump()))
        self._stopping.append(judges.close)
        watch = settings.watch
        self.queue = ReconcileQueue(
            self._run,
            DirtySet(watch.debounce_ms / 1000, watch.max_delay_ms / 1000),
            on_fault=self._on_fault,
            upcoming=self._upcoming,
        )
        self.watcher = WatchdogWatcher(
            self._on_event,
            backend=watch.backend,
            poll_interval_s=watch.poll_interval_s,
            max_watches=watch.max_watches,
            heartbeat=self._socket_path.parent,
            on_moved=self._on_moved,
        )
        self.parts = await assemble(
            self.library,
            judges,
            self,
            follow=self.follow,
            policy=absence_policy(settings),
            mapping_configs=settings.mapping.config_dir,
            paths=PathMap.of(settings.paths.map),
            searches=True,
            relocated=self._on_relocated,
            unsettled=self._on_unsettled,
            visible_after_s=settings.health.visible_after_ms / 1000,
        )
        self.parts.alerts.observe(LIBRARY, (AlertCode.CONFIG_INVALID,), {})  # it started with what is there now
        self._stopping.append(self.parts.alerts.close)
        self._outlets = Outlets(self.parts.alerts.journal, self.metrics)
        self._stopping.append(self._outlets.stop)
        await self._outlets.tell(settings)
        self._stopping.append(self.parts.absences.stop)
        self._housekeeping = Housekeeping(
            self.parts,
            adopts=settings.library.adopt,
            trash_days=settings.library.trash_days,
            on_fault=self._note_fault,
        )
        self._stopping.append(self._housekeeping.stop)
        self.queue.start()  # before the first client, who may ask for a reconcile
        self._stopping.append(self.queue.stop)
        await self._serve()
        await asyncio.to_thread(self._watch_library)
        self._stopping.append(lambda: asyncio.to_thread(self.watcher.stop))
        self.queue.mark_dirty(ALL_MODELS, "start")
        schedule = self._schedule = Schedule()
        schedule.every("full reconcile", watch.full_reconcile_s, lambda: self.queue.mark_dirty(ALL_MODELS, "schedule"))
        schedule.every("identity sweep", watch.identity_poll_s, self._sweep)
        schedule.every("feed pruning", _FEED_PRUNING_S, self._prune_feed, at_once=True)
        await self._outlets.write(settings, schedule)
        schedule.start()
        self._stopping.append(schedule.stop)
        self._stopping.append(PartsWatchdog(self._notifier, self.library, self.watcher, schedule).stop)
        gc.freeze()  # what was built until now lives as long as the agent: no collection has to look at it again

    async def _serve(self) -> None:
        settings = self._settings
        self._subscriptions = Subscriptions(self.library, self.parts.alerts.journal)
        self._stopping.append(self._subscriptions.close)
        methods = Methods(
            self.parts,
            reconcile=self._reconcile,
            follow=self.follow,
            status=self.status,
            watching=self.watching,
            doctor=Doctor(self._as_patient).examine,
            metrics=self.metrics,
            subscriptions=self._subscriptions,
        )
        bound = self._inherited or bind_socket(settings.socket.path, group=settings.socket.group)
        self._stopping.append(bound.close)
        registry, policy = methods.registry(), PeerPolicy.of_this_process(settings.socket.group)
        limits = Limits(connections=settings.socket.max_connections)
        self.server = RpcServer(registry, policy, limits)
        await self.server.start(bound)
        self._stopping.append(self.server.stop)
        if self._web is not None:
            self._page = await Page.serve(
                self._web, socket=self._socket_path, registry=registry, policy=policy, limits=limits
            )
            self._stopping.append(self._page.stop)
        log.info(
            "agent.ready",
            version=__version__,
            pid=os.getpid(),
            library=str(self.library.layout.root),
            socket=str(self._socket_path),
            models=len(self.library.catalog),
        )
        self._notifier.ready()
        self._say_status()

    async def reload(self, reread: Callable[[], Settings]) -> None:
        """Take what a running agent can take of the configuration as it is now, all of it or nothing."""
        self._notifier.reloading()
        found = {}
        try:
            done = reload(self._settings, await asyncio.to_thread(reread))
        except SettingsInvalid as error:
            found = {AlertCode.CONFIG_INVALID: config_condition(error)}
        else:
            settings = self._settings = done.settings
            configure_logs(settings.log.level, settings.log.format)
            self.queue.retune(settings.watch.debounce_ms / 1000, settings.watch.max_delay_ms / 1000)
            self.parts.absences.retune(absence_policy(settings))
            self.parts.finder.retune(settings.bundles.search_roots)
            self.parts.resolver.retune(PathMap.of(settings.paths.map))
            self.parts.alerts.retune(settings.health.visible_after_ms / 1000)
            await self._outlets.tell(settings)
            await self._outlets.write(settings, self._schedule)
            self._housekeeping.retune(adopts=settings.library.adopt, trash_days=settings.library.trash_days)
            say = log.warning if done.restart else log.info
            say("config.reloaded", changed=list(done.changed), restart_needed=list(done.restart))
        self.parts.alerts.observe(LIBRARY, (AlertCode.CONFIG_INVALID,), found)
        self._notifier.ready()
        self._say_status()

    def _say_status(self) -> None:
        if self._notifier.is_heard:
            self._notifier.status(status_line(self._bundle_states(), self.parts.alerts.standing()))

    async def metrics(self) -> MetricsReport:
        """What is measured now."""
        limit = await asyncio.to_thread(watch_limit, self._settings.watch.max_watches)
        measured = agent_metrics(
            self.status(),
            self.parts,
            started=self._started,
            watches_max=limit,
            subscriptions=self._subscriptions,
            hook=self._outlets.hook,
            judging=self._judges.processes(),
        )
        return MetricsReport(text=exposition(measured))

    async def stop(self) -> None:
        """Stop in the opposite order: no new work, finish the commit in hand, close."""
        for stop in reversed(self._stopping):
            result = stop()
            if result is not None:
                await result
        if self._stopping:
            log.info("agent.stopped", pid=os.getpid())
        self._stopping.clear()

    def _watch_library(self) -> None:
        catalog = self.library.catalog
        self.watcher.watch_library(
            self.library.layout.root,
            lambda relative: library_scope(relative, lambda model_id: catalog.get(model_id) is not None),
        )
        self.watcher.start()

    def _upcoming(self, scopes: Sequence[str]) -> None:
        """While a bundle waits to be quiet, the process that judges it is started."""
        entries = map(self.library.catalog.get, scopes)
        if any(entry is not None and entry.is_bundle for entry in entries):
            self._judges.prepare()

    def _on_event(self, scope: str, reason: str) -> None:
        """What the watcher says. Called on its threads."""
        of_library = scope == ALL_MODELS and reason == "event"
        self.queue.mark_dirty(scope, RECORDS_CHANGED if of_library else reason)
        if reason in _LOST:
            self._loop.call_soon_threadsafe(self._on_lost, _LOST[reason])

    def _on_moved(self, model_id: str, path: str) -> None:
        """Where a root was seen to go. Called on the watcher's thread."""
        self._loop.call_soon_threadsafe(self.parts.absences.hint, model_id, path)

    def _on_lost(self, code: AlertCode) -> None:
        self._lost[code] += 1
        self.parts.alerts.observe(LIBRARY, (code,), {code: lost_condition(code, self._lost[code])})

    def _on_relocated(self, model_id: str) -> None:
        self.queue.mark_dirty(model_id, "relocated")

    def _on_unsettled(self, model_id: str) -> None:
        """Look again when it may be quiet, however its last event came."""
        self._loop.call_later(_SETTLE_S, self.queue.mark_dirty, model_id, "settling")

    async def _sweep(self) -> None:
        """Find what no event tells, and say how it stands with the watching."""
        await asyncio.to_thread(self._look_around)
        self._say_how_watching_is()
        self._say_status()
        if self._mounts != (now := await asyncio.to_thread(mounts)):
            self._mounts = now
            self.parts.absences.look_again()

    async def _prune_feed(self) -> None:
        """Drop what nobody needs any more from the feed, so that it does not grow for ever."""
        feed = self._settings.feed
        dropped = 0
        try:
            while count := await self.library.write(lambda store: store.prune_feed(feed.keep_days, feed.keep_events)):
                dropped += count
        except PumasError as error:
            log.warning("feed.not_pruned", code=error.code, reason=error.message)
        if dropped:
            log.info("feed.pruned", events=dropped)

    def _say_how_watching_is(self) -> None:
        alerts = self.parts.alerts
        unwatched = self.watcher.unwatched()
        limited = self.watcher.limit_reached
        alerts.observe(LIBRARY, WATCH_CODES, watch_conditions(unwatched, limit_reached=limited))
        for code in _LOST.values():  # said at once, and over when a sweep found nothing more
            alerts.observe(LIBRARY, (code,), {})

    def _look_around(self) -> None:
        """Roots that are other folders now, and refused bundles that changed since. Blocks."""
        self.watcher.sweep()
        for entry in self.library.catalog.bundles():
            if entry.validation_state is not AssetValidationState.VALID:
                verdict = self.parts.refresher.verdict(entry.id)
                if verdict is not None and not verdict.holds():
                    self.queue.mark_dirty(entry.id, "sweep")

    async def follow(self) -> None:
        """Watch the roots of exactly the external bundles that are registered now."""
        async with self._following:
            wanted = {
                entry.id: (Path(entry.bundle_root), self._beside.get(entry.id, ()))
                for entry in self.library.catalog.bundles()
                if entry.is_external and entry.bundle_root is not None
            }
            gone = [model_id for model_id in self._watched if model_id not in wanted]
            new = {model_id: place for model_id, place in wanted.items() if self._watched.get(model_id) != place}
            for model_id in gone:
                self._beside.pop(model_id, None)
            if gone or new:
                await asyncio.to_thread(self._change_watches, gone, new)
            self._watched = wanted

    def _change_watches(self, gone: Iterable[str], new: dict[str, tuple[Path, tuple[str, ...]]]) -> None:
        for model_id in gone:
            self.watcher.unwatch_bundle(model_id)
        for model_id, (root, beside) in new.items():
            self.watcher.watch_bundle(model_id, root, beside)

    def now(self) -> int:
        """See `Freshness`."""
        return self.watcher.now()

    def nothing_since(self, point: int, model_id: str, root: str, beside: tuple[str, ...], *, in_library: bool) -> bool:
        """See `Freshness`."""
        return self.watcher.nothing_since(point, model_id, root, beside, in_library=in_library)

    def depends_on(self, model_id: str, beside: tuple[str, ...]) -> None:
        """See `Freshness`: watch these folders too."""
        if self._beside.get(model_id, ()) == beside:
            return
        self._beside[model_id] = beside
        following = asyncio.create_task(self.follow(), name="follow")
        self._followers.add(following)
        following.add_done_callback(self._followers.discard)

    def watching(self, model_id: str, external: bool) -> WatchExplanation:
        """How a change of a model would be noticed."""
        name = model_id if external else LIBRARY_ROOT
        if (fault := self.watcher.faults().get(name)) is not None:
            return WatchExplanation(by=WatchedBy.NOTHING, why=fault)
        if (polled := self.watcher.polled().get(name)) is not None:
            return WatchExplanation(by=WatchedBy.POLLING, why=polled)
        if external and model_id not in self._watched:
            return WatchExplanation(by=WatchedBy.NOTHING, why="its record names no place that could be watched")
        return WatchExplanation(by=WatchedBy.EVENTS)

    async def _run(self, scope: str, reasons: frozenset[str]) -> ReconcileReport:
        def tell(stage: str, done: int, total: int | None, unit: str) -> None:
            for listener in tuple(self._listeners.get(scope, ())):
                listener(stage, done, total, unit)

        report = await self.parts.reconciler.run(scope, reasons, tell)
        if scope == ALL_MODELS:
            self._housekeeping.begin()
        self._say_status()
        return report

    async def _reconcile(self, scope: str, request: Request) -> ReconcileReport:
        self._listeners[scope].add(request.progress)
        try:
            return await self.queue.run_now(scope)
        finally:
            self._listeners[scope].discard(request.progress)
            if not self._listeners[scope]:
                del self._listeners[scope]

    def _note_fault(self, what: str) -> None:
        """`status` shows the last twenty; one that comes again stands there once."""
        self._faults = [*(known for known in self._faults[-19:] if known != what), what]

    def _on_fault(self, scope: str, fault: BaseException) -> None:
        reason = fault.message if isinstance(fault, PumasError) else repr(fault)
        self._note_fault(f"reconcile {scope}: {reason}")
        known = isinstance(fault, PumasError)
        log.error("reconcile.failed", scope=scope, reason=reason, exc_info=None if known else fault)

    def _as_patient(self) -> Patient:
        """What `doctor` examines."""
        settings = self._settings
        return Patient(
            root=self.library.layout.root,
            socket=self._socket_path,
            poll_interval_s=settings.watch.poll_interval_s,
            trash_days=settings.library.trash_days,
            roots=external_roots(self.library),
            agent=AgentFacts(
                alerts=self.parts.alerts.standing(),
                faults=(*self._faults, *self._outlets.faults()),
                cover=self.watcher.cover(),
                unwatched=self.watcher.unwatched(),
                limit_reached=self.watcher.limit_reached,
                connections=self.server.connections,
                max_connections=settings.socket.max_connections,
            ),
        )

    def _bundle_states(self) -> dict[str, int]:
        bundles: dict[str, int] = defaultdict(int)
        for entry in self.library.catalog.bundles():
            bundles[str(entry.validation_state or "unknown")] += 1
        return dict(bundles)

    def status(self) -> AgentStatus:
        """What the agent is and does now."""
        alerts = self.parts.alerts.standing()
        cover = self.watcher.cover()
        used = resources()
        return AgentStatus(
            healthy=is_healthy(alerts),
            alerts=alerts,
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            socket=str(self._socket_path),
            library_root=str(self.library.layout.root),
            generation=self.library.catalog.generation,
            models=len(self.library.catalog),
            bundles=self._bundle_states(),
            last_reconcile=self.parts.reconciler.last_full,
            last_reconcile_at=self.parts.reconciler.last_full_at,
            queue=self.queue.queued,
            watched_roots=cover.roots,
            watch_backend=cover.backend,
            polled_roots=cover.polled,
            poll_cost=round(cover.poll_cost, 4),
            watches=cover.watches,
            watch_overflows=cover.overflows,
            watch_faults=tuple(f"{name}: {why}" for name, why in sorted(self.watcher.faults().items())),
            connections=self.server.connections,
            rss_bytes=used.rss_bytes,
            open_fds=used.open_fds,
            cpu_seconds=used.cpu_seconds,
            page=self._page.url if self._page is not None else None,
            faults=(
                *self._faults,
                *self._outlets.faults(),
                *(
                    f"verdict on {name} not committed: {why.message}"
                    for name, why in self.parts.refresher.records.uncommitted.items()
                ),
            ),
        )
