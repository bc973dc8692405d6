"""A record that is gone or damaged is made again, and nothing that hung on the model was lost meanwhile."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import ModelNotFound
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import Parts


def damage(path: Path, how: str) -> None:
    """Take a metadata.json away, or cut it off; its backup too where that is said."""
    if "gone" in how:
        path.unlink()
    else:
        path.write_text(path.read_text()[:100])
    if "backup" in how:
        path.with_name("metadata.json.bak").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("how", "source"),
    [
        ("gone", "backup"),
        ("cut off", "backup"),
        ("gone, backup too", "index"),
        ("cut off, backup too", "index"),
    ],
)
async def test_it_is_made_again_from_what_is_left(agent: "Parts", bundle: Path, how: str, source: str) -> None:
    model_id = await agent.registered(bundle, tags=["a"], repo_id="acme/tiny")
    await agent.call("update_model", model_id=model_id, notes="first")
    await agent.call("update_model", model_id=model_id, notes="second")
    path, files = agent.root / model_id / "metadata.json", snapshot(bundle.parent)
    before = agent.record(model_id)
    damage(path, how)
    await agent.call("reconcile")
    assert agent.alerts(model_id) == ["metadata_corrupt"]

    plan = await agent.call("repair_model_record", model_id=model_id)
    assert (plan["source"], plan["applied"]) == (source, False)
    assert path.exists() == ("cut" in how)
    assert (await agent.call("repair_model_record", model_id=model_id, apply=True))["applied"]

    after = agent.record(model_id)
    differing = {key for key in after if after[key] != before[key]}
    assert differing <= {"notes", "updated_date"} if source == "backup" else differing == set(plan["lost"]) & differing
    assert after["notes"] == ("first" if source == "backup" else "second")
    assert path.with_name("metadata.json.damaged").exists() == ("cut" in how)
    await agent.call("reconcile")
    assert agent.alerts(model_id) == []
    assert await agent.states(model_id) == {"valid"}
    assert differences(files, snapshot(bundle.parent)) == []


async def test_a_record_that_can_be_read_is_left_alone(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle)
    before = await agent.written()

    result = await agent.call("repair_model_record", model_id=model_id, apply=True)

    assert (result["source"], result["applied"]) == (None, False)
    assert await agent.written() == before


async def test_the_damaged_file_goes_with_its_model(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle)
    (agent.root / model_id / "metadata.json").write_text("{")
    await agent.call("repair_model_record", model_id=model_id, apply=True)
    assert json.loads((agent.root / model_id / "metadata.json").read_text())["model_id"] == model_id

    result = await agent.call("unregister_external_model", model_id=model_id)

    assert result["kept_files"] == []
    assert agent.artifacts() == []


async def test_there_has_to_be_such_a_model(agent: "Parts") -> None:
    with pytest.raises(ModelNotFound):
        await agent.call("repair_model_record", model_id="diffusion/none/none")
