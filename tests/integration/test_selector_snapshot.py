"""The selector snapshot: its rows, its states, its filters, and the position of the feed that it holds for."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import InvalidParams

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"


async def snapshot(agent: "Parts", **params: Any) -> dict[str, Any]:
    return await agent.call("model_library_selector_snapshot", **params)


async def row(agent: "Parts", model_id: str) -> dict[str, Any]:
    rows = [row for row in (await snapshot(agent))["rows"] if row["model_id"] == model_id]
    assert len(rows) == 1
    return dict(rows[0])


async def test_a_row_of_an_external_bundle(agent: "Parts", bundle: Path) -> None:
    """R6: with `bundle_format`; keys that hold nothing are left out."""
    await agent.registered(bundle, tags=["image"], repo_id="acme/tiny")

    assert await row(agent, TINY) == {
        "model_id": TINY,
        "model_ref": {"model_ref_contract_version": 1, "model_id": TINY},
        "repo_id": "acme/tiny",
        "entry_path": str(bundle),
        "entry_path_state": "ready",
        "artifact_state": "ready",
        "display_name": "tiny",
        "model_type": "diffusion",
        "tags": ["image"],
        "indexed_path": str(agent.root / TINY),
        "task_type_primary": "text-to-image",
        "pipeline_tag": "text-to-image",
        "recommended_backend": "diffusers",
        "runtime_engine_hints": ["diffusers", "pytorch"],
        "storage_kind": "external_reference",
        "bundle_format": "diffusers_directory",
        "validation_state": "valid",
        "package_facts_summary_status": "missing",
        "detail_state": "needs_package_facts",
        "updated_at": agent.record(TINY)["updated_date"],
    }


async def test_an_empty_page_leaves_its_rows_out(agent: "Parts") -> None:
    """Also beyond the end."""
    nothing = {"selector_snapshot_contract_version": 1, "cursor": "model-library-updates:0", "total_count": 0}
    assert await snapshot(agent) == nothing

    await agent.create("llm/f/a")
    beyond = await snapshot(agent, offset=5)

    assert "rows" not in beyond
    assert beyond["total_count"] == 1


async def test_the_artifact_that_was_selected_and_its_revision_are_told(agent: "Parts") -> None:
    """In the reference to the model as well."""
    await agent.create("llm/f/a", selected_artifact_id="o--r__q4", upstream_revision="abc")

    found = await row(agent, "llm/f/a")

    assert found["selected_artifact_id"] == "o--r__q4"
    assert found["model_ref"] == {
        "model_ref_contract_version": 1,
        "model_id": "llm/f/a",
        "revision": "abc",
        "selected_artifact_id": "o--r__q4",
    }


async def test_search_type_task_and_page_together(agent: "Parts") -> None:
    """Case selector-006: two match in all, by id, and the page is the second."""
    text = "text-generation"
    await agent.create("audio/example/a", official_name="Example audio", model_type="audio", task_type_primary="tts")
    await agent.create("llm/example/beta", official_name="Example Beta", model_type="llm", task_type_primary=text)
    await agent.create("llm/example/alpha", official_name="Example Alpha", model_type="llm", task_type_primary=text)

    answer = await snapshot(
        agent, search="example", model_type="llm", task_type_primary="text-generation", offset=1, limit=1
    )

    assert answer["total_count"] == 2
    assert [row["model_id"] for row in answer["rows"]] == ["llm/example/beta"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%", ["llm/f/percent"]),
        ("_", ["llm/f/snake_case"]),
        ("0%", ["llm/f/percent"]),
        ("f/sn", ["llm/f/snake_case"]),
        ("ORG/", ["llm/f/plain"]),
        ("\\", []),
        ("*", []),
        ("a b", []),
        ("", ["llm/f/percent", "llm/f/plain", "llm/f/snake_case"]),
        ("\ud800", ["llm/f/percent", "llm/f/plain", "llm/f/snake_case"]),
        ("tagged", []),
        ("́", []),
    ],
)
async def test_the_text_is_looked_for_as_it_stands(agent: "Parts", text: str, found: list[str]) -> None:
    """W25: `%` and `_` are characters like others. In id, names and repository, and nowhere else."""
    await agent.create("llm/f/percent", official_name="100% b")
    await agent.create("llm/f/snake_case", official_name="a")
    await agent.create("llm/f/plain", official_name="b", repo_id="org/x", tags=["tagged"])

    answer = await snapshot(agent, search=text)

    assert [row["model_id"] for row in answer.get("rows", [])] == found
    assert answer["total_count"] == len(found)


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"search": 1}, {"task": "x"}])
async def test_parameters_that_are_none_are_refused(agent: "Parts", params: dict[str, Any]) -> None:
    """And named."""
    with pytest.raises(InvalidParams, match=next(iter(params))):
        await snapshot(agent, **params)


async def test_a_registration_that_degrades_is_partial_and_one_that_was_never_valid_is_invalid(
    agent: "Parts", bundle: Path, tmp_path: Path
) -> None:
    """Case selector-009: and the state of the path mirrors it."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "unet")
    await agent.call("reconcile", model_id=TINY)
    broken = tmp_path / "models" / "broken"
    shutil.copytree(bundle, broken)
    await agent.registered(broken, allow_unhealthy=True)

    states = {
        row["model_id"]: (row["validation_state"], row["artifact_state"], row["entry_path_state"])
        for row in (await snapshot(agent))["rows"]
    }

    assert states == {
        TINY: ("degraded", "partial", "partial"),
        "diffusion/acme/broken": ("invalid", "invalid", "invalid"),
    }


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "ready"),
        ({"import_state": "ready", "validation_state": "valid"}, "ready"),
        ({"import_state": "pending"}, "partial"),
        ({"import_state": "failed"}, "invalid"),
        ({"match_source": "download_partial"}, "partial"),
        ({"expected_files": ["a.gguf"]}, "partial"),
    ],
)
async def test_the_states_of_a_models_own_files(agent: "Parts", facts: dict[str, Any], state: str) -> None:
    """Case selector-005, selector-009."""
    await agent.create("llm/f/a", **facts)

    found = await row(agent, "llm/f/a")

    assert (found["artifact_state"], found["entry_path_state"]) == (state, state)
    assert found["entry_path"] == str(agent.root / "llm/f/a")


