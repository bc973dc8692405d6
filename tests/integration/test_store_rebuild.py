"""The rows are derived: made anew from the files they are the same."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.metadata import AssetValidationState, ModelMetadata, StorageKind
from pumas_agent.library import Library, ModelStore

MODELS = ("diffusion/f/external", "llm/f/owned", "llm/g/owned")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    library, store = open_library(root)
    store.create(
        MODELS[0],
        ModelMetadata(
            storage_kind=StorageKind.EXTERNAL_REFERENCE,
            entry_path="/bundles/x",
            validation_state=AssetValidationState.DEGRADED,
            tags=["é"],
        ),
    )
    for model_id in MODELS[1:]:
        store.create(model_id, ModelMetadata(family="f"))
        (root / model_id / "model.gguf").write_bytes(b"x" * 10)
    store.rebuild()  # the payload came after the row
    library.close()
    return root


@pytest.fixture
def library(root: Path) -> Iterator[Library]:
    library, _ = open_library(root)
    yield library
    library.close()


def open_library(root: Path) -> tuple[Library, ModelStore]:
    library = Library.open(root, "command")
    assert library._store is not None
    return library, library._store


def dump(path: Path, *tables: str) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    rows = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}  # noqa: S608  our own names
    connection.close()
    return rows


def test_a_rebuild_gives_the_same_rows_and_no_event(library: Library, root: Path) -> None:
    """R19: reindexing is idempotent."""
    assert library._store is not None
    before = dump(root / "models.db", "models", "model_search", "agent_signatures", "model_library_update_events")

    seen, outcome = library._store.rebuild()

    assert (seen, outcome.changed, outcome.removed, outcome.unreadable) == (3, [], [], {})
    assert dump(root / "models.db", *before) == before


def test_an_index_that_was_deleted_comes_back_with_the_same_rows(root: Path) -> None:
    """R23: same ids, entry paths and states."""
    before = dump(root / "models.db", "models", "model_search")
    (root / "models.db").unlink()

    library, store = open_library(root)

    assert dump(root / "models.db", "models", "model_search") == before
    assert sorted(library.recovered.changed) == sorted(MODELS)
    external = library.catalog.get(MODELS[0])
    assert external is not None
    assert (external.entry_path, external.validation_state) == ("/bundles/x", AssetValidationState.DEGRADED)
    assert store.scan(store.signatures()).changed == ()
    library.close()


def test_rows_that_differ_from_their_files_are_made_anew(library: Library, root: Path) -> None:
    """The file is the truth (law 2), also when its stamp is as before."""
    assert library._store is not None
    before = dump(root / "models.db", "models", "model_search")
    connection = sqlite3.connect(root / "models.db")
    connection.execute("UPDATE models SET official_name = 'wrong' WHERE id = ?", (MODELS[1],))
    connection.execute("DELETE FROM models WHERE id = ?", (MODELS[2],))
    connection.execute("INSERT INTO agent_signatures VALUES ('no/such/model', 's')")
    connection.commit()
    connection.close()

    _, outcome = library._store.rebuild()

    assert sorted(outcome.changed) == sorted(MODELS[1:])
    assert dump(root / "models.db", "models", "model_search") == before
    assert "no/such/model" not in library._store.signatures()


def test_what_only_the_index_knows_survives_a_rebuild_and_is_backed_up_before_it(library: Library, root: Path) -> None:
    """Profiles, bindings, overlays and exclusions are in no file; the backup is one whole file."""
    assert library._store is not None
    connection = sqlite3.connect(root / "models.db")
    connection.executescript(f"""
        PRAGMA foreign_keys = ON;
        INSERT INTO dependency_profiles VALUES ('p', 1, 'h', 'venv', '{{}}', '2026');
        INSERT INTO model_dependency_bindings (binding_id, model_id, profile_id, profile_version, binding_kind)
            VALUES ('b', '{MODELS[0]}', 'p', 1, 'runtime');
        INSERT INTO model_link_exclusions VALUES ('{MODELS[0]}', 'app', '2026');
        INSERT INTO model_metadata_overlays (overlay_id, model_id, overlay_json, created_by)
            VALUES ('o', '{MODELS[0]}', '{{}}', 'me');
        INSERT INTO model_metadata_baselines (model_id, schema_version, baseline_json)
            VALUES ('{MODELS[0]}', 2, '{{}}');
    """)  # noqa: S608  our own names
    connection.close()
    tables = (
        "dependency_profiles", "model_dependency_bindings", "model_link_exclusions", "model_metadata_overlays",
        "model_metadata_baselines",
    )  # fmt: skip
    before = dump(root / "models.db", *tables)
    record = root / MODELS[0] / "metadata.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"notes": "edited"}))

    _, outcome = library._store.rebuild()

    assert outcome.changed == [MODELS[0]]
    assert all(len(rows) == 1 for rows in before.values())
    assert dump(root / "models.db", *tables) == before
    assert dump(root / "models.db.bak", *tables) == before
    assert {path.name for path in root.glob("models.db*")} == {
        "models.db", "models.db-wal", "models.db-shm", "models.db.bak",
    }  # fmt: skip


def test_a_backup_that_was_cut_off_does_not_stop_the_next_one(library: Library, root: Path) -> None:
    """And the last whole one stays until it is replaced."""
    assert library._store is not None
    (root / "models.db.bak.tmp").write_bytes(b"half of a database")

    library._store.rebuild()

    assert len(dump(root / "models.db.bak", "models")["models"]) == 3
    assert not (root / "models.db.bak.tmp").exists()


def test_a_cursor_of_an_index_that_was_deleted_is_stale_in_the_new_one(root: Path) -> None:
    """Positions of the feed are not given out twice, even by another index."""
    library, _ = open_library(root)
    old = [event.cursor for event in library._reader.updates_since("model-library-updates:0", 1000).events]
    library.close()
    (root / "models.db").unlink()

    library, store = open_library(root)

    feeds = [library._reader.updates_since(cursor, 10) for cursor in old]
    assert all(feed.stale_cursor and feed.snapshot_required and not feed.events for feed in feeds)
    store.create("llm/h/new", ModelMetadata())
    assert library._reader.updates_since(old[-1], 10).stale_cursor
    library.close()
