"""Why a model is in the state it is in: rule by rule, with what the record says, where it is, and who would notice."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, ComponentWeights, SecurityTier
from pumas_agent.contracts.health import Alert
from pumas_agent.contracts.metadata import (
    AssetValidationState,
    BundleFormat,
    FieldFinding,
    ImportState,
    MountFacts,
    StorageKind,
)
from pumas_agent.contracts.model import Contract


class ExplainedFinding(AssetValidationError):
    """A finding or a notice, with what its kind means."""

    severity: Literal["fatal", "notice"]
    meaning: str | None = Field(description="Null for a code that this version does not know.")
    hint: str | None = Field(description="What a person can do about it.")


class ExplainedComponent(BundleComponent):
    """One component, with what is said of it."""

    findings: tuple[ExplainedFinding, ...]
    notices: tuple[ExplainedFinding, ...]
    weights: ComponentWeights | None = Field(description="Null when they are not whole, or it has none.")


class BundleExplanation(Contract):
    """What a look at a bundle found, by component."""

    root: str
    valid: bool
    pipeline_class: str | None
    task: str | None
    size_bytes: int
    load_variant: str | None
    load_dtype: str | None
    security_tier: SecurityTier
    findings: tuple[ExplainedFinding, ...] = Field(description="Those that are of no single component.")
    notices: tuple[ExplainedFinding, ...] = Field(description="Likewise.")
    components: tuple[ExplainedComponent, ...]


class RecordExplanation(Contract):
    """What the model's metadata.json says, and whether it can be read."""

    path: str
    readable: bool
    fault: str | None = Field(description="Why it cannot be read; null when it can.")
    has_backup: bool = Field(description="There is a metadata.json.bak beside it.")
    unreadable_fields: tuple[FieldFinding, ...]
    validation_state: AssetValidationState | None
    import_state: ImportState | None
    validation_errors: tuple[AssetValidationError, ...]
    updated_date: str | None
    not_committed: str | None = Field(description="Why the newest verdict is not in the record; null when it is.")


class Sameness(StrEnum):
    """Whether what stands at the path is what was valid there last."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


class PlaceExplanation(Contract):
    """Where a bundle is, and whether it is the one that was registered."""

    root: str | None = Field(description="Where it is looked for; null when the record names no absolute path.")
    given_path: str | None = Field(description="The path as it was given when the bundle was registered.")
    mount: MountFacts | None = Field(description="The filesystem that held it when it was valid last.")
    mounted_now: MountFacts | None = Field(description="The one that holds it now; null when nothing is there.")
    identity: str | None = Field(description="Of the bundle that was valid there last.")
    identity_now: str | None
    same_bundle: Sameness


class WatchedBy(StrEnum):
    """How a change would be noticed."""

    EVENTS = "events"
    POLLING = "polling"
    NOTHING = "nothing"
    NO_AGENT = "no_agent"


class WatchExplanation(Contract):
    """How a change would be noticed, and why not by events."""

    by: WatchedBy
    why: str | None = None


class ExplainedFile(Contract):
    """One file of a file model."""

    name: str = Field(description="Relative to the model's folder.")
    size: int
    is_primary: bool


class FilesExplanation(Contract):
    """The files of a model that is no bundle."""

    folder: str
    primary_file: str | None = Field(description="What a runtime would load; null when there is no model file.")
    size_bytes: int
    files: tuple[ExplainedFile, ...] = Field(description="A thousand at most.")
    more_files: int
    missing_files: tuple[str, ...] = Field(description="Named by the record and not there.")


class ModelExplanation(Contract):
    """Why a model is in the state it is in."""

    model_id: str
    summary: str = Field(description="The reason in a sentence; for people.")
    healthy: bool
    state: AssetValidationState | None = Field(description="As it is served now; null where there is none.")
    settling: bool = Field(description="It is being written right now.")
    since: str | None = Field(description="Since when it is not healthy, as far as an alert tells.")
    judged_at: str | None
    storage_kind: StorageKind | None = Field(description="Null of a model that was never indexed.")
    bundle_format: BundleFormat | None
    alerts: tuple[Alert, ...]
    record: RecordExplanation
    bundle: BundleExplanation | None
    place: PlaceExplanation | None = Field(description="Of bundles.")
    files: FilesExplanation | None = Field(description="Of models that are no bundles.")
    watching: WatchExplanation
