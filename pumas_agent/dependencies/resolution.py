"""Which packages a model needs.

Owns the answer to that question, in the dependency contract's words. It knows nothing of files or of asset health.
A model without active bindings is resolved and needs nothing; the bindings of a model that has some, made by another
program, are not worked out here, and the answer says so rather than that nothing is needed.
"""

import sys

from pumas_agent.contracts.dependencies import DependencyRequirementsResolution, DependencyValidationState


def platform_key() -> str:
    """This machine's platform as requirements name it: `linux`, `macos` or `windows`."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)


def resolve_requirements(
    model_id: str, *, has_bindings: bool, platform_context: str | None = None, backend: str | None = None
) -> DependencyRequirementsResolution:
    """What a model needs on a platform (this one when null) for a backend (any when null)."""
    key = platform_key() if platform_context is None else platform_context.strip().lower() or "unknown"
    backend_key = (backend or "").strip().lower() or None
    if not has_bindings:
        return DependencyRequirementsResolution(
            model_id=model_id,
            platform_key=key,
            backend_key=backend_key,
            validation_state=DependencyValidationState.RESOLVED,
        )
    return DependencyRequirementsResolution(
        model_id=model_id,
        platform_key=key,
        backend_key=backend_key,
        validation_state=DependencyValidationState.UNKNOWN_PROFILE,
        validation_errors=(
            {
                "code": "declared_bindings_unresolved",
                "scope": "top_level",
                "binding_id": None,
                "field": "dependency_bindings",
                "message": f"the dependency bindings of {model_id} cannot be resolved by this version of the agent",
            },
        ),
    )
