"""Durable JSON files: either the old document or the new one is there, after any crash.

Owns how a JSON file of the library is read and written; knows nothing of what is in it. Format as the existing library
writes it: two-space indent, no trailing newline, non-ASCII unescaped, `.bak` beside it.
"""

import contextlib
import json
import math
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pumas_agent.contracts.errors import MetadataUnreadable

_MAX_BYTES = 64 * 1024 * 1024
_MAX_DEPTH = 128
"""As deep as the existing library's own parser goes."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        MetadataUnreadable: it cannot be read, or holds no JSON object.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > _MAX_BYTES:
                raise MetadataUnreadable(f"{path} is not a file of a size that a JSON document has")
            document = json.loads(file.read())
        _require_storable(document, 0)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MetadataUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MetadataUnreadable(
            f"{path} is not JSON: {error}",
            hint=f"repair it, or copy {path.name}.bak over it if there is one; the model stays registered",
        ) from error
    if not isinstance(document, dict):
        raise MetadataUnreadable(f"{path} holds no JSON object")
    return document


def _require_storable(value: Any, depth: int) -> None:
    """Refuse what Python's parser takes and neither UTF-8, SQLite nor a strict JSON parser can hold.

    Raises:
        ValueError: NaN, an infinity, half a surrogate pair, or nesting without end.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode("utf-8")
            _require_storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _require_storable(item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"it holds the number {value}")


def write_json(path: Path, document: Mapping[str, Any], *, backup: Path | None = None) -> None:
    """Replace `path` by `document`, durably. The previous file becomes `backup`.

    The rename is the moment the new document is there. Everything before it leaves the old one in place.

    Raises:
        OSError: nothing was replaced, except when only the last step failed (the folder could not be flushed).
    """
    with staged_json(path, document) as temporary:
        place_json(temporary, path, backup=backup)


@contextlib.contextmanager
def staged_json(path: Path, document: Mapping[str, Any]) -> Iterator[Path]:
    """A file beside `path` that holds `document`, flushed: `place_json` puts it in place. Without that it goes again.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def place_json(staged: Path, path: Path, *, backup: Path | None = None) -> None:
    """Let a staged file take the place of `path`, durably. The previous file becomes `backup`.

    Raises:
        OSError: nothing was replaced, except when only the last step failed (the folder could not be flushed).
    """
    if backup is not None:
        _keep_previous(path, backup)
    staged.replace(path)
    sync_directory(path.parent)


def _keep_previous(path: Path, backup: Path) -> None:
    """Make `backup` the file that is about to be replaced: a second name for it, so no byte is copied."""
    temporary = backup.with_name(f"{backup.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        try:
            os.link(path, temporary)
        except FileNotFoundError:
            return
        except OSError:  # exFAT and some network filesystems have no hard links
            temporary.write_bytes(path.read_bytes())
        temporary.replace(backup)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def sync_directory(directory: Path) -> None:
    """Flush a folder, so that a rename in it survives a power cut (man 2 fsync)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_folder(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of a folder below `root`, reached part by part and through no link, for `dir_fd`.

    Raises:
        OSError: a part is no folder (ELOOP or ENOTDIR for a link), or not there.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    try:
        for part in parts:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def rename_folder(root: Path, old: Sequence[str], new: Sequence[str]) -> None:
    """Rename a folder below `root`, durably, and through no link, whatever is put in its way meanwhile.

    Raises:
        OSError: it was not renamed, except when only the flush of a folder failed.
    """
    source = open_folder(root, old[:-1])
    try:
        target = open_folder(root, new[:-1])
        try:
            os.rename(old[-1], new[-1], src_dir_fd=source, dst_dir_fd=target)
            os.fsync(target)
            os.fsync(source)
        finally:
            os.close(target)
    finally:
        os.close(source)
