"""From rules, models and what stands in an application's folders to a plan.

Looks and decides; makes, changes and removes nothing, not even a folder.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pumas_agent.contracts.mapping import LinkEntry, LinkType
from pumas_agent.mapping.configs import Rules, matches
from pumas_agent.mapping.folders import FolderRefused, Kind, Protected, Standing, links_in, opened, shown, standing
from pumas_agent.mapping.making import free_name, is_copy_of, kept_name
from pumas_agent.mapping.plan import Action, ActionKind, Plan
from pumas_agent.mapping.sources import Examined, Gate, Source

LINK_EXISTS = "Link already exists"
DIFFERENT_FILE = "Different file exists"
REGULAR_FILE = "Regular file exists"
BROKEN = "Broken symlink"
NEW = "New link"
NOT_A_FILE = "Not a file"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known besides the application's folders: links by target, places to keep out of, and the library."""

    registered: Mapping[str, LinkEntry]
    protected: Protected
    gate: Gate


def make_plan(root: Path, rules: Rules, models: Iterable[Examined], known: Known) -> Plan:
    """The plan for an application.

    Args:
        root: its models folder, canonical.
        rules: that hold for its version.
        models: what may be mapped, and what may not; in the order in which files of the same name come first.
        known: what else is known.
    """
    plan = Plan(root)
    wanted: dict[PurePosixPath, list[Source]] = {PurePosixPath(rule.target_dir): [] for rule in rules.rules}
    for model in models:
        facts = model.facts
        folders = {PurePosixPath(rule.target_dir) for rule in rules.rules if facts is not None and matches(rule, facts)}
        if folders or facts is None:
            plan.skipped += model.skipped
        for folder in folders:
            wanted[folder] += model.sources
    for folder, sources in wanted.items():
        try:
            with opened(root, folder, known.protected, make=False) as descriptor:
                plan.actions += _Folder(root / folder, folder, descriptor, known).decide(sources)
        except FolderRefused as refused:
            plan.errors.append(str(refused))
        except OSError as error:
            plan.errors.append(f"{root / folder} cannot be looked at: {error.strerror}")
    return plan


