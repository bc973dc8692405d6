"""The dependency contract's own vocabulary. It speaks of packages and borrows no word from the asset's."""

from enum import StrEnum
from typing import Any

from pumas_agent.contracts.model import Contract

DEPENDENCY_CONTRACT_VERSION = 1


class DependencyValidationState(StrEnum):
    """How well requirements could be resolved, from best to worst."""

    RESOLVED = "resolved"
    UNKNOWN_PROFILE = "unknown_profile"
    INVALID_PROFILE = "invalid_profile"
    PROFILE_CONFLICT = "profile_conflict"


class DependencyRequirementsResolution(Contract):
    """What packages a model needs on a platform."""

    model_id: str
    platform_key: str
    backend_key: str | None
    dependency_contract_version: int = DEPENDENCY_CONTRACT_VERSION
    validation_state: DependencyValidationState
    validation_errors: tuple[dict[str, Any], ...] = ()
    bindings: tuple[dict[str, Any], ...] = ()
