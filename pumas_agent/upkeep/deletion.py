"""Taking a model out of the library, by who owns its files: plans, the trash folder, and its age limit.

An external bundle only loses its registry artifact. Nothing outside of the library is touched, and no link is followed.
"""

import asyncio
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pumas_agent.contracts.errors import ModelNotFound
from pumas_agent.contracts.imports import DeleteParams, DeleteResult
from pumas_agent.contracts.metadata import StorageKind
from pumas_agent.contracts.timestamps import days_ago
from pumas_agent.library import CatalogEntry, Library
from pumas_agent.library.layout import TRASH_NAME

_STAMP = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{8}")

log = structlog.get_logger(__name__)


async def delete(library: Library, params: DeleteParams) -> DeleteResult:
    """Delete a model, or say what deleting it would do.

    Raises:
        ModelNotFound: no such model.
        LibraryUnwritable: it could not be written; the model is as before.
    """
    model_id = params.model_id
    directory = await library.read(lambda _: library.layout.directory(model_id))
    entry = library.catalog.get(model_id)
    if entry is None:
        raise ModelNotFound(f"Model not found: {model_id}", hint="`pumas-agent list` shows the ids of all models")
    plan = await asyncio.to_thread(_plan, entry, directory)
    if not params.apply:
        return plan
    if entry.is_external:
        kept = await library.write(lambda store: store.remove(model_id))
        return plan.model_copy(update={"applied": True, "kept_files": kept})
    trash = await library.write(lambda store: store.places.move_to_trash(model_id))
    if trash is not None and not params.keep_in_trash:
        grave = library.layout.root / TRASH_NAME / trash.relative_to(library.layout.root / TRASH_NAME).parts[0]
        try:
            await asyncio.to_thread(shutil.rmtree, grave)
            trash = None
        except OSError as error:  # it is deleted all the same; what is left goes with the rest of the trash
            log.warning("trash.kept", path=str(grave), reason=error.strerror)
    log.info("model.deleted", model_id=model_id, files=plan.files, trash=None if trash is None else str(trash))
    return plan.model_copy(update={"applied": True, "trash_path": None if trash is None else str(trash)})


def _plan(entry: CatalogEntry, directory: Path) -> DeleteResult:
    files = (
        [] if entry.is_external else [path for path in directory.rglob("*") if not path.is_dir() or path.is_symlink()]
    )
    return DeleteResult(
        model_id=entry.id,
        storage_kind=StorageKind.EXTERNAL_REFERENCE if entry.is_external else StorageKind.LIBRARY_OWNED,
        applied=False,
        path=str(directory),
        files=len(files),
        size_bytes=sum(path.lstat().st_size for path in files),
        source_path=entry.bundle_root if entry.is_external else None,
    )


def empty_trash(root: Path, keep_days: float) -> int:
    """Remove what has lain in the trash folder for longer than that many days; how many models that were.

    Blocks on the disk. What is not named as ours is left alone.
    """
    limit = days_ago(keep_days)
    removed = 0
    trash = root / TRASH_NAME
    if not trash.is_dir() or trash.is_symlink():
        return 0
    for grave in trash.iterdir():
        stamp = _STAMP.fullmatch(grave.name)
        if stamp is None or grave.is_symlink():
            continue
        if datetime.strptime(stamp[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC) < limit:
            try:
                shutil.rmtree(grave)
                removed += 1
            except OSError as error:
                log.warning("trash.kept", path=str(grave), reason=error.strerror)
    return removed
