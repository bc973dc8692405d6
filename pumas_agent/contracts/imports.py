"""How an asset enters: what is asked for, and what came of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError, SecurityTier
from pumas_agent.contracts.metadata import StorageKind
from pumas_agent.contracts.model import Contract


class ExternalBundleSpec(Contract):
    """Register a diffusers directory where it is. Nothing is copied, moved or written there."""

    source_path: str = Field(min_length=1, description="Absolute path of the bundle's root; links are resolved.")
    family: str = Field(min_length=1, max_length=512, pattern=r"\S")
    official_name: str = Field(min_length=1, max_length=512, pattern=r"\S")
    repo_id: str | None = None
    tags: tuple[str, ...] = ()
    allow_unhealthy: bool = Field(default=False, description="Register even when the bundle is not valid now.")


class ModelImportSpec(Contract):
    """Copy a model file, a folder with one model, or a diffusers directory into the library."""

    path: str = Field(min_length=1, max_length=4096, description="Absolute path of the file or folder.")
    family: str = Field(min_length=1, max_length=512, pattern=r"\S")
    official_name: str = Field(min_length=1, max_length=512, pattern=r"\S")
    model_type: str | None = Field(
        default=None, description="A model type or a task of the Hugging Face Hub; null: told from the files."
    )
    repo_id: str | None = None
    pipeline_tag: str | None = None
    tags: tuple[str, ...] = ()
    security_acknowledged: bool = Field(
        default=False, description="Take pickles, which can run any code when a runtime loads them."
    )
    allow_unhealthy: bool = Field(default=False, description="Take a bundle even when it is not valid now.")


class ImportBatchParams(Contract):
    """Several, one after the other; one that fails stops no other."""

    specs: tuple[ModelImportSpec, ...] = Field(min_length=1, max_length=256)


class InPlaceImportSpec(Contract):
    """Make a folder that lies in the library a model. Its path below the library's root becomes the id."""

    path: str = Field(min_length=1, max_length=4096, description="Absolute path of the folder, below the library root.")
    family: str | None = Field(default=None, max_length=512, description="Null: told from the files or the path.")
    official_name: str | None = Field(default=None, max_length=512, description="Null: the folder's name.")
    model_type: str | None = None
    repo_id: str | None = None
    pipeline_tag: str | None = None
    tags: tuple[str, ...] = ()
    security_acknowledged: bool = False
    allow_unhealthy: bool = Field(default=False, description="Take a bundle even when it is not valid now.")


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


class ImportBatchResult(Contract):
    """What came of each, in the order asked."""

    success: bool = True
    imported: int
    failed: int
    results: tuple[ModelImportResult, ...]


class NotAdopted(Contract):
    """A folder with model files that was left alone."""

    path: str
    reason: str


class AdoptionReport(Contract):
    """Folders of the library that became models, and those that did not."""

    success: bool = True
    adopted: tuple[str, ...] = Field(description="Ids.")
    not_adopted: tuple[NotAdopted, ...]


class EditParams(Contract):
    """What a person says of a model. What is null stays; an empty text or list takes the value away."""

    model_id: str = Field(min_length=1, max_length=1024)
    official_name: str | None = Field(default=None, min_length=1, max_length=512, pattern=r"\S")
    tags: tuple[Annotated[str, Field(min_length=1, max_length=256, pattern=r"\S")], ...] | None = Field(
        default=None, max_length=256
    )
    notes: str | None = Field(default=None, max_length=65_536)


class EditResult(Contract):
    """Whether the record was another one before."""

    success: bool = True
    model_id: str
    changed: bool


class DeleteParams(Contract):
    """Which model, and how finally."""

    model_id: str = Field(min_length=1, max_length=1024)
    apply: bool = Field(default=True, description="False: say what would be done, and write nothing.")
    keep_in_trash: bool = Field(
        default=True, description="Move the files to the library's trash folder; false removes them for good."
    )


class DeleteResult(Contract):
    """What deleting did or, for a plan, would do."""

    success: bool = True
    model_id: str
    storage_kind: StorageKind
    applied: bool
    path: str = Field(description="The folder that goes: the model's own or, of an external one, its registry folder.")
    files: int = Field(description="How many files of the library go, records included.")
    size_bytes: int
    links: int = Field(default=0, description="Links of it in applications, which go too.")
    trash_path: str | None = Field(default=None, description="Where the files are now.")
    source_path: str | None = Field(default=None, description="Of an external bundle, whose files stay.")
    kept_files: tuple[str, ...] = Field(default=(), description="Files in a registry folder that are not ours.")


class UnregisterResult(Contract):
    """What unregistering removed: the registry artifact, never a file of the bundle."""

    success: bool
    model_id: str
    source_path: str | None
    kept_files: tuple[str, ...] = Field(
        default=(), description="Files in the registry folder that are not ours and were left there."
    )
