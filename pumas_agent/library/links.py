"""link_registry.json: which links into applications were made, of which model, for which application.

Owns the form of that file, which is the existing library's. Knows nothing of the links themselves and touches none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pumas_agent.contracts.errors import LinkRegistryUnreadable, MetadataUnreadable
from pumas_agent.contracts.mapping import LinkEntry
from pumas_agent.library.files import read_json

_BY_TARGET = "by_target"
_BY_MODEL = "by_model"


@dataclass(frozen=True, slots=True)
class LinkRegistry:
    """All links by target. What could not be read in the file is written back as it was."""

    links: Mapping[str, LinkEntry] = field(default_factory=dict)
    unparsed: Mapping[str, Any] = field(default_factory=dict)
    other_keys: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "LinkRegistry":
        """The register in a JSON document. An entry that is none of ours is kept apart; it hides no other.

        Raises:
            LinkRegistryUnreadable: `by_target` is no object.
        """
        by_target = document.get(_BY_TARGET, {})
        if not isinstance(by_target, dict):
            raise LinkRegistryUnreadable(f"{_BY_TARGET} of the register of links is no object")
        links: dict[str, LinkEntry] = {}
        unparsed: dict[str, Any] = {}
        for target, value in by_target.items():
            try:
                entry = LinkEntry.model_validate(value)
            except ValidationError:
                unparsed[target] = value
                continue
            if entry.target == target and _is_path(target) and _is_path(entry.source):
                links[target] = entry
            else:  # which of two paths is meant cannot be known, and a relative one is no place
                unparsed[target] = value
        others = {key: value for key, value in document.items() if key not in {_BY_TARGET, _BY_MODEL}}
        return cls(links, unparsed, others)

    def to_document(self) -> dict[str, Any]:
        """The JSON document. `by_model` is made from `by_target`, so that the two cannot disagree."""
        by_model: dict[str, list[str]] = {}
        for target, entry in self.links.items():
            by_model.setdefault(entry.model_id, []).append(target)
        links = {target: entry.model_dump(mode="json") for target, entry in self.links.items()}
        return {_BY_TARGET: {**self.unparsed, **links}, _BY_MODEL: by_model, **self.other_keys}

    def of_model(self, model_id: str) -> tuple[LinkEntry, ...]:
        """The links of one model, by target."""
        return tuple(entry for _, entry in sorted(self.links.items()) if entry.model_id == model_id)

    def changed(self, *, add: Iterable[LinkEntry] = (), drop: Iterable[str] = ()) -> "LinkRegistry":
        """Without the targets of `drop`, and then with the links of `add`."""
        dropped = set(drop)
        kept = {target: entry for target, entry in self.links.items() if target not in dropped}
        return replace(self, links=kept | {entry.target: entry for entry in add})


def _is_path(text: str) -> bool:
    return text.startswith("/") and "\0" not in text


def read_links(path: Path) -> LinkRegistry:
    """The register in a file; an empty one when there is none.

    Raises:
        LinkRegistryUnreadable: the file cannot be read, or is no register.
    """
    try:
        return LinkRegistry.parse(read_json(path))
    except FileNotFoundError:
        return LinkRegistry()
    except (MetadataUnreadable, LinkRegistryUnreadable) as error:
        raise LinkRegistryUnreadable(
            f"{path} cannot be read as the register of links: {error.message}",
            hint="repair it, or move it away: applying a mapping again registers the symbolic links that are there",
        ) from error
