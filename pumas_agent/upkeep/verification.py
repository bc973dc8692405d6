"""Verifier: does what the library says agree with the disk? Reads only; repairs nothing and commits nothing.

Records, rows and files are compared on a thread that gives way to all others, bundles are judged anew by the judge, and
deep, files are hashed one at a time, whoever asks. Files of external bundles are opened by `bundles` alone.
"""

import asyncio
import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pumas_agent.bundles import Look
from pumas_agent.bundles.reading import NotRegularFile, opened
from pumas_agent.contracts.errors import ModelNotFound, PumasError
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.contracts.verification import Difference, DifferenceCode, VerifyReport
from pumas_agent.in_time import in_time
from pumas_agent.library import CatalogEntry, IndexReader, Library
from pumas_agent.library.agreement import ModelCheck, Recorded, by_place, compare
from pumas_agent.library.digests import FileChanged, Stopped, can_digest, digests_of
from pumas_agent.library.payload import NotAFile, opened_payload
from pumas_agent.upkeep.refresh import Judge
from pumas_agent.upkeep.sameness import as_registered, is_other_content

_AT_A_TIME = 4
_LOOKS = 2
"""Further ones at a model that seems to differ."""
_COMMIT_S = 0.05
"""Longer than a commit takes on a disk that is not busy."""
_TURN_S = 1.0
_MOST_DIFFERENCES = 1_000
_LOWEST_PRIORITY = 19

Tell = Callable[[str, int, int | None, str], None]
"""`(stage, done, total, unit)`: how far it is; from any thread."""


@dataclass(slots=True)
class _Work:
    """What one verification has found so far, and what it has still to do."""

    tell: Tell
    stopped: threading.Event = field(default_factory=threading.Event)
    models: int = 0
    files: int = 0
    judged: int = 0
    hashed: int = 0
    bytes_hashed: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    unhealthy: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digests: list[tuple[str, Recorded]] = field(default_factory=list)

    def add(self, code: DifferenceCode, model_id: str | None, message: str, path: str | None = None) -> None:
        message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        self.differences.append(Difference(code=code, model_id=model_id, message=message, path=path))

    def take(self, check: ModelCheck, *, deep: bool) -> None:
        self.models += 1
        self.files += check.files
        self.differences += check.differences
        if check.metadata is not None and check.metadata.is_external and check.metadata.size_bytes is not None:
            self.sizes[check.model_id] = check.metadata.size_bytes
        if deep:
            self.digests += [(check.model_id, recorded) for recorded in check.digests]
            self.notes += check.notes


