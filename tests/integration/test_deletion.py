"""Deleting by who owns the files: the library's go, recoverably; an external bundle's stay, whatever is in the way."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import InvalidModelId, InvalidParams, LibraryUnwritable, ModelNotFound
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.library import files, places
from pumas_agent.upkeep import empty_trash

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

OWNED = "llm/acme/tiny"


@pytest.fixture
async def owned(agent: "Parts") -> Path:
    """A model of the library's own; its folder."""
    folder = await agent.create(OWNED, official_name="Tiny", notes="mine")
    (folder / "sub").mkdir()
    (folder / "weights.gguf").write_bytes(b"GGUF")
    (folder / "sub" / "more.bin").write_bytes(b"12345")
    return folder


async def test_a_plan_says_what_would_go_and_writes_nothing(agent: "Parts", owned: Path) -> None:
    before = await agent.written()

    plan = await agent.call("delete_model_with_cascade", model_id=OWNED, apply=False)

    assert await agent.written() == before
    assert (plan["applied"], plan["storage_kind"], plan["path"]) == (False, "library_owned", str(owned))
    assert (plan["files"], plan["trash_path"]) == (3, None)
    assert plan["size_bytes"] == sum(path.stat().st_size for path in owned.rglob("*") if path.is_file())


async def test_the_files_go_to_the_trash_and_come_back_when_moved_back(agent: "Parts", owned: Path) -> None:
    before = snapshot(owned)

    result = await agent.call("delete_model_with_cascade", model_id=OWNED)

    assert not (agent.root / "llm").exists()
    assert agent.library.catalog.get(OWNED) is None
    trash = Path(result["trash_path"])
    assert {path.name for path in trash.rglob("*")} == {"metadata.json", "weights.gguf", "sub", "more.bin"}
    await agent.call("reconcile")
    assert agent.library.catalog.ids() == set()

    owned.parent.mkdir(parents=True)
    trash.rename(owned)
    await agent.call("reconcile")

    assert [change for change in differences(before, snapshot(owned)) if "weights" in change] == []
    assert agent.record(OWNED)["notes"] == "mine"
    assert agent.library.catalog.ids() == {OWNED}


async def test_one_event_tells_of_it(agent: "Parts", owned: Path) -> None:
    """Case delete-002."""
    assert owned.exists()
    cursor = (await agent.call("list_model_library_updates_since"))["cursor"]

    await agent.call("delete_model_with_cascade", model_id=OWNED)

    events = (await agent.call("list_model_library_updates_since", cursor=cursor))["events"]
    assert [(event["model_id"], event["change_kind"]) for event in events] == [(OWNED, "model_removed")]


async def test_without_the_trash_they_are_gone_for_good(agent: "Parts", owned: Path) -> None:
    assert owned.exists()

    result = await agent.call("delete_model_with_cascade", model_id=OWNED, keep_in_trash=False)

    assert result["trash_path"] is None
    assert not list((agent.root / ".pumas-trash").iterdir())


async def test_an_external_bundle_only_loses_its_registry_artifact(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle)
    before = snapshot(bundle.parent)

    plan = await agent.call("delete_model_with_cascade", model_id=model_id, apply=False)
    result = await agent.call("delete_model_with_cascade", model_id=model_id, keep_in_trash=False)

    assert (plan["files"], plan["source_path"]) == (0, str(bundle))
    assert (result["applied"], result["storage_kind"]) == (True, "external_reference")
    assert differences(before, snapshot(bundle.parent)) == []
    assert not (agent.root / "diffusion").exists()


async def test_links_in_a_model_are_not_followed(agent: "Parts", owned: Path, bundle: Path) -> None:
    """A link of a library-owned model into an external root: the link goes, what it leads to stays."""
    (owned / "unet").symlink_to(bundle / "unet")
    (owned / "linked.gguf").symlink_to(bundle / "model_index.json")
    before = snapshot(bundle.parent)

    plan = await agent.call("delete_model_with_cascade", model_id=OWNED, apply=False)
    await agent.call("delete_model_with_cascade", model_id=OWNED, keep_in_trash=False)

    assert plan["files"] == 5
    assert differences(before, snapshot(bundle.parent)) == []


@pytest.mark.parametrize("model_id", ["", "..", "llm/../..", "/etc", "llm//x", "."])
async def test_no_id_leads_out_of_the_library(agent: "Parts", owned: Path, model_id: str) -> None:
    with pytest.raises(InvalidParams):
        await agent.call("delete_model_with_cascade", model_id=model_id)

    assert owned.exists()


async def test_an_id_behind_a_link_is_refused(agent: "Parts", tmp_path: Path, owned: Path) -> None:
    shutil.move(agent.root / "llm", tmp_path / "llm")
    (agent.root / "llm").symlink_to(tmp_path / "llm")

    with pytest.raises(InvalidModelId):
        await agent.call("delete_model_with_cascade", model_id=OWNED)

    assert (tmp_path / "llm" / "acme" / "tiny" / owned.name).parent.exists()


async def test_a_link_that_is_put_in_the_way_at_the_last_moment_is_not_followed(
    agent: "Parts", tmp_path: Path, owned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every check, and before the rename."""
    outside = tmp_path / "outside"
    (outside / "tiny").mkdir(parents=True)
    (outside / "tiny" / "mine").write_text("mine")
    real = files.rename_folder

    def rename_folder(*given: Any) -> None:
        owned.parent.rename(tmp_path / "aside")
        owned.parent.symlink_to(outside)
        real(*given)

    monkeypatch.setattr(places, "rename_folder", rename_folder)

    with pytest.raises(LibraryUnwritable):
        await agent.call("delete_model_with_cascade", model_id=OWNED)

    assert (outside / "tiny" / "mine").read_text() == "mine"


async def test_an_unknown_model_is_not_found(agent: "Parts") -> None:
    """Case delete-003."""
    with pytest.raises(ModelNotFound):
        await agent.call("delete_model_with_cascade", model_id="llm/acme/none")


async def test_a_deletion_that_cannot_be_written_leaves_the_model(
    agent: "Parts", owned: Path, disk_full: Callable[[bool], None]
) -> None:
    disk_full(True)

    with pytest.raises(LibraryUnwritable):
        await agent.call("delete_model_with_cascade", model_id=OWNED)

    disk_full(False)
    assert (owned / "weights.gguf").exists()
    assert agent.library.catalog.get(OWNED) is not None
    assert not list((agent.root / ".pumas-trash").glob("*/*"))


async def test_old_trash_goes_and_young_and_strange_things_stay(agent: "Parts", owned: Path) -> None:
    assert owned.exists()
    young = Path((await agent.call("delete_model_with_cascade", model_id=OWNED))["trash_path"])
    trash = agent.root / ".pumas-trash"
    old = trash / "20200101-000000-01234567"
    (old / "llm").mkdir(parents=True)
    (trash / "by-hand").mkdir()
    (trash / "20200101-000000-0123456f").symlink_to(young)

    assert empty_trash(agent.root, 30) == 1

    assert not old.exists()
    assert young.exists()
    assert (trash / "by-hand").exists()


async def test_a_clock_that_is_set_forward_empties_no_trash(
    agent: "Parts", owned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten years in a second are no ten years: what was deleted today can be had back for its thirty days."""
    assert owned.exists()
    young = Path((await agent.call("delete_model_with_cascade", model_id=OWNED))["trash_path"])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3650 * 86_400)

    assert empty_trash(agent.root, 30) == 0
    assert young.exists()
