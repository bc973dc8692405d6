"""models.db: the schema that the existing library expects, and indexes that it made before us."""

import json
import sqlite3
from pathlib import Path

import pytest

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import Library

TABLES = {
    "models": "id path cleaned_name official_name model_type tags_json hashes_json metadata_json updated_at",
    "model_link_exclusions": "model_id app_id excluded_at",
    "task_signature_mappings": (
        "id signature_key mapping_version input_modalities_json output_modalities_json task_type_primary priority"
        " status source supersedes_id change_reason notes created_at updated_at"
    ),
    "model_type_arch_rules": "id pattern match_style model_type priority status source notes created_at updated_at",
    "model_type_config_rules": "id config_model_type model_type priority status source notes created_at updated_at",
    "model_metadata_baselines": "model_id schema_version baseline_json created_at created_by",
    "model_metadata_overlays": "overlay_id model_id overlay_json status reason created_at created_by",
    "model_metadata_history": (
        "event_id model_id overlay_id actor action field_path old_value_json new_value_json reason created_at"
    ),
    "dependency_profiles": "profile_id profile_version profile_hash environment_kind spec_json created_at",
    "model_dependency_bindings": (
        "binding_id model_id profile_id profile_version binding_kind backend_key platform_selector status priority"
        " attached_by attached_at"
    ),
    "dependency_binding_history": (
        "event_id binding_id model_id actor action old_value_json new_value_json reason created_at"
    ),
    "model_package_facts_cache": (
        "model_id selected_artifact_id cache_scope package_facts_contract_version producer_revision source_fingerprint"
        " facts_json cached_at updated_at"
    ),
    "model_library_update_events": (
        "event_id model_id selected_artifact_id change_kind fact_family refresh_scope producer_revision created_at"
    ),
    "model_search": "id official_name cleaned_name model_type tags family description",
}
INDEXES = {
    "idx_models_type", "idx_models_updated", "idx_task_signature_mappings_lookup",
    "idx_task_signature_mappings_one_active", "idx_task_signature_mappings_one_pending",
    "idx_model_type_arch_rules_active_unique", "idx_model_type_arch_rules_lookup",
    "idx_model_type_config_rules_active_unique", "idx_model_type_config_rules_lookup",
}  # fmt: skip
TRIGGERS = {"model_search_ai", "model_search_au", "model_search_ad", "trg_model_metadata_baselines_no_update"}

FAMILY = (
    "COALESCE(json_extract(NEW.metadata_json, '$.architecture_family'), json_extract(NEW.metadata_json, '$.family'))"
)
PUMAS = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE models (id TEXT PRIMARY KEY, path TEXT NOT NULL, cleaned_name TEXT NOT NULL,
        official_name TEXT NOT NULL, model_type TEXT NOT NULL, tags_json TEXT NOT NULL, hashes_json TEXT NOT NULL,
        metadata_json TEXT NOT NULL, updated_at TEXT NOT NULL);
    CREATE INDEX idx_models_type ON models(model_type);
    CREATE TABLE model_link_exclusions (model_id TEXT NOT NULL, app_id TEXT NOT NULL, excluded_at TEXT NOT NULL,
        PRIMARY KEY (model_id, app_id));
    CREATE TABLE model_metadata_baselines (model_id TEXT PRIMARY KEY REFERENCES models(id) ON DELETE CASCADE,
        schema_version INTEGER NOT NULL, baseline_json TEXT NOT NULL CHECK(json_valid(baseline_json)),
        created_at TEXT NOT NULL, created_by TEXT NOT NULL DEFAULT 'pumas-library');
    CREATE TRIGGER trg_model_metadata_baselines_no_update BEFORE UPDATE ON model_metadata_baselines
        BEGIN SELECT RAISE(ABORT, 'immutable'); END;
    CREATE TABLE model_library_update_events (event_id INTEGER PRIMARY KEY AUTOINCREMENT, model_id TEXT NOT NULL,
        selected_artifact_id TEXT, change_kind TEXT NOT NULL, fact_family TEXT NOT NULL, refresh_scope TEXT NOT NULL,
        producer_revision TEXT, created_at TEXT NOT NULL DEFAULT '2026-01-01T00:00:00.000Z');
    CREATE VIRTUAL TABLE model_search USING fts5(id, official_name, cleaned_name, model_type, tags, family, description,
        tokenize='unicode61 remove_diacritics 1');
    CREATE TRIGGER model_search_ai AFTER INSERT ON models BEGIN
        INSERT INTO model_search (id, official_name, family) VALUES (NEW.id, NEW.official_name, {family}); END;
    CREATE TRIGGER model_search_au AFTER UPDATE ON models BEGIN
        DELETE FROM model_search WHERE id = OLD.id;
        INSERT INTO model_search (id, official_name, family) VALUES (NEW.id, NEW.official_name, {family}); END;
    CREATE TRIGGER model_search_ad AFTER DELETE ON models BEGIN DELETE FROM model_search WHERE id = OLD.id; END;
