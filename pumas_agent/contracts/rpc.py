"""The methods of the socket: names, parameters, results, who may call them, and the envelope around them.

JSON-RPC 2.0, one UTF-8 JSON object a line, over a Unix stream socket. Named parameters only, unknown ones are refused.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, FailFast, Field

from pumas_agent.contracts.classification import ClassificationReport, ClassifyParams
from pumas_agent.contracts.dependencies import (
    BindingChange,
    BindParams,
    DependencyProfile,
    DependencyProfileParams,
    DependencyRequirementsResolution,
    PinAudit,
    UnbindParams,
)
from pumas_agent.contracts.descriptor import DescriptorBatch, ModelExecutionDescriptor, PathsAs
from pumas_agent.contracts.discovery import DiscoverParams, DiscoveryReport
from pumas_agent.contracts.doctor import DoctorReport
from pumas_agent.contracts.events import Subscribed, SubscribeParams, Unsubscribed, UnsubscribeParams
from pumas_agent.contracts.explanation import ModelExplanation
from pumas_agent.contracts.imports import (
    AdoptionReport,
    DeleteParams,
    DeleteResult,
    EditParams,
    EditResult,
    ExternalBundleSpec,
    ImportBatchParams,
    ImportBatchResult,
    InPlaceImportSpec,
    ModelImportResult,
    ModelImportSpec,
    UnregisterResult,
)
from pumas_agent.contracts.mapping import (
    ApplyMappingParams,
    AppParams,
    CleanedLinks,
    LinkExclusionParams,
    LinkExclusions,
    LinkExclusionSet,
    LinkHealth,
    MappingParams,
    MappingPreview,
    MappingResult,
    ModelLinks,
)
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, StorageKind
from pumas_agent.contracts.metrics import MetricsReport
from pumas_agent.contracts.model import Contract
from pumas_agent.contracts.records import (
    AgentStatus,
    HealthReport,
    LibraryStatus,
    ModelDetails,
    ModelList,
    ReconcileReport,
    ReindexReport,
    SearchResult,
    UpdateFeed,
)
from pumas_agent.contracts.relocation import (
    Accepted,
    Hold,
    HoldParams,
    Released,
    ReleaseParams,
    RelocateParams,
    Relocation,
)
from pumas_agent.contracts.selector import SelectorSnapshot
from pumas_agent.contracts.upkeep import (
    DuplicateReport,
    Reclassification,
    ReclassifyParams,
    RecordRepair,
    RepairParams,
)
from pumas_agent.contracts.verification import VerifyParams, VerifyReport

MAX_FRAME_IN = 1024 * 1024
MAX_FRAME_OUT = 16 * 1024 * 1024
SOCKET_PATH_MAX = 107
"""Bytes of a Unix socket's path, `sun_path` less its NUL (man 7 unix)."""

RequestId = int | str | None


class Access(StrEnum):
    """What a method may do, and so which peers may call it."""

    READ = "read"
    """Says what the library says."""
    LOOK = "look"
    """Looks, for its caller, at whatever the agent's user may look at, or works long: not for members of the group."""
    WRITE = "write"


ModelId = Annotated[str, Field(min_length=1, max_length=1024)]
Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0)]


def _whole_characters(text: object) -> object:
    """Without halves of surrogate pairs: JSON can say them and a person can paste them, and nothing is named so."""
    return text.encode("utf-8", "ignore").decode("utf-8") if isinstance(text, str) else text


SearchText = Annotated[str, BeforeValidator(_whole_characters), Field(max_length=4096)]


class NoParams(Contract):
    """A method without parameters."""


class ModelParams(Contract):
    """A method about one model."""

    model_id: ModelId


_PATHS_AS: Any = Field(
    default=PathsAs.HOST, description="Whose paths; `container`: as the setting `paths.map` names them there."
)


class DescriptorParams(ModelParams):
    """Which model, and which version of the contract the caller understands."""

    expected_execution_contract_version: int | None = None
    paths_as: PathsAs = _PATHS_AS


