"""What lies at a path that someone wants to import: what is asked for, and what is said about it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent
from pumas_agent.contracts.metadata import BundleFormat
from pumas_agent.contracts.model import Contract

ImportPath = Annotated[str, Field(min_length=1, max_length=4096)]


class ClassifyParams(Contract):
    """Where to look."""

    paths: Annotated[tuple[ImportPath, ...], Field(min_length=1, max_length=32)] = Field(
        description="Absolute paths of files and folders."
    )


class PathKind(StrEnum):
    """What a path is to an import."""

    SINGLE_FILE = "single_file"
    SINGLE_BUNDLE = "single_bundle"
    """A diffusers directory, whole or damaged: `findings` tells."""
    SINGLE_MODEL_DIRECTORY = "single_model_directory"
    MULTI_MODEL_CONTAINER = "multi_model_container"
    AMBIGUOUS = "ambiguous"
    """A person has to say which of the candidates is meant."""
    UNSUPPORTED = "unsupported"


class CandidateKind(StrEnum):
    """What one model in a folder is."""

    FILE_MODEL = "file_model"
    DIRECTORY_MODEL = "directory_model"
    EXTERNAL_DIFFUSERS_BUNDLE = "external_diffusers_bundle"


class ImportCandidate(Contract):
    """One model that could be imported by itself."""

    path: str
    kind: CandidateKind
    display_name: str
    model_type: str | None = None
    bundle_format: BundleFormat | None = None
    pipeline_class: str | None = None
    component_manifest: tuple[BundleComponent, ...] | None = None
    findings: tuple[AssetValidationError, ...] = ()
    reasons: tuple[str, ...] = ()


class PathClassification(Contract):
    """What one path is, how it could be imported, and why."""

    path: str = Field(description="As asked.")
    kind: PathKind
    suggested_family: str | None = None
    suggested_official_name: str | None = None
    model_type: str | None = None
    bundle_format: BundleFormat | None = None
    pipeline_class: str | None = None
    component_manifest: tuple[BundleComponent, ...] | None = None
    findings: tuple[AssetValidationError, ...] = Field(default=(), description="Of a bundle: why it is not valid.")
    size_bytes: int | None = Field(default=None, description="Of the files that were met.")
    reasons: tuple[str, ...] = ()
    candidates: tuple[ImportCandidate, ...] = Field(default=(), description="By path.")


class ClassificationReport(Contract):
    """One answer for each path, in the order asked."""

    classifications: tuple[PathClassification, ...]
