"""The public types, as a program that uses them sees them. Checked by mypy; never run."""

from pathlib import Path
from typing import Any, assert_type

from pumas_agent.client import AgentClient, AsyncAgentClient
from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, BundleReport, ComponentState
from pumas_agent.contracts.dependencies import (
    DependencyBindingRequirements,
    DependencyRequirement,
    DependencyRequirementsResolution,
    DependencyValidationError,
    DependencyValidationState,
    PinAudit,
)
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor, Refusal
from pumas_agent.contracts.errors import AssetNotValid, PumasError, error_from_answer
from pumas_agent.contracts.events import Event
from pumas_agent.contracts.health import Alert, AlertCode, Severity
from pumas_agent.contracts.imports import ImportStatus, ModelImportResult
from pumas_agent.contracts.metadata import (
    AssetValidationState,
    BundleFormat,
    FieldFinding,
    ImportState,
    ModelMetadata,
    StorageKind,
)
from pumas_agent.contracts.records import AgentStatus, ModelDetails, ModelList, ModelRow, UpdateEvent, UpdateFeed
from pumas_agent.contracts.rpc import METHODS, Access, MethodContract, default_socket_path


def show(stage: str, done: int, total: int | None, unit: str) -> None: ...


def blocking_client() -> None:
    with AgentClient(Path("agent.sock"), timeout=1.5) as agent:
        assert_type(agent, AgentClient)
        assert_type(agent.socket_path, Path)
        assert_type(agent.descriptor("diffusion/acme/whole"), ModelExecutionDescriptor)
        assert_type(agent.list_models(limit=10, storage_kind=StorageKind.EXTERNAL_REFERENCE), ModelList)
        assert_type(agent.call("agent.status"), dict[str, Any])
        assert_type(agent.call("reconcile", on_progress=show, model_id=None), dict[str, Any])
        assert_type(next(agent.events(["alerts"])), Event)
        agent.list_models(colour="red")  # type: ignore[call-arg]
    AgentClient("agent.sock").close()
    AgentClient()


async def asyncio_client() -> None:
    async with AsyncAgentClient() as agent:
        assert_type(agent, AsyncAgentClient)
        assert_type(await agent.descriptor("diffusion/acme/whole"), ModelExecutionDescriptor)
        assert_type(await agent.list_models(tags=("photo",)), ModelList)
        assert_type(await agent.call("agent.health"), dict[str, Any])
        async for event in agent.events(["models"], "model-library-updates:1"):
            assert_type(event.update, UpdateEvent | None)
            assert_type(event.alert, Alert | None)
        await agent.close()


def descriptor(given: ModelExecutionDescriptor, refused: Refusal) -> None:
    assert_type(given.execution_contract_version, int)
    assert_type(given.model_id, str)
    assert_type(given.entry_path, str)
    assert_type(given.storage_kind, StorageKind)
    assert_type(given.validation_state, AssetValidationState)
    assert_type(given.bundle_format, BundleFormat | None)
    assert_type(given.components, tuple[BundleComponent, ...] | None)
    assert_type(given.runtime_engine_hints, tuple[str, ...])
    assert_type(given.dependency_resolution, dict[str, Any] | None)
    assert_type(given.load_variant, str | None)
    assert_type(given.generation, int)
    assert_type(refused.validation_errors, tuple[AssetValidationError, ...])
    assert_type(refused.settling, bool)
    given.entry_path = "/elsewhere"  # type: ignore[misc]


def dependencies(needed: DependencyRequirementsResolution, audit: PinAudit) -> None:
    assert_type(needed.validation_state, DependencyValidationState)
    assert_type(needed.validation_errors, tuple[DependencyValidationError, ...])
    assert_type(needed.bindings, tuple[DependencyBindingRequirements, ...])
    assert_type(needed.bindings[0].requirements, tuple[DependencyRequirement, ...])
    assert_type(needed.bindings[0].env_id, str | None)
    assert_type(audit.issues[0].suggestion, str | None)


def errors(answer: dict[str, Any]) -> None:
    error = error_from_answer(answer)
    assert_type(error, PumasError)
    assert_type(error.code, str)
    assert_type(error.hint, str | None)
    if isinstance(error, AssetNotValid):
        assert_type(error.findings, list[dict[str, Any]])
        assert_type(error.validation_state, str | None)
        assert_type(error.settling, bool)


def bundle(report: BundleReport, component: BundleComponent) -> None:
    assert_type(report.is_valid, bool)
    assert_type(report.findings, tuple[AssetValidationError, ...])
    assert_type(report.pipeline_class, str | None)
    assert_type(component.state, ComponentState)


def rows(row: ModelRow, details: ModelDetails, feed: UpdateFeed, status: AgentStatus) -> None:
    assert_type(row.official_name, str)
    assert_type(row.validation_state, AssetValidationState | None)
    assert_type(details.metadata_findings, tuple[FieldFinding, ...])
    assert_type(feed.events, tuple[UpdateEvent, ...])
    assert_type(status.alerts, tuple[Alert, ...])
    assert_type(status.alerts[0].code, AlertCode)
    assert_type(status.alerts[0].severity, Severity)


def metadata(document: dict[str, Any], result: ModelImportResult) -> None:
    record, findings = ModelMetadata.parse(document)
    assert_type(record, ModelMetadata)
    assert_type(findings, tuple[FieldFinding, ...])
    assert_type(record.to_document(), dict[str, Any])
    assert_type(record.effective_import_state, ImportState)
    assert_type(result.status, ImportStatus)
    assert_type(result.model_id, str | None)


def methods() -> None:
    assert_type(METHODS, dict[str, MethodContract])
    assert_type(METHODS["agent.hello"].access, Access)
    assert_type(default_socket_path(), Path)
