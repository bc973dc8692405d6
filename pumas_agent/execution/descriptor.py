"""From a verdict to what is said to a runtime. Pure: looks at nothing."""

from pathlib import PurePath

from pumas_agent.contracts.bundles import AssetValidationError, SecurityTier
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor, Refusal
from pumas_agent.contracts.errors import AssetNotValid
from pumas_agent.dependencies import resolve_requirements
from pumas_agent.library import CatalogEntry, DependencyBook
from pumas_agent.upkeep import Verdict

_SAFE = (".safetensors", ".gguf", ".onnx")
_PICKLES = (".pt", ".pth", ".ckpt", ".bin")


def descriptor_of(entry: CatalogEntry, verdict: Verdict, book: DependencyBook) -> ModelExecutionDescriptor:
    """The descriptor of a valid asset. What is wrong with its dependencies stands in its dependencies alone."""
    report = verdict.report
    tier = report.security_tier if report else _tier_of_file(verdict.entry_path)
    requirements = resolve_requirements(entry, book, backend=entry.recommended_backend)
    return ModelExecutionDescriptor(
        model_id=entry.id,
        entry_path=verdict.entry_path,
        model_type=entry.model_type,
        task_type_primary=entry.task_type_primary or "unknown",
        recommended_backend=entry.recommended_backend,
        runtime_engine_hints=entry.runtime_engine_hints,
        storage_kind=entry.storage_kind,
        validation_state=verdict.state,
        dependency_resolution=requirements.model_dump(mode="json"),
        bundle_format=entry.bundle_format,
        pipeline_class=report.pipeline_class if report else entry.pipeline_class,
        components=report.components if report else None,
        weight_variants=report.weight_variants if report else None,
        load_variant=report.load_variant if report else None,
        load_dtype=report.load_dtype if report else None,
        security_tier=tier,
        requires_custom_code=report.requires_custom_code if report else entry.requires_custom_code,
        notices=tuple(notice.code for notice in report.notices) if report else (),
        validated_at=verdict.judged_at,
        generation=verdict.generation,
    )


def _tier_of_file(path: str) -> SecurityTier:
    suffix = PurePath(path).suffix.lower()
    if suffix in _SAFE:
        return SecurityTier.SAFE
    return SecurityTier.PICKLE if suffix in _PICKLES else SecurityTier.UNKNOWN


def refusal_of(verdict: Verdict, since: str | None) -> AssetNotValid:
    """The error that stands for a descriptor of an asset that is not valid."""
    state = verdict.state
    hint = _hint(verdict.errors, settling=verdict.settling)
    refusal = Refusal(
        validation_state=state, validation_errors=verdict.errors, since=since, settling=verdict.settling, hint=hint
    )
    data = refusal.model_dump(mode="json", exclude={"code", "hint"})
    return AssetNotValid(
        f"Validation error for validation_state: model '{verdict.model_id}' is not executable"
        f' because asset validation_state is "{state}"',
        hint=hint,
        data=data,
    )


def _hint(errors: tuple[AssetValidationError, ...], *, settling: bool) -> str:
    if settling:
        return "the bundle is being written right now; ask again in a moment"
    if not errors:
        return "the record does not say valid yet; `pumas-agent reconcile` looks again and commits what is found"
    shown = "; ".join(error.message for error in errors[:3])
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""  # noqa: PLR2004  as many as are shown
    return f"{shown}{more}; it becomes executable by itself once that is mended"
