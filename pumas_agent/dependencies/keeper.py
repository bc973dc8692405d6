"""DependencyKeeper: profiles and bindings as methods, audit included.

Owns how what was asked becomes a row: spelling, hashes, ids. The rules of profiles are in spec.py, the commits are the
store's.
"""

import hashlib
import json
from dataclasses import asdict, replace

from pumas_agent.contracts.dependencies import (
    BindingChange,
    BindParams,
    DependencyBinding,
    DependencyProfile,
    DependencyProfileParams,
    DependencyRequirementsResolution,
    PinAudit,
    PinIssue,
    UnbindParams,
)
from pumas_agent.contracts.errors import DependencyBindingNotFound, InvalidParams, ModelNotFound
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.dependencies.checks import check_binding, key_of
from pumas_agent.dependencies.profiles import stored_profile
from pumas_agent.dependencies.resolution import resolve_requirements
from pumas_agent.dependencies.spec import parse_spec
from pumas_agent.library import ACTIVE, DEPRECATED, BindingRow, CatalogEntry, Library, ModelStore, ProfileRow


class DependencyKeeper:
    """Stores profiles and bindings of one library, and says what its models need."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._book = library.catalog.dependencies

    async def prepare(self) -> None:
        """Parse what is stored, once and off the event loop, on which descriptors are prepared from it."""
        await self._library.read(lambda _: [stored_profile(row) for row in self._book.profiles()])

    async def upsert_profile(self, params: DependencyProfileParams) -> DependencyProfile:
        """Store a profile under its id and version. Once stored it never changes; storing it again changes nothing.

        Raises:
            InvalidDependencyProfile, InvalidDependencyPin: the specification breaks a rule.
            DependencyProfileImmutable: another profile is stored under that id and version.
            LibraryUnwritable: nothing was stored.
        """
        return await self._library.write(lambda store: _store_profile(store, params))

    async def bind(self, params: BindParams) -> BindingChange:
        """Say that a model needs a profile. The same again changes nothing; another version takes the place of one.

        Raises:
            ModelNotFound, MetadataUnreadable: the model has no record that could say so.
            DependencyProfileNotFound: no such profile.
            DependencyBindingTaken: the id is that of another model's binding.
            LibraryUnwritable: nothing was stored.
        """
        self._entry(params.model_id)
        row = _row_of(params)
        changed = await self._library.write(lambda store: store.dependencies.put_binding(row, params.attached_by))
        return self._change(row, changed=changed)

    async def unbind(self, params: UnbindParams) -> BindingChange:
        """Say that a binding no longer applies. It stays, deprecated, with its history; binding again takes it up.

        Raises:
            ModelNotFound, MetadataUnreadable: the model has no record that could say so.
            DependencyBindingNotFound: the model has no such binding.
            LibraryUnwritable: the binding applies as before.
        """
        self._entry(params.model_id)

        def deprecate(store: ModelStore) -> tuple[BindingRow, bool]:
            row = self._book.binding(params.binding_id)
            if row is None or row.model_id != params.model_id:
                raise DependencyBindingNotFound(
                    f"{params.model_id} has no dependency binding {params.binding_id}",
                    hint="`pumas-agent deps show` lists its bindings",
                )
            gone = replace(row, status=DEPRECATED)
            return gone, store.dependencies.put_binding(gone, params.actor)

        row, changed = await self._library.write(deprecate)
        return self._change(row, changed=changed)

    def resolve(
        self, model_id: str, platform_context: str | None, backend_key: str | None
    ) -> DependencyRequirementsResolution:
        """Which packages a model needs.

        Raises:
            ModelNotFound: no such model.
        """
        entry = self._entry(model_id)
        return resolve_requirements(entry, self._book, platform_context=platform_context, backend=backend_key)

    async def audit(self) -> PinAudit:
        """Hold every active binding against the rules about pins. Writes nothing."""
        return await self._library.read(lambda _: self._audited())

    def _audited(self) -> PinAudit:
        rows = [row for row in self._book.all_active() if self._library.catalog.get(row.model_id) is not None]
        issues = [issue for row in rows for issue in self._issues(row)]
        return PinAudit(models=len({row.model_id for row in rows}), bindings=len(rows), issues=tuple(issues))

    def _issues(self, row: BindingRow) -> list[PinIssue]:
        entry = self._library.catalog.get(row.model_id)
        flaws = check_binding(row, entry, self._book).flaws if entry is not None and row.is_active else ()
        return [
            PinIssue(
                model_id=row.model_id,
                binding_id=row.binding_id,
                profile_id=row.profile_id,
                profile_version=row.profile_version,
                code=flaw.code,
                message=flaw.message,
                suggestion=f"{flaw.unpinned}==<pin-me>" if flaw.unpinned else None,
            )
            for flaw in flaws
        ]

    def _change(self, row: BindingRow, *, changed: bool) -> BindingChange:
        stored = self._book.binding(row.binding_id) or row
        binding = DependencyBinding.model_validate(asdict(stored))
        return BindingChange(binding=binding, changed=changed, issues=tuple(self._issues(stored)))

    def _entry(self, model_id: str) -> CatalogEntry:
        entry = self._library.catalog.get(model_id)
        if entry is None:
            raise ModelNotFound(f"Model not found: {model_id}", hint="`pumas-agent list` shows the ids of all models")
        return entry


def _store_profile(store: ModelStore, params: DependencyProfileParams) -> DependencyProfile:
    """On the writer's thread: a specification may be large, and hashing it takes its time."""
    kind = key_of(params.environment_kind) or ""
    spec = parse_spec(params.spec, kind)
    row = ProfileRow(params.profile_id.strip(), params.profile_version, spec.hash, kind, spec.text, utc_now())
    created = store.dependencies.put_profile(row)
    stored_profile(row)  # parsed here, as in `prepare`
    return DependencyProfile(
        profile_id=row.profile_id,
        profile_version=row.profile_version,
        profile_hash=spec.hash,
        environment_kind=kind,
        created=created,
    )


def _row_of(params: BindParams) -> BindingRow:
    profile_id = params.profile_id.strip()
    kind, backend, selector = (
        key_of(params.binding_kind),
        key_of(params.backend_key),
        key_of(params.platform_selector),
    )
    if kind is None:
        raise InvalidParams("parameter 'binding_kind' is blank")
    made = json.dumps([params.model_id, profile_id, kind, backend, selector], ensure_ascii=False)
    return BindingRow(
        binding_id=(params.binding_id or f"{profile_id}-{hashlib.sha256(made.encode()).hexdigest()[:16]}").strip(),
        model_id=params.model_id,
        profile_id=profile_id,
        profile_version=params.profile_version,
        binding_kind=kind,
        backend_key=backend,
        platform_selector=selector,
        status=ACTIVE,
        priority=params.priority,
        attached_by=params.attached_by.strip(),
        attached_at=utc_now(),
    )
