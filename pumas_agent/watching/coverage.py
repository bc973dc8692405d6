"""Which folders are watched for a root, and when that does not tell of everything. Pure."""

from pathlib import Path

from pumas_agent.mounts import LAYERED_TYPES, Mount
from pumas_agent.watching.backends import Backend
from pumas_agent.watching.places import FolderKey, Identity, Place, Sight


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
