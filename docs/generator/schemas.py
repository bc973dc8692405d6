"""JSON Schemas of everything that crosses a border. Owns which contracts have a file, and what a schema says of a key.

Answers are described as they are sent: a key that is always written is required, whether it has a default or not.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core.core_schema import CoreSchema

from pumas_agent.contracts import (
    bundles,
    dependencies,
    descriptor,
    discovery,
    doctor,
    errors,
    events,
    explanation,
    health,
    imports,
    mapping,
    metadata,
    metrics,
    records,
    rpc,
    selector,
    verification,
)

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILES: dict[str, type[BaseModel]] = {
    "metadata": metadata.ModelMetadata,
    "execution-descriptor": descriptor.ModelExecutionDescriptor,
    "descriptor-batch": descriptor.DescriptorBatch,
    "refusal": descriptor.Refusal,
    "dependency-requirements": dependencies.DependencyRequirementsResolution,
    "pin-audit": dependencies.PinAudit,
    "bundle-report": bundles.BundleReport,
    "discovery-report": discovery.DiscoveryReport,
    "model-import-result": imports.ModelImportResult,
    "unregister-result": imports.UnregisterResult,
    "mapping-preview": mapping.MappingPreview,
    "mapping-result": mapping.MappingResult,
    "link-health": mapping.LinkHealth,
    "model-links": mapping.ModelLinks,
    "mapping-config": mapping.MappingConfig,
    "model-row": records.ModelRow,
    "model-details": records.ModelDetails,
    "model-list": records.ModelList,
    "search-result": records.SearchResult,
    "selector-snapshot": selector.SelectorSnapshot,
    "library-status": records.LibraryStatus,
    "update-feed": records.UpdateFeed,
    "reconcile-report": records.ReconcileReport,
    "reindex-report": records.ReindexReport,
    "model-explanation": explanation.ModelExplanation,
    "verify-report": verification.VerifyReport,
    "agent-status": records.AgentStatus,
    "health-report": records.HealthReport,
    "alert": health.Alert,
    "doctor-report": doctor.DoctorReport,
    "progress": rpc.Progress,
    "event": events.Event,
    "metrics-report": metrics.MetricsReport,
}


class _AsSent(GenerateJsonSchema):
    """A key that is always written is required, one that may be left out is not. No titles that repeat the key."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Of an answer: whether it is always there. Of parameters: whether the caller has to give it."""
        if self.mode == "serialization":
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:  # noqa: ARG002  pydantic's signature
        """Never."""
        return False


def all_schemas() -> dict[str, Schema]:
    """Every schema by the name of its file."""
    single = {name: _whole(model) for name, model in _FILES.items()}
    return {**single, "rpc": _rpc(), "errors": _errors()}


def as_text(schema: Schema) -> str:
    """A schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def definitions(*, sent: Sequence[type[BaseModel]], taken: Sequence[type[BaseModel]]) -> dict[str, Schema]:
    """The schemas of these and of all they are made of, by the name of the class."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "serialization") for model in sent),
        *((model, "validation") for model in taken),
    ]
    _, whole = models_json_schema(wanted, schema_generator=_AsSent)
    found: dict[str, Schema] = whole["$defs"]
    return found


def _whole(model: type[BaseModel]) -> Schema:
    return {"$schema": DIALECT, **model.model_json_schema(mode="serialization", schema_generator=_AsSent)}


def _rpc() -> Schema:
    """Every method with its parameters and its result. Not a schema of one document: its parts are."""
    methods = rpc.METHODS.values()
    defs = definitions(
        sent=[*(method.result for method in methods), descriptor.Refusal, rpc.Progress, rpc.RpcError, events.Event],
        taken=[method.params for method in methods],
    )
    return {
        "$schema": DIALECT,
        "title": "Methods of the pumas-agent socket",
        "methods": {
            method.name: {
                "summary": method.summary,
                "access": method.access.value,
                "params": {"$ref": f"#/$defs/{method.params.__name__}"},
                "result": {"$ref": f"#/$defs/{method.result.__name__}"},
            }
            for method in methods
        },
        "$defs": defs,
    }


def _errors() -> Schema:
    """Every error with its numbers, and the schema of `error.data.code`."""
    return {
        "$schema": DIALECT,
        "title": "Error codes",
        "enum": [error.code for error in contract_errors()],
        "errors": {
            error.code: {"rpc_code": error.rpc_code, "exit_code": error.exit_code} for error in contract_errors()
        },
    }


def contract_errors() -> list[type[errors.PumasError]]:
    """The errors of the contract, in the order they stand in. The root of the tree is none: it shares a code."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PumasError) and kind is not errors.PumasError
    ]
