"""Comparing a library with the disk: what differs is told, what does not is not, and nothing is changed."""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import AssetUnresponsive, LibraryOffline, ModelNotFound
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.library import Library
from pumas_agent.library.digests import BLOCK
from pumas_agent.upkeep import Verifier, verification

if TYPE_CHECKING:
    from tests.integration.conftest import HeldJudge, Parts

TINY = "diffusion/acme/tiny"
MODEL = "llm/f/a"
CONTENT = b"GGUF" + bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


async def verify(agent: "Parts", **params: Any) -> dict[str, Any]:
    return await agent.call("verify", **params)


async def differing(agent: "Parts", **params: Any) -> list[tuple[str | None, str, str | None]]:
    """Model, code and path of each difference."""
    report = await verify(agent, **params)
    assert report["ok"] == (not report["differences"] and not report["unhealthy"])
    return [(one["model_id"], one["code"], one["path"]) for one in report["differences"]]


async def file_model(agent: "Parts", model_id: str = MODEL, content: bytes = CONTENT, **fields: Any) -> Path:
    """A model of the library's own with one file; the file."""
    folder = await agent.create(model_id, **fields)
    (folder / "model.gguf").write_bytes(content)
    await agent.call("reconcile")
    return folder / "model.gguf"


def named(**facts: Any) -> list[dict[str, Any]]:
    return [{"name": "model.gguf", **facts}]


def in_index(agent: "Parts", sql: str, *values: object) -> None:
    """Change the index behind the agent's back."""
    with closing(sqlite3.connect(agent.root / "models.db")) as connection, connection:
        connection.execute(sql, values)


# --- all is well -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
async def test_a_library_that_agrees_is_well_and_nothing_is_written(agent: "Parts", bundle: Path, deep: bool) -> None:
    """No byte in the library, and no fact of an external bundle changes; also deep."""
    await file_model(agent, files=named(size=len(CONTENT), sha256=SHA256), size_bytes=len(CONTENT))
    await agent.registered(bundle)
    outside, inside = snapshot(bundle.parent), await agent.written()

    report = await verify(agent, deep=deep)

    assert (report["ok"], report["models"], report["bundles_judged"], report["files"]) == (True, 2, 1, 1)
    assert (report["files_hashed"], report["bytes_hashed"]) == ((1, len(CONTENT)) if deep else (0, 0))
    assert differences(outside, snapshot(bundle.parent)) == []
    assert await agent.written() == inside


async def test_an_empty_library_is_well(agent: "Parts") -> None:
    """There is nothing to differ."""
    report = await verify(agent, deep=True)

    assert (report["ok"], report["models"]) == (True, 0)


async def test_one_model_is_verified_alone(agent: "Parts", bundle: Path) -> None:
    """What is wrong with another is not told, and no other bundle is judged."""
    file = await file_model(agent, files=named(size=1))
    await agent.registered(bundle)
    agent.judge.looks.clear()

    report = await verify(agent, model_id=MODEL)

    assert (report["models"], report["bundles_judged"], agent.judge.looks) == (1, 0, [])
    assert await differing(agent, model_id=TINY) == []
    assert await differing(agent, model_id=MODEL) == [(MODEL, "size_differs", file.name)]


@pytest.mark.parametrize("model_id", ["llm/f/none", "..", "llm/../..", "/etc", "a\0b"])
async def test_a_model_that_is_none_is_not_found(agent: "Parts", model_id: str) -> None:
    """Nor is anything outside of the library looked at."""
    with pytest.raises(ModelNotFound):
        await verify(agent, model_id=model_id)


# --- records and rows ------------------------------------------------------------------------------------------------


async def test_a_row_without_a_record_is_told(agent: "Parts", bundle: Path) -> None:
    """Of an external registration too, which is never dropped for it."""
    await file_model(agent)
    await agent.registered(bundle)
    for model_id in (MODEL, TINY):
        (agent.root / model_id / "metadata.json").unlink()

    assert await differing(agent) == [(TINY, "record_missing", None), (MODEL, "record_missing", None)]


async def test_a_record_without_a_row_is_told(agent: "Parts") -> None:
    """It was not indexed yet, or its row was lost."""
    await file_model(agent)
    shutil.copytree(agent.root / MODEL, agent.root / "llm/f/b")
    in_index(agent, "DELETE FROM models WHERE id = ?", MODEL)

    assert await differing(agent) == [(MODEL, "row_missing", None), ("llm/f/b", "row_missing", None)]


