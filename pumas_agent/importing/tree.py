"""The files below a path that someone wants to import: one bounded walk, which opens nothing.

Owns the bounds. A file behind a link counts as what it leads to, as in a Hugging Face cache; a folder behind a link is
named and not entered.
"""

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

MAX_FILES = 20_000
"""More than any one model has; a folder with more is a disk, not a model."""
MAX_LEVELS = 12
WALK_S = 10.0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file. `name` is its path below the walked folder, with `/`."""

    name: str
    path: Path
    size: int
    mtime_ns: int


@dataclass(slots=True)
class SourceTree:
    """What one walk met, in the order of names."""

    root: Path
    files: list[SourceFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    not_copied: list[tuple[str, str]] = field(default_factory=list)
    """What is neither a file nor a folder to enter, and why, in words."""
    bound: str | None = None
    """The bound that ended the walk before its end, in words."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def walk_source(root: Path) -> SourceTree:
    """Everything below a folder, hidden names too; blocks on the disk.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    tree = SourceTree(root)
    deadline = time.monotonic() + WALK_S
    pending: list[tuple[str, int]] = [("", 0)]
    while pending and tree.bound is None:
        prefix, level = pending.pop()
        try:
            entries = sorted(os.scandir(root / prefix), key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise
            tree.not_copied.append((prefix.rstrip("/"), error.strerror or str(error)))
            continue
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                tree.folders.append(name)
                if level + 1 == MAX_LEVELS:
                    tree.bound = f"it is more than {MAX_LEVELS} folders deep"
                else:
                    pending.append((f"{name}/", level + 1))
            else:
                _add(tree, name, entry)
        if len(tree.files) > MAX_FILES:
            tree.bound = f"it has more than {MAX_FILES:,} files"
        elif time.monotonic() > deadline:
            tree.bound = f"its disk needs more than {WALK_S:g} s to list it"
    tree.files.sort(key=lambda file: file.name)
    return tree


def _add(tree: SourceTree, name: str, entry: os.DirEntry[str]) -> None:
    try:
        name.encode()
        facts = entry.stat()
    except UnicodeEncodeError:
        tree.not_copied.append((name, "its name is not UTF-8"))
    except OSError as error:
        tree.not_copied.append((name, error.strerror or str(error)))
    else:
        if stat.S_ISREG(facts.st_mode):
            tree.files.append(SourceFile(name, Path(entry.path), facts.st_size, facts.st_mtime_ns))
        else:
            what = "a link to a folder" if stat.S_ISDIR(facts.st_mode) else "neither a file nor a folder"
            tree.not_copied.append((name, what))
