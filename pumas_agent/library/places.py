"""Where models' folders come from and where they go: the part of `ModelStore` that moves folders.

Each move is decided by one rename within the library's filesystem. Before it everything is as it was; after a crash
behind it, the next start finishes what was begun. A copy is staged in a hidden folder first, and a deleted model goes
to another one. External bundles are never here: their files are not the library's.

Used by the writer's thread alone, and only through `ModelStore`.
"""

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from pumas_agent.contracts.errors import LibraryUnwritable, PumasError
from pumas_agent.contracts.metadata import FieldFinding, ModelMetadata
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.library.catalog import Catalog
from pumas_agent.library.files import rename_folder, sync_directory, write_json
from pumas_agent.library.index import IndexWriter
from pumas_agent.library.layout import BACKUP_NAME, METADATA_NAME, STAGING_NAME, TRASH_NAME, LibraryLayout, is_gone
from pumas_agent.library.projection import project

log = structlog.get_logger(__name__)


class ModelPlaces:
    """Moves folders of models in, within and out of a library."""

    def __init__(
        self,
        layout: LibraryLayout,
        index: IndexWriter,
        catalog: Catalog,
        read: Callable[[str], tuple[ModelMetadata, tuple[FieldFinding, ...]]],
        write: Callable[[str, ModelMetadata], None],
    ) -> None:
        """`read` and `write` are of the records of models whose folders are there; a write commits."""
        self._layout = layout
        self._index = index
        self._catalog = catalog
        self._read = read
        self._write = write
        self._opened = layout.index_identity()

    def stage(self) -> Path:
        """Make an empty folder on the library's own filesystem, which is no model and is entered by no scan.

        Raises:
            LibraryUnwritable, LibraryOffline: it could not be made.
        """
        self._layout.require_online(self._opened)
        folder = self._layout.root / STAGING_NAME / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise unwritable(self._layout, f"{STAGING_NAME}/{folder.name}", error) from error
        return folder

    def discard_staged(self, staged: Path) -> None:
        """Remove a folder that `stage` made, if it is there still."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(staged)
        remove_empty([staged.parent])

    def adopt_staged(self, model_id: str, staged: Path, metadata: ModelMetadata) -> None:
        """Make a staged folder a model: its record is written into it, and one rename puts it in its place.

        Raises:
            FileExistsError: there is a model, or anything else, at that place or above it.
            LibraryUnwritable: it could not be written; the folder is staged still.
            LibraryOffline: the whole library is not there.
        """
        directory = self._layout.directory(model_id)
        self._layout.require_online(self._opened)
        require_no_model_above(self._layout, directory)
        if directory.exists():
            raise FileExistsError(f"{directory} exists")
        metadata = metadata.model_copy(update={"model_id": model_id})
        made: list[Path] = []
        try:
            make_folders([*reversed(directory.parents)], made)
            with self._index.transaction():
                write_json(staged / METADATA_NAME, metadata.to_document())
                row = project(model_id, directory, metadata, payload=staged)
                self._index.upsert(row)
                self._move(staged, directory)
                if signature := self._layout.signature(directory):
                    self._index.put_signatures([(model_id, signature)])
        except Exception as error:
            self._take_back(directory, staged)  # the row was not committed: it is as if it had never been there
            remove_empty(reversed(made))
            if isinstance(error, OSError):
                raise unwritable(self._layout, model_id, error) from error
            raise
        self._catalog.put([row], self._index.last_event_id())

    def adopt_in_place(self, model_id: str, metadata: ModelMetadata) -> None:
        """Make a folder with files in it a model. Nothing but its record is written.

        Raises:
            FileExistsError: it is a model already, or lies in one.
            LibraryUnwritable: it could not be written; the folder is as before.
            LibraryOffline: the whole library is not there.
        """
        directory = self._layout.directory(model_id)
        self._layout.require_online(self._opened)
        require_no_model_above(self._layout, directory)
        if (directory / METADATA_NAME).exists():
            raise FileExistsError(f"{directory} is a model")
        try:
            self._write(model_id, metadata)
        except Exception as error:
            with contextlib.suppress(FileNotFoundError):
                (directory / METADATA_NAME).unlink()
            if isinstance(error, OSError):
                raise unwritable(self._layout, model_id, error) from error
            raise

    def rename(self, old_id: str, new_id: str, changes: Mapping[str, Any]) -> None:
        """Give a model of the library's own another id: its folder moves, and everything that hangs on it goes along.

        Decided by one rename; a crash after it is finished by `recover`.

        Args:
            old_id: of a model that is not an external reference.
            new_id: where nothing is.
            changes: fields of the record that get new values, as JSON has them.

        Raises:
            ModelNotFound, MetadataUnreadable: as `read`.
            FileExistsError: there is a model, or anything else, at the new place or above it.
            LibraryUnwritable: it could not be written; the model is as before.
        """
        directory, target = self._layout.directory(old_id), self._layout.directory(new_id)
        self._layout.require_online(self._opened)
        self._read(old_id)
        require_no_model_above(self._layout, target)
        if target.exists():
            raise FileExistsError(f"{target} exists")
        made: list[Path] = []
        try:
            make_folders([*reversed(target.parents)], made)
            with self._index.durable_transaction():
                self._index.plan_move(old_id, new_id, json.dumps(changes))
            self._move(directory, target)
            self._finish_rename(old_id, new_id, changes)
        except (OSError, LibraryUnwritable) as error:
            self._take_back(target, directory)
            remove_empty(reversed(made))
            if directory.is_dir():
                with contextlib.suppress(LibraryUnwritable), self._index.transaction():
                    self._index.forget_move(old_id)
            if isinstance(error, LibraryUnwritable):
                raise
            raise unwritable(self._layout, old_id, error) from error

    def move_to_trash(self, model_id: str) -> Path | None:
        """Take a model of the library's own out of it, with all its files: where they are now; None when none were.

        Decided by one rename, after which the next start drops the row if this did not. The path below the trash's own
        folder is the id: moving it back restores the model.

        Raises:
            LibraryUnwritable: it could not be written; the model is as before.
            LibraryOffline: the whole library is not there.
        """
        directory = self._layout.directory(model_id)
        self._layout.require_online(self._opened)
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        grave = self._layout.root / TRASH_NAME / f"{stamp}-{uuid.uuid4().hex[:8]}"
        target = grave / model_id
        try:
            if directory.is_dir():
                target.parent.mkdir(parents=True)
                self._move(directory, target)
            with self._index.durable_transaction():
                self._index.delete(model_id)
        except (OSError, LibraryUnwritable) as error:
            self._take_back(target, directory)
            remove_empty([*target.parents][: model_id.count("/") + 2])
            if isinstance(error, LibraryUnwritable):
                raise
            raise unwritable(self._layout, model_id, error) from error
        self._catalog.remove([model_id], self._index.last_event_id())
        remove_empty(directory.parents[: model_id.count("/")])
        return target if target.is_dir() else None

    def _move(self, old: Path, new: Path) -> None:
        root = self._layout.root
        rename_folder(root, old.relative_to(root).parts, new.relative_to(root).parts)

    def _take_back(self, moved: Path, origin: Path) -> None:
        """Undo a move that was made. What cannot be undone now is finished at the next start."""
        if moved.is_dir() and not origin.is_dir():
            with contextlib.suppress(OSError):
                self._move(moved, origin)

    def _finish_rename(self, old_id: str, new_id: str, changes: Mapping[str, Any]) -> None:
        target = self._layout.directory(new_id)
        record = self._read(new_id)[0].to_document() | dict(changes)
        metadata = ModelMetadata.parse(record | {"model_id": new_id, "updated_date": utc_now()})[0]
        with self._index.transaction():
            row = project(new_id, target, metadata)
            self._index.upsert(row)
            self._index.move_references(old_id, new_id)
            self._index.delete(old_id)
            write_json(target / METADATA_NAME, metadata.to_document(), backup=target / BACKUP_NAME)
            if signature := self._layout.signature(target):
                self._index.put_signatures([(new_id, signature)])
            self._index.forget_move(old_id)
        self._catalog.dependencies.rename(old_id, new_id)
        self._catalog.remove([old_id], self._index.last_event_id())
        self._catalog.put([row], self._index.last_event_id())
        remove_empty(self._layout.directory(old_id).parents[: old_id.count("/")])

    def finish_renames(self) -> bool:
        """Models that a crash caught on their way: those that have arrived take along what hangs on them."""
        moves = self._index.planned_moves()
        for old_id, new_id, changes_json in moves:
            try:
                arrived = (self._layout.directory(new_id) / METADATA_NAME).exists()
                if arrived and is_gone(self._layout.directory(old_id)):
                    self._finish_rename(old_id, new_id, json.loads(changes_json))
                    log.warning("library.rename_finished", old_id=old_id, new_id=new_id)
                else:
                    with self._index.transaction():
                        self._index.forget_move(old_id)
            except (OSError, PumasError) as error:  # it is tried again at the next start
                log.warning("library.rename_not_finished", old_id=old_id, reason=str(error))
        return bool(moves)

    def empty_staging(self) -> None:
        """What lies there is of a process that is gone: whoever copies holds the library's lock."""
        try:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._layout.root / STAGING_NAME)
                log.warning("library.staging_emptied", path=str(self._layout.root / STAGING_NAME))
        except OSError as error:
            log.warning("library.leftover_kept", path=str(self._layout.root / STAGING_NAME), reason=error.strerror)


def require_no_model_above(layout: LibraryLayout, directory: Path) -> None:
    """Refuse a place in a model's folder.

    Raises:
        FileExistsError: it lies in one.
    """
    for folder in directory.parents:
        if folder == layout.root:
            return
        if (folder / METADATA_NAME).exists():
            raise FileExistsError(f"{folder} is a model: there is none below it")


def make_folders(folders: Iterable[Path], made: list[Path]) -> None:
    """Make those that are not there, outermost first, and note them in `made`, also when one cannot be made."""
    for folder in folders:
        if not folder.is_dir():
            folder.mkdir()
            made.append(folder)
            sync_directory(folder.parent)


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, deepest first, as far as they are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already: either way it is as it should be
            return


def unwritable(layout: LibraryLayout, what: str, error: OSError) -> LibraryUnwritable:
    """The error of a record or a folder that could not be written."""
    return LibraryUnwritable(
        f"cannot write the record of {what}: {error.strerror or error}",
        hint=f"free space on, or make writable, the disk that holds {layout.root}",
        data={"reason": error.strerror or str(error)},
    )
