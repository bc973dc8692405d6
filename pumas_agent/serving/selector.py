"""The selector snapshot, from memory: no file and no table is looked at, so it may be a moment older than the disk.

Runs off the event loop. Owns what the states of a row mean; the filters are those of a list.
"""

from pumas_agent.contracts.metadata import AssetValidationState, ImportState
from pumas_agent.contracts.rpc import SelectorParams
from pumas_agent.contracts.selector import ModelRef, SelectorRow, SelectorSnapshot, SelectorState
from pumas_agent.library import Catalog, CatalogEntry, cursor_of, names_holding
from pumas_agent.serving.listing import passing


def selector_snapshot(catalog: Catalog, params: SelectorParams) -> bytes:
    """A page of the models that hold the text in a name and pass the filters, by id."""
    cursor = cursor_of(catalog.generation)  # before the rows: what is committed meanwhile is told twice, never missed
    entries = passing(names_holding(catalog, params.search or ""), params)
    if params.task_type_primary is not None:
        entries = [entry for entry in entries if entry.task_type_primary == params.task_type_primary]
    page = entries[params.offset : params.offset + params.limit]
    snapshot = SelectorSnapshot(cursor=cursor, rows=tuple(map(_row, page)), total_count=len(entries))
    return snapshot.model_dump_json().encode()


def _row(entry: CatalogEntry) -> SelectorRow:
    state = _artifact_state(entry)
    entry_path = entry.bundle_root
    return SelectorRow(
        model_id=entry.id,
        model_ref=ModelRef(model_id=entry.id, revision=entry.revision, selected_artifact_id=entry.selected_artifact_id),
        repo_id=entry.repo_id,
        selected_artifact_id=entry.selected_artifact_id,
        entry_path=entry_path,
        entry_path_state=state if entry_path else SelectorState.MISSING,
        artifact_state=state,
        display_name=entry.official_name,
        model_type=entry.model_type or None,
        tags=entry.tags,
        indexed_path=entry.path or None,
        task_type_primary=entry.task_type_primary,
        pipeline_tag=entry.pipeline_tag,
        recommended_backend=entry.recommended_backend,
        runtime_engine_hints=entry.runtime_engine_hints,
        storage_kind=entry.storage_kind,
        bundle_format=entry.bundle_format,
        validation_state=entry.validation_state,
        updated_at=entry.updated_at or None,
    )


def _artifact_state(entry: CatalogEntry) -> SelectorState:
    if entry.import_state is ImportState.FAILED or entry.validation_state is AssetValidationState.INVALID:
        return SelectorState.INVALID
    pending = entry.import_state is ImportState.PENDING
    if pending or entry.is_partial or entry.validation_state is AssetValidationState.DEGRADED:
        return SelectorState.PARTIAL
    return SelectorState.READY
