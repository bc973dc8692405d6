"""Which scope a path in the library belongs to. Owns the names that are the library's own; never touches the disk."""

from collections.abc import Callable
from pathlib import PurePosixPath

from pumas_agent.contracts.records import ALL_MODELS

_INTERNAL_NAMES = frozenset(
    {
        "link_registry.json",
        ".pumas-agent.lock",
        ".metadata_v2_migration_checkpoint.json",
        ".package_facts_cache_migration_checkpoint.json",
    }
)
"""Files at the root of the library that say nothing about a model."""
_INTERNAL_FOLDERS = frozenset({"migration-reports", ".pumas-staging", ".pumas-trash"})


def library_scope(relative: str, is_model: Callable[[str], bool]) -> str | None:
    """The scope of an event at `relative` (POSIX, relative to the library root; empty for the root itself).

    The nearest folder at or above the path that is a model names the scope. Anything else is `ALL_MODELS`: a folder of
    models may have been moved in or out. None for the library's own files, because writing them must not wake us.
    """
    parts = PurePosixPath(relative).parts
    if _is_internal(parts):
        return None
    for length in range(len(parts), 0, -1):
        candidate = "/".join(parts[:length])
        if is_model(candidate):
            return candidate
    return ALL_MODELS


def _is_internal(parts: tuple[str, ...]) -> bool:
    if not parts:
        return False
    first, name = parts[0], parts[-1]
    if first in _INTERNAL_FOLDERS or any(part.startswith(".tmp_import_") for part in parts):
        return True
    if len(parts) == 1 and (first.startswith("models.db") or first in _INTERNAL_NAMES):
        return True
    # `metadata.json.<pid>.<thread>.tmp`: the rename over the real name is the event that counts
    return name.endswith(".tmp") and ".json." in name