async def test_a_row_that_is_not_what_its_record_says_is_told(agent: "Parts") -> None:
    """Whichever of the two was changed; the columns are named."""
    await file_model(agent)
    in_index(agent, "UPDATE models SET official_name = 'other', model_type = 'audio' WHERE id = ?", MODEL)

    report = await verify(agent)

    assert [one["code"] for one in report["differences"]] == ["row_differs"]
    assert "official_name, model_type" in report["differences"][0]["message"]


@pytest.mark.parametrize("content", ["", "[]", "{", "\0", '{"a": NaN}'])
async def test_a_record_that_cannot_be_read_is_told(agent: "Parts", content: str) -> None:
    """And nothing else is said of that model."""
    await file_model(agent, files=named(size=1))
    (agent.root / MODEL / "metadata.json").write_text(content)

    assert await differing(agent) == [(MODEL, "record_unreadable", None)]


async def test_a_field_that_cannot_be_read_is_told(agent: "Parts") -> None:
    """The others are compared."""
    await file_model(agent)
    agent.edit(MODEL, tags=7)
    await agent.call("reconcile")

    assert await differing(agent) == [(MODEL, "field_unreadable", None)]


@pytest.mark.parametrize(
    ("sql", "model_id"),
    [
        ("DELETE FROM model_search WHERE id = 'llm/f/a'", MODEL),
        ("UPDATE model_search SET tags = 'other' WHERE id = 'llm/f/a'", MODEL),
        ("INSERT INTO model_search (id, official_name) VALUES ('llm/f/ghost', 'x')", "llm/f/ghost"),
        ("INSERT INTO model_search SELECT * FROM model_search", MODEL),
    ],
)
async def test_a_search_row_that_does_not_belong_to_its_row_is_told(agent: "Parts", sql: str, model_id: str) -> None:
    """Missing, other, of no model, or twice."""
    await file_model(agent, tags=["x"])
    in_index(agent, sql)

    assert await differing(agent) == [(model_id, "search_row_differs", None)]
    assert await differing(agent, model_id=MODEL) == (
        [(MODEL, "search_row_differs", None)] if model_id == MODEL else []
    )


async def test_an_index_that_is_damaged_is_told(tmp_path: Path) -> None:
    """By SQLite's own check, of a library that is open only to read."""
    library = Library.open(tmp_path / "library", "command")
    index = library.layout.index_path
    library.close()
    with closing(sqlite3.connect(index)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'model_metadata_overlays'"
        ((page,),) = connection.execute(sql)
    with index.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    library = Library.open_readonly(tmp_path / "library")
    verifier = Verifier(library, None)  # type: ignore[arg-type]  # there is no bundle to judge

    report = await verifier.verify(None, deep=False, tell=lambda *_: None)

    assert {one.code for one in report.differences} == {"index_damaged"}
    library.close()


async def test_a_library_that_is_away_is_no_library_of_missing_models(agent: "Parts") -> None:
    """Nothing is concluded from an empty mount point."""
    await file_model(agent)
    agent.root.rename(agent.root.with_name("away"))
    agent.root.mkdir()

    with pytest.raises(LibraryOffline):
        await verify(agent)

    agent.root.rmdir()
    agent.root.with_name("away").rename(agent.root)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"files": [{"name": "other.gguf"}]}, "file_missing"),
        ({"files": [{"name": "model.gguf/below"}]}, "file_missing"),
        ({"files": [{"name": "folder"}]}, "file_unreadable"),
        ({"files": [{"name": "link.gguf"}]}, "file_unreadable"),
        ({"files": [{"name": "model.gguf", "size": 1}]}, "size_differs"),
        ({"size_bytes": 1}, "size_differs"),
        ({"files": [{"name": "../../../etc/passwd"}]}, "name_leads_out"),
        ({"files": [{"name": "/etc/passwd"}]}, "name_leads_out"),
        ({"files": [{"name": "a//b"}]}, "name_leads_out"),
        ({"files": [{"name": ""}]}, "name_leads_out"),
        ({"files": [{"name": "a\0b"}]}, "name_leads_out"),
        ({"expected_files": ["more.gguf"]}, "file_missing"),
        ({"size_bytes": len(CONTENT)}, None),
        ({"size_bytes": len(CONTENT) + 4}, None),
        ({"expected_files": ["more.gguf"], "match_source": "download_partial"}, None),
        ({"files": [{"name": "model.gguf"}], "expected_files": ["model.gguf"]}, None),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