class Verifier:
    """Compares a library with the disk. Belongs to the event loop."""

    def __init__(self, library: Library, judge: Judge) -> None:
        self._library = library
        self._judge = judge
        self._hashing = asyncio.Lock()
        """Held by the one that reads files: two at a time would take the disk from each other, and from runtimes."""

    async def verify(self, model_id: str | None, *, deep: bool, tell: Tell) -> VerifyReport:
        """Compare one model, or everything; deep, the contents of files as well. Cancelled, it ends at the next block.

        Raises:
            ModelNotFound: there is neither a row nor a record of that id.
            LibraryUnavailable: the library is not there, or its index cannot be read.
        """
        started = time.perf_counter()
        work = _Work(tell)
        try:
            await self._on_a_thread(lambda: self._compare(work, model_id, deep=deep))
            await self._judge_bundles(work, model_id)
            if work.digests:
                await self._take_turns(work)
        finally:
            work.stopped.set()
        differences = list(by_place(work.differences))
        return VerifyReport(
            ok=not differences and not work.unhealthy,
            deep=deep,
            models=work.models,
            bundles_judged=work.judged,
            unhealthy=tuple(sorted(work.unhealthy)),
            files=work.files,
            files_hashed=work.hashed,
            bytes_hashed=work.bytes_hashed,
            differences=tuple(differences[:_MOST_DIFFERENCES]),
            more_differences=max(len(differences) - _MOST_DIFFERENCES, 0),
            notes=tuple(dict.fromkeys(work.notes))[:_MOST_DIFFERENCES],
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
        )

    async def _take_turns(self, work: _Work) -> None:
        waited = 0
        while self._hashing.locked():  # told again and again, so that a caller knows that there is somebody
            work.tell("waiting for another verification", waited, None, "seconds")
            waited += 1
            await asyncio.sleep(_TURN_S)
        async with self._hashing:
            await self._on_a_thread(lambda: self._hash(work))

    @staticmethod
    async def _on_a_thread(call: Callable[[], None]) -> None:
        def give_way() -> None:
            if sys.platform == "linux":  # there it is of the thread alone (man 2 setpriority)
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
            call()

        await in_time(give_way, None, name="verify")

    # --- records, rows and files --------------------------------------------------------------------------------

    def _compare(self, work: _Work, model_id: str | None, *, deep: bool) -> None:
        layout = self._library.layout
        layout.require_online()
        index = self._library.open_reader()
        try:
            ids = [model_id] if model_id is not None else sorted({*layout.survey().signatures, *index.ids()})
            if model_id is not None and index.row(model_id) is None and not _has_record(self._library, model_id):
                hint = "`pumas-agent list` shows the ids of all models"
                raise ModelNotFound(f"Model not found: {model_id}", hint=hint)
            differing = []
            for done, each in enumerate(ids):
                if work.stopped.is_set():
                    return
                check = compare(layout, each, index.row(each))
                if check.differences:
                    differing.append(check)
                else:
                    work.take(check, deep=deep)
                work.tell("comparing", done + 1, len(ids), "models")
            for _ in range(_LOOKS if differing else 0):  # what was seen in the middle of a commit is over by then
                work.stopped.wait(_COMMIT_S)
                differing = [
                    compare(layout, check.model_id, index.row(check.model_id)) if check.differences else check
                    for check in differing
                ]
            for check in differing:
                work.take(check, deep=deep)
            _compare_index(work, index, model_id)
        finally:
            index.close()

    # --- bundles ------------------------------------------------------------------------------------------------

    async def _judge_bundles(self, work: _Work, model_id: str | None) -> None:
        catalog = self._library.catalog
        bundles = [entry.id for entry in catalog.bundles() if model_id in {None, entry.id}]
        waiting = iter(sorted(bundles))

        async def judge() -> None:
            for each in waiting:
                await self._judge_one(work, each)
                work.judged += 1
                work.tell("judging", work.judged, len(bundles), "bundles")

        async with asyncio.TaskGroup() as group:  # cancelled together
            for _ in range(min(_AT_A_TIME, len(bundles))):
                group.create_task(judge())

    async def _judge_one(self, work: _Work, model_id: str) -> None:
        entry = self._library.catalog.get(model_id)
        if entry is None:
            return
        if entry.bundle_root is None:
            work.unhealthy.append(model_id)
            if entry.validation_state is not AssetValidationState.INVALID:
                what = f"the record says {entry.validation_state}, and names no absolute path"
                work.add(DifferenceCode.STATE_DIFFERS, model_id, what)
            return
        try:
            look = await self._judge.judge(Path(entry.bundle_root))
        except PumasError as error:
            work.add(DifferenceCode.NOT_ANSWERED, model_id, error.message)
            return
        entry = self._library.catalog.get(model_id)  # a reconcile may have been quicker
        if entry is not None:
            _compare_state(work, entry, look)

    # --- contents -----------------------------------------------------------------------------------------------

    def _hash(self, work: _Work) -> None:
        total = sum(recorded.size for _, recorded in work.digests)
        for model_id, recorded in work.digests:
            entry = self._library.catalog.get(model_id)
            if entry is None:
                continue
            algorithms = [name for name in recorded.digests if can_digest(name)]
            if len(algorithms) < len(recorded.digests):
                work.notes.append("BLAKE3 digests are not compared: the Python package blake3 is not installed")
            if algorithms:
                _compare_digests(work, entry, recorded, algorithms, total)
            if work.stopped.is_set():
                return


