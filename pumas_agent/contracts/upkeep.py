"""What is found about models that are filed wrongly or there twice, and what a person may have done about it."""

from enum import StrEnum

from pydantic import Field

from pumas_agent.contracts.metadata import StorageKind
from pumas_agent.contracts.model import Contract


class ReclassifyParams(Contract):
    """Which model, and whether to do it or only to say what would be done."""

    model_id: str = Field(min_length=1, max_length=1024)
    model_type: str | None = Field(
        default=None, description="A model type or a task of the Hugging Face Hub; null: told from the files."
    )
    family: str | None = Field(default=None, min_length=1, max_length=512, pattern=r"\S", description="Null: it stays.")
    apply: bool = Field(default=False, description="Do it; otherwise nothing is written.")


class Reclassification(Contract):
    """Where a model belongs by its type, family and name."""

    success: bool = True
    model_id: str
    new_model_id: str = Field(description="The same id when it is filed where it belongs.")
    model_type: str
    source: str = Field(description="How its type was told.")
    confidence: float
    refused: str | None = Field(default=None, description="Why it cannot move there.")
    links: int = Field(default=0, description="Links of it in applications, which go: apply the mapping again.")
    applied: bool = False


class RepairParams(Contract):
    """Which model, and whether to do it or only to say what would be done."""

    model_id: str = Field(min_length=1, max_length=1024)
    apply: bool = Field(default=False, description="Do it; otherwise nothing is written.")


class RepairSource(StrEnum):
    """What a record is made from again."""

    BACKUP = "backup"
    INDEX = "index"


class RecordRepair(Contract):
    """A record that is gone or cannot be read, and what it can be made from."""

    success: bool = True
    model_id: str
    source: RepairSource | None = Field(description="Null: the record can be read, and nothing is to be repaired.")
    lost: tuple[str, ...] = Field(description="Fields that nothing is left of.")
    applied: bool


class DuplicateModel(Contract):
    """One of several models that have something in common."""

    model_id: str
    storage_kind: StorageKind
    path: str
    size_bytes: int | None
    is_partial: bool
    selected_artifact_id: str | None


class DuplicateGroup(Contract):
    """Models that may be the same one. Which of them to keep is for a person to say."""

    reason: str = Field(description="`same_repository` or `same_content`.")
    value: str = Field(description="The repository, or the SHA-256 of the file a runtime would load.")
    models: tuple[DuplicateModel, ...]


class DuplicateReport(Contract):
    """What may be there twice. Nothing is done about it."""

    success: bool = True
    groups: tuple[DuplicateGroup, ...]
