"""One binding, and what is wrong with it: the profile behind it, and the pins that its backend needs. Pure.

Resolution and audit both ask here, so that they never differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pumas_agent.contracts.dependencies import REQUIRED_CORE, DependencyErrorCode, DependencyValidationState
from pumas_agent.dependencies.modalities import UNSETTLED, modalities
from pumas_agent.dependencies.profiles import StoredProfile, stored_profile
from pumas_agent.library import BindingRow, CatalogEntry, DependencyBook

_PYTORCH = "pytorch"
_PINNED_KINDS = {REQUIRED_CORE, "required_custom"}
_BESIDE_TORCH = {"image": "torchvision", "audio": "torchaudio"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a binding."""

    code: DependencyErrorCode
    state: DependencyValidationState
    field: str
    message: str
    unpinned: str | None = None
    """The package whose version is missing."""


@dataclass(frozen=True, slots=True)
class CheckedBinding:
    """A binding, its profile when there is one, and what is wrong."""

    row: BindingRow
    profile: StoredProfile | None
    flaws: tuple[Flaw, ...]


def check_binding(row: BindingRow, entry: CatalogEntry, book: DependencyBook) -> CheckedBinding:
    """Look a binding's profile up and hold it against the rules."""
    stored = book.profile(row.profile_id, row.profile_version)
    if stored is None:
        return CheckedBinding(row, None, (_unknown(row),))
    profile = stored_profile(stored)
    if profile.fault is not None:
        return CheckedBinding(row, profile, (_invalid(row, profile.fault, profile.unpinned),))
    return CheckedBinding(row, profile, tuple(_missing_pins(row, entry, profile)))


def key_of(text: str | None) -> str | None:
    """A backend or a kind as it is compared: trimmed, in lower case; blank is none."""
    return (text or "").strip().lower() or None


def _missing_pins(row: BindingRow, entry: CatalogEntry, profile: StoredProfile) -> Iterator[Flaw]:
    """What a model that runs on PyTorch needs pinned: torch, and what comes with its modalities."""
    if key_of(row.backend_key) != _PYTORCH or key_of(row.binding_kind) not in _PINNED_KINDS:
        return
    override = profile.spec.override(row.binding_id) if profile.spec else ()
    found = modalities(override, entry.modalities, entry.task_type_primary)
    wanted = ["torch", *(name for modality, name in _BESIDE_TORCH.items() if modality in found)]
    for name in wanted:
        if name not in profile.names:
            yield Flaw(
                DependencyErrorCode.UNPINNED_DEPENDENCY,
                DependencyValidationState.INVALID_PROFILE,
                "python_packages",
                f"unpinned_dependency: a {_PYTORCH} binding of {entry.id} needs {name},"
                f" which profile {row.profile_id} version {row.profile_version} does not pin",
                name,
            )
    if not found or found & UNSETTLED:
        yield Flaw(
            DependencyErrorCode.MODALITY_RESOLUTION_UNKNOWN,
            DependencyValidationState.UNKNOWN_PROFILE,
            "input_modalities",
            f"neither the profile, the record nor the task of {entry.id} says which modalities it has,"
            " so whether it needs torchvision or torchaudio is not known",
        )


def _unknown(row: BindingRow) -> Flaw:
    return Flaw(
        DependencyErrorCode.UNKNOWN_PROFILE,
        DependencyValidationState.UNKNOWN_PROFILE,
        "profile_id",
        f"there is no dependency profile {row.profile_id} version {row.profile_version}",
    )


def _invalid(row: BindingRow, fault: str, unpinned: str | None) -> Flaw:
    return Flaw(
        DependencyErrorCode.INVALID_PROFILE,
        DependencyValidationState.INVALID_PROFILE,
        "spec_json",
        f"dependency profile {row.profile_id} version {row.profile_version} cannot be used: {fault}",
        unpinned,
    )
