"""Models of the library's own that are filed under another type or family than theirs: plans, and moves on demand.

A move keeps everything that hangs on the model. An external reference is never moved: its id is a name that was given.
"""

import asyncio
from pathlib import Path
from typing import Any

from pumas_agent.contracts.errors import InvalidParams, ModelNotFound
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.upkeep import Reclassification, ReclassifyParams
from pumas_agent.importing.formats import FileFormat, format_of, read_head
from pumas_agent.importing.model_types import (
    MODEL_TYPES,
    UNKNOWN_TYPE,
    TypeResolution,
    read_config,
    resolve_type,
    type_of_hint,
)
from pumas_agent.library import CatalogEntry, Library, normalize_name, primary_file

_BY_A_PERSON = "user"
_NOT_MOVED = "it is an external reference: its id is the name that it was registered under"


async def reclassify(library: Library, params: ReclassifyParams) -> Reclassification:
    """Say where a model belongs; with `apply`, and when nothing speaks against it, move it there in one commit.

    Raises:
        InvalidParams: the type is none.
        ModelNotFound: no such model.
        MetadataUnreadable: its record cannot be read, so nothing is concluded.
        LibraryUnwritable: it could not be moved; it is where it was.
    """
    entry = library.catalog.get(params.model_id)
    if entry is None:
        raise ModelNotFound(
            f"Model not found: {params.model_id}", hint="`pumas-agent list` shows the ids of all models"
        )
    record, _ = await library.look_around(lambda store: store.read(entry.id))
    kind = await _kind(entry, record, params.model_type)
    new_id = _place(entry, record, kind.model_type, params.family)
    in_the_way = await library.read(lambda _: _in_the_way(library, entry.id, new_id))
    plan = Reclassification(
        model_id=entry.id,
        new_model_id=new_id,
        model_type=kind.model_type,
        source=kind.source,
        confidence=kind.confidence,
        refused=_NOT_MOVED if entry.is_external else in_the_way,
    )
    if not params.apply or plan.refused is not None:
        return plan
    changes = _changes(record, kind, params.family)
    if new_id == entry.id:
        changed = await library.write(lambda store: store.update(entry.id, lambda found: found.with_values(changes)))
        return plan.model_copy(update={"applied": changed})
    try:
        await library.write(lambda store: store.places.rename(entry.id, new_id, changes))
    except FileExistsError as error:
        return plan.model_copy(update={"refused": str(error)})
    return plan.model_copy(update={"applied": True})


async def _kind(entry: CatalogEntry, record: ModelMetadata, asked: str | None) -> TypeResolution:
    """The type that is asked for; else the surer of what the record says and what the files say."""
    if asked is not None:
        named = type_of_hint(asked)
        if named is None:
            raise InvalidParams(f"no model type: {asked!r}", hint=f"one of {', '.join(MODEL_TYPES)}, or a task")
        return TypeResolution(named, _BY_A_PERSON, 1.0)
    known = TypeResolution(
        record.model_type or UNKNOWN_TYPE,
        record.model_type_resolution_source or "record",
        record.model_type_resolution_confidence or 0.0,
    )
    if entry.is_external or entry.is_bundle:
        return known
    found = await asyncio.to_thread(_of_files, Path(entry.path), entry.official_name)
    is_surer = found.confidence > known.confidence or known.model_type == UNKNOWN_TYPE
    return found if found.model_type != UNKNOWN_TYPE and is_surer else known


def _of_files(folder: Path, name: str) -> TypeResolution:
    path = primary_file(folder)
    primary: tuple[Path, FileFormat] | None = None
    if path is not None:
        primary = path, format_of(read_head(path), path.name)
    return resolve_type(name, read_config(folder), primary)


def _place(entry: CatalogEntry, record: ModelMetadata, model_type: str, family: str | None) -> str:
    """`type/family/name`. A family that differs from the folder's name in case alone is that folder."""
    parts = entry.id.split("/")
    named = family or record.family or (parts[-2] if len(parts) > 1 else "imported")
    folder = normalize_name(named)
    if len(parts) > 1 and parts[-2].lower() == named.lower():
        folder = parts[-2]
    return f"{model_type}/{folder}/{parts[-1]}"


def _in_the_way(library: Library, model_id: str, new_id: str) -> str | None:
    if new_id == model_id:
        return None
    if library.catalog.get(new_id) is not None or library.layout.directory(new_id).exists():
        return f"Cannot reclassify {model_id}: destination {new_id} already exists"
    return None


def _changes(record: ModelMetadata, kind: TypeResolution, family: str | None) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "model_type": kind.model_type,
        "model_type_resolution_source": kind.source,
        "model_type_resolution_confidence": kind.confidence,
    }
    if family is not None:
        changes["family"] = family
    reasons = [reason for reason in record.review_reasons or () if reason != "model-type-unresolved"]
    if kind.model_type != UNKNOWN_TYPE and reasons != (record.review_reasons or []):
        changes |= {"review_reasons": reasons or None, "metadata_needs_review": bool(reasons)}
    return changes
