"""What a person says about a model: its name, its tags, its notes. Owns which fields an edit may change.

The id and the folder stay as they are: they are names for programs.
"""

from pumas_agent.contracts.errors import ModelNotFound
from pumas_agent.contracts.imports import EditParams, EditResult
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.library import Library


async def edit(library: Library, params: EditParams) -> EditResult:
    """Change the fields that are given; an empty text or list takes a field away.

    Raises:
        ModelNotFound: no such model.
        MetadataUnreadable: its record cannot be read, so nothing is changed.
        LibraryUnwritable: it could not be written; the record is as before.
    """
    await library.read(lambda _: library.layout.directory(params.model_id))
    if library.catalog.get(params.model_id) is None:
        raise ModelNotFound(f"Model not found: {params.model_id}")
    changed = await library.write(lambda store: store.update(params.model_id, lambda record: _edited(record, params)))
    return EditResult(model_id=params.model_id, changed=changed)


def _edited(record: ModelMetadata, params: EditParams) -> ModelMetadata:
    values: dict[str, object] = {}
    if params.official_name is not None:
        values["official_name"] = params.official_name.strip()
    if params.tags is not None:
        values["tags"] = list(dict.fromkeys(tag.strip() for tag in params.tags)) or None
    if params.notes is not None:
        values["notes"] = params.notes or None
    edited = record.with_values(values)
    if edited.to_document() == record.to_document():
        return record
    return edited.with_values({"updated_date": utc_now()})
