"""Rows as people and front ends see them: list, search, one model, the update feed, the state of the library.

Names that the existing Pumas library already had keep its camelCase; what was added is snake_case,
like the metadata it comes from. Paths in rows are for people; a runtime executes only what a descriptor says.
"""

from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.health import Alert
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, FieldFinding, StorageKind
from pumas_agent.contracts.model import Contract, is_absent


class _CamelContract(Contract):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class ModelRow(_CamelContract):
    """One model in a list."""

    id: str
    path: str = Field(description="The model's folder in the library; of an external bundle, its registry folder.")
    cleaned_name: str
    official_name: str
    model_type: str
    tags: tuple[str, ...]
    hashes: dict[str, str]
    updated_at: str
    storage_kind: StorageKind = Field(alias="storage_kind")
    bundle_format: BundleFormat | None = Field(alias="bundle_format")
    validation_state: AssetValidationState | None = Field(alias="validation_state")
    entry_path: str | None = Field(alias="entry_path")
    size_bytes: int | None = Field(default=None, alias="size_bytes", description="Of its files, as its record says.")


class ModelDetails(ModelRow):
    """One model whole."""

    metadata: dict[str, Any] = Field(description="The row's metadata, as the index holds it.")
    validation_errors: tuple[AssetValidationError, ...] = Field(alias="validation_errors")
    validation_notices: tuple[AssetValidationError, ...] = Field(alias="validation_notices")
    metadata_findings: tuple[FieldFinding, ...] = Field(alias="metadata_findings")
    primary_file: str | None = Field(
        alias="primary_file", description="Of a file model, the file a runtime would load."
    )
    validated_at: str | None = Field(
        alias="validated_at", description="When the asset was last judged since the agent started."
    )


class ModelList(_CamelContract):
    """A page of rows, newest first, and how many there are in all."""

    models: tuple[ModelRow, ...]
    total_count: int


class SearchResult(ModelList):
    """A page of rows, best first."""

    query: str
    query_time_ms: float


class LibraryStatus(Contract):
    """The state of the library."""

    success: bool = True
    indexing: bool
    deep_scan_in_progress: bool
    model_count: int
    pending_lookups: int
    generation: int
    root: str


class ChangeKind(StrEnum):
    """What happened to a model; the names of the feed that the existing Pumas library has."""

    MODEL_ADDED = "model_added"
    MODEL_REMOVED = "model_removed"
    METADATA_MODIFIED = "metadata_modified"
    PACKAGE_FACTS_MODIFIED = "package_facts_modified"
    STALE_FACTS_INVALIDATED = "stale_facts_invalidated"
    DEPENDENCY_BINDING_MODIFIED = "dependency_binding_modified"


class FactFamily(StrEnum):
    """Which facts changed."""

    MODEL_RECORD = "model_record"
    METADATA = "metadata"
    PACKAGE_FACTS = "package_facts"
    DEPENDENCY_BINDINGS = "dependency_bindings"
    VALIDATION = "validation"
    SEARCH_INDEX = "search_index"


class RefreshScope(StrEnum):
    """What a front end has to load again."""

    SUMMARY = "summary"
    DETAIL = "detail"
    SUMMARY_AND_DETAIL = "summary_and_detail"


class UpdateEvent(Contract):
    """One line of the feed. Absent keys are left out."""

    cursor: str
    model_id: str
    change_kind: ChangeKind
    fact_family: FactFamily
    refresh_scope: RefreshScope
    selected_artifact_id: str | None = Field(default=None, exclude_if=is_absent)
    producer_revision: str | None = Field(default=None, exclude_if=is_absent)


class UpdateFeed(Contract):
    """What changed since a cursor. `events` is left out when there are none."""

    cursor: str
    events: tuple[UpdateEvent, ...] = Field(default=(), exclude_if=is_absent)
    stale_cursor: bool = False
    snapshot_required: bool = False


ALL_MODELS = "*"
"""The scope of everything; any other scope is a model id, and no model id has a star in it."""


class ReconcileReport(Contract):
    """What a reconcile looked at and what it changed."""

    scope: str = Field(description="A model id, or `*` for everything.")
    models_seen: int
    models_changed: tuple[str, ...]
    bundles_judged: int
    unhealthy: tuple[str, ...] = Field(description="Ids of the bundles that are not valid now.")
    unreadable: tuple[str, ...] = Field(
        default=(), description="Ids whose metadata.json cannot be read; their rows are kept."
    )
    duration_ms: float


class ReindexReport(Contract):
    """What rebuilding the index from the metadata files gave."""

    success: bool = True
    indexed_count: int
    changed: int
    removed: int
    unreadable: tuple[str, ...] = ()
    duration_ms: float


class HealthReport(Contract):
    """The alerts that stand, worst first."""

    healthy: bool = Field(description="No alert stands but those that only tell (severity info).")
    alerts: tuple[Alert, ...]
    cursor: str | None = Field(
        default=None, description="Where the alerts stood, for `agent.subscribe`: what is sent from there is news."
    )


class AgentStatus(Contract):
    """What `status` shows, health first."""

    healthy: bool = Field(description="No alert stands but those that only tell (severity info).")
    alerts: tuple[Alert, ...]
    pid: int
    version: str
    started_at: str
    socket: str
    library_root: str
    generation: int
    models: int
    bundles: dict[str, int] = Field(description="External bundles by validation state.")
    last_reconcile: ReconcileReport | None
    last_reconcile_at: str | None
    queue: int = Field(description="Scopes waiting to be reconciled or running.")
    watched_roots: int
    watch_backend: str
    watch_faults: tuple[str, ...] = Field(description="Roots that nothing covers, with the reason.")
    polled_roots: int = Field(description="Of the watched roots, those that are compared at intervals.")
    poll_cost: float = Field(description="The share of one processor that comparing takes.")
    watches: int = Field(description="inotify watches in use.")
    watch_overflows: int = Field(description="How often events were lost since the start.")
    connections: int
    rss_bytes: int
    open_fds: int = Field(default=0, description="File descriptors that are open.")
    cpu_seconds: float = Field(default=0.0, description="Processor time since the start, without judging processes.")
    page: str | None = Field(
        default=None, description="URL of the page in the browser, without its token; null when none is served."
    )
    faults: tuple[str, ...] = Field(description="Faults since the start that were contained; the log has the details.")