"""
MODEL = "llm/llama/test"


def make_pumas_library(root: Path, family: str = FAMILY) -> None:
    """A library as the existing program leaves it: one model with its row, a baseline, an event; no table of ours."""
    directory = root / MODEL
    directory.mkdir(parents=True)
    facts = {"architecture_family": "archfam", "family": "givenfam", "tags": ["x"]}
    (directory / "metadata.json").write_text(json.dumps(ModelMetadata.parse(facts)[0].to_document(), indent=2))
    connection = sqlite3.connect(root / "models.db")
    connection.executescript(PUMAS.format(family=family))
    row = (MODEL, str(directory), "test", "Test", "llm", '["x"]', "{}", json.dumps(facts), "2026-01-01")
    connection.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("INSERT INTO model_metadata_baselines VALUES (?, 2, '{}', '2026', 'pumas-library')", (MODEL,))
    connection.execute(
        "INSERT INTO model_library_update_events (model_id, change_kind, fact_family, refresh_scope)"
        " VALUES (?, 'model_added', 'model_record', 'summary_and_detail')",
        (MODEL,),
    )
    connection.commit()
    connection.close()


def schema(root: Path, kind: str) -> dict[str, str]:
    connection = sqlite3.connect(root / "models.db")
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", (kind,)))
    connection.close()
    return found


@pytest.mark.parametrize("before", ["nothing", "an index of the existing library"])
def test_the_index_has_every_table_index_and_trigger_by_its_name(tmp_path: Path, before: str) -> None:
    """Reference 1.5; the existing library makes what is missing and replaces what differs. user_version stays 0."""
    if before != "nothing":
        make_pumas_library(tmp_path)

    Library.open(tmp_path, "command").close()

    connection = sqlite3.connect(tmp_path / "models.db")
    columns = {
        table: " ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        for table in schema(tmp_path, "table")
        if not table.startswith(("agent_", "sqlite_", "model_search_"))
    }
    assert columns == TABLES
    assert set(schema(tmp_path, "index")) >= INDEXES
    assert set(schema(tmp_path, "trigger")) == TRIGGERS
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_texts_that_the_existing_library_looks_for_are_there(tmp_path: Path) -> None:
    """Reference 16, trap 1: else it drops our triggers and rebuilds our rule tables at every open."""
    Library.open(tmp_path, "command").close()

    triggers, tables = schema(tmp_path, "trigger"), schema(tmp_path, "table")
    assert all("$.architecture_family" in triggers[name] for name in ("model_search_ai", "model_search_au"))
    for table in ("model_type_arch_rules", "model_type_config_rules"):
        assert "'reranker'" in tables[table]
        assert "'vlm'" in tables[table]
    assert "AUTOINCREMENT" in tables["model_library_update_events"]
    assert "unicode61 remove_diacritics 1" in tables["model_search"]


def test_a_baseline_cannot_be_changed_and_goes_with_its_model(tmp_path: Path) -> None:
    """Nothing of ours updates one."""
    make_pumas_library(tmp_path)
    library = Library.open(tmp_path, "command")
    assert library._store is not None
    connection = library._store._index._connection
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        connection.execute("UPDATE model_metadata_baselines SET schema_version = 3")

    library._store.update(MODEL, lambda record: record.model_copy(update={"notes": "x"}))
    assert connection.execute("SELECT count(*) FROM model_metadata_baselines").fetchone() == (1,)
    library._store.remove(MODEL)

    assert connection.execute("SELECT count(*) FROM model_metadata_baselines").fetchone() == (0,)
    library.close()


def test_an_index_of_the_existing_library_is_served_and_its_triggers_stay(tmp_path: Path) -> None:
    """Triggers of another text with the mark are as good as ours: the two never replace each other's."""
    make_pumas_library(tmp_path)
    triggers = schema(tmp_path, "trigger")

    library = Library.open(tmp_path, "command")

    assert library.catalog.ids() == {MODEL}
    assert library._reader.search("archfam") == [MODEL]
    assert library.recovered.removed == []
    assert schema(tmp_path, "trigger") == triggers
    library.close()


