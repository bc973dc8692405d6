"""A commit that is killed at any moment is whole or not there: file, row, search row, feed and stamp agree after it."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.records import ChangeKind
from pumas_agent.library import Library, ModelStore
from pumas_agent.library.projection import project

KILLED_CHILD = Path(__file__).parents[1] / "faults" / "killed_child.py"
KEEPER = "diffusion/crash/keeper"


def store_of(library: Library) -> ModelStore:
    assert library._store is not None
    return library._store


class Killer:
    """The process whose children are killed."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, KILLED_CHILD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def kill(self, action: str, key: str, point: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{action} {key} {point}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    library = Library.open(root, "command")
    store_of(library).create(KEEPER, ModelMetadata(notes="an earlier commit", tags=["kept"]))
    library.close()
    return root


@pytest.fixture
def killer(root: Path) -> Iterator[Killer]:
    killer = Killer(root)
    yield killer
    killer.close()


def state_after(root: Path, model_id: str, before: int) -> tuple[str | None, list[ChangeKind]]:
    """Open the library, require that everything in it agrees, and give the model's notes and its events since."""
    library = Library.open(root, "command")
    try:
        assert library.recovered.unreadable == {}
        store, index = store_of(library), library._reader
        signatures = index.signatures()
        rows = {row.id: row for row in index.rows()}
        assert set(rows) == set(signatures) == library.catalog.ids() == set(store.layout.survey().signatures)
        for row in rows.values():
            directory = root / row.id
            assert row == project(row.id, directory, store.read(row.id)[0])
            assert signatures[row.id] == library.layout.signature(directory)
        searchable = index._connection.execute("SELECT id, tags FROM model_search ORDER BY id").fetchall()
        assert searchable == [(row.id, " ".join(json.loads(row.tags_json)) or None) for _, row in sorted(rows.items())]
        assert store.read(KEEPER)[0].notes == "an earlier commit"
        names = {path.name for path in root.rglob("*") if path.is_file() and path.parent != root}
        assert names <= {"metadata.json", "metadata.json.bak", "weights.gguf"}
        assert not (root / ".pumas-staging").exists()
        feed = index.updates_since(f"model-library-updates:{before}", 1000)
        assert not feed.stale_cursor
        events = [event.change_kind for event in feed.events if event.model_id == model_id]
        return (store.read(model_id)[0].notes if model_id in rows else None), events
    finally:
        library.close()


@pytest.mark.parametrize(
    ("action", "event"),
    [
        ("create", ChangeKind.MODEL_ADDED),
        ("update", ChangeKind.METADATA_MODIFIED),
        ("remove", ChangeKind.MODEL_REMOVED),
        ("adopt", ChangeKind.MODEL_ADDED),
        ("trash", ChangeKind.MODEL_REMOVED),
    ],
)
def test_a_commit_that_is_killed_at_any_moment_is_whole_or_not_there(
    root: Path, killer: Killer, action: str, event: ChangeKind
) -> None:
    """SIGKILL at every line, system call and statement; what was reported is there, with its event."""
    model_id = f"diffusion/crash/{action}"
    outcomes: set[str] = set()

    for point in range(1, 5000):
        key = f"k{point}"
        old = None if action in {"create", "adopt"} else f"before {key}"
        new = None if action in {"remove", "trash"} else key
        told = killer.kill(action, key, point)
        assert told["killed"], f"{action} at moment {point} ended by itself"
        notes, events = state_after(root, model_id, told["before"])

        if told["reported"]:
            assert (notes, events) == (new, [event])
            break
        assert (notes, events) in [(old, []), (new, [event])], f"{action} killed at moment {point}"
        outcomes.add("old" if notes == old else "new")

    assert told["reported"], f"{action} has more moments than were tried"
    assert outcomes == {"old", "new"}
    assert point > 100


def test_a_model_that_is_killed_on_its_way_to_another_id_is_at_one_of_the_two(root: Path, killer: Killer) -> None:
    """With all that hangs on it, and never at both or without; what was reported is at the new one."""
    old_id, new_id = "diffusion/crash/before", "diffusion/crash/rename"
    outcomes: set[str] = set()

    for point in range(1, 5000):
        key = f"k{point}"
        told = killer.kill("rename", key, point)
        assert told["killed"], f"it ended by itself at moment {point}"
        notes, events = state_after(root, new_id, told["before"])

        connection = sqlite3.connect(root / "models.db")
        overlays = connection.execute("SELECT model_id FROM model_metadata_overlays WHERE overlay_id = ?", (key,))
        where = [model_id for (model_id,) in overlays]
        moves = connection.execute("SELECT count(*) FROM agent_moves").fetchone()
        connection.close()
        there = [model_id for model_id in (old_id, new_id) if (root / model_id / "metadata.json").exists()]
        assert where == there, f"killed at moment {point}"
        assert moves == (0,)
        assert (notes, events) == ((key, [ChangeKind.MODEL_ADDED]) if there == [new_id] else (None, []))
        outcomes |= set(there)
        if told["reported"]:
            assert there == [new_id]
            break

    assert told["reported"]
    assert outcomes == {old_id, new_id}


