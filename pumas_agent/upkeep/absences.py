"""Bundles that are not at their path. Owns what is said of them and when: missing, moved, offline with their disk, or
gone together with so many others that nobody should act on it.

Belongs to the event loop; the searching is done on a thread, one search at a time. Registers nothing and removes
nothing: a bundle that is gone stays registered, and is back when it is back.
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from pumas_agent.contracts.errors import PumasError
from pumas_agent.contracts.health import AlertCode
from pumas_agent.contracts.relocation import RelocateParams, Relocation
from pumas_agent.health import (
    BUNDLE_CODES,
    LIBRARY,
    AlertBook,
    Condition,
    mass_condition,
    missing_condition,
    moved_condition,
    offline_condition,
)
from pumas_agent.in_time import in_time
from pumas_agent.library import CatalogEntry, Library
from pumas_agent.mounts import mounts
from pumas_agent.upkeep.verdict import Verdict
from pumas_agent.upkeep.whereabouts import Fate, Lost, Whereabouts, is_safe_place, whereabouts

T = TypeVar("T")
log = structlog.get_logger(__name__)

TOGETHER_S = 10.0
"""Bundles that vanish within this vanish together."""
_SOON_S = 1.0
"""How long a search may take before it is told what is known."""
_SEARCH_S = 20.0
"""How long a search in the folders of the settings may take."""
_STALL_S = 25.0
"""How long a filesystem may keep a search, or a look, before it is given up."""
_AGAIN_S = 10.0
"""How soon a bundle that was not found is searched for again when it is found missing again."""


@dataclass(frozen=True, slots=True)
class AbsencePolicy:
    """What the operator decided.

    Attributes:
        search_roots: further folders in which a bundle may be.
        auto_relocate: take a proven match without being asked.
        mass_share: of the bundles that vanish together: from here on nothing is done by itself.
        mass_least: and at least so many.
    """

    search_roots: tuple[Path, ...] = ()
    auto_relocate: bool = False
    mass_share: float = 0.5
    mass_least: int = 3


@dataclass(slots=True)
class _Absent:
    """One bundle that is gone."""

    verdict: Verdict
    since: float
    searched: float | None = None
    where: Whereabouts | None = None
    hints: list[str] = field(default_factory=list)


class Absences:
    """The bundles that are gone, and what became of them."""

    def __init__(
        self,
        library: Library,
        alerts: AlertBook,
        relocate: Callable[[RelocateParams], Awaitable[Relocation]],
        policy: AbsencePolicy,
        *,
        searches: bool,
        relocated: Callable[[str], None],
    ) -> None:
        """Make one.

        Args:
            library: whose bundles.
            alerts: where it is said.
            relocate: changes a record.
            policy: see `AbsencePolicy`.
            searches: look for what is gone; a single command does not.
            relocated: told of a model that has another root now.
        """
        self._library = library
        self._alerts = alerts
        self._relocate = relocate
        self._policy = policy
        self._searches = searches
        self._relocated = relocated
        self._absent: dict[str, _Absent] = {}
        self._hints: dict[str, str] = {}
        self._offline = alerts.models(AlertCode.BUNDLE_OFFLINE)
        """Mount points of which it is said that they are offline, or was when the agent last ran."""
        self._surveyed: set[str] = set()
        """What was not there at the last survey, judged or not."""
        self._thawed: frozenset[str] = frozenset()
        self._searching: asyncio.Task[None] | None = None
        self._again = False
        self.frozen = False

    def retune(self, policy: AbsencePolicy) -> None:
        """Another policy holds from the next look on; what is gone is looked for by it at once."""
        if policy != self._policy:
            self._policy = policy
            self.look_again()

    def observe(self, verdict: Verdict) -> None:
        """A bundle was judged: it is there, or it is not."""
        if any(finding.code == "path_not_found" for finding in verdict.errors):
            self._gone(verdict)
        elif self._absent.pop(verdict.model_id, None) is not None:
            self._hints.pop(verdict.model_id, None)
            if self.frozen:
                self._search_soon()  # enough of them may be back
                self.frozen = bool(self._absent)
            self._say()

    def is_absent(self, model_id: str) -> bool:
        """What is said of it is said here."""
        return model_id in self._absent

    def forget(self, model_id: str) -> None:
        """It is no longer registered."""
        if self._absent.pop(model_id, None) is not None:
            self._say()

    def hint(self, model_id: str, path: str) -> None:
        """It was seen to go there."""
        self._hints[model_id] = path
        absent = self._absent.get(model_id)
        if absent is not None and path not in absent.hints:
            absent.hints.append(path)
            absent.searched = None
            self._search_soon()

    def look_again(self) -> None:
        """Something may have changed that could bring them back: a mount, or time."""
        for absent in self._absent.values():
            absent.searched = None
        self._say()
        self._search_soon()

    def thaw(self) -> bool:
        """A person says that what is gone may be acted on; False when nothing was frozen."""
        was, self.frozen = self.frozen, False
        self._thawed = frozenset({*self._absent, *self._surveyed})
        self._say()
        self.look_again()
        return was

    async def stop(self) -> None:
        """Search no more."""
        self._searches = False
        if self._searching is not None:
            await asyncio.wait({self._searching})

    def _gone(self, verdict: Verdict) -> None:
        known = self._absent.get(verdict.model_id)
        if known is None:
            hints = [self._hints[verdict.model_id]] if verdict.model_id in self._hints else []
            known = self._absent[verdict.model_id] = _Absent(verdict, time.monotonic(), hints=hints)
        elif known.verdict.entry_path != verdict.entry_path:
            known.searched = None
        known.verdict = verdict
        if not self._searches:
            known.where = Whereabouts(Fate.MISSING)
            self._say()
        elif known.searched is None or time.monotonic() - known.searched > _AGAIN_S:
            known.searched = None
            self._search_soon()

    # --- searching ----------------------------------------------------------------------------------------------

    def _search_soon(self) -> None:
        if not self._searches or not self._absent:
            return
        self._again = True
        if self._searching is None:
            self._searching = asyncio.create_task(self._search(), name="search-absent")
            self._searching.add_done_callback(self._searched)

    def _searched(self, task: asyncio.Task[None]) -> None:
        self._searching = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("absence.search_failed", exc_info=fault)
        if self._again:
            self._search_soon()

    async def _search(self) -> None:
        while self._again and self._searches:
            self._again = False
            await self._survey()
            if self.frozen:
                self._say()
                continue
            wanted = [model_id for model_id, absent in self._absent.items() if absent.searched is None]
            await self._search_for(wanted, (), _SOON_S)  # so that all is told soon; what takes long comes after
            if self._policy.search_roots:
                missing = [
                    model_id
                    for model_id in wanted
                    if (absent := self._absent.get(model_id)) is not None and _is_missing(absent.where)
                ]
                await self._search_for(missing, self._policy.search_roots, _SEARCH_S)
            await self._act()

    async def _search_for(self, model_ids: list[str], search_roots: tuple[Path, ...], seconds: float) -> None:
        for model_id in model_ids:
            absent = self._absent.get(model_id)
            if absent is not None and model_id in self._surveyed:
                absent.searched = time.monotonic()
                find = partial(self._find, model_id, absent, search_roots, seconds)
                found = await _in_time(find)
                absent.where = found or absent.where or Whereabouts(Fate.MISSING)
                self._say()

    def _find(self, model_id: str, absent: _Absent, search_roots: tuple[Path, ...], seconds: float) -> Whereabouts:
        entry = self._library.catalog.get(model_id)
        if entry is None or entry.bundle_root is None:
            return Whereabouts(Fate.MISSING)
        return whereabouts(
            Lost(entry.bundle_root, entry.agent, tuple(absent.hints)),
            mounts=mounts(),
            taken=frozenset(other.bundle_root or "" for other in self._externals() if other.id != model_id),
            search_roots=search_roots,
            library=self._library.layout.root,
            deadline=time.monotonic() + seconds,
        )

    async def _survey(self) -> None:
        """See how many are gone now, also those that nobody has judged again yet."""
        externals = self._externals()
        roots = {entry.id: entry.bundle_root or "" for entry in externals}
        judged = roots.keys() & self._absent.keys()
        gone, mounted = await _in_time(partial(_not_there, roots, judged)) or (judged, set())
        self._surveyed = gone
        now = time.monotonic()
        recent = {
            model_id
            for model_id in gone
            if (known := self._absent.get(model_id)) is None or now - known.since <= TOGETHER_S
        }
        threshold = max(self._policy.mass_least, math.ceil(self._policy.mass_share * len(externals)))
        points = {entry.agent.mount.point for entry in externals if entry.id in gone and entry.agent.mount is not None}
        one_mount = len(points) == 1 and all(entry.agent.mount for entry in externals if entry.id in gone)
        if self.frozen:
            self.frozen = len(gone) >= threshold
        elif len(recent) >= threshold and not gone <= self._thawed:
            lost_mount = one_mount and next(iter(points)) not in mounted
            self.frozen = not lost_mount
        if not gone:
            self._thawed = frozenset()

    def _externals(self) -> list[CatalogEntry]:
        return [entry for entry in self._library.catalog.bundles() if entry.is_external]

    async def _act(self) -> None:
        """Take what was proven, where that may be done without a person."""
        for model_id, absent in list(self._absent.items()):
            where = absent.where
            if self.frozen or where is None or where.moved_to is None or not self._library.writable:
                continue
            if not where.remounted and not self._policy.auto_relocate:
                continue
            if not await _in_time(partial(is_safe_place, Path(where.moved_to), os.geteuid())):
                continue
            try:
                done = await self._relocate(RelocateParams(model_id=model_id, new_path=where.moved_to, apply=True))
            except PumasError as error:
                log.warning("bundle.not_relocated", model_id=model_id, code=error.code, reason=error.message)
                continue
            if done.applied:
                log.warning("bundle.relocated", model_id=model_id, old_path=done.old_path, new_path=done.new_path)
                self._absent.pop(model_id, None)  # what it is now, its next verdict says
                self._relocated(model_id)

    # --- what is said -------------------------------------------------------------------------------------------

    def _say(self) -> None:
        """Raise, update and clear what stands of the bundles that are gone."""
        for model_id in [known for known in self._absent if self._library.catalog.get(known) is None]:
            del self._absent[model_id]  # its registry folder was removed meanwhile
        offline: dict[str, list[str]] = {}
        for model_id, absent in self._absent.items():
            where, path = absent.where, absent.verdict.entry_path
            if self.frozen:  # told by the one alert about them all
                self._alerts.observe(model_id, BUNDLE_CODES, {})
                continue
            if where is None:
                continue
            if where.fate is Fate.OFFLINE and where.mount is not None:
                offline.setdefault(where.mount.point, []).append(model_id)
                self._alerts.observe(model_id, BUNDLE_CODES, {})
            elif where.moved_to is not None:
                found = {AlertCode.BUNDLE_MOVED: moved_condition(path, where.moved_to)}
                self._alerts.observe(model_id, BUNDLE_CODES, found)
            else:
                missing = missing_condition(path, absent.verdict.errors, where.candidates)
                self._alerts.observe(model_id, BUNDLE_CODES, {AlertCode.BUNDLE_MISSING: missing})
        # While something is not searched for yet, what was said of filesystems stands.
        is_known = self.frozen or all(absent.where is not None for absent in self._absent.values())
        for point in offline.keys() | (self._offline if is_known else set()):
            models = offline.get(point)
            condition = offline_condition(point, sorted(models)) if models else None
            self._observe_one(point, AlertCode.BUNDLE_OFFLINE, condition)
        self._offline = set(offline) if is_known else self._offline | offline.keys()
        mass = mass_condition(sorted(self._absent), len(self._externals())) if self.frozen else None
        self._observe_one(LIBRARY, AlertCode.MASS_DISAPPEARANCE, mass)

    def _observe_one(self, subject: str, code: AlertCode, condition: Condition | None) -> None:
        self._alerts.observe(subject, (code,), {code: condition} if condition is not None else {})


def _not_there(roots: Mapping[str, str], judged: set[str]) -> tuple[set[str], set[str]]:
    """The models whose roots are gone, and where something is mounted.

    Filesystems that may hang are not asked: what was judged is believed.
    """
    table = mounts()
    gone = {
        model_id
        for model_id, root in roots.items()
        if (
            not os.path.exists(root)  # noqa: PTH110 - of thousands
            if (around := table.around(root)) is None or around.is_local
            else model_id in judged
        )
    }
    return gone, {mount.point for mount in table.all}


async def _in_time(call: Callable[[], T]) -> T | None:
    """What a call gives; None when a filesystem keeps it."""
    try:
        return await in_time(call, _STALL_S, name="search-absent")
    except TimeoutError:
        return None


def _is_missing(where: Whereabouts | None) -> bool:
    return where is not None and where.fate is Fate.MISSING
