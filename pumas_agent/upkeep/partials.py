"""What the index shows of a download that is not finished. From the folder's path and the note that Pumas leaves there.

Pure but for reading that note; a note that cannot be read says nothing.
"""

from pathlib import Path
from typing import Any

from pumas_agent.contracts.errors import MetadataUnreadable
from pumas_agent.contracts.metadata import ImportState, ModelMetadata, StorageKind
from pumas_agent.contracts.timestamps import utc_from_ns
from pumas_agent.importing.model_types import UNKNOWN_TYPE, type_of_hint
from pumas_agent.library import PARTIAL_SOURCE, LibraryLayout, read_json

NOTE_NAME = ".pumas_download"


def partial_record(folder: Path, layout: LibraryLayout) -> ModelMetadata:
    """The record that a row of the download is made from; the same folder gives the same record."""
    note = _note(folder)
    model_id = layout.model_id(folder)
    parts = model_id.split("/")
    artifact = note.get("selected_artifact")
    names = artifact.get("selected_filenames") if isinstance(artifact, dict) else None
    by_note, by_path = type_of_hint(_text(note, "model_type")), type_of_hint(parts[0])
    repo_id = _text(note, "repo_id")
    changed = utc_from_ns(folder.stat().st_mtime_ns)
    return ModelMetadata(
        schema_version=2,
        model_id=model_id,
        family=_text(note, "family") or (parts[-2] if len(parts) > 1 else None),
        model_type=by_note or by_path or UNKNOWN_TYPE,
        official_name=_text(note, "official_name") or parts[-1].replace("_", " "),
        cleaned_name=parts[-1],
        added_date=changed,
        updated_date=changed,
        match_source=PARTIAL_SOURCE,
        match_method="repo_id" if repo_id else None,
        match_confidence=1.0 if repo_id else None,
        pending_online_lookup=repo_id is None,
        repo_id=repo_id,
        expected_files=[name for name in names if isinstance(name, str)] if isinstance(names, list) else None,
        storage_kind=StorageKind.LIBRARY_OWNED,
        import_state=ImportState.PENDING,
        pipeline_tag=_text(note, "pipeline_tag"),
        model_type_resolution_source=(
            "download-partial-model-type-hint" if by_note else "download-partial-path-fallback"
        ),
    )


def _note(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / NOTE_NAME)
    except (OSError, MetadataUnreadable):
        return {}


def _text(note: dict[str, Any], key: str) -> str | None:
    value = note.get(key)
    return value if isinstance(value, str) and value.strip() else None
