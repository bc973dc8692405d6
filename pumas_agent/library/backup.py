"""What lives in `models.db` alone: how it is copied to a file, and how it comes back from one.

Dependency profiles and bindings, review overlays, rules and link exclusions stand in no metadata.json, so a lost index
loses them. Owns which tables these are. Everything else is derived, and made anew.
"""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from pumas_agent.contracts.errors import LibraryUnavailable, LibraryUnwritable

KEYED = (
    "dependency_profiles",
    "model_dependency_bindings",
    "model_metadata_baselines",
    "model_metadata_overlays",
    "model_link_exclusions",
)
"""Tables whose rows are told apart by a key that means the same in every index."""
_RULES = ("task_signature_mappings", "model_type_arch_rules", "model_type_config_rules")
_LOGS = ("dependency_binding_history", "model_metadata_history")
"""Tables whose rows have a number of the index they were made in."""
TABLES = (*KEYED, *_RULES, *_LOGS)


def back_up(connection: sqlite3.Connection, path: Path) -> dict[str, int]:
    """Copy the whole index to `path`, consistent while others read and write; how many rows each table has.

    The file that was there stays until this one is whole.

    Raises:
        LibraryUnwritable: it could not be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        copy = sqlite3.connect(temporary)
        try:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            counts = {table: _count(copy, table) for table in TABLES}
        finally:
            copy.close()
        temporary.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise LibraryUnwritable(
            f"the index cannot be backed up to {path}: {error}", hint="is the disk full, or the folder not yours?"
        ) from error
    return counts


def attach(connection: sqlite3.Connection, path: Path) -> None:
    """Make a backup readable as `backup` beside the index that is open.

    Raises:
        LibraryUnavailable: it is no backup of a library's index.
    """
    try:
        path.stat()
        connection.execute("ATTACH DATABASE ? AS backup", (f"file:{quote(str(path))}?mode=ro&immutable=1",))
        found = {name for (name,) in connection.execute("SELECT name FROM backup.sqlite_master WHERE type = 'table'")}
    except (OSError, sqlite3.Error) as error:
        raise LibraryUnavailable(f"{path} cannot be read as a backup: {error}") from error
    if not set(TABLES) <= found:
        connection.execute("DETACH DATABASE backup")
        raise LibraryUnavailable(
            f"{path} is no backup of a model library", hint="`pumas-agent backup` makes one; models.db.bak is one too"
        )


def restore(connection: sqlite3.Connection) -> dict[str, int]:
    """Add what the attached backup has and the index has not, in the open transaction; how many rows of each table.

    What stands in the index stays as it is. Rows of models that are not in the library are left out.
    """
    added: dict[str, int] = {}
    for table in TABLES:
        columns = _columns(connection, table)
        if table in KEYED:
            missing = ""
        else:
            columns = columns[1:]
            same = " AND ".join(f"here.{name} IS there.{name}" for name in columns)
            missing = f"NOT EXISTS (SELECT 1 FROM main.{table} AS here WHERE {same})"
        conditions = [condition for condition in (missing, _owned(table)) if condition]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        names = ", ".join(columns)
        cursor = connection.execute(
            f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {names} FROM backup.{table} AS there{where}"
        )
        added[table] = max(cursor.rowcount, 0)
    return added


def _owned(table: str) -> str:
    """Rows hang on models, and the history of bindings on those: what has nothing to hang on is left out."""
    if table in _RULES or table == "dependency_profiles":
        return ""
    owned = "there.model_id IN (SELECT id FROM main.models)"
    if table == "dependency_binding_history":
        owned += " AND there.binding_id IN (SELECT binding_id FROM main.model_dependency_bindings)"
    if table == "model_metadata_history":
        owned += (
            " AND (there.overlay_id IS NULL"
            " OR there.overlay_id IN (SELECT overlay_id FROM main.model_metadata_overlays))"
        )
    if table == "model_dependency_bindings":
        owned += (
            " AND EXISTS (SELECT 1 FROM main.dependency_profiles AS profile WHERE profile.profile_id = there.profile_id"
            " AND profile.profile_version = there.profile_version)"
        )
    return owned


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    ours = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
    theirs = {row[1] for row in connection.execute(f"PRAGMA backup.table_info({table})")}
    return [name for name in ours if name in theirs]


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