def _has_record(library: Library, model_id: str) -> bool:
    try:
        return library.layout.metadata_path(model_id).exists()
    except PumasError:
        return False


def _compare_index(work: _Work, index: IndexReader, model_id: str | None) -> None:
    try:
        for each in index.differing_search_rows():
            if model_id in {None, each}:
                what = "its search row is not what its row says; `pumas-agent reindex` makes the rows anew"
                work.add(DifferenceCode.SEARCH_ROW_DIFFERS, each, what)
        if model_id is None:
            for said in index.damage():
                work.add(DifferenceCode.INDEX_DAMAGED, None, said)
    except sqlite3.Error as error:
        work.add(DifferenceCode.INDEX_DAMAGED, None, str(error))


def _compare_state(work: _Work, entry: CatalogEntry, look: Look) -> None:
    changed = is_other_content(entry, look)
    report = as_registered(entry, look).report
    if report.is_valid:
        state = AssetValidationState.VALID
    else:
        work.unhealthy.append(entry.id)
        state = AssetValidationState.DEGRADED if entry.was_valid_once else AssetValidationState.INVALID
    if look.settling:
        work.notes.append(f"{entry.id} is being written; what is said of it may be over")
    if state is not entry.validation_state:
        now = report.findings[0].message if report.findings else "it is whole"
        what = f"the record says {entry.validation_state}, and now it is {state}: {now}"
        work.add(DifferenceCode.STATE_DIFFERS, entry.id, what)
    elif report.findings != entry.validation_errors:
        work.add(DifferenceCode.STATE_DIFFERS, entry.id, f"it is {state} for another reason than the record has")
    elif changed:
        what = "it is valid, and its contents are not those that were valid there last"
        work.add(DifferenceCode.STATE_DIFFERS, entry.id, what)
    size = work.sizes.get(entry.id)
    if report.is_valid and size is not None and size != report.size_bytes:
        what = f"its files have {report.size_bytes:,} bytes, and the record says {size:,}"
        work.add(DifferenceCode.SIZE_DIFFERS, entry.id, what)


def _compare_digests(work: _Work, entry: CatalogEntry, recorded: Recorded, algorithms: list[str], total: int) -> None:
    name = recorded.name

    def tell(count: int) -> None:
        work.bytes_hashed += count
        work.tell("hashing", work.bytes_hashed, total, "bytes")

    try:
        with _opened(entry, name) as descriptor:
            found = digests_of(descriptor, algorithms, tell=tell, stopped=work.stopped.is_set)
    except Stopped:
        return
    except FileChanged:
        work.add(DifferenceCode.FILE_CHANGED, entry.id, f"{name} was written to while it was read", name)
        return
    except FileNotFoundError:
        work.add(DifferenceCode.FILE_MISSING, entry.id, f"the record names {name}, and it is not there", name)
        return
    except (NotAFile, NotRegularFile, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        work.add(DifferenceCode.FILE_UNREADABLE, entry.id, f"{name} cannot be read: {why}", name)
        return
    work.hashed += 1
    for algorithm, digest in found.items():
        if digest != recorded.digests[algorithm]:
            what = f"{algorithm} of {name} is {digest}, and the record says {recorded.digests[algorithm]}"
            work.add(DifferenceCode.HASH_DIFFERS, entry.id, what, name)


@contextlib.contextmanager
def _opened(entry: CatalogEntry, name: str) -> Iterator[int]:
    if entry.is_external:
        with opened(Path(entry.bundle_root or "/", name)) as descriptor:
            yield descriptor
    else:
        with opened_payload(Path(entry.path), name) as descriptor:
            yield descriptor
