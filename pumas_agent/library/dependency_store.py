"""The commits of dependency profiles and bindings: the part of `ModelStore` where the index is the truth.

A profile or a binding is in no file. A model's record repeats its active bindings, for whoever reads the record, so a
commit is, in this order: the new record staged beside the old one and flushed; binding, history, row and feed events in
one transaction that a power cut cannot undo; the staged record put in place. The end of the transaction is the
decision. After a crash behind it the record is behind the index and has no stamp there, so that the next scan reads it,
and `is_behind` and `project` put the bindings into it again.

Used by the writer's thread alone, and only through `ModelStore`.
"""

import hashlib
from collections.abc import Callable

import structlog

from pumas_agent.contracts.errors import (
    DependencyBindingTaken,
    DependencyProfileImmutable,
    DependencyProfileNotFound,
    LibraryUnwritable,
)
from pumas_agent.contracts.metadata import DependencyBindingRef, FieldFinding, ModelMetadata
from pumas_agent.contracts.records import ChangeKind, FactFamily
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.library.catalog import Catalog
from pumas_agent.library.dependency_tables import BindingRow, ProfileRow
from pumas_agent.library.files import place_json, staged_json
from pumas_agent.library.index import IndexRow, IndexWriter
from pumas_agent.library.layout import BACKUP_NAME, METADATA_NAME, LibraryLayout
from pumas_agent.library.projection import project

log = structlog.get_logger(__name__)


