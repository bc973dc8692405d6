"""Opening a library only to read."""

import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import LibraryUnavailable, LibraryUnwritable
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import Library

MODEL = "diffusion/f/a"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    library = Library.open(root, "command")
    assert library._store is not None
    library._store.create(MODEL, ModelMetadata(tags=["x"]))
    library.close()
    return root


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_reading_makes_no_file(root: Path) -> None:
    """Not even SQLite's own: the library may be on a disk that is mounted read-only."""
    before = names(root)

    library = Library.open_readonly(root)

    assert names(root) == before
    assert library.catalog.ids() == {MODEL}
    assert library._reader.search("x") == [MODEL]
    assert not library.writable
    library.close()
    assert names(root) == before


def test_a_reader_does_not_wait_for_a_writer(root: Path) -> None:
    """It sees what was committed, while a transaction is open, and what is committed later."""
    agent = Library.open(root, "agent")
    assert agent._store is not None
    started = time.monotonic()

    with agent._store._index.transaction():
        agent._store._index._connection.execute("UPDATE models SET official_name = 'not committed yet'")
        library = Library.open_readonly(root)
        entry = library.catalog.get(MODEL)

    assert time.monotonic() - started < 5
    assert entry is not None
    assert entry.official_name == MODEL
    agent._store.create("diffusion/f/b", ModelMetadata())
    assert library._reader.row("diffusion/f/b") is not None
    library.close()
    agent.close()


def test_commits_that_a_crashed_writer_left_in_the_log_are_seen(root: Path, tmp_path: Path) -> None:
    """The log of the index is part of it."""
    agent = Library.open(root, "agent")
    assert agent._store is not None
    agent._store.create("diffusion/f/b", ModelMetadata())
    shutil.copytree(root, tmp_path / "crashed")
    agent.close()

    library = Library.open_readonly(tmp_path / "crashed")

    assert library.catalog.ids() == {MODEL, "diffusion/f/b"}
    library.close()


async def test_a_library_opened_to_read_refuses_to_write(root: Path) -> None:
    """By its type of error, and SQLite refuses as well."""
    library = Library.open_readonly(root)

    with pytest.raises(LibraryUnwritable):
        await library.write(lambda store: store.remove(MODEL))
    with pytest.raises(LibraryUnwritable):
        await library.look_around(lambda store: store.scan({}))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        library._reader._connection.execute("DELETE FROM models")

    library.close()


@pytest.mark.parametrize("what", ["no folder", "a file", "no index", "an empty index", "no database"])
def test_what_is_no_library_is_unavailable_and_stays_as_it_is(tmp_path: Path, what: str) -> None:
    """Nothing is made in its place."""
    root = tmp_path / "library"
    if what == "a file":
        root.write_text("")
    elif what != "no folder":
        root.mkdir()
    if what == "an empty index":
        (root / "models.db").write_bytes(b"")
    elif what == "no database":
        (root / "models.db").write_bytes(b"no database" * 1000)
    before = names(tmp_path)

    with pytest.raises(LibraryUnavailable, match="library"):
        Library.open_readonly(root)

    assert names(tmp_path) == before


def test_a_library_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    """A file is in its place, or above it."""
    (tmp_path / "file").write_text("")

    for root in (tmp_path / "file", tmp_path / "file" / "library"):
        with pytest.raises(LibraryUnavailable, match="cannot open the library"):
            Library.open(root, "command")
