"""ModelStore: the one way anything in a library changes.

A commit is, in this order: row, search row and feed event inside an open transaction; the new metadata.json written
beside the old one and flushed; the rename that puts it in place; the end of the transaction. The rename is the
decision. A crash before it leaves everything as it was; a crash after it leaves a file whose stamp differs from the one
in `agent_signatures`, and `recover` makes row, search row and feed event from the file. So the three always agree after
a start, and a commit that was reported is never lost: the file was flushed, and the rest is derived from it.

Used by one thread at a time (the writer). Never opens anything outside the library root.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from pumas_agent.contracts.errors import (
    InvalidModelId,
    LibraryUnwritable,
    MetadataUnreadable,
    ModelNotFound,
    PumasError,
)
from pumas_agent.contracts.metadata import FieldFinding, ModelMetadata
from pumas_agent.contracts.timestamps import days_ago, utc_now
from pumas_agent.contracts.upkeep import RecordRepair
from pumas_agent.library.catalog import Catalog, CatalogEntry
from pumas_agent.library.dependency_store import DependencyStore
from pumas_agent.library.files import read_json, sync_directory, write_json
from pumas_agent.library.index import IndexRow, IndexWriter
from pumas_agent.library.layout import (
    BACKUP_NAME,
    DAMAGED_NAME,
    INDEX_BACKUP_NAME,
    METADATA_NAME,
    OVERRIDES_NAME,
    REMOVED_NAME,
    LibraryLayout,
    is_gone,
)
from pumas_agent.library.links import LinkRegistry, read_links
from pumas_agent.library.places import ModelPlaces, make_folders, remove_empty, require_no_model_above, unwritable
from pumas_agent.library.projection import project
from pumas_agent.library.repair import repaired

_CHUNK = 500
_PRUNED_AT_ONCE = 5_000
_LOST_TAIL_GAP = 100_000
"""More events than can be in a log that was not yet flushed to the database file (it is, every thousand pages)."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LibraryChanges:
    """What a scan of the metadata files found against what the index knows."""

    seen: int
    changed: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass(slots=True)
class IndexOutcome:
    """What indexing did."""

    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


