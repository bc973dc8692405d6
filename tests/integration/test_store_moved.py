"""A library that was copied, moved, or written by a newer version works where it lands, as far as it may."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import LibraryNewer
from pumas_agent.contracts.metadata import BundleFormat, ModelMetadata, StorageKind
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.library import Library
from tests.integration.conftest import HeldJudge, Parts

if TYPE_CHECKING:
    from collections.abc import Callable

OWNED, BUNDLE = "llm/f/a", "diffusion/f/b"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A library with a file model and a bundle of its own."""
    root = tmp_path / "library"
    library = Library.open(root, "command")
    store = library._store
    assert store is not None
    store.create(OWNED, ModelMetadata(tags=["x"]))
    record = ModelMetadata(
        storage_kind=StorageKind.LIBRARY_OWNED,
        bundle_format=BundleFormat.DIFFUSERS_DIRECTORY,
        entry_path=str(root / BUNDLE),
    )
    store.create(BUNDLE, record)
    library.close()
    (root / OWNED / "weights.gguf").write_bytes(b"GGUF")
    write_stable_diffusion_bundle(root / BUNDLE)
    return root


def _rename(old: Path, new: Path) -> None:
    old.rename(new)


def _copy(old: Path, new: Path) -> None:
    shutil.copytree(old, new)


@pytest.mark.parametrize("move", [_rename, _copy])
@pytest.mark.parametrize("writable", [True, False])
async def test_rows_and_descriptors_name_the_new_place(
    root: Path, tmp_path: Path, move: "Callable[[Path, Path], None]", *, writable: bool
) -> None:
    """Also when it is only read; the records need not be written for that."""
    new = tmp_path / "elsewhere"
    move(root, new)
    library = Library.open(new, "command") if writable else Library.open_readonly(new)
    parts = Parts(library, HeldJudge())
    await parts.start()

    rows = {row["id"]: row for row in (await parts.call("list_models"))["models"]}

    assert {row["path"] for row in rows.values()} == {str(new / OWNED), str(new / BUNDLE)}
    assert (await parts.resolve(OWNED))["entry_path"] == str(new / OWNED / "weights.gguf")
    if writable:
        await parts.call("reconcile")
        assert (await parts.resolve(BUNDLE))["entry_path"] == str(new / BUNDLE)
        assert rows[BUNDLE]["entry_path"] == str(new / BUNDLE)
        row = await library.read(lambda index: index.row(BUNDLE))
        assert row is not None
        assert json.loads(row.metadata_json)["entry_path"] == str(new / BUNDLE)
    library.close()


@pytest.fixture
def newer(root: Path) -> Path:
    """As a later version leaves it."""
    with sqlite3.connect(root / "models.db") as connection:
        connection.execute("INSERT INTO agent_migrations VALUES ('9999_later', 'now')")
    connection.close()
    return root


async def test_a_newer_library_is_read_and_not_written(newer: Path, judge: HeldJudge) -> None:
    """It is listed and resolved, said to be newer, and left as it is to the byte."""
    before = snapshot(newer)
    library = Library.open(newer, "agent")
    parts = Parts(library, judge)
    await parts.start()

    assert len((await parts.call("list_models"))["models"]) == 2
    assert (await parts.resolve(OWNED))["validation_state"] == "valid"
    await parts.call("reconcile")

    assert parts.alerts() == ["library_unwritable"]
    with pytest.raises(LibraryNewer, match="9999_later"):
        await parts.call("update_model", model_id=OWNED, notes="x")
    library.close()
    own = {".", ".pumas-agent.lock"}  # in the root SQLite's log comes and goes
    changed = [name for name in differences(before, snapshot(newer)) if name not in own]
    assert changed == []


def test_the_lock_of_a_newer_library_is_given_up(newer: Path) -> None:
    for _ in range(2):
        library = Library.open(newer, "command")
        assert not library.writable
        library.close()