async def test_what_the_record_says_of_files_is_compared(
    agent: "Parts", fields: dict[str, Any], code: str | None, deep: bool
) -> None:
    """That they are there, in its folder, and of that size; a size may be of everything or of the model file."""
    file = await file_model(agent, **fields)
    (file.parent / "folder").mkdir()
    (file.parent / "read.me").write_bytes(b"more")
    (file.parent / "link.gguf").symlink_to("model.gguf")
    await agent.call("reconcile")

    assert [found for _, found, _ in await differing(agent, deep=deep)] == ([] if code is None else [code])


@pytest.mark.parametrize("where", ["files", "hashes"])
async def test_a_file_with_other_bytes_is_found_by_its_digest_and_not_by_its_size(agent: "Parts", where: str) -> None:
    """One byte is enough; without `deep` no file is read."""
    recorded: dict[str, Any] = {
        "files": {"files": named(size=len(CONTENT), sha256=SHA256.upper())},
        "hashes": {"hashes": {"sha256": SHA256}},
    }
    file = await file_model(agent, **recorded[where])
    assert await differing(agent, deep=True) == []

    file.write_bytes(CONTENT[:-1] + b"\0")
    await agent.call("reconcile")

    assert await differing(agent) == []
    assert await differing(agent, deep=True) == [(MODEL, "hash_differs", file.name)]


async def test_a_large_file_is_read_in_blocks_and_its_progress_told(agent: "Parts") -> None:
    """Bounded memory; the last report says that all of it is done."""
    content = os.urandom(3 * BLOCK + 7)
    await file_model(agent, content=content, files=named(size=len(content), sha256=hashlib.sha256(content).hexdigest()))
    told: list[tuple[str, int, int | None, str]] = []

    report = await agent.parts.verifier.verify(None, deep=True, tell=lambda *step: told.append(step))

    assert report.ok
    assert ("comparing", 1, 1, "models") in told
    hashing = [done for stage, done, total, unit in told if (stage, total, unit) == ("hashing", len(content), "bytes")]
    assert hashing == [BLOCK, 2 * BLOCK, 3 * BLOCK, len(content)]


async def test_a_digest_that_is_none_and_one_of_several_files_are_noted(agent: "Parts") -> None:
    """What could not be compared is said, and is no difference."""
    await file_model(agent, files=named(sha256="not hex"))
    folder = (await file_model(agent, "llm/f/b", hashes={"sha256": SHA256})).parent
    (folder / "second.gguf").write_bytes(b"x")
    await agent.call("reconcile")

    report = await verify(agent, deep=True)

    assert (report["ok"], report["files_hashed"]) == (True, 0)
    assert [note.split(":")[0] for note in report["notes"]] == [MODEL, "llm/f/b"]


