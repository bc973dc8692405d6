"""`metadata.json`: the one record of a model, shared with the existing Pumas (docs/reference/on-disk-format.md).

Owns the 68 fields, their order and their types. A file is read field by field: one bad value makes a finding about that
field and leaves the others readable; keys we do not know are kept. What was read can always be written back whole.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.model import Contract


class StorageKind(StrEnum):
    """Who owns the files."""

    LIBRARY_OWNED = "library_owned"
    EXTERNAL_REFERENCE = "external_reference"


class BundleFormat(StrEnum):
    """Layout of a directory-root asset."""

    DIFFUSERS_DIRECTORY = "diffusers_directory"


class ImportState(StrEnum):
    """`ready` from the first time the asset was valid, and ever after; `failed` until then."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class AssetValidationState(StrEnum):
    """`valid`: every rule holds now. `degraded`: it was valid once and is not now. `invalid`: it never was."""

    VALID = "valid"
    DEGRADED = "degraded"
    INVALID = "invalid"


def _string_list(value: object) -> object:
    """One string counts as a list of one; an empty list as null (`base_model` in older records)."""
    if isinstance(value, str):
        return [value]
    return value or None


def absolute_or_none(path: str | None) -> str | None:
    """The path when it is absolute: a relative one would mean another place to each process that reads it."""
    return path if path is not None and path.startswith("/") else None


def _parameters(value: object) -> object:
    """Null, any object and the empty list all mean that there are no parameters."""
    return None if isinstance(value, Mapping) or not value else value


