"""What is to be watched, and what stands at its path now. Owns the look at one path; never schedules a watch."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching.watcher import LIBRARY

Kind = Literal["tree", "way", "beside", "itself"]
"""How a folder is watched: with everything below it; for the root that lies in it; for whatever lies in it; or only for
its own going, because a root lies further down."""

FolderKey = tuple[str, Kind]
"""A folder's path, and how it is watched."""

Identity = tuple[int, int]
"""`(st_dev, st_ino)`. A deleted folder's number may come back, so an ended watch counts as a difference too."""

NOWHERE: Identity = (-1, -1)
MISSING = "the folder does not exist"
NOT_YET = "its watches are not set yet"
SILENT = "its filesystem does not answer"


@dataclass(eq=False, slots=True)
class Place:
    """One root that somebody asked to have watched.

    Attributes:
        scope: what to mark when the root itself is in question; also its key.
        root: as it was given.
        scope_of: the scope of a path below the root, None for nobody's. None itself when all of it is `scope`.
        real: the root with its links resolved, as of the last look.
        beside: folders elsewhere that what is in the root depends on.
        covered_by: the folders that are watched for it.
        fault: why nothing covers the root; None when something does.
        polled: why it is compared at intervals too; None when events tell of everything.
        partly: what of it could not be watched, and why.
        unproven: why the absence of events proves nothing, as of the last look; None when it does.
        blind: a folder that came since and cannot be watched. Set on the event thread.
    """

    scope: str
    root: str
    scope_of: Callable[[str], str | None] | None = None
    real: str = ""
    beside: tuple[str, ...] = ()
    covered_by: set[FolderKey] = field(default_factory=set)
    fault: str | None = NOT_YET
    polled: str | None = None
    partly: str | None = None
    unproven: str | None = NOT_YET
    blind: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return LIBRARY if self.scope == ALL_MODELS else self.scope

    @property
    def is_proven(self) -> bool:
        """The absence of events proves that nothing happened."""
        return self.unproven is None and self.blind is None


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look found.

    Attributes:
        real: the root with its links resolved: a watch on a link would not see into the folder.
        identity: of the root; None when there is no folder.
        problem: why there is none.
        above: the folders above the root that exist, the nearest first: there the root goes and comes.
        beside: the folders elsewhere, None for one that is not there.
    """

    real: str
    identity: Identity | None
    problem: str
    above: tuple[tuple[str, Identity], ...]
    beside: tuple[tuple[str, Identity | None], ...]


def look(root: str, beside: tuple[str, ...] = ()) -> Sight:
    """See what stands at `root` now, and at folders beside it. Never raises; may block as the filesystem does."""
    real = os.path.realpath(root)
    identity, problem = _identity(real)
    above = ((str(folder), _identity(str(folder))[0]) for folder in Path(real).parents)
    return Sight(
        real,
        identity,
        problem,
        tuple((path, known) for path, known in above if known is not None),
        tuple((path, _identity(path)[0]) for path in beside),
    )


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
