"""What is to be watched, and what stands at its path now. Owns the look at one path; never schedules a watch."""

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FolderKey = tuple[str, bool]
"""A folder's path, and whether it is watched with everything below it."""

Identity = tuple[int, int]
"""`(st_dev, st_ino)`. A deleted folder's number may come back, so an ended watch counts as a difference too."""

MISSING = "the folder does not exist"
NOT_YET = "its watches are not set yet"
SILENT = "its filesystem does not answer"
PATIENCE_S = 1.0
"""How long one look may take before the others have their turn."""


@dataclass(eq=False, slots=True)
class Place:
    """One root that somebody asked to have watched.

    Attributes:
        scope: what to mark when the root itself is in question; also its key.
        root: as it was given.
        scope_of: the scope of a path below the root, None for nobody's.
        real: the root with its links resolved, as of the last look.
        covered_by: the folders that are watched for it.
        fault: why events do not cover the root; None when they do.
        hung: the thread of a look that a filesystem keeps, perhaps for ever.
    """

    scope: str
    root: str
    scope_of: Callable[[str], str | None]
    real: str = ""
    covered_by: set[FolderKey] = field(default_factory=set)
    fault: str | None = NOT_YET
    hung: threading.Thread | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look found.

    Attributes:
        real: the root with its links resolved: a watch on a link would not see into the folder.
        identity: of the root; None when there is no folder.
        problem: why there is none.
        anchor: path and identity of the nearest folder above the root that exists: there the root goes and comes.
    """

    real: str
    identity: Identity | None
    problem: str
    anchor: tuple[str, Identity] | None


def look(root: str) -> Sight:
    """See what stands at `root` now. Never raises; may block as long as the filesystem does."""
    real = os.path.realpath(root)
    identity, problem = _identity(real)
    for anchor in Path(real).parents:
        anchor_identity, _ = _identity(str(anchor))
        if anchor_identity is not None:
            return Sight(real, identity, problem, (str(anchor), anchor_identity))
    return Sight(real, identity, problem, None)


def look_in_time(place: Place) -> Sight | None:
    """As `look`, on a thread that can be left to a filesystem that hangs; None while it does."""
    if place.hung is not None and place.hung.is_alive():
        return None
    found: list[Sight] = []
    looking = threading.Thread(target=lambda: found.append(look(place.root)), name="watch-look", daemon=True)
    looking.start()
    looking.join(PATIENCE_S)
    place.hung = None if found else looking
    return found[0] if found else None


def _identity(path: str) -> tuple[Identity | None, str]:
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None, MISSING
    except OSError as error:
        return None, error.strerror or str(error)
    if not stat.S_ISDIR(found.st_mode):
        return None, "it is not a folder"
    return (found.st_dev, found.st_ino), ""