@pytest.mark.parametrize("installed", [False, True])
async def test_blake3_is_compared_where_its_package_is_and_never_faked(
    agent: "Parts", monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """Without it that is said; SHA-256 is compared all the same."""
    package = ModuleType("blake3")
    package.blake3 = hashlib.blake2s  # type: ignore[attr-defined]  # a stand-in of the same size
    monkeypatch.setitem(sys.modules, "blake3", package if installed else None)
    await file_model(agent, files=named(sha256=SHA256, blake3="0" * 64))

    report = await verify(agent, deep=True)

    assert [one["message"].split()[0] for one in report["differences"]] == (["blake3"] if installed else [])
    assert any("blake3" in note for note in report["notes"]) != installed
    assert report["files_hashed"] == 1


async def test_a_pipe_in_the_place_of_a_file_stops_nothing(agent: "Parts") -> None:
    """It is not opened: that would wait for a writer."""
    file = await file_model(agent, files=named(sha256=SHA256))
    file.unlink()
    os.mkfifo(file)
    await agent.call("reconcile")

    assert await differing(agent, deep=True) == [(MODEL, "file_unreadable", file.name)]


async def test_a_file_that_is_written_to_meanwhile_is_told_as_that(agent: "Parts") -> None:
    """Its digest says nothing."""
    content = os.urandom(2 * BLOCK)
    file = await file_model(agent, content=content, files=named(sha256=hashlib.sha256(content).hexdigest()))

    def append(stage: str, *_: object) -> None:
        if stage == "hashing":
            with file.open("ab") as opened:
                opened.write(b"x")

    report = await agent.parts.verifier.verify(MODEL, deep=True, tell=append)

    assert [one.code for one in report.differences] == ["file_changed"]


async def test_a_verification_that_nobody_waits_for_ends_at_the_next_block(
    agent: "Parts", until: Callable[[Callable[[], object]], Awaitable[None]]
) -> None:
    """And the next one may read; the thread is gone."""
    content = os.urandom(8 * BLOCK)
    await file_model(agent, content=content, files=named(sha256=hashlib.sha256(content).hexdigest()))
    reading, go_on, blocks = threading.Event(), threading.Event(), []

    def tell(stage: str, done: int, *_: object) -> None:
        if stage == "hashing":
            blocks.append(done)
            reading.set()
            go_on.wait(10)

    task = asyncio.create_task(agent.parts.verifier.verify(MODEL, deep=True, tell=tell))
    await until(reading.is_set)
    task.cancel()
    await asyncio.wait({task})
    go_on.set()

    await until(lambda: not any(thread.name == "verify" for thread in threading.enumerate()))
    assert (task.cancelled(), blocks) == (True, [BLOCK])
    assert (await verify(agent, deep=True))["ok"]


async def test_one_file_is_read_at_a_time_whoever_asks(
    agent: "Parts",
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[Callable[[], object]], Awaitable[None]],
) -> None:
    """The second verification waits for its turn, and is told so again and again."""
    monkeypatch.setattr(verification, "_TURN_S", 0.01)
    content = os.urandom(3 * BLOCK)
    await file_model(agent, content=content, files=named(sha256=hashlib.sha256(content).hexdigest()))
    told: list[tuple[str, str]] = []
    go_on = threading.Event()

    def first(stage: str, *_: object) -> None:
        told.append(("first", stage))
        if stage == "hashing":
            go_on.wait(10)

    one = asyncio.create_task(agent.parts.verifier.verify(MODEL, deep=True, tell=first))
    await until(lambda: ("first", "hashing") in told)
    two = asyncio.create_task(
        agent.parts.verifier.verify(MODEL, deep=True, tell=lambda stage, *_: told.append(("second", stage)))
    )
    await until(lambda: told.count(("second", "waiting for another verification")) >= 2)
    assert ("second", "hashing") not in told

    go_on.set()
    assert (await one).ok
    assert (await two).ok
    assert [who for who, stage in told if stage == "hashing"] == ["first"] * 3 + ["second"] * 3


async def test_the_loop_goes_on_while_files_are_read(agent: "Parts") -> None:
    """Nothing of it happens on the event loop, and other questions are answered meanwhile."""
    content = os.urandom(4 * BLOCK)
    await file_model(agent, content=content, files=named(sha256=hashlib.sha256(content).hexdigest()))
    go_on = threading.Event()

    def tell(stage: str, *_: object) -> None:
        if stage == "hashing":
            go_on.wait(10)

    task = asyncio.create_task(agent.parts.verifier.verify(MODEL, deep=True, tell=tell))

    assert (await agent.call("list_models"))["totalCount"] == 1
    assert await agent.library.write(lambda store: store.update(MODEL, lambda record: record)) is False
    assert not task.done()

    go_on.set()
    assert (await task).ok


# --- bundles ---------------------------------------------------------------------------------------------------------


async def test_a_bundle_is_judged_anew_and_its_record_left_as_it_is(agent: "Parts", bundle: Path) -> None:
    """The next reconcile commits what is found, a verification never does."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "unet")
    written = await agent.written()

    report = await verify(agent)

    assert [(one["code"], one["model_id"]) for one in report["differences"]] == [("state_differs", TINY)]
    assert "unet" in report["differences"][0]["message"]
    assert report["unhealthy"] == [TINY]
    assert await agent.written() == written


async def test_a_bundle_that_is_as_bad_as_its_record_says_differs_in_nothing_and_is_not_well(
    agent: "Parts", bundle: Path
) -> None:
    """The record is right; the bundle is not."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "unet")
    await agent.call("reconcile")

    report = await verify(agent)

    assert (report["ok"], report["differences"], report["unhealthy"]) == (False, [], [TINY])
    shutil.rmtree(bundle / "vae")
    assert await differing(agent) == [(TINY, "state_differs", None)]


