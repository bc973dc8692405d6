"""Absence is never deletion: what happens when files, folders or the whole library cannot be seen."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import LibraryOffline
from pumas_agent.contracts.metadata import ModelMetadata, StorageKind
from pumas_agent.contracts.records import ChangeKind
from pumas_agent.library import Library, LibraryChanges, ModelStore

OWNED, EXTERNAL, OTHER = "llm/f/owned", "diffusion/f/external", "llm/f/other"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library.open(tmp_path / "library", "command")
    store = library._store
    assert store is not None
    store.create(OWNED, ModelMetadata())
    store.create(EXTERNAL, ModelMetadata(storage_kind=StorageKind.EXTERNAL_REFERENCE))
    store.create(OTHER, ModelMetadata(tags=["old"]))
    yield library
    library.close()


@pytest.fixture
def store(library: Library) -> ModelStore:
    assert library._store is not None
    return library._store


@pytest.mark.parametrize("rebuild", [False, True], ids=["scan", "rebuild"])
@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"x": NaN}', '{"x": "\\ud800"}', '{"x": ' + "[" * 300 + "]" * 300 + "}"]
)
def test_a_corrupt_record_keeps_its_row_and_does_not_hold_up_the_others(
    library: Library, store: ModelStore, content: str, rebuild: bool
) -> None:
    """Law 10: it is reported as unreadable, the file stays as it is, the others are indexed."""
    path = store.layout.metadata_path(EXTERNAL)
    path.write_text(content)
    other = store.layout.metadata_path(OTHER)
    other.write_text(other.read_text().replace('"old"', '"new"'))
    row = library._reader.row(EXTERNAL)

    outcome = store.rebuild()[1] if rebuild else store.index(store.scan(store.signatures()))

    assert set(outcome.unreadable) == {EXTERNAL}
    assert "metadata.json" in outcome.unreadable[EXTERNAL]
    assert outcome.changed == [OTHER]
    assert library._reader.row(EXTERNAL) == row
    assert path.read_text() == content
    assert library._reader.search("new") == [OTHER]


def test_a_corrupt_record_does_not_keep_a_library_from_opening(tmp_path: Path, library: Library) -> None:
    """It is reported at every start until it is repaired."""
    library.close()
    (tmp_path / "library" / OTHER / "metadata.json").write_text("{")

    for _ in range(2):
        again = Library.open(tmp_path / "library", "command")
        assert set(again.recovered.unreadable) == {OTHER}
        assert again.catalog.ids() == {OWNED, EXTERNAL, OTHER}
        again.close()


def test_a_record_with_one_bad_value_is_indexed(library: Library, store: ModelStore) -> None:
    """One bad field makes no file unreadable."""
    path = store.layout.metadata_path(OTHER)
    path.write_text('{"tags": ["new"], "size_bytes": "many"}')

    outcome = store.index(store.scan(store.signatures()))

    assert (outcome.changed, outcome.unreadable) == ([OTHER], {})
    assert library._reader.search("new") == [OTHER]


@pytest.mark.parametrize("rebuild", [False, True], ids=["scan", "rebuild"])
def test_an_external_registration_is_never_dropped_because_it_cannot_be_seen(
    library: Library, store: ModelStore, rebuild: bool
) -> None:
    """Law 4: its record is gone with its whole folder, and the row stays and is reported."""
    shutil.rmtree(store.layout.root / "diffusion")

    outcome = store.rebuild()[1] if rebuild else store.index(store.scan(store.signatures()))

    assert (outcome.removed, set(outcome.unreadable)) == ([], {EXTERNAL})
    assert library._reader.row(EXTERNAL) is not None
    assert library.catalog.get(EXTERNAL) is not None


@pytest.mark.parametrize("rebuild", [False, True], ids=["scan", "rebuild"])
def test_an_owned_model_whose_folder_is_gone_loses_its_row(library: Library, store: ModelStore, rebuild: bool) -> None:
    """Case rebuild-009: its files were the library's, and they are not there."""
    before = library._reader.last_event_id()
    shutil.rmtree(store.layout.directory(OWNED))

    outcome = store.rebuild()[1] if rebuild else store.index(store.scan(store.signatures()))

    assert (outcome.removed, outcome.unreadable) == ([OWNED], {})
    assert library.catalog.ids() == {EXTERNAL, OTHER}
    feed = library._reader.updates_since(f"model-library-updates:{before}", 10)
    assert [(event.model_id, event.change_kind) for event in feed.events] == [(OWNED, ChangeKind.MODEL_REMOVED)]


def test_an_owned_model_without_its_record_keeps_its_row_while_its_folder_is_there(
    library: Library, store: ModelStore
) -> None:
    """Somebody may be repairing it."""
    store.layout.metadata_path(OWNED).unlink()

    outcome = store.index(store.scan(store.signatures()))

    assert (outcome.removed, set(outcome.unreadable)) == ([], {OWNED})
    assert library._reader.row(OWNED) is not None


