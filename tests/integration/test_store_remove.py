"""Removing a model: its registry artifact goes, and nothing that is not the library's own."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import LibraryUnwritable, ModelNotFound
from pumas_agent.contracts.metadata import ModelMetadata, StorageKind
from pumas_agent.contracts.records import ChangeKind, FactFamily, RefreshScope
from pumas_agent.library import IndexWriter, Library, ModelStore

MODEL = "diffusion/sdxl/base"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library.open(tmp_path / "library", "command")
    yield library
    library.close()


@pytest.fixture
def store(library: Library) -> ModelStore:
    assert library._store is not None
    library._store.create(MODEL, ModelMetadata(tags=["x"]))
    return library._store


def test_a_removed_model_is_gone_from_everywhere(library: Library, store: ModelStore) -> None:
    """Case delete-002: exactly one event; the folders that this leaves empty go too, the root stays."""
    store.update(MODEL, lambda record: record.model_copy(update={"tags": ["y"]}))  # now there is a backup as well
    (store.layout.directory(MODEL) / "overrides.json").write_text("{}")
    before = library._reader.last_event_id()

    assert store.remove(MODEL) == ()

    assert {path.name for path in store.layout.root.iterdir()} == {
        "models.db", "models.db-wal", "models.db-shm", ".pumas-agent.lock",
    }  # fmt: skip
    assert (library._reader.row(MODEL), library.catalog.get(MODEL)) == (None, None)
    assert (library._reader.search("y"), library._reader.signatures()) == ([], {})
    (event,) = library._reader.updates_since(f"model-library-updates:{before}", 10).events
    assert (event.change_kind, event.fact_family, event.refresh_scope) == (
        ChangeKind.MODEL_REMOVED,
        FactFamily.MODEL_RECORD,
        RefreshScope.SUMMARY_AND_DETAIL,
    )


def test_files_that_are_not_ours_stay_and_are_named(store: ModelStore) -> None:
    """A payload is never deleted, nor is the folder that holds it."""
    directory = store.layout.directory(MODEL)
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "notes").mkdir()

    assert store.remove(MODEL) == ("model.safetensors", "notes")

    assert (directory / "model.safetensors").read_bytes() == b"weights"
    assert {path.name for path in directory.iterdir()} == {"model.safetensors", "notes"}


def test_a_sibling_keeps_the_folder_above(store: ModelStore) -> None:
    """Only empty folders go."""
    store.create("diffusion/sdxl/other", ModelMetadata())

    store.remove(MODEL)

    assert store.layout.metadata_path("diffusion/sdxl/other").exists()
    assert not store.layout.directory(MODEL).exists()


def test_links_in_the_folder_are_not_followed(store: ModelStore, tmp_path: Path) -> None:
    """An external bundle survives whatever a registry folder links to (law 1); a link in our file's place is a link."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model_index.json").write_text("{}")
    (bundle / "overrides.json").write_text("{}")
    directory = store.layout.directory(MODEL)
    (directory / "bundle").symlink_to(bundle)
    (directory / "overrides.json").symlink_to(bundle / "overrides.json")

    assert store.remove(MODEL) == ("bundle",)

    assert {path.name for path in bundle.iterdir()} == {"model_index.json", "overrides.json"}


def test_removing_what_is_not_there_says_so(library: Library, store: ModelStore) -> None:
    """Case delete-003: ModelNotFound, and no event; a second removal of the same model too."""
    store.remove(MODEL)
    before = library._reader.last_event_id()

    for model_id in ("diffusion/no/such", MODEL):
        with pytest.raises(ModelNotFound, match=f"Model not found: {model_id}"):
            store.remove(model_id)

    assert library._reader.last_event_id() == before


def test_a_model_whose_folder_was_deleted_by_hand_can_be_removed(library: Library, store: ModelStore) -> None:
    """Its row is all there is left of it; an external one stays registered until someone says so (law 4)."""
    store.create("diffusion/ext/x", ModelMetadata(storage_kind=StorageKind.EXTERNAL_REFERENCE))
    store.layout.metadata_path("diffusion/ext/x").unlink()
    store.layout.directory("diffusion/ext/x").rmdir()
    assert store.recover().removed == []

    assert store.remove("diffusion/ext/x") == ()

    assert library.catalog.ids() == {MODEL}


def test_a_removed_model_leaves_no_exclusions_to_a_later_one(store: ModelStore) -> None:
    """The table of link exclusions has no foreign key. Bindings go with their model, profiles stay."""
    connection = sqlite3.connect(store.layout.index_path)
    connection.executescript(f"""
        INSERT INTO model_link_exclusions VALUES ('{MODEL}', 'app', '2026');
        INSERT INTO dependency_profiles VALUES ('p', 1, 'h', 'venv', '{{}}', '2026');
        INSERT INTO model_dependency_bindings (binding_id, model_id, profile_id, profile_version, binding_kind)
            VALUES ('b', '{MODEL}', 'p', 1, 'runtime');
    """)  # noqa: S608  our own names

    store.remove(MODEL)

    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  our own names
        for table in ("model_link_exclusions", "model_dependency_bindings", "dependency_profiles")
    ]
    connection.close()
    assert counts == [0, 0, 1]


@pytest.mark.parametrize("step", ["folder flushed", "row deleted"])
def test_a_removal_that_fails_leaves_the_model_as_it_was(
    library: Library, store: ModelStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It was refused, so a restart may not finish it; another try does."""

    def full(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def no_room(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as context:
        if step == "folder flushed":
            context.setattr(os, "fsync", full)
        else:
            context.setattr(IndexWriter, "delete", no_room)
        with pytest.raises(LibraryUnwritable):
            store.remove(MODEL)

    store.recover()
    assert MODEL in library.catalog.ids()
    assert store.layout.metadata_path(MODEL).is_file()
    assert store.remove(MODEL) == ()
    assert library.catalog.ids() == set()
    assert not (store.layout.root / "diffusion").exists()
