"""Models that are cut into several files: which files belong together, and whether all of them are there.

Pure: from names and sizes to groups.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_OF_TOTAL = re.compile(r"(?P<base>.+)-(?P<index>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.[^.]+)")
_PART = re.compile(r"(?P<base>.+?)(?P<suffix>\.[^.]+)\.part(?P<index>\d+)")
_NUMBERED = re.compile(r"(?P<base>.+)_(?P<index>\d{5})(?P<suffix>\.[^.]+)")
_PATTERNS = (_OF_TOTAL, _PART, _NUMBERED)


@dataclass(frozen=True, slots=True)
class Shard:
    """What a file's name says: a piece of `base`, by number, and of how many where the name tells."""

    base: str
    index: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """Files that are one model. `name` is that of the whole, or of the one file, below the folder looked at."""

    name: str
    files: tuple[str, ...]
    missing: str | None
    """What is not there or empty, in words; None when the model is whole."""


def shard_of(name: str) -> Shard | None:
    """The shard that a file is by its name: `X-00001-of-00005.ext`, `X.ext.part1` or `X_00001.ext`."""
    for pattern in _PATTERNS:
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            total = parts.get("total")
            return Shard(parts["base"] + parts["suffix"], int(parts["index"]), int(total) if total else None)
    return None


def group_files(sizes: Iterable[tuple[str, int]]) -> list[Group]:
    """Put the pieces of each model together, by name.

    Pieces belong together in one folder only: two models may name theirs alike. A lone shard that names no total is a
    file like any other.

    Args:
        sizes: paths below a folder, with `/`, and their sizes in bytes.
    """
    known = dict(sizes)
    pieces: dict[tuple[str, str], list[str]] = defaultdict(list)
    alone: list[str] = []
    for name in sorted(known):
        path = PurePosixPath(name)
        shard = shard_of(path.name)
        if shard is None:
            alone.append(name)
        else:
            pieces[str(path.parent), shard.base].append(name)
    groups = [Group(name, (name,), None) for name in alone]
    for (folder, base), names in pieces.items():
        if len(names) == 1:
            groups.append(Group(names[0], tuple(names), _missing(base, names, known)))
        else:
            groups.append(Group(str(PurePosixPath(folder, base)), tuple(names), _missing(base, names, known)))
    return sorted(groups, key=lambda group: group.name)


def _missing(base: str, names: list[str], sizes: dict[str, int]) -> str | None:
    shards = {name: shard for name in names if (shard := shard_of(PurePosixPath(name).name)) is not None}
    totals = {shard.total for shard in shards.values() if shard.total is not None}
    if len(totals) > 1:
        return f"Inconsistent shard set '{base}': its files say {' and '.join(map(str, sorted(totals)))} shards"
    numbers = {shard.index for shard in shards.values()}  # where nothing tells how many there should be
    indexes = set(range(1, totals.pop() + 1)) if totals else numbers
    whole = {shard.index for name, shard in shards.items() if sizes[name]} & indexes
    return None if whole == indexes else f"Incomplete shard set '{base}': have {len(whole)}/{len(indexes)} shards"
