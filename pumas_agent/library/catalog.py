"""The in-memory read model: what the library holds, as the last commit left it.

Filled from the rows at start and by every commit after it; read by the event loop without a lock. Replacing a value in
a dict is atomic in CPython, and entries never change, so a reader sees the old entry or the new one.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.metadata import (
    AgentFacts,
    AssetValidationState,
    BundleFormat,
    ImportState,
    StorageKind,
    absolute_or_none,
)
from pumas_agent.library.dependency_book import DependencyBook
from pumas_agent.library.index import IndexRow
from pumas_agent.library.names import folded_names, folded_words

PARTIAL_SOURCE = "download_partial"
"""What `match_source` says of a download that is not finished."""
_E = TypeVar("_E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model: its row, and of its metadata what lists, filters and descriptors need."""

    id: str
    path: str
    cleaned_name: str
    official_name: str
    model_type: str
    tags: tuple[str, ...]
    hashes: tuple[tuple[str, str], ...]
    updated_at: str
    storage_kind: StorageKind
    bundle_format: BundleFormat | None
    validation_state: AssetValidationState | None
    validation_errors: tuple[AssetValidationError, ...]
    import_state: ImportState | None
    source_path: str | None
    entry_path: str | None
    pipeline_class: str | None
    task_type_primary: str | None
    recommended_backend: str | None
    runtime_engine_hints: tuple[str, ...]
    requires_custom_code: bool
    match_source: str | None
    modalities: tuple[str, ...]
    """What goes in and what comes out."""
    agent: AgentFacts
    repo_id: str | None = None
    pipeline_tag: str | None = None
    revision: str | None = None
    selected_artifact_id: str | None = None
    size_bytes: int | None = None
    is_partial: bool = False
    """Files of it are known to be missing: a download that goes on, or was given up."""
    names: str = ""
    """What it is called, as `folded_names` writes it down to be searched."""
    words: str = ""
    """What the index finds it by, as `folded_words` writes it down."""

    @property
    def is_external(self) -> bool:
        """Its files are not the library's."""
        return self.storage_kind is StorageKind.EXTERNAL_REFERENCE

    @property
    def needs_no_record(self) -> bool:
        """A download that is not finished: there may be a row of it alone, without a record."""
        return self.match_source == PARTIAL_SOURCE and not self.is_external

    @property
    def is_bundle(self) -> bool:
        """It is judged as a bundle: every external reference is one, and a library-owned diffusers directory."""
        return self.is_external or self.bundle_format is not None

    @property
    def was_valid_once(self) -> bool:
        """Whether it degrades, rather than being invalid, when a rule fails."""
        if self.import_state is not None:
            return self.import_state is ImportState.READY
        return self.validation_state is AssetValidationState.VALID

    @property
    def bundle_root(self) -> str | None:
        """Where the bundle is: an external one where its record says, an owned one in its folder."""
        return absolute_or_none(self.entry_path or self.source_path) if self.is_external else self.path