@pytest.mark.parametrize("action", ["bind", "unbind"])
def test_a_binding_that_is_killed_at_any_moment_is_in_index_and_record_or_in_neither(
    root: Path, killer: Killer, action: str
) -> None:
    """Of a binding the index is the truth: after a start the record says what it says, with one event for a change."""
    model_id = f"diffusion/crash/{action}"
    outcomes: set[bool] = set()

    for point in range(1, 5000):
        key = f"k{point}"
        told = killer.kill(action, key, point)
        assert told["killed"], f"{action} at moment {point} ended by itself"
        _, events = state_after(root, model_id, told["before"])

        bound, history, recorded = binding_of(root, model_id, key)
        done = bound == (action == "bind")
        assert bound == recorded, f"{action} killed at moment {point}"
        assert history == ["binding_created"] * (done or action == "unbind") + ["binding_updated"] * (
            done and action == "unbind"
        )
        assert events.count(ChangeKind.DEPENDENCY_BINDING_MODIFIED) == done
        if told["reported"]:
            assert done
            break
        outcomes.add(done)

    assert told["reported"], f"{action} has more moments than were tried"
    assert outcomes == {True, False}
    assert point > 100


def binding_of(root: Path, model_id: str, key: str) -> tuple[bool, list[str], bool]:
    """Whether the index has it active, its history, and whether the record names it."""
    connection = sqlite3.connect(root / "models.db")
    status = connection.execute("SELECT status FROM model_dependency_bindings WHERE binding_id = ?", (key,)).fetchone()
    history = connection.execute(
        "SELECT action FROM dependency_binding_history WHERE binding_id = ? ORDER BY event_id", (key,)
    ).fetchall()
    connection.close()
    record = json.loads((root / model_id / "metadata.json").read_text())
    named = {ref["binding_id"] for ref in record["dependency_bindings"] or ()}
    return status == ("active",), [row[0] for row in history], key in named


_COMMITS = """
import os, shutil, signal, sys
from pathlib import Path
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import Library
root, aside = Path(sys.argv[1]), Path(sys.argv[2])
library = Library.open(root, "command")
store = library._store
store.create("diffusion/lost/updated", ModelMetadata(notes="old"))
store.create("diffusion/lost/removed", ModelMetadata(notes="old"))
for name in ("models.db", "models.db-wal"):
    shutil.copyfile(root / name, aside / name)
store.update("diffusion/lost/updated", lambda record: record.model_copy(update={"notes": "new"}))
store.create("diffusion/lost/created", ModelMetadata(notes="new"))
store.remove("diffusion/lost/removed")
print(library.catalog.generation, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rows_that_a_power_cut_took_back_are_made_from_the_files(root: Path, tmp_path: Path) -> None:
    """The log of the index is not flushed at each commit; the files are. Lost events' ids are not given out again."""
    aside = tmp_path / "aside"
    aside.mkdir()
    done = subprocess.run([sys.executable, "-c", _COMMITS, root, aside], stdout=subprocess.PIPE, text=True, check=False)
    newest = int(done.stdout)
    (root / "models.db-shm").unlink()
    for name in ("models.db", "models.db-wal"):
        (aside / name).replace(root / name)

    library = Library.open(root, "command")
    kept_cursor = library._reader.updates_since(f"model-library-updates:{newest}", 10)
    library.close()

    notes, events = state_after(root, "diffusion/lost/updated", newest)
    assert (notes, events) == ("new", [ChangeKind.METADATA_MODIFIED])
    assert state_after(root, "diffusion/lost/created", newest) == ("new", [ChangeKind.MODEL_ADDED])
    assert state_after(root, "diffusion/lost/removed", newest) == (None, [ChangeKind.MODEL_REMOVED])
    assert len(kept_cursor.events) == 3
    connection = sqlite3.connect(root / "models.db")
    ids = [event for (event,) in connection.execute("SELECT event_id FROM model_library_update_events ORDER BY 1")]
    connection.close()
    assert [event for event in ids if event > newest] == ids[-3:]


def test_a_removal_that_is_finished_at_a_start_takes_no_position_that_was_lost(root: Path) -> None:
    """An event was lost with the log while a removal was decided: a client with its cursor hears of both."""
    library = Library.open(root, "command")
    store_of(library).create("diffusion/lost/removed", ModelMetadata())
    library.close()
    before = (root / "models.db").read_bytes()
    library = Library.open(root, "command")
    store_of(library).update(KEEPER, lambda record: record.model_copy(update={"tags": ["new"]}))
    cursor = library._reader.updates_since(None, 0).cursor
    library.close()
    (root / "models.db").write_bytes(before)
    (root / "diffusion/lost/removed/metadata.json").rename(root / "diffusion/lost/removed/metadata.json.removed")

    library = Library.open(root, "command")

    events = library._reader.updates_since(cursor, 10).events
    assert {(event.model_id, event.change_kind) for event in events} == {
        ("diffusion/lost/removed", ChangeKind.MODEL_REMOVED),
        (KEEPER, ChangeKind.METADATA_MODIFIED),
    }
    library.close()
