"""Filing a model under another type: only on demand, only the library's own, and with all that hangs on it."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import InvalidParams, LibraryUnwritable, ModelNotFound
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.library import places

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

WRONG, RIGHT = "unknown/Acme/tiny", "llm/Acme/tiny"


@pytest.fixture
async def misfiled(agent: "Parts") -> Path:
    """A language model under `unknown`, with what hangs on it; its folder."""
    folder = await agent.create(WRONG, official_name="Tiny", model_type="unknown", family="Acme", notes="mine")
    (folder / "w.gguf").write_bytes(b"GGUF" + bytes(60))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))

    def hang(store: Any) -> None:
        connection = store._index._connection
        connection.execute("INSERT INTO dependency_profiles VALUES ('p', 1, 'h', 'python', '{}', 'now')")
        connection.execute(
            "INSERT INTO model_dependency_bindings"
            " VALUES ('b', ?, 'p', 1, 'core', NULL, NULL, 'active', 1, NULL, 'now')",
            (WRONG,),
        )
        connection.execute("INSERT INTO model_link_exclusions VALUES (?, 'app', 'now')", (WRONG,))
        connection.execute("INSERT INTO model_metadata_baselines VALUES (?, 2, '{}', 'now', 'pumas-library')", (WRONG,))

    await agent.library.write(hang)
    agent.library.catalog.dependencies.load(
        *await agent.library.read(lambda index: (index.dependencies.profiles(), index.dependencies.bindings()))
    )
    return folder


async def hanging(agent: "Parts") -> list[str]:
    """Ids that something hangs on, by table."""
    tables = ("model_dependency_bindings", "model_link_exclusions", "model_metadata_baselines")
    return await agent.library.read(
        lambda index: [
            model_id
            for table in tables
            for (model_id,) in index._connection.execute(f"SELECT model_id FROM {table}")  # noqa: S608  of this file
        ]
    )


async def test_a_plan_says_where_it_belongs_and_writes_nothing(agent: "Parts", misfiled: Path) -> None:
    before = await agent.written()

    plan = await agent.call("reclassify_model", model_id=WRONG)

    assert await agent.written() == before
    assert (plan["new_model_id"], plan["model_type"], plan["applied"]) == (RIGHT, "llm", False)
    assert misfiled.exists()


async def test_it_moves_with_everything_that_hangs_on_it(agent: "Parts", misfiled: Path) -> None:
    """Case reclassify-003: the family's folder keeps its case."""
    cursor = (await agent.call("list_model_library_updates_since"))["cursor"]

    assert (await agent.call("reclassify_model", model_id=WRONG, apply=True))["applied"]

    assert not misfiled.parent.parent.exists()
    assert agent.library.catalog.ids() == {RIGHT}
    assert await hanging(agent) == [RIGHT] * 3
    bound = agent.library.catalog.dependencies
    assert ([row.binding_id for row in bound.active(RIGHT)], bound.active(WRONG)) == (["b"], ())
    record = agent.record(RIGHT)
    assert (record["model_id"], record["model_type"], record["notes"]) == (RIGHT, "llm", "mine")
    assert (await agent.resolve(RIGHT))["entry_path"] == str(agent.root / RIGHT / "w.gguf")
    events = (await agent.call("list_model_library_updates_since", cursor=cursor))["events"]
    assert {(event["model_id"], event["change_kind"]) for event in events} == {
        (RIGHT, "model_added"),
        (WRONG, "model_removed"),
    }
    with pytest.raises(ModelNotFound):
        await agent.resolve(WRONG)


async def test_what_is_filed_where_it_belongs_is_not_written(agent: "Parts", misfiled: Path) -> None:
    assert misfiled.exists()
    await agent.call("reclassify_model", model_id=WRONG, apply=True)
    before = await agent.written()

    again = await agent.call("reclassify_model", model_id=RIGHT, apply=True)

    assert (again["new_model_id"], again["applied"]) == (RIGHT, False)
    assert await agent.written() == before