class _Part(BaseModel):
    """A nested object of the record; keys we do not know are kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class ModelHashes(_Part):
    """Lower-case hex."""

    sha256: str | None = None
    blake3: str | None = None


class ModelFile(_Part):
    """One payload file."""

    name: str
    original_name: str | None = None
    size: int | None = Field(default=None, ge=0)
    sha256: str | None = None
    blake3: str | None = None


class ParameterConstraints(_Part):
    """What a value may be."""

    min: float | int | None = None
    max: float | int | None = None
    allowed_values: list[Any] | None = None


class InferenceParameter(_Part):
    """One knob a front end shows."""

    key: str
    label: str
    param_type: str
    default: Any = None
    description: str | None = None
    constraints: ParameterConstraints | None = None


class DependencyBindingRef(_Part):
    """Projection of an active binding row; the row is the truth."""

    binding_id: str
    profile_id: str
    profile_version: int
    binding_kind: str | None = None
    backend_key: str | None = None
    platform_selector: str | None = None


class MountFacts(_Part):
    """The filesystem that holds a bundle: how it can be told from another one, and where the bundle is in it."""

    point: str
    kind: str
    source: str
    uuid: str | None = None
    path: str = Field(description="Of the bundle's root, relative to the mount point.")


class AgentFacts(_Part):
    """Our one key in the record. Re-derived when another program dropped it.

    `identity`, `mount` and `inode` (of the root) are those of the last valid verdict; `given_path` is the source before
    links were resolved.
    """

    identity: str | None = None
    given_path: str | None = None
    mount: MountFacts | None = None
    inode: int | None = None


class FieldFinding(Contract):
    """One value of a `metadata.json` that its field cannot hold."""

    field: str
    message: str


class ModelMetadata(BaseModel):
    """The record. Every field is optional; `to_document` writes all 68 in this order, nulls included, then the rest."""

    model_config = ConfigDict(extra="allow", strict=True, validate_assignment=True)

    schema_version: int | None = None
    model_id: str | None = None
    family: str | None = None
    model_type: str | None = None
    subtype: str | None = None
    official_name: str | None = None
    cleaned_name: str | None = None
    tags: list[str] | None = None
    base_model: Annotated[list[str] | None, BeforeValidator(_string_list)] = None
    preview_image: str | None = None
    release_date: str | None = None
    download_url: str | None = None
    model_card: dict[str, Any] | None = None
    inference_settings: Annotated[list[InferenceParameter] | None, BeforeValidator(_parameters)] = None
    compatible_apps: list[str] | None = None
    hashes: ModelHashes | None = None
    notes: str | None = None
    added_date: str | None = None
    updated_date: str | None = None
    size_bytes: int | None = Field(default=None, ge=0)
    files: list[ModelFile] | None = None
    match_source: str | None = None
    match_method: str | None = None
    match_confidence: float | None = None
    pending_online_lookup: bool | None = None
    lookup_attempts: int | None = None
    last_lookup_attempt: str | None = None
    conversion_source: dict[str, Any] | None = None
    repo_id: str | None = None
    publisher: str | None = None
    architecture_family: str | None = None
    config_model_type: str | None = None
    selected_artifact_id: str | None = None
    selected_artifact_files: list[str] | None = None
    selected_artifact_quant: str | None = None
    upstream_revision: str | None = None
    expected_files: list[str] | None = None
    source_path: str | None = None
    entry_path: str | None = None
    storage_kind: Annotated[StorageKind | None, Field(strict=False)] = None
    bundle_format: Annotated[BundleFormat | None, Field(strict=False)] = None
    pipeline_class: str | None = None
    import_state: Annotated[ImportState | None, Field(strict=False)] = None
    validation_state: Annotated[AssetValidationState | None, Field(strict=False)] = None
    validation_errors: list[AssetValidationError] | None = None
    pipeline_tag: str | None = None
    huggingface_evidence: dict[str, Any] | None = None
    task_type_primary: str | None = None
    task_type_secondary: str | None = None
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    task_classification_source: str | None = None
    task_classification_confidence: float | None = None
    model_type_resolution_source: str | None = None
    model_type_resolution_confidence: float | None = None
    recommended_backend: str | None = None
    runtime_engine_hints: list[str] | None = None
    dependency_bindings: list[DependencyBindingRef] | None = None
    requires_custom_code: bool | None = None
    custom_code_sources: list[str] | None = None
    metadata_needs_review: bool | None = None
    review_reasons: list[str] | None = None
    review_status: str | None = None
    reviewed_by: str | None = None
    reviewed_at: str | None = None
    model_card_artifact: dict[str, Any] | None = None
    license_artifact: dict[str, Any] | None = None
    license_status: str | None = None

    _unparsed: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> tuple[Self, tuple[FieldFinding, ...]]:
        """Read a document field by field.

        A value that its field cannot hold is set aside (the field reads as null), named in the findings, and written
        back as it was unless the field is given a new value.
        """
        accepted = dict(document)
        unparsed: dict[str, Any] = {}
        findings: list[FieldFinding] = []
        try:
            record = cls.model_validate(accepted)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                field = str(problem["loc"][0])
                where = ".".join(str(part) for part in problem["loc"])
                findings.append(FieldFinding(field=field, message=f"{where}: {problem['msg']}"))
                if field in accepted:
                    unparsed[field] = accepted.pop(field)
            record = cls.model_validate(accepted)
        record._unparsed = unparsed  # noqa: SLF001  our own class
        return record, tuple(findings)

    def to_document(self) -> dict[str, Any]:
        """The JSON object to write: the 68 keys in order, then the keys we do not know, then what could not be read."""
        document = self.model_dump(mode="json")
        for key, value in self._unparsed.items():
            if document.get(key) is None:
                document[key] = value
        return document

    @property
    def agent(self) -> AgentFacts:
        """Our own key, empty when it is absent or another program put something else there."""
        raw = (self.model_extra or {}).get("agent")
        try:
            return AgentFacts.model_validate(raw if isinstance(raw, dict) else {})
        except ValidationError:
            return AgentFacts()

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with some fields given new values; a null, too, takes the place of a value that could not be read."""
        copy = self.model_copy(update=values)
        copy._unparsed = {key: value for key, value in self._unparsed.items() if key not in values}  # noqa: SLF001
        return copy

    def with_agent(self, facts: AgentFacts) -> Self:
        """A copy with our key set."""
        copy = self.model_copy(deep=True)
        assert copy.__pydantic_extra__ is not None
        copy.__pydantic_extra__["agent"] = facts.model_dump(mode="json", exclude_none=True)
        return copy

    @property
    def is_external(self) -> bool:
        """The one gate: an external reference is never adopted, staged, moved or cleaned up.

        A storage kind that cannot be read counts as external: hands off what we do not understand.
        """
        return self.storage_kind is StorageKind.EXTERNAL_REFERENCE or "storage_kind" in self._unparsed

    @property
    def external_root(self) -> str | None:
        """Where an external bundle is; null when the record names no absolute path, which is a place for nobody."""
        return absolute_or_none(self.entry_path or self.source_path)

    @property
    def is_bundle(self) -> bool:
        """A directory that is executed from its root."""
        return self.bundle_format is not None

    @property
    def effective_import_state(self) -> ImportState:
        """A null in an old record counts as ready when the record says valid, else as failed."""
        if self.import_state is not None:
            return self.import_state
        return ImportState.READY if self.validation_state is AssetValidationState.VALID else ImportState.FAILED


METADATA_FIELDS: tuple[str, ...] = tuple(ModelMetadata.model_fields)
"""The 68 names in the order of the file."""
