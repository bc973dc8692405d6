"""Law 8: what is unchanged is not written."""

import json
import os
import sqlite3
import time
from pathlib import Path

from pumas_agent.contracts.metadata import ModelMetadata, StorageKind
from pumas_agent.library import Library


def facts(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of every file and folder, the index and its log among them.

    Not the shared memory of SQLite's readers, which is no file on a disk, nor the lock, whose holder changes.
    """
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
        for path in [root, *root.rglob("*")]
        if not path.name.endswith(("-shm", ".lock"))
    }


def test_looking_at_an_unchanged_library_writes_not_one_byte(tmp_path: Path) -> None:
    """Nor does it when a record is corrupt or gone, which every look finds again."""
    root = tmp_path / "library"
    library = Library.open(root, "agent")
    store = library._store
    assert store is not None
    for name in ("a", "b", "corrupt", "gone"):
        store.create(f"diffusion/f/{name}", ModelMetadata(storage_kind=StorageKind.EXTERNAL_REFERENCE))
    store.layout.metadata_path("diffusion/f/corrupt").write_text("{")
    store.layout.metadata_path("diffusion/f/gone").unlink()
    store.index(store.scan(store.signatures()))
    observer = sqlite3.connect(root / "models.db")
    version = observer.execute("PRAGMA data_version").fetchone()
    before, generation = facts(root), library._reader.last_event_id()

    for _ in range(2):
        outcome = store.recover()
        outcome_of_scan = store.index(store.scan(store.signatures()))

    assert set(outcome.unreadable) == set(outcome_of_scan.unreadable) == {"diffusion/f/corrupt", "diffusion/f/gone"}
    assert facts(root) == before
    assert observer.execute("PRAGMA data_version").fetchone() == version
    assert library._reader.last_event_id() == library.catalog.generation == generation
    observer.close()
    library.close()


def test_a_restart_on_an_unchanged_library_changes_no_row_and_no_position(tmp_path: Path) -> None:
    """Nor the index file."""
    root = tmp_path / "library"
    library = Library.open(root, "agent")
    assert library._store is not None
    library._store.create("diffusion/f/a", ModelMetadata())
    generation = library.catalog.generation
    library.close()
    before = (root / "models.db").read_bytes()

    library = Library.open(root, "agent")

    assert library.catalog.generation == generation
    assert (library.recovered.changed, library.recovered.removed) == ([], [])
    library.close()
    assert (root / "models.db").read_bytes() == before


def test_a_file_that_was_only_touched_gives_no_event(tmp_path: Path) -> None:
    """Its new stamp is remembered, and its row is not written."""
    library = Library.open(tmp_path / "library", "agent")
    store = library._store
    assert store is not None
    store.create("diffusion/f/a", ModelMetadata())
    generation = library.catalog.generation
    path = store.layout.metadata_path("diffusion/f/a")
    os.utime(path, ns=(1, 1))
    assert store.scan(store.signatures()).changed == ("diffusion/f/a",)

    outcome = store.index(store.scan(store.signatures()))

    assert outcome.changed == []
    assert library._reader.last_event_id() == library.catalog.generation == generation
    assert store.scan(store.signatures()).changed == ()
    library.close()


def test_a_payload_file_that_came_or_went_is_seen(tmp_path: Path) -> None:
    """The folder's own time is part of the stamp: what the row says of the payload follows."""
    library = Library.open(tmp_path / "library", "agent")
    store = library._store
    assert store is not None
    store.create("llm/f/a", ModelMetadata(expected_files=["model.gguf"]))

    (store.layout.directory("llm/f/a") / "model.gguf").write_bytes(b"x")
    outcome = store.index(store.scan(store.signatures()))

    row = library._reader.row("llm/f/a")
    assert row is not None
    assert outcome.changed == ["llm/f/a"]
    assert json.loads(row.metadata_json)["download_incomplete"] is False
    library.close()


def test_figures_of_a_start_and_a_scan_with_two_thousand_models(tmp_path: Path) -> None:
    """Figures to look at (`pytest -s`); how fast is fast enough is the bench's matter."""
    root = tmp_path / "library"
    document = json.dumps(ModelMetadata(official_name="X", tags=["a"], updated_date="2026").to_document(), indent=2)
    for number in range(2000):
        directory = root / "diffusion" / f"family{number % 20}" / f"model{number}"
        directory.mkdir(parents=True)
        (directory / "metadata.json").write_text(document)
    times = {}

    def timed(name: str, started: float) -> None:
        times[name] = round(time.perf_counter() - started, 3)

    started = time.perf_counter()
    library = Library.open(root, "agent")
    timed("first start, every row made", started)
    store = library._store
    assert store is not None
    started = time.perf_counter()
    outcome = store.recover()
    timed("recover, nothing changed", started)
    started = time.perf_counter()
    changes = store.scan(store.signatures())
    timed("scan, nothing changed", started)
    library.close()
    started = time.perf_counter()
    library = Library.open(root, "agent")
    timed("second start", started)
    library.close()

    print(times)  # noqa: T201  that is what it is for
    assert (outcome.changed, changes.changed, changes.seen) == ([], (), 2000)