class Catalog:
    """All models by id.

    `generation` rises with each commit: it is the position of the newest event of the update feed. `dependencies` has
    what packages they need. A commit that changes something of a model, its bindings too, replaces its entry.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.dependencies = DependencyBook()
        self._entries: dict[str, CatalogEntry] = {}
        self._bundles: dict[str, CatalogEntry] = {}
        self._changes = 0
        self._listeners: list[Callable[[], None]] = []
        self._orders: dict[str, tuple[int, list[CatalogEntry]]] = {}
        """Sorted lists, each with the number of changes that it knows of."""

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, rows: Iterable[IndexRow], generation: int) -> None:
        """Fill it, at start."""
        self.put(rows, generation)

    def put(self, rows: Iterable[IndexRow], generation: int) -> None:
        """What a commit wrote."""
        for entry in [entry_of(row) for row in rows]:
            self._entries[entry.id] = entry
            if entry.is_bundle:
                self._bundles[entry.id] = entry
            else:
                self._bundles.pop(entry.id, None)
        self._changes += 1
        self.generation = generation
        self._tell()

    def remove(self, model_ids: Iterable[str], generation: int) -> None:
        """What a commit removed."""
        for model_id in model_ids:
            self._entries.pop(model_id, None)
            self._bundles.pop(model_id, None)
            self.dependencies.forget(model_id)
        self._changes += 1
        self.generation = generation
        self._tell()

    def listen(self, told: Callable[[], None]) -> None:
        """Call after every commit from now on, on the thread that commits. May not block or raise."""
        self._listeners.append(told)

    def _tell(self) -> None:
        for told in self._listeners:
            told()

    def get(self, model_id: str) -> CatalogEntry | None:
        """One model."""
        return self._entries.get(model_id)

    def ids(self) -> set[str]:
        """All ids."""
        return set(self._entries)

    def entries(self) -> list[CatalogEntry]:
        """All models as they are now. As many as there are: not for the event loop."""
        return list(self._entries.values())

    def by_id(self) -> list[CatalogEntry]:
        """All models by id; not to be changed. Not for the event loop."""
        return self._ordered("id", lambda entries: sorted(entries, key=lambda entry: entry.id))

    def newest_first(self) -> list[CatalogEntry]:
        """All models by the time of their last change, equal ones by id; not to be changed. Not for the event loop."""
        return self._ordered("newest", lambda _: sorted(self.by_id(), key=lambda entry: entry.updated_at, reverse=True))

    def _ordered(self, order: str, sort: Callable[[Iterable[CatalogEntry]], list[CatalogEntry]]) -> list[CatalogEntry]:
        changes = self._changes  # before the entries: what is changed meanwhile makes the list too old, never too new
        known = self._orders.get(order)
        if known is None or known[0] != changes:
            known = self._orders[order] = (changes, sort(self.entries()))
        return known[1]

    def bundles(self) -> list[CatalogEntry]:
        """The models that are judged as bundles."""
        return list(self._bundles.values())


def entry_of(row: IndexRow) -> CatalogEntry:
    """The entry of a row. A value of an unexpected type reads as absent: another program may have written the row."""
    facts = _quick_object(row.metadata_json)
    tags = _strings(_json(row.tags_json)) if row.tags_json != "[]" else ()
    family = _string(facts.get("architecture_family")) or _string(facts.get("family"))
    return CatalogEntry(
        id=row.id,
        path=row.path,
        cleaned_name=row.cleaned_name,
        official_name=row.official_name,
        model_type=sys.intern(row.model_type),
        tags=tags,
        hashes=_string_pairs(_json(row.hashes_json)) if row.hashes_json != "{}" else (),
        updated_at=row.updated_at,
        storage_kind=_storage_kind(facts.get("storage_kind")),
        bundle_format=_member(BundleFormat, facts.get("bundle_format")),
        validation_state=_member(AssetValidationState, facts.get("validation_state")),
        validation_errors=_findings(facts.get("validation_errors")),
        import_state=_member(ImportState, facts.get("import_state")),
        source_path=_string(facts.get("source_path")),
        entry_path=_string(facts.get("entry_path")),
        pipeline_class=_word(facts.get("pipeline_class")),
        task_type_primary=_word(facts.get("task_type_primary")),
        recommended_backend=_word(facts.get("recommended_backend")),
        runtime_engine_hints=_strings(facts.get("runtime_engine_hints")),
        requires_custom_code=facts.get("requires_custom_code") is True,
        match_source=_string(facts.get("match_source")),
        modalities=(*_strings(facts.get("input_modalities")), *_strings(facts.get("output_modalities"))),
        agent=_agent_facts(facts.get("agent")),
        repo_id=_string(facts.get("repo_id")),
        pipeline_tag=_word(facts.get("pipeline_tag")),
        revision=_string(facts.get("upstream_revision")),
        selected_artifact_id=_string(facts.get("selected_artifact_id")),
        size_bytes=_size(facts.get("size_bytes")),
        is_partial=_is_partial(facts),
        names=folded_names(row.id, row.official_name, row.cleaned_name, _string(facts.get("repo_id"))),
        words=folded_words(row.id, row.official_name, row.cleaned_name, row.model_type, family or "", *tags),
    )


def _is_partial(facts: Mapping[str, Any]) -> bool:
    flags = ("download_incomplete", "download_has_part_files", "download_missing_expected_files")
    return facts.get("match_source") == "download_partial" or any(facts.get(flag) for flag in flags)


_NO_FACTS = AgentFacts()


def _agent_facts(value: Any) -> AgentFacts:
    try:
        return AgentFacts.model_validate(value) if isinstance(value, dict) and value else _NO_FACTS
    except ValidationError:
        return _NO_FACTS


def json_object(text: str) -> dict[str, Any]:
    """The object in a column of a row; empty when another program put something else there."""
    value = _json(text)
    return value if isinstance(value, dict) else {}


def _quick_object(text: str) -> dict[str, Any]:
    """The same, several times as fast: asked for every model at a start."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return json_object(text)  # what this parser is too strict for
    return value if isinstance(value, dict) else {}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _storage_kind(value: Any) -> StorageKind:
    """Absent means the library's own; a kind we do not know means hands off, like an external one."""
    if value is None:
        return StorageKind.LIBRARY_OWNED
    return _member(StorageKind, value) or StorageKind.EXTERNAL_REFERENCE


def _member(kind: type[_E], value: Any) -> _E | None:
    return kind._value2member_map_.get(value) if isinstance(value, str) else None  # type: ignore[return-value]


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _size(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _word(value: Any) -> str | None:
    """A text that many models have: kept once."""
    return sys.intern(value) if isinstance(value, str) and value else None


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(sys.intern(item) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _string_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, dict) else ()
    return tuple((key, item) for key, item in pairs if isinstance(item, str))


def _findings(value: Any) -> tuple[AssetValidationError, ...]:
    try:
        return tuple(AssetValidationError.model_validate(item) for item in value or ())
    except (ValidationError, TypeError):
        return ()
