"""Creating and updating a model: file, row, search row and feed change together or not at all."""

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import LibraryUnwritable, MetadataUnreadable, ModelNotFound
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.records import ChangeKind, FactFamily, RefreshScope, UpdateEvent
from pumas_agent.library import Library, ModelStore

MODEL = "diffusion/sdxl/base"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library.open(tmp_path / "library", "command")
    yield library
    library.close()


@pytest.fixture
def store(library: Library) -> ModelStore:
    assert library._store is not None
    return library._store


def events(library: Library) -> list[UpdateEvent]:
    return list(library._reader.updates_since("model-library-updates:0", 1000).events)


def everything(root: Path) -> dict[str, bytes]:
    """Every file below the models' folders, and every folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
        if not path.name.startswith(("models.db", ".pumas-agent"))
    }


def fail(monkeypatch: pytest.MonkeyPatch, call: str, after: int = 0) -> None:
    """Let `os.<call>` say that the disk is full, from its `after`-th call on."""
    real, seen = getattr(os, call), [0]

    def failing(*arguments: object, **named: object) -> object:
        seen[0] += 1
        if seen[0] > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)


def test_a_new_model_is_in_file_row_search_feed_and_catalog(library: Library, store: ModelStore) -> None:
    """One commit; the record gets its id and its date."""
    store.create(MODEL, ModelMetadata(official_name="SDXL Base", tags=["Portrait"]))

    record, findings = store.read(MODEL)
    row = library._reader.row(MODEL)
    entry = library.catalog.get(MODEL)
    assert (record.model_id, record.official_name, findings) == (MODEL, "SDXL Base", ())
    assert row is not None
    assert entry is not None
    assert (row.official_name, row.updated_at) == ("SDXL Base", record.updated_date)
    assert (entry.tags, entry.official_name) == (("Portrait",), "SDXL Base")
    assert library._reader.search("portrait") == [MODEL]
    assert [(event.model_id, event.change_kind) for event in events(library)] == [(MODEL, ChangeKind.MODEL_ADDED)]
    assert library.catalog.generation == library._reader.last_event_id()


def test_an_update_changes_all_of_them_and_keeps_the_previous_file(library: Library, store: ModelStore) -> None:
    """The event says what to load again and of which revision it is."""
    store.create(MODEL, ModelMetadata(tags=["old"]))
    before = store.layout.metadata_path(MODEL).read_bytes()

    assert store.update(MODEL, lambda record: record.model_copy(update={"tags": ["new"]}))

    assert store.read(MODEL)[0].tags == ["new"]
    assert (store.layout.directory(MODEL) / "metadata.json.bak").read_bytes() == before
    assert (library._reader.search("new"), library._reader.search("old")) == ([MODEL], [])
    event = events(library)[-1]
    assert (event.change_kind, event.fact_family, event.refresh_scope) == (
        ChangeKind.METADATA_MODIFIED,
        FactFamily.MODEL_RECORD,
        RefreshScope.SUMMARY_AND_DETAIL,
    )
    assert event.producer_revision == store.read(MODEL)[0].updated_date


def test_a_change_that_changes_nothing_writes_nothing(library: Library, store: ModelStore) -> None:
    """Case index-002: no file, no row, no event, no write to the database."""
    store.create(MODEL, ModelMetadata(tags=["same"]))
    observer = sqlite3.connect(store.layout.index_path)
    version = observer.execute("PRAGMA data_version").fetchone()
    stamp = store.layout.metadata_path(MODEL).stat()

    assert not store.update(MODEL, lambda record: record.model_copy(update={"tags": ["same"]}))

    assert store.layout.metadata_path(MODEL).stat() == stamp
    assert observer.execute("PRAGMA data_version").fetchone() == version
    assert len(events(library)) == 1
    observer.close()


def test_an_update_starts_from_the_file_and_loses_no_edit_made_there(store: ModelStore) -> None:
    """Also not of keys and values that we do not understand."""
    store.create(MODEL, ModelMetadata(notes="ours"))
    path = store.layout.metadata_path(MODEL)
    edited = json.loads(path.read_text()) | {"notes": "edited by hand", "family": 7, "x_theirs": {"k": [1]}}
    path.write_text(json.dumps(edited))

    store.update(MODEL, lambda record: record.model_copy(update={"tags": ["ours"]}))

    assert json.loads(path.read_text()) == edited | {"tags": ["ours"]}


def test_updating_what_is_not_there_or_not_readable_says_so(store: ModelStore) -> None:
    """Case metadata-008: a record is never made by an update; a corrupt one is left as it is."""
    store.create("diffusion/x/corrupt", ModelMetadata())
    store.layout.metadata_path("diffusion/x/corrupt").write_text("{")

    with pytest.raises(ModelNotFound, match="Model not found: diffusion/x/nowhere"):
        store.update("diffusion/x/nowhere", lambda record: record)
    with pytest.raises(MetadataUnreadable):
        store.update("diffusion/x/corrupt", lambda record: record)

    assert store.layout.metadata_path("diffusion/x/corrupt").read_text() == "{"
    assert not (store.layout.root / "diffusion/x/nowhere").exists()


@pytest.mark.parametrize("place", ["diffusion/taken", "diffusion/taken/model", "diffusion/taken/model/below", "a_file"])
def test_a_model_is_never_made_where_something_is(store: ModelStore, place: str) -> None:
    """Nor above or below a model: a model's folder is its own."""
    store.create("diffusion/taken/model", ModelMetadata())
    (store.layout.root / "a_file").write_text("mine")
    before = everything(store.layout.root)

    with pytest.raises(FileExistsError):
        store.create(place, ModelMetadata())

    assert everything(store.layout.root) == before