async def test_a_bundle_that_is_whole_again_is_another_state_than_recorded(agent: "Parts", bundle: Path) -> None:
    """In either direction."""
    await agent.registered(bundle)
    (bundle / "unet").rename(bundle / "aside")
    await agent.call("reconcile")
    (bundle / "aside").rename(bundle / "unet")

    assert await differing(agent) == [(TINY, "state_differs", None)]


async def test_a_bundle_with_other_contents_is_told_although_it_is_valid(agent: "Parts", bundle: Path) -> None:
    """The identity of the last valid verdict is compared, and the size."""
    await agent.registered(bundle)
    config = bundle / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"steps_offset": 0}, indent=7))

    assert await differing(agent) == [(TINY, "size_differs", None), (TINY, "state_differs", None)]


async def test_a_bundle_that_does_not_answer_is_told_and_stops_no_other(
    agent: "Parts", bundle: Path, judge: "HeldJudge"
) -> None:
    """It could not be verified, and that is no good news."""
    await agent.registered(bundle)
    other = bundle.with_name("other")
    shutil.copytree(bundle, other)
    await agent.registered(other)
    judge.faults[bundle] = AssetUnresponsive("it does not answer")

    report = await verify(agent)

    assert report["bundles_judged"] == 2
    assert [(one["code"], one["model_id"]) for one in report["differences"]] == [("not_answered", TINY)]


async def test_a_registration_without_a_path_is_not_well(agent: "Parts") -> None:
    """There is nothing to judge; a record that calls it valid is wrong."""
    await agent.create("diffusion/f/a", storage_kind="external_reference", validation_state="valid")

    assert await differing(agent) == [("diffusion/f/a", "state_differs", None)]


async def test_files_of_an_external_bundle_are_read_only_deep_and_only_where_digests_are_recorded(
    agent: "Parts", bundle: Path
) -> None:
    """R18: nothing below its root changes, not even for a name that leads out of it."""
    await agent.registered(bundle)
    config = bundle / "model_index.json"
    files = [
        {"name": "model_index.json", "sha256": hashlib.sha256(config.read_bytes()).hexdigest()},
        {"name": "unet/config.json", "sha256": "0" * 64},
        {"name": "gone.json", "sha256": "0" * 64},
        {"name": "unet", "sha256": "0" * 64},
        {"name": "../outside", "sha256": "0" * 64},
    ]
    agent.edit(TINY, files=files)
    await agent.call("reconcile")
    before = snapshot(bundle.parent)

    assert await differing(agent) == [(TINY, "name_leads_out", None)]
    assert await differing(agent, deep=True) == [
        (TINY, "name_leads_out", None),
        (TINY, "file_missing", "gone.json"),
        (TINY, "file_unreadable", "unet"),
        (TINY, "hash_differs", "unet/config.json"),
    ]
    assert differences(before, snapshot(bundle.parent)) == []


async def test_very_many_differences_are_counted(agent: "Parts") -> None:
    """The answer stays of a size that can be sent."""
    await file_model(agent, files=[{"name": f"gone{number}"} for number in range(1_005)])

    report = await verify(agent)

    assert (len(report["differences"]), report["more_differences"], report["ok"]) == (1_000, 5, False)


async def test_what_is_seen_in_the_middle_of_a_commit_is_no_difference(agent: "Parts") -> None:
    """A record and a row that do not agree are looked at again; here the row comes after the first look."""
    await file_model(agent)
    in_index(agent, "UPDATE models SET official_name = 'old' WHERE id = ?", MODEL)

    def commit(stage: str, *_: object) -> None:
        if stage == "comparing":
            in_index(agent, "UPDATE models SET official_name = id WHERE id = ?", MODEL)

    report = await agent.parts.verifier.verify(None, deep=False, tell=commit)

    assert (report.differences, report.models) == ((), 1)


async def test_a_model_that_comes_and_goes_meanwhile_is_no_difference(agent: "Parts") -> None:
    """It is in neither place any more."""
    await file_model(agent)
    (agent.root / MODEL / "metadata.json").rename(agent.root / "aside")

    def remove(stage: str, *_: object) -> None:
        if stage == "comparing":
            in_index(agent, "DELETE FROM models WHERE id = ?", MODEL)

    report = await agent.parts.verifier.verify(None, deep=False, tell=remove)

    assert report.differences == ()
