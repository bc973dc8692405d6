"""What a person says about a model: only that changes, and nothing unchanged is written."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import InvalidParams, MetadataUnreadable, ModelNotFound
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import Parts


async def test_name_tags_and_notes_change_and_the_rest_stays(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle, tags=["old"])
    before, files = agent.record(model_id), snapshot(bundle.parent)

    result = await agent.call(
        "update_model", model_id=model_id, official_name=" My SD ", tags=["a", "b", "a"], notes="good"
    )

    record = agent.record(model_id)
    assert result == {"success": True, "model_id": model_id, "changed": True}
    assert (record["official_name"], record["tags"], record["notes"]) == ("My SD", ["a", "b"], "good")
    changed = {key for key in record if record[key] != before[key]}
    assert changed == {"official_name", "tags", "notes", "updated_date"}
    assert [row["id"] for row in (await agent.call("search_models", query="My SD"))["models"]] == [model_id]
    assert differences(files, snapshot(bundle.parent)) == []


async def test_the_same_again_writes_nothing(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle)
    await agent.call("update_model", model_id=model_id, notes="good")
    before = await agent.written()

    assert not (await agent.call("update_model", model_id=model_id, notes="good"))["changed"]
    assert not (await agent.call("update_model", model_id=model_id))["changed"]

    assert await agent.written() == before


async def test_an_empty_value_takes_one_away(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle, tags=["old"])
    await agent.call("update_model", model_id=model_id, notes="good")

    await agent.call("update_model", model_id=model_id, notes="", tags=[])

    assert (agent.record(model_id)["notes"], agent.record(model_id)["tags"]) == (None, None)


async def test_what_cannot_be_is_refused(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle)

    for given in ({"official_name": " "}, {"tags": [""]}, {"notes": "x" * 70_000}, {"family": "other"}):
        with pytest.raises(InvalidParams):
            await agent.call("update_model", model_id=model_id, **given)
    with pytest.raises(ModelNotFound):
        await agent.call("update_model", model_id="llm/none", notes="x")


async def test_a_record_that_cannot_be_read_is_left_as_it_is(agent: "Parts", bundle: Path) -> None:
    model_id = await agent.registered(bundle)
    (agent.root / model_id / "metadata.json").write_text("{")

    with pytest.raises(MetadataUnreadable):
        await agent.call("update_model", model_id=model_id, notes="x")

    assert (agent.root / model_id / "metadata.json").read_text() == "{"
