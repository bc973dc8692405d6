"""Refresher: judge an asset again, have the verdict committed, publish it.

Owns the verdicts, and the rule of what is served when a commit fails: a verdict that got worse is published before it
is committed, one that got better after (law 6). One judgement an asset at a time; whoever asks during one gets the
next.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from pumas_agent.bundles import Look, StatSignature
from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.errors import AssetUnresponsive, ModelNotFound
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.contracts.timestamps import lived_ns, utc_now
from pumas_agent.library import CatalogEntry, Library, is_partial_download, primary_file
from pumas_agent.mounts import is_local
from pumas_agent.upkeep.record import DOWNLOAD_INCOMPLETE, NO_ENTRY_PATH
from pumas_agent.upkeep.record_keeper import RecordKeeper
from pumas_agent.upkeep.sameness import as_registered, is_other_content
from pumas_agent.upkeep.settling import Holds, is_being_written
from pumas_agent.upkeep.verdict import Verdict

_ATTEMPTS = 3

log = structlog.get_logger(__name__)


class Judge(Protocol):
    """Judges a bundle somewhere else than on the event loop."""

    async def judge(self, root: Path, *, urgent: bool = False) -> Look:
        """One look at the bundle; an urgent one goes before those that wait."""


class Freshness(Protocol):
    """Proves that nothing happened to an asset, without looking at it. For the event loop."""

    def now(self) -> int:
        """A point to ask about later."""

    def nothing_since(self, point: int, model_id: str, root: str, beside: tuple[str, ...], *, in_library: bool) -> bool:
        """True when nothing can have changed since that point; False when that is not known."""

    def depends_on(self, model_id: str, beside: tuple[str, ...]) -> None:
        """A verdict rests on folders elsewhere too: from now on they belong to what is proven."""


class NothingProven:
    """A `Freshness` for who watches nothing."""

    def now(self) -> int:
        """Any point will do."""
        return 0

    def nothing_since(
        self,
        point: int,  # noqa: ARG002
        model_id: str,  # noqa: ARG002
        root: str,  # noqa: ARG002
        beside: tuple[str, ...],  # noqa: ARG002
        *,
        in_library: bool,  # noqa: ARG002
    ) -> bool:
        """Never known."""
        return False

    def depends_on(self, model_id: str, beside: tuple[str, ...]) -> None:
        """Nothing is watched."""


class Refresher:
    """Keeps one verdict an asset. Belongs to the event loop."""

    def __init__(
        self,
        library: Library,
        judge: Judge,
        freshness: Freshness,
        *,
        observe: Callable[[Verdict], None],
        observe_silence: Callable[[str, AssetUnresponsive], None],
        records: RecordKeeper,
        holds: Holds,
    ) -> None:
        """Make one.

        Args:
            library: whose models are judged.
            judge: looks at bundles.
            freshness: proves that a verdict holds, where it can.
            observe: told each verdict on a bundle.
            observe_silence: told of a model whose filesystem does not answer.
            records: brings records up to verdicts.
            holds: bundles that somebody says are being written.
        """
        self._library = library
        self.records = records
        self._judge = judge
        self._freshness = freshness
        self.holds_of = holds
        self._proven: dict[str, tuple[Verdict, int]] = {}
        """Up to which point a verdict is known to hold."""
        self._observe = observe
        self._observe_silence = observe_silence
        self._verdicts: dict[str, Verdict] = {}
        self._running: dict[str, asyncio.Task[Verdict]] = {}
        self._following: dict[str, asyncio.Task[Verdict]] = {}

    def verdict(self, model_id: str) -> Verdict | None:
        """The last verdict since the start, true or not; none of a place where the asset is no more."""
        verdict = self._verdicts.get(model_id)
        entry = self._library.catalog.get(model_id)
        if verdict is None or entry is None or not entry.is_bundle:
            return verdict
        return verdict if verdict.entry_path == (entry.bundle_root or "") else None

    def forget(self, model_id: str) -> None:
        """Drop what is known of a model that is no longer registered."""
        self._verdicts.pop(model_id, None)
        self._proven.pop(model_id, None)
        self.records.forget(model_id)

    def holds(self, verdict: Verdict) -> bool:
        """True when nothing that a verdict depends on has changed since.

        Proven by one system call where it can be, else by a bounded number of `stat` calls. False also when neither
        tells, and the asset has to be judged again.
        """
        known = self._proven.get(verdict.model_id)
        if known is not None and known[0] is verdict and self._nothing_since(known[1], verdict):
            return True
        point = self._freshness.now()
        if not verdict.holds():
            return False
        self._proven[verdict.model_id] = (verdict, point)
        return True

    def still_holds(self, verdict: Verdict) -> bool:
        """True when it is the last verdict of its model, and proven to hold: what most lookups are answered by."""
        known = self._proven.get(verdict.model_id)
        return known is not None and known[0] is verdict and self._nothing_since(known[1], verdict)

    def _nothing_since(self, point: int, verdict: Verdict) -> bool:
        if verdict.beside is None or verdict.racy or verdict.signature is None:
            return False
        return self._freshness.nothing_since(
            point, verdict.model_id, verdict.entry_path, verdict.beside, in_library=verdict.in_library
        )

    async def current(self, model_id: str) -> Verdict:
        """A verdict that is true now: the last one when it holds, else a new one.

        Raises:
            ModelNotFound: no such model.
            AssetUnresponsive: its filesystem does not answer in time.
        """
        asked = time.monotonic()
        for _ in range(_ATTEMPTS):
            known = self.verdict(model_id)
            if known is not None and (self.holds(known) or known.holds_since(asked)):
                return known
            running = self._running.get(model_id)
            if running is not None:
                await asyncio.wait({running})  # it began before the question; what it found is looked at like any other
            else:
                await self._look_again(model_id, urgent=True)
        verdict = await self._look_again(model_id, urgent=True)
        return verdict if verdict.holds_since(asked) else verdict.as_settling()

    async def refresh(self, model_id: str) -> Verdict:
        """Judge a model, by a judgement that starts after this call, and commit what it finds.

        Raises: as `current`.
        """
        verdict = await self._look_again(model_id, urgent=False)
        await self.records.wait(model_id)
        return verdict

    async def _look_again(self, model_id: str, *, urgent: bool) -> Verdict:
        running = self._running.get(model_id)
        if running is None:
            return await asyncio.shield(self._start(model_id, urgent=urgent))
        following = self._following.get(model_id)
        if following is None:
            following = asyncio.create_task(self._after(running, model_id, urgent=urgent))
            self._following[model_id] = following
        return await asyncio.shield(following)

    def _start(self, model_id: str, *, urgent: bool) -> asyncio.Task[Verdict]:
        task = asyncio.create_task(self._run(model_id, urgent=urgent))
        self._running[model_id] = task
        task.add_done_callback(lambda task: self._ended(model_id, task))
        return task

    def _ended(self, model_id: str, task: asyncio.Task[Verdict]) -> None:
        if not task.cancelled():
            task.exception()  # whoever asked may have gone meanwhile: it is told of where it is raised
        # Whoever asks from now on may not join the run that was to follow this one: it may start before they asked.
        self._running.pop(model_id, None)
        self._following.pop(model_id, None)

    async def _after(self, running: asyncio.Task[Verdict], model_id: str, *, urgent: bool) -> Verdict:
        await asyncio.wait({running})
        return await asyncio.shield(self._running.get(model_id) or self._start(model_id, urgent=urgent))

    async def _run(self, model_id: str, *, urgent: bool) -> Verdict:
        try:
            entry = self._entry(model_id)
            return await (self._judge_bundle(entry, urgent=urgent) if entry.is_bundle else self._judge_files(entry))
        except BaseException as error:
            self._verdicts.pop(model_id, None)  # what is not known now is not served from before
            self._proven.pop(model_id, None)
            if isinstance(error, AssetUnresponsive) and self._library.catalog.get(model_id) is not None:
                self._observe_silence(model_id, error)
            raise

    def _entry(self, model_id: str) -> CatalogEntry:
        entry = self._library.catalog.get(model_id)
        if entry is None:
            self.forget(model_id)
            raise ModelNotFound(f"Model not found: {model_id}")
        return entry

    def _publish(self, verdict: Verdict, point: int) -> Verdict:
        """Serve a verdict from now on.

        Args:
            verdict: what was found.
            point: before which it was looked at.
        """
        self._entry(verdict.model_id)  # nothing is said of a model that was removed while it was judged
        self._verdicts[verdict.model_id] = verdict
        self._proven[verdict.model_id] = (verdict, point)
        if verdict.beside is not None and not verdict.in_library:
            self._freshness.depends_on(verdict.model_id, verdict.beside)
        self._observe(verdict)
        return verdict

    # --- bundles ------------------------------------------------------------------------------------------------

    async def _judge_bundle(self, entry: CatalogEntry, *, urgent: bool) -> Verdict:
        started, point = time.monotonic(), self._freshness.now()
        root = entry.bundle_root
        look = await self._judge.judge(Path(root), urgent=urgent) if root is not None else None
        if self._entry(entry.id).bundle_root != root:  # registered anew, or relocated, while the old place was judged
            return await self._judge_bundle(self._entry(entry.id), urgent=urgent)
        changed = look is not None and is_other_content(self._entry(entry.id), look)
        if look is not None:
            look = as_registered(self._entry(entry.id), look)
        errors = look.report.findings if look is not None else (NO_ENTRY_PATH,)
        report_json = look.report.model_dump_json().encode() if look is not None else None

        def verdict(
            state: AssetValidationState, errors: tuple[AssetValidationError, ...], *, committed: bool = True
        ) -> Verdict:
            return Verdict(
                model_id=entry.id,
                state=state,
                errors=errors,
                entry_path=root or "",
                report_json=report_json,
                changed=changed,
                writing=self._is_being_written(entry.id, root, look, errors),
                signature=look.signature if look is not None else StatSignature.of_entries("", ()),
                # The next look has to try the commit again, whether anything on the disk changed or not.
                racy=not committed or (look is not None and look.racy),
                local=look.local if look is not None else True,
                beside=look.beside if look is not None else None,
                in_library=not entry.is_external,
                judged_at=look.judged_at if look is not None else utc_now(),
                started=started,
                generation=self._library.catalog.generation,
            )

        degrades = entry.was_valid_once and root is not None
        failed = AssetValidationState.DEGRADED if degrades else AssetValidationState.INVALID
        if errors:
            published = self._publish(verdict(failed, errors), point)
            if not published.writing or entry.validation_state is not failed:  # one record when it is quiet
                self.records.commit_behind(entry.id, root, look)
            return published
        assert look is not None
        if look.settling:
            return self._publish(verdict(failed, ()), point)
        await self.records.wait(entry.id)
        committed = await self.records.commit(entry.id, root, look)
        recorded = self._entry(entry.id)
        if committed or recorded.validation_state is AssetValidationState.VALID:
            return self._publish(verdict(AssetValidationState.VALID, ()), point)
        as_recorded = verdict(recorded.validation_state or failed, recorded.validation_errors, committed=False)
        return self._publish(as_recorded, point)

    def _is_being_written(
        self, model_id: str, root: str | None, look: Look | None, errors: tuple[AssetValidationError, ...]
    ) -> bool:
        if root is None or look is None or look.signature is None or not errors:
            return False
        before = self._verdicts.get(model_id)
        known = before.signature if before is not None and before.entry_path == root else None
        return self.holds_of.is_held(root) or is_being_written(known, look.signature, time.time_ns(), lived_ns())

    # --- file models --------------------------------------------------------------------------------------------

    async def _judge_files(self, entry: CatalogEntry) -> Verdict:
        started, point = time.monotonic(), self._freshness.now()
        directory = Path(entry.path)
        taken_ns = time.time_ns()
        signature, primary, local = await asyncio.to_thread(_look_at_files, directory)
        state, errors = entry.validation_state or AssetValidationState.VALID, entry.validation_errors
        if primary is None and (entry.needs_no_record or await asyncio.to_thread(is_partial_download, directory)):
            state, errors = AssetValidationState.INVALID, (DOWNLOAD_INCOMPLETE,)
        return self._publish(
            Verdict(
                model_id=entry.id,
                state=state,
                errors=errors,
                entry_path=str(primary or directory),
                report_json=None,
                changed=False,
                writing=False,
                signature=signature,
                racy=signature.is_racy(taken_ns, local=local),
                local=local,
                beside=(),
                in_library=not entry.is_external,
                judged_at=utc_now(),
                started=started,
                generation=self._library.catalog.generation,
            ),
            point,
        )


def _look_at_files(directory: Path) -> tuple[StatSignature, Path | None, bool]:
    if not directory.is_dir():
        raise ModelNotFound(f"Model not found: the folder {directory} is gone")
    signature = StatSignature.take(directory)
    return signature, primary_file(directory), signature.one_device and is_local(directory)
