"""The schema of models.db as numbered SQL files, each applied once, in one transaction with its own record.

`user_version` stays 0: Pumas never sets it, and what we applied stands in `agent_migrations`.
"""

import sqlite3
from importlib import resources

_SEARCH_TRIGGERS = {
    "model_search_ai": """
        CREATE TRIGGER model_search_ai AFTER INSERT ON models
        BEGIN
            {insert}
        END""",
    "model_search_au": """
        CREATE TRIGGER model_search_au AFTER UPDATE ON models
        BEGIN
            DELETE FROM model_search WHERE id = old.id;
            {insert}
        END""",
    "model_search_ad": """
        CREATE TRIGGER model_search_ad AFTER DELETE ON models
        BEGIN
            DELETE FROM model_search WHERE id = old.id;
        END""",
}
SEARCH_COLUMNS = ("id", "official_name", "cleaned_name", "model_type", "tags", "family", "description")
_SEARCH_VALUES = """
    SELECT {row}.id AS id, {row}.official_name AS official_name, {row}.cleaned_name AS cleaned_name,
           {row}.model_type AS model_type,
           (SELECT group_concat(value, ' ') FROM json_each({row}.tags_json)) AS tags,
           COALESCE(json_extract({row}.metadata_json, '$.architecture_family'),
                    json_extract({row}.metadata_json, '$.family')) AS family,
           json_extract({row}.metadata_json, '$.description') AS description"""
_SEARCH_INSERT = f"""
    INSERT INTO model_search ({", ".join(SEARCH_COLUMNS)}){_SEARCH_VALUES}"""
_TRIGGER_MARK = "$.architecture_family"


def unknown_migrations(connection: sqlite3.Connection) -> list[str]:
    """Migrations of an index that this version does not have: a newer one made them. Reads only."""
    return sorted(_applied(connection) - {name for name, _ in _scripts()})


def missing_migrations(connection: sqlite3.Connection) -> list[str]:
    """Migrations that an index still has to go through. Reads only."""
    return sorted({name for name, _ in _scripts()} - _applied(connection))


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Bring the schema up to date; the names of the migrations that were applied, oldest first.

    The connection is in autocommit mode. An index that is up to date is not written to.
    """
    applied = _applied(connection)
    done: list[str] = []
    for name, script in _scripts():
        if name in applied:
            continue
        try:
            connection.executescript(
                f"""
                BEGIN IMMEDIATE;
                CREATE TABLE IF NOT EXISTS agent_migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL);
                {script}
                INSERT INTO agent_migrations VALUES ('{name}', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
                COMMIT;
                """
            )
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        done.append(name)
    _repair_search(connection)
    return done


def search_rows_sql(table: str) -> str:
    """A query of the search rows that belong to a table of models."""
    return f"{_SEARCH_VALUES.format(row=table)} FROM {table}"


def _scripts() -> list[tuple[str, str]]:
    files = [file for file in resources.files(__package__).iterdir() if file.name.endswith(".sql")]
    return sorted((file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")) for file in files)


def _applied(connection: sqlite3.Connection) -> set[str]:
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'agent_migrations'").fetchone()
    return {name for (name,) in connection.execute("SELECT name FROM agent_migrations")} if exists else set()


def _repair_search(connection: sqlite3.Connection) -> None:
    """Make the search triggers anew, and fill the search table, when one is missing or of an older form.

    The same test as the existing library makes at every open: the two never replace each other's.
    """
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    current = all(name in found for name in _SEARCH_TRIGGERS) and all(
        _TRIGGER_MARK in found[name] for name in ("model_search_ai", "model_search_au")
    )
    if current:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        insert = _SEARCH_INSERT.format(row="new") + ";"
        for name, trigger in _SEARCH_TRIGGERS.items():
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
            connection.execute(trigger.format(insert=insert))
        connection.execute("DELETE FROM model_search")
        connection.execute(_SEARCH_INSERT.format(row="models") + " FROM models")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
