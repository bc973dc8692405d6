"""Owns the search for bundles below a folder: which directories are bundles, and which snapshot of a Hugging Face cache
each of them is. Judges nothing, and opens nothing but `refs/main` of a cache.

A directory that holds a model_index.json is a bundle, and is not entered. Links are not followed, so that the search
never leaves the folder; hidden folders are passed by. Whatever is on disk, the search answers.
"""

import itertools
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pumas_agent.bundles.findings import escaped
from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.bundles.reading import FileTooLarge, NotRegularFile, read_file

MAX_ENTRIES = 200_000
"""Files and folders looked at: ten applications with all their models."""
MAX_LEVELS = 10
"""Below the folder: a home folder's project, its application and that one's models folder take six."""
MAX_BUNDLES = 1000
"""As many as one answer holds."""
MAX_NOT_SEARCHED = 50
"""Enough to see what they have in common."""

_CACHE = ("huggingface", "hub")
_REPOSITORY = "models--"
_SNAPSHOTS = "snapshots"
_MAX_REF_BYTES = 1024
_APPLICATIONS = (
    frozenset({"folder_paths.py", "comfy", "models"}),  # ComfyUI
    frozenset({"webui.py", "launch.py", "modules", "models"}),  # Stable Diffusion WebUI, Forge, SD.Next
    frozenset({"invokeai.yaml", "models"}),  # InvokeAI
)
"""What the root of an application holds. Only its models folder is searched: the rest is code, caches and pictures."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a bundle stands in a Hugging Face cache (`models--owner--name/snapshots/<revision>/`)."""

    repository: Path
    repo_id: str
    revision: str
    is_main: bool
    """`refs/main` of the repository names this revision."""


@dataclass(frozen=True, slots=True)
class BundlePlace:
    """A directory that holds a model_index.json."""

    root: Path
    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class Search:
    """What one search found, and what it left."""

    folder: Path
    """Canonical, as far as it could be resolved."""
    readable: bool
    """The folder itself could be listed."""
    places: tuple[BundlePlace, ...]
    """By path; of the snapshots of one repository that of `main` first, then the newest."""
    not_searched: tuple[tuple[str, str], ...]
    """Path and reason, the first `MAX_NOT_SEARCHED`."""
    truncated: bool
    """A bound was met."""


def find_bundles(folder: Path, *, deadline: float, leave_out: Path) -> Search:
    """Search below a folder; blocks on the disk, raises nothing for it.

    Args:
        folder: absolute; it may itself be a bundle, a cache, a repository of one, or an application's root.
        deadline: of `time.monotonic()`; what is not looked at by then is left.
        leave_out: canonical path of a folder that is not entered.
    """
    try:
        folder = Path(os.path.realpath(folder, strict=True))
    except OSError as error:
        return Search(folder, False, (), ((str(folder), _reason(error)),), truncated=False)
    except ValueError:
        return Search(folder, False, (), ((str(folder), "is no path"),), truncated=False)
    found = _Search(deadline, str(leave_out))
    found.run(str(folder))
    places = [BundlePlace(Path(root), _snapshot(Path(root))) for root in found.roots]
    return Search(
        folder,
        found.readable,
        tuple(sorted(places, key=_order)),
        tuple(found.not_searched),
        truncated=found.truncated,
    )