async def test_a_download_that_was_begun_shows_in_the_next_snapshot(agent: "Parts") -> None:
    """Case selector-007: ready becomes partial without any refresh of its own."""
    folder = await agent.create("llm/f/a")
    assert (await row(agent, "llm/f/a"))["artifact_state"] == "ready"

    (folder / "weights.gguf.part").write_bytes(b"GG")
    await agent.call("reconcile")

    assert (await row(agent, "llm/f/a"))["artifact_state"] == "partial"


async def test_a_registration_without_a_path_has_none(agent: "Parts") -> None:
    """A blank path is missing, whatever the artifact is."""
    await agent.create("diffusion/f/a", storage_kind="external_reference", validation_state="valid")

    found = await row(agent, "diffusion/f/a")

    assert ("entry_path" in found, found["entry_path_state"]) == (False, "missing")


async def test_what_the_cursor_gives_is_what_came_after_the_snapshot(agent: "Parts") -> None:
    """The hand-over from a snapshot to the feed loses and repeats nothing."""
    await agent.create("llm/f/before")
    cursor = (await snapshot(agent))["cursor"]

    await agent.create("llm/f/after")
    feed = await agent.call("list_model_library_updates_since", cursor=cursor)

    assert [event["model_id"] for event in feed["events"]] == ["llm/f/after"]
    assert (await snapshot(agent))["cursor"] == feed["cursor"]


async def test_a_snapshot_looks_at_no_file(agent: "Parts", bundle: Path) -> None:
    """It is answered from memory: with the disk away, and the index closed to it."""
    await agent.registered(bundle)
    before = await snapshot(agent)
    shutil.rmtree(bundle)
    (agent.root / TINY / "metadata.json").rename(agent.root / "elsewhere")
    (agent.root / "models.db").rename(agent.root / "other.db")

    assert await snapshot(agent) == before

    (agent.root / "other.db").rename(agent.root / "models.db")
