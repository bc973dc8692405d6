"""Folders of applications: where links may be made at all, and what stands at a name there.

A folder is opened part by part from the application's models folder, never through a link, and everything in it is done
relative to the open folder: what is renamed or replaced meanwhile leads nowhere else. Makes folders when asked to;
makes, changes and removes no file.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path, PurePosixPath

from pumas_agent.contracts.errors import MappingTargetRefused, PathNotAbsolute, PathNotDirectory, PathNotUtf8
from pumas_agent.library import CatalogEntry

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""To go through a folder that may be closed to reading."""
_INDEX = "model_index.json"


class FolderRefused(Exception):
    """Nothing may be done in this folder; the message says why. Never leaves the mapping."""


class Protected:
    """Places where no link is made and none removed: the library, and every external bundle."""

    def __init__(self, library_root: Path, entries: Iterable[CatalogEntry]) -> None:
        self._library = library_root
        # As recorded: asking a filesystem that is away where its root is now could take for ever.
        self._roots = {Path(path) for entry in entries if entry.is_external for path in _roots(entry)}

    def why_not(self, folder: Path) -> str | None:
        """Why nothing may be done in a canonical folder; None when it may."""
        if folder.is_relative_to(self._library):
            return f"{folder} lies in the library {self._library}"
        for place in (folder, *folder.parents):
            if place in self._roots:
                return f"{folder} lies in the external bundle {place}"
            if os.path.lexists(place / _INDEX):
                return f"{folder} lies in {place}, which is a diffusers bundle"
        return None


def _roots(entry: CatalogEntry) -> Iterator[str]:
    for path in (entry.entry_path, entry.source_path):
        if path is not None and path.startswith("/"):
            yield path


def models_folder(models_path: str, protected: Protected) -> Path:
    """The canonical path of an application's models folder.

    Raises:
        PathNotAbsolute, PathNotUtf8, PathNotDirectory: it is none.
        MappingTargetRefused: it lies where no link may be made.
    """
    _require_text(models_path)
    if not models_path.startswith("/") or "\0" in models_path:
        raise PathNotAbsolute(
            f"not an absolute path: {models_path!r}", hint="the command line makes paths absolute; a program has to"
        )
    try:
        folder = Path(models_path).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # a link loop is a RuntimeError before Python 3.13
        raise PathNotDirectory(
            f"{models_path} cannot be looked at: {getattr(error, 'strerror', None) or error}",
            hint="name the models folder of an application that is installed",
        ) from error
    _require_text(str(folder))
    if not folder.is_dir():
        raise PathNotDirectory(f"{folder} is not a directory", hint="name the application's models folder")
    if why := protected.why_not(folder):
        raise MappingTargetRefused(why, hint="links are made in folders of applications only")
    return folder


def _require_text(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise PathNotUtf8(f"the path {path!r} has bytes that are not UTF-8", hint="rename it") from None


@contextmanager
def opened(root: Path, relative: PurePosixPath, protected: Protected, *, make: bool) -> Iterator[int | None]:
    """The descriptor of a folder below `root`; None when it is not there and not to be made.

    Raises:
        FolderRefused: it leads through a link, is no folder, cannot be opened or made, or is protected.
    """
    if why := protected.why_not(root / relative):
        raise FolderRefused(why)
    here = root
    descriptor = -1
    try:
        descriptor = os.open(here, _PASS if relative.parts else _OPEN)
        for left, part in zip(range(len(relative.parts) - 1, -1, -1), relative.parts, strict=True):
            here = here / part
            inner = _enter(descriptor, part, _PASS if left else _OPEN, make=make)
            os.close(descriptor)
            descriptor = inner if inner is not None else -1
            if inner is None:
                break
    except OSError as error:
        if descriptor != -1:
            os.close(descriptor)
        raise FolderRefused(f"{here} {_why_not_opened(here, error)}") from error
    try:
        yield descriptor if descriptor != -1 else None
    finally:
        if descriptor != -1:
            os.close(descriptor)


def _enter(descriptor: int, part: str, flags: int, *, make: bool) -> int | None:
    try:
        return os.open(part, flags, dir_fd=descriptor)
    except FileNotFoundError:
        if not make:
            return None
    os.mkdir(part, dir_fd=descriptor)
    return os.open(part, flags, dir_fd=descriptor)


def _why_not_opened(path: Path, error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        kind = "a link, and links out of an application's folder are not followed" if path.is_symlink() else "no folder"
        return f"is {kind}"
    return f"cannot be used: {error.strerror}"


class Kind(Enum):
    """What stands at a name."""

    NOTHING = auto()
    LINK = auto()
    FILE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands at a name in a folder.

    `leads_to` is the absolute path a link leads to, in one step and as text; `real` is what is at the end of all steps,
    null when there is nothing.
    """

    kind: Kind
    facts: os.stat_result | None = None
    leads_to: str | None = None
    real: os.stat_result | None = None

    def is_same_file(self, facts: os.stat_result) -> bool:
        """Whether this is, or leads to, that very file."""
        return self.real is not None and (self.real.st_dev, self.real.st_ino) == (facts.st_dev, facts.st_ino)


def standing(descriptor: int, folder: Path, name: str) -> Standing:
    """What stands at a name. Nothing is opened.

    Raises:
        OSError: it cannot be told.
    """
    try:
        facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return Standing(Kind.NOTHING)
    if stat.S_ISREG(facts.st_mode):
        return Standing(Kind.FILE, facts, real=facts)
    if not stat.S_ISLNK(facts.st_mode):
        return Standing(Kind.OTHER, facts, real=facts)
    leads_to = os.path.normpath(folder / os.readlink(name, dir_fd=descriptor))
    try:
        real = os.stat(name, dir_fd=descriptor)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise  # behind a folder that is closed to us there may be a file
        real = None
    return Standing(Kind.LINK, facts, leads_to, real)


def shown(text: str) -> str:
    """A path from disk as JSON can hold it: bytes that are not UTF-8 are escaped."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def links_in(descriptor: int, folder: Path) -> dict[str, str]:
    """The symbolic links in a folder: where each leads, by name. A name that is not UTF-8 is none of ours."""
    with os.scandir(descriptor) as entries:
        names = sorted(entry.name for entry in entries if entry.is_symlink() and shown(entry.name) == entry.name)
    return {name: os.path.normpath(folder / os.readlink(name, dir_fd=descriptor)) for name in names}
