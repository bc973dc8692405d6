"""Which packages a model needs on a platform, for a backend.

Owns the answer to that question, in the dependency contract's words. Pure over what the catalog holds: it reads no file
and no index, and knows nothing of asset health. It answers for whatever is stored, and never fails.
"""

from collections.abc import Iterable, Sequence

from pumas_agent.contracts.dependencies import (
    DependencyBindingRequirements,
    DependencyErrorCode,
    DependencyErrorScope,
    DependencyRequirementsResolution,
    DependencyValidationError,
    DependencyValidationState,
)
from pumas_agent.dependencies.checks import CheckedBinding, Flaw, check_binding, key_of
from pumas_agent.dependencies.platforms import Platform, Selector
from pumas_agent.library import BindingRow, CatalogEntry, DependencyBook

_SEVERITY = list(DependencyValidationState)
_ANY_BACKEND = "any"


def resolve_requirements(
    entry: CatalogEntry, book: DependencyBook, *, platform_context: str | None = None, backend: str | None = None
) -> DependencyRequirementsResolution:
    """What a model needs on a platform (this machine when null) for a backend (any when null)."""
    platform = Platform.here() if platform_context is None else Platform.of(platform_context)
    backend_key = key_of(backend)
    bound = book.active(entry.id)
    checked = [check_binding(row, entry, book) for row in bound if _applies(row, platform, backend_key)]
    conflicts = _conflicts(checked, platform, backend_key)
    bindings = tuple(_answer(found, conflicts.get(found.row.binding_id), platform, backend_key) for found in checked)
    unresolved = bool(bound) and not checked
    states = [DependencyValidationState.UNKNOWN_PROFILE] if unresolved else [item.validation_state for item in bindings]
    return DependencyRequirementsResolution(
        model_id=entry.id,
        platform_key=platform.key,
        backend_key=backend_key,
        validation_state=_worst(states),
        validation_errors=(_unresolved(entry.id, platform, backend_key),) if unresolved else (),
        bindings=bindings,
    )


def _applies(row: BindingRow, platform: Platform, backend_key: str | None) -> bool:
    own = key_of(row.backend_key)
    return (backend_key is None or own is None or own == backend_key) and Selector.of(row.platform_selector).matches(
        platform
    )


def _conflicts(checked: Sequence[CheckedBinding], platform: Platform, backend_key: str | None) -> dict[str, Flaw]:
    """Bindings that ask for different profiles in one environment, by id, each with the others it is in conflict with.

    Two bindings that no machine is meant by at once, such as `linux-x86_64` and `linux-aarch64`, are in none.
    """
    found: dict[str, Flaw] = {}
    for one in checked:
        others = [
            other.row.binding_id
            for other in checked
            if _environment(one, backend_key) == _environment(other, backend_key) is not None
            and _hash(one) != _hash(other)
            and Selector.of(one.row.platform_selector).overlaps(Selector.of(other.row.platform_selector), platform)
        ]
        if others:
            found[one.row.binding_id] = Flaw(
                DependencyErrorCode.PROFILE_CONFLICT,
                DependencyValidationState.PROFILE_CONFLICT,
                "profile_hash",
                f"{one.row.binding_id} asks for another profile in the same environment than {', '.join(others)}",
            )
    return found


def _environment(checked: CheckedBinding, backend_key: str | None) -> tuple[str, str] | None:
    """What has to hold one profile only: a kind of environment for a backend. None without a profile."""
    profile = checked.profile
    if profile is None or profile.hash is None:
        return None
    return profile.environment_kind, _backend(checked.row, backend_key)


def _hash(checked: CheckedBinding) -> str | None:
    return checked.profile.hash if checked.profile else None


def _backend(row: BindingRow, backend_key: str | None) -> str:
    return key_of(row.backend_key) or backend_key or _ANY_BACKEND


def _answer(
    checked: CheckedBinding, conflict: Flaw | None, platform: Platform, backend_key: str | None
) -> DependencyBindingRequirements:
    row, profile = checked.row, checked.profile
    flaws = (*checked.flaws, *([conflict] if conflict else ()))
    state = _worst(flaw.state for flaw in flaws)
    env_id = None
    if profile is not None and state is DependencyValidationState.RESOLVED:
        backend = _backend(row, backend_key)
        env_id = ":".join(
            (
                profile.environment_kind,
                row.profile_id,
                str(row.profile_version),
                str(profile.hash),
                platform.key,
                backend,
            )
        )
    return DependencyBindingRequirements(
        binding_id=row.binding_id,
        profile_id=row.profile_id,
        profile_version=row.profile_version,
        profile_hash=_hash(checked),
        backend_key=key_of(row.backend_key),
        platform_selector=key_of(row.platform_selector),
        environment_kind=profile.environment_kind if profile else None,
        env_id=env_id,
        validation_state=state,
        validation_errors=tuple(_error(flaw, row.binding_id) for flaw in flaws),
        requirements=profile.requirements if profile else (),
    )


def _worst(states: Iterable[DependencyValidationState]) -> DependencyValidationState:
    return max(states, key=_SEVERITY.index, default=DependencyValidationState.RESOLVED)


def _error(flaw: Flaw, binding_id: str) -> DependencyValidationError:
    return DependencyValidationError(
        code=flaw.code,
        scope=DependencyErrorScope.BINDING,
        binding_id=binding_id,
        field=flaw.field,
        message=flaw.message,
    )


def _unresolved(model_id: str, platform: Platform, backend_key: str | None) -> DependencyValidationError:
    return DependencyValidationError(
        code=DependencyErrorCode.DECLARED_BINDINGS_UNRESOLVED,
        scope=DependencyErrorScope.TOP_LEVEL,
        binding_id=None,
        field="dependency_bindings",
        message=f"{model_id} has dependency bindings, but none for platform {platform.key}"
        f" and backend {backend_key or _ANY_BACKEND}",
    )
