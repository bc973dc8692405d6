"""Owns what the rules look at: one bundle's tree, index, components and files, each read at most once a look.

Never judges: what a rule needs and cannot have is raised as `Unusable`, with the problem to report.
"""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from pumas_agent.bundles.findings import FindingCode, Problem, fatal
from pumas_agent.bundles.model_index import ModelIndex
from pumas_agent.bundles.policy import Policy
from pumas_agent.bundles.reading import FileTooLarge, NotRegularFile, opened, read_file
from pumas_agent.bundles.tables import ComponentKind, PipelineFacts, Tables
from pumas_agent.bundles.walk import Tree
from pumas_agent.contracts.bundles import ComponentState

MAX_CONFIG_BYTES = 4 * 1024 * 1024
LFS_MARKS = (b"version https://git-lfs", b"version https://hawser")
"""How a Git LFS pointer begins; hawser is what Git LFS was called before (git-lfs/docs/spec.md)."""


class Unusable(Exception):
    """A file cannot be used; `problem` says so for the report."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.finding.message)
        self.problem = problem


class Presence(Enum):
    """What is at a path, links followed."""

    FILE = auto()
    DIRECTORY = auto()
    ABSENT = auto()
    DANGLING = auto()
    """A link that leads nowhere, or in a circle."""
    SPECIAL = auto()
    """A pipe, socket or device."""
    UNREADABLE = auto()


@dataclass(frozen=True, slots=True)
class ComponentEntry:
    """One component as the index names it: two texts that are not empty."""

    name: str
    library: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a runtime would load a component from."""

    entry: ComponentEntry
    state: ComponentState
    folder: str | None
    """Relative to the root, which itself is the empty text; None when there is nothing to load from."""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """One component that a runtime would load: named by the index, of a class that can be loaded, and in place."""

    name: str
    library: str
    class_name: str
    kind: ComponentKind
    folder: str
    """Relative to the root: the component's name, or empty when diffusers would load it from the root itself."""

    def path(self, name: str) -> str:
        """A file of the component, relative to the root."""
        return f"{self.folder}/{name}" if self.folder else name


class Bundle:
    """One bundle under the rules. Belongs to one look; answers from its memory what it was asked before."""

    def __init__(self, root: Path, tree: Tree, index: ModelIndex, policy: Policy, tables: Tables) -> None:
        self.root = root
        """Canonical."""
        self.tree = tree
        self.index = index
        self.policy = policy
        self.tables = tables
        self.entries: tuple[ComponentEntry, ...] = ()
        """The components that a runtime would load."""
        self.places: tuple[Place, ...] = ()
        """Of each entry."""
        self.components: tuple[Component, ...] = ()
        """Those whose content can be judged."""
        self._presence: dict[str, Presence] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._documents: dict[str, dict[str, Any] | Problem] = {}

    @property
    def facts(self) -> PipelineFacts | None:
        """What the tables say about the pipeline class; None for a class they do not know."""
        name = self.index.pipeline_class
        return None if name is None else self.tables.pipeline(name)

    def names(self, folder: str) -> tuple[str, ...]:
        """What a folder holds, in the order in which the system lists it; nothing when it cannot be listed."""
        if folder not in self._names:
            try:
                self._names[folder] = tuple(os.listdir(self.root / folder))  # noqa: PTH208 - the names alone
            except OSError:
                self._names[folder] = ()
        return self._names[folder]

    def presence(self, path: str) -> Presence:
        """What is at a path, relative to the root."""
        if path not in self._presence:
            self._presence[path] = _presence(f"{self.root}/{path}")
        return self._presence[path]

    def is_file(self, path: str) -> bool:
        """A regular file, links followed: what `os.path.isfile` asks for diffusers."""
        return self.presence(path) is Presence.FILE

    def no_file(self, path: str, code: FindingCode, message: str) -> Problem:
        """The problem of a path that should be a file and is none: `code` and `message` when nothing is there."""
        match self.presence(path):
            case Presence.DANGLING:
                return fatal(FindingCode.DANGLING_SYMLINK, f"{path} is a link that leads nowhere", path)
            case Presence.UNREADABLE:
                return fatal(FindingCode.COMPONENT_UNREADABLE, f"{path} cannot be read: Permission denied", path)
            case Presence.SPECIAL:
                what = f"{path} is a pipe, socket or device, not a file"
                return fatal(FindingCode.UNSUPPORTED_FILE_TYPE, what, path)
            case Presence.DIRECTORY:
                return fatal(code, f"{path} is a directory, not a file", path)
            case _:
                return fatal(code, message, path)

    def read(self, path: str, limit: int) -> bytes:
        """All bytes of a file of at most `limit` bytes.

        Raises:
            Unusable: it cannot be read, is no regular file, or is larger.
        """
        try:
            return read_file(self.root / path, limit)
        except FileTooLarge as error:
            what = f"{path} has more than {limit:,} bytes, and is not read"
            raise Unusable(fatal(FindingCode.FILE_TOO_LARGE, what, path)) from error
        except (OSError, ValueError, NotRegularFile) as error:
            raise Unusable(_unreadable(path, error)) from error

    def open(self, path: str) -> "_Opened":
        """A descriptor of a file, for a `with` statement.

        Raises:
            Unusable: it cannot be read, or is no regular file.
        """
        return _Opened(self.root / path, path)

    def document(self, path: str, code: FindingCode = FindingCode.INVALID_CONFIG_JSON) -> dict[str, Any]:
        """The JSON object in a file of at most 4 MiB, read as diffusers and transformers do: strict UTF-8 without a
        byte order mark; NaN and repeated keys are accepted, the last one counts.

        Raises:
            Unusable: it cannot be read, or (`code`) is no such object.
        """
        if path not in self._documents:
            try:
                self._documents[path] = _object(self.read(path, MAX_CONFIG_BYTES), path, code)
            except Unusable as unusable:
                self._documents[path] = unusable.problem
        found = self._documents[path]
        if isinstance(found, Problem):
            raise Unusable(found)
        return found


