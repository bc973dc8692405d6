"""Carrying out a plan: the links of one application are made; what cannot be done is said, and stops nothing else.

Changes folders of the application through `making` alone; the register of links is written by who asked for this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pumas_agent.contracts.mapping import (
    ApplyMappingParams,
    LinkEntry,
    LinkType,
    MappingResult,
    ReplacedFile,
    Resolution,
)
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.mapping import making
from pumas_agent.mapping.folders import FolderRefused, Kind, Protected, opened, standing
from pumas_agent.mapping.plan import Action, ActionKind, Plan


@dataclass(slots=True)
class Outcome:
    """What was done, and what it means for the register of links."""

    add: list[LinkEntry] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    created: int = 0
    removed: int = 0
    there: int = 0
    skipped: int = 0
    renamed: int = 0
    replaced: list[ReplacedFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def result(self, plan: Plan) -> MappingResult:
        """As it is told."""
        return MappingResult(
            success=not self.errors,
            links_created=self.created,
            links_removed=self.removed,
            total_links=self.there + self.created,
            links_skipped=self.skipped,
            links_renamed=self.renamed,
            overwrites=len(self.replaced),
            replaced=tuple(self.replaced),
            skipped=tuple(plan.skipped),
            warnings=tuple(self.warnings),
            errors=tuple(self.errors),
        )


class Application:
    """One application's folders, while a plan is carried out in them. Every method may block on the disk."""

    def __init__(self, params: ApplyMappingParams, protected: Protected, registered: Mapping[str, LinkEntry]) -> None:
        self._params = params
        self._protected = protected
        self._registered = registered
        self._outcome = Outcome()

    def carry_out(self, plan: Plan, progress: Callable[[int, int], None]) -> Outcome:
        """All of a plan. Folders that are not there are made when something is to be linked into them."""
        outcome = self._outcome
        outcome.errors += plan.errors
        folders = dict.fromkeys(action.folder for action in plan.actions)
        done = 0
        for folder in folders:
            actions = [action for action in plan.actions if action.folder == folder]
            try:
                with opened(plan.root, folder, self._protected, make=True) as descriptor:
                    assert descriptor is not None
                    making.sweep(descriptor)
                    for action in actions:
                        self._do(plan, action, descriptor)
                        done += 1
                        progress(done, len(plan.actions))
            except FolderRefused as refused:
                outcome.errors.append(str(refused))
            except OSError as error:
                outcome.errors.append(f"{plan.root / folder}: {error.strerror or error}")
        conflicts = {plan.target(action) for action in plan.of_kind(ActionKind.SKIP_CONFLICT)}
        outcome.warnings += [
            f"{target} is no conflict: its resolution was not used"
            for target in sorted(self._params.resolutions.keys() - conflicts)
        ]
        return outcome

    def _do(self, plan: Plan, action: Action, descriptor: int) -> None:
        target = plan.target(action)
        try:
            if action.kind is ActionKind.CREATE:
                self._create(action, descriptor, target)
            elif action.kind is ActionKind.SKIP_EXISTS:
                self._take_in(plan.root / action.folder, action, descriptor, target)
            elif action.kind is ActionKind.REMOVE_BROKEN:
                self._mend(action, descriptor, target)
            else:
                resolution = self._params.resolutions.get(target, self._params.on_conflict)
                self._resolve(plan, action, descriptor, resolution)
        except OSError as error:
            self._outcome.errors.append(f"{target}: {error.strerror or error}")

    def _create(self, action: Action, descriptor: int, target: str) -> None:
        assert action.source is not None
        link_type = making.create(action.source, descriptor, Path(target).name)
        self._made(action, target, link_type)

    def _mend(self, action: Action, descriptor: int, target: str) -> None:
        """A broken link of ours is replaced by the right one, or removed when no file has this place."""
        assert action.found.facts is not None
        if action.source is None:
            making.remove(descriptor, action.name, action.found.facts)
            self._outcome.drop.append(target)
        else:
            link_type, _ = making.replace(action.source, descriptor, action.name, action.found.facts)
            self._made(action, target, link_type)
        self._outcome.removed += 1

    def _resolve(self, plan: Plan, action: Action, descriptor: int, resolution: Resolution) -> None:
        target = plan.target(action)
        if resolution is Resolution.SKIP:
            self._outcome.skipped += 1
        elif resolution is Resolution.RENAME:
            self._create(action, descriptor, plan.target(action, action.rename))
            self._outcome.renamed += 1
        elif action.overwrite is None or action.source is None or action.found.facts is None:
            self._outcome.errors.append(f"{target} cannot be overwritten: {action.reason}")
        else:
            link_type, kept_as = making.replace(action.source, descriptor, action.name, action.found.facts)
            kept = None if kept_as is None else plan.target(action, kept_as)
            self._outcome.replaced.append(ReplacedFile(target_path=target, kept_as=kept))
            self._made(action, target, link_type)

    def _take_in(self, folder: Path, action: Action, descriptor: int, target: str) -> None:
        """A link that is there and not in the register, from a run that was cut off or by hand, is registered.

        Only a symbolic link: a hard link that somebody made is a file of theirs.
        """
        self._outcome.there += 1
        assert action.source is not None
        entry = self._registered.get(target)
        source = str(action.source.path)
        if entry is not None and (entry.source, entry.model_id) == (source, action.source.model_id):
            return
        found = standing(descriptor, folder, action.name)
        if found.kind is Kind.LINK and found.leads_to == source:
            self._outcome.add.append(self._entry(action, target, LinkType.SYMLINK))

    def _made(self, action: Action, target: str, link_type: LinkType) -> None:
        self._outcome.created += 1
        self._outcome.add.append(self._entry(action, target, link_type))
        if link_type is not LinkType.SYMLINK:
            kind = "hard link" if link_type is LinkType.HARDLINK else "copy"
            self._outcome.warnings.append(f"{target} is a {kind}: there can be no symbolic link")

    def _entry(self, action: Action, target: str, link_type: LinkType) -> LinkEntry:
        assert action.source is not None
        return LinkEntry(
            model_id=action.source.model_id,
            source=str(action.source.path),
            target=target,
            link_type=link_type,
            created_at=utc_now(),
            app_id=self._params.app_id,
            app_version=self._params.version_tag,
        )
