"""The selector snapshot: what a front end needs of each model to offer a choice, at one position of the update feed.

Names and states are those of the existing Pumas library, version 1; `bundle_format` was added. Keys that hold nothing
are left out.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, StorageKind
from pumas_agent.contracts.model import Contract, is_absent

SELECTOR_SNAPSHOT_CONTRACT_VERSION: Literal[1] = 1
MODEL_REF_CONTRACT_VERSION: Literal[1] = 1


class SelectorState(StrEnum):
    """How far an artifact, or the path it is loaded from, can be used."""

    READY = "ready"
    MISSING = "missing"
    PARTIAL = "partial"
    INVALID = "invalid"
    AMBIGUOUS = "ambiguous"
    NEEDS_DETAIL = "needs_detail"
    STALE = "stale"


class PackageFactsStatus(StrEnum):
    """Whether facts on a model's packages are at hand; this agent has none, so it says `missing`."""

    CACHED = "cached"
    MISSING = "missing"
    INVALID = "invalid"
    STALE_CONTRACT = "stale_contract"
    STALE_FINGERPRINT = "stale_fingerprint"
    WRONG_SELECTED_ARTIFACT = "wrong_selected_artifact"
    ERROR = "error"
    FRESH = "fresh"
    DETAIL_DERIVED = "detail_derived"
    REGENERATED = "regenerated"


class DetailState(StrEnum):
    """What a front end would have to load to know everything."""

    COMPLETE = "complete"
    SUMMARY_ONLY = "summary_only"
    NEEDS_PACKAGE_FACTS = "needs_package_facts"
    NEEDS_VALIDATION = "needs_validation"
    STALE = "stale"
    ERROR = "error"


_Text = Annotated[str | None, Field(exclude_if=is_absent)]


class ModelRef(Contract):
    """Which model, and which artifact of it."""

    model_ref_contract_version: Literal[1] = 1
    model_id: str
    revision: _Text = None
    selected_artifact_id: _Text = None


class SelectorRow(Contract):
    """One model to choose."""

    model_id: str
    model_ref: ModelRef
    repo_id: _Text = None
    selected_artifact_id: _Text = None
    entry_path: str | None = Field(
        default=None,
        exclude_if=is_absent,
        description="Of a bundle its root; of a file model its folder. For people: a runtime asks for a descriptor.",
    )
    entry_path_state: SelectorState
    artifact_state: SelectorState
    display_name: str
    model_type: _Text = None
    tags: tuple[str, ...] = Field(default=(), exclude_if=is_absent)
    indexed_path: _Text = None
    task_type_primary: _Text = None
    pipeline_tag: _Text = None
    recommended_backend: _Text = None
    runtime_engine_hints: tuple[str, ...] = Field(default=(), exclude_if=is_absent)
    storage_kind: StorageKind
    bundle_format: BundleFormat | None = Field(default=None, exclude_if=is_absent)
    validation_state: AssetValidationState | None = Field(default=None, exclude_if=is_absent)
    package_facts_summary_status: PackageFactsStatus = PackageFactsStatus.MISSING
    detail_state: DetailState = DetailState.NEEDS_PACKAGE_FACTS
    updated_at: _Text = None


class SelectorSnapshot(Contract):
    """A page of rows by id, and where the feed stood: what is listed from that cursor on happened after it."""

    selector_snapshot_contract_version: Literal[1] = 1
    cursor: str
    rows: tuple[SelectorRow, ...] = Field(default=(), exclude_if=is_absent)
    total_count: int