Rule = Callable[[Bundle], Iterator[Problem]]
"""Looks at one thing, and says everything that is wrong with it. May raise `Unusable`."""


class _Opened:
    """`reading.opened`, with what fails said as `Unusable`."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._opened = opened(path)

    def __enter__(self) -> int:
        try:
            return self._opened.__enter__()
        except (OSError, ValueError, NotRegularFile) as error:
            raise Unusable(_unreadable(self._name, error)) from error

    def __exit__(self, *exc: object) -> None:
        self._opened.__exit__(None, None, None)


def _presence(path: str) -> Presence:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - asked about a hundred times a look, and a Path is felt
    except ValueError:  # a NUL, or text that no file name can hold
        return Presence.ABSENT
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return Presence.DANGLING if os.path.islink(path) else Presence.ABSENT  # noqa: PTH114 - likewise
        return Presence.DANGLING if error.errno == errno.ELOOP else Presence.UNREADABLE
    if stat.S_ISREG(mode):
        return Presence.FILE
    return Presence.DIRECTORY if stat.S_ISDIR(mode) else Presence.SPECIAL


def without_duplicates(problems: Iterable[Problem]) -> list[Problem]:
    """The problems in the order of the report, each once: two rules may meet the same file."""
    unique = {(problem.finding, problem.fatal): problem for problem in problems}
    return sorted(unique.values(), key=lambda problem: problem.finding.sort_key)


def _object(content: bytes, path: str, code: FindingCode) -> dict[str, Any]:
    if content.startswith(LFS_MARKS):
        raise Unusable(fatal(code, f"{path} is a Git LFS pointer, not the file itself", path))
    try:
        document = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise Unusable(fatal(code, f"{path} is not UTF-8 JSON: {error}", path)) from error
    except RecursionError as error:
        raise Unusable(fatal(code, f"{path} is nested too deeply", path)) from error
    if not isinstance(document, dict):
        raise Unusable(fatal(code, f"{path} holds no JSON object", path))
    return document


def _unreadable(path: str, error: Exception) -> Problem:
    if isinstance(error, NotRegularFile):
        what = f"{path} is a {'directory' if error.is_directory else 'pipe, socket or device'}, not a file"
        return fatal(FindingCode.UNSUPPORTED_FILE_TYPE, what, path)
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
        return fatal(FindingCode.DANGLING_SYMLINK, f"{path} leads nowhere", path)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return fatal(FindingCode.COMPONENT_UNREADABLE, f"{path} cannot be read: {reason}", path)
