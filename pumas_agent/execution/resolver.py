"""DescriptorResolver: answers to runtimes, true at the moment they are given (law 6).

Owns the prepared answers. A lookup of an asset that has not changed is a comparison of its stat signature and a byte
string made when its verdict was published; anything else waits for a judgement. A commit on a model, of its dependency
bindings too, replaces its entry in the catalog, and with it what was prepared from that. Whoever asks for the paths of
a container gets the same answer with those, and none when the container does not see the asset.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pumas_agent.contracts.descriptor import (
    EXECUTION_CONTRACT_VERSION,
    DescriptorBatch,
    DescriptorBatchItem,
    ModelExecutionDescriptor,
    PathsAs,
)
from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    ContractVersionMismatch,
    ModelNotFound,
    PathNotMapped,
    PumasError,
)
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.execution.descriptor import descriptor_of, refusal_of
from pumas_agent.health import BUNDLE_CODES, AlertBook
from pumas_agent.library import CatalogEntry, Library
from pumas_agent.path_map import NotSeen, PathMap
from pumas_agent.patience import time_limit
from pumas_agent.upkeep import Refresher, Verdict

PATIENCE_S = 4.0
"""Seconds that an asset may take to answer; less than the clients wait, so that they hear which asset it is."""
_HOST = PathsAs.HOST
_BATCH_TURN = 16
"""Answers of a batch (about a millisecond of `stat` calls) before others on the event loop have their turn."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An answer, as JSON, and what it was made from. One for each model that was asked for is kept for good."""

    entry: CatalogEntry
    verdict: Verdict
    answer: bytes


