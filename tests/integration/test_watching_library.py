"""The library root on a real filesystem: which scope a change marks."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching import LIBRARY, WatchdogWatcher, library_scope

MODEL = "diffusion/sdxl/base"
SENTINEL = "diffusion/sdxl/sentinel"


class Library:
    """A watched library with two models, and what was marked in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marked: list[str] = []
        self._changed = threading.Condition()
        for model in (MODEL, SENTINEL):
            (root / model).mkdir(parents=True)
            (root / model / "metadata.json").write_text("{}")
        self.watcher = WatchdogWatcher(self._mark)
        self.watcher.start()
        self.watcher.watch_library(root, lambda path: library_scope(path, {MODEL, SENTINEL}.__contains__))
        self.marked.clear()

    def _mark(self, scope: str, reason: str) -> None:  # noqa: ARG002 - the reason is another test's matter
        with self._changed:
            self.marked.append(scope)
            self._changed.notify_all()

    def wait(self, scope: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: scope in self.marked, 10), self.marked

    def marked_before_sentinel(self) -> set[str]:
        """What was marked until a write in the sentinel model came through."""
        (self.root / SENTINEL / "file").write_text("x")
        self.wait(SENTINEL)
        return set(self.marked) - {SENTINEL}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(tmp_path / "library")
    yield library
    library.watcher.stop()


def test_a_write_in_a_models_folder_marks_that_model(library: Library) -> None:
    """At any depth."""
    (library.root / MODEL / "unet").mkdir()
    (library.root / MODEL / "unet" / "config.json").write_text("{}")

    assert library.marked_before_sentinel() == {MODEL}


def test_a_durable_write_of_metadata_marks_its_model_alone(library: Library) -> None:
    """The temporary file is nobody's; the rename over the real name counts."""
    folder = library.root / MODEL
    (folder / "metadata.json.41.7.tmp").write_text("{}")
    (folder / "metadata.json.41.7.tmp").rename(folder / "metadata.json")

    assert library.marked_before_sentinel() == {MODEL}


def test_writing_the_index_marks_nothing(library: Library) -> None:
    """SQLite's files come and go in the library root without a mark, also of the root itself."""
    index = sqlite3.connect(library.root / "models.db")
    index.execute("PRAGMA journal_mode = WAL")
    for number in range(20):
        with index:
            index.execute(f"CREATE TABLE t{number} (x)")
    index.close()
    (library.root / "migration-reports").mkdir()
    (library.root / "migration-reports" / "index.json").write_text("[]")

    assert library.marked_before_sentinel() == set()


def test_a_model_moved_in_marks_all_models(library: Library, tmp_path: Path) -> None:
    """What lies in the new folder is for the reconcile to find out."""
    (tmp_path / "outside" / "new").mkdir(parents=True)
    (tmp_path / "outside").rename(library.root / "llm")

    assert ALL_MODELS in library.marked_before_sentinel()


def test_a_family_moved_away_marks(library: Library) -> None:
    """Two levels up from a model."""
    (library.root / "diffusion").rename(library.root / "other")

    library.wait(ALL_MODELS)


def test_a_work_folder_renamed_to_a_model_marks_its_target(library: Library) -> None:
    """Importing writes under a temporary name that is nobody's."""
    work = library.root / ".tmp_import_1"
    work.mkdir()
    (work / "weights").write_bytes(b"x")
    assert library.marked_before_sentinel() == set()

    shutil.rmtree(library.root / MODEL)
    work.rename(library.root / MODEL)

    library.wait(MODEL)


def test_a_library_that_is_gone_is_a_fault_and_comes_back(library: Library, tmp_path: Path) -> None:
    """The root's own going and coming marks all models."""
    library.root.rename(tmp_path / "away")
    library.wait(ALL_MODELS)
    library.watcher.sweep()
    assert set(library.watcher.faults()) == {LIBRARY}

    (tmp_path / "away").rename(library.root)
    library.watcher.sweep()
    library.marked.clear()

    assert library.watcher.faults() == {}
    (library.root / MODEL / "file").write_text("x")
    library.wait(MODEL)