def test_a_folder_that_became_a_link_keeps_its_row(library: Library, store: ModelStore, tmp_path: Path) -> None:
    """Moved to another disk that may be unplugged now; what lies behind the link is not looked at."""
    shutil.rmtree(store.layout.root / "llm" / "f")
    (store.layout.root / "llm" / "f").symlink_to(tmp_path / "unplugged")

    outcome = store.index(store.scan(store.signatures()))

    assert (outcome.removed, set(outcome.unreadable)) == ([], {OWNED, OTHER})
    assert library.catalog.ids() == {OWNED, EXTERNAL, OTHER}


def test_what_came_or_went_since_the_scan_is_left_alone(library: Library, store: ModelStore, tmp_path: Path) -> None:
    """A scan is a moment ago, and other threads commit meanwhile."""
    store.layout.directory(OWNED).rename(tmp_path / "aside")
    changes = store.scan({})
    (tmp_path / "aside").rename(store.layout.directory(OWNED))
    store.remove(OTHER)

    outcome = store.index(changes)

    assert (changes.gone, changes.changed) == ((OWNED,), (EXTERNAL, OTHER))
    assert (outcome.changed, outcome.removed, outcome.unreadable) == ([], [], {})
    assert library.catalog.ids() == {OWNED, EXTERNAL}


@pytest.mark.parametrize("in_its_place", ["nothing", "an empty folder", "another library"])
def test_a_library_whose_disk_is_gone_is_offline(
    library: Library, store: ModelStore, tmp_path: Path, in_its_place: str
) -> None:
    """Law 4: no row is dropped, nothing is written to what is seen instead, and it all works again afterwards."""
    root, away = store.layout.root, tmp_path / "away"
    rows = list(library._reader.rows())
    root.rename(away)
    if in_its_place != "nothing":
        root.mkdir()
    if in_its_place == "another library":
        Library.open(root, "command").close()
    seen = sorted(path.name for path in root.glob("*"))

    for act in (
        lambda: store.scan({}),
        lambda: store.read(OWNED),
        lambda: store.create("llm/f/new", ModelMetadata()),
        lambda: store.update(OWNED, lambda record: record.model_copy(update={"notes": "x"})),
        lambda: store.remove(OWNED),
        lambda: store.put_alert("library_offline", "", "2026"),
        lambda: store.delete_alert("library_offline", ""),
        store.recover,
        store.rebuild,
        lambda: store.index(LibraryChanges(0, (), (OWNED,))),
        lambda: store.index(LibraryChanges(1, (OWNED,), ())),
    ):
        with pytest.raises(LibraryOffline, match="is not there"):
            act()

    assert sorted(path.name for path in root.glob("*")) == seen
    assert list(library._reader.rows()) == rows
    assert library.catalog.ids() == {OWNED, EXTERNAL, OTHER}
    shutil.rmtree(root, ignore_errors=True)
    away.rename(root)
    assert store.update(OWNED, lambda record: record.model_copy(update={"notes": "x"}))


@pytest.mark.needs_root
@pytest.mark.parametrize("rebuild", [False, True], ids=["scan", "rebuild"])
def test_a_filesystem_below_the_library_that_is_not_mounted_drops_nothing(
    library: Library, store: ModelStore, rebuild: bool
) -> None:
    """Law 4: its models look deleted, and what stands in the index alone would go with their rows."""
    place = store.layout.root / "vlm"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no right to mount here")
    try:
        store.create("vlm/f/model", ModelMetadata())
        store.create("vlm/f/deleted", ModelMetadata())
        shutil.rmtree(place / "f" / "deleted")
        removed = store.index(store.scan(store.signatures())).removed
    finally:
        subprocess.run(["umount", str(place)], check=True)

    outcome = store.rebuild()[1] if rebuild else store.index(store.scan(store.signatures()))

    assert (removed, outcome.removed) == (["vlm/f/deleted"], [])
    assert "not mounted" in outcome.unreadable["vlm/f/model"]
    assert "vlm/f/model" in library.catalog.ids()


def test_a_folder_that_is_closed_to_us_keeps_no_library_from_opening(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 10: what a crash left there stays until it can be removed."""
    library.close()
    left = tmp_path / "library" / OWNED / "metadata.json.1.2.tmp"
    left.write_text("")
    (tmp_path / "library" / OTHER / "metadata.json").rename(tmp_path / "library" / OTHER / "metadata.json.removed")

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", closed)

    with closing(Library.open(tmp_path / "library", "command")) as again:
        assert OWNED in again.catalog.ids()
    assert left.exists()