@dataclass(slots=True)
class _Search:
    """The state of one search. Breadth first: a bound leaves what is deepest."""

    deadline: float
    leave_out: str
    roots: list[str] = field(default_factory=list)
    not_searched: list[tuple[str, str]] = field(default_factory=list)
    truncated: bool = False
    readable: bool = False
    _entries: int = 0
    _waiting: deque[tuple[str, int]] = field(default_factory=deque)

    def run(self, folder: str) -> None:
        self._waiting.append((folder, 0))
        while self._waiting:
            if bound := self._bound():
                self._leave(bound)
                return
            self._enter(*self._waiting.popleft())

    def _bound(self) -> str | None:
        if self._entries >= MAX_ENTRIES:
            return f"more than {MAX_ENTRIES:,} entries"
        if len(self.roots) >= MAX_BUNDLES:
            return f"more than {MAX_BUNDLES:,} bundles"
        return "no time was left" if time.monotonic() >= self.deadline else None

    def _leave(self, bound: str) -> None:
        self.truncated = True
        for path, _ in self._waiting:
            self._skip(path, bound)

    def _skip(self, path: str, reason: str) -> None:
        if len(self.not_searched) < MAX_NOT_SEARCHED:
            self.not_searched.append((escaped(path), reason))

    def _enter(self, path: str, level: int) -> None:
        if path == self.leave_out or path.startswith(f"{self.leave_out}/"):
            self._skip(path, "belongs to the library")
            return
        try:
            path.encode()
            self._look_into(path, level)
        except OSError as error:
            self._skip(path, _reason(error))
        except UnicodeEncodeError:
            self._skip(path, "the name is not UTF-8")

    def _look_into(self, path: str, level: int) -> None:
        left = MAX_ENTRIES - self._entries
        with os.scandir(path) as listing:
            entries = {entry.name: entry for entry in itertools.islice(listing, left)}
        self.readable = True
        self._entries += len(entries)
        if len(entries) == left:
            self.truncated = True
            self._skip(path, f"more than {MAX_ENTRIES:,} entries")
        index = entries.get(MODEL_INDEX)
        if index is not None and not index.is_dir(follow_symlinks=False):
            self.roots.append(path)
            return
        children = list(self._children(path, entries))
        if children and level == MAX_LEVELS:
            self.truncated = True
            self._skip(path, f"is {MAX_LEVELS} levels deep")
            return
        self._waiting.extend((child, level + 1) for child in children)

    def _children(self, path: str, entries: dict[str, os.DirEntry[str]]) -> Iterator[str]:
        """The directories below that are worth entering, in the order of their names."""
        wanted = sorted(entries)
        if any(markers <= entries.keys() for markers in _APPLICATIONS):
            wanted = ["models"]
            if entries["models"].is_symlink():
                self._skip(entries["models"].path, "is a link; name the folder it leads to")
        elif os.path.basename(path).startswith(_REPOSITORY) and _SNAPSHOTS in entries:  # noqa: PTH119  text, not a Path
            wanted = [_SNAPSHOTS]
        for name in wanted:
            if name == ".cache":
                yield from self._hidden_cache(entries[name])
            elif not name.startswith(".") and entries[name].is_dir(follow_symlinks=False):
                yield entries[name].path

    @staticmethod
    def _hidden_cache(entry: os.DirEntry[str]) -> Iterator[str]:
        """The Hugging Face cache below a `.cache`, unless a link stands on the way to it."""
        cache = Path(entry.path, *_CACHE)
        try:
            if cache.is_dir() and cache.resolve() == cache:
                yield str(cache)
        except (OSError, RuntimeError):  # closed to us, or links in a circle
            return


def _snapshot(root: Path) -> Snapshot | None:
    for repository in root.parents:
        revision = root.relative_to(repository).parts[1:2]
        if repository.name.startswith(_REPOSITORY) and revision and root.is_relative_to(repository / _SNAPSHOTS):
            repo_id = repository.name.removeprefix(_REPOSITORY).replace("--", "/")
            return Snapshot(repository, repo_id, revision[0], is_main=_main(repository) == revision[0])
    return None


def _main(repository: Path) -> str | None:
    """The revision that `refs/main` names: the commit that the last download of `main` saw."""
    try:
        return read_file(repository / "refs" / "main", _MAX_REF_BYTES).decode("ascii", "replace").strip()
    except (OSError, NotRegularFile, FileTooLarge):
        return None


def _order(place: BundlePlace) -> tuple[str, bool, int, str]:
    if place.snapshot is None:
        return (str(place.root), False, 0, "")
    try:
        modified_ns = place.root.stat().st_mtime_ns
    except OSError:  # gone since
        modified_ns = 0
    return (str(place.snapshot.repository), not place.snapshot.is_main, -modified_ns, str(place.root))


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
