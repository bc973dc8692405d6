"""Which folders are watched for a root, when that does not tell of everything, and whether a root stands still."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pumas_agent.mounts import LAYERED_TYPES, Mount
from pumas_agent.watching.backends import Backend
from pumas_agent.watching.folders import WatchedFolder
from pumas_agent.watching.hub import HubEmitter
from pumas_agent.watching.places import FolderKey, Identity, Place, Sight

Check = tuple[HubEmitter, str]
"""Asks the kernel whether what is watched is what stands there now: one system call, which may block."""


def wanted_folders(backend: Backend, sight: Sight, mount: Mount | None) -> dict[FolderKey, Identity | None]:
    """The folders to be watched for a place, in this order: a root that comes a moment later is then seen."""
    if backend.observer is None or (mount is not None and not mount.is_local):
        return {}  # to ask for a watch may wait for ever where a network or a program has to answer
    wanted: dict[FolderKey, Identity | None] = {}
    for path, identity in sight.above[:1]:
        wanted[path, "way"] = identity
    if backend.hub is not None:
        above = [*sight.above[1:], *((str(up), None) for path, _ in sight.beside for up in Path(path).parents)]
        wanted.update({(path, "itself"): identity for path, identity in reversed(above)})
        wanted.update({(path, "beside"): identity for path, identity in sight.beside})
    if sight.identity is not None:
        wanted[sight.real, "tree"] = sight.identity
    return wanted


def why_polled(backend: Backend, sight: Sight, mount: Mount | None) -> str | None:
    """Why a root is compared at intervals too; None when events tell of everything."""
    if backend.observer is None:
        return "there are no events: the backend is polling"
    if mount is not None and (not mount.is_local or mount.kind in LAYERED_TYPES):
        return f"{sight.real}: events on {mount.kind} do not tell of everything"
    return None


def concerns(point: str, place: Place) -> bool:
    """Whether what is mounted at a point covers the place, or a part of it."""
    real = place.real or place.root
    return any(
        path == point or path.startswith(point.rstrip("/") + "/") or point.startswith(path.rstrip("/") + "/")
        for path in (real, *place.beside)
    )


def checks_of(
    place: Place, backend: Backend | None, folders: Mapping[FolderKey, WatchedFolder], asked: set[FolderKey]
) -> list[Check] | None:
    """Questions to the kernel whether a root is what it was; None where it has to be looked at.

    Args:
        place: the root.
        backend: what delivers events.
        folders: what is watched.
        asked: folders of which another root has asked already; added to.
    """
    if backend is None or backend.hub is None or place.fault is not None or not place.is_proven:
        return None
    checks: list[Check] = []
    for key in place.covered_by - asked:
        folder = folders.get(key)
        if folder is None or not folder.delivers or not isinstance(folder.emitter, HubEmitter):
            return None
        if key[1] == "tree":
            checks.append((folder.emitter, place.root))
        else:
            asked.add(key)
            checks.append((folder.emitter, key[0]))
    return checks


def differing(checked: Iterable[tuple[Place, list[Check]]]) -> list[Place]:
    """The places of which some check fails."""
    return [place for place, checks in checked if not all(emitter.is_at(path) for emitter, path in checks)]