class ModelStore:
    """The writer of one library. Every method may block on the disk."""

    def __init__(self, layout: LibraryLayout, index: IndexWriter, catalog: Catalog) -> None:
        self.layout = layout
        self._index = index
        self._catalog = catalog
        self._opened = layout.index_identity()
        self.steps = 0
        """Pieces of work that were finished: while it grows, the writer goes on."""
        self.dependencies = DependencyStore(layout, index, catalog, self.read)
        self.places = ModelPlaces(layout, index, catalog, self.read, self._write)

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, model_id: str) -> tuple[ModelMetadata, tuple[FieldFinding, ...]]:
        """The record of a model as it stands in its file now, and what in it could not be read.

        Raises:
            ModelNotFound: no such model.
            MetadataUnreadable: its file is no JSON object.
            LibraryOffline: the whole library is not there.
        """
        try:
            document = read_json(self.layout.metadata_path(model_id))
        except FileNotFoundError:
            self.layout.require_online(self._opened)
            raise ModelNotFound(f"Model not found: {model_id}") from None
        return ModelMetadata.parse(document)

    def scan(self, known: dict[str, str]) -> LibraryChanges:
        """Compare the stamps of all metadata files with the known ones. Reads no file's content, writes nothing.

        May run on another thread than the writer's.

        Raises:
            LibraryOffline: what is seen is not the library that was opened.
        """
        self.layout.require_online(self._opened)
        expected = self._expected(known)  # before the walk: a model made during it is not missing
        return self._compare(self.layout.survey().signatures, known, expected)

    def _expected(self, known: dict[str, str]) -> set[str]:
        """Ids that should have a record; those of downloads that are not finished need none."""
        return known.keys() | {entry.id for entry in self._catalog.entries() if not entry.needs_no_record}

    @staticmethod
    def _compare(found: dict[str, str], known: dict[str, str], expected: set[str]) -> LibraryChanges:
        changed = tuple(sorted(model_id for model_id, signature in found.items() if known.get(model_id) != signature))
        return LibraryChanges(len(found), changed, tuple(sorted(expected - found.keys())))

    def signatures(self) -> dict[str, str]:
        """The stamps of the files that the rows were made from."""
        return self._index.signatures()

    def alerts(self) -> dict[tuple[str, str], str]:
        """Since when each alert stands."""
        return self._index.alerts()

    # --- changing one model ------------------------------------------------------------------------------------

    def create(self, model_id: str, metadata: ModelMetadata) -> None:
        """Add a model: its folder, its metadata.json and its row. On failure nothing is left behind.

        Raises:
            FileExistsError: there is a model, or anything else, at that place or above it.
            LibraryUnwritable: it could not be written.
            LibraryOffline: the whole library is not there.
        """
        directory = self.layout.directory(model_id)
        self.layout.require_online(self._opened)
        require_no_model_above(self.layout, directory)
        made: list[Path] = []
        try:
            make_folders([*reversed(directory.parents), directory], made)
            if any(directory.iterdir()):
                raise FileExistsError(f"{directory} is not empty")
        except OSError as error:
            remove_empty(reversed(made))
            if isinstance(error, FileExistsError):
                raise
            raise unwritable(self.layout, model_id, error) from error
        try:
            self._write(model_id, metadata)
        except Exception as error:
            # The row was not committed. A record left here would stand in the way of the next try.
            with contextlib.suppress(FileNotFoundError):
                (directory / METADATA_NAME).unlink()
            remove_empty(reversed(made))
            if isinstance(error, OSError):
                raise unwritable(self.layout, model_id, error) from error
            raise

    def update(self, model_id: str, change: Callable[[ModelMetadata], ModelMetadata]) -> bool:
        """Change a model's record. The record is read from its file first, so that no edit made there is lost.

        Returns:
            Whether anything was written; a change that changes nothing writes nothing.

        Raises:
            ModelNotFound, MetadataUnreadable: as `read`.
            LibraryUnwritable: it could not be written; the file and the row are as before. When only the very last step
                failed (the flush of the folder, the end of the transaction) the file holds the change, and the next
                scan makes the row from it.
        """
        metadata, _ = self.read(model_id)
        before = metadata.to_document()
        after = change(metadata)
        if after.to_document() == before:
            return False
        try:
            self._write(model_id, after)
        except OSError as error:
            raise unwritable(self.layout, model_id, error) from error
        return True

    def _write(self, model_id: str, metadata: ModelMetadata) -> None:
        self.layout.require_online(self._opened)
        directory = self.layout.directory(model_id)
        metadata = metadata.model_copy(
            update={"model_id": model_id, "updated_date": metadata.updated_date or utc_now()}
        )
        with self._index.transaction():
            row = project(model_id, directory, metadata)
            self._index.upsert(row)
            write_json(directory / METADATA_NAME, metadata.to_document(), backup=directory / BACKUP_NAME)
            if signature := self.layout.signature(directory):
                self._index.put_signatures([(model_id, signature)])
        self._catalog.put([row], self._index.last_event_id())

    def repair(self, model_id: str, *, apply: bool) -> RecordRepair:
        """Find what a record that cannot be read can be made from again; with `apply`, make it.

        Its backup is taken if that can be read, else the row. The damaged file is kept beside it.

        Raises:
            ModelNotFound: no such model.
            LibraryUnwritable: it could not be written; the alert stands as before.
            LibraryOffline: the whole library is not there.
        """
        directory = self.layout.directory(model_id)
        self.layout.require_online(self._opened)
        row = self._index.row(model_id)
        if row is None:
            raise ModelNotFound(f"Model not found: {model_id}")
        try:
            self.read(model_id)
        except (MetadataUnreadable, ModelNotFound):
            repair, record = repaired(directory, row)
        else:
            return RecordRepair(model_id=model_id, source=None, lost=(), applied=False)
        if not apply:
            return repair
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (directory / METADATA_NAME).replace(directory / DAMAGED_NAME)
            self._write(model_id, record)
        except OSError as error:
            raise unwritable(self.layout, model_id, error) from error
        return repair.model_copy(update={"applied": True})

    def remove(self, model_id: str) -> tuple[str, ...]:
        """Remove a model's registry artifact and its row; the names of files in its folder that are not ours and stay.

        Decided by one rename; a crash after it is finished by `recover`. Only files that the library itself writes are
        removed, and folders only when that leaves them empty.

        Raises:
            ModelNotFound: no such model.
            LibraryUnwritable: it could not be written; the model is as before.
            LibraryOffline: the whole library is not there.
        """
        directory = self.layout.directory(model_id)
        self.layout.require_online(self._opened)
        try:
            try:
                (directory / METADATA_NAME).replace(directory / REMOVED_NAME)
                sync_directory(directory)
            except FileNotFoundError:
                if self._catalog.get(model_id) is None:
                    raise ModelNotFound(f"Model not found: {model_id}") from None
            return self._finish_removal(model_id)
        except (OSError, LibraryUnwritable) as error:
            if self._catalog.get(model_id) is not None and not (directory / METADATA_NAME).exists():
                with contextlib.suppress(OSError):  # what cannot be taken back now is finished at the next start
                    (directory / REMOVED_NAME).rename(directory / METADATA_NAME)
            if isinstance(error, LibraryUnwritable):
                raise
            raise unwritable(self.layout, model_id, error) from error

    def _finish_removal(self, model_id: str) -> tuple[str, ...]:
        directory = self.layout.directory(model_id)
        # The row goes for good before the file that says so does: a power cut must not bring back a row without a file.
        with self._index.durable_transaction():
            self._index.delete(model_id)
        self._catalog.remove([model_id], self._index.last_event_id())
        for name in (BACKUP_NAME, DAMAGED_NAME, OVERRIDES_NAME, REMOVED_NAME):
            with contextlib.suppress(FileNotFoundError):
                (directory / name).unlink()
        kept = tuple(sorted(path.name for path in directory.iterdir())) if directory.is_dir() else ()
        if not kept:
            remove_empty([directory, *directory.parents[: model_id.count("/")]])
        return kept

    # --- deriving the index ------------------------------------------------------------------------------------

    def recover(self) -> IndexOutcome:
        """Finish what a crash or a power cut cut off: removals, temporary files, rows older than their files."""
        self.layout.require_online(self._opened)
        self.places.empty_staging()
        survey = self.layout.survey()
        for path in survey.leftovers:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("library.leftover_kept", path=str(path), reason=error.strerror)
        if self.places.finish_renames():
            survey = self.layout.survey()
        if survey.removed or survey.signatures != self._index.signatures():
            # Files and rows differ: events may have been lost with the tail of the log, or with the whole index, and
            # clients may hold cursors of them. Their ids are not given out again; no index has had an event for every
            # second since 1970.
            self._index.skip_event_ids(max(self._index.last_event_id() + _LOST_TAIL_GAP, int(time.time())))
        for model_id in survey.removed:
            try:
                self._finish_removal(model_id)
                log.warning("library.removal_finished", model_id=model_id)
            except (OSError, PumasError) as error:  # one folder that is closed to us keeps no library from opening
                log.warning("library.removal_not_finished", model_id=model_id, reason=str(error))
        known = self._index.signatures()
        expected = self._expected(known)
        for entry in self._catalog.entries():
            if entry.path != str(self.layout.root / entry.id):
                known.pop(entry.id, None)  # the library was copied or moved: its rows name the old place
        return self.index(self._compare(survey.signatures, known, expected))

    def index(self, changes: LibraryChanges) -> IndexOutcome:
        """Make the rows of changed metadata files anew. Rows that come out the same are not written.

        A row without a file goes when the model's whole folder is gone and the model was the library's own. An external
        registration is never dropped because its record cannot be seen (law 4).
        """
        outcome = IndexOutcome()
        for start in range(0, len(changes.changed), _CHUNK):
            self._index_chunk(changes.changed[start : start + _CHUNK], outcome)
            self.steps += 1
        moving = {old_id for old_id, _, _ in self._index.planned_moves()} if changes.gone else set()
        for model_id in changes.gone:
            if model_id in moving:
                continue  # it has arrived elsewhere: what hangs on it goes there at the next start
            try:
                directory = self.layout.directory(model_id)
            except InvalidModelId as error:
                outcome.unreadable[model_id] = str(error)
                continue
            if self.layout.signature(directory) is not None:
                continue  # there again since the scan
            entry = self._catalog.get(model_id)
            if entry is not None and self._is_staged(entry) and not is_gone(directory):
                continue
            if entry is not None and (entry.is_external or not is_gone(directory)):
                outcome.unreadable[model_id] = f"{directory / METADATA_NAME} is gone"
                continue
            if self.layout.is_unmounted(directory, self._index.signatures_of([model_id]).get(model_id, "")):
                outcome.unreadable[model_id] = f"the filesystem of {directory} is not mounted"
                continue
            self.layout.require_online(self._opened)
            with self._index.transaction():
                deleted = self._index.delete(model_id)
            self._catalog.remove([model_id], self._index.last_event_id())
            if deleted:
                outcome.removed.append(model_id)
        return outcome

    def index_one(self, model_id: str) -> IndexOutcome:
        """Make one model's row anew, whatever its stamp: a file below its folder may have changed.

        Raises:
            LibraryOffline, InvalidModelId: nothing is concluded.
        """
        self.layout.require_online(self._opened)
        if self.layout.signature(self.layout.directory(model_id)) is not None:
            return self.index(LibraryChanges(1, (model_id,), ()))
        gone = (model_id,) if self._catalog.get(model_id) is not None else ()
        return self.index(LibraryChanges(0, (), gone))

    def _index_chunk(self, model_ids: Sequence[str], outcome: IndexOutcome) -> None:
        rows: list[IndexRow] = []
        signatures: list[tuple[str, str]] = []
        for model_id in model_ids:
            try:
                directory = self.layout.directory(model_id)
                signature = self.layout.signature(directory)
                metadata, _ = self.read(model_id)
                is_behind = self.dependencies.is_behind(model_id, metadata)
                if is_behind and self.dependencies.project(model_id, metadata):
                    outcome.changed.append(model_id)
                    continue
                row = project(model_id, directory, self.dependencies.corrected(model_id, metadata))
            except ModelNotFound:
                continue  # gone since the scan
            except (MetadataUnreadable, InvalidModelId, OSError) as error:
                outcome.unreadable[model_id] = str(error)
                continue
            if signature is not None:
                rows.append(row)
                signatures += [] if is_behind else [(model_id, signature)]  # what is behind is read by the next scan
        known = self._index.signatures_of(row.id for row in rows)
        stamped = [(model_id, signature) for model_id, signature in signatures if known.get(model_id) != signature]
        changed = [row for row in rows if self._index.row(row.id) != row]
        if not stamped and not changed:
            return
        with self._index.transaction():
            for row in changed:
                self._index.upsert(row)
            self._index.put_signatures(stamped)
        outcome.changed += [row.id for row in changed]
        if changed:
            self._catalog.put(changed, self._index.last_event_id())

    def stage_partials(self, records: Mapping[str, ModelMetadata]) -> None:
        """Let the index show downloads that are not finished: rows without a record, and no others of that kind.

        Raises:
            LibraryUnwritable: it could not be written.
        """
        self.layout.require_online(self._opened)
        known = {entry.id for entry in self._catalog.entries() if self._is_staged(entry)}
        gone = sorted(
            model_id
            for model_id in known - records.keys()
            if not (self.layout.directory(model_id) / METADATA_NAME).exists()
        )
        rows = [project(model_id, self.layout.directory(model_id), record) for model_id, record in records.items()]
        changed = [row for row in rows if self._index.row(row.id) != row]
        if not gone and not changed:
            return
        with self._index.transaction():
            for row in changed:
                self._index.upsert(row)
            for model_id in gone:
                self._index.delete(model_id)
        self._catalog.put(changed, self._index.last_event_id())
        self._catalog.remove(gone, self._index.last_event_id())

    def _is_staged(self, entry: CatalogEntry) -> bool:
        """Its row never had a record: one that had one has its stamp, and does not go because the record is lost."""
        return entry.needs_no_record and not self._index.signatures_of([entry.id])

    def rebuild(self) -> tuple[int, IndexOutcome]:
        """Make every row anew from its metadata file; how many files there are, and what changed.

        The index is backed up first: dependency profiles, bindings, overlays and exclusions live in it alone.
        """
        self.layout.require_online(self._opened)
        self._index.back_up(self.layout.root / INDEX_BACKUP_NAME)
        found = self.layout.survey().signatures
        expected = self._expected(self._index.signatures())
        outcome = self.index(self._compare(found, {}, expected))
        self._index.flush()
        return len(found), outcome

    def restore(self, backup: Path) -> dict[str, int]:
        """Add what a backup of the index has and the index has not; how many rows of each table.

        Raises:
            LibraryUnavailable: it is no backup.
            LibraryUnwritable: it could not be written; nothing is kept.
        """
        self.layout.require_online(self._opened)
        return self._index.restore(backup)

    # --- links into applications -------------------------------------------------------------------------------

    def update_links(self, change: Callable[[LinkRegistry], LinkRegistry]) -> bool:
        """Change the register of links; whether anything was written. The links themselves are not touched.

        Raises:
            LinkRegistryUnreadable: the file is no register; it is left as it is.
            LibraryUnwritable: it could not be written; the register is as before.
            LibraryOffline: the whole library is not there.
        """
        self.layout.require_online(self._opened)
        before = read_links(self.layout.links_path)
        after = change(before).to_document()
        if after == before.to_document():
            return False
        try:
            write_json(self.layout.links_path, after)
        except OSError as error:
            raise LibraryUnwritable(
                f"cannot write {self.layout.links_path}: {error.strerror or error}",
                hint=f"free space on, or make writable, the disk that holds {self.layout.root}",
            ) from error
        return True

    def set_link_exclusion(self, model_id: str, app_id: str, *, excluded: bool) -> bool:
        """Leave a model out of an application's mapping, or take it in again; whether that is a change.

        Raises:
            ModelNotFound: no such model.
            LibraryUnwritable: it could not be written.
            LibraryOffline: the whole library is not there.
        """
        self.layout.require_online(self._opened)
        if self._catalog.get(model_id) is None:
            raise ModelNotFound(f"Model not found: {model_id}")
        if (model_id in self._index.link_exclusions(app_id)) == excluded:
            return False
        with self._index.transaction():
            if excluded:
                self._index.put_link_exclusion(model_id, app_id, utc_now())
            else:
                self._index.delete_link_exclusion(model_id, app_id)
        return True

    # --- alerts ------------------------------------------------------------------------------------------------

    def put_alert(self, code: str, model_id: str, since: str) -> None:
        """Remember since when an alert stands. `model_id` is empty for the library itself."""
        self.layout.require_online(self._opened)
        with self._index.transaction():
            self._index.put_alert(code, model_id, since)

    def delete_alert(self, code: str, model_id: str) -> None:
        """Forget an alert that was cleared."""
        self.layout.require_online(self._opened)
        with self._index.transaction():
            self._index.delete_alert(code, model_id)

    # --- the feed ----------------------------------------------------------------------------------------------

    def prune_feed(self, keep_days: int, keep_events: int) -> int:
        """Delete events that are older than so many days, or more than so many; how many it were.

        A bounded number at a time, so that no commit waits long behind it: call it until it says 0. It writes nothing
        when there is nothing to delete.

        Raises:
            LibraryOffline, LibraryUnwritable: nothing was deleted.
        """
        self.layout.require_online(self._opened)
        last = self._index.last_prunable_event(days_ago(keep_days).strftime("%Y-%m-%dT%H:%M:%S"), keep_events)
        if not last:
            return 0
        with self._index.transaction():
            return self._index.prune_events(last, _PRUNED_AT_ONCE)

    def close(self) -> None:
        """Close the index."""
        self._index.close()
