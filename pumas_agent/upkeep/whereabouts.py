"""Where a bundle is that is gone from its path. Owns the search for it; changes nothing, and concludes nothing from a
bundle that only looks alike: what is found is proven by its content.

Blocks on the disk, and is bounded in time and in the folders it looks into.
"""

import itertools
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pumas_agent.bundles import identity_of
from pumas_agent.bundles.discovery import find_bundles
from pumas_agent.contracts.metadata import AgentFacts, MountFacts
from pumas_agent.mounts import Mount, Mounts, uuid_of

_MOST_NEIGHBOURS = 500
"""Folders beside one place that are looked at."""
_INDEX = "model_index.json"


class Fate(StrEnum):
    """What became of a bundle that is not at its path."""

    MISSING = "missing"
    OFFLINE = "offline"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What a search found.

    Attributes:
        fate: what became of it.
        moved_to: the one place where it was proven to be.
        remounted: there, because its filesystem is mounted somewhere else now.
        candidates: places with the same content, when which of them it is cannot be told.
        mount: of the filesystem that is not mounted.
    """

    fate: Fate
    moved_to: str | None = None
    remounted: bool = False
    candidates: tuple[str, ...] = ()
    mount: MountFacts | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A bundle to be searched for, and where to begin.

    Attributes:
        root: where it was.
        facts: what is known of it from when it was valid.
        hints: where it was seen to go.
    """

    root: str
    facts: AgentFacts
    hints: tuple[str, ...] = ()


def whereabouts(
    lost: Lost, *, mounts: Mounts, taken: frozenset[str], search_roots: Iterable[Path], library: Path, deadline: float
) -> Whereabouts:
    """Search for a bundle.

    Args:
        lost: which.
        mounts: the table of mounts.
        taken: roots that belong to other models: what is there is not this one.
        search_roots: folders that the settings name.
        library: its root, in which no external bundle is looked for.
        deadline: monotonic seconds at which the search ends.
    """
    facts = lost.facts.mount
    if facts is not None and not _holds(mounts.around(lost.root), facts):
        return _with_its_filesystem(lost, facts, mounts, taken)
    proven: dict[str, bool] = {}
    """Places with the same content, and whether they are the same folder."""
    further = (find_bundles(folder, deadline=deadline, leave_out=library).places for folder in search_roots)
    roots = (str(found.root) for places in further for found in places)
    for place in itertools.chain(_places(lost, mounts, taken), roots):
        if place not in proven and place not in taken and place != lost.root and _is_proven(place, lost.facts):
            proven[place] = _inode(place) == lost.facts.inode
            if proven[place] and place in lost.hints:
                return Whereabouts(Fate.MOVED, place)  # it was seen to go there, and it is the same folder
        if time.monotonic() > deadline:
            break
    same_folder = [place for place, same in proven.items() if same]
    found = same_folder if len(same_folder) == 1 else list(proven)
    if len(found) == 1:
        return Whereabouts(Fate.MOVED, found[0])
    return Whereabouts(Fate.MISSING, candidates=tuple(sorted(proven)))


def _with_its_filesystem(lost: Lost, facts: MountFacts, mounts: Mounts, taken: frozenset[str]) -> Whereabouts:
    """Of a bundle whose filesystem is not mounted where it was: somewhere else, or not at all."""
    for mount in mounts.all:
        place = os.path.normpath(os.path.join(mount.point, facts.path))  # noqa: PTH118 - text of a record
        is_other = place != lost.root and place not in taken
        if is_other and _is_same(mount, facts) and _is_proven(place, lost.facts):
            return Whereabouts(Fate.MOVED, place, remounted=True)
    return Whereabouts(Fate.OFFLINE, mount=facts)


def _holds(around: Mount | None, facts: MountFacts) -> bool:
    """The filesystem that held the bundle is the one that would hold it now."""
    return around is None or (around.point == facts.point and _is_same(around, facts))


def _is_same(mount: Mount, facts: MountFacts) -> bool:
    """The filesystem is the one that is known: by its UUID where the system tells it, else by what is mounted."""
    if facts.uuid is not None and (uuid := uuid_of(mount)) is not None:
        return uuid == facts.uuid
    return (mount.kind, mount.source) == (facts.kind, facts.source)


def _places(lost: Lost, mounts: Mounts, taken: frozenset[str]) -> Iterator[str]:
    """Where it may be, the likeliest first; nothing on a filesystem that may hang, unless it was on that itself."""
    own = lost.facts.mount.point if lost.facts.mount is not None else None

    def may_ask(path: str) -> bool:
        around = mounts.around(path)
        return around is None or around.is_local or around.point == own

    near: list[str] = list(lost.hints)
    if lost.facts.given_path is not None:
        near.append(os.path.realpath(lost.facts.given_path))
    above, below = _nearest(lost.root)
    near += (os.path.join(folder, *below) for folder in _folders_in(above))  # noqa: PTH118 - many, and all text
    yield from filter(may_ask, near)
    for parent in sorted({os.path.dirname(root) for root in (*taken, lost.root)} - {above}):  # noqa: PTH120
        if may_ask(parent):
            yield from filter(may_ask, _folders_in(parent))


def _nearest(root: str) -> tuple[str, tuple[str, ...]]:
    """The nearest folder above a root that exists, and the way from one of its children down to the root."""
    path = Path(root)
    for parent in path.parents:
        if parent.is_dir():
            return str(parent), path.relative_to(parent).parts[1:]
    return "/", ()


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as listing:
            found = (entry.path for entry in listing if entry.is_dir(follow_symlinks=False))
            return sorted(itertools.islice(found, _MOST_NEIGHBOURS))
    except OSError:
        return []


def _is_proven(place: str, facts: AgentFacts) -> bool:
    """What is there is the bundle: its index, configs, headers and samples of its weights are the same."""
    root = Path(place)
    if facts.identity is None or not (root / _INDEX).is_file():
        return False
    return identity_of(root) == facts.identity


def _inode(place: str) -> int | None:
    try:
        return os.stat(place).st_ino  # noqa: PTH116 - text of a search
    except OSError:
        return None


def is_safe_place(place: Path, owner: int) -> bool:
    """Nobody but the owner and root could have put something there: what relocation without a person asks for.

    The folder belongs to `owner` or to root, and no folder above it may be written by everybody, unless it is sticky
    (as /tmp is), where others can remove and rename only what is theirs.
    """
    try:
        if place.stat().st_uid not in (owner, 0):
            return False
        modes = [parent.stat().st_mode for parent in place.parents]
    except OSError:
        return False
    return not any(mode & stat.S_IWOTH and not mode & stat.S_ISVTX for mode in modes)
