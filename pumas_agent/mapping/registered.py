"""Links that were made: what is left of each, and taking them away.

Judges by what stands at the target now. A file or a link that is not the one that was made is somebody's, and stays.
What cannot be seen, because its folder or its model's folder is not there, is not broken: a disk may be away.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from pumas_agent.contracts.errors import InvalidModelId
from pumas_agent.contracts.mapping import LinkEntry, LinkHealth, LinkStatus, LinkType
from pumas_agent.library import Catalog, LibraryLayout
from pumas_agent.mapping import making
from pumas_agent.mapping.folders import FolderRefused, Kind, Protected, Standing, opened, standing


class LinkState(StrEnum):
    """What is left of a link."""

    HEALTHY = "healthy"
    DANGLING = "dangling"
    """The link that was made, and it leads nowhere."""
    GONE = "gone"
    """Nothing is at the target."""
    REPLACED = "replaced"
    """Something else is at the target."""
    SEVERED = "severed"
    """A hard link or a copy of a file that the library has no more, or as another one: it is a file by itself."""
    UNREACHABLE = "unreachable"
    """It cannot be told."""


_SOMETHING_ELSE = "something else is there"
_BROKEN = {LinkState.DANGLING, LinkState.GONE, LinkState.REPLACED}


@dataclass(frozen=True, slots=True)
class Removal:
    """What came of taking a link away. `forget`: it has no more place in the register."""

    target: str
    removed: bool
    forget: bool
    why_not: str | None = None


class RegisteredLinks:
    """The links of the register against the disk. Every method may block on it."""

    def __init__(self, layout: LibraryLayout, catalog: Catalog) -> None:
        self._layout = layout
        self._catalog = catalog
        self._protected = Protected(layout.root, catalog.entries())

    def health(self, entries: Iterable[LinkEntry]) -> LinkHealth:
        """Of all of them."""
        broken: list[str] = []
        orphaned: list[str] = []
        warnings: list[str] = []
        total = healthy = 0
        for entry in sorted(entries, key=lambda entry: entry.target):
            total += 1
            state, why = self.state(entry)
            owner = self._catalog.get(entry.model_id)
            if state in _BROKEN:
                broken.append(entry.target)
            elif state is LinkState.UNREACHABLE:
                warnings.append(f"{entry.target}: {why}")
            elif owner is None or owner.is_external or state is LinkState.SEVERED:
                orphaned.append(entry.target)
            else:
                healthy += 1
        status = LinkStatus.HEALTHY if healthy == total else LinkStatus.DEGRADED
        return LinkHealth(
            status=status,
            total_links=total,
            healthy_links=healthy,
            broken_links=tuple(broken),
            orphaned_links=tuple(orphaned),
            warnings=tuple(warnings),
            errors=(),
        )

    def state(self, entry: LinkEntry) -> tuple[LinkState, str]:
        """What is left of a link, and a sentence on it."""
        try:
            with self._at(entry) as (descriptor, folder, name):
                return self._state(entry, descriptor, standing(descriptor, folder, name), name)
        except FolderRefused as refused:
            return LinkState.UNREACHABLE, str(refused)
        except OSError as error:
            return LinkState.UNREACHABLE, str(error.strerror)

    @contextmanager
    def _at(self, entry: LinkEntry) -> Iterator[tuple[int, Path, str]]:
        """The folder of a target, open, its canonical path, and the name in it.

        Raises:
            FolderRefused, OSError: it is not there, or nothing may be done in it.
        """
        target = Path(entry.target)
        try:
            folder = target.parent.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise FolderRefused(f"{target.parent} is not there") from error
        with opened(folder, PurePosixPath(), self._protected, make=False) as descriptor:
            assert descriptor is not None
            yield descriptor, folder, target.name

    def _state(self, entry: LinkEntry, descriptor: int, found: Standing, name: str) -> tuple[LinkState, str]:
        if found.kind is Kind.NOTHING:
            return LinkState.GONE, "it is gone"
        if entry.link_type is LinkType.SYMLINK:
            return self._state_of_link(entry, found)
        if found.kind is not Kind.FILE or found.facts is None:
            return LinkState.REPLACED, _SOMETHING_ELSE
        source = Path(entry.source)
        try:
            if entry.link_type is LinkType.HARDLINK:
                same = found.is_same_file(source.stat())
            else:
                same = making.is_copy_of(source, descriptor, name, found.facts)
        except OSError:
            return LinkState.SEVERED, "its file in the library is not there"
        return (LinkState.HEALTHY, "") if same else (LinkState.SEVERED, "it and its file in the library differ")

    def _state_of_link(self, entry: LinkEntry, found: Standing) -> tuple[LinkState, str]:
        if found.kind is not Kind.LINK or found.leads_to != os.path.normpath(entry.source):
            return LinkState.REPLACED, _SOMETHING_ELSE
        if found.real is not None:
            return LinkState.HEALTHY, ""
        if self._may_come_back(entry):
            return LinkState.UNREACHABLE, f"the files of {entry.model_id} are not there now"
        return LinkState.DANGLING, "it leads nowhere"

    def _may_come_back(self, entry: LinkEntry) -> bool:
        """The library has the model still, and its files are on a disk that is away."""
        owner = self._catalog.get(entry.model_id)
        if owner is None or owner.is_external:
            return owner is not None
        try:
            return not self._layout.directory(entry.model_id).exists()
        except (InvalidModelId, OSError):
            return True

    def clean(self, entry: LinkEntry) -> Removal:
        """Take a link away that leads nowhere; forget one that is gone or is something else now."""
        state, why = self.state(entry)
        if state is LinkState.DANGLING:
            return self._remove(entry)
        return Removal(entry.target, removed=False, forget=state in _BROKEN, why_not=why or None)

    def take_away(self, entry: LinkEntry) -> Removal:
        """Take a link away whose model is going to be deleted, while its files still are in the library."""
        state, why = self.state(entry)
        if state in {LinkState.HEALTHY, LinkState.DANGLING}:
            return self._remove(entry)
        if state is LinkState.GONE:
            return Removal(entry.target, removed=False, forget=True)
        return Removal(entry.target, removed=False, forget=state is not LinkState.UNREACHABLE, why_not=why)

    def _remove(self, entry: LinkEntry) -> Removal:
        try:
            with self._at(entry) as (descriptor, folder, name):
                found = standing(descriptor, folder, name)
                state, why = self._state(entry, descriptor, found, name)
                if found.facts is None or state not in {LinkState.HEALTHY, LinkState.DANGLING}:
                    return Removal(entry.target, removed=False, forget=True, why_not=why)
                making.remove(descriptor, name, found.facts)
        except (FolderRefused, OSError) as error:
            return Removal(entry.target, removed=False, forget=False, why_not=str(error))
        return Removal(entry.target, removed=True, forget=True)
