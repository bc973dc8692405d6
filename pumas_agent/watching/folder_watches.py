"""Which folder each inotify watch belongs to, and for whom. Owns the watches of one instance; dispatches nothing.

A watch belongs to a folder, not to a path: when a folder moves, what is below the old path is dropped and what is below
the new one is added, and no two events are ever paired for that. Thread-safe.

What is below a root is reached through a descriptor of the root. A folder that cannot be found there went by a change
within the root, and an event tells of it; by the whole path it could be missed because something above the root was
renamed, of which no event within the root would ever tell.
"""

import errno
import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pumas_agent.watching.kernel import MASK, Inotify, is_gone

Owner = TypeVar("Owner", bound=Hashable)

_REASONS = {
    errno.ENOSPC: "the watch limit is reached (fs.inotify.max_user_watches, or watch.max_watches)",
    errno.ENOMEM: "the kernel has no memory for another watch",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}


def why_unwatched(error: OSError | RuntimeError, path: str) -> str:
    """Why a folder cannot be watched, with its path."""
    if not isinstance(error, OSError):
        return f"{path}: {error}"
    return f"{error.filename or path}: {_REASONS.get(error.errno or 0, error.strerror)}"


@dataclass(eq=False, slots=True)
class _Tree:
    """What one owner watches."""

    root: str
    recursive: bool
    mask: int
    paths: dict[str, int] = field(default_factory=dict)
    """The watch of each folder."""


class FolderWatches(Generic[Owner]):
    """The watches of one instance, each with the owners that want it and the path it has for them.

    Args:
        inotify: the instance.
        most: watches at most; 0 for as many as the kernel gives.
    """

    def __init__(self, inotify: Inotify, most: int = 0) -> None:
        self._inotify = inotify
        self._most = most
        self._lock = threading.RLock()
        self._users: dict[int, tuple[tuple[Owner, str], ...]] = {}
        self._trees: dict[Owner, _Tree] = {}

    def __len__(self) -> int:
        """How many watches the kernel holds for us."""
        return len(self._users)

    def users(self, watch: int) -> tuple[tuple[Owner, str], ...]:
        """Who wants a watch, and the path of its folder; nobody for one that has ended."""
        return self._users.get(watch, ())

    def begin(self, owner: Owner, root: str, *, recursive: bool, mask: int = MASK) -> None:
        """Watch a folder, with everything below it or alone; all of it, or nothing.

        Raises:
            OSError: the root is not there, or some folder cannot be watched.
        """
        with self._lock:
            self._trees[owner] = _Tree(root, recursive, mask)
        try:
            with _way_to(root) as way:
                if self._add_one(owner, root, way) and recursive:
                    self._add_below(owner, root, way)
        except OSError:
            self.end(owner)
            raise

    def end(self, owner: Owner) -> None:
        """Watch nothing for an owner any more."""
        with self._lock:
            tree = self._trees.pop(owner, None)
            for path in list(tree.paths) if tree is not None else ():
                self._drop_one(owner, tree, path)

    def add(self, owner: Owner, path: str) -> None:
        """Watch a folder below the owner's root, and what is below it; one that is gone by now is passed over.

        Raises:
            OSError: a folder that is there cannot be watched, or the root is not where it was: who wants it whole has
                to watch it anew.
        """
        with self._lock:
            tree = self._trees.get(owner)
            expected = tree.paths.get(tree.root) if tree is not None else None
        if tree is None or expected is None:  # ended, or its end is about to be told
            return
        with _way_to(tree.root) as way:
            if not self._leads_to(way, expected, tree.mask):
                raise OSError(errno.ESTALE, "it was moved while a folder came", tree.root)
            try:
                if self._add_one(owner, path, way + path.removeprefix(tree.root)):
                    self._add_below(owner, path, way + path.removeprefix(tree.root))
            except OSError as error:
                if not is_gone(error):
                    raise

    def _add_below(self, owner: Owner, top: str, way: str) -> None:
        """Watch all that is below a watched folder.

        Each folder is watched before it is listed: what comes into it meanwhile is found one way or the other.
        """
        waiting = _folders_in(top, way)
        while waiting:
            path = waiting.pop()
            via = way + path.removeprefix(top)
            try:
                if not self._add_one(owner, path, via):
                    return
                waiting += _folders_in(path, via)
            except OSError as error:
                if not is_gone(error):
                    raise

    def drop(self, owner: Owner, path: str) -> None:
        """End what an owner watches at and below a path."""
        with self._lock:
            tree = self._trees.get(owner)
            if tree is None:
                return
            below = path + "/"
            for known in [known for known in tree.paths if known == path or known.startswith(below)]:
                self._drop_one(owner, tree, known)

    def ended(self, watch: int) -> tuple[tuple[Owner, str], ...]:
        """The kernel ended a watch: its folder was deleted or unmounted. Who wanted it."""
        with self._lock:
            users = self._users.pop(watch, ())
            for owner, path in users:
                tree = self._trees.get(owner)
                if tree is not None and tree.paths.get(path) == watch:
                    del tree.paths[path]
            return users

    def stands(self, owner: Owner) -> bool:
        """The owner's root is watched."""
        tree = self._trees.get(owner)
        return tree is not None and tree.root in tree.paths

    def is_at(self, owner: Owner, path: str) -> bool:
        """What the owner watches as its root is what stands at `path` now: one system call, which may block.

        The kernel gives the watch of a folder by any path that leads to it, and a new one for another folder.
        """
        with self._lock:
            tree = self._trees.get(owner)
            expected = tree.paths.get(tree.root) if tree is not None else None
        return expected is not None and tree is not None and self._leads_to(path, expected, tree.mask)

    def _leads_to(self, path: str, expected: int, mask: int) -> bool:
        try:
            found = self._inotify.add(path, mask)
        except OSError:
            return False
        with self._lock:
            if found != expected and found not in self._users:
                self._inotify.remove(found)
        return found == expected

    def _add_one(self, owner: Owner, path: str, via: str) -> bool:
        """Watch one folder; False when the owner has ended meanwhile."""
        with self._lock:
            tree = self._trees.get(owner)
            if tree is None:
                return False
            if self._most and len(self._users) >= self._most and path not in tree.paths:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            watch = self._inotify.add(path, tree.mask, via)
            before = tree.paths.get(path)
            if before is not None and before != watch:
                self._drop_one(owner, tree, path)
            users = self._users.get(watch, ())
            for known in [known for user, known in users if user == owner and known != path]:
                if tree.paths.get(known) == watch:
                    del tree.paths[known]  # it moved, and was found at its new place before its event was read
            others = tuple(user for user in users if user[0] != owner)
            self._users[watch] = (*others, (owner, path))
            tree.paths[path] = watch
            return True

    def _drop_one(self, owner: Owner, tree: _Tree | None, path: str) -> None:
        watch = tree.paths.pop(path, None) if tree is not None else None
        if watch is None or (owner, path) not in self._users.get(watch, ()):
            return
        others = tuple(user for user in self._users[watch] if user != (owner, path))
        if others:
            self._users[watch] = others
        else:
            del self._users[watch]
            self._inotify.remove(watch)


@contextmanager
def _way_to(root: str) -> Iterator[str]:
    """A path that leads to what stands at `root` now, wherever it is moved meanwhile."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _folders_in(path: str, via: str) -> list[str]:
    try:
        with os.scandir(via) as listing:
            return [f"{path}/{entry.name}" for entry in listing if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        error.filename = path
        raise
