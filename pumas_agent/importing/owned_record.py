"""The first record of a model that the library owns (docs/reference/on-disk-format.md).

Pure: from what was asked and what was found to a metadata record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pumas_agent.bundles import Look
from pumas_agent.contracts.imports import ExternalBundleSpec, ModelImportSpec
from pumas_agent.contracts.metadata import AgentFacts, ModelFile, ModelHashes, ModelMetadata, StorageKind
from pumas_agent.contracts.tasks import modalities_of, task_name
from pumas_agent.importing.copier import HashedFile
from pumas_agent.importing.formats import FileFormat
from pumas_agent.importing.model_types import UNKNOWN_TYPE, TypeResolution
from pumas_agent.importing.record import external_record

_BACKENDS = {FileFormat.GGUF: "llama.cpp", FileFormat.ONNX: "onnx-runtime"}
_TRANSFORMERS = frozenset({"llm", "vlm", "embedding", "reranker"})


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a model goes: its id, the last part of that, its family as shown, and how it came."""

    model_id: str
    cleaned_name: str
    family: str
    match_source: str
    """`import`, `download` or `orphan_recovery`."""


def file_record(
    spec: ModelImportSpec,
    placed: Placed,
    files: Sequence[HashedFile],
    primary: tuple[HashedFile, FileFormat],
    kind: TypeResolution,
    *,
    now: str,
) -> ModelMetadata:
    """The record of a file model."""
    main, found = primary
    task = task_name(spec.pipeline_tag)
    inputs, outputs = modalities_of(task)
    backend = _BACKENDS.get(found)
    if backend is None and found is FileFormat.SAFETENSORS and kind.model_type in _TRANSFORMERS:
        backend = "transformers"
    reasons = sorted([*([] if task else ["unknown-task-signature"]), *_doubts(kind)])
    return ModelMetadata(
        schema_version=2,
        model_id=placed.model_id,
        family=placed.family,
        model_type=kind.model_type,
        official_name=spec.official_name,
        cleaned_name=placed.cleaned_name,
        tags=list(spec.tags) or None,
        hashes=ModelHashes(sha256=main.sha256, blake3=main.blake3),
        added_date=now,
        updated_date=now,
        size_bytes=sum(file.size for file in files),
        files=_files(files),
        match_source=placed.match_source,
        pending_online_lookup=True,
        lookup_attempts=0,
        repo_id=spec.repo_id,
        storage_kind=StorageKind.LIBRARY_OWNED,
        pipeline_tag=spec.pipeline_tag,
        task_type_primary=task or "unknown",
        input_modalities=list(inputs),
        output_modalities=list(outputs),
        task_classification_source="hf-pipeline-tag" if task else "local-import-no-task-signature",
        task_classification_confidence=1.0 if task else 0.0,
        model_type_resolution_source=kind.source,
        model_type_resolution_confidence=kind.confidence,
        recommended_backend=backend,
        metadata_needs_review=bool(reasons),
        review_reasons=reasons or None,
        review_status="pending" if reasons else "not_required",
        license_status="license_unknown",
    )


def bundle_record(
    spec: ModelImportSpec, placed: Placed, files: Sequence[HashedFile], look: Look, *, root: str, now: str
) -> ModelMetadata:
    """The record of a diffusers directory in the library's own folder `root`.

    Built like that of an external one; it says nothing of the place it was copied from, which may be gone tomorrow.
    """
    asked = ExternalBundleSpec(
        source_path=root,
        family=placed.family,
        official_name=spec.official_name,
        repo_id=spec.repo_id,
        tags=spec.tags,
    )
    record = external_record(
        asked,
        model_id=placed.model_id,
        cleaned_name=placed.cleaned_name,
        source=PurePosixPath(root),
        look=look,
        now=now,
    )
    # Where it is and which one it is say its folder and its digests.
    return record.with_agent(AgentFacts()).with_values(
        {
            "storage_kind": StorageKind.LIBRARY_OWNED,
            "source_path": None,
            "match_source": placed.match_source,
            "model_type_resolution_source": "diffusers-directory-import",
            "files": _files(files),
            "size_bytes": sum(file.size for file in files),
        }
    )


def _doubts(kind: TypeResolution) -> list[str]:
    return ["model-type-unresolved"] if kind.model_type == UNKNOWN_TYPE else []


def _files(files: Sequence[HashedFile]) -> list[ModelFile]:
    return [
        ModelFile(
            name=file.name,
            original_name=PurePosixPath(file.name).name,
            size=file.size,
            sha256=file.sha256,
            blake3=file.blake3,
        )
        for file in files
    ]
