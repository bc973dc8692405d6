"""Forgetting an external bundle: its registry artifact goes, its files stay where they are."""

from pumas_agent.contracts.errors import ModelNotFound, NotExternal
from pumas_agent.contracts.imports import UnregisterResult
from pumas_agent.library import Library


async def unregister(library: Library, model_id: str) -> UnregisterResult:
    """Remove the record, the row and what hangs on them.

    Raises:
        ModelNotFound: no such model.
        NotExternal: the model's files are the library's own; they are not removed by this.
        LibraryUnwritable: it could not be written; the model is registered as before.
    """
    await library.read(lambda _: library.layout.directory(model_id))
    entry = library.catalog.get(model_id)
    if entry is None:
        raise ModelNotFound(f"Model not found: {model_id}")
    if not entry.is_external:
        raise NotExternal(
            f"{model_id} belongs to the library: unregistering it would leave its files without a record",
            hint="only external references are unregistered",
        )
    kept = await library.write(lambda store: store.remove(model_id))
    return UnregisterResult(success=True, model_id=model_id, source_path=entry.source_path, kept_files=kept)