def test_an_empty_folder_is_no_obstacle(store: ModelStore) -> None:
    """A crash may have left one."""
    (store.layout.root / MODEL).mkdir(parents=True)

    store.create(MODEL, ModelMetadata())

    assert store.read(MODEL)[0].model_id == MODEL


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_a_create_on_a_full_disk_leaves_nothing_behind_and_can_be_tried_again(
    library: Library, store: ModelStore, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Whichever flush fails: three of new folders, one of the file, one of its folder after the rename."""
    with monkeypatch.context() as context:
        fail(context, "fsync", after)
        with pytest.raises(LibraryUnwritable, match="No space left"):
            store.create(MODEL, ModelMetadata())

    assert everything(store.layout.root) == {}
    assert (library._reader.row(MODEL), library.catalog.get(MODEL), events(library)) == (None, None, [])
    store.create(MODEL, ModelMetadata())
    assert library.catalog.ids() == {MODEL}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_update_on_a_full_disk_leaves_file_and_row_as_they_were(
    library: Library, store: ModelStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """And the next one works."""
    store.create(MODEL, ModelMetadata(tags=["old"]))
    before, row = everything(store.layout.root), library._reader.row(MODEL)

    with monkeypatch.context() as context:
        fail(context, call)
        with pytest.raises(LibraryUnwritable, match="No space left"):
            store.update(MODEL, lambda record: record.model_copy(update={"tags": ["new"]}))

    assert everything(store.layout.root) == before
    assert library._reader.row(MODEL) == row
    assert store.update(MODEL, lambda record: record.model_copy(update={"tags": ["new"]}))


def test_what_an_update_left_half_done_is_finished_by_the_next_scan(
    library: Library, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename is the decision: when only the flush after it fails, the file has the change and the scan sees it."""
    store.create(MODEL, ModelMetadata(tags=["old"]))
    with monkeypatch.context() as context:
        fail(context, "fsync", after=1)
        with pytest.raises(LibraryUnwritable):
            store.update(MODEL, lambda record: record.model_copy(update={"tags": ["new"]}))
    entry = library.catalog.get(MODEL)
    assert entry is not None
    assert entry.tags == ("old",)

    outcome = store.index(store.scan(store.signatures()))

    assert outcome.changed == [MODEL]
    assert library._reader.search("new") == [MODEL]


def test_an_index_that_cannot_be_written_leaves_the_file_as_it_was(library: Library, store: ModelStore) -> None:
    """The row is written first, and a failed row keeps the file from being replaced."""
    store.create(MODEL, ModelMetadata(tags=["old"]))
    before = everything(store.layout.root)
    for event in ("INSERT", "UPDATE"):
        store._index._connection.execute(
            f"CREATE TRIGGER refuse_{event} BEFORE {event} ON models BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )

    with pytest.raises(LibraryUnwritable, match="index"):
        store.update(MODEL, lambda record: record.model_copy(update={"tags": ["new"]}))
    with pytest.raises(LibraryUnwritable, match="index"):
        store.create("diffusion/sdxl/other", ModelMetadata())

    assert everything(store.layout.root) == before
    assert library.catalog.ids() == {MODEL}


def test_alerts_are_remembered_over_a_restart_and_go_with_their_model(tmp_path: Path) -> None:
    """A restart does not make an old trouble look new."""
    root = tmp_path / "library"
    library = Library.open(root, "command")
    store = library._store
    assert store is not None
    store.create(MODEL, ModelMetadata())
    store.put_alert("bundle_missing", MODEL, "2026-01-01T00:00:00+00:00")
    store.put_alert("library_unwritable", "", "2026-01-02T00:00:00+00:00")
    library.close()

    library = Library.open(root, "command")
    store = library._store
    assert store is not None
    assert store.alerts() == {
        ("bundle_missing", MODEL): "2026-01-01T00:00:00+00:00",
        ("library_unwritable", ""): "2026-01-02T00:00:00+00:00",
    }
    store.remove(MODEL)
    store.delete_alert("library_unwritable", "")
    assert store.alerts() == {}
    library.close()


async def test_commits_and_questions_run_beside_the_event_loop(library: Library) -> None:
    """One thread writes, one reads, and neither is the loop's."""
    await library.write(lambda store: store.create(MODEL, ModelMetadata(tags=["x"])))

    found = await library.read(lambda index: index.search("x"))
    changes = await library.look_around(lambda store: store.scan(store.signatures()))

    assert found == [MODEL]
    assert (changes.seen, changes.changed, changes.gone) == (1, (), ())
