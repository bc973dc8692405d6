"""The first record of an external bundle (docs/reference/on-disk-format.md).

Pure: from what was asked and what was found to a metadata record.
"""

from pathlib import PurePath

from pumas_agent.bundles import Look
from pumas_agent.contracts.imports import ExternalBundleSpec
from pumas_agent.contracts.metadata import (
    AgentFacts,
    AssetValidationState,
    BundleFormat,
    ImportState,
    InferenceParameter,
    ModelMetadata,
    ParameterConstraints,
    StorageKind,
)

MODEL_TYPE = "diffusion"
DEFAULT_FAMILY = "imported"
_TASK = "text-to-image"


def external_record(
    spec: ExternalBundleSpec, *, model_id: str, cleaned_name: str, source: PurePath, look: Look, now: str
) -> ModelMetadata:
    """The record to store. `source_path` and `entry_path` are both the canonical root."""
    report = look.report
    record = ModelMetadata(
        schema_version=2,
        model_id=model_id,
        family=spec.family,
        model_type=MODEL_TYPE,
        official_name=spec.official_name,
        cleaned_name=cleaned_name,
        tags=list(spec.tags) or None,
        inference_settings=_inference_settings(report.pipeline_class),
        added_date=now,
        updated_date=now,
        size_bytes=report.size_bytes,
        match_source="external_reference",
        repo_id=spec.repo_id,
        source_path=str(source),
        entry_path=str(source),
        storage_kind=StorageKind.EXTERNAL_REFERENCE,
        bundle_format=BundleFormat.DIFFUSERS_DIRECTORY,
        pipeline_class=report.pipeline_class,
        import_state=ImportState.READY if report.is_valid else ImportState.FAILED,
        validation_state=AssetValidationState.VALID if report.is_valid else AssetValidationState.INVALID,
        validation_errors=list(report.findings) or None,
        pipeline_tag=_TASK,
        task_type_primary=_TASK,
        input_modalities=["text"],
        output_modalities=["image"],
        task_classification_source="hf-pipeline-tag",
        task_classification_confidence=1.0,
        model_type_resolution_source="external-diffusers-import",
        model_type_resolution_confidence=1.0,
        recommended_backend="diffusers",
        runtime_engine_hints=["diffusers", "pytorch"],
        requires_custom_code=report.requires_custom_code,
        metadata_needs_review=False,
        review_status="not_required",
        license_status="license_unknown",
    )
    facts = AgentFacts(given_path=spec.source_path)
    if report.is_valid:
        found = {"identity": report.identity, "mount": look.mount, "inode": look.inode}
        facts = facts.model_copy(update=found)
    return record.with_agent(facts)


def _inference_settings(pipeline_class: str | None) -> list[InferenceParameter]:
    """The knobs of a text-to-image pipeline; the Qwen image family calls its guidance by another name."""
    guidance = ("true_cfg_scale", 4.0) if (pipeline_class or "").startswith("QwenImage") else ("guidance_scale", 7.0)
    return [
        _parameter("num_inference_steps", "Steps", "Integer", 20, 1, 150),
        _parameter(guidance[0], "Guidance scale", "Number", guidance[1], 1.0, 30.0),
        _parameter("width", "Width", "Integer", 1024, 64, 4096),
        _parameter("height", "Height", "Integer", 1024, 64, 4096),
        _parameter("seed", "Seed", "Integer", -1, -1, None),
    ]


def _parameter(  # noqa: PLR0917  a table row
    key: str, label: str, kind: str, default: float, low: float, high: float | None
) -> InferenceParameter:
    return InferenceParameter(
        key=key, label=label, param_type=kind, default=default, constraints=ParameterConstraints(min=low, max=high)
    )
