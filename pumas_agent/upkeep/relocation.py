"""A registered bundle that is somewhere else now. Owns what a relocation checks, and which fields of the record it
changes: where the bundle is, and nothing else. The bundle is only looked at.
"""

from pathlib import Path

from pumas_agent.bundles import Look
from pumas_agent.contracts.errors import ModelNotFound, NotExternal
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.relocation import RelocateParams, Relocation, SameBundle
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.importing.source import source_in_time
from pumas_agent.library import CatalogEntry, Library
from pumas_agent.upkeep.refresh import Judge


class Relocator:
    """Plans and applies relocations."""

    def __init__(self, library: Library, judge: Judge) -> None:
        self._library = library
        self._judge = judge

    async def relocate(self, params: RelocateParams) -> Relocation:
        """Look at the new place; with `apply`, and when nothing speaks against it, change the record in one commit.

        Raises:
            ModelNotFound: no such model.
            NotExternal: the model's files are the library's own.
            InvalidParams: the new place may not be registered.
            AssetUnresponsive: its filesystem does not answer in time.
            LibraryUnwritable: the record could not be written; nothing has changed.
        """
        entry = self._entry(params.model_id)
        new = await source_in_time(params.new_path, self._library.layout.root)
        look = await self._judge.judge(new, urgent=True)
        same = _same(entry, look)
        refused = self._refusal(entry, new, look, same, force=params.force)
        if params.apply and refused is None and entry.bundle_root != str(new):
            await self._library.write(
                lambda store: store.update(entry.id, lambda record: _moved(record, params.new_path, str(new)))
            )
        return Relocation(
            model_id=entry.id,
            old_path=entry.bundle_root,
            new_path=str(new),
            same_bundle=same,
            findings=look.report.findings,
            refused=refused,
            applied=params.apply and refused is None,
        )

    def _entry(self, model_id: str) -> CatalogEntry:
        entry = self._library.catalog.get(model_id)
        if entry is None:
            raise ModelNotFound(f"Model not found: {model_id}", hint="`pumas-agent list` shows the ids of all models")
        if not entry.is_external:
            raise NotExternal(
                f"{model_id} belongs to the library: its place is its id", hint="only external references are relocated"
            )
        return entry

    def _refusal(self, entry: CatalogEntry, new: Path, look: Look, same: SameBundle, *, force: bool) -> str | None:
        for other in self._library.catalog.bundles():
            if other.is_external and other.id != entry.id and other.bundle_root == str(new):
                return f"{new} is registered as {other.id}"
        if look.report.identity is None:
            return f"there is no readable bundle at {new}"
        if same is SameBundle.OTHER and not force:
            return f"{new} holds another bundle than the one that was registered"
        if same is SameBundle.UNKNOWN and not force:
            return f"it is not known what {entry.id} was when it was valid, so {new} cannot be proven to be it"
        return None


def _same(entry: CatalogEntry, look: Look) -> SameBundle:
    if entry.agent.identity is None or look.report.identity is None:
        return SameBundle.UNKNOWN
    return SameBundle.PROVEN if entry.agent.identity == look.report.identity else SameBundle.OTHER


def _moved(record: ModelMetadata, given: str, root: str) -> ModelMetadata:
    facts = record.agent.model_copy(update={"given_path": given})
    values = {"source_path": root, "entry_path": root, "updated_date": utc_now()}
    return record.with_values(values).with_agent(facts)
