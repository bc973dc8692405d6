"""Reconciler: what a look at a scope does. Metadata files first, then the bundles they name.

Owns the order, and the alerts about the library itself. Never decides when to look, and never moves, adopts or removes
anything: an external reference is only ever judged again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import structlog

from pumas_agent.contracts.errors import LibraryOffline, LibraryUnwritable, ModelNotFound, PumasError
from pumas_agent.contracts.health import AlertCode
from pumas_agent.contracts.records import ALL_MODELS, ReconcileReport, ReindexReport
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.health import AlertBook, Condition
from pumas_agent.library import CatalogEntry, IndexOutcome, Library, LibraryChanges, ModelStore
from pumas_agent.upkeep import Refresher

T = TypeVar("T")
ProgressSink = Callable[[str, int, int | None, str], None]
"""`(stage, done, total, unit)`."""

_NAMED = 20
_AT_A_TIME = 16
"""Bundles that are asked for at a time. More keep no process busier, and asking for all at once holds the event loop
the longer, the more there are."""
RECORDS_CHANGED = "records_changed"
"""The reason of a look at everything because something below the library root changed: it says nothing of the bundles
outside, which have watches of their own."""

log = structlog.get_logger(__name__)


def no_progress(_stage: str, _done: int, _total: int | None, _unit: str) -> None:
    """For callers that nobody watches."""


class Reconciler:
    """Looks at scopes. Belongs to the event loop."""

    def __init__(
        self,
        library: Library,
        refresher: Refresher,
        alerts: AlertBook,
        *,
        observe_library: Callable[[PumasError | None], None],
        follow: Callable[[], Awaitable[None]],
    ) -> None:
        """Make one.

        Args:
            library: the library, open for writing.
            refresher: judges.
            alerts: told what is wrong with single records.
            observe_library: told what is wrong with the library itself; None when it is well.
            follow: called when models came or went, before they are judged, so that whoever watches their roots
                misses nothing that happens after the judgement.
        """
        self._library = library
        self._refresher = refresher
        self._alerts = alerts
        self._observe_library = observe_library
        self._follow = follow
        self._looks = 0
        self.runs = 0
        """Finished since the start; `failures` were not, and `last_duration_s` is of the last that was."""
        self.failures = 0
        self.last_duration_s = 0.0
        self.last_full: ReconcileReport | None = None
        self.last_full_at: str | None = None

    async def run(self, scope: str, reasons: Iterable[str], progress: ProgressSink = no_progress) -> ReconcileReport:
        """Look at a model, or at everything, and commit what is found.

        Raises:
            LibraryOffline: the library is not there; nothing is concluded from that.
            LibraryUnwritable: rows could not be written.
        """
        self._looks += 1
        try:
            report = await self._run(scope, reasons, progress)
        except PumasError:
            self.failures += 1
            raise
        else:
            self.runs += 1
            self.last_duration_s = report.duration_ms / 1000
            return report
        finally:
            self._looks -= 1

    @property
    def running(self) -> bool:
        """It is looking at something now."""
        return self._looks > 0

    async def _run(self, scope: str, reasons: Iterable[str], progress: ProgressSink) -> ReconcileReport:
        started = time.perf_counter()
        progress("reading metadata", 0, None, "models")
        outcome, seen = await self._guarded(self._index(scope))
        await self._follow()
        bundles = self._bundles(scope)
        full = scope == ALL_MODELS and set(reasons) != {RECORDS_CHANGED}
        if scope == ALL_MODELS and not full:
            bundles = {key: entry for key, entry in bundles.items() if self._concerns(entry, outcome)}
        unhealthy = await self._judge(sorted(bundles), progress)
        if scope != ALL_MODELS and scope not in bundles:
            await self._refresh_files(scope)
        catalog = self._library.catalog
        judged_anew = {model_id for model_id, entry in bundles.items() if catalog.get(model_id) is not entry}
        report = ReconcileReport(
            scope=scope,
            models_seen=seen,
            models_changed=tuple(sorted({*outcome.changed, *outcome.removed, *judged_anew})),
            bundles_judged=len(bundles),
            unhealthy=tuple(unhealthy),
            unreadable=tuple(sorted(outcome.unreadable)),
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
        )
        if full:
            self.last_full, self.last_full_at = report, utc_now()
        _say(report, reasons)
        return report

    async def rebuild(self, progress: ProgressSink = no_progress) -> ReindexReport:
        """Make the index anew from the metadata files, and judge every bundle again.

        Raises: as `run`.
        """
        self._looks += 1
        try:
            return await self._rebuild(progress)
        finally:
            self._looks -= 1

    async def _rebuild(self, progress: ProgressSink) -> ReindexReport:
        started = time.perf_counter()
        progress("rebuilding the index", 0, None, "models")
        count, outcome = await self._guarded(self._library.write(lambda store: store.rebuild()))
        self._observe_outcome(outcome, ALL_MODELS)
        await self._follow()
        await self._judge(sorted(self._bundles(ALL_MODELS)), progress)
        return ReindexReport(
            indexed_count=count - len(outcome.unreadable),
            changed=len(outcome.changed),
            removed=len(outcome.removed),
            unreadable=tuple(sorted(outcome.unreadable)),
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
        )

    def _concerns(self, entry: CatalogEntry, outcome: IndexOutcome) -> bool:
        """Whether a change below the library root can have changed the verdict on a bundle."""
        new = self._refresher.verdict(entry.id) is None
        return new or not entry.is_external or entry.id in outcome.changed

    def _bundles(self, scope: str) -> dict[str, CatalogEntry]:
        if scope == ALL_MODELS:
            return {entry.id: entry for entry in self._library.catalog.bundles()}
        entry = self._library.catalog.get(scope)
        return {scope: entry} if entry is not None and entry.is_bundle else {}

    async def _index(self, scope: str) -> tuple[IndexOutcome, int]:
        """Bring the rows of a scope up to date; how many metadata files were looked at."""
        if not self._library.writable:
            return IndexOutcome(), len(self._library.catalog)
        if scope != ALL_MODELS:
            outcome = await self._library.write(lambda store: store.index_one(scope))
            self._observe_outcome(outcome, scope)
            return outcome, 1
        known = await self._library.read(lambda index: index.signatures())
        changes = await self._library.look_around(lambda store: store.scan(known))
        outcome = IndexOutcome()
        if changes.changed or changes.gone:
            outcome = await self._library.write(_indexing(changes))
        self._observe_outcome(outcome, scope)
        return outcome, changes.seen

    async def _judge(self, model_ids: list[str], progress: ProgressSink) -> list[str]:
        """Judge bundles; those that are not valid. One that cannot be judged is not valid and stops no other."""
        waiting = iter(model_ids)
        unhealthy: list[str] = []
        done = 0

        async def work() -> None:
            nonlocal done
            for model_id in waiting:
                if not await self._is_healthy(model_id):
                    unhealthy.append(model_id)
                done += 1
                progress("judging", done, len(model_ids), "bundles")

        await asyncio.gather(*(work() for _ in range(_AT_A_TIME)))
        for model_id in model_ids:
            fault = self._refresher.records.uncommitted.get(model_id)
            if isinstance(fault, LibraryOffline | LibraryUnwritable):
                raise fault  # the run is not done: it is tried again until the library takes what was found
        return sorted(unhealthy)

    async def _is_healthy(self, model_id: str) -> bool:
        try:
            return (await self._refresher.refresh(model_id)).is_valid
        except ModelNotFound:
            return True  # unregistered meanwhile
        except PumasError as error:
            log.warning("bundle.not_judged", model_id=model_id, code=error.code, reason=error.message)
            return False

    async def _refresh_files(self, model_id: str) -> None:
        """A file model that was looked up before may have another primary file now."""
        if self._refresher.verdict(model_id) is not None:
            try:
                await self._refresher.refresh(model_id)
            except ModelNotFound:
                self._refresher.forget(model_id)

    async def _guarded(self, work: Awaitable[T]) -> T:
        """Do work on the library, and say so when the library itself is what is wrong."""
        try:
            result = await work
        except (LibraryOffline, LibraryUnwritable) as error:
            self._observe_library(error)
            raise
        if self._library.fault is not None:
            self._observe_library(self._library.fault)
        elif self._refresher.records.library_fault is None:
            self._observe_library(None)
        return result

    def _observe_outcome(self, outcome: IndexOutcome, scope: str) -> None:
        """Raise and clear the alerts about single records. A look at all models clears those it did not meet again."""
        for model_id in outcome.removed:
            self._refresher.forget(model_id)
            self._alerts.forget(model_id)
        known = self._alerts.models(AlertCode.METADATA_CORRUPT)
        for model_id in known | outcome.unreadable.keys() if scope == ALL_MODELS else {scope}:
            reason = outcome.unreadable.get(model_id)
            found = {} if reason is None else {AlertCode.METADATA_CORRUPT: _corrupt(model_id, reason)}
            self._alerts.observe(model_id, (AlertCode.METADATA_CORRUPT,), found)


def _say(report: ReconcileReport, reasons: Iterable[str]) -> None:
    """One line a run, with no more names than a person reads."""
    say = log.info if report.models_changed or report.scope == ALL_MODELS else log.debug
    say(
        "reconcile.finished",
        scope=report.scope,
        reasons=sorted(reasons),
        models_seen=report.models_seen,
        models_changed=len(report.models_changed),
        changed=report.models_changed[:_NAMED],
        bundles_judged=report.bundles_judged,
        unhealthy=report.unhealthy[:_NAMED],
        unreadable=report.unreadable[:_NAMED],
        duration_ms=report.duration_ms,
    )


def _indexing(changes: LibraryChanges) -> Callable[[ModelStore], IndexOutcome]:
    return lambda store: store.index(changes)


def _corrupt(model_id: str, reason: str) -> Condition:
    return Condition(
        f"{model_id}/metadata.json",
        {"reason": reason},
        f"`pumas-agent repair {model_id}` makes it again, from its backup or the index; or repair the file by hand."
        " The model stays registered meanwhile, as the index knows it",
    )
