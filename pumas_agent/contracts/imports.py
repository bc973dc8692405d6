"""How an asset enters: what is asked for, and what came of it."""

from enum import StrEnum

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError, SecurityTier
from pumas_agent.contracts.model import Contract


class ExternalBundleSpec(Contract):
    """Register a diffusers directory where it is. Nothing is copied, moved or written there."""

    source_path: str = Field(min_length=1, description="Absolute path of the bundle's root; links are resolved.")
    family: str = Field(min_length=1, max_length=512, pattern=r"\S")
    official_name: str = Field(min_length=1, max_length=512, pattern=r"\S")
    repo_id: str | None = None
    tags: tuple[str, ...] = ()
    allow_unhealthy: bool = Field(default=False, description="Register even when the bundle is not valid now.")


class ImportStatus(StrEnum):
    """What came of an import."""

    REGISTERED = "registered"
    ALREADY_REGISTERED = "already_registered"
    IMPORTED = "imported"
    REFUSED = "refused"


class ModelImportResult(Contract):
    """The answer to an import: an id and a status, never a path to execute.

    A refusal leaves nothing behind. `findings` says why, by code; `model_id` then names the model in the way, if any.
    """

    path: str = Field(description="The source as given.")
    success: bool
    model_id: str | None
    status: ImportStatus
    error: str | None
    security_tier: SecurityTier | None
    findings: tuple[AssetValidationError, ...] = ()
    model_path: None = Field(default=None, description="Deprecated; always null.")


class UnregisterResult(Contract):
    """What unregistering removed: the registry artifact, never a file of the bundle."""

    success: bool
    model_id: str
    source_path: str | None
    kept_files: tuple[str, ...] = Field(
        default=(), description="Files in the registry folder that are not ours and were left there."
    )
