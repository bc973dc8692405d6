"""Is what stands at a bundle's path the bundle that was registered? Pure; acceptance is a person's."""

from dataclasses import replace

from pumas_agent.bundles import FindingCode, Look
from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.errors import ModelNotFound, NotExternal
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import CatalogEntry, Library


def is_other_content(entry: CatalogEntry, look: Look) -> bool:
    """A valid bundle, and not the one that was valid there last.

    Of the library's own nothing is said: whoever changes files in the library means it.
    """
    if not entry.is_external:
        return False
    known, found = entry.agent.identity, look.report.identity
    return look.report.is_valid and known is not None and found is not None and known != found


def as_registered(entry: CatalogEntry, look: Look) -> Look:
    """The look; with a finding in it when another kind of bundle stands where the registered one was."""
    was, now = entry.pipeline_class, look.report.pipeline_class
    if not is_other_content(entry, look) or was is None or was == now:
        return look
    what = f"a bundle of {now} stands where the registered one of {was} was"
    replaced = AssetValidationError(code=FindingCode.BUNDLE_REPLACED, message=what)
    return replace(look, report=look.report.model_copy(update={"findings": (replaced,)}))


async def accept(library: Library, model_id: str) -> None:
    """Take what stands there now for the registered bundle: from the next verdict on it is.

    Raises:
        ModelNotFound: no such model.
        NotExternal: the model's files are the library's own.
        LibraryUnwritable: the record could not be written.
    """
    entry = library.catalog.get(model_id)
    if entry is None:
        raise ModelNotFound(f"Model not found: {model_id}", hint="`pumas-agent list` shows the ids of all models")
    if not entry.is_external:
        raise NotExternal(f"{model_id} belongs to the library", hint="only external references are accepted anew")
    await library.write(lambda store: store.update(model_id, _forgotten))


def _forgotten(record: ModelMetadata) -> ModelMetadata:
    return record.with_agent(record.agent.model_copy(update={"identity": None}))
