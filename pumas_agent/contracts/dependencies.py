"""The dependency contract's own vocabulary: profiles, bindings, requirements, audit.

It speaks of packages and borrows no word from the asset's: `contracts/metadata.py` is not imported here.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from pumas_agent.contracts.model import Contract, is_absent

DEPENDENCY_CONTRACT_VERSION = 1
REQUIRED_CORE = "required_core"
"""The kind of binding without which a model does not run at all."""

_Id = Annotated[str, Field(min_length=1, max_length=1024)]
_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"\S")]
_Version = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Priority = Annotated[int, Field(ge=0, le=1_000_000)]


class DependencyValidationState(StrEnum):
    """How well requirements could be resolved, from best to worst."""

    RESOLVED = "resolved"
    UNKNOWN_PROFILE = "unknown_profile"
    INVALID_PROFILE = "invalid_profile"
    PROFILE_CONFLICT = "profile_conflict"


class DependencyErrorCode(StrEnum):
    """What can be wrong with requirements."""

    DECLARED_BINDINGS_UNRESOLVED = "declared_bindings_unresolved"
    UNKNOWN_PROFILE = "unknown_profile"
    INVALID_PROFILE = "invalid_profile"
    UNPINNED_DEPENDENCY = "unpinned_dependency"
    MODALITY_RESOLUTION_UNKNOWN = "modality_resolution_unknown"
    PROFILE_CONFLICT = "profile_conflict"


class DependencyErrorScope(StrEnum):
    """What an error is about: the whole answer, or one binding."""

    TOP_LEVEL = "top_level"
    BINDING = "binding"


class DependencyValidationError(Contract):
    """One thing that is wrong. Every key is always there."""

    code: DependencyErrorCode
    scope: DependencyErrorScope
    binding_id: str | None
    field: str | None
    message: str


class DependencyRequirement(Contract):
    """One package, pinned. What a profile does not say of it is left out."""

    kind: str = "python_package"
    name: str
    exact_pin: str
    index_url: str | None = Field(default=None, exclude_if=is_absent)
    extra_index_urls: tuple[str, ...] = Field(default=(), exclude_if=is_absent)
    markers: str | None = Field(default=None, exclude_if=is_absent)
    python_requires: str | None = Field(default=None, exclude_if=is_absent)
    platform_constraints: tuple[str, ...] = Field(default=(), exclude_if=is_absent)
    hashes: tuple[str, ...] = Field(default=(), exclude_if=is_absent)
    source: str | None = Field(default=None, exclude_if=is_absent)


class DependencyBindingRequirements(Contract):
    """One binding that applies, and what its profile asks for."""

    binding_id: str
    profile_id: str
    profile_version: int
    profile_hash: str | None
    backend_key: str | None
    platform_selector: str | None
    environment_kind: str | None
    env_id: str | None = Field(description="Names the environment to make or to use again; null unless resolved.")
    validation_state: DependencyValidationState
    validation_errors: tuple[DependencyValidationError, ...] = ()
    requirements: tuple[DependencyRequirement, ...] = ()


class DependencyRequirementsResolution(Contract):
    """What packages a model needs on a platform."""

    model_id: str
    platform_key: str
    backend_key: str | None
    dependency_contract_version: int = DEPENDENCY_CONTRACT_VERSION
    validation_state: DependencyValidationState = Field(description="The worst of the bindings that apply.")
    validation_errors: tuple[DependencyValidationError, ...] = ()
    bindings: tuple[DependencyBindingRequirements, ...] = ()


class DependencyProfileParams(Contract):
    """A profile to store: a set of pinned packages with a name and a version."""

    profile_id: _Name
    profile_version: _Version
    environment_kind: _Name
    spec: dict[str, Any] = Field(description="`python_packages`, `pin_policy`, `binding_modality_overrides`.")
    profile_hash: str | None = Field(default=None, description="Ignored: the hash is always worked out here.")


class DependencyProfile(Contract):
    """A stored profile. What is stored under an id and a version never changes."""

    profile_id: str
    profile_version: int
    profile_hash: str
    environment_kind: str
    created: bool = Field(description="False when the very same profile was stored before.")


class BindParams(Contract):
    """Which model needs which profile, and when."""

    model_id: _Id
    profile_id: _Name
    profile_version: _Version
    binding_kind: _Name = REQUIRED_CORE
    backend_key: str | None = Field(default=None, max_length=128, description="Any backend when null.")
    platform_selector: str | None = Field(
        default=None, max_length=512, description="Platforms, separated by `,` or `|`; any when null or `*`."
    )
    priority: _Priority = 100
    binding_id: _Name | None = Field(
        default=None, description="Made from the model, the profile, the kind, the backend and the selector when null."
    )
    attached_by: _Name = "pumas-agent"


class UnbindParams(Contract):
    """Which binding of which model no longer applies."""

    model_id: _Id
    binding_id: _Name
    actor: _Name = "pumas-agent"


class DependencyBinding(Contract):
    """A binding as it is stored."""

    binding_id: str
    model_id: str
    profile_id: str
    profile_version: int
    binding_kind: str
    backend_key: str | None
    platform_selector: str | None
    status: str = Field(description="`active`, or `deprecated` when it no longer applies.")
    priority: int
    attached_by: str | None
    attached_at: str


class PinIssue(Contract):
    """A binding whose profile does not say exactly which packages it needs."""

    model_id: str
    binding_id: str
    profile_id: str
    profile_version: int
    code: DependencyErrorCode
    message: str
    suggestion: str | None = Field(description="A line for the profile, with the version to fill in.")


class BindingChange(Contract):
    """What came of binding or unbinding."""

    binding: DependencyBinding
    changed: bool = Field(description="False when it was so before; then nothing was written.")
    issues: tuple[PinIssue, ...] = Field(description="What an audit finds wrong with this binding.")


class PinAudit(Contract):
    """What the audit looked at, and what it found."""

    models: int = Field(description="Models with active bindings.")
    bindings: int = Field(description="Active bindings.")
    issues: tuple[PinIssue, ...]
