"""Owns where a path below the root leads: there, missing, unreadable, or out of the bundle. Opens nothing."""

import errno
import os
from pathlib import Path

from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.contracts.bundles import ComponentState

_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def place_of(root: Path, name: str) -> tuple[ComponentState, str]:
    """What is at `name` below the root (canonical), links followed, and why that is not good enough."""
    path = root / name
    try:
        real = Path(os.path.realpath(path, strict=True))
    except ValueError:
        return ComponentState.MISSING, "has a NUL in its name, which no folder can have"
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return ComponentState.MISSING, _why_missing(path)
        return ComponentState.UNREADABLE, f"cannot be read: {error.strerror}"
    if not is_inside(root, real):
        return ComponentState.PATH_ESCAPE, f"is a link that leads out of the bundle, to {real}"
    if not os.access(real, os.R_OK | os.X_OK if real.is_dir() else os.R_OK):
        return ComponentState.UNREADABLE, "cannot be read: Permission denied"
    return ComponentState.PRESENT, ""


def _why_missing(path: Path) -> str:
    try:
        target = path.readlink()
    except OSError:
        return f"is missing: {MODEL_INDEX} names it, and the bundle has nothing of that name"
    return f"is missing: there is only a link that leads nowhere, to {target}"


def is_inside(root: Path, real: Path) -> bool:
    """A canonical path lies below the root, or is a blob of the Hugging Face cache that the bundle itself lies in.

    The layout is `models--<org>--<name>/snapshots/<revision>/…`, whose files are links into `models--…/blobs`.
    """
    if real.is_relative_to(root):
        return True
    for folder in root.parents:
        if folder.name == "snapshots" and folder.parent.name.startswith("models--"):
            return real.is_relative_to(os.path.realpath(folder.parent / "blobs"))
    return False
