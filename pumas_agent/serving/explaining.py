"""Why a model is in the state it is in. Puts together what the parts know; decides nothing, and changes nothing else
than any lookup does: a bundle is judged when its last verdict does not hold.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pumas_agent.bundles import explained
from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    InvalidModelId,
    MetadataUnreadable,
    ModelNotFound,
    PumasError,
)
from pumas_agent.contracts.explanation import (
    ExplainedFile,
    FilesExplanation,
    ModelExplanation,
    PlaceExplanation,
    RecordExplanation,
    Sameness,
    WatchedBy,
    WatchExplanation,
)
from pumas_agent.contracts.health import AlertCode
from pumas_agent.contracts.metadata import AssetValidationState, FieldFinding, ModelMetadata, MountFacts
from pumas_agent.health import AlertBook
from pumas_agent.library import CatalogEntry, Library, LibraryLayout, payload_files, primary_file, read_json
from pumas_agent.mounts import mount_of
from pumas_agent.upkeep import Refresher, Verdict

_MOST_FILES = 1_000
_DEPTH = 6
_BACKUP = ".bak"

Watching = Callable[[str, bool], WatchExplanation]
"""`(model id, its files are not the library's)`: how a change would be noticed."""


def nobody_watches(_model_id: str, _external: bool) -> WatchExplanation:
    """For a command without an agent."""
    return WatchExplanation(by=WatchedBy.NO_AGENT, why="no agent runs; changes are seen when a command looks")


async def explain(
    library: Library, refresher: Refresher, alerts: AlertBook, watching: Watching, model_id: str
) -> ModelExplanation:
    """Explain one model.

    Raises:
        ModelNotFound: there is neither a row nor a record of that id.
    """
    entry = library.catalog.get(model_id)
    record, metadata = await asyncio.to_thread(_record, library.layout, model_id, entry)
    if entry is None:
        return _of_no_row(model_id, record, watching)
    verdict, fault = None, None
    try:
        verdict = await refresher.current(model_id)
    except (AssetUnresponsive, ModelNotFound) as error:
        fault = error
    known = tuple(alert for alert in alerts.standing() if alert.model_id == model_id)
    remembered = await library.read(lambda index: index.alerts())
    uncommitted = refresher.records.uncommitted.get(model_id)
    if uncommitted is not None:
        record = record.model_copy(update={"not_committed": uncommitted.message})
    state = verdict.state if verdict is not None else entry.validation_state
    files = None if entry.is_bundle else await asyncio.to_thread(_files, entry, metadata)
    summary = _summary(entry, record, verdict, files, fault)
    healthy = record.readable and fault is None and _is_fine(entry, verdict, files)
    stood = [since for (_, of), since in remembered.items() if of == model_id]
    report = verdict.report if verdict is not None else None
    return ModelExplanation(
        model_id=model_id,
        summary=summary,
        healthy=healthy,
        state=state,
        settling=verdict is not None and verdict.settling,
        since=None if healthy else alerts.since(model_id, tuple(AlertCode)) or min(stood, default=None),
        judged_at=verdict.judged_at if verdict is not None else None,
        storage_kind=entry.storage_kind,
        bundle_format=entry.bundle_format,
        alerts=known,
        record=record,
        bundle=explained(report) if report is not None else None,
        place=await _place(entry, verdict) if entry.is_bundle else None,
        files=files,
        watching=watching(model_id, entry.is_external),
    )


def _of_no_row(model_id: str, record: RecordExplanation, watching: Watching) -> ModelExplanation:
    why = f"it was never indexed: {record.fault}" if record.fault else "it is not indexed yet: `pumas-agent reconcile`"
    return ModelExplanation(
        model_id=model_id,
        summary=why,
        healthy=False,
        state=None,
        settling=False,
        since=None,
        judged_at=None,
        storage_kind=None,
        bundle_format=None,
        alerts=(),
        record=record,
        bundle=None,
        place=None,
        files=None,
        watching=watching(model_id, False),
    )


def _record(
    layout: LibraryLayout, model_id: str, entry: CatalogEntry | None
) -> tuple[RecordExplanation, ModelMetadata | None]:
    """What the record says.

    Raises:
        ModelNotFound: there is none, and no row either.
    """
    try:
        path = layout.metadata_path(model_id)
    except InvalidModelId as error:
        raise ModelNotFound(f"Model not found: {model_id}", hint=error.hint) from None
    metadata: ModelMetadata | None = None
    unreadable: tuple[FieldFinding, ...] = ()
    fault: str | None = None
    try:
        metadata, unreadable = _parsed(path)
    except FileNotFoundError:
        if entry is None:
            hint = "`pumas-agent list` shows the ids of all models"
            raise ModelNotFound(f"Model not found: {model_id}", hint=hint) from None
        fault = f"{path} is gone"
    except MetadataUnreadable as error:
        fault = error.message
    explanation = RecordExplanation(
        path=str(path),
        readable=metadata is not None,
        fault=fault,
        has_backup=path.with_name(path.name + _BACKUP).exists(),
        unreadable_fields=unreadable,
        validation_state=metadata.validation_state if metadata is not None else None,
        import_state=metadata.import_state if metadata is not None else None,
        validation_errors=tuple(metadata.validation_errors or ()) if metadata is not None else (),
        updated_date=metadata.updated_date if metadata is not None else None,
        not_committed=None,
    )
    return explanation, metadata


def _parsed(path: Path) -> tuple[ModelMetadata, tuple[FieldFinding, ...]]:
    return ModelMetadata.parse(read_json(path))


def _files(entry: CatalogEntry, metadata: ModelMetadata | None) -> FilesExplanation:
    folder = Path(entry.path)
    primary = primary_file(folder)
    found = list(payload_files(folder, _DEPTH))
    present = {file.name for file in found}
    named = [file.name for file in (metadata.files or ())] if metadata is not None else []
    named += (metadata.expected_files or []) if metadata is not None else []
    return FilesExplanation(
        folder=str(folder),
        primary_file=None if primary is None else str(primary),
        size_bytes=sum(file.size for file in found),
        files=tuple(
            ExplainedFile(name=file.name, size=file.size, is_primary=folder / file.name == primary)
            for file in found[:_MOST_FILES]
        ),
        more_files=max(len(found) - _MOST_FILES, 0),
        missing_files=tuple(dict.fromkeys(name for name in named if name not in present)),
    )


async def _place(entry: CatalogEntry, verdict: Verdict | None) -> PlaceExplanation:
    facts, root = entry.agent, entry.bundle_root
    report = verdict.report if verdict is not None else None
    now = report.identity if report is not None else None
    same = Sameness.UNKNOWN
    if facts.identity is not None and now == facts.identity:
        same = Sameness.SAME
    elif facts.identity is not None and report is not None and report.is_valid:
        same = Sameness.OTHER  # one that is not whole has another identity, whichever it is
    # A filesystem that gave no verdict is not asked again: it may never answer.
    mounted = await asyncio.to_thread(_mounted, root) if root is not None and verdict is not None else None
    return PlaceExplanation(
        root=root,
        given_path=facts.given_path,
        mount=facts.mount,
        mounted_now=mounted,
        identity=facts.identity,
        identity_now=now,
        same_bundle=same,
    )


def _mounted(root: str) -> MountFacts | None:
    mount = mount_of(Path(root))
    if mount is None:
        return None
    inside = root.removeprefix(mount.point).lstrip("/")
    return MountFacts(point=mount.point, kind=mount.kind, source=mount.source, path=inside)


def _is_fine(entry: CatalogEntry, verdict: Verdict | None, files: FilesExplanation | None) -> bool:
    if files is not None:
        return files.primary_file is not None and not files.missing_files and not entry.is_partial
    return verdict is not None and verdict.is_valid


def _summary(
    entry: CatalogEntry,
    record: RecordExplanation,
    verdict: Verdict | None,
    files: FilesExplanation | None,
    fault: PumasError | None,
) -> str:
    if fault is not None:
        return f"it cannot be judged now: {fault.message}"
    if files is not None:
        return f"{record.fault}; the index knows it still" if record.fault else _of_files(entry, files)
    assert verdict is not None
    if verdict.is_valid:
        return "valid: every rule holds now" if record.readable else f"valid, but {record.fault}"
    if verdict.report is not None and verdict.report.is_valid and not verdict.settling:
        return f"{verdict.state} as its record says; it is whole now, and the library has not taken that down yet"
    findings = [error.message for error in verdict.errors]
    if not findings:
        return f"{verdict.state}: it changed each time it was looked at, so nothing can be promised of it"
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    what = "it was valid once, and now" if verdict.state is AssetValidationState.DEGRADED else "it was never valid:"
    writing = "; it is being written right now" if verdict.settling else ""
    return f"{verdict.state}: {what} {findings[0]}{more}{writing}"


def _of_files(entry: CatalogEntry, files: FilesExplanation) -> str:
    if files.missing_files:
        more = f", and {len(files.missing_files) - 1} more" if len(files.missing_files) > 1 else ""
        return f"incomplete: {files.missing_files[0]} is not there{more}"
    if files.primary_file is None:
        return f"no file in {files.folder} is one that a runtime could load"
    if entry.is_partial:
        return "incomplete: a download of it is not finished"
    return f"its files are there; a runtime would load {Path(files.primary_file).name}"
