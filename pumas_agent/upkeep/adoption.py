"""Folders of models that lie in the library without a record: which of them become models, and which are left alone.

Only folders of the library itself are looked at. What belongs to a registered model, external or not, is never an
orphan, whatever has become of its record; nor is a download that is not finished, or what is being written now.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pumas_agent.contracts.errors import PumasError
from pumas_agent.contracts.imports import AdoptionReport, InPlaceImportSpec, NotAdopted
from pumas_agent.importing import OwnedImporter
from pumas_agent.importing.classify import is_bundle_folder
from pumas_agent.library import MODEL_EXTENSIONS, PARTIAL_SUFFIXES, IndexReader, Library
from pumas_agent.library.layout import METADATA_NAME, REMOVED_NAME
from pumas_agent.upkeep.partials import partial_record

_MAX_LEVELS = 4
"""`type/family/name` is three; people also keep an owner's folder."""
QUIET_S = 10.0
"""How long a folder has to have been left alone to be adopted."""
_LOOSE = "model files lie beside folders of models; give them a folder of their own"
WRITTEN_NOW = "it is being written right now"

Progress = Callable[[str, int, int | None, str], None]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A folder that looks like a model; `why_not` says why it is left alone."""

    directory: Path
    why_not: str | None
    is_partial: bool = False
    """It is a download that is not finished."""


class Adopter:
    """Adopts orphans, one after the other."""

    def __init__(self, library: Library, importer: OwnedImporter, *, quiet_s: float = QUIET_S) -> None:
        self._library = library
        self._importer = importer
        self._quiet_s = quiet_s
        self._one_at_a_time = asyncio.Lock()

    async def adopt(self, progress: Progress) -> AdoptionReport:
        """Look for orphans and make models of those that are whole and left alone.

        One that cannot be adopted stops no other.
        """
        async with self._one_at_a_time:
            known = await self._library.read(self._recorded)
            orphans = await asyncio.to_thread(find_orphans, self._library.layout.root, known, self._quiet_s)
            adopted: list[str] = []
            left: list[NotAdopted] = []
            for number, orphan in enumerate(orphans):
                progress("adopting", number, len(orphans), "folders")
                reason = orphan.why_not or await self._try(orphan, adopted)
                if reason is not None:
                    left.append(NotAdopted(path=str(orphan.directory), reason=reason))
            await self._stage([orphan.directory for orphan in orphans if orphan.is_partial])
            return AdoptionReport(adopted=tuple(adopted), not_adopted=tuple(left))

    def _recorded(self, index: IndexReader) -> set[str]:
        """Models that have, or had, a record: whatever has become of it, their folders are no orphans."""
        entries = self._library.catalog.entries()
        had = index.signatures_of(entry.id for entry in entries if entry.needs_no_record)
        return {entry.id for entry in entries if not entry.needs_no_record or entry.id in had}

    async def _stage(self, folders: list[Path]) -> None:
        """Let lists show downloads that are not finished."""
        layout = self._library.layout
        records = await asyncio.to_thread(
            lambda: {layout.model_id(path): partial_record(path, layout) for path in folders}
        )
        await self._library.write(lambda store: store.stage_partials(records))

    async def _try(self, orphan: Orphan, adopted: list[str]) -> str | None:
        try:
            result = await self._importer.take(InPlaceImportSpec(path=str(orphan.directory)), _unseen)
        except PumasError as error:
            return error.message
        if result.success and result.model_id is not None:
            adopted.append(result.model_id)
            return None
        return result.error


def _unseen(_stage: str, _done: int, _total: int | None, _unit: str) -> None:
    """The files of one orphan are not counted."""


def find_orphans(root: Path, known: set[str], quiet_s: float) -> list[Orphan]:
    """Folders below the root that hold model files or a bundle, and no record; blocks on the disk.

    Args:
        root: of the library.
        known: ids of registered models: their folders are not entered, record or not.
        quiet_s: how long nothing in a folder may have changed.
    """
    found: list[Orphan] = []
    pending: list[tuple[Path, str, int]] = [(root, "", 0)]
    while pending:
        folder, relative, level = pending.pop()
        if relative in known:
            continue
        try:
            entries = {entry.name: entry for entry in os.scandir(folder)}
        except OSError:
            continue  # not ours to read: nothing could be adopted there
        if relative and (METADATA_NAME in entries or REMOVED_NAME in entries):
            continue
        below = [
            (folder / name, f"{relative}/{name}" if relative else name, level + 1)
            for name, entry in entries.items()
            if not name.startswith(".") and entry.is_dir(follow_symlinks=False) and name != "migration-reports"
        ]
        if relative and (is_bundle_folder(set(entries)) or _has_models(entries)):
            found.append(Orphan(folder, _LOOSE) if level == 1 and below else _orphan(folder, quiet_s))
            if level > 1 or not below:
                continue
        if level < _MAX_LEVELS:
            pending += below
    return sorted(found, key=lambda orphan: str(orphan.directory))


def _has_models(entries: dict[str, os.DirEntry[str]]) -> bool:
    return any(
        name.lower().endswith((*MODEL_EXTENSIONS, *PARTIAL_SUFFIXES)) and entry.is_file()
        for name, entry in entries.items()
    )


def _orphan(folder: Path, quiet_s: float) -> Orphan:
    """Whether a folder may be adopted now, as far as can be seen without opening files."""
    newest = 0.0
    for path, folders, names in os.walk(folder):
        if METADATA_NAME in names:
            return Orphan(folder, f"a model lies below it: {path}")
        for name in names:
            if name.lower().endswith(PARTIAL_SUFFIXES):
                return Orphan(folder, f"{name} is a download that is not finished", is_partial=True)
        for name in (*folders, *names):
            try:
                facts = os.lstat(os.path.join(path, name))  # noqa: PTH118  text, for as many files as there are
            except OSError:
                return Orphan(folder, WRITTEN_NOW)
            newest = max(newest, facts.st_mtime, facts.st_ctime)
    return Orphan(folder, WRITTEN_NOW if abs(time.time() - newest) < quiet_s else None)
