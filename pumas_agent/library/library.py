"""An open library: its lock, its index, its catalog, and the two threads that touch the disk for it.

The event loop asks here and waits; nothing it waits for runs on the loop's own thread. One thread writes, so commits
come one after another; one reads, so that a question never waits for a commit.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import structlog

from pumas_agent.contracts.errors import LibraryNewer, LibraryUnavailable, LibraryUnwritable, PumasError
from pumas_agent.library.catalog import Catalog
from pumas_agent.library.index import IndexReader, IndexWriter
from pumas_agent.library.layout import LibraryLayout
from pumas_agent.library.lock import LibraryLock, Role
from pumas_agent.library.store import IndexOutcome, ModelStore

T = TypeVar("T")

log = structlog.get_logger(__name__)


def no_library(root: Path) -> LibraryUnavailable:
    """The error of a path that holds no library."""
    return LibraryUnavailable(
        f"there is no library at {root}",
        hint="check the path and that its disk is mounted; `pumas-agent run` or `register` makes a new library",
    )


class Library:
    """A library that was opened, to write or only to read. Made by `open` and `open_readonly`."""

    def __init__(
        self,
        layout: LibraryLayout,
        catalog: Catalog,
        reader: IndexReader,
        store: ModelStore | None,
        lock: LibraryLock | None,
        *,
        fault: LibraryUnwritable | None = None,
    ) -> None:
        self.layout = layout
        self.catalog = catalog
        self.recovered = IndexOutcome()
        self.fault = fault
        """Why it is only read although it was to be written; None when it can be, or nobody asked for that."""
        self._reader = reader
        self._store = store
        self._lock = lock
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="library-read")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="library-write")

    @classmethod
    def open(
        cls,
        root: Path,
        role: Role,
        *,
        make: bool = True,
        socket: Path | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> "Library":
        """Take the lock, bring the index up to date with the metadata files, fill the catalog.

        What is absent is made; with `make` false a folder that is absent is refused, for it may be a path mistyped.
        `socket` is where an agent will listen. `given_up` is asked while a command holds the lock, and ends the wait
        for it. A library that a newer version has written is only read: `fault` says so.

        Raises:
            LibraryBusy: another process owns it.
            LibraryUnavailable: it cannot be made or opened.
        """
        if not make and not root.is_dir():
            raise no_library(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            layout = LibraryLayout(root)
        except OSError as error:
            raise LibraryUnavailable(
                f"cannot open the library {root}: {error.strerror}", hint="name a folder of yours with --library"
            ) from error
        lock = LibraryLock(layout.root, role, socket=socket, given_up=given_up)
        lock.acquire()
        with contextlib.ExitStack() as undo:
            undo.callback(lock.release)
            is_new = not layout.index_path.exists()
            try:
                writer = IndexWriter.open(layout.index_path)
            except LibraryNewer as newer:
                log.warning("library.newer", path=str(layout.root), reason=newer.message)
                library = cls._read_only(layout, lock, newer)
                undo.pop_all()
                return library
            undo.callback(writer.close)
            catalog = Catalog()
            catalog.dependencies.load(writer.dependencies.profiles(), writer.dependencies.bindings())
            catalog.load(writer.rows(), writer.last_event_id())
            reader = IndexReader.open(layout.index_path)
            undo.callback(reader.close)
            store = ModelStore(layout, writer, catalog)
            library = cls(layout, catalog, reader, store, lock)
            library.recovered = store.recover()
            if is_new:  # worth a look: where a library was, an empty folder may be a disk that is not mounted
                log.warning("library.created", path=str(layout.root), models=len(catalog))
            undo.pop_all()
        return library

    @classmethod
    def open_readonly(cls, root: Path) -> "Library":
        """Open a library that exists, without its lock: nothing is made, written or waited for.

        It is read as it is now; what a program commits that starts to write to it later may not be seen.

        Raises:
            LibraryUnavailable: there is no library, or it cannot be opened.
        """
        if not root.is_dir():
            raise no_library(root)
        layout = LibraryLayout(root)
        return cls._read_only(layout, None, None)

    @classmethod
    def _read_only(cls, layout: LibraryLayout, lock: LibraryLock | None, fault: LibraryUnwritable | None) -> "Library":
        in_use = layout.log_path.exists()
        reader = IndexReader.open(layout.index_path) if in_use else IndexReader.open_at_rest(layout.index_path)
        catalog = Catalog()
        try:
            catalog.dependencies.load(reader.dependencies.profiles(), reader.dependencies.bindings())
            rows = (replace(row, path=str(layout.root / row.id)) for row in reader.rows())
            catalog.load(rows, reader.last_event_id())
        except sqlite3.Error as error:
            reader.close()
            raise LibraryUnavailable(
                f"the index {layout.index_path} cannot be read: {error}", hint="`pumas-agent reindex` makes it anew"
            ) from error
        return cls(layout, catalog, reader, None, lock, fault=fault)

    @property
    def writable(self) -> bool:
        """It was opened to write."""
        return self._store is not None

    def open_reader(self) -> IndexReader:
        """One more connection to the index, for long questions on a thread of their own; to be closed by the caller.

        Raises:
            LibraryUnavailable: it cannot be opened.
        """
        path = self.layout.index_path
        in_use = self.writable or self.layout.log_path.exists()
        return IndexReader.open(path) if in_use else IndexReader.open_at_rest(path)

    async def read(self, question: Callable[[IndexReader], T]) -> T:
        """Ask the index, on the reading thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, question, self._reader)
        except sqlite3.Error as error:
            raise LibraryUnavailable(f"the index cannot be read: {error}") from error

    async def look_around(self, question: Callable[[ModelStore], T]) -> T:
        """Have the disk looked at, on the reading thread: for the parts of the store that write nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, question, self._require_store())

    async def write(self, change: Callable[[ModelStore], T]) -> T:
        """Commit, on the writing thread.

        Raises:
            LibraryUnwritable: the library was opened only to read, or cannot be written.
        """
        store = self._require_store()

        def work() -> T:
            try:
                return change(store)
            finally:
                store.steps += 1

        return await asyncio.get_running_loop().run_in_executor(self._writing, work)

    def post(self, change: Callable[[ModelStore], None]) -> None:
        """Commit something that nobody waits for, behind what is being committed. A failure is logged."""
        store = self._require_store()

        def work() -> None:
            try:
                change(store)
            except PumasError as error:
                log.warning("library.post_failed", code=error.code, reason=error.message)
            finally:
                store.steps += 1

        self._writing.submit(work)

    @property
    def write_steps(self) -> int:
        """How many pieces of work the writer has finished; it stands still when there is none, or when it is stuck."""
        return 0 if self._store is None else self._store.steps

    def back_up(self, path: Path) -> dict[str, int]:
        """Copy the index to a file; see `IndexReader.back_up`. Blocks: for a command."""
        return self._reader.back_up(path)

    def restore(self, backup: Path) -> dict[str, int]:
        """Add what a backup has and the index has not; see `ModelStore.restore`. Blocks: for a command."""
        return self._require_store().restore(backup)

    def _require_store(self) -> ModelStore:
        if self._store is None:
            raise self.fault or LibraryUnwritable("the library was opened only to read")
        return self._store

    def close(self) -> None:
        """Finish what is being written, close the index, give up the lock."""
        self._writing.shutdown(wait=True)
        self._reading.shutdown(wait=True)
        self._reader.close()
        if self._store is not None:
            self._store.close()
        if self._lock is not None:
            self._lock.release()
