"""Which files of which models may be linked into applications: the one gate that every mapping goes through.

Looks at records and at the names in models' folders; writes nothing, and opens no payload. What the record on disk says
counts, and where record and row disagree, or neither can be read, the model is not ours to hand out.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pumas_agent.contracts.errors import InvalidModelId, MetadataUnreadable
from pumas_agent.contracts.mapping import SkippedModel, SkipReason
from pumas_agent.contracts.metadata import FieldFinding, ModelMetadata, absolute_or_none
from pumas_agent.library import MODEL_EXTENSIONS, Catalog, CatalogEntry, LibraryLayout, read_json
from pumas_agent.mapping.configs import ModelFacts
from pumas_agent.mapping.folders import shown

_ASKED_BY_RULES = ("model_type", "subtype", "family", "tags")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the library that may be linked. `path` is its place in the model's own folder.

    `real` is the file itself when a link stands there, and else the same.
    """

    model_id: str
    model_name: str
    path: Path
    real: Path


@dataclass(frozen=True, slots=True)
class Examined:
    """A model as a mapping sees it: what rules ask of it, and its files or the reason why there are none.

    `facts` is null when its record cannot be read, so that no rule can be asked.
    """

    facts: ModelFacts | None
    sources: tuple[Source, ...] = ()
    skipped: tuple[SkippedModel, ...] = ()


class Gate:
    """Tells what may be mapped. Every method may block on the disk."""

    def __init__(self, layout: LibraryLayout, catalog: Catalog, excluded: frozenset[str]) -> None:
        self._layout = layout
        self._catalog = catalog
        self._excluded = excluded

    def examine(self, entry: CatalogEntry) -> Examined:
        """One model."""
        try:
            directory = self._layout.directory(entry.id)
            record, findings = ModelMetadata.parse(read_json(self._layout.metadata_path(entry.id)))
        except InvalidModelId:  # its folder was replaced by a link
            return self._refused(entry, None, SkipReason.OUTSIDE_LIBRARY)
        except (FileNotFoundError, MetadataUnreadable):
            return self._refused(entry, None, SkipReason.METADATA_UNREADABLE)
        facts = None if _unreadable(_ASKED_BY_RULES, findings) else _facts(entry.id, record)
        if (reason := self._why_not(entry, record, findings)) is not None:
            return self._refused(entry, facts, reason)
        sources: list[Source] = []
        skipped: list[SkippedModel] = []
        for path, reason in self._files(directory):
            if reason is None:
                real = path.resolve() if path.is_symlink() else path
                sources.append(Source(entry.id, entry.official_name, path, real))
            else:
                skipped.append(_skipped(entry, path, reason))
        return Examined(facts, tuple(sources), tuple(skipped))

    def is_in_library(self, path: str) -> bool:
        """Whether an absolute path leads into the library, whatever is there."""
        return Path(path).is_relative_to(self._layout.root)

    def is_away(self, path: str) -> bool:
        """Whether a path in the library is that of a model whose whole folder is not there, and may come back."""
        if not self.is_in_library(path):
            return False
        for folder in Path(path).parents:
            if folder == self._layout.root:
                return False
            if self._catalog.get(self._layout.model_id(folder)) is not None:
                return not folder.exists()
        return False

    def _is_external(self, record: ModelMetadata) -> bool:
        """The persisted storage kind, and what else only the record of an external reference says.

        A record that lost its storage kind to another program still names where its files are.
        """
        entry_path = absolute_or_none(record.entry_path)
        return (
            record.is_external
            or record.match_source == "external_reference"
            or (entry_path is not None and not Path(entry_path).is_relative_to(self._layout.root))
        )

    def _why_not(
        self, entry: CatalogEntry, record: ModelMetadata, findings: tuple[FieldFinding, ...]
    ) -> SkipReason | None:
        if entry.is_external or self._is_external(record) or _unreadable(("entry_path",), findings):
            return SkipReason.EXTERNAL_REFERENCE
        if entry.is_bundle or record.is_bundle or _unreadable(("bundle_format",), findings):
            return SkipReason.BUNDLE
        if _unreadable(_ASKED_BY_RULES, findings):
            return SkipReason.METADATA_UNREADABLE
        return SkipReason.EXCLUDED if entry.id in self._excluded else None

    @staticmethod
    def _refused(entry: CatalogEntry, facts: ModelFacts | None, reason: SkipReason) -> Examined:
        if entry.is_external:  # what the row says is not taken back by a file that cannot be read
            reason = SkipReason.EXTERNAL_REFERENCE
        return Examined(facts, skipped=(_skipped(entry, None, reason),))

    def _files(self, directory: Path) -> Iterator[tuple[Path, SkipReason | None]]:
        """The model files directly in a folder, by name, each with why it is not mapped, if so."""
        try:
            paths = sorted(directory.iterdir())
        except OSError:
            return  # gone or closed to us: nothing there could be linked
        for path in paths:
            name = path.name
            if name.startswith(".") or not name.lower().endswith(MODEL_EXTENSIONS):
                continue
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue
            if stat.S_ISLNK(mode):
                reason = self._behind_link(path)
            elif not stat.S_ISREG(mode):
                continue
            else:
                reason = None
            yield path, reason if shown(name) == name else SkipReason.NAME_NOT_UTF8

    def _behind_link(self, path: Path) -> SkipReason | None:
        """A link is as good as the file it leads to when that is the library's own."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return SkipReason.OUTSIDE_LIBRARY
        if not real.is_relative_to(self._layout.root) or not real.is_file():
            return SkipReason.OUTSIDE_LIBRARY
        for folder in real.parents:
            if folder == self._layout.root:
                break
            owner = self._catalog.get(self._layout.model_id(folder))
            if owner is not None and owner.is_bundle:
                return SkipReason.EXTERNAL_REFERENCE if owner.is_external else SkipReason.BUNDLE
        return None


def _facts(model_id: str, record: ModelMetadata) -> ModelFacts:
    """A record that does not say its type or family has those of its id."""
    segments = model_id.split("/")
    return ModelFacts(
        model_type=(record.model_type or segments[0]).casefold(),
        subtype=record.subtype.casefold() if record.subtype else None,
        family=(record.family or (segments[1] if len(segments) > 1 else "")).casefold(),
        tags=frozenset(tag.casefold() for tag in record.tags or ()),
    )


def _skipped(entry: CatalogEntry, path: Path | None, reason: SkipReason) -> SkippedModel:
    source = None if path is None else shown(str(path))
    return SkippedModel(model_id=entry.id, model_name=entry.official_name, source_path=source, reason=reason)


def _unreadable(fields: tuple[str, ...], findings: tuple[FieldFinding, ...]) -> bool:
    return any(finding.field in fields for finding in findings)