class DescriptorBatchParams(Contract):
    """Which models, in the order of the answer."""

    model_ids: Annotated[tuple[ModelId, ...], Field(max_length=1000), FailFast()]
    paths_as: PathsAs = _PATHS_AS


class DependencyParams(ModelParams):
    """For which platform and backend."""

    platform_context: str | None = Field(
        default=None, max_length=128, description="Such as `linux` or `linux-x86_64`; this machine when null."
    )
    backend_key: str | None = Field(default=None, max_length=128, description="Any backend when null.")


class FilterParams(Contract):
    """Filters come before paging: the total is of what matches."""

    limit: Limit = 100
    offset: Offset = 0
    model_type: str | None = None
    storage_kind: StorageKind | None = None
    bundle_format: BundleFormat | None = None
    validation_state: AssetValidationState | None = None
    tags: tuple[str, ...] = ()


class SearchParams(FilterParams):
    """Any text a person types."""

    query: SearchText
    limit: Limit = 50


class SelectorParams(FilterParams):
    """The filters of a list, a task, and a text that the id, a name or the repository has to hold as it stands."""

    search: SearchText | None = None
    task_type_primary: str | None = None


class UpdatesParams(Contract):
    """Where the caller stands in the feed; limit 0 means the default of 100."""

    cursor: str | None = None
    limit: Annotated[int, Field(ge=0, le=1000)] = 0


class ReconcileParams(Contract):
    """One model, or everything when null."""

    model_id: ModelId | None = None


class Thawed(Contract):
    """Whether anything was frozen."""

    thawed: bool


class CancelParams(Contract):
    """Which request of the same connection."""

    id: int | str


class Cancelled(Contract):
    """Whether a request with that id was under way and may be given up."""

    cancelled: bool


class HelloParams(Contract):
    """Who calls, and which methods it cannot do without."""

    client: str = Field(max_length=256)
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Hello(Contract):
    """Who answers."""

    agent: Literal["pumas-agent"] = "pumas-agent"
    version: str
    execution_contract_version: int
    dependency_contract_version: int
    methods: tuple[str, ...]
    missing: tuple[str, ...] = Field(description="Of the optional methods, those this agent does not have.")


@dataclass(frozen=True, slots=True)
class MethodContract:
    """One method of the socket."""

    name: str
    params: type[Contract]
    result: type[BaseModel]
    access: Access
    summary: str
    cancellable: bool = False
    """It writes, and leaves nothing behind when it is given up: its caller may go, or cancel it."""


