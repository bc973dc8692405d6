"""What hangs on a model in the index alone, and how it goes along when the model gets another id. Knows SQL only."""

import sqlite3

_WITH_MODEL = (
    "model_metadata_overlays",
    "model_metadata_history",
    "model_dependency_bindings",
    "dependency_binding_history",
    "model_link_exclusions",
    "agent_alerts",
)


def move_references(connection: sqlite3.Connection, old_id: str, new_id: str) -> None:
    """Let everything that names the old id name the new one, whose row is there. In the open transaction."""
    for table in _WITH_MODEL:
        connection.execute(f"UPDATE OR REPLACE {table} SET model_id = ? WHERE model_id = ?", (new_id, old_id))
    # A baseline cannot be changed (a trigger of the existing library says so): it is written once more.
    connection.execute(
        "INSERT OR IGNORE INTO model_metadata_baselines"
        " (model_id, schema_version, baseline_json, created_at, created_by)"
        " SELECT ?, schema_version, baseline_json, created_at, created_by FROM model_metadata_baselines"
        " WHERE model_id = ?",
        (new_id, old_id),
    )


def planned_moves(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Moves that were begun and not finished: old id, new id, changes of the record as JSON."""
    return list(connection.execute("SELECT old_id, new_id, changes_json FROM agent_moves"))


def plan_move(connection: sqlite3.Connection, old_id: str, new_id: str, changes_json: str) -> None:
    """Remember that a move is beginning. In the open transaction."""
    connection.execute("INSERT OR REPLACE INTO agent_moves VALUES (?, ?, ?)", (old_id, new_id, changes_json))


def forget_move(connection: sqlite3.Connection, old_id: str) -> None:
    """It is finished, or given up. In the open transaction."""
    connection.execute("DELETE FROM agent_moves WHERE old_id = ?", (old_id,))
