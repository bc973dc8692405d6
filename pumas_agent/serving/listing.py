"""Rows for people and front ends, as one line of JSON. Runs on the library's reading thread: the loop never sorts.

Filters come before paging, and a total is of everything that matches.
"""

import time
from dataclasses import replace
from pathlib import Path

from pumas_agent.contracts.errors import MetadataUnreadable, ModelNotFound
from pumas_agent.contracts.metadata import FieldFinding, ModelMetadata
from pumas_agent.contracts.records import LibraryStatus, ModelDetails, ModelList, ModelRow, SearchResult
from pumas_agent.contracts.rpc import FilterParams, SearchParams
from pumas_agent.library import (
    Catalog,
    CatalogEntry,
    IndexReader,
    Library,
    LibraryLayout,
    find,
    json_object,
    primary_file,
    read_json,
    search_query,
)
from pumas_agent.upkeep import Verdict


def list_rows(catalog: Catalog, params: FilterParams) -> bytes:
    """A page of all models that pass the filters, newest first."""
    entries = passing(catalog.newest_first(), params)
    return ModelList(models=_page(entries, params), total_count=len(entries)).model_dump_json().encode()


def search_rows(index: IndexReader, catalog: Catalog, params: SearchParams) -> bytes:
    """A page of the models that match the text and pass the filters, best first."""
    started = time.perf_counter()
    entries = passing(find(index, catalog, params.query), params)
    result = SearchResult(
        models=_page(entries, params),
        total_count=len(entries),
        query=search_query(params.query),
        query_time_ms=round((time.perf_counter() - started) * 1000, 3),
    )
    return result.model_dump_json().encode()


def model_details(index: IndexReader, layout: LibraryLayout, entry: CatalogEntry, verdict: Verdict | None) -> bytes:
    """One model whole.

    Raises:
        ModelNotFound: it was removed in this moment.
    """
    row = index.row(entry.id)
    if row is None:
        raise ModelNotFound(f"Model not found: {entry.id}")
    metadata = json_object(row.metadata_json)
    primary = None if entry.is_bundle else primary_file(Path(entry.path))
    state, errors = entry.validation_state, entry.validation_errors
    report = verdict.report if verdict is not None else None
    if verdict is not None and entry.is_bundle:  # newer than the record when the library does not take it
        state, errors = verdict.state, verdict.errors
    details = ModelDetails(
        **_row(replace(entry, validation_state=state)).model_dump(by_alias=False),
        metadata=metadata,
        validation_errors=errors,
        validation_notices=report.notices if report is not None else (),
        metadata_findings=_unreadable_fields(layout.metadata_path(entry.id)),
        primary_file=None if primary is None else str(primary),
        validated_at=None if verdict is None else verdict.judged_at,
    )
    return details.model_dump_json().encode()


def _unreadable_fields(record: Path) -> tuple[FieldFinding, ...]:
    """What in the record's file could not be read; a file that cannot be read at all has an alert of its own."""
    try:
        return ModelMetadata.parse(read_json(record))[1]
    except (FileNotFoundError, MetadataUnreadable):
        return ()


def library_status(index: IndexReader, library: Library, reconciling: bool) -> LibraryStatus:
    """Counts."""
    return LibraryStatus(
        indexing=reconciling,
        deep_scan_in_progress=False,
        model_count=len(library.catalog),
        pending_lookups=index.pending_lookups(),
        generation=library.catalog.generation,
        root=str(library.layout.root),
    )


def passing(entries: list[CatalogEntry], params: FilterParams) -> list[CatalogEntry]:
    """The entries that pass the filters of a list, a search or a selector, in their order."""
    for name in ("model_type", "storage_kind", "bundle_format", "validation_state"):
        wanted = getattr(params, name)
        if wanted is not None:
            entries = [entry for entry in entries if getattr(entry, name) == wanted]
    if params.tags:
        tags = {tag.casefold() for tag in params.tags}
        entries = [entry for entry in entries if tags <= {tag.casefold() for tag in entry.tags}]
    return entries


def _page(entries: list[CatalogEntry], params: FilterParams) -> tuple[ModelRow, ...]:
    return tuple(_row(entry) for entry in entries[params.offset : params.offset + params.limit])


def _row(entry: CatalogEntry) -> ModelRow:
    return ModelRow(
        id=entry.id,
        path=entry.path,
        cleaned_name=entry.cleaned_name,
        official_name=entry.official_name,
        model_type=entry.model_type,
        tags=entry.tags,
        hashes=dict(entry.hashes),
        updated_at=entry.updated_at,
        storage_kind=entry.storage_kind,
        bundle_format=entry.bundle_format,
        validation_state=entry.validation_state,
        entry_path=entry.entry_path,
        size_bytes=entry.size_bytes,
    )
