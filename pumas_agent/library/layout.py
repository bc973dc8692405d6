"""Where things are in a library: `model_id` and folder, and that no id ever leads out of the root.

Reads folders; never writes. A model is a folder that directly holds a `metadata.json`; its id is its path below the
root.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pumas_agent.contracts.errors import InvalidModelId, LibraryOffline

METADATA_NAME = "metadata.json"
BACKUP_NAME = "metadata.json.bak"
REMOVED_NAME = "metadata.json.removed"
"""What a metadata.json is renamed to when its model is removed: decided then, and finished at the latest at a start."""
DAMAGED_NAME = "metadata.json.damaged"
"""What a metadata.json that cannot be read is renamed to when it is repaired."""
OVERRIDES_NAME = "overrides.json"
OWN_NAMES = frozenset({METADATA_NAME, BACKUP_NAME, REMOVED_NAME, DAMAGED_NAME, OVERRIDES_NAME})
"""Files in a model's folder that are the library's records and no part of the model."""
INDEX_NAME = "models.db"
INDEX_BACKUP_NAME = "models.db.bak"
LINKS_NAME = "link_registry.json"
LOCK_NAME = ".pumas-agent.lock"
STAGING_NAME = ".pumas-staging"
"""Where copies are made before they are models. Hidden, so that no scan enters it; emptied at each start."""
TRASH_NAME = ".pumas-trash"
"""Where the folders of deleted models lie for a while."""
_NOT_MODELS = frozenset({"migration-reports"})
_MAX_DEPTH = 16
_MOUNTED = ":mounted"


@dataclass(slots=True)
class Survey:
    """What one walk over the library met.

    `signatures` has each model's id and the stamp of its metadata.json; `removed` the ids whose removal was decided and
    not finished; `leftovers` the temporary files of JSON writes that were cut off.
    """

    signatures: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)


class LibraryLayout:
    """Paths of one library. The root is canonical; it exists when this is made."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve(strict=True)
        self._device = self.root.stat().st_dev

    @property
    def index_path(self) -> Path:
        """The SQLite index."""
        return self.root / INDEX_NAME

    @property
    def log_path(self) -> Path:
        """SQLite's log of the index: there while a program has the index open to write, or after it crashed."""
        return self.root / f"{INDEX_NAME}-wal"

    def directory(self, model_id: str) -> Path:
        """The folder of a model, whether it exists or not.

        Raises:
            InvalidModelId: the id is empty, absolute, has `.` or `..`, or leads through a link.
        """
        segments = model_id.split("/")
        if any(segment in {"", ".", ".."} for segment in segments) or "\0" in model_id or "\\" in model_id:
            raise InvalidModelId(
                f"not a model id: {model_id!r}",
                hint="an id is a path below the library root, like diffusion/family/name",
            )
        try:
            model_id.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidModelId(f"not a model id: {model_id!r}", hint="an id is UTF-8 text") from None
        path = self.root
        for segment in segments:
            path = path / segment
            try:
                is_link = path.is_symlink()
            except OSError as error:  # a name too long for the filesystem, a folder closed to us
                raise InvalidModelId(f"not a model id: {model_id!r}: {error.strerror}") from error
            if is_link:
                raise InvalidModelId(
                    f"{model_id!r} leads through the link {path}",
                    hint="a model's folder must lie in the library itself; remove the link",
                )
        return path

    def metadata_path(self, model_id: str) -> Path:
        """The metadata.json of a model."""
        return self.directory(model_id) / METADATA_NAME

    def signature(self, directory: Path) -> str | None:
        """A cheap stamp of a model's metadata.json and its folder; None when there is no file.

        The folder's own time is part of it, so that a payload file added or removed is seen as well; and whether it
        lies on a filesystem of its own, which may be unmounted.
        """
        return self._signature_at(str(directory))

    def _signature_at(self, directory: str) -> str | None:
        try:
            file = os.stat(f"{directory}/{METADATA_NAME}")  # noqa: PTH116 - asked of every model at each look
            folder = os.stat(directory)  # noqa: PTH116
        except OSError:
            return None
        stamp = f"{file.st_ino}:{file.st_size}:{file.st_mtime_ns}:{file.st_ctime_ns}:{folder.st_mtime_ns}"
        return stamp + _MOUNTED if folder.st_dev != self._device else stamp

    def is_unmounted(self, directory: Path, signature: str) -> bool:
        """Whether a folder that had this stamp lies on a filesystem of its own, and that is not mounted now."""
        if not signature.endswith(_MOUNTED):
            return False
        around = next(path for path in directory.parents if path.exists())
        return around.stat().st_dev == self._device

    @property
    def links_path(self) -> Path:
        """The register of the links that were made into applications."""
        return self.root / LINKS_NAME

    def model_id(self, directory: Path) -> str:
        """The id of a folder below the root."""
        return directory.relative_to(self.root).as_posix()

    def index_identity(self) -> tuple[int, int]:
        """Which file the index is: device and inode.

        Raises:
            OSError: it is not there.
        """
        facts = self.index_path.stat()
        return facts.st_dev, facts.st_ino

    def require_online(self, opened: tuple[int, int] | None = None) -> None:
        """Make sure that the root is the library that was opened.

        An unplugged disk leaves an empty mount point, and another disk may be mounted there: both look like a library
        whose models are gone. The identity of the index that was `opened` tells them from the real one.

        Raises:
            LibraryOffline: nothing may be concluded from what is seen, and nothing written.
        """
        try:
            found = self.index_identity()
        except OSError as error:
            raise self._offline(str(error.strerror)) from error
        if opened is not None and found != opened:
            raise self._offline("another index is in its place")

    def _offline(self, why: str) -> LibraryOffline:
        return LibraryOffline(
            f"the library at {self.root} is not there: {why}",
            hint="connect or mount its disk again; nothing is forgotten or written meanwhile"
            f" If only {INDEX_NAME} was removed, start the agent again: it makes the rows anew",
        )

    def survey(self) -> Survey:
        """Walk the library once. Hidden and scratch folders hold no models, nor does the payload of a model."""
        survey = Survey()
        root = str(self.root)
        for model_id, names in self._walk(root, "", 0):
            directory = f"{root}/{model_id}"
            if METADATA_NAME in names:
                signature = self._signature_at(directory)
                if signature is not None:
                    survey.signatures[model_id] = signature
            elif REMOVED_NAME in names:
                survey.removed.append(model_id)
            survey.leftovers += [
                Path(directory, name)
                for name in names
                if name.endswith(".tmp") and name.startswith((METADATA_NAME, BACKUP_NAME))
            ]
        survey.leftovers += self.root.glob(f"{LINKS_NAME}.*.tmp")
        return survey

    def _walk(self, path: str, relative: str, depth: int) -> Iterator[tuple[str, set[str]]]:
        files: set[str] = set()
        folders: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    else:
                        files.add(entry.name)
        except OSError:
            return  # not ours to read, or gone since its parent was listed: it holds no model that we can see
        if relative:
            yield relative, files
        if (METADATA_NAME in files and relative) or depth == _MAX_DEPTH:
            return
        for name in sorted(folders):
            if name.startswith(".") or name in _NOT_MODELS or not _is_text(name):
                continue
            yield from self._walk(f"{path}/{name}", f"{relative}/{name}" if relative else name, depth + 1)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_gone(directory: Path) -> bool:
    """Gone for certain: what cannot be looked at may be there."""
    try:
        directory.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