@pytest.mark.parametrize("wrong", ["older text", "missing"])
def test_triggers_of_an_older_form_are_made_anew_and_the_search_is_filled(tmp_path: Path, wrong: str) -> None:
    """Case fts-008."""
    make_pumas_library(tmp_path, "json_extract(NEW.metadata_json, '$.family')" if wrong == "older text" else FAMILY)
    connection = sqlite3.connect(tmp_path / "models.db")
    if wrong == "missing":
        connection.execute("DROP TRIGGER model_search_ad")
    connection.execute("INSERT INTO model_search (id, official_name) VALUES ('no/such/model', 'ghost')")
    connection.commit()
    connection.close()

    library = Library.open(tmp_path, "command")

    assert set(schema(tmp_path, "trigger")) == TRIGGERS
    assert "$.architecture_family" in schema(tmp_path, "trigger")["model_search_au"]
    assert (library._reader.search("archfam"), library._reader.search("ghost")) == ([MODEL], [])
    library.close()


def test_a_second_open_changes_no_schema(tmp_path: Path) -> None:
    """Each migration is applied once, and says so."""
    make_pumas_library(tmp_path)
    Library.open(tmp_path, "command").close()
    connection = sqlite3.connect(tmp_path / "models.db")
    before = connection.execute("SELECT * FROM sqlite_master ORDER BY rowid").fetchall()
    applied = connection.execute("SELECT * FROM agent_migrations").fetchall()

    Library.open(tmp_path, "command").close()

    assert connection.execute("SELECT * FROM sqlite_master ORDER BY rowid").fetchall() == before
    assert connection.execute("SELECT * FROM agent_migrations").fetchall() == applied
    assert [name for name, _ in applied] == ["0001_pumas_library", "0002_agent_facts", "0003_agent_moves"]
    connection.close()


def test_rows_whose_files_vanished_before_we_came_are_seen(tmp_path: Path) -> None:
    """They have no stamp of ours, and are looked for all the same; a strange id is reported and touches nothing."""
    make_pumas_library(tmp_path / "library")
    connection = sqlite3.connect(tmp_path / "library" / "models.db")
    for model_id in ("llm/gone/x", "../outside"):
        row = (model_id, "/x", "x", "x", "llm", "[]", "{}", "{}", "2026-01-01")
        connection.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()

    library = Library.open(tmp_path / "library", "command")

    assert library.recovered.removed == ["llm/gone/x"]
    assert set(library.recovered.unreadable) == {"../outside"}
    assert library.catalog.ids() == {MODEL, "../outside"}
    assert not (tmp_path / "outside").exists()
    library.close()
