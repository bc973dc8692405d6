"""The execution descriptor: what a runtime may execute now, and from where.

Versioning policy: fields are only ever added. `execution_contract_version` rises for a removal or a change of meaning
alone; a caller that sends `expected_execution_contract_version` is refused on a mismatch rather than surprised.
A descriptor is only ever given for a valid asset: a refusal is the error `asset_not_valid`, whose `data` is `Refusal`.
"""

from enum import StrEnum
from typing import Any

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, SecurityTier
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, StorageKind
from pumas_agent.contracts.model import Contract, is_absent

EXECUTION_CONTRACT_VERSION = 1
PATHS_AS_VARIABLE = "PUMAS_AGENT_PATHS_AS"
"""Says to the clients in a container, once for all of them, whose paths they want."""


class PathsAs(StrEnum):
    """Whose names the paths in a descriptor are."""

    HOST = "host"
    """The agent's own."""
    CONTAINER = "container"
    """Those that the setting `paths.map` gives them; a path without one is refused (`path_not_mapped`)."""


class ModelExecutionDescriptor(Contract):
    """Version 1. True at the moment it was given."""

    execution_contract_version: int = EXECUTION_CONTRACT_VERSION
    model_id: str
    entry_path: str = Field(
        description="Absolute. External bundle: its root. Owned bundle: its folder. File model: its primary file."
    )
    model_type: str = "unknown"
    task_type_primary: str = "unknown"
    recommended_backend: str | None = None
    runtime_engine_hints: tuple[str, ...] = ()
    storage_kind: StorageKind
    validation_state: AssetValidationState
    dependency_resolution: dict[str, Any] | None = Field(
        default=None, description="The dependency contract's own payload, nested unchanged; null in a batch."
    )
    bundle_format: BundleFormat | None = None
    pipeline_class: str | None = None
    components: tuple[BundleComponent, ...] | None = None
    weight_variants: tuple[str, ...] | None = Field(
        default=None,
        description="Variants complete on disk, the default being the empty string; null when not examined.",
    )
    load_variant: str | None = Field(
        default=None, description="The variant a runtime must ask for; null when none is needed."
    )
    load_dtype: str | None = Field(
        default=None, description="The dtype the weights are stored in; null when not examined."
    )
    security_tier: SecurityTier = Field(
        default=SecurityTier.UNKNOWN, description="safe, pickle, or unknown when the weights were not examined."
    )
    requires_custom_code: bool = False
    notices: tuple[str, ...] = ()
    validated_at: str = Field(description="When these files were last judged, RFC 3339.")
    generation: int = Field(description="The library generation of that verdict.")


class Refusal(Contract):
    """`error.data` of `asset_not_valid`."""

    code: str = "asset_not_valid"
    field: str = "validation_state"
    validation_state: AssetValidationState
    validation_errors: tuple[AssetValidationError, ...]
    since: str | None = Field(description="When the asset stopped being valid, RFC 3339; null when it never was.")
    settling: bool = Field(description="The bundle is being written right now.")
    hint: str


class DescriptorBatchItem(Contract):
    """One answer of a batch: exactly one of `descriptor` and `error` is present."""

    model_id: str
    descriptor: ModelExecutionDescriptor | None = Field(default=None, exclude_if=is_absent)
    error: str | None = Field(default=None, exclude_if=is_absent)
    error_data: dict[str, Any] | None = Field(default=None, exclude_if=is_absent)


class DescriptorBatch(Contract):
    """Answers in the order of the ids asked for; absent keys are left out of each item."""

    descriptors: tuple[DescriptorBatchItem, ...]