class _Folder:
    """The decisions in one folder; its `descriptor` is null when it is not there yet."""

    def __init__(self, path: Path, relative: PurePosixPath, descriptor: int | None, known: Known) -> None:
        self._path = path
        self._relative = relative
        self._descriptor = descriptor
        self._gate = known.gate
        self._registered = {
            Path(target).name: entry for target, entry in known.registered.items() if Path(target).parent == path
        }
        self._made = {
            entry.source: name for name, entry in self._registered.items() if entry.link_type is not LinkType.SYMLINK
        }
        """Where each file was made a hard link or a copy of."""
        self._links = {} if descriptor is None else links_in(descriptor, path)
        self._claimed: dict[str, str] = {}
        """Which model has each name."""
        self._not_to_be_taken: set[str] = set()
        """Names that renaming keeps away from."""
        self._next_number: dict[str, int] = {}
        """By which renaming goes on, of each name: models may have thousands of files of one name."""

    def decide(self, sources: list[Source]) -> list[Action]:
        """An action for each file, and for each link of ours that leads nowhere and is in nobody's place."""
        by_place = {leads_to: name for name, leads_to in reversed(self._links.items())}
        # What is there keeps its name, whoever comes first in the order.
        there = {source.path: name for source in sources if (name := self._where_it_is(source, by_place)) is not None}
        self._claimed = {there[source.path]: source.model_id for source in sources if source.path in there}
        self._not_to_be_taken = {*self._claimed, *(source.path.name for source in sources)}
        actions = [
            self._action(ActionKind.SKIP_EXISTS, there[source.path], LINK_EXISTS, source)
            if source.path in there
            else self._decide(source)
            for source in sources
        ]
        return actions + self._left_over({action.name for action in actions})

    def _where_it_is(self, source: Source, by_place: Mapping[str, str]) -> str | None:
        """The name under which the folder has this very file already: as a link, or as what was made in its stead."""
        own = str(source.path)
        if self._links.get(source.path.name) == own:
            return source.path.name
        if (name := by_place.get(own)) is not None:
            return name
        made = self._made.get(own)
        return made if made is not None and self._still_is(source, made, self._registered[made]) else None

    def _still_is(self, source: Source, name: str, entry: LinkEntry) -> bool:
        """Whether a hard link or a copy that was made still is the file."""
        if self._descriptor is None:
            return False
        try:
            found = standing(self._descriptor, self._path, name)
            if found.facts is None or found.kind is not Kind.FILE:
                return False
            if entry.link_type is LinkType.HARDLINK:
                return found.is_same_file(source.path.stat())
            return is_copy_of(source.path, self._descriptor, name, found.facts)
        except OSError:
            return False

    def _decide(self, source: Source) -> Action:
        name = source.path.name
        if name in self._claimed:
            return self._conflict(f"{self._claimed[name]} has a file of this name", source, None)
        self._claimed[name] = source.model_id
        if self._descriptor is None:
            return self._action(ActionKind.CREATE, name, NEW, source)
        try:
            found = standing(self._descriptor, self._path, name)
            facts = source.path.stat()
        except OSError as error:
            return self._conflict(f"Cannot be looked at: {error.strerror}", source, None)
        return self._by_what_stands(source, found, facts)

    def _by_what_stands(self, source: Source, found: Standing, facts: os.stat_result) -> Action:
        name = source.path.name
        action: Action
        if found.kind is Kind.NOTHING:
            action = self._action(ActionKind.CREATE, name, NEW, source)
        elif found.is_same_file(facts):
            action = self._action(ActionKind.SKIP_EXISTS, name, LINK_EXISTS, source, found)
        elif self._is_ours_and_broken(name, found):
            action = self._action(ActionKind.REMOVE_BROKEN, name, BROKEN, source, found)
        elif found.kind is Kind.LINK:  # one that leads nowhere is somebody's: a disk may be away
            action = self._conflict(BROKEN if found.real is None else DIFFERENT_FILE, source, found)
        else:
            action = self._conflict(REGULAR_FILE if found.kind is Kind.FILE else NOT_A_FILE, source, found)
        return action

    def _left_over(self, names: set[str]) -> list[Action]:
        """Links of ours that lead nowhere, other than under these names."""
        actions: list[Action] = []
        for name in sorted(self._links.keys() - names):
            assert self._descriptor is not None
            try:
                found = standing(self._descriptor, self._path, name)
            except OSError:
                continue  # whether anything is behind it cannot be told
            if self._is_ours_and_broken(name, found):
                actions.append(self._action(ActionKind.REMOVE_BROKEN, name, BROKEN, None, found))
        return actions

    def _is_ours_and_broken(self, name: str, found: Standing) -> bool:
        """A link that leads nowhere, and that a mapping made: it leads into the library, or where the register says.

        One of a model whose folder is away for now is left alone.
        """
        if found.leads_to is None or found.real is not None:
            return False
        entry = self._registered.get(name)
        registered = entry is not None and os.path.normpath(entry.source) == found.leads_to
        return (registered or self._gate.is_in_library(found.leads_to)) and not self._gate.is_away(found.leads_to)

    def _action(
        self, kind: ActionKind, name: str, reason: str, source: Source | None, found: Standing | None = None
    ) -> Action:
        return Action(kind, self._relative, name, reason, source, found or Standing(Kind.NOTHING))

    def _conflict(self, reason: str, source: Source, found: Standing | None) -> Action:
        name = source.path.name
        rename, number = free_name(self._descriptor, name, self._not_to_be_taken, self._next_number.get(name, 1))
        self._next_number[name] = number + 1
        self._not_to_be_taken.add(rename)
        return Action(
            ActionKind.SKIP_CONFLICT,
            self._relative,
            name,
            reason,
            source,
            found or Standing(Kind.NOTHING),
            overwrite=self._overwriting(source, found),
            rename=rename,
        )

    def _overwriting(self, source: Source, found: Standing | None) -> str | None:
        """What overwriting would do, for people; None when it would be refused."""
        if found is None or found.facts is None or self._descriptor is None:
            return None
        if found.leads_to is not None:
            return f"replaces the link to {shown(found.leads_to)}"
        if found.kind is not Kind.FILE:
            return None
        kept = f"the file is kept as {kept_name(self._descriptor, source.path.name)}"
        same_size = source.path.stat().st_size == found.facts.st_size
        return f"{kept}, unless it has the same bytes" if same_size else kept