METHODS: dict[str, MethodContract] = {
    method.name: method
    for method in (
        MethodContract(
            "resolve_model_execution_descriptor",
            DescriptorParams,
            ModelExecutionDescriptor,
            Access.READ,
            "What a runtime may execute now, and from where.",
        ),
        MethodContract(
            "resolve_model_execution_descriptors_batch",
            DescriptorBatchParams,
            DescriptorBatch,
            Access.READ,
            "The same for many models; each item has a descriptor or an error.",
        ),
        MethodContract(
            "resolve_model_dependency_requirements",
            DependencyParams,
            DependencyRequirementsResolution,
            Access.READ,
            "Which packages a model needs.",
        ),
        MethodContract("list_models", FilterParams, ModelList, Access.READ, "Rows, newest first."),
        MethodContract("search_models", SearchParams, SearchResult, Access.READ, "Rows that match a text, best first."),
        MethodContract(
            "model_library_selector_snapshot",
            SelectorParams,
            SelectorSnapshot,
            Access.READ,
            "Rows to choose from, by id, and where the feed of changes stood.",
        ),
        MethodContract("get_model", ModelParams, ModelDetails, Access.READ, "One model whole, with its findings."),
        MethodContract(
            "explain_model",
            ModelParams,
            ModelExplanation,
            Access.READ,
            "Why a model is in the state it is in, rule by rule.",
        ),
        MethodContract("get_library_status", NoParams, LibraryStatus, Access.READ, "The state of the library."),
        MethodContract(
            "list_model_library_updates_since", UpdatesParams, UpdateFeed, Access.READ, "What changed since a cursor."
        ),
        MethodContract(
            "verify",
            VerifyParams,
            VerifyReport,
            Access.LOOK,
            "Compare records, index and files with each other, and deep, files with their digests. Changes nothing.",
        ),
        MethodContract(
            "discover_bundles",
            DiscoverParams,
            DiscoveryReport,
            Access.LOOK,
            "Which bundles lie below some folders, and which of them are registered.",
        ),
        MethodContract(
            "import_external_diffusers_directory",
            ExternalBundleSpec,
            ModelImportResult,
            Access.WRITE,
            "Register a bundle where it lies.",
        ),
        MethodContract(
            "classify_model_import_paths",
            ClassifyParams,
            ClassificationReport,
            Access.LOOK,
            "What lies at some paths, and how it could be imported. Changes nothing.",
        ),
        MethodContract(
            "import_model",
            ModelImportSpec,
            ModelImportResult,
            Access.WRITE,
            "Copy a model file, a folder with one model, or a diffusers directory into the library.",
            cancellable=True,
        ),
        MethodContract(
            "import_models_batch",
            ImportBatchParams,
            ImportBatchResult,
            Access.WRITE,
            "The same for several, one after the other.",
            cancellable=True,
        ),
        MethodContract(
            "import_model_in_place",
            InPlaceImportSpec,
            ModelImportResult,
            Access.WRITE,
            "Make a folder that lies in the library a model.",
            cancellable=True,
        ),
        MethodContract(
            "adopt_orphan_models",
            NoParams,
            AdoptionReport,
            Access.WRITE,
            "Make models of the folders in the library that have no record.",
            cancellable=True,
        ),
        MethodContract(
            "delete_model_with_cascade",
            DeleteParams,
            DeleteResult,
            Access.WRITE,
            "Delete a model of the library's own with its files; an external one is only unregistered.",
        ),
        MethodContract(
            "reclassify_model",
            ReclassifyParams,
            Reclassification,
            Access.WRITE,
            "File a model of the library's own under its type and family. Without `apply` nothing is written.",
        ),
        MethodContract(
            "repair_model_record",
            RepairParams,
            RecordRepair,
            Access.WRITE,
            "Make a record that is gone or cannot be read again, from its backup or the index.",
        ),
        MethodContract(
            "list_duplicate_models",
            NoParams,
            DuplicateReport,
            Access.READ,
            "Which models may be there twice. Nothing is done about it.",
        ),
        MethodContract("update_model", EditParams, EditResult, Access.WRITE, "Change a model's name, tags or notes."),
        MethodContract(
            "relocate_external_model",
            RelocateParams,
            Relocation,
            Access.WRITE,
            "Say where a bundle is now; its id stays. Without `apply` nothing is written.",
        ),
        MethodContract(
            "unregister_external_model",
            ModelParams,
            UnregisterResult,
            Access.WRITE,
            "Forget an external bundle; its files stay.",
        ),
        MethodContract(
            "reconcile",
            ReconcileParams,
            ReconcileReport,
            Access.WRITE,
            "Look at the disk now and commit what is found.",
        ),
        MethodContract(
            "rebuild_model_index", NoParams, ReindexReport, Access.WRITE, "Make the index anew from the metadata files."
        ),
        MethodContract(
            "accept_bundle_change",
            ModelParams,
            Accepted,
            Access.WRITE,
            "Take the other bundle that stands at the path for the registered one.",
        ),
        MethodContract(
            "hold_bundle",
            HoldParams,
            Hold,
            Access.WRITE,
            "Say that a bundle is being written, for as long as the connection lasts.",
        ),
        MethodContract("release_bundle", ReleaseParams, Released, Access.WRITE, "Say that it is written."),
        MethodContract(
            "thaw", NoParams, Thawed, Access.WRITE, "Act on bundles that are gone, although many vanished together."
        ),
        MethodContract(
            "preview_model_mapping",
            MappingParams,
            MappingPreview,
            Access.READ,
            "Which links applying the mapping of an application would make. Nothing is written.",
        ),
        MethodContract(
            "apply_model_mapping",
            ApplyMappingParams,
            MappingResult,
            Access.WRITE,
            "Link files of the library into an application's folders. External references are never mapped.",
        ),
        MethodContract("get_link_health", NoParams, LinkHealth, Access.READ, "Which links work, and which do not."),
        MethodContract(
            "clean_broken_links", NoParams, CleanedLinks, Access.WRITE, "Remove the links that lead nowhere."
        ),
        MethodContract("get_links_for_model", ModelParams, ModelLinks, Access.READ, "Where a model is linked to."),
        MethodContract(
            "set_model_link_exclusion",
            LinkExclusionParams,
            LinkExclusionSet,
            Access.WRITE,
            "Leave a model out of an application's mapping, or take it in again.",
        ),
        MethodContract(
            "get_link_exclusions",
            AppParams,
            LinkExclusions,
            Access.READ,
            "The models that are left out of an application's mapping.",
        ),
        MethodContract(
            "upsert_dependency_profile",
            DependencyProfileParams,
            DependencyProfile,
            Access.WRITE,
            "Store a set of pinned packages under an id and a version, once and for all.",
        ),
        MethodContract(
            "bind_model_dependency", BindParams, BindingChange, Access.WRITE, "Say that a model needs a profile."
        ),
        MethodContract(
            "unbind_model_dependency",
            UnbindParams,
            BindingChange,
            Access.WRITE,
            "Say that a binding no longer applies; it stays, deprecated, with its history.",
        ),
        MethodContract(
            "audit_dependency_pin_compliance",
            NoParams,
            PinAudit,
            Access.READ,
            "Which bindings do not say exactly which packages are needed.",
        ),
        MethodContract("agent.hello", HelloParams, Hello, Access.READ, "Who is there, and what it can do."),
        MethodContract(
            "agent.cancel", CancelParams, Cancelled, Access.READ, "Give up another request of the same connection."
        ),
        MethodContract("agent.status", NoParams, AgentStatus, Access.READ, "The agent, its queue and its resources."),
        MethodContract("agent.health", NoParams, HealthReport, Access.READ, "The alerts that stand."),
        MethodContract(
            "agent.doctor",
            NoParams,
            DoctorReport,
            Access.LOOK,
            "Whether the machine, the library and the agent are as they have to be, and what to do. Changes nothing.",
        ),
        MethodContract(
            "agent.metrics", NoParams, MetricsReport, Access.READ, "What is measured, in the text format of Prometheus."
        ),
        MethodContract(
            "agent.subscribe",
            SubscribeParams,
            Subscribed,
            Access.READ,
            "Be sent alerts and changes of models, from a cursor on, for as long as the connection lasts.",
        ),
        MethodContract(
            "agent.unsubscribe", UnsubscribeParams, Unsubscribed, Access.READ, "Be sent no more of a subscription."
        ),
    )
}


def needs_agent(method: str) -> bool:
    """Whether only an agent can answer; every other method is done by the command itself when none runs."""
    return method.startswith("agent.") and method != "agent.doctor"


class Progress(Contract):
    """Params of a `progress` notification: how far the request with that id is."""

    id: RequestId
    stage: str
    done: int
    total: int | None
    unit: str


class RpcError(Contract):
    """The `error` of an answer."""

    code: int
    message: str
    data: dict[str, Any]


def default_socket_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the socket is when nobody said otherwise: the same for the agent and for every client.

    `PUMAS_AGENT_SOCKET`, else `$XDG_RUNTIME_DIR/pumas-agent/agent.sock`, else `~/.local/state/pumas-agent/agent.sock`
    (also on macOS, whose per-user temporary folder is too long for a socket's path).
    """
    environ = os.environ if environ is None else environ
    if named := environ.get("PUMAS_AGENT_SOCKET"):
        return Path(named).expanduser()
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime, "pumas-agent", "agent.sock")
    return Path(environ.get("HOME") or Path.home(), ".local", "state", "pumas-agent", "agent.sock")
