"""Forgetting an external bundle: the artifact goes, its files stay."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import (
    InvalidModelId,
    ModelNotFound,
    NotExternal,
)
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"


async def test_unregistering_removes_the_artifact_and_nothing_of_the_bundle(agent: "Parts", bundle: Path) -> None:
    """Case delete-002, R16, R23: record, row, search row and empty folders go; one event; the bundle stays."""
    model_id = await agent.registered(bundle, tags=["findme"])
    before = snapshot(bundle)

    result = await agent.call("unregister_external_model", model_id=model_id)

    feed = await agent.call("list_model_library_updates_since", cursor="model-library-updates:0")
    assert result == {"success": True, "model_id": TINY, "source_path": str(bundle), "kept_files": []}
    assert differences(before, snapshot(bundle)) == []
    assert agent.artifacts() == []
    assert (await agent.call("search_models", query="findme"))["totalCount"] == 0
    assert [event["change_kind"] for event in feed["events"]] == ["model_added", "model_removed"]
    with pytest.raises(ModelNotFound, match=TINY):
        await agent.resolve(TINY)


async def test_files_in_the_registry_folder_that_are_not_ours_stay(agent: "Parts", bundle: Path) -> None:
    """And are named."""
    await agent.registered(bundle)
    (agent.root / TINY / "preview.png").write_bytes(b"theirs")

    result = await agent.call("unregister_external_model", model_id=TINY)

    assert result["kept_files"] == ["preview.png"]
    assert (agent.root / TINY / "preview.png").read_bytes() == b"theirs"


async def test_unregistering_is_for_external_bundles(agent: "Parts") -> None:
    """R17: a model of the library is refused and stays; an unknown id is not found (case delete-003)."""
    folder = await agent.create("llm/f/owned", model_type="llm")
    (folder / "a.gguf").write_bytes(b"x")

    with pytest.raises(NotExternal, match="belongs to the library"):
        await agent.call("unregister_external_model", model_id="llm/f/owned")
    with pytest.raises(ModelNotFound, match="diffusion/f/none"):
        await agent.call("unregister_external_model", model_id="diffusion/f/none")
    with pytest.raises(InvalidModelId):
        await agent.call("unregister_external_model", model_id="../outside")

    assert (folder / "a.gguf").exists()
    assert agent.library.catalog.ids() == {"llm/f/owned"}


async def test_a_bundle_that_was_forgotten_may_come_again(agent: "Parts", bundle: Path) -> None:
    """R9: the same names give the same id; nothing of the first life is left in what is served."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "vae")
    await agent.call("reconcile")
    await agent.call("unregister_external_model", model_id=TINY)
    write_stable_diffusion_bundle(bundle)

    model_id = await agent.registered(bundle, official_name="Tiny")

    assert model_id == TINY
    assert agent.alerts(TINY) == []
    assert (await agent.resolve(TINY))["entry_path"] == str(bundle)