async def test_a_type_that_a_person_gave_is_not_guessed_away(agent: "Parts", misfiled: Path) -> None:
    assert misfiled.exists()
    await agent.call("reclassify_model", model_id=WRONG, model_type="feature-extraction", apply=True)

    plan = await agent.call("reclassify_model", model_id="embedding/Acme/tiny")

    assert plan["new_model_id"] == "embedding/Acme/tiny"


async def test_a_taken_place_is_refused_and_both_stay(agent: "Parts", misfiled: Path) -> None:
    """Case reconcile-009; nothing is collapsed, however alike the two are."""
    other = await agent.create(RIGHT, official_name="Other")
    (other / "w.gguf").write_bytes((misfiled / "w.gguf").read_bytes())

    result = await agent.call("reclassify_model", model_id=WRONG, apply=True)

    assert result["refused"] == f"Cannot reclassify {WRONG}: destination {RIGHT} already exists"
    assert agent.library.catalog.ids() == {WRONG, RIGHT}
    assert misfiled.exists()


async def test_a_move_that_cannot_be_written_leaves_the_model(
    agent: "Parts", misfiled: Path, disk_full: Callable[[bool], None]
) -> None:
    disk_full(True)
    with pytest.raises(LibraryUnwritable):
        await agent.call("reclassify_model", model_id=WRONG, apply=True)
    disk_full(False)

    await agent.call("reconcile")

    assert misfiled.exists()
    assert agent.library.catalog.ids() == {WRONG}
    assert await hanging(agent) == [WRONG] * 3
    assert not (agent.root / "llm").exists()


async def test_what_could_not_be_taken_back_keeps_all_that_hangs_on_it(
    agent: "Parts", misfiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full from the moment on that the folder was renamed: a look at it drops nothing."""
    real = os.rename
    moves = 0

    def rename(*given: Any, **named: Any) -> None:
        nonlocal moves
        moves += 1
        if moves > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*given, **named)
        monkeypatch.setattr(places, "write_json", rename)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(LibraryUnwritable):
        await agent.call("reclassify_model", model_id=WRONG, apply=True)
    monkeypatch.undo()

    await agent.library.write(lambda store: store.index_one(WRONG))
    assert not misfiled.exists()
    assert await hanging(agent) == [WRONG] * 3
    await agent.library.write(lambda store: store.recover())

    assert await hanging(agent) == [RIGHT] * 3
    assert agent.library.catalog.ids() == {RIGHT}


@pytest.mark.parametrize("family", [None, "Other"])
async def test_an_external_reference_is_never_moved(agent: "Parts", bundle: Path, family: str | None) -> None:
    """Whatever its record says of type and family."""
    model_id = await agent.registered(bundle)
    agent.edit(model_id, family="Changed by hand", model_type="llm")
    await agent.call("reconcile")
    before, files = agent.artifacts(), snapshot(bundle.parent)

    result = await agent.call("reclassify_model", model_id=model_id, family=family, apply=True)

    assert "external reference" in result["refused"]
    assert agent.artifacts() == before
    assert differences(files, snapshot(bundle.parent)) == []
    assert agent.library.catalog.ids() == {model_id}


async def test_no_look_at_the_library_moves_anything(agent: "Parts", misfiled: Path, bundle: Path) -> None:
    """Neither a read nor a reconcile does."""
    model_id = await agent.registered(bundle)

    await agent.call("list_models")
    await agent.call("search_models", query="")
    await agent.call("reconcile")
    await agent.call("rebuild_model_index")

    assert misfiled.exists()
    assert agent.library.catalog.ids() == {WRONG, model_id}


async def test_a_type_that_is_none_is_refused(agent: "Parts", misfiled: Path) -> None:
    assert misfiled.exists()

    with pytest.raises(InvalidParams, match="no model type"):
        await agent.call("reclassify_model", model_id=WRONG, model_type="nonsense")
    with pytest.raises(ModelNotFound):
        await agent.call("reclassify_model", model_id="llm/none")
