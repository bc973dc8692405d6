"""A plan: what a mapping would do, name by name, and how it is shown. Decides nothing, and touches no disk."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from pumas_agent.contracts.mapping import BrokenLink, MappingConflict, MappingItem, MappingPreview, SkippedModel
from pumas_agent.mapping.folders import Kind, Standing, shown
from pumas_agent.mapping.sources import Source


class ActionKind(StrEnum):
    """What is done about one file; the words of the existing library."""

    CREATE = "create"
    SKIP_EXISTS = "skip_exists"
    SKIP_CONFLICT = "skip_conflict"
    REMOVE_BROKEN = "remove_broken"


@dataclass(frozen=True, slots=True)
class Action:
    """One name in one folder of the application.

    Attributes:
        kind: what is done.
        folder: relative to the models folder.
        name: in that folder.
        reason: for people.
        source: the file that gets the name; null for a broken link that no file takes the place of.
        found: what stands at the name.
        overwrite: what overwriting would do, for people; null when it would be refused.
        rename: the name that renaming would take.
    """

    kind: ActionKind
    folder: PurePosixPath
    name: str
    reason: str
    source: Source | None
    found: Standing = field(default_factory=lambda: Standing(Kind.NOTHING))
    overwrite: str | None = None
    rename: str = ""


@dataclass(slots=True)
class Plan:
    """All actions below one models folder, and what stays out of them."""

    root: Path
    actions: list[Action] = field(default_factory=list)
    skipped: list[SkippedModel] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def target(self, action: Action, name: str | None = None) -> str:
        """The path of an action, or of another name beside it."""
        return str(self.root / action.folder / (action.name if name is None else name))

    def of_kind(self, kind: ActionKind) -> list[Action]:
        """The actions of one kind."""
        return [action for action in self.actions if action.kind is kind]

    def preview(self, configs: tuple[str, ...]) -> MappingPreview:
        """As it is shown; `configs` are the configurations it was made by."""
        create, broken = self.of_kind(ActionKind.CREATE), self.of_kind(ActionKind.REMOVE_BROKEN)
        return MappingPreview(
            to_create=tuple(map(self._item, create)),
            to_skip_exists=tuple(map(self._item, self.of_kind(ActionKind.SKIP_EXISTS))),
            conflicts=tuple(map(self._conflict, self.of_kind(ActionKind.SKIP_CONFLICT))),
            broken_to_remove=tuple(map(self._broken, broken)),
            total_actions=len(create) + len(broken),
            skipped=tuple(self.skipped),
            configs=configs,
            warnings=(),
            errors=tuple(self.errors),
        )

    def _item(self, action: Action) -> MappingItem:
        assert action.source is not None
        return MappingItem(
            model_id=action.source.model_id,
            model_name=action.source.model_name,
            source_path=str(action.source.path),
            target_path=self.target(action),
            reason=action.reason,
        )

    def _conflict(self, action: Action) -> MappingConflict:
        leads_to = action.found.leads_to
        return MappingConflict(
            **self._item(action).model_dump(),
            existing_target=None if leads_to is None else shown(leads_to),
            overwrite=action.overwrite,
            rename=self.target(action, action.rename),
        )

    def _broken(self, action: Action) -> BrokenLink:
        return BrokenLink(
            target_path=self.target(action),
            existing_target=shown(action.found.leads_to or ""),
            reason=action.reason,
            model_id=action.source.model_id if action.source else None,
            source_path=str(action.source.path) if action.source else None,
        )
