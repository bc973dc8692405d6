"""What lives in the index alone survives its loss: backed up while it is in use, and added to what there is."""

import sqlite3
from pathlib import Path

import pytest

from pumas_agent.cli import main
from pumas_agent.contracts.errors import LibraryUnavailable
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import Library

MODELS = ("llm/f/a", "llm/f/b")


def _fill(root: Path) -> None:
    with sqlite3.connect(root / "models.db") as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("INSERT INTO dependency_profiles VALUES ('p', 1, 'hash', 'python', '{}', 'now')")
        for number, model in enumerate(MODELS):
            connection.execute(
                "INSERT INTO model_dependency_bindings"
                " VALUES (?, ?, 'p', 1, 'core', NULL, NULL, 'active', 1, 'me', 'now')",
                (f"b{number}", model),
            )
            connection.execute("INSERT INTO model_link_exclusions VALUES (?, 'app', 'now')", (model,))
            connection.execute(
                "INSERT INTO dependency_binding_history (binding_id, model_id, actor, action, created_at)"
                " VALUES (?, ?, 'me', 'binding_created', 'now')",
                (f"b{number}", model),
            )
    connection.close()


def _rows(root: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(root / "models.db")
    found = {
        "bindings": "SELECT binding_id FROM model_dependency_bindings ORDER BY 1",
        "profiles": "SELECT profile_id FROM dependency_profiles",
        "exclusions": "SELECT model_id FROM model_link_exclusions ORDER BY 1",
        "history": "SELECT binding_id FROM dependency_binding_history ORDER BY 1",
    }
    rows = {name: [value for (value,) in connection.execute(sql)] for name, sql in found.items()}
    connection.close()
    return rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    library = Library.open(root, "command")
    assert library._store is not None
    for model in MODELS:
        library._store.create(model, ModelMetadata())
    library.close()
    _fill(root)
    return root


def _lose_the_index(root: Path) -> None:
    for path in root.glob("models.db*"):
        path.unlink()
    Library.open(root, "command").close()


def run(root: Path, *words: str) -> int:
    return main(["--library", str(root), *words])


def test_what_was_lost_with_the_index_comes_back(root: Path, tmp_path: Path) -> None:
    """Twice does no more than once."""
    before, file = _rows(root), tmp_path / "index.backup"
    agent = Library.open(root, "agent")
    assert run(root, "backup", str(file)) == 0
    agent.close()
    assert [path.name for path in tmp_path.glob("index.backup*")] == ["index.backup"]

    _lose_the_index(root)
    assert _rows(root)["bindings"] == []
    assert run(root, "restore", str(file), "--yes") == 0
    assert _rows(root) == before
    assert run(root, "restore", str(file), "--yes") == 0

    assert _rows(root) == before


def test_what_stands_in_the_index_stays(root: Path, tmp_path: Path) -> None:
    """Also rows that the backup has not."""
    file = tmp_path / "index.backup"
    assert run(root, "backup", str(file)) == 0
    with sqlite3.connect(root / "models.db") as connection:
        connection.execute("UPDATE model_dependency_bindings SET status = 'deprecated' WHERE binding_id = 'b0'")
        connection.execute("INSERT INTO model_link_exclusions VALUES ('llm/f/a', 'other', 'now')")
        connection.execute("DELETE FROM model_dependency_bindings WHERE binding_id = 'b1'")
    connection.close()

    assert run(root, "restore", str(file), "--yes") == 0

    connection = sqlite3.connect(root / "models.db")
    assert connection.execute("SELECT binding_id, status FROM model_dependency_bindings ORDER BY 1").fetchall() == [
        ("b0", "deprecated"),
        ("b1", "active"),
    ]
    assert connection.execute("SELECT count(*) FROM model_link_exclusions").fetchone() == (3,)
    connection.close()


def test_rows_of_models_that_are_gone_are_left_out(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "index.backup"
    assert run(root, "backup", str(file)) == 0
    (root / "llm/f/b/metadata.json").unlink()
    (root / "llm/f/b").rmdir()
    _lose_the_index(root)

    assert run(root, "restore", str(file), "--yes") == 0

    rows = _rows(root)
    assert (rows["bindings"], rows["exclusions"], rows["history"]) == (["b0"], ["llm/f/a"], ["b0"])


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_what_is_no_backup_is_refused(root: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    library = Library.open(root, "command")
    assert library._store is not None

    for _ in range(2):
        with pytest.raises(LibraryUnavailable):
            library._store.restore(tmp_path / "file")

    library.close()


def test_nothing_is_restored_under_a_running_agent(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "index.backup"
    assert run(root, "backup", str(file)) == 0
    agent = Library.open(root, "agent")

    assert run(root, "restore", str(file), "--yes") == 75

    agent.close()


def test_the_index_itself_is_no_place_for_a_backup(root: Path) -> None:
    assert run(root, "backup", str(root / "models.db")) == 64
    assert run(root, "backup", str(root / "none" / "file")) == 2