class DependencyStore:
    """Writes profiles, bindings and what records say of them."""

    def __init__(
        self,
        layout: LibraryLayout,
        index: IndexWriter,
        catalog: Catalog,
        read: Callable[[str], tuple[ModelMetadata, tuple[FieldFinding, ...]]],
    ) -> None:
        self._layout = layout
        self._index = index
        self._catalog = catalog
        self._book = catalog.dependencies
        self._read = read
        self._opened = layout.index_identity()

    def put_profile(self, profile: ProfileRow) -> bool:
        """Store a profile; False when the very same one is there already, and nothing was written.

        Raises:
            DependencyProfileImmutable: another one is stored under that id and version.
            LibraryUnwritable, LibraryOffline: nothing was stored.
        """
        self._layout.require_online(self._opened)
        stored = self._book.profile(profile.profile_id, profile.profile_version)
        if stored is not None:
            if _content(stored) == _content(profile):
                return False
            field = f"dependency_profiles.{profile.profile_id}:{profile.profile_version}"
            raise DependencyProfileImmutable(
                f"Validation error for {field}: dependency_profile_version_immutable: another profile is stored as"
                f" {profile.profile_id} version {profile.profile_version}",
                hint="give the changed profile a version of its own, and bind the models to that",
                data={
                    "field": field,
                    "stored": dict(zip(_CONTENT, _content(stored), strict=True)),
                    "given": dict(zip(_CONTENT, _content(profile), strict=True)),
                },
            )
        with self._index.durable_transaction():
            self._index.dependencies.insert_profile(profile)
        self._book.put_profile(profile)
        # Another program can have bound a model to a profile that was not there: what such a model needs is known now.
        waiting = {row.model_id for row in self._book.all_active() if _names(row, profile)}
        rows = [row for row in map(self._index.row, sorted(waiting)) if row is not None]
        self._catalog.put(rows, self._index.last_event_id())
        return True

    def put_binding(self, binding: BindingRow, actor: str) -> bool:
        """Store a binding, in place of the one of the same id; False when it was so before and nothing was written.

        Who attached it and when does not make it another binding.

        Raises:
            ModelNotFound, MetadataUnreadable: the model has no record that could say so.
            DependencyProfileNotFound: it applies, and there is no such profile.
            DependencyBindingTaken: the id is that of another model's binding.
            LibraryUnwritable, LibraryOffline: nothing was stored, and the record is as before.
        """
        metadata, _ = self._read(binding.model_id)
        old = self._book.binding(binding.binding_id)
        if old is not None and old.model_id != binding.model_id:
            raise DependencyBindingTaken(
                f"the dependency binding {binding.binding_id} is of {old.model_id}",
                hint="give the binding another id, or none: one is made then",
            )
        if binding.is_active and self._book.profile(binding.profile_id, binding.profile_version) is None:
            raise DependencyProfileNotFound(
                f"there is no dependency profile {binding.profile_id} version {binding.profile_version}",
                hint="store it first: `pumas-agent deps profile FILE.json`",
            )
        if old is not None and (old.order, old.status) == (binding.order, binding.status):
            return False
        others = (row for row in self._book.active(binding.model_id) if row.binding_id != binding.binding_id)
        active = sorted((*others, *([binding] if binding.is_active else ())), key=lambda row: row.order)
        after = metadata.with_values({_FIELD: [row.ref for row in active] or None})
        row = self._commit(binding.model_id, after, lambda: self._index.dependencies.put_binding(binding, old, actor))
        self._book.put_binding(binding)
        self._catalog.put([row], self._index.last_event_id())  # last: whoever sees the new entry sees the new bindings
        return True

    def is_behind(self, model_id: str, metadata: ModelMetadata) -> bool:
        """Whether a record says something else of the bindings than the index does.

        An index that knows of no binding of a model, as after its loss, has nothing to say against the record.
        """
        if not self._book.knows(model_id):
            return False
        # Without the keys that another program may have put beside ours.
        said = [ref.model_dump(include=_REF) for ref in metadata.dependency_bindings or ()]
        return said != [ref.model_dump(include=_REF) for ref in self._book.refs(model_id) or ()]

    def corrected(self, model_id: str, metadata: ModelMetadata) -> ModelMetadata:
        """The record as it should be: the same one, unless it is behind."""
        if not self.is_behind(model_id, metadata):
            return metadata
        return metadata.with_values({_FIELD: self._book.refs(model_id)})

    def project(self, model_id: str, metadata: ModelMetadata) -> bool:
        """Put the bindings into a record again; False when it cannot be written now (that is logged, not raised)."""
        try:
            row = self._commit(model_id, self.corrected(model_id, metadata), None)
        except LibraryUnwritable as error:
            log.warning("library.bindings_not_recorded", model_id=model_id, reason=error.message)
            return False
        self._catalog.put([row], self._index.last_event_id())
        return True

    def _commit(self, model_id: str, metadata: ModelMetadata, bind: Callable[[], None] | None) -> IndexRow:
        self._layout.require_online(self._opened)
        directory = self._layout.directory(model_id)
        path = directory / METADATA_NAME
        metadata = metadata.model_copy(update={"model_id": model_id, "updated_date": utc_now()})
        try:
            with staged_json(path, metadata.to_document()) as staged:
                with self._index.durable_transaction() if bind else self._index.transaction():
                    row = project(model_id, directory, metadata)
                    self._index.upsert(row)
                    if bind:
                        bind()
                        self._index.add_event(
                            model_id,
                            ChangeKind.DEPENDENCY_BINDING_MODIFIED,
                            row.updated_at,
                            FactFamily.DEPENDENCY_BINDINGS,
                        )
                    self._index.delete_signature(model_id)
                try:
                    place_json(staged, path, backup=directory / BACKUP_NAME)
                    if signature := self._layout.signature(directory):
                        with self._index.transaction():
                            self._index.put_signatures([(model_id, signature)])
                except (OSError, LibraryUnwritable) as error:  # it is decided; the next scan catches up
                    log.warning("library.record_behind", model_id=model_id, reason=str(error))
        except OSError as error:
            raise LibraryUnwritable(
                f"cannot write the record of {model_id}: {error.strerror or error}",
                hint=f"free space on, or make writable, the disk that holds {self._layout.root}",
                data={"reason": error.strerror or str(error)},
            ) from error
        return row


_FIELD = "dependency_bindings"
_REF = set(DependencyBindingRef.model_fields)
_CONTENT = ("profile_hash", "environment_kind")


def _content(profile: ProfileRow) -> tuple[str, str]:
    digest = profile.profile_hash or hashlib.sha256(profile.spec_json.encode("utf-8")).hexdigest()
    return digest, profile.environment_kind.strip().lower()


def _names(binding: BindingRow, profile: ProfileRow) -> bool:
    return (binding.profile_id, binding.profile_version) == (profile.profile_id, profile.profile_version)
