"""RecordKeeper: brings records up to verdicts, and knows which could not be.

Owns the commits of verdicts. One that changes nothing writes nothing (law 8); one that the library does not take is
remembered, and tried again by the next judgement.
"""

import asyncio
import hashlib
from collections.abc import Callable

import structlog

from pumas_agent.bundles import Look
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.contracts.errors import LibraryOffline, LibraryUnwritable, PumasError
from pumas_agent.library import CatalogEntry, Library
from pumas_agent.upkeep.record import judged_record

log = structlog.get_logger(__name__)


class RecordKeeper:
    """Commits what was found. Belongs to the event loop.

    Args:
        library: where verdicts are committed; one that was opened only to read takes none.
        observe_library: told why the library took no verdict; None when it takes them again.
    """

    def __init__(self, library: Library, observe_library: Callable[[PumasError | None], None]) -> None:
        self._library = library
        self._observe_library = observe_library
        self._commits: dict[str, asyncio.Task[bool]] = {}
        """Commits of verdicts that are published; they reach the library in the order of the verdicts."""
        self._recorded: dict[str, tuple[bytes, CatalogEntry]] = {}
        """What was found when the record was last brought up to a verdict, and the entry that came of it."""
        self.uncommitted: dict[str, PumasError] = {}
        """Models whose verdict could not be committed, and why."""

    @property
    def library_fault(self) -> PumasError | None:
        """Why the library took a verdict not; None when it takes them. What ails a single record does not count."""
        return next((error for error in self.uncommitted.values() if _is_of_the_library(error)), None)

    def forget(self, model_id: str) -> None:
        """Drop what is known of a model that is no longer registered."""
        self._recorded.pop(model_id, None)
        self.uncommitted.pop(model_id, None)

    def commit_behind(self, model_id: str, root: str | None, look: Look | None) -> None:
        """Commit a verdict that is served already: who asked does not wait for a library that is slow to take it."""
        task = asyncio.create_task(self.commit(model_id, root, look))
        self._commits[model_id] = task

        def ended(_: asyncio.Task[bool]) -> None:
            if self._commits.get(model_id) is task:
                del self._commits[model_id]
            if not task.cancelled() and (fault := task.exception()) is not None:
                log.error("verdict.commit_failed", model_id=model_id, exc_info=fault)

        task.add_done_callback(ended)

    async def wait(self, model_id: str) -> None:
        """Return when no commit of the model is under way: what its record says is known only then."""
        if commit := self._commits.get(model_id):
            await asyncio.wait({commit})

    async def commit(self, model_id: str, root: str | None, look: Look | None) -> bool:
        """Bring the record up to what was found; False when that could not be done.

        Args:
            model_id: whose record.
            root: where the bundle is.
            look: what was found there; None when there is no place to look at.
        """
        if not self._library.writable:
            return False
        entry = self._library.catalog.get(model_id)
        digest = _digest(look.report) if look is not None else None
        recorded = self._recorded.get(model_id)
        if recorded is not None and recorded[0] == digest and recorded[1] is entry:
            return True
        try:
            await self._library.write(
                lambda store: store.update(model_id, lambda record: judged_record(record, root, look))
            )
        except PumasError as error:
            if self._library.catalog.get(model_id) is not None:
                self._not_committed(model_id, error)
            return False
        entry = self._library.catalog.get(model_id)
        if digest is not None and entry is not None:
            self._recorded[model_id] = (digest, entry)
        if _is_of_the_library(self.uncommitted.pop(model_id, None)):
            self._observe_library(self.library_fault)
        return True

    def _not_committed(self, model_id: str, error: PumasError) -> None:
        known = self.uncommitted.get(model_id)
        self.uncommitted[model_id] = error
        if known is None or known.code != error.code:
            log.warning("verdict.not_committed", model_id=model_id, code=error.code, reason=error.message)
        if _is_of_the_library(error):
            self._observe_library(error)


def _digest(report: BundleReport) -> bytes:
    """Stands for the report: one of each bundle is remembered for good, to write nothing that is written already."""
    return hashlib.blake2b(report.model_dump_json().encode(), digest_size=16).digest()


def _is_of_the_library(error: PumasError | None) -> bool:
    return isinstance(error, LibraryOffline | LibraryUnwritable)