@dataclass(slots=True)
class Lookups:
    """How many were asked for, by what became of them."""

    answered: int = 0
    refused: int = 0
    unknown: int = 0
    unresponsive: int = 0

    def by_result(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class DescriptorResolver:
    """Resolves descriptors. Belongs to the event loop."""

    def __init__(self, library: Library, refresher: Refresher, alerts: AlertBook, paths: PathMap | None = None) -> None:
        self._library = library
        self._refresher = refresher
        self._alerts = alerts
        self._prepared: dict[str, _Prepared] = {}
        self._paths = paths or PathMap()
        self._mapped: dict[str, tuple[_Prepared, _Prepared]] = {}
        """What was prepared for a container, after what it was made from."""
        self.lookups = Lookups()

    def retune(self, paths: PathMap) -> None:
        """Containers see the host otherwise from the next answer on."""
        self._paths = paths
        self._mapped.clear()

    def at_once(self, model_id: str, paths_as: PathsAs = _HOST) -> bytes | None:
        """The answer for an asset whose verdict still holds, as one line of JSON; None when it has to be judged.

        Raises:
            ModelNotFound: no such model.
            AssetNotValid: it is not valid, and nothing has changed since that was found.
            PathNotMapped: it is asked for a container that does not see it.
        """
        entry = self._entry(model_id)
        prepared = self._prepared.get(model_id)
        if prepared is not None and prepared.entry is entry and self._refresher.still_holds(prepared.verdict):
            if paths_as is not _HOST:
                return self._told(prepared, paths_as).answer
            self.lookups.answered += 1  # nearly every lookup ends here
            return prepared.answer
        verdict = self._refresher.verdict(model_id)
        if verdict is None or not self._refresher.holds(verdict):
            return None
        return self._told(self._answer(entry, verdict), paths_as).answer

    async def resolve(self, model_id: str, paths_as: PathsAs = PathsAs.HOST) -> bytes:
        """The answer, after a judgement when one is needed.

        Raises:
            ModelNotFound, AssetNotValid, PathNotMapped: as `at_once`.
            AssetUnresponsive: its filesystem does not answer in time.
        """
        return self._told(await self._resolve(model_id), paths_as).answer

    async def _resolve(self, model_id: str) -> _Prepared:
        root = self._entry(model_id).bundle_root
        try:
            async with time_limit(PATIENCE_S):  # the judgement goes on, for whoever asks next
                verdict = await self._refresher.current(model_id)
        except TimeoutError:
            self.lookups.unresponsive += 1
            raise AssetUnresponsive(
                f"{root} did not answer within {PATIENCE_S:g} s",
                hint="check the filesystem that holds it: a network or external drive may have gone away",
            ) from None
        return self._answer(self._entry(model_id), verdict)

    async def batch(self, model_ids: Sequence[str], paths_as: PathsAs = PathsAs.HOST) -> DescriptorBatch:
        """An answer for each id, in order. Dependencies are not resolved in a batch."""
        items: list[DescriptorBatchItem] = []
        for start in range(0, len(model_ids), _BATCH_TURN):
            turn = model_ids[start : start + _BATCH_TURN]
            items += await asyncio.gather(*(self._batch_item(model_id, paths_as) for model_id in turn))
            await asyncio.sleep(0)
        return DescriptorBatch(descriptors=tuple(items))

    async def _batch_item(self, model_id: str, paths_as: PathsAs) -> DescriptorBatchItem:
        try:
            prepared = self._told(await self._resolve(model_id), paths_as)
        except PumasError as error:
            return DescriptorBatchItem(model_id=model_id, error=error.message, error_data=error.to_data())
        descriptor = ModelExecutionDescriptor.model_validate_json(prepared.answer)
        descriptor = descriptor.model_copy(update={"dependency_resolution": None})
        return DescriptorBatchItem(model_id=model_id, descriptor=descriptor)

    def _entry(self, model_id: str) -> CatalogEntry:
        entry = self._library.catalog.get(model_id)
        if entry is None:
            self._prepared.pop(model_id, None)
            self._mapped.pop(model_id, None)
            self.lookups.unknown += 1
            raise ModelNotFound(
                f"Model not found: {model_id}", hint="`pumas-agent list` shows the ids; `pumas-agent search` finds one"
            )
        return entry

    def _answer(self, entry: CatalogEntry, verdict: Verdict) -> _Prepared:
        if not verdict.is_valid:
            self.lookups.refused += 1
            was_valid_once = verdict.state is AssetValidationState.DEGRADED
            raise refusal_of(verdict, self._alerts.since(entry.id, BUNDLE_CODES) if was_valid_once else None)
        prepared = self._prepared.get(entry.id)
        if prepared is None or prepared.entry is not entry or prepared.verdict is not verdict:
            descriptor = descriptor_of(entry, verdict, self._library.catalog.dependencies)
            prepared = _Prepared(entry, verdict, descriptor.model_dump_json().encode())
            self._prepared[entry.id] = prepared
        return prepared

    def _told(self, prepared: _Prepared, paths_as: PathsAs) -> _Prepared:
        """The answer with the paths that were asked for, and the count of it."""
        if paths_as is not _HOST:
            try:
                prepared = self._as_in_container(prepared)
            except PathNotMapped:
                self.lookups.refused += 1
                raise
        self.lookups.answered += 1
        return prepared

    def _as_in_container(self, prepared: _Prepared) -> _Prepared:
        known = self._mapped.get(prepared.entry.id)
        if known is not None and known[0] is prepared:
            return known[1]
        verdict = prepared.verdict
        try:
            name = self._paths.seen(verdict.entry_path, verdict.beside or ())
        except NotSeen as reason:
            raise PathNotMapped(
                str(reason),
                hint="give paths.map a rule for all of it, and the container a mount; what has the same name in it "
                "needs a rule onto itself",
                data={"path": verdict.entry_path},
            ) from None
        descriptor = ModelExecutionDescriptor.model_validate_json(prepared.answer)
        descriptor = descriptor.model_copy(update={"entry_path": name})
        mapped = _Prepared(prepared.entry, verdict, descriptor.model_dump_json().encode())
        self._mapped[prepared.entry.id] = prepared, mapped
        return mapped


def require_contract_version(expected: int | None) -> None:
    """Refuse a caller that understands another version.

    Raises:
        ContractVersionMismatch: it does.
    """
    if expected is not None and expected != EXECUTION_CONTRACT_VERSION:
        raise ContractVersionMismatch(
            f"execution contract version {expected} was expected, this agent speaks {EXECUTION_CONTRACT_VERSION}",
            hint="update the older of the two",
            data={"expected": expected, "actual": EXECUTION_CONTRACT_VERSION},
        )
