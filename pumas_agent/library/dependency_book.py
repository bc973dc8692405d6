"""Profiles and bindings in memory, as the last commit left them: what a descriptor is prepared from.

Filled at start and by every commit after it; read by the event loop without a lock. What it holds never changes, and
is replaced whole, so that a reader sees the old bindings of a model or the new ones.
"""

from collections.abc import Iterable
from dataclasses import replace

from pumas_agent.contracts.metadata import DependencyBindingRef
from pumas_agent.library.dependency_tables import BindingRow, ProfileRow


class DependencyBook:
    """All profiles, and all bindings by model."""

    def __init__(self) -> None:
        self._profiles: dict[tuple[str, int], ProfileRow] = {}
        self._bindings: dict[str, BindingRow] = {}
        self._of_model: dict[str, tuple[BindingRow, ...]] = {}

    def load(self, profiles: Iterable[ProfileRow], bindings: Iterable[BindingRow]) -> None:
        """Fill it, at start."""
        for profile in profiles:
            self.put_profile(profile)
        for binding in bindings:
            self.put_binding(binding)

    def put_profile(self, row: ProfileRow) -> None:
        """What a commit stored."""
        self._profiles[row.profile_id, row.profile_version] = row

    def put_binding(self, row: BindingRow) -> None:
        """What a commit stored."""
        others = (other for other in self._of_model.get(row.model_id, ()) if other.binding_id != row.binding_id)
        self._bindings[row.binding_id] = row
        self._of_model[row.model_id] = tuple(sorted((*others, row), key=lambda binding: binding.order))

    def forget(self, model_id: str) -> None:
        """The model was removed, and its bindings with it."""
        for row in self._of_model.pop(model_id, ()):
            self._bindings.pop(row.binding_id, None)

    def rename(self, old_id: str, new_id: str) -> None:
        """The model has another id, and its bindings went along."""
        for row in self._of_model.get(old_id, ()):
            self.put_binding(replace(row, model_id=new_id))
        self._of_model.pop(old_id, None)

    def profiles(self) -> list[ProfileRow]:
        """All profiles."""
        return list(self._profiles.values())

    def profile(self, profile_id: str, version: int) -> ProfileRow | None:
        """One profile."""
        return self._profiles.get((profile_id, version))

    def binding(self, binding_id: str) -> BindingRow | None:
        """One binding, whether it applies or not."""
        return self._bindings.get(binding_id)

    def active(self, model_id: str) -> tuple[BindingRow, ...]:
        """The bindings of a model that apply, in their order."""
        return tuple(row for row in self._of_model.get(model_id, ()) if row.is_active)

    def all_active(self) -> list[BindingRow]:
        """The bindings of all models that apply, model by model."""
        return [row for model_id in sorted(self._of_model) for row in self.active(model_id)]

    def knows(self, model_id: str) -> bool:
        """Whether the model has, or had, any binding here."""
        return model_id in self._of_model

    def refs(self, model_id: str) -> list[DependencyBindingRef] | None:
        """What the model's record says of its bindings: null when none applies."""
        return [row.ref for row in self.active(model_id)] or None
