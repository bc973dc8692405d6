"""A record that is gone or cannot be read, made again from what is left: its backup, or the row. Writes nothing."""

import json
from pathlib import Path
from typing import Any

from pumas_agent.contracts.errors import MetadataUnreadable
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.upkeep import RecordRepair, RepairSource
from pumas_agent.library.files import read_json
from pumas_agent.library.index import IndexRow
from pumas_agent.library.layout import BACKUP_NAME
from pumas_agent.library.projection import DERIVED_KEYS, NOT_IN_ROW

_IN_COLUMNS = frozenset({"model_id", "model_type", "cleaned_name", "official_name", "hashes", "tags"})


def repaired(directory: Path, row: IndexRow) -> tuple[RecordRepair, ModelMetadata]:
    """The record, and what it is made from. A backup is the record before its last change; a row lacks a few fields."""
    try:
        record, _ = ModelMetadata.parse(read_json(directory / BACKUP_NAME))
    except (OSError, MetadataUnreadable):
        lost = tuple(name for name in NOT_IN_ROW if name not in _IN_COLUMNS)
        repair = RecordRepair(model_id=row.id, source=RepairSource.INDEX, lost=lost, applied=False)
        return repair, _of_row(row)
    return RecordRepair(model_id=row.id, source=RepairSource.BACKUP, lost=(), applied=False), record


def _of_row(row: IndexRow) -> ModelMetadata:
    facts = _object(row.metadata_json)
    for key in DERIVED_KEYS:
        facts.pop(key, None)
    facts |= {
        "model_id": row.id,
        "model_type": row.model_type,
        "cleaned_name": row.cleaned_name,
        "official_name": row.official_name,
        "tags": _list(row.tags_json) or None,
        "hashes": _object(row.hashes_json) or None,
    }
    return ModelMetadata.parse(facts)[0]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _list(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return value if isinstance(value, list) else []
